"""What does each cell of the grid do to one subject? Errors, paired harm, flips, and the trend by severity.

Everything is paired: clean and changed answers of the same films, resampled as whole patients within class. Films for
which a cell is undefined are counted and left out of both sides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from robustness import perturbation
from suites.harness import statistics
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN, Condition
from suites.harness.statistics import Floats, Resamples, Rows, Sampled, difference, products

CONTROL = "control"
"""The family whose members stand beside others; they are shown, and left out of every mean over corruptions."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One perturbation at one severity.

    Attributes:
        films: labelled films it is defined for; `undefined` the labelled films it is not.
        error: 1 - balanced accuracy; `before` the same on the clean version of the same films.
        plain: share of films called wrong; `plain_before` on the clean version.
        flips: share of films whose call changes, right or wrong.
        recall_drops: class -> fall of its recall, paired.
    """

    severity: int
    films: int
    undefined: int
    error: Sampled
    before: Sampled
    plain: Sampled
    plain_before: Sampled
    flips: float
    recall_drops: Mapping[str, float]

    @property
    def drop(self) -> Sampled:
        """Fall of the balanced accuracy from clean to changed films."""
        return difference(self.error, self.before)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One perturbation over its severities.

    Attributes:
        trend: one-sided p of Page's L for harm rising with severity, patients as blocks; NaN below three severities.
        holm: the same, adjusted over the perturbations of the grid.
    """

    name: str
    family: str
    cells: tuple[Cell, ...]
    trend: float = math.nan
    holm: float = math.nan

    @cached_property
    def measured(self) -> tuple[Cell, ...]:
        """The cells that are defined for at least one film."""
        return tuple(cell for cell in self.cells if cell.films)

    def mean(self, of: str) -> Sampled:
        """Return the mean over severities of a cell's `error`, `before`, `plain`, `plain_before` or `drop`."""
        parts = [getattr(cell, of) for cell in self.measured]
        return statistics.average(parts, min(part.patients for part in parts))

    @property
    def flips(self) -> float:
        """Mean share of films whose call changes."""
        return float(np.mean([cell.flips for cell in self.measured]))

    @property
    def worst_class(self) -> tuple[str, float]:
        """The class whose recall falls most, and by how much, mean over severities."""
        names = self.measured[0].recall_drops
        falls = {
            name: float(np.mean([cell.recall_drops[name] for cell in self.measured if name in cell.recall_drops]))
            for name in names
        }
        return max(falls.items(), key=lambda item: item[1])


@dataclass(frozen=True, kw_only=True)
class SubjectGrid:
    """The grid of one subject.

    Attributes:
        answers: what it was measured on; `rows` in the order of the conditions.
        missing: perturbations that are undefined for every film, each with the reason.
    """

    answers: Answers
    rows: tuple[Row, ...]
    missing: Mapping[str, str]

    @property
    def name(self) -> str:
        """The subject's name."""
        return self.answers.subject.name

    def row(self, name: str) -> Row | None:
        """Return the row of a perturbation."""
        return next((row for row in self.rows if row.name == name), None)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What takes long to measure of a grid.

    Attributes:
        cells: one for each condition.
        trends: perturbation -> p of Page's L (see `Row`), of those that are defined for any film.
    """

    cells: tuple[Cell, ...]
    trends: Mapping[str, float]


def measure(answers: Answers, conditions: Sequence[Condition]) -> Measured:
    """Return the cells of some conditions in their order, and the trends of their perturbations."""
    found = _cells(answers, [condition.text for condition in conditions])
    cells = tuple(replace(cell, severity=one.severity) for one, cell in zip(conditions, found, strict=True))
    defined = {one.perturbation for one, cell in zip(conditions, cells, strict=True) if cell.films}
    names = dict.fromkeys(one.perturbation for one in conditions if one.perturbation in defined)
    return Measured(
        cells=cells,
        trends={
            name: _trend(answers, [one.text for one in by_severity(conditions) if one.perturbation == name])
            for name in names
        },
    )


def by_severity(conditions: Sequence[Condition]) -> list[Condition]:
    """Return conditions by their severity, of equals in their order."""
    return sorted(conditions, key=lambda one: one.severity)


def measure_grid(answers: Answers, conditions: Sequence[Condition], measured: Measured | None = None) -> SubjectGrid:
    """Return the grid of one subject over plain perturbations (one step, no remedy).

    Args:
        answers: of the subject; films without a label are left out.
        conditions: what was predicted, each with one perturbation at one severity.
        measured: under these conditions, where that has been done.
    """
    measured = measured or measure(answers, conditions)
    by_name: dict[str, list[tuple[Condition, Cell]]] = {}
    for condition, cell in zip(conditions, measured.cells, strict=True):
        by_name.setdefault(condition.perturbation, []).append((condition, cell))
    rows, missing = [], {}
    for name, found in by_name.items():
        found.sort(key=lambda pair: pair[1].severity)
        row = Row(name=name, family=perturbation.get(name).family, cells=tuple(cell for _, cell in found))
        if row.measured:
            rows.append(replace(row, trend=measured.trends[name]))
        else:
            missing[name] = _reason(answers, found[0][0].text)
    trends = np.array([row.trend for row in rows])
    tested = np.isfinite(trends)
    adjusted = np.full(len(rows), math.nan)
    adjusted[tested] = statistics.holm(trends[tested])
    rows = [replace(row, holm=float(value)) for row, value in zip(rows, adjusted, strict=True)]
    return SubjectGrid(answers=answers, rows=tuple(rows), missing=missing)


def _cells(answers: Answers, conditions: Sequence[str]) -> list[Cell]:
    """Return the cells, severity still 0: all conditions of a class in three matrix products."""
    labelled = answers.labels >= 0
    wrong_before, clean = answers.correct(CLEAN) == 0, answers.called(CLEAN)
    wrong = np.stack([answers.correct(condition) == 0 for condition in conditions], axis=1)
    seen = np.stack([answers.shared(CLEAN, condition) & labelled for condition in conditions], axis=1)
    changed = [
        int((seen[:, at] & (answers.called(condition) != clean)).sum()) for at, condition in enumerate(conditions)
    ]
    present = [index for index in range(len(answers.subject.classes)) if (answers.labels == index).any()]
    among = [*(answers.labels == index for index in present), labelled]
    *parts, whole = (
        paired_errors(answers.resamples.subset(inside), seen[inside], wrong[inside], wrong_before[inside])
        for inside in among
    )
    found = []
    for at in range(len(conditions)):
        films = int(seen[:, at].sum())
        here = [(index, part[at]) for index, part in zip(present, parts, strict=True) if part[at][0].patients]
        patients = whole[at][0].patients
        nothing = whole[at]
        error, before = (
            statistics.average([pair[side] for _, pair in here], patients) if here else nothing[side] for side in (0, 1)
        )
        found.append(
            Cell(
                severity=0,
                films=films,
                undefined=int(labelled.sum()) - films,
                error=error,
                before=before,
                plain=whole[at][0],
                plain_before=whole[at][1],
                flips=changed[at] / films if films else math.nan,
                recall_drops={
                    answers.subject.classes[index]: pair[0].estimate - pair[1].estimate for index, pair in here
                },
            )
        )
    return found


def paired_errors(
    resamples: Resamples,
    seen: npt.NDArray[np.bool_],
    wrong: npt.NDArray[np.bool_],
    wrong_before: npt.NDArray[np.bool_],
) -> list[tuple[Sampled, Sampled]]:
    """Return, per condition, the share of wrong films, changed and clean, with the patients' resamples.

    Args:
        resamples: of the patients of the N films.
        seen: (N, C) whether a film has an answer under each condition, and a clean one.
        wrong: (N, C) whether that answer is wrong.
        wrong_before: (N,) whether the clean one is.
    """
    rows = resamples.rows
    marked = [_numbers(one, rows) for one in (seen, seen & wrong, seen & wrong_before[:, None])]
    totals, *missed = products(rows, *marked)
    first = 1 + len(resamples.weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        sides = [of_missed / totals for of_missed in missed]
    pairs = []
    for at in range(seen.shape[1]):
        patients = len(np.unique(resamples.cluster[seen[:, at]]))
        after, before = (
            Sampled(float(side[0, at]), side[1:first, at].copy(), patients, left_out=side[first:, at].copy())
            for side in sides
        )
        pairs.append((after, before))
    return pairs


def _numbers(marked: npt.NDArray[np.bool_], rows: Floats | Rows) -> npt.NDArray[Any]:
    """Return marks as the numbers a product takes: of a large cohort it makes them itself, some patients at a time."""
    return marked.view(np.uint8) if isinstance(rows, Rows) and rows.binned else marked.astype(np.float64)


def _trend(answers: Answers, conditions: Sequence[str]) -> float:
    """Return Page's p for the probability missing from the truth to rise with severity; patients are the blocks.

    That probability has few ties where right and wrong would have many. Only films with every severity count.
    """
    among = answers.shared(CLEAN, *conditions)
    if len(conditions) < 3 or len(set(answers.patients[among])) < 2:
        return math.nan
    truth = answers.labels[among]
    missing = [1 - answers.probabilities(name)[among][np.arange(len(truth)), truth] for name in conditions]
    return statistics.page_trend(np.stack(missing, axis=1), answers.patients[among])


def _reason(answers: Answers, condition: str) -> str:
    table = answers.predictions.table
    reasons = table.loc[table["condition"] == condition, "undefined"].astype(str)
    return str(reasons.mode().iloc[0]) if len(reasons) else "undefined for every film"
