"""What does each perturbation cost at each severity? The stress grid in one picture."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from suites.harness.formatting.cells import points
from suites.harness.formatting.figures import INK, QUIET, styled
from suites.harness.formatting.wording import plain_name

DARKEST = 0.5
"""A fall of so much, or more, has the darkest shade; one scale for all runs, so that reports compare side by side."""


@styled
def heat_map(
    rows: Mapping[str, Mapping[int, float]],
    severities: Sequence[int],
    *,
    title: str = "",
    unsure: Container[tuple[str, int]] = (),
) -> Figure:
    """Draw the fall of balanced accuracy by perturbation (rows) and severity (columns).

    One hue from light to dark, so that grey print and every kind of colour vision show the same order; the number of
    points stands in each cell. A gain is as light as no change. A cell that was not run is empty; one that is undefined
    for every film is hatched.

    Args:
        rows: perturbation, as printed -> severity -> fall as a fraction (negative: a gain; NaN: undefined for every
            film).
        severities: the columns.
        title: printed above.
        unsure: (perturbation, severity) whose interval holds 0, printed in brackets: it may be chance.
    """
    longest = max((len(name) for name in rows), default=0)
    figure = Figure(figsize=(max(2.9, 0.9 + 0.06 * longest) + 0.72 * len(severities), 1.0 + 0.25 * len(rows)))
    axes = figure.subplots()
    shades = mpl.colormaps["Blues"]
    for number, (name, values) in enumerate(rows.items()):
        for column, severity in enumerate(severities):
            if severity not in values:
                continue
            fall = values[severity]
            if math.isnan(fall):
                axes.add_patch(
                    Rectangle((column, number), 1, 1, fill=False, hatch="////", edgecolor=QUIET, linewidth=0)
                )
                continue
            shade = 0.9 * min(max(fall / DARKEST, 0.0), 1.0)
            axes.add_patch(Rectangle((column, number), 1, 1, facecolor=shades(shade), edgecolor="white", linewidth=0.8))
            text = points(fall)
            axes.text(
                column + 0.5, number + 0.53, f"({text})" if (name, severity) in unsure else text, ha="center",
                va="center", fontsize=8, color="white" if shade > 0.5 else INK,
            )  # fmt: skip
    axes.set(xlim=(0, len(severities)), ylim=(len(rows), 0), title=title)
    axes.set_xlabel(
        "severity\n(in the cells: points of balanced accuracy lost)\nin brackets: its 95 % interval holds 0"
    )
    axes.set_xticks(np.arange(len(severities)) + 0.5, [str(severity) for severity in severities])
    axes.set_yticks(np.arange(len(rows)) + 0.5, [plain_name(name) for name in rows], fontsize=8)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure
