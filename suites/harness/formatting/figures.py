"""How are curves and matrices drawn? Plain numbers in, a matplotlib Figure out.

Readable by the colour-blind and in grey print: series differ in colour, lightness, line style and marker at once.
Backgrounds are transparent and text is black, so that the page can turn the drawing round for its dark theme.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from calibration.style import LOOKS
from suites.harness.formatting.wording import plain_name, rounded, stress

INK, QUIET, ALARM = "#20242b", "#8a919c", "#b3261e"
SERIES = tuple((look.color, look.line, look.marker) for look in LOOKS)
"""Colour, line style and marker of one series after another, the same as in the figures of `calibration`."""
HATCHES = ("", "///", "...", "xxx", "---")
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#d9dce1",
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
"""The look of every figure of the report; use `with matplotlib.rc_context(STYLE)` or `@styled` for your own."""

Series = tuple[ArrayLike, ArrayLike, ArrayLike]
"""Estimates, lower ends, upper ends."""
P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Give a drawing function the report's look."""

    @wraps(draw)
    def dressed(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return dressed


@styled
def severity_curve(
    severities: Sequence[float],
    series: Mapping[str, Series],
    *,
    ylabel: str,
    xlabel: str = "severity",
    title: str = "",
    margin: float | None = None,
    percent: bool = True,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Draw a measure against severity (or attack budget), one line with its interval band per series.

    Args:
        severities: along the horizontal axis, 0 being the clean film; evenly spaced where they double at each step.
        series: name -> (estimates, low, high), each as long as `severities`; NaN leaves a gap.
        ylabel: the measure.
        xlabel: what is varied.
        title: printed above the axes.
        margin: threshold drawn across, in the measure's own unit.
        percent: label the vertical axis in percent (the numbers stay fractions).
        limits: of the vertical axis; by default they follow the data.
    """
    figure, axes = _canvas(5.6, 3.3)
    gaps = np.diff(np.asarray(severities, dtype=np.float64))
    places = np.arange(len(severities)) if gaps.max() > 4 * gaps.min() else np.asarray(severities, dtype=np.float64)
    for index, (name, (middle, low, high)) in enumerate(series.items()):
        colour, dash, marker = SERIES[index % len(SERIES)]
        values = np.asarray(middle, dtype=np.float64)
        axes.fill_between(places, np.asarray(low), np.asarray(high), color=colour, alpha=0.14, linewidth=0)
        axes.plot(places, values, color=colour, linestyle=dash, marker=marker, label=_short(stress(name)))
    if margin is not None:
        axes.axhline(margin, color=ALARM, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            "margin", (1, margin), xycoords=("axes fraction", "data"), xytext=(0, 3), textcoords="offset points",
            ha="right", color=ALARM, fontsize=8.5,
        )  # fmt: skip
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.set_xticks(places, [f"{severity:g}" for severity in severities])
    if limits:
        axes.set_ylim(*limits)
    if percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    if len(series) > 1:
        axes.legend(loc="best")
    return figure


@styled
def confusion_matrix(
    counts: ArrayLike, classes: Sequence[str], labels: Sequence[str] | None = None, *, title: str = ""
) -> Figure:
    """Draw a confusion matrix, rows = truth, with counts and row percentages.

    Args:
        counts: (R, K) films of each true label by predicted class.
        classes: K predicted class names.
        labels: R true ones (default: the classes).
        title: printed above.
    """
    table = np.asarray(counts, dtype=np.float64)
    rows = list(classes if labels is None else labels)
    figure, axes = _canvas(1.6 + 1.15 * len(classes), 1.2 + 0.72 * len(rows))
    shares = np.divide(
        table, table.sum(1, keepdims=True), out=np.zeros_like(table), where=table.sum(1, keepdims=True) > 0
    )
    for row, column in np.ndindex(*table.shape):
        right = rows[row] == classes[column]
        axes.add_patch(
            Rectangle(
                (column, row),
                1,
                1,
                color=SERIES[0 if right else 1][0],
                alpha=0.8 * shares[row, column] ** 0.6,
                linewidth=0,
            )
        )
        ink = "white" if shares[row, column] > 0.55 else INK
        axes.text(
            column + 0.5, row + 0.42, f"{table[row, column]:,.0f}", ha="center", va="center", weight="bold", color=ink
        )
        axes.text(
            column + 0.5,
            row + 0.74,
            f"{rounded(shares[row, column], 1, times=100)} %",
            ha="center",
            va="center",
            fontsize=8,
            color=ink,
        )
    axes.set(xlim=(0, len(classes)), ylim=(len(rows), 0), xlabel="predicted", ylabel="truth", title=title)
    axes.set_xticks(np.arange(len(classes)) + 0.5, [_wrap(name) for name in classes])
    axes.set_yticks(np.arange(len(rows)) + 0.5, [_wrap(name) for name in rows])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


@styled
def stacked_shares(
    panels: Mapping[str, Mapping[str, Sequence[float]]], classes: Sequence[str], *, title: str = ""
) -> Figure:
    """Draw shares that add up to 1 as bars side by side, one panel per group of films.

    Args:
        panels: title of a panel -> row -> (K,) shares.
        classes: K names; told apart by colour and hatch.
        title: printed above.
    """
    rows = max(len(panel) for panel in panels.values())
    figure, axes = _panels(len(panels), 0.9 + 2.9 * len(panels), 1.4 + 0.27 * rows)
    for at, (axis, (name, panel)) in enumerate(zip(axes, panels.items(), strict=True)):
        places, start = np.arange(len(panel)), np.zeros(len(panel))
        for index, label in enumerate(classes):
            widths = np.array([shares[index] for shares in panel.values()])
            axis.barh(
                places, widths, left=start, height=0.72, color=SERIES[index % len(SERIES)][0], alpha=0.85,
                hatch=HATCHES[index % len(HATCHES)], edgecolor="white", linewidth=0.4,
                label=_short(plain_name(label)) if at == 0 else None,
            )  # fmt: skip
            start = start + widths
        axis.set(xlim=(0, 1), ylim=(len(panel) - 0.5, -0.5))
        axis.set_title(_short(name), fontsize=9.5, fontweight="normal")
        axis.set_xticks([0, 0.5, 1])
        axis.set_yticks(places, [_short(row, 22) for row in panel])
        axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        axis.grid(visible=False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    figure.legend(loc="outside lower center", ncols=min(len(classes), 3))
    return figure


def _panels(count: int, width: float, height: float) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(width, height))
    return figure, list(figure.subplots(1, count, squeeze=False, sharey=True)[0])


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots()


def _short(text: str, length: int = 34) -> str:
    escaped = text.replace("$", r"\$")
    return escaped if len(escaped) <= length else escaped[: length - 1] + "…"


def _wrap(name: str) -> str:
    return "\n".join(_short(part, 16) for part in plain_name(name).split(" ", 2))
