"""What do the scores of two hospitals look like beside each other? Their ROC curves, and where the calls lie."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from suites.harness.cohorts.class_roles import healthy
from suites.harness.endpoints.external.two_hospitals import Hospital, TwoHospitals
from suites.harness.formatting.figures import QUIET, SERIES, styled
from suites.harness.statistics import Floats


def of(both: TwoHospitals, kinds: tuple[str, str]) -> dict[str, Callable[[], Figure]]:
    """Return the figures of a comparison, by file stem; none where there is no healthy class.

    Args:
        both: the hospitals.
        kinds: what ill and healthy films are called.
    """
    if any(side.illness is None for side in (both.home, both.away)):
        return {}
    return {"roc": partial(roc, both, kinds)}


def curve(side: Hospital) -> tuple[Floats, Floats]:
    """Return false and true positive rates from the strictest threshold to the laxest, ties together."""
    if side.illness is None or side.ill is None:
        raise ValueError(f"{side.name} has no healthy class")
    order = np.argsort(-side.illness, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(side.illness[order]) != 0, True))
    true, false = (np.cumsum(flags[order])[ends] / max(1, flags.sum()) for flags in (side.ill, ~side.ill))
    return np.append(0.0, false), np.append(0.0, true)


@styled
def roc(both: TwoHospitals, kinds: tuple[str, str]) -> Figure:
    """Draw the ROC curves of both hospitals; a ring marks what the subject's own calls come to."""
    figure = Figure(figsize=(4.6, 4.2))
    axes = figure.subplots()
    kind, other = kinds
    well = healthy(both.classes.names)
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8)
    for side, told, (colour, dash, _) in zip((both.home, both.away), ("at home", "there"), SERIES, strict=False):
        false, true = curve(side)
        axes.plot(false, true, color=colour, linestyle=dash, label=f"{told}: AUROC {side.auroc().estimate:.3f}")
        ill = side.ill if side.ill is not None else np.zeros(side.films, dtype=bool)
        if well is not None:
            called_ill = side.called != both.classes.names.index(well)
            axes.plot(
                called_ill[~ill].mean(), called_ill[ill].mean(), "o", color=colour, markersize=9, fillstyle="none",
                markeredgewidth=2,
            )  # fmt: skip
    axes.set(
        xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=f"{other}: share called the other",
        ylabel=f"{kind}: share called so", title="Rings: its own calls",
    )  # fmt: skip
    axes.set_aspect("equal")
    axes.legend(loc="lower right")
    return figure
