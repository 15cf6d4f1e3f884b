"""What is the grid of a whole run? Every subject on the same perturbations, against one another."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from robustness import presets
from suites.harness.errors import UsageProblem
from suites.harness.formatting.severities import in_units
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import Condition, parse
from suites.harness.stress_grid import gallery
from suites.harness.stress_grid.kept_cells import KeptCells
from suites.harness.stress_grid.measuring import CONTROL, SubjectGrid, measure, measure_grid
from suites.harness.stress_grid.relative import RelativeScore, all_scores

PUBLISHED = "medmnist-c"
"""The preset that reproduces a published benchmark, so that its reference errors apply."""


@dataclass(frozen=True, kw_only=True)
class StressGrid:
    """Everything the report's section is made from.

    Attributes:
        preset: name of the preset; empty where only the conditions of the claims were run.
        about: what was run, in one sentence.
        subjects: one grid each.
        scores: relative errors.
        film: id of the film shown in the strips, picked by rule.
    """

    preset: str
    about: str
    subjects: tuple[SubjectGrid, ...]
    scores: tuple[RelativeScore, ...]
    film: str

    def strips(self) -> Iterator[gallery.Strip]:
        """Yield what every perturbation does to one film, with the first subject's calls."""
        yield from gallery.strips(self.subjects[0], self.film)

    def cells(self) -> pd.DataFrame:
        """Return one row per subject, perturbation and severity: the content of stress-grid.csv."""
        rows = []
        for grid in self.subjects:
            for row in grid.rows:
                for cell in row.cells:
                    drop = cell.drop.interval() if cell.films else None
                    rows.append({
                        "subject": grid.name, "perturbation": row.name, "family": row.family,
                        "severity": cell.severity,
                        "severity_in_units": in_units(f"{row.name}@{cell.severity}", plain=True),
                        "films": cell.films, "undefined": cell.undefined,
                        "balanced_error": cell.error.estimate, "balanced_error_clean": cell.before.estimate,
                        "drop": drop.estimate if drop else math.nan, "drop_low": drop.low if drop else math.nan,
                        "drop_high": drop.high if drop else math.nan, "error": cell.plain.estimate,
                        "error_clean": cell.plain_before.estimate, "flip_rate": cell.flips,
                        **{f"recall_drop_{name}": value for name, value in cell.recall_drops.items()},
                    })  # fmt: skip
        return pd.DataFrame(rows)

    def summary(self) -> pd.DataFrame:
        """Return one row per subject and perturbation: the content of stress-grid-summary.csv."""
        rows = []
        for grid in self.subjects:
            for row in grid.rows:
                drop, (worst, fall) = row.mean("drop").interval(), row.worst_class
                rows.append({
                    "subject": grid.name, "perturbation": row.name, "family": row.family,
                    "control": row.family == CONTROL, "severities": len(row.cells),
                    "mean_balanced_error": row.mean("error").estimate, "mean_drop": drop.estimate,
                    "mean_drop_low": drop.low, "mean_drop_high": drop.high, "mean_flip_rate": row.flips,
                    "worst_class": worst, "worst_recall_drop": fall, "page_p": row.trend, "page_p_holm": row.holm,
                    **{f"{score.name} vs {score.reference}": score.per_corruption.get(row.name, math.nan)
                       for score in self.scores if score.subject == grid.name},
                })  # fmt: skip
        return pd.DataFrame(rows)


def preset_conditions(name: str | None) -> list[Condition]:
    """Return the conditions of a preset; none without one.

    Raises:
        UsageProblem: there is no such preset.
    """
    if not name:
        return []
    try:
        return [parse(f"{perturbation}@{severity}") for perturbation, severity in presets.get(name)]
    except ValueError as unknown:
        raise UsageProblem(str(unknown)) from unknown


def stress_grid(
    answers: Sequence[Answers],
    name: str | None,
    asked: Collection[str] | None = None,
    kept: KeptCells | None = None,
) -> StressGrid | None:
    """Return the grid of a run; `None` where no film is labelled or no perturbation was run.

    Args:
        answers: of every subject on the cohort under test; the first is the reference of the others.
        name: of the preset, or `None`: whatever perturbations the claims needed.
        asked: conditions that were asked for; without a preset no others are shown. By default all that were run.
        kept: where cells of many films are found again; `None`: nowhere.
    """
    chosen = preset_conditions(name)
    grids = []
    for item in answers:
        run = map(str, item.predictions.table["condition"].unique())
        ran = [parse(text) for text in run if asked is None or text in asked]
        wanted = [c for c in chosen if c.text not in item.predictions.failed] or [
            c for c in ran if len(c.steps) == 1 and c.severity and c.preprocessing is None
        ]
        if wanted and (item.labels >= 0).any():
            ask = partial(measure, item, wanted)
            texts = [condition.text for condition in wanted]
            found = kept.once(item.subject.name, len(item.images), texts, ask) if kept else ask()
            grids.append(measure_grid(item, wanted, found))
    if not grids or not grids[0].rows:
        return None
    subjects = tuple(grids)
    return StressGrid(
        preset=name or "",
        about=f"Preset {name}: {presets.get(name).about}." if name else "No preset was asked for, so these are the "
        "conditions that the claims needed; --preset standard runs every perturbation at every severity.",
        subjects=subjects,
        scores=tuple(all_scores(subjects, published=name == PUBLISHED)),
        film=gallery.pick_film(subjects[0].answers),
    )  # fmt: skip
