"""How far apart are two subjects under every stress? A forest plot: points with intervals about zero."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from suites.harness.formatting.figures import INK, QUIET, SERIES, STYLE
from suites.harness.formatting.wording import number, stress
from suites.harness.stress_grid.paired import PairUnderStress

ROW = 0.24
"""Inches of a perturbation."""


def forest_plot(pairs: Sequence[PairUnderStress], reach: float | None = None) -> Figure:
    """Draw the paired differences of harm of one subject against one or more others, on one axis.

    Settled differences are filled, the rest hollow; perturbations are in the order of the first pair's differences.

    Args:
        pairs: all with the same first subject, at least one, with a difference each.
        reach: how far the axis goes to both sides of 0, so that several plots share it.
    """
    shown = {pair.second: [harm for harm in pair.harms if math.isfinite(harm.low)] for pair in pairs}
    order = [harm.perturbation for harm in sorted(shown[pairs[0].second], key=lambda harm: harm.difference)]
    order += sorted({harm.perturbation for harms in shown.values() for harm in harms} - set(order))
    place = {name: at for at, name in enumerate(order)}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 1.5 + ROW * len(order) * (1 + 0.35 * (len(pairs) - 1))))
        axes = figure.subplots()
        for index, harms in enumerate(shown.values()):
            offset = (index - (len(shown) - 1) / 2) * 0.7 / len(shown)
            colour, _, marker = SERIES[index % len(SERIES)]
            for harm in harms:
                height = place[harm.perturbation] + offset
                axes.plot([harm.low, harm.high], [height, height], color=colour, linewidth=1.4)
                axes.plot(
                    harm.difference, height, marker=marker, color=colour, markersize=5.5,
                    markerfacecolor=colour if harm.settled else "white", linestyle="none",
                )  # fmt: skip
        axes.axvline(0, color=INK, linewidth=0.9)
        axes.set_yticks(range(len(order)), [stress(name) for name in order])
        axes.set_ylim(-0.8, len(order) - 0.2)
        axes.grid(visible=True, axis="x", color="#d9dce1")
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _points(value)))
        axes.set_xlabel(f"← costs the other more   points of balanced accuracy   costs {pairs[0].first} more →")
        if reach:
            axes.set_xlim(-reach, reach)
        handles = [
            Line2D([], [], color=colour, marker=marker, label=f"{pairs[0].first} against {name}")
            for name, (colour, _, marker) in zip(shown, itertools.cycle(SERIES), strict=False)
        ]
        handles += [
            Line2D([], [], color=QUIET, marker="o", linestyle="none", label="settled after Holm's correction"),
            Line2D([], [], color=QUIET, marker="o", markerfacecolor="white", linestyle="none", label="not settled"),
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=2, fontsize=8.5)
    return figure


def drawable(pair: PairUnderStress) -> bool:
    """Return whether a pair has any difference to draw."""
    return any(math.isfinite(harm.low) for harm in pair.harms)


def _points(value: float) -> str:
    return number(value, "points").removesuffix(" pp").removesuffix(".0")
