"""In which order does a score put films? Ties kept together: what ROC and risk-coverage curves are made of.

Where weights are `Rows`, too many to be sorted film by film, each resample is counted in `BINS` bins of the films' own
scores, of about equal size and fixed for all resamples; films of a bin count as tied. What the order within bins could
change at most is what the two extreme orders give (`orders`). Of no more distinct scores than bins it is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from calibration.binning import equal_mass_cells
from calibration.validation import CalibrationError, Estimate, FloatArray, IntArray, Rows, Weights, over_resamples

BINS = 2048
ROWS = 32  # resamples worked on at a time: their sums in bins are some arrays of 1 to 2 MB


def checked_scores(scores: ArrayLike, marked: ArrayLike, name: str) -> tuple[FloatArray, FloatArray]:
    """Return scores (n,) and a mark (n,) of 0.0 and 1.0.

    Raises:
        CalibrationError: shapes that differ, scores that are not finite, or marks other than 0 and 1.
    """
    s = np.asarray(scores, dtype=np.float64)
    m = np.asarray(marked, dtype=np.float64)
    if s.ndim != 1 or s.size == 0 or m.shape != s.shape:
        raise CalibrationError(
            f"scores and {name} must be one vector each, one entry per film, not {s.shape} and {m.shape}"
        )
    if not np.isfinite(s).all():
        raise CalibrationError(f"{int((~np.isfinite(s)).sum())} scores are NaN or infinite")
    if not np.isin(m, (0.0, 1.0)).all():
        raise CalibrationError(f"{name} must be true or false for every film")
    return s, m


@dataclass(frozen=True)
class Order:
    """Films in the order of a score, highest first: what the running sums of any resample are taken along.

    Attributes:
        films: (n,) in that order.
        last: (t,) places of the last film of each threshold.
        marked: (n,) of 0.0 and 1.0, in that order.
    """

    films: IntArray
    last: IntArray
    marked: FloatArray

    @classmethod
    def of(cls, scores: FloatArray, marked: FloatArray) -> Order:
        """Put films (n,) in order."""
        films = np.argsort(-scores, kind="stable")
        last = np.flatnonzero(np.r_[np.diff(scores[films]) < 0, True])
        return cls(films, last, marked[films])

    def running_sums(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weight of the unmarked and of the marked films with a score >= each threshold, highest threshold first.

        Args:
            weights: (n, B).

        Returns:
            Two arrays (distinct scores, B), each row a threshold.
        """
        w = weights[self.films]
        of_marked = np.cumsum(w * self.marked[:, None], axis=0)[self.last]
        return np.cumsum(w, axis=0)[self.last] - of_marked, of_marked

    def alternating(self) -> sparse.csr_array:
        """Return (2 r, n) sums over unmarked films, then over marked ones, from one turn of the order to the next.

        Thresholds that add films of one kind alone are one as long as the kind stays the same.
        """
        threshold = np.searchsorted(self.last, np.arange(self.films.size))
        kinds = np.zeros(self.last.size, dtype=np.int64)
        for kind in (0, 1):
            kinds[threshold[self.marked == kind]] |= 1 << kind
        turn = np.cumsum(np.r_[False, (kinds[1:] != kinds[:-1]) | (kinds[1:] == 3)])[threshold]
        rows = int(turn[-1]) + 1
        place = turn + rows * self.marked.astype(np.int64)
        return sparse.csr_array((np.ones(self.films.size), (place, self.films)), shape=(2 * rows, self.films.size))


def over_thresholds(
    scores: FloatArray,
    marked: FloatArray,
    weights: Weights | None,
    estimate: Callable[[FloatArray, FloatArray], FloatArray],
    *,
    orders: bool = False,
    of_steps: Callable[[FloatArray, FloatArray], FloatArray] | None = None,
) -> Estimate:
    """Apply an estimator of running sums to every resample.

    Args:
        scores: (n,), or (S, n) of one mark, for values (S, ..., B).
        marked: (n,) of 0.0 and 1.0.
        weights: see `calibration.validation`.
        estimate: maps the two arrays of `Order.running_sums` to values (..., B).
        orders: with `Rows`, beside the films of a bin as tied also the marked first, and last: values (..., 3, B).
        of_steps: the same from what each threshold adds to the sums, for an estimate that is the same where they are
            taken only where the order turns from films of one kind to those of the other; may change its arrays.

    Returns:
        As `calibration.validation.over_resamples`.
    """
    if scores.ndim == 2 and isinstance(weights, Rows):
        return np.stack([over_thresholds(one, marked, weights, estimate, orders=orders) for one in scores])
    if not (isinstance(weights, Rows) and weights.binned):
        ordered = [Order.of(one, marked) for one in np.atleast_2d(scores)]
        added = [one.alternating() for one in ordered] if of_steps else []

        def of_resamples(w: FloatArray) -> FloatArray:
            if of_steps:
                values = [of_steps(*(one @ w).reshape(2, -1, w.shape[1])) for one in added]
            else:
                values = [estimate(*one.running_sums(w)) for one in ordered]
            return np.stack(values) if scores.ndim == 2 else values[0]

        return over_resamples(weights, marked.size, of_resamples)
    cells, bins = _cells(scores)
    films, column = np.arange(scores.size), 2 * cells + marked.astype(np.int64)
    in_bins = sparse.csr_matrix((np.ones(scores.size), (films, column)), shape=(scores.size, 2 * bins))
    found = []
    for block in weights.in_parts(in_bins, ROWS):
        unmarked, of_marked = np.ascontiguousarray(block[:, 0::2].T), np.ascontiguousarray(block[:, 1::2].T)
        values = [estimate(np.cumsum(unmarked, axis=0), np.cumsum(of_marked, axis=0))]
        for marked_at in (0, 1) if orders else ():
            parted = np.zeros((2, bins, 2, len(block)))
            parted[0, :, 1 - marked_at], parted[1, :, marked_at] = unmarked, of_marked
            values.append(estimate(*np.cumsum(parted.reshape(2, 2 * bins, -1), axis=1)))
        found.append(np.stack(values, axis=-2) if orders else values[0])
    return np.concatenate(found, axis=-1)


def _cells(scores: FloatArray) -> tuple[IntArray, int]:
    """Return the bin (n,) of each score, highest first, and how many there are; equal scores share one."""
    distinct, value = np.unique(-scores, return_inverse=True)
    if distinct.size <= BINS:
        return value.astype(np.int64).reshape(scores.size), distinct.size
    return equal_mass_cells(-scores, BINS), BINS


def steps(running: FloatArray) -> FloatArray:
    """What each threshold added to a running sum."""
    return np.diff(running, axis=0, prepend=0.0)
