"""How does calibration look? Reliability diagrams, confidence histograms, before and after, error by severity.

Every function takes plain arrays and returns a matplotlib Figure; `calibration.style.save` writes it as SVG or PNG.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from calibration.binning import Bins
from calibration.error import bin_table
from calibration.null_band import calibrated_samples
from calibration.style import BLACK, GREY, LIGHT, figure, hatched_shares, look, settings
from calibration.validation import (
    CalibrationError,
    FloatArray,
    IntArray,
    Weights,
    checked_labels,
    checked_probabilities,
)

FEWEST = 10  # films; a smaller bin is drawn hollow, pale and apart from the line: its frequency says little
ABREAST = 2  # diagrams beside one another; more would be too small to read in a column of text


@dataclass(frozen=True)
class SeveritySeries:
    """An error with its interval and null band at each severity (0 = clean), all (s,); band may be empty."""

    severity: Sequence[float]
    estimate: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    band: Sequence[float] = ()


def reliability(
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    weights: Weights | None = None,
    views: Mapping[str, str] | None = None,
    bins: int = 15,
    binning: str = "equal-width",
    within: float = 0.0,
    seed: int = 0,
) -> Figure:
    """Reliability diagrams with bin counts, intervals and null band, one per view, two abreast.

    Args:
        probabilities: (n, K), rows sum to 1.
        labels: (n,) integers.
        groups: (n,) patient keys, for the null band.
        weights: (B, n) of the patient bootstrap, for the interval of each bin's frequency; None leaves them out.
        views: view -> title, for example {"top-label": "All classes", "class-1": "Normal"}; None is top-label.
        bins: number of bins.
        binning: `equal-width` or `equal-mass`.
        within: correlation within patients for the null band.
        seed: of the null band.

    Raises:
        CalibrationError: bad arrays, view or binning.
    """
    p = checked_probabilities(probabilities)
    shown = views or {"top-label": "Winning class"}
    columns = [(p, view, title) for view, title in shown.items()]
    return _abreast(columns, labels, groups, weights, bins=bins, binning=binning, within=within, seed=seed)


def before_after(
    before: ArrayLike,
    after: ArrayLike,
    labels: ArrayLike,
    *,
    titles: tuple[str, str] = ("As published", "Recalibrated, out of fold"),
    groups: ArrayLike | None = None,
    weights: Weights | None = None,
    view: str = "top-label",
    bins: int = 15,
    binning: str = "equal-width",
    within: float = 0.0,
    seed: int = 0,
) -> Figure:
    """Reliability diagrams of the same films before and after; arguments and errors as in `reliability`."""
    columns = [(checked_probabilities(p), view, title) for p, title in zip((before, after), titles, strict=True)]
    return _abreast(columns, labels, groups, weights, bins=bins, binning=binning, within=within, seed=seed)


def confidence_histogram(probabilities: ArrayLike, labels: ArrayLike, *, bins: int = 20, title: str = "") -> Figure:
    """How sure the subject is when it is right, and when it is wrong, as shares of each.

    Args:
        probabilities: (n, K), rows sum to 1.
        labels: (n,) integers.
        bins: number of bars over [1/K, 1].
        title: above the figure.

    Raises:
        CalibrationError: bad arrays.
    """
    p = checked_probabilities(probabilities)
    y = checked_labels(labels, *p.shape)
    top, right = p.max(axis=1), p.argmax(axis=1) == y
    edges = np.linspace(1 / p.shape[1], 1, bins + 1)
    with settings():
        made, (axis,) = figure(4.6, 3.1)
        for index, (name, chosen) in enumerate((("right", right), ("wrong", ~right))):
            if not chosen.any():
                continue
            label = f"{name} ({int(chosen.sum())} films, median {np.median(top[chosen]):.3f})"
            hatched_shares(axis, top[chosen], edges, index, label)
        axis.set(
            xlabel="confidence",
            ylabel="share of films",
            xlim=(edges[0], 1.0),
            title=title or "How sure, when right and when wrong",
        )
        axis.set_ylim(0.0, 1.25 * axis.dataLim.ymax)  # the legend stands above the bars
        axis.legend(loc="upper left", handlelength=2.2, handleheight=1.2)
    return made


def error_by_severity(
    series: Mapping[str, SeveritySeries], *, ylabel: str = "ECE (top label, 15 equal-width bins)", title: str = ""
) -> Figure:
    """Calibration error against severity, with intervals, and the largest null band as a grey line.

    Args:
        series: perturbation -> its errors; at most seven are told apart.
        ylabel: the full name of the error.
        title: above the figure.

    Raises:
        CalibrationError: no series, or more than seven.
    """
    if not 1 <= len(series) <= 7:
        raise CalibrationError(f"one figure tells 1 to 7 series apart, not {len(series)}")
    with settings():
        made, (axis,) = figure(5.4, 3.4)
        spread = np.linspace(-0.12, 0.12, len(series)) if len(series) > 1 else np.zeros(1)
        for index, (name, one) in enumerate(series.items()):
            style = look(index)
            x = np.asarray(one.severity, dtype=np.float64)
            value = np.asarray(one.estimate, dtype=np.float64)
            told = name.replace("_", " ")
            axis.plot(x, value, color=style.color, linestyle=style.line, marker=style.marker, label=told)
            axis.vlines(x + spread[index], one.low, one.high, color=style.color, linewidth=0.9)
        banded = [one for one in series.values() if len(one.band)]
        if banded:
            x = np.unique(np.concatenate([np.asarray(one.severity, dtype=np.float64) for one in banded]))
            top = [max(b for one in banded for s, b in zip(one.severity, one.band, strict=True) if s == at) for at in x]
            axis.fill_between(x, 0, top, color=LIGHT, linewidth=0, zorder=0, label="calibrated (95 of 100 samples)")
        axis.set(xlabel="severity (0 = clean)", ylabel=ylabel, title=title)
        axis.set_ylim(bottom=0)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=3.2)
    return made


def _abreast(
    columns: Sequence[tuple[FloatArray, str, str]],
    labels: ArrayLike,
    groups: ArrayLike | None,
    weights: Weights | None,
    *,
    bins: int,
    binning: str,
    within: float,
    seed: int,
) -> Figure:
    """One place per (probabilities, view, title): the diagram above, the films per bin below."""
    y = checked_labels(labels, *columns[0][0].shape)
    wide = min(len(columns), ABREAST)
    deep = -(-len(columns) // wide)
    with settings():
        ratios: dict[str, Any] = {"height_ratios": [3.4, 1] * deep}
        made, axes = figure(
            3.0 * wide + 0.4, 0.5 + 4.4 * deep, 2 * deep, wide, sharex=True, sharey="row", gridspec_kw=ratios
        )
        for place in range(len(columns), deep * wide):
            for axis in _pair(axes, place, wide):
                axis.set_visible(False)
        for place, (p, view, title) in enumerate(columns):
            diagram, counts = _pair(axes, place, wide)
            calibrated = calibrated_samples(p, groups=groups, within=within, seed=seed)
            options: dict[str, Any] = {"view": view, "bins": bins, "binning": binning}
            null = bin_table(calibrated.probabilities, calibrated.labels, weights=calibrated.weights, **options)
            upper = float(np.quantile((null.share * np.abs(null.gap)).sum(axis=0), 0.95))
            table = bin_table(p, y, **options)
            spread = None if weights is None else _frequency(bin_table(p, y, weights=weights, **options))
            _frequencies(diagram, table, _frequency(null), spread)
            error = float((table.share * np.abs(table.gap)).sum())
            diagram.set_title(f"{title.replace('_', ' ')}\nECE {error:.3f}, up to {upper:.3f} if calibrated")
            _counts(counts, p, y, **options)
            counts.tick_params(labelbottom=True)
            counts.set_xlabel("confidence" if view == "top-label" else "stated probability")
            if place % wide == 0:
                diagram.set_ylabel("observed frequency")
                counts.set_ylabel("films")
        made.legend(
            handles=_legend(intervals=weights is not None), loc="outside lower center", ncols=4 if wide > 1 else 2
        )
    return made


def _pair(axes: Sequence[Axes], place: int, wide: int) -> tuple[Axes, Axes]:
    """Return the axes of the diagram and of the counts beneath it at a place, counted along the rows."""
    first = 2 * wide * (place // wide) + place % wide
    return axes[first], axes[first + wide]


def _frequency(table: Bins) -> FloatArray:
    return np.where(table.weight > 0, table.outcome / np.where(table.weight > 0, table.weight, 1.0), np.nan)


def _frequencies(axis: Axes, table: Bins, null: FloatArray, spread: FloatArray | None) -> None:
    weight = table.weight[:, 0]
    used = weight > 0
    x = table.confidence[used, 0] / weight[used]
    seen = table.outcome[used, 0] / weight[used]
    low, high = np.nanquantile(null[used], [0.025, 0.975], axis=1)
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, zorder=1)
    axis.vlines(x, low, high, color=LIGHT, linewidth=7, zorder=0)
    style, enough = look(0), weight[used] >= FEWEST
    if spread is not None:
        ends = np.nanquantile(spread[used], [0.025, 0.975], axis=1)
        axis.vlines(x, ends[0], ends[1], color=np.where(enough, BLACK, GREY), linewidth=np.where(enough, 1.1, 0.6))
    axis.plot(x[enough], seen[enough], color=style.color, linewidth=1.0, alpha=0.6, zorder=2)
    dots: dict[str, Any] = {
        "color": style.color,
        "linestyle": "",
        "marker": style.marker,
        "markersize": 5.5,
        "zorder": 3,
    }
    axis.plot(x[enough], seen[enough], **dots)
    axis.plot(x[~enough], seen[~enough], markerfacecolor="white", alpha=0.5, **dots)
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))


def _counts(axis: Axes, p: FloatArray, y: IntArray, *, view: str, bins: int, binning: str) -> None:
    if binning == "equal-width":
        weight = bin_table(p, y, view=view, bins=bins, binning=binning).weight[:, 0]
        edges = np.linspace(0, 1, bins + 1)
    else:
        table = bin_table(p, y, view=view, bins=40)
        weight, edges = table.weight[:, 0], np.linspace(0, 1, 41)
    axis.stairs(weight, edges, fill=True, facecolor=LIGHT, edgecolor=BLACK, linewidth=0.7)
    few = np.where(weight < FEWEST, weight, 0.0)
    axis.stairs(few, edges, fill=True, facecolor="white", edgecolor=GREY, hatch="////", linewidth=0.7)
    axis.yaxis.set_major_locator(MaxNLocator(3, integer=True))


def _legend(*, intervals: bool) -> list[Line2D | Patch]:
    style = look(0)
    entries: list[Line2D | Patch] = [
        Line2D([], [], color=style.color, marker=style.marker, linewidth=1.0, label="observed")
    ]
    if intervals:
        entries.append(Line2D([], [], color=BLACK, linewidth=1.1, label="95 % interval"))
    entries.append(
        Line2D(
            [],
            [],
            color=style.color,
            marker=style.marker,
            markerfacecolor="white",
            linestyle="",
            alpha=0.5,
            label=f"fewer than {FEWEST} films",
        )
    )
    entries.append(Patch(color=LIGHT, label="if it were calibrated"))
    return entries
