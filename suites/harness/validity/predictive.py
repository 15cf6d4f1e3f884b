"""How well does the drop under a perturbation foretell the drop at a hospital, over subjects? Rank and calibration.

A perturbation ranks subjects well where Spearman's correlation of predicted and measured drop is near 1, and it is
calibrated where what it foretells is what is lost (mean error 0, slope 1). Both drops start from the same accuracy at
home, and who has more can lose more, so that accuracy alone ranks subjects, too: it stands beside as what to beat.
Intervals resample subjects with replacement (percentile bootstrap); p of the correlation is that of exchanging the
subjects, every order of them up to seven and ten thousand orders beyond, corrected over the conditions of a hospital by
Holm. With few subjects both are wide: that is what so few can tell.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

from suites.harness.statistics import LEVEL, RESAMPLES, holm

FEWEST, FEW = 4, 10
"""Subjects below which nothing is said of a perturbation, and below which every number is called exploratory."""
FEWEST_PATIENTS = 10
"""Patients of a class at the hospital below which its drop is too uncertain to be foretold."""
USEFUL = 0.5
"""Rank correlation below which a perturbation says little of who loses more."""
_ALL_ORDERS = 7
_ORDERS = 10_000
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ends:
    """A number with the ends of its interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Validity:
    """What one perturbation at one severity says about one hospital.

    Attributes:
        hospital, condition: of what by what; `subjects`: how many it rests on.
        rank: Spearman's correlation of predicted and measured drop; NaN where one of them is the same for all.
        error: mean of predicted less measured; `slope` of measured on predicted, by least squares.
        p, holm: two-sided, of exchanging the subjects; the second over the conditions of the hospital.
        problem: why there are no numbers; empty where there are.
    """

    hospital: str
    condition: str
    subjects: int
    rank: Ends = Ends(math.nan, math.nan, math.nan)
    error: Ends = Ends(math.nan, math.nan, math.nan)
    slope: Ends = Ends(math.nan, math.nan, math.nan)
    p: float = math.nan
    holm: float = math.nan
    problem: str = ""

    @property
    def word(self) -> str:
        """What a reader may conclude."""
        if self.problem:
            return self.problem
        if math.isfinite(self.holm) and self.holm < 1 - LEVEL:
            return "ranks subjects as the hospital does" if self.rank.estimate > 0 else "ranks them the wrong way round"
        return "predicts little" if self.rank.high < USEFUL else "not settled by these subjects"


def no_stress(drops: pd.DataFrame, *, seed: int = 0) -> Ends:
    """Return the rank correlation of the accuracy at home, without any stress, with the drop at one hospital.

    Args:
        drops: of one hospital; columns `report`, `subject`, `at_home`, `measured`, `patients`.
        seed: of the resamples.
    """
    alone = drops.drop_duplicates(["report", "subject"])
    return _validity(alone.assign(predicted=alone["at_home"], condition="no stress"), seed).rank


def validities(drops: pd.DataFrame, *, seed: int = 0) -> list[Validity]:
    """Return what every condition says about every hospital, in the order of the table.

    Args:
        drops: columns `hospital`, `condition`, `subject`, `report`, `predicted`, `measured`, `patients` (see `drops`).
        seed: of resamples and of random orders.
    """
    found = []
    for _, of_hospital in drops.groupby("hospital", sort=False):
        mine = [_validity(rows, seed) for _, rows in of_hospital.groupby("condition", sort=False)]
        tested = [index for index, one in enumerate(mine) if math.isfinite(one.p)]
        adjusted = holm(np.asarray([mine[index].p for index in tested])) if tested else np.empty(0)
        for index, value in zip(tested, adjusted, strict=True):
            mine[index] = Validity(**{**vars(mine[index]), "holm": float(value)})
        found += mine
    return found


def _validity(rows: pd.DataFrame, seed: int) -> Validity:
    predicted, measured = (rows[name].to_numpy(np.float64) for name in ("predicted", "measured"))
    hospital, condition = (str(rows[name].iloc[0]) for name in ("hospital", "condition"))
    n = len(rows)
    if n < FEWEST:
        return Validity(hospital=hospital, condition=condition, subjects=n, problem=f"needs {FEWEST} subjects")
    if (fewest := int(rows["patients"].min())) < FEWEST_PATIENTS:
        problem = f"what was lost there is not known: {fewest} patients of a class"
        return Validity(hospital=hospital, condition=condition, subjects=n, problem=problem)
    key = hashlib.sha256(f"validity\x1f{seed}\x1f{hospital}\x1f{condition}".encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(key[:16], "little")))
    drawn = generator.integers(0, n, (RESAMPLES, n))
    x, y = predicted[drawn], measured[drawn]
    rank = _correlation(*(_ranks(values[None]) for values in (predicted, measured)))[0]
    return Validity(
        hospital=hospital,
        condition=condition,
        subjects=n,
        rank=_ends(float(rank), _correlation(_ranks(x), _ranks(y))),
        error=_ends(float((predicted - measured).mean()), (x - y).mean(axis=1)),
        slope=_ends(float(_slope(predicted[None], measured[None])[0]), _slope(x, y)),
        p=_exchanged(predicted, measured, float(rank), generator),
        problem="" if math.isfinite(rank) else "the same for every subject",
    )


def _ranks(values: Floats) -> Floats:
    """Return (B, n) ranks within rows, ties sharing theirs."""
    return np.asarray(rankdata(values, axis=1), dtype=np.float64)


def _correlation(x: Floats, y: Floats) -> Floats:
    """Return (B,) correlations of rows; NaN where a row does not vary."""
    a, b = (values - values.mean(axis=1, keepdims=True) for values in (x, y))
    norm = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(norm > 1e-12, np.clip((a * b).sum(axis=1) / norm, -1, 1), np.nan))


def _slope(x: Floats, y: Floats) -> Floats:
    """Return (B,) slopes of y on x by least squares."""
    a = x - x.mean(axis=1, keepdims=True)
    spread = (a * a).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(spread > 1e-15, (a * y).sum(axis=1) / spread, np.nan))


def _ends(estimate: float, replicates: Floats) -> Ends:
    """Return the percentile interval; none where a resample in twenty has no value."""
    known = replicates[np.isfinite(replicates)]
    if not math.isfinite(estimate) or len(known) < LEVEL * len(replicates):
        return Ends(estimate, math.nan, math.nan)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Ends(estimate, float(low), float(high))


def _exchanged(predicted: Floats, measured: Floats, rank: float, generator: np.random.Generator) -> float:
    """Return the two-sided p of the rank correlation when the measured drops belong to other subjects."""
    if not math.isfinite(rank):
        return math.nan
    n = len(measured)
    if n <= _ALL_ORDERS:
        orders = np.asarray(list(itertools.permutations(range(n))))
    else:
        orders = np.argsort(generator.random((_ORDERS, n)), axis=1)
    ranks = _ranks(predicted[None])
    others = _correlation(np.repeat(ranks, len(orders), axis=0), _ranks(measured[None])[0][orders])
    as_far = int((np.abs(others) >= abs(rank) - 1e-9).sum())
    return as_far / len(orders) if n <= _ALL_ORDERS else (as_far + 1) / (len(orders) + 1)
