"""How large is the largest of several statistics? One that looks at every class must not pass by the mean of them.

The largest lies below a bound if every part does, so its high end is the largest high end and needs no correction
(an intersection-union test, Berger 1982). It lies above a bound if any part does, which is looking several times: its
low end is the largest low end at a level divided by the number of parts (Bonferroni, Holm's first step).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from suites.harness.statistics.bootstrap import LEVEL, Interval, Sampled


@dataclass(frozen=True)
class Largest:
    """The largest of several statistics on the same scale, each with its resamples.

    Attributes:
        parts: by name (of a class), at least one.
    """

    parts: Mapping[str, Sampled]

    @property
    def name(self) -> str:
        """Name of the part whose estimate is largest, the first of equal ones."""
        return max(self.parts, key=lambda name: self.parts[name].estimate)

    @property
    def patients(self) -> int:
        """Patients that the part of the largest estimate rests on."""
        return self.parts[self.name].patients

    @property
    def estimator(self) -> str:
        """What the interval is."""
        several = f", largest of {len(self.parts)} (low end Bonferroni)" if len(self.parts) > 1 else ""
        return self.parts[self.name].estimator + several

    @property
    def too_few(self) -> str:
        """Why no verdict may rest on the interval; empty where one may."""
        return next(filter(None, (part.too_few for part in self.parts.values())), "")

    def interval(self, level: float = LEVEL) -> Interval:
        """Return the largest estimate with its ends; wrong with a chance of at most (1 - level) / 2 on either side."""
        strict = 1 - (1 - level) / len(self.parts)
        return Interval(
            self.parts[self.name].estimate,
            max(part.interval(strict).low for part in self.parts.values()),
            max(part.interval(level).high for part in self.parts.values()),
        )

    def p_above(self, margin: float) -> float:
        """Return the one-sided p of the hypothesis that no part truly exceeds the margin."""
        return min(1.0, len(self.parts) * min(part.p_above(margin) for part in self.parts.values()))

    def p_below(self, margin: float) -> float:
        """Return the one-sided p of the hypothesis that some part is not below the margin."""
        return max(part.p_below(margin) for part in self.parts.values())
