"""How sure is a number when films of one patient resemble each other? Intervals and paired comparisons.

Films of one patient are not independent, so every interval on a cohort comes from a bootstrap over *patients* within
class; a comparison is the interval of the paired difference on the same resamples (Efron & Tibshirani 1993; Davison &
Hinkley 1997, 3.8). The interval is bias-corrected and accelerated (`calibration.accelerated`), p values are its
inversion; a difference of two groups without a common patient takes the intervals of both (Zou & Donner 2008,
10.1002/sim.3095). Where a resample cannot vary (nothing flipped, everything right) a bootstrap would claim certainty,
so the exact binomial bound over patients takes its place, and where hardly anything varies no interval is narrower than
that. Nor is that of a mean over classes narrower than what a class of few patients leaves open. Wilson comes from
statsmodels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from statsmodels.stats.proportion import proportion_confint

from calibration.accelerated import Accelerated
from suites.harness.statistics.exact_bounds import chance_of_none, largest_unseen
from suites.harness.statistics.poisson_draws import Floats
from suites.harness.statistics.resamples import RESAMPLES, Resamples, means

LEVEL = 0.95
BOOTSTRAP = f"patient bootstrap within class, B={RESAMPLES}, BCa with Student's t, {100 * LEVEL:g} %"
WIDENED = f"{BOOTSTRAP}, at least the exact bound of no event (few values among the resamples)"
OF_ONE = "anything is possible: one side of it is a single patient"
THIN = f"{BOOTSTRAP}, at least what its classes leave open one by one (few patients of one)"
EXACT = f"exact binomial bound over patients, {100 * LEVEL:g} % (nothing varies between resamples)"
RARE = math.exp(-3)
"""Share of resamples without any event when three patients show one (Poisson). With fewer events a bootstrap is blind
to what it did not draw; a statistic that varies has far fewer equal replicates."""
FEW = 30
"""Patients of a class below which a mean over classes is no surer than its classes are one by one (MOVER, Zou & Donner
2008): the resamples of one or two patients hardly vary, whatever the next one would show. Simulated, two classes, films
in clusters: of one patient beside 50 the bootstrap alone covers .16, of two .69, of five .86, of ten to twenty .93, of
thirty .96; so widened .97 to 1."""
EVENTS = 10
"""Patients on the rarer side (a wrong call) below which what lives on them has no interval that holds (simulated)."""


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its interval."""

    estimate: float
    low: float
    high: float


def wilson(successes: int, trials: int, level: float = LEVEL) -> Interval:
    """Return the Wilson score interval of a proportion of independent trials (Wilson 1927).

    Raises:
        ValueError: no trials, or more successes than trials.
    """
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials: expected 0 <= successes <= trials and trials > 0")
    low, high = proportion_confint(successes, trials, alpha=1 - level, method="wilson")
    return Interval(successes / trials, float(low), float(high))


@dataclass(frozen=True)
class Sampled:
    """An estimate with its bootstrap replicates.

    Attributes:
        estimate: on the films themselves.
        replicates: (B,) on the resamples; NaN where a resample lacks a class.
        patients: clusters it rests on.
        bounds: the values the statistic can take, (0, 1) for a rate, (-1, 1) for a difference of rates, (0, K) for the
            size of a set. They say how much a share of patients nobody saw can move a mean.
        strata: clusters of each of the parts it is the plain mean of (the classes of a balanced accuracy), no cluster
            in two of them; empty where there is one part only. They decide the exact bound when nothing varies.
        left_out: (R,) with one patient left out at a time (`Resamples.left_out`); None where that was not computed.
        apart: the two statistics it is the difference of, where they have no patient in common.
        events: patients on the rarer side of what it lives on (a wrong call), None where every patient counts.
        averaged: whether it is a mean over patients, so that a share of patients nobody saw bounds it. A median is
            none: its resamples repeat values by nature, and a share is no number of grey levels. Nor is a fitted
            temperature, a ratio, or whatever has no bounds.
        coarse: how far bins, into which a large cohort is counted, may move it; either end lies so much further out.
        of: the statistics it is the plain mean of, where no patient is in two of them (those of `strata`).
    """

    estimate: float
    replicates: Floats
    patients: int
    bounds: tuple[float, float] = (0.0, 1.0)
    strata: tuple[int, ...] = ()
    left_out: Floats | None = None
    apart: tuple[Sampled, Sampled] | None = None
    events: int | None = None
    averaged: bool = True
    coarse: float = 0.0
    of: tuple[Sampled, ...] = ()

    @property
    def parts(self) -> tuple[int, ...]:
        """Clusters of each part, at least 1."""
        return tuple(max(count, 1) for count in self.strata or (self.patients,))

    @cached_property
    def _accelerated(self) -> Accelerated:
        return Accelerated.of(self.estimate, self.replicates, self.left_out, self.patients)

    @cached_property
    def _commonest(self) -> float:
        """Share of the replicates that have exactly the same value; 1 where there is none."""
        if not np.isfinite(self.replicates).any():
            return 1.0
        ordered = self._accelerated.ordered
        if ordered[-1] - ordered[0] < 1e-12:
            return 1.0
        rounded = ordered.round(12)
        starts = np.flatnonzero(rounded[1:] != rounded[:-1]) + 1  # of runs of equal ones, but the first
        starts = np.concatenate(([0], starts, [ordered.size]))
        return float((starts[1:] - starts[:-1]).max() / ordered.size)

    @property
    def degenerate(self) -> bool:
        """Whether no resample differs, so that the bootstrap says nothing about the uncertainty."""
        return self._commonest == 1.0

    @cached_property
    def rare(self) -> bool:
        """Whether so few patients show what it counts that the exact bound of none at all speaks, too."""
        return self.averaged and math.isfinite(self._reach) and self._commonest >= RARE

    @property
    def _of_one(self) -> bool:
        """Whether one side of what it compares is a single patient: nothing tells how another would be."""
        alone = self.strata == (1,) and self.patients > 1 and self.apart is None
        return alone and math.isfinite(self.bounds[1] - self.bounds[0])

    @cached_property
    def _thin(self) -> bool:
        """Whether a class that it is a mean of has so few patients that its own resamples tell too little."""
        return not self.rare and any(min(part.parts) < FEW and part.rare for part in self.of)

    @property
    def _reach(self) -> float:
        """The most by which one film can move a mean; the bounds of a difference are twice that apart."""
        return self.bounds[1] - max(self.bounds[0], 0.0)

    @property
    def estimator(self) -> str:
        """Name of what the interval is."""
        if self.apart is not None:
            return f"{BOOTSTRAP}, of each of two groups"
        counted = f", counted in bins (both ends {self.coarse:.1g} further out)" if self.coarse else ""
        if self._of_one:
            return OF_ONE
        if self.rare:
            return (EXACT if self.degenerate else WIDENED) + counted
        return (THIN if self._thin else BOOTSTRAP) + counted

    @property
    def too_few(self) -> str:
        """Why no verdict may rest on the interval: too few patients for it to hold what it promises; empty if not."""
        if self.events is None or self.events >= EVENTS:
            return ""
        return f"too few patients for an interval that holds ({self.events} on the rarer side, needs {EVENTS})"

    def interval(self, level: float = LEVEL) -> Interval:
        """Return the interval, where events are rare at least as wide as the exact bound of none at all.

        The bound (Clopper-Pearson, two-sided) is over patients: none of n showed the opposite. A bootstrap of one
        event in 200 patients would be narrower than the bound of none. A mean without bounds (a log loss) has no such
        bound: NaN, where nothing varies.
        """
        if level not in self._intervals:
            self._intervals[level] = Interval(self.estimate, self.low_at(level), self.high_at(level))
        return self._intervals[level]

    @cached_property
    def _intervals(self) -> dict[float, Interval]:
        return {}  # a table, a sentence and a verdict ask for the same one

    @property
    def _unbounded(self) -> bool:
        """Whether nothing varies and nothing bounds it, so that there is no interval."""
        return self.averaged and self.degenerate and not math.isfinite(self._reach)

    def low_at(self, level: float) -> float:
        """Return the low end of the interval of a level."""
        return math.nan if self._unbounded else self._end(0.5 * (1 - level), above=False)

    def high_at(self, level: float) -> float:
        """Return the high end of the interval of a level."""
        return math.nan if self._unbounded else self._end(0.5 * (1 - level), above=True)

    def p_above(self, margin: float) -> float:
        """Return the one-sided p of the hypothesis that the true value does not exceed the margin."""
        margin += self.coarse
        return self._p(self.estimate - margin, margin, above=True)

    def p_below(self, margin: float) -> float:
        """Return the one-sided p of the hypothesis that the true value is not below the margin."""
        margin -= self.coarse
        return self._p(margin - self.estimate, margin, above=False)

    def _end(self, tail: float, *, above: bool) -> float:
        """Return the high end, or the low one, that the truth lies beyond with a chance of `tail`."""
        sign, bound, farther = (1, self.bounds[1], max) if above else (-1, self.bounds[0], min)
        if self._of_one:
            return bound
        level = 1 - 2 * tail
        if self.apart is not None:
            after, before = self.apart
            end = self.estimate + sign * math.hypot(after.off(level, above=above), before.off(level, above=not above))
        else:
            end = self.estimate
            if not self.degenerate:
                end = farther(end, self._accelerated.end(1 - tail if above else tail))
            end = farther(end, self.estimate + sign * self._room(tail, above=above)) + sign * self.coarse
            if self._thin:
                off = math.hypot(*(one.off(level, above=above) for one in self.of)) / len(self.of)
                end = farther(end, self.estimate + sign * off)
        if not math.isfinite(self.estimate):
            return end
        return min(end, bound) if above else max(end, bound)

    def off(self, level: float, *, above: bool) -> float:
        """Return how far an end of the interval of a level lies from the estimate."""
        return self.high_at(level) - self.estimate if above else self.estimate - self.low_at(level)

    def _room(self, tail: float, *, above: bool) -> float:
        """Return how far the exact bound reaches, to either side, where events are rare; 0 where they are not."""
        return self._reach_to(above=above) * largest_unseen(self.parts, tail) if self.rare else 0.0

    def _reach_to(self, *, above: bool) -> float:
        """Return the most by which a film that nobody saw moves the mean up, or down: where 1 was seen, -1 by 2."""
        far = self.bounds[1] - self.estimate if above else self.estimate - self.bounds[0]
        return max(self._reach, far) if math.isfinite(far) else self._reach

    def _p(self, distance: float, margin: float, *, above: bool) -> float:
        """Return the tail at which the end reaches the margin: p is the inversion of the interval."""
        if self._of_one:
            return 1.0
        if self.apart is not None or self._thin:
            return self._p_inverted(margin, above=above)
        if distance <= 0 and self.degenerate:
            return 1.0
        # Above a margin it is the low end that tells.
        unseen = chance_of_none(self.parts, distance / self._reach_to(above=not above)) if self.rare else 0.0
        if self.degenerate:
            return unseen if self.rare else 1.0
        drawn = self._accelerated.p_above(margin) if above else self._accelerated.p_below(margin)
        return max(drawn, unseen)

    def _p_inverted(self, margin: float, *, above: bool) -> float:
        """Return p by bisection, where several intervals make the ends; beyond one half it is 1."""
        least, most = math.log(1 / (1 + len(self.replicates))), math.log(0.5)

        def clears(log_tail: float) -> bool:
            tail = math.exp(log_tail)
            return self._end(tail, above=False) > margin if above else self._end(tail, above=True) < margin

        if not clears(most):
            return 1.0
        if clears(least):
            return math.exp(least)
        for _ in range(30):
            middle = (least + most) / 2
            least, most = (least, middle) if clears(middle) else (middle, most)
        return math.exp(most)


def combined(function: Callable[..., Floats], *of: Sampled) -> tuple[Floats, Floats | None]:
    """Return `replicates` and `left_out` of a statistic made from others, resample by resample.

    Args:
        function: from one (B,) or (R,) array per statistic to one array.
        of: the statistics; those of another cohort keep their value while a patient of this one is left out.
    """
    replicates = function(*(one.replicates for one in of))
    alone = [one.left_out for one in of if one.left_out is not None]
    if len(alone) < len(of):
        return replicates, None
    if len({values.shape for values in alone}) == 1:
        return replicates, function(*alone)
    rows = [
        function(*(alone[at] if at == moved else np.full(len(alone[moved]), one.estimate) for at, one in enumerate(of)))
        for moved in range(len(of))
    ]
    return replicates, np.concatenate(rows)


def difference(after: Sampled, before: Sampled, patients: int | None = None) -> Sampled:
    """Return the paired difference `after - before` on the same resamples.

    Args:
        after: what is subtracted from.
        before: what is subtracted.
        patients: that both rest on together; needed where they rest on other films (two classes).
    """
    low, high = after.bounds[0] - before.bounds[1], after.bounds[1] - before.bounds[0]
    # Other parts, other patients: then only the smallest part of either is a safe bound.
    strata = after.parts if after.parts == before.parts else (min(*after.parts, *before.parts),)
    replicates, left_out = combined(np.subtract, after, before)
    return Sampled(
        after.estimate - before.estimate,
        replicates,
        max(after.patients, before.patients) if patients is None else patients,
        (low, high),
        strata,
        left_out,
        apart=(after, before) if patients == after.patients + before.patients else None,
        averaged=after.averaged and before.averaged,
        coarse=after.coarse + before.coarse,
        of=_differences(after, before),
    )


def _differences(after: Sampled, before: Sampled) -> tuple[Sampled, ...]:
    """Return the differences of the same classes, where both are means over them."""
    if [one.parts for one in after.of] != [one.parts for one in before.of]:
        return ()
    return tuple(difference(*pair) for pair in zip(after.of, before.of, strict=True))


def class_recalls(correct: npt.ArrayLike, labels: npt.ArrayLike, classes: int, resamples: Resamples) -> list[Sampled]:
    """Return the recall of each class.

    Args:
        correct: (N,) whether each film was called right; NaN for a film without an answer.
        labels: (N,) class indices.
        classes: number of classes.
        resamples: of the same films.
    """
    hits, truth = np.asarray(correct, dtype=np.float64), np.asarray(labels)
    recalls = []
    for index in range(classes):
        inside = (truth == index) & np.isfinite(hits)
        recalls.append(rate(hits[inside], resamples.subset(inside)))
    return recalls


def rate(values: npt.ArrayLike, resamples: Resamples, bounds: tuple[float, float] = (0.0, 1.0)) -> Sampled:
    """Return the mean of (N,) finite values with its replicates on the resamples of the same films."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size == 0:
        return Sampled(math.nan, np.full(len(resamples.weights), math.nan), 0, bounds)
    if resamples.counted is None:
        left_out = means(numbers, resamples.left_out)
        return Sampled(float(numbers.mean()), resamples.means(numbers), resamples.patients, bounds, left_out=left_out)
    summed = resamples.counted.summed(resamples.cluster, numbers)

    def found() -> Sampled:
        drawn, alone = summed.means()
        return Sampled(float(numbers.mean()), drawn, summed.patients, bounds, left_out=alone)

    kept: Sampled = resamples.counted.rates.once((summed.key, bounds), found)
    return kept


def average(parts: list[Sampled], patients: int) -> Sampled:
    """Return the plain mean of several statistics (balanced accuracy from recalls) that rest on `patients` together.

    Where the parts share patients (the same films under several conditions), together they say no more than one of
    them: the smallest, where they differ.
    """
    estimate = float(np.mean([part.estimate for part in parts]))
    apart = sum(part.patients for part in parts) <= patients and not any(part.strata for part in parts)
    alike = {part.parts for part in parts}
    of: tuple[Sampled, ...] = ()
    if apart:
        strata, of = tuple(part.patients for part in parts), tuple(parts) if len(parts) > 1 else ()
    else:
        strata = alike.pop() if len(alike) == 1 else (min(map(min, alike)),)
        if len({tuple(one.parts for one in part.of) for part in parts}) == 1:  # the same classes, as in each of them
            of = tuple(average(list(same), same[0].patients) for same in zip(*(part.of for part in parts), strict=True))
    replicates, left_out = combined(lambda *values: np.mean(values, axis=0), *parts)
    averaged = all(part.averaged for part in parts)
    coarse = float(np.mean([part.coarse for part in parts]))
    return Sampled(
        estimate, replicates, patients, parts[0].bounds, strata, left_out, averaged=averaged, coarse=coarse, of=of
    )
