"""Which of two subjects does a stress cost more? Paired differences of harm, film by film, corrected for many stresses.

Two subjects are compared on the same films and the same resamples of patients: the difference of what a perturbation
takes from each. Two intervals that overlap, or do not, say nothing of that (Schenker & Gentleman 2001).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from suites.harness import statistics
from suites.harness.predictions.conditions import CLEAN
from suites.harness.statistics import LEVEL
from suites.harness.stress_grid.measuring import CONTROL, Row, SubjectGrid
from suites.harness.stress_grid.relative import RelativeScore, against


@dataclass(frozen=True, kw_only=True)
class PairedHarm:
    """What one perturbation costs two subjects, mean over the severities both were shown.

    Attributes:
        perturbation: its name; `family`, `severities`: as in the grid.
        first, second: points of balanced accuracy each loses, 0 to 1; less than 0 where the stress helps.
        difference: first minus second, with `low` and `high`; NaN where they cannot be paired, and `reason` says why.
        p: two-sided, of no difference; `holm`: adjusted over the perturbations of the pair, controls left out.
        films: that were compared; `patients`: theirs.
    """

    perturbation: str
    family: str
    severities: tuple[int, ...]
    first: float
    second: float
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    holm: float = math.nan
    films: int = 0
    patients: int = 0
    reason: str = ""

    @property
    def settled(self) -> bool:
        """Whether the difference is more than chance, after Holm's correction."""
        return self.holm < 1 - LEVEL


@dataclass(frozen=True, kw_only=True)
class PairUnderStress:
    """Two subjects under every perturbation of a run.

    Attributes:
        first, second: names of the subjects.
        harms: one entry per perturbation, in the order of the grid.
        corruption_error: mCE and relative mCE of the second with the first as reference; below 1 it errs less.
    """

    first: str
    second: str
    harms: tuple[PairedHarm, ...]
    corruption_error: tuple[RelativeScore, ...]

    def worse(self, name: str) -> list[PairedHarm]:
        """Return the perturbations that surely cost this subject more than the other, the largest difference first."""
        sign = 1.0 if name == self.first else -1.0
        found = [harm for harm in self.harms if harm.settled and sign * harm.difference > 0]
        return sorted(found, key=lambda harm: -sign * harm.difference)


def pairs_under_stress(grids: Sequence[SubjectGrid]) -> list[PairUnderStress]:
    """Return every pair of subjects that answered the same films in the same classes."""
    return [
        PairUnderStress(
            first=first.name,
            second=second.name,
            harms=_harms(first, second),
            corruption_error=tuple(score for score in against(second, first) if "mCE" in score.name),
        )
        for first, second in combinations(grids, 2)
        if first.answers.images == second.answers.images
        and first.answers.subject.classes == second.answers.subject.classes
    ]


def _harms(first: SubjectGrid, second: SubjectGrid) -> tuple[PairedHarm, ...]:
    harms = [_harm(first, second, row, other) for row in first.rows if (other := second.row(row.name))]
    tested = [at for at, harm in enumerate(harms) if math.isfinite(harm.p) and harm.family != CONTROL]
    adjusted = statistics.holm(np.array([harms[at].p for at in tested]))
    for at, value in zip(tested, adjusted, strict=True):
        harms[at] = replace(harms[at], holm=float(value))
    return tuple(harms)


def _harm(first: SubjectGrid, second: SubjectGrid, row: Row, other: Row) -> PairedHarm:
    """Return the paired harm of one perturbation over the severities that both subjects have cells of."""
    ours, theirs = ({cell.severity: cell for cell in one.measured} for one in (row, other))
    severities = tuple(severity for severity in ours if severity in theirs)
    found = PairedHarm(
        perturbation=row.name, family=row.family, severities=severities, first=math.nan, second=math.nan,
    )  # fmt: skip
    if not severities:
        return replace(found, reason="no severity was run on both")
    one, two = (
        statistics.average(parts, min(part.patients for part in parts))
        for parts in ([cells[severity].drop for severity in severities] for cells in (ours, theirs))
    )
    found = replace(found, first=one.estimate, second=two.estimate)
    mine, yours = (
        [grid.answers.shared(CLEAN, f"{row.name}@{severity}") for severity in severities] for grid in (first, second)
    )
    if not np.array_equal(mine, yours):
        return replace(found, reason="the subjects have answers to different films")
    gap = statistics.difference(one, two)
    ends = gap.interval()
    return replace(
        found,
        difference=gap.estimate,
        low=ends.low,
        high=ends.high,
        p=min(1.0, 2 * min(gap.p_above(0.0), gap.p_below(0.0))),
        films=max(ours[severity].films for severity in severities),
        patients=gap.patients,
    )
