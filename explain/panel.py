"""One gallery panel as a figure: film, perturbed film, saliency before and after, and their difference.

Colours are perceptually even: inferno for maps without a sign, a symmetric blue-red map around zero for maps with one.
Both maps of a panel share one scale, or their difference would be an artefact of two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from explain.network import F64
from explain.regions import Mask
from explain.sanity import Outcome

Sanity = Outcome | Literal["not checked"]

SANITY_WORDS: dict[str, tuple[str, str]] = {
    "passed": ("passed its sanity check", "#1b7837"),
    "failed": (
        "FAILED its sanity check: this picture would look much the same if the network had learned nothing",
        "#b2182b",
    ),
    "not evaluable": ("its sanity check could not be evaluated", "#9a6700"),
    "not checked": ("sanity not checked", "#9a6700"),
}
SIGNED_MAP, UNSIGNED_MAP = "RdBu_r", "inferno"
LESION_COLOUR, LUNG_COLOUR = "#00e5ff", "#ffd54f"


@dataclass(frozen=True)
class View:
    """A film as the network saw it, what was predicted, and where the method says it looked.

    Attributes:
        film: grey (S, S) in [0, 1].
        probabilities: class name to softmax probability.
        saliency: (S, S), None if the method gave nothing for this view.
        target: class name that the saliency explains.
    """

    film: npt.NDArray[np.floating]
    probabilities: Mapping[str, float]
    saliency: npt.NDArray[np.floating] | None
    target: str

    @property
    def predicted(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    @property
    def confidence(self) -> float:
        """Its probability."""
        return self.probabilities[self.predicted]


@dataclass(frozen=True)
class Panel:
    """Everything one gallery picture shows, and everything it can be filtered by.

    Attributes:
        image_id: the film.
        truth: its class name, None if unknown.
        topic: the failure mode the gallery is about.
        condition: what was done to the film, "clean" if nothing.
        rule: why this film was picked (`explain.selection`).
        method: attribution method.
        signed: whether its maps have a sign.
        sanity: outcome of its randomisation check.
        before: the clean view.
        after: the perturbed view, None if there is none.
        lesion: outline (S, S) where known.
        lung: outline (S, S) where known.
    """

    image_id: str
    truth: str | None
    topic: str
    condition: str
    rule: str
    method: str
    signed: bool
    sanity: Sanity
    before: View
    after: View | None = None
    lesion: Mask | None = None
    lung: Mask | None = None

    @property
    def comparable(self) -> bool:
        """Whether the two maps answer the same question, so that their difference means something."""
        return (
            self.after is not None
            and _usable(self.before)
            and _usable(self.after)
            and self.before.target == self.after.target
        )


def _usable(view: View) -> bool:
    return view.saliency is not None and bool(np.isfinite(view.saliency).all())


def _scale(panel: Panel) -> float:
    """Return the 99.5th percentile of both maps' magnitudes, the top of the common scale; 0 if both are empty."""
    maps = [
        view.saliency
        for view in (panel.before, panel.after)
        if view is not None and view.saliency is not None and _usable(view)
    ]
    return max((float(np.percentile(np.abs(one), 99.5)) or float(np.abs(one).max()) for one in maps), default=0.0)


def heat(film: npt.ArrayLike, saliency: npt.ArrayLike, top: float, *, signed: bool) -> F64:
    """Return the film with a map laid over it, RGB (S, S, 3); where the map is weak the film shows through."""
    grey = np.repeat(np.clip(np.asarray(film, dtype=np.float64), 0, 1)[..., None], 3, axis=2)
    level = np.clip(np.asarray(saliency, dtype=np.float64) / top, -1, 1) if top > 0 else np.zeros(grey.shape[:2])
    colour = colormaps[SIGNED_MAP if signed else UNSIGNED_MAP]((level + 1) / 2 if signed else np.abs(level))[..., :3]
    opacity = 0.85 * np.sqrt(np.abs(level))[..., None]
    return np.asarray((1 - opacity) * 0.8 * grey + opacity * colour, dtype=np.float64)


def draw_panel(panel: Panel) -> Figure:
    """Return the panel as a matplotlib figure, drawn without any global state."""
    views = [panel.before] + ([panel.after] if panel.after is not None else [])
    count = 2 * len(views) + (1 if panel.after is not None else 0)
    figure = Figure(figsize=(2.7 * count, 3.62), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, count)
    figure.subplots_adjust(left=0.004, right=0.996, top=0.80, bottom=0.13, wspace=0.015)
    top = _scale(panel)
    for axis, view, name in zip(axes, views, ("film", panel.condition), strict=False):
        _film(axis, view, name, panel)
    for axis, view, name in zip(axes[len(views) :], views, ("before", "after"), strict=False):
        _saliency(axis, view, f"{panel.method}, {name}" if panel.after is not None else panel.method, top, panel)
    if panel.after is not None:
        _difference(axes[-1], panel, top)
    truth = f"truth: {_plain(panel.truth)}" if panel.truth else "truth unknown"
    figure.text(0.004, 0.975, f"{panel.image_id}   {truth}", fontsize=11, weight="bold", va="top")
    figure.text(
        0.996, 0.975, f"{panel.topic}   picked as {panel.rule}", fontsize=9, va="top", ha="right", color="#444444"
    )
    words, colour = SANITY_WORDS[panel.sanity]
    figure.text(
        0.004,
        0.03,
        f"{panel.method}: {words}",
        fontsize=9,
        color=colour,
        weight="bold" if panel.sanity == "failed" else "normal",
    )
    _legend(figure, panel)
    return figure


def _film(axis: Axes, view: View, name: str, panel: Panel) -> None:
    right = panel.truth is not None and view.predicted == panel.truth
    colour = "#1b7837" if right else "#b2182b" if panel.truth is not None else "black"
    _tile(axis, name, f"{_plain(view.predicted)} {_percent(view.confidence)}", colour)
    axis.imshow(view.film, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    _outlines(axis, panel)


def _saliency(axis: Axes, view: View, name: str, top: float, panel: Panel) -> None:
    _tile(axis, name, f"why {_plain(view.target)}?", "#444444")
    if view.saliency is None or not _usable(view):
        _say(
            axis,
            view.film.shape[0],
            "no map" if view.saliency is None else "map is not finite\nleft out of all averages",
        )
        return
    axis.imshow(heat(view.film, view.saliency, top, signed=panel.signed), interpolation="nearest")
    if float(np.ptp(view.saliency)) == 0.0:
        axis.text(
            0.5, 0.5, "flat map: it says nothing", transform=axis.transAxes, ha="center", color="white", fontsize=9
        )
    _outlines(axis, panel)


def _difference(axis: Axes, panel: Panel, top: float) -> None:
    _tile(axis, "after - before", "same scale", "#444444")
    after = panel.after
    if not panel.comparable or after is None or after.saliency is None or panel.before.saliency is None:
        same = after is not None and after.target == panel.before.target
        _say(
            axis,
            panel.before.film.shape[0],
            "no difference to show" if same else "the maps explain\ndifferent classes:\nno difference",
        )
        return
    axis.imshow(
        after.saliency - panel.before.saliency, cmap=SIGNED_MAP, vmin=-top or -1, vmax=top or 1, interpolation="nearest"
    )
    _outlines(axis, panel, dark=True)


def _tile(axis: Axes, name: str, below: str, colour: str) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)
    axis.set_title(f"{name}", fontsize=9, loc="left", pad=16)
    axis.text(0, 1.02, below, transform=axis.transAxes, fontsize=9, color=colour, va="bottom", weight="bold")


def _say(axis: Axes, side: int, words: str) -> None:
    axis.imshow(np.full((side, side), 0.9), cmap="gray", vmin=0, vmax=1)
    axis.text(0.5, 0.5, words, transform=axis.transAxes, ha="center", va="center", fontsize=9, color="#444444")


def _outlines(axis: Axes, panel: Panel, *, dark: bool = False) -> None:
    for mask, colour in ((panel.lung, LUNG_COLOUR), (panel.lesion, LESION_COLOUR)):
        if mask is not None and mask.any() and not mask.all():
            shade = {"#00e5ff": "#007c8a", "#ffd54f": "#8a6d00"}[colour] if dark else colour
            axis.contour(mask.astype(float), levels=[0.5], colors=[shade], linewidths=0.9)


def _legend(figure: Figure, panel: Panel) -> None:
    known = [(panel.lesion, LESION_COLOUR, "lesion"), (panel.lung, LUNG_COLOUR, "lung")]
    lines = [Line2D([], [], color=colour, linewidth=2, label=name) for mask, colour, name in known if mask is not None]
    if panel.signed:
        ends = colormaps[SIGNED_MAP]
        lines += [Line2D([], [], color=ends(0.95), linewidth=5, label="speaks for the class")]
        lines += [Line2D([], [], color=ends(0.05), linewidth=5, label="against it")]
    if lines:
        figure.legend(
            handles=lines,
            loc="lower right",
            bbox_to_anchor=(1.0, -0.005),
            ncols=len(lines),
            fontsize=8,
            frameon=False,
            handlelength=1.2,
            columnspacing=1.2,
        )


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _percent(share: float) -> str:
    """Return a percentage that never claims certainty by rounding."""
    return ">99.9 %" if 0.999 < share < 1 else f"{100 * share:.1f} %" if share > 0.99 else f"{100 * share:.0f} %"
