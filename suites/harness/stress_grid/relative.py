"""How do a subject's errors compare with a reference's? mCE and relative mCE, BE and rBE.

mCE and relative mCE take the plain error (Hendrycks & Dietterich 2019, ICLR, arXiv:1903.12261); BE and rBE the balanced
one (Di Salvo et al. 2024, arXiv:2406.17536). The relative ones divide growth by growth: where the reference hardly
errs more than on clean films the ratio has no meaning, so the cell is named and left out, never averaged in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from robustness import benchmark
from suites.harness import statistics
from suites.harness.errors import NotEvaluable
from suites.harness.formatting.cells import points
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN
from suites.harness.statistics import Sampled
from suites.harness.stress_grid.measuring import CONTROL, Row, SubjectGrid

ALEXNET = "AlexNet on PneumoniaMNIST-C"
SCORES = ("mCE", "relative mCE", "BE", "rBE")


@dataclass(frozen=True, kw_only=True)
class RelativeScore:
    """One number of one subject against one reference; 1 is as bad as the reference, less is better.

    Attributes:
        low, high: 95 % interval over patients, both subjects resampled together; NaN against published numbers.
        per_corruption: the ratios that were averaged.
        left_out: corruption -> why it has no ratio.
    """

    name: str
    subject: str
    reference: str
    value: float
    low: float = math.nan
    high: float = math.nan
    per_corruption: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)


def against(grid: SubjectGrid, reference: SubjectGrid) -> list[RelativeScore]:
    """Return the four scores of a subject against another on the same films, over the corruptions both have.

    Controls do not count. A relative cell is left out where the interval of the reference's growth reaches 0.
    """
    if grid.answers.images != reference.answers.images:
        return []
    shared = [(row, other) for row in grid.rows if row.family != CONTROL and (other := reference.row(row.name))]
    found = []
    for name, of, base in (
        ("mCE", "plain", None),
        ("relative mCE", "plain", "plain_before"),
        ("BE", "error", None),
        ("rBE", "error", "before"),
    ):
        ratios: dict[str, Sampled] = {}
        left_out: dict[str, str] = {}
        for row, other in shared:
            over, under = _growth(row, of, base), _growth(other, of, base)
            reason = _meaningless(under, relative=base is not None)
            if reason:
                left_out[row.name] = reason
                continue
            with np.errstate(divide="ignore", invalid="ignore"):
                drawn, alone = statistics.combined(np.divide, over, under)
            ratios[row.name] = Sampled(
                over.estimate / under.estimate,
                drawn,
                over.patients,
                (-math.inf, math.inf),
                left_out=alone,
                averaged=False,
            )
        found.append(_score(name, grid.name, reference.name, ratios, left_out))
    return found


def _growth(row: Row, of: str, base: str | None) -> Sampled:
    return row.mean(of) if base is None else statistics.difference(row.mean(of), row.mean(base))


def _meaningless(under: Sampled, *, relative: bool) -> str:
    """Return why a ratio over this has no meaning, or nothing."""
    if not relative:
        return "" if under.estimate > 0 else "the reference makes no error"
    low = under.interval().low
    if under.estimate <= 0:
        less = points(-under.estimate, signed=False)
        return f"the reference errs {less} points less than on clean films"
    if low <= 0:
        return (
            f"the reference errs only {points(under.estimate, signed=False)} points more than on clean films (interval "
            f"from {points(low)})"
        )
    return ""


def _score(
    name: str, subject: str, reference: str, ratios: Mapping[str, Sampled], left_out: Mapping[str, str]
) -> RelativeScore:
    values = {corruption: ratio.estimate for corruption, ratio in ratios.items()}
    low = high = math.nan
    if ratios:
        together = statistics.average(list(ratios.values()), min(ratio.patients for ratio in ratios.values()))
        # Resamples in which a reference makes no error at all have no ratio; many of them, and there is no interval.
        # Where nothing varies between them, they do not show how sure the ratio is either.
        if np.isfinite(together.replicates).mean() >= 0.99 and not together.degenerate:
            low, high = together.interval().low, together.interval().high
    return RelativeScore(
        name=name, subject=subject, reference=reference, value=float(np.mean(list(values.values()))) if values else
        math.nan, low=low, high=high, per_corruption=values, left_out=left_out,
    )  # fmt: skip


def against_alexnet(grid: SubjectGrid) -> list[RelativeScore]:
    """Return BE and rBE against the published errors of AlexNet, for the benchmark's task: pneumonia against normal.

    Every class but `normal` counts as pneumonia, in the truth and in the call. Empty where the subject has no such
    class, or not all five severities of a corruption were run.
    """
    answers = grid.answers
    try:
        clean = _two_class_error(answers, CLEAN)
        errors = {
            row.name: [_two_class_error(answers, f"{row.name}@{cell.severity}") for cell in row.cells]
            for row in grid.rows
            if row.name in benchmark.ALEXNET and len(row.cells) == 5
        }
    except NotEvaluable:
        return []
    if not errors:
        return []
    pair = {"BE": benchmark.be(errors), "rBE": benchmark.rbe(errors, clean)}
    return [
        RelativeScore(
            name=name, subject=grid.name, reference=ALEXNET, value=found.mean,
            per_corruption=found.per_corruption, left_out=found.left_out,
        )
        for name, found in pair.items()
    ]  # fmt: skip


def _two_class_error(answers: Answers, condition: str) -> float:
    """Return 1 - balanced accuracy of any pneumonia against normal."""
    normal = answers.class_index("normal")
    among = answers.shared(CLEAN, condition)
    well, calls = answers.labels[among] == normal, answers.called(condition)[among] == normal
    if well.all() or not well.any():
        raise NotEvaluable("both normal films and films of pneumonia are needed")
    return 1 - float(np.mean([calls[well].mean(), (~calls[~well]).mean()]))


def all_scores(grids: tuple[SubjectGrid, ...], *, published: bool) -> Iterator[RelativeScore]:
    """Yield every score: each further subject against the first, and all against AlexNet for its own benchmark."""
    for grid in grids[1:]:
        yield from against(grid, grids[0])
    if published:
        for grid in grids:
            yield from against_alexnet(grid)
