"""How do figures look and how are they saved? For grey print and colour-blind people, the same bytes each time.

Series differ in colour (Okabe & Ito), line style and marker at once; filled areas differ in hatch. Figures are plain
`matplotlib.figure.Figure` objects: no pyplot, no global state.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from calibration.validation import FloatArray

BLACK, GREY, LIGHT = "#000000", "#767676", "#e3e3e3"


@dataclass(frozen=True)
class Look:
    """Colour, line style, marker and hatch of one series."""

    color: str
    line: Any
    marker: str
    hatch: str


# Okabe & Ito 2008, ordered so that neighbours differ in lightness too; yellow is left out, it does not print.
LOOKS = (
    Look("#0072b2", "-", "o", "////"),
    Look("#d55e00", (0, (5, 2)), "s", "...."),
    Look("#009e73", (0, (1, 1.2)), "^", "\\\\\\\\"),
    Look("#cc79a7", (0, (5, 1.5, 1, 1.5)), "D", "xxxx"),
    Look("#e69f00", (0, (3, 1, 1, 1, 1, 1)), "P", "++++"),
    Look(BLACK, (0, (1, 3)), "X", "oooo"),
    Look("#56b4e9", (0, (8, 2)), "v", "----"),
)

SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "calibration",
}


def look(index: int) -> Look:
    """Return the look of the index-th series; they repeat after seven."""
    return LOOKS[index % len(LOOKS)]


@contextmanager
def settings() -> Iterator[None]:
    """Apply this package's settings while a figure is made or saved, and leave the user's as they were."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)
        yield


def figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:  # noqa: ANN401
    """Return a figure of width x height inches with rows x columns axes, laid out without overlaps."""
    made = Figure(figsize=(width, height), layout="constrained")
    axes = made.subplots(rows, columns, squeeze=False, **options)
    return made, list(axes.ravel())


def hatched_shares(axis: Axes, values: FloatArray, edges: FloatArray, index: int, label: str) -> None:
    """Draw a histogram of shares that stays readable above another one: outlined and hatched, not filled.

    Args:
        axis: where.
        values: (n,) numbers; those beyond the edges are counted in the outer bars.
        edges: (bars + 1,) of the bars.
        index: of the series, see `look`.
        label: for the legend.
    """
    style = look(index)
    share = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / values.size
    axis.stairs(share, edges, color=style.color, linestyle=style.line, linewidth=1.6)
    axis.stairs(
        share, edges, fill=True, facecolor="none", edgecolor=style.color, hatch=style.hatch, linewidth=0, alpha=0.75,
        label=label,
    )  # fmt: skip


def save(made: Figure, path: str | Path) -> Path:
    """Write a figure as .svg or .png: same figure, same bytes (no dates, no random ids).

    Raises:
        ValueError: another file ending.
    """
    target = Path(path)
    metadata: dict[str, dict[str, Any]] = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}}
    if target.suffix not in metadata:
        raise ValueError(f"figures are saved as .svg or .png, not {target.suffix!r} ({target.name})")
    with settings():
        made.savefig(target, dpi=160, metadata=metadata[target.suffix])
    return target
