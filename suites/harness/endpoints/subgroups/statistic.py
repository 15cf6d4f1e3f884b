"""What is compared between groups of films? A mean, an AUROC or a calibration error, of one side or of many at once.

Of many sides of the same films it is counted at once, see `statistics.sides`; in a cohort too large for all weights to
be one array, side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from calibration import error, ood
from calibration.binning import view_of
from calibration.validation import checked_probabilities
from suites.harness.endpoints.subgroups.groups import Films
from suites.harness.predictions.answers import Answers
from suites.harness.statistics import Floats, Integers, Sampled, side_errors
from suites.harness.statistics.resamples import applied, means
from suites.harness.statistics.side_aurocs import aurocs
from suites.harness.statistics.sides import Sides, Values

Side = tuple[Films, npt.NDArray[np.float64] | None]
"""(N,) films, and (N,) how often each counts, once by default."""
TOGETHER = 64
"""Sides that are counted together: their sums on all resamples stay a few megabytes."""


class Statistic(Protocol):
    """A number of some films."""

    def __call__(self, films: Films, weights: Floats, /) -> Floats:
        """Return (R,) values from (N,) films and (R, n) weights of these n films."""

    def of_sides(self, sides: Sides, /) -> Values:
        """Return the same of many sides."""


@dataclass(frozen=True)
class Mean:
    """The mean of (N,) values."""

    values: npt.NDArray[np.float64] | npt.NDArray[np.bool_]

    def __call__(self, films: Films, weights: Floats, /) -> Floats:
        """Return the mean on some films."""
        return means(self.values[films], weights)

    def of_sides(self, sides: Sides, /) -> Values:
        """Return the mean on many sides."""
        return sides.means(self.values)


@dataclass(frozen=True)
class Auroc:
    """How well (N,) scores tell (N,) marked films from all others."""

    scores: Floats
    marked: npt.NDArray[np.bool_]

    def __call__(self, films: Films, weights: Floats, /) -> Floats:
        """Return the AUROC on some films."""
        return np.asarray(ood.auroc(self.scores[films], self.marked[films], weights=weights), dtype=np.float64)

    def of_sides(self, sides: Sides, /) -> Values:
        """Return the AUROC on many sides."""
        return aurocs(sides, self.scores, self.marked)


@dataclass(frozen=True)
class DebiasedError:
    """The signed root of the debiased squared calibration error: on the scale of an ECE, below 0 as often as above.

    Attributes:
        probabilities: (N, K); NaN where a film has no answer.
        labels: (N,) classes.
        patients: (N,) index of each film's patient.
        bins: of equal mass.
    """

    probabilities: Floats
    labels: Integers
    patients: Integers
    bins: int

    def __call__(self, films: Films, weights: Floats, /) -> Floats:
        """Return the error on some films."""
        squared = error.debiased_l2(
            self.probabilities[films], self.labels[films], weights=weights, groups=self.patients[films], bins=self.bins
        )
        return signed_root(np.asarray(squared))

    def of_sides(self, sides: Sides, /) -> Values:
        """Return the error on many sides."""
        films = np.asarray(sides.inside.any(axis=0))
        confidence, outcome = np.full(len(films), np.nan), np.zeros(len(films))
        checked = checked_probabilities(self.probabilities[films])
        ((confidence[films], outcome[films]),) = view_of(checked, self.labels[films], "top-label")
        squared = side_errors.debiased_l2(sides, confidence, outcome, self.bins)
        return Values(signed_root(squared.estimate), signed_root(squared.drawn), signed_root(squared.left_out))


def signed_root(squared: Floats) -> Floats:
    """Return the root of the size of each number, with its sign."""
    return np.asarray(np.sign(squared) * np.sqrt(np.abs(squared)), dtype=np.float64)


def sampled(
    answers: Answers,
    films: Films,
    statistic: Callable[[Films, Floats], Floats],
    *,
    factor: npt.NDArray[np.float64] | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
    averaged: bool = True,
) -> Sampled:
    """Return a statistic on (N,) films and on the resamples of their patients, each film counting `factor` times."""
    resamples = answers.resamples.subset(films)
    factors = None if factor is None else factor[films]

    def weighted(weights: Floats) -> Floats:
        return statistic(films, weights if factors is None else weights * factors)

    estimate = float(weighted(np.ones((1, int(films.sum()))))[0])
    drawn, alone = (applied(weighted, rows) for rows in (resamples.weights, resamples.left_out))
    return Sampled(estimate, drawn, resamples.patients, bounds, left_out=alone, averaged=averaged)


def all_sampled(
    answers: Answers,
    sides: Sequence[Side],
    statistic: Statistic,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    averaged: bool = True,
) -> list[Sampled]:
    """Return `sampled` of many sides; of two that are the same films, counting alike, the same object."""
    if not answers.resamples.counted_by_patient:
        return [
            sampled(answers, films, statistic, factor=factor, bounds=bounds, averaged=averaged)
            for films, factor in sides
        ]
    keys = [(films.tobytes(), b"" if factor is None else factor[films].tobytes()) for films, factor in sides]
    different = dict(zip(keys, sides, strict=True))
    found: list[Sampled] = []
    for at in range(0, len(different), TOGETHER):
        some = Sides.of(answers.resamples, list(different.values())[at : at + TOGETHER])
        values = statistic.of_sides(some)
        found += [
            Sampled(float(estimate), drawn, int(patients), bounds, left_out=alone, averaged=averaged)
            for estimate, drawn, patients, alone in zip(
                values.estimate, values.drawn, some.patients, values.left_out, strict=True
            )
        ]
    by_key = dict(zip(different, found, strict=True))
    return [by_key[key] for key in keys]
