"""Which interval does a bootstrap give that holds for few patients? Bias-corrected and accelerated (BCa).

The percentile interval of a skewed statistic lies on one side of the truth too often, and with few patients any plain
bootstrap interval is too short. BCa (Efron 1987, 10.1080/01621459.1987.10478410) reads the replicates at shifted
levels: a median bias z0, and an acceleration a, how the spread grows with the value (the skewness of what single
patients contribute). Normal quantiles are replaced by those of Student's t (Hesterberg 2015,
10.1080/00031305.2015.1089789), with the degrees of freedom that the fourth moment of the contributions leaves: where a
handful of patients decide a number, it is as unsure as a handful. Measured cover: `tests/benchmarks`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaincc, gammaincinv, ndtr, ndtri, stdtr, stdtrit

from calibration.validation import FloatArray


@dataclass(frozen=True)
class Accelerated:
    """The interval of one statistic at any level, and the p values that are its inversion.

    Attributes:
        estimate: the value on the sample.
        ordered: (B,) ascending values on resamples of patients, finite, B >= 1.
        bias: z0, the normal score of the estimate among the replicates.
        acceleration: a, in [-1/6, 1/6].
        freedom: degrees of freedom of Student's t, at least 1.
        reach: what the estimate would move by if one more patient like the most influential one came; infinite where
            nothing is known. With few such patients t is drawn out beyond all that was seen, but no further than the
            exact bound of their number (Poisson; Garwood 1936): one event in 80 patients may stand for 5.6, not for 20.
    """

    estimate: float
    ordered: FloatArray
    bias: float
    acceleration: float
    freedom: float
    reach: float = math.inf

    @classmethod
    def of(cls, estimate: float, replicates: ArrayLike, left_out: ArrayLike | None, patients: int) -> Accelerated:
        """Return the interval from replicates, of which those that are not numbers are ignored.

        Args:
            estimate: the value on the sample.
            replicates: (B,) values on resamples of patients, one of them finite.
            left_out: (R,) values with one patient (or group of patients) left out at a time, scaled so that their
                squared distances to the estimate add up to the variance; None gives neither acceleration nor the
                freedom of few.
            patients: clusters; decides the freedom where nothing better is known.
        """
        values = np.asarray(replicates, dtype=np.float64)
        ordered = np.sort(values[np.isfinite(values)])
        below, upto = np.searchsorted(ordered, [estimate - 1e-12, estimate + 1e-12])
        middle = 0.5 * (below + upto) / ordered.size
        bias = float(ndtri(np.clip(middle, 0.5 / ordered.size, 1 - 0.5 / ordered.size)))
        acceleration, freedom, reach = _shape(estimate, left_out)
        return cls(estimate, ordered, bias, acceleration, max(1.0, min(freedom, patients - 1)), reach)

    def end(self, chance: float) -> float:
        """Return the value that the truth lies below with this chance: .025 gives the low end, .975 the high one."""
        room = self._room(min(chance, 1 - chance))
        return float(min(max(self._drawn_out(chance), self.estimate - room), self.estimate + room))

    def _drawn_out(self, chance: float) -> float:
        shifted = self.bias + float(stdtrit(self.freedom, chance))
        # |a| <= 1/6 keeps the pole away from every level in use but the rarest with the fewest patients
        score = self.bias + shifted / max(1 - self.acceleration * shifted, 0.05)
        place = float(ndtr(score)) * self.ordered.size - 0.5
        if 0 <= place <= self.ordered.size - 1:
            at = int(place)
            above = self.ordered[min(at + 1, self.ordered.size - 1)]
            return float(self.ordered[at] + (place - at) * (above - self.ordered[at]))
        outermost = self.ordered[0] if place < 0 else self.ordered[-1]
        return float(self.estimate + (outermost - self.estimate) * abs(score) / self._outermost)

    def _room(self, tail: float) -> float:
        """Return how far either end may lie from the estimate: as the exact bound of so few patients."""
        if not math.isfinite(self.reach):
            return math.inf
        few = max(1.0, self.freedom / 2)
        return self.reach * (float(gammaincinv(few + 1, 1 - tail)) - few)

    def p_above(self, margin: float) -> float:
        """Return the one-sided p of the hypothesis that the true value does not exceed the margin."""
        return self._p(margin, int(np.searchsorted(self.ordered, margin + 1e-12, side="right")))

    def p_below(self, margin: float) -> float:
        """Return the one-sided p of the hypothesis that the true value is not below the margin."""
        mirrored = Accelerated(
            -self.estimate, -self.ordered[::-1], -self.bias, -self.acceleration, self.freedom, self.reach
        )
        return mirrored.p_above(-margin)

    @property
    def _outermost(self) -> float:
        """Normal score of the largest replicate; beyond it scores are drawn out in proportion."""
        return float(-ndtri(0.5 / self.ordered.size))

    def _p(self, margin: float, upto: int) -> float:
        """Return the chance at which the low end would be the margin, which `upto` replicates do not exceed."""
        if upto == self.ordered.size:
            return 1.0
        score = float(ndtri(upto / self.ordered.size)) if upto else -self._outermost
        if not upto and self.ordered[0] < self.estimate:
            score *= max(1.0, (self.estimate - margin) / (self.estimate - float(self.ordered[0])))
        distance = score - self.bias
        stretch = 1 + self.acceleration * distance
        chance = float(stdtr(self.freedom, distance / stretch - self.bias)) if stretch > 0 else 0.0
        return max(min(chance, self._rarer(abs(self.estimate - margin))), 1 / (1 + self.ordered.size))

    def _rarer(self, distance: float) -> float:
        """Return the tail at which the exact bound reaches no further than a distance."""
        if not math.isfinite(self.reach) or self.reach <= 0:
            return 1.0
        few = max(1.0, self.freedom / 2)
        return float(gammaincc(few + 1, few + distance / self.reach))


def _shape(estimate: float, left_out: ArrayLike | None) -> tuple[float, float, float]:
    """Return the acceleration, the degrees of freedom and the reach; 0 and infinity where nothing is known."""
    if left_out is None:
        return 0.0, math.inf, math.inf
    pull = estimate - np.asarray(left_out, dtype=np.float64)
    pull = pull[np.isfinite(pull)]
    largest = float(np.abs(pull).max(initial=0.0))
    if largest < 1e-12:
        return 0.0, math.inf, math.inf
    share = pull / largest
    square = float((share**2).sum())
    freedom = 2 * square**2 / float((share**4).sum())
    moving = int(np.count_nonzero(np.abs(share) > 1e-9))
    return float((share**3).sum()) / (6 * square**1.5), float(min(freedom, moving - 1)), largest
