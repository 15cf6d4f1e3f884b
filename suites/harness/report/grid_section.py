"""What does the section "Stress grid" show? Its files, pictures and rows, prepared for the template."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from robustness.card import Card
from suites.harness.counts import counted
from suites.harness.formatting.severities import card
from suites.harness.formatting.wording import ends, number, p_value, plain_name, slug, spanned, stress
from suites.harness.report import pictures
from suites.harness.report.heat_map import heat_map
from suites.harness.report.pictures import Picture
from suites.harness.report.table import Table, as_table
from suites.harness.report.views import Shot
from suites.harness.statistics import Sampled
from suites.harness.stress_grid import Row, StressGrid, SubjectGrid
from suites.harness.stress_grid.measuring import CONTROL

FILES = (
    ("stress-grid.csv", "errors, paired harm with intervals and flips of every perturbation at every severity"),
    ("stress-grid-summary.csv", "the same by perturbation, with trend tests and errors relative to a reference"),
    ("perturbations.html", "what each perturbation stands for: physics, sources, beside real films"),
)
CARDS = FILES[2][0]


@dataclass(frozen=True, kw_only=True)
class SubjectPart:
    """What the section shows of one subject.

    Attributes:
        left_out: sentences on what has no number, and why.
    """

    name: str
    picture: Picture
    png: str
    table: Table
    left_out: list[str]


@dataclass(frozen=True, kw_only=True)
class GridSection:
    """The whole section.

    Attributes:
        shots: one picture series of every perturbation.
        cards: what each of them stands for, in the order of `shots`; `captions` the severities that were run, in units.
    """

    about: str
    films: str
    parts: list[SubjectPart]
    scores: Table
    notes: list[str]
    shots: list[Shot]
    cards: list[Card]
    captions: list[str]


def write_grid(grid: StressGrid, folder: Path) -> GridSection:
    """Write the section's tables and pictures into a report's folder; return what the template shows."""
    grid.cells().to_csv(folder / FILES[0][0], index=False)
    grid.summary().to_csv(folder / FILES[1][0], index=False)
    first = grid.subjects[0]
    shots, cards, captions = [], [], []
    run = {row.name: {cell.severity for cell in row.cells} for row in first.rows}
    (folder / "figures").mkdir(exist_ok=True)
    for strip in grid.strips():
        name = f"figures/grid.{slug(strip.name)}.jpg"
        (folder / name).write_bytes(strip.jpeg)
        title = stress(strip.name)
        width, height = strip.size
        picture = Picture(file=name, title=title, kind="film", width=width, height=height, labels=strip.labels)
        shots.append(Shot(picture=picture, caption=title, facts={"calls": strip.caption}))
        told = card(strip.name)
        cards.append(told)
        ran = {level: told.severities[level] for level in sorted(run.get(strip.name, ())) if level in told.severities}
        captions.append("; ".join(f"{level}: {text}" for level, text in ran.items()))
    return GridSection(
        about=grid.about,
        films=f"film {grid.film}: right on clean films and of median confidence among those, for {first.name}"
        if (first.answers.correct() == 1).any()
        else f"film {grid.film}: of median confidence for {first.name}, which gets no clean film right",
        parts=[_part(item, folder) for item in grid.subjects],
        scores=as_table(_scores(grid)),
        notes=_notes(grid),
        shots=shots,
        cards=cards,
        captions=captions,
    )


def _part(grid: SubjectGrid, folder: Path) -> SubjectPart:
    severities = sorted({cell.severity for row in grid.rows for cell in row.cells})
    falls = {_named(row): {cell.severity: cell.drop.estimate for cell in row.cells} for row in grid.rows}
    stem = f"grid.{slug(grid.name)}"
    title = f"Stress grid of {grid.name}"
    unsure = {(_named(row), cell.severity) for row in grid.rows for cell in row.measured if _holds_zero(cell.drop)}
    draw = partial(heat_map, falls, severities, title=title, unsure=unsure)
    picture = pictures.store(draw, folder, stem, title)
    png = ""
    if picture.file:
        png = f"figures/{stem}.png"
        draw().savefig(folder / png, dpi=130, facecolor="white", metadata={"Software": None})
        picture = replace(picture, title=f"{title}: points of balanced accuracy lost by perturbation and severity")
    left_out = [f"{stress(name)} is undefined for every film: {reason}." for name, reason in grid.missing.items()]
    for row in grid.rows:
        counts = [
            f"{counted(cell.undefined, 'film')} at severity {cell.severity}" for cell in row.cells if cell.undefined
        ]
        if counts:
            left_out.append(f"{stress(row.name)} is undefined for {', '.join(counts)}.")
    return SubjectPart(name=grid.name, picture=picture, png=png, table=as_table(_table(grid)), left_out=left_out)


def _holds_zero(drop: Sampled) -> bool:
    ends = drop.interval()
    return ends.low <= 0 <= ends.high


def _named(row: Row) -> str:
    return stress(row.name) + (" (control)" if row.family == CONTROL else "")


def _run(row: Row) -> tuple[int, ...]:
    """Return the severities that a row's means are over."""
    return tuple(cell.severity for cell in row.measured)


def _table(grid: SubjectGrid) -> pd.DataFrame:
    """Return the rows as text: means over the same severities stand together, in each group the worst first."""

    def place(row: Row) -> tuple[int, tuple[int, ...], float]:
        return -len(_run(row)), _run(row), -row.mean("drop").estimate

    rows = []
    for row in sorted(grid.rows, key=place):
        drop, (worst, fall) = row.mean("drop").interval(), row.worst_class
        rows.append(
            {"perturbation": _named(row), "severities": ", ".join(map(str, _run(row)))}
            | {
                "mean error": _percent(row.mean("error").estimate),
                "mean loss (95 %)": spanned(drop.estimate, drop.low, drop.high, "points"),
                "flip rate": _percent(row.flips),
                "worst class": f"{plain_name(worst)} {number(fall, 'points')}" if fall > 0 else "none loses",
                "rises with severity (Holm p)": p_value(row.holm),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _percent(value: float) -> str:
    return number(value, "share")


def _scores(grid: StressGrid) -> pd.DataFrame:
    rows = [
        {
            "subject": score.subject,
            "score": score.name,
            "reference (1.000)": score.reference,
            "value": number(score.value) if np.isfinite(score.value) else "",
            "95 % interval": ends(score.low, score.high) if np.isfinite(score.low) else "",
            "corruptions": len(score.per_corruption),
            "left out": len(score.left_out),
        }
        for score in grid.scores
    ]
    return pd.DataFrame(rows)


def _notes(grid: StressGrid) -> list[str]:
    """Name every cell that has no ratio, once per reference and reason."""
    told: dict[tuple[str, str, str], list[str]] = {}
    for score in grid.scores:
        for name, reason in score.left_out.items():
            told.setdefault((score.reference, name, reason), []).append(f"{score.name} of {score.subject}")
    return [
        f"{stress(name)} is left out of {', '.join(whose)} against {reference}: {reason}."
        for (reference, name, reason), whose in told.items()
    ]
