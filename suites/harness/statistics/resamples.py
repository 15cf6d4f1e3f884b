"""Which other cohorts could these patients have been? Resampled within class, and left out one at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

RESAMPLES = 2000
LEFT_OUT = 400
"""Groups of patients left out one at a time, about; each is one patient where there are no more."""


@dataclass(frozen=True)
class Resamples:
    """The patients of a cohort, resampled with replacement within class, once for all comparisons of a run.

    Attributes:
        weights: (B, N) float64, how often each film counts in each resample.
        cluster: (N,) index of each film's patient.
        stratum: (G,) the class of each of the cohort's patients, whether or not a film of theirs is among the N.
    """

    weights: Floats
    cluster: Integers
    stratum: Integers

    @property
    def patients(self) -> int:
        """Number of different patients."""
        return len(np.unique(self.cluster))

    @classmethod
    def draw(cls, patients: npt.ArrayLike, labels: npt.ArrayLike, *, seed: int, count: int = RESAMPLES) -> Resamples:
        """Draw `count` resamples; a patient with several labels belongs to the stratum of its first.

        Of n patients of a class n - 1 are drawn and count n / (n - 1) times, so that the variance of a mean is the
        unbiased one also where n is small (Rao, Wu & Yue 1992; drawing n gives (n - 1) / n of it).

        Args:
            patients: (N,) cluster keys.
            labels: (N,) class of each film, the strata.
            seed: of the run; the order of the films does not matter, only keys and labels do.
            count: number of resamples B.
        """
        keys, cluster = np.unique(np.asarray(patients).astype(str), return_inverse=True)
        first = np.zeros(len(keys), dtype=np.int64)
        _, codes = np.unique(np.asarray(labels).astype(str), return_inverse=True)
        np.maximum.at(first, cluster, codes)
        digest = hashlib.sha256(f"resamples\x1f{seed}".encode()).digest()
        generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
        drawn = np.ones((count, len(keys)))
        for stratum in np.unique(first):
            members = np.flatnonzero(first == stratum)
            size = len(members)
            if size > 1:
                drawn[:, members] = generator.multinomial(size - 1, np.full(size, 1 / size), count) * (
                    size / (size - 1)
                )
        return cls(drawn[:, cluster], cluster, first)

    def subset(self, keep: npt.NDArray[np.bool_]) -> Resamples:
        """Return the same resamples for some of the films (an exclusion, one class)."""
        return Resamples(self.weights[:, keep], self.cluster[keep], self.stratum)

    @cached_property
    def _groups(self) -> Integers:
        """(G,) the group in which each patient of the cohort is left out, groups within one class."""
        together = -(-len(self.stratum) // LEFT_OUT)
        groups, start = np.zeros(len(self.stratum), dtype=np.int64), 0
        for stratum in np.unique(self.stratum):
            members = np.flatnonzero(self.stratum == stratum)
            groups[members] = start + np.arange(len(members)) // together
            start = int(groups[members[-1]]) + 1
        return groups

    @cached_property
    def left_out(self) -> Floats:
        """(R, N) weights with one patient (or group) at a time left out, almost, and the rest of its class filling in.

        A row lowers its patient's weight by sqrt(k / (k - 1)), k patients in the class, and shares that out in the
        class. The squared changes of a mean add up to its unbiased variance, so nothing has to be scaled afterwards
        (the stratified jackknife; Davison & Hinkley 1997, 3.2). A patient without a film here changes nothing.
        """
        present = np.unique(self.cluster)
        group, stratum = self._groups, self.stratum
        rows = np.ones((int(group.max()) + 1, len(self.cluster)))
        for one in np.unique(stratum[present]):
            members = present[stratum[present] == one]
            names, sizes = np.unique(group[members], return_counts=True)
            if len(names) > 1:
                pull = np.sqrt(len(names) / (len(names) - 1))
                rows[np.ix_(names, stratum[self.cluster] == one)] += pull * (sizes / len(members))[:, None]
                films = np.flatnonzero(stratum[self.cluster] == one)
                rows[group[self.cluster[films]], films] -= pull
        return np.maximum(rows, 0.0)

    def means(self, values: npt.ArrayLike) -> Floats:
        """Return (B, ...) weighted means of (N, ...) values; a resample without any weight gives NaN."""
        return means(values, self.weights)

    def beside(self, other: Resamples) -> Resamples:
        """Return the resamples of these films and then those of `other`, whose patients are others.

        Only where both come from one cohort (the same patients twice) are they drawn and left out together.
        """
        weights = np.concatenate([self.weights, other.weights], axis=1)
        if self.stratum is other.stratum:
            return Resamples(weights, np.concatenate([self.cluster, other.cluster]), self.stratum)
        further = int(self.stratum.max()) + 1
        cluster = np.concatenate([self.cluster, other.cluster + len(self.stratum)])
        return Resamples(weights, cluster, np.concatenate([self.stratum, other.stratum + further]))


def applied(statistic: Callable[..., object], weights: Floats) -> Floats:
    """Return (B,) values of a statistic (called with `weights=`), NaN for a row that gives no film any weight."""
    some = weights.sum(axis=1) > 0
    values = np.full(len(weights), np.nan)
    if some.any():
        values[some] = statistic(weights=weights if some.all() else weights[some])
    return values


def means(values: npt.ArrayLike, weights: Floats) -> Floats:
    """Return (B, ...) means of (N, ...) values by (B, N) weights; a row without any weight gives NaN."""
    matrix = np.asarray(values, dtype=np.float64)
    flat = matrix.reshape(len(matrix), -1)
    totals = weights.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (weights @ flat) / totals
    return np.asarray(found.reshape(len(weights), *matrix.shape[1:]), dtype=np.float64)
