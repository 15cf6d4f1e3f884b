"""In which order does a score put films? Ties kept together: what ROC and risk-coverage curves are made of.

Where weights are `Rows`, too many to be sorted film by film, each resample is counted in `BINS` bins of the films' own
scores, of about equal size and fixed for all resamples; films of a bin count as tied. What the order within bins could
change at most is what the two extreme orders give (`orders`). Of no more distinct scores than bins it is exact.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from calibration.binning import equal_mass_cells
from calibration.validation import CalibrationError, Estimate, FloatArray, IntArray, Rows, Weights, over_resamples

BINS = 2048
ROWS = 256  # resamples worked on at a time


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


def running_sums(scores: FloatArray, marked: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weight of the unmarked and of the marked films with a score >= each threshold, highest threshold first.

    Args:
        scores: (n,).
        marked: (n,) of 0.0 and 1.0.
        weights: (n, B).

    Returns:
        Two arrays (distinct scores, B), each row a threshold.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.flatnonzero(np.r_[np.diff(ordered) < 0, True])
    w = weights[order]
    of_marked = np.cumsum(w * marked[order, None], axis=0)[last]
    return np.cumsum(w, axis=0)[last] - of_marked, of_marked


def over_thresholds(
    scores: FloatArray,
    marked: FloatArray,
    weights: Weights | None,
    estimate: Callable[[FloatArray, FloatArray], FloatArray],
    *,
    orders: bool = False,
) -> Estimate:
    """Apply an estimator of running sums to every resample.

    Args:
        scores: (n,).
        marked: (n,) of 0.0 and 1.0.
        weights: see `calibration.validation`.
        estimate: maps the two arrays of `running_sums` to values (..., B).
        orders: with `Rows`, beside the films of a bin as tied also the marked first, and last: values (..., 3, B).

    Returns:
        As `calibration.validation.over_resamples`.
    """
    if not (isinstance(weights, Rows) and weights.binned):
        return over_resamples(weights, scores.size, lambda w: estimate(*running_sums(scores, marked, w)))
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
