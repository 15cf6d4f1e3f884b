"""Draw a contact sheet of simulated films: `python -m robustness.phantom.contact_sheet OUT.png`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .film import render
from .findings import FINDINGS, draw_finding
from .patient import sample_patient

ROWS = (("child", "AP"), ("child", "PA"), ("child", "LATERAL"), ("adult", "PA"), ("adult", "AP"), ("adult", "LATERAL"))
COLUMNS = (
    "normal",
    "lobar",
    "interstitial",
    "effusion",
    "pneumothorax",
    "mass",
    "whiteout_effusion",
    "whiteout_collapse",
)


def contact_sheet(out: str | Path, *, findings: Sequence[str] = COLUMNS, seed: int = 0, size: int = 256) -> Path:
    """Write a sheet of films, one row for each age group and view, one column for each finding.

    Findings are shown in their clearer half.

    Args:
        out: file to write; its suffix decides the format.
        findings: names from `FINDINGS`.
        seed: other seeds show other patients.
        size: pixels along one side of each film.

    Returns:
        The file written.

    Raises:
        ValueError: for an unknown finding.
    """
    unknown = [name for name in findings if name not in FINDINGS]
    if unknown:
        raise ValueError(f"unknown finding {unknown[0]!r}; known: {', '.join(FINDINGS)}")
    figure = Figure(figsize=(1.5 * len(findings) + 0.35, 1.5 * len(ROWS) + 0.3), dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(ROWS), len(findings), squeeze=False)
    for i, (age, view) in enumerate(ROWS):
        for j, name in enumerate(findings):
            # Each film shows another patient: nobody should learn the finding from the face.
            patient = sample_patient(f"sheet-{i}-{j}", seed, age)
            found = draw_finding(patient, name)
            clear = replace(found, extent=0.5 + 0.5 * found.extent, density=0.6 + 0.4 * found.density)
            film = render(patient, clear, view, size)
            cell = axes[i, j]
            cell.imshow(film.film.numpy(), cmap="gray", vmin=0.0, vmax=1.0, interpolation="lanczos")
            cell.set_xticks([])
            cell.set_yticks([])
            for edge in cell.spines.values():
                edge.set_visible(False)
            if i == 0:
                cell.set_title(name.replace("whiteout_", "white-out:\n"), fontsize=7, pad=3)
            if j == 0:
                cell.set_ylabel(f"{age}, {view if view != 'LATERAL' else 'lateral'}", fontsize=7)
    figure.subplots_adjust(left=0.025, right=0.998, bottom=0.003, top=0.955, wspace=0.03, hspace=0.03)
    figure.savefig(out)
    return Path(out)


def main() -> None:
    """Read the command line and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="image file to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--findings", nargs="+", default=list(COLUMNS), metavar="NAME", help=", ".join(FINDINGS))
    arguments = parser.parse_args()
    contact_sheet(arguments.out, findings=arguments.findings, seed=arguments.seed)


if __name__ == "__main__":
    main()
