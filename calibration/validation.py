"""What may go in and out of the functions of this package? Checked arrays, resampling weights, named errors.

Conventions, stated once:

* `logits` (n, K): any real numbers, one row per film; `probabilities` (n, K): rows sum to 1; `labels` (n,): integers
0..K-1;
  `groups` (n,): one patient key per film, of any sortable type.
* `weights` are how often each film counts: None (every film once), (n,) or (B, n) for B resamples at once. They are
  non-negative; multiplicities of a patient bootstrap are the usual case. The estimate is a float for None and (n,),
  and a (B,) vector for (B, n). Float64 weights in Fortran order are used without a copy, and
  those that cannot be written to are looked through once.
* Where (B, n) would not fit, `Rows` stand for them: blocks of resamples that are made as they are looked at. Rank
  measures take them in fine bins, see `calibration.ranking`.
* Everything is computed in float64, whatever comes in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any, Protocol, TypeAlias, runtime_checkable
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from scipy.special import log_softmax as _log_softmax

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
Estimate: TypeAlias = Any  # a float, or a float64 vector (B,) when weights (B, n) were given


@runtime_checkable
class Rows(Protocol):
    """Weights (B, n) of more resamples and films than fit at once.

    Attributes:
        binned: whether rank measures count films in bins; else they are sorted, resample by resample.
    """

    @property
    def binned(self) -> bool:
        """See above."""

    def __len__(self) -> int:
        """Return B."""

    def blocks(self) -> Iterator[FloatArray]:
        """Yield (b, n) weights, blocks of resamples one after the other."""

    def in_parts(self, values: NDArray[Any] | csr_matrix, rows: int) -> Iterator[FloatArray]:
        """Yield (b, m) sums of (n, m) values, an array or a sparse matrix, so many resamples at a time."""


Weights: TypeAlias = ArrayLike | Rows
BLOCK = 2**17  # weights worked on at a time: half a megabyte stays in the cache of any processor of today
_SOUND: WeakValueDictionary[int, NDArray[Any]] = WeakValueDictionary()
"""Weights that cannot be written to and were found right, by `id`: looked through once and not for every estimate."""
ADDED_IN_TURN = 8
"""Numbers from which numpy adds up a row in another order than one after the other."""
SUM_TOLERANCE = 1e-3  # services round to three or four decimals; rows this close to 1 are renormalised


class CalibrationError(ValueError):
    """Something this package was asked to do has no right answer; the message says what and what to do."""


class ProbabilityError(CalibrationError):
    """Probabilities or logits of the wrong shape, not finite, negative, or not summing to 1."""


class LabelError(CalibrationError):
    """Labels of the wrong shape or type, or outside 0..K-1."""


class WeightError(CalibrationError):
    """Weights of the wrong shape, negative, not finite, or a resample without any film."""


class ClassAbsentError(CalibrationError):
    """A class that is needed does not occur in the labels."""


class TooFewFilmsError(CalibrationError):
    """Too few films or patients for the estimate to mean anything."""


class FitError(CalibrationError):
    """A recalibration that could not be fitted, or that does not lower the log loss of the films it was fitted on."""


class ReplicateError(CalibrationError):
    """Bootstrap replicates no interval can be made of."""


def checked_logits(logits: ArrayLike, name: str = "logits") -> FloatArray:
    """Return logits as float64 (n, K), n >= 1, K >= 2, or raise ProbabilityError."""
    z = np.asarray(logits, dtype=np.float64)
    if z.ndim != 2 or z.shape[0] < 1 or z.shape[1] < 2:
        raise ProbabilityError(f"{name} must have shape (films, classes) with at least 2 classes, not {z.shape}")
    if not np.isfinite(z).all():
        bad = np.flatnonzero(~np.isfinite(z).all(axis=1))
        raise ProbabilityError(f"{name}: {bad.size} rows hold NaN or infinity, the first is row {bad[0]}: {z[bad[0]]}")
    return z


def checked_probabilities(probabilities: ArrayLike) -> FloatArray:
    """Return probabilities as float64 (n, K) whose rows sum to 1, or raise ProbabilityError.

    Rows within 0.001 of 1 (rounded by a service) are renormalised; anything further off is an error.
    """
    p = checked_logits(probabilities, "probabilities")
    if p.min() < 0 or p.max() > 1 + SUM_TOLERANCE:
        bad = np.flatnonzero((p < 0).any(axis=1) | (p > 1 + SUM_TOLERANCE).any(axis=1))
        raise ProbabilityError(
            f"{bad.size} rows leave [0, 1], the first is row {bad[0]}: {p[bad[0]]}; are these logits?"
        )
    total = p.sum(axis=1, keepdims=True)
    off = np.abs(total[:, 0] - 1)
    if off.max() > SUM_TOLERANCE:
        row = int(off.argmax())
        raise ProbabilityError(
            f"{int((off > SUM_TOLERANCE).sum())} rows do not sum to 1, the worst is row {row}: {total[row, 0]:.6g}"
        )
    return np.asarray(p / total)


def checked_labels(labels: ArrayLike, films: int, classes: int, *, all_classes: bool = False) -> IntArray:
    """Return labels as int64 (n,) within 0..classes-1, or raise LabelError (ClassAbsentError with all_classes)."""
    y = np.asarray(labels)
    if y.shape != (films,):
        raise LabelError(f"labels must have shape ({films},), one per film, not {y.shape}")
    if not np.issubdtype(y.dtype, np.integer):
        raise LabelError(f"labels must be integers 0..{classes - 1}, not {y.dtype}")
    if y.min() < 0 or y.max() >= classes:
        row = int(np.flatnonzero((y < 0) | (y >= classes))[0])
        raise LabelError(f"labels must lie in 0..{classes - 1}; row {row} holds {y[row]}")
    if all_classes:
        absent = np.setdiff1d(np.arange(classes), y)
        if absent.size:
            raise ClassAbsentError(
                f"no film of class {absent.tolist()} among {films}: nothing can be said about it here"
            )
    return y.astype(np.int64)


def checked_groups(groups: ArrayLike | None, films: int) -> IntArray:
    """Return patient numbers 0..G-1 (n,); without groups every film is its own patient."""
    if groups is None:
        return np.arange(films, dtype=np.int64)
    g = np.asarray(groups)
    if g.shape != (films,):
        raise CalibrationError(f"groups must have shape ({films},), one patient key per film, not {g.shape}")
    return np.unique(g, return_inverse=True)[1].astype(np.int64).reshape(films)


def over_resamples(
    weights: Weights | None, films: int, estimate: Callable[[FloatArray], FloatArray], *, products: bool = False
) -> Estimate:
    """Apply an estimator to every resample: weights are checked, transposed and blocked here, results shaped.

    Args:
        weights: None, (films,), (B, films) or rows of these, see above.
        films: number of films.
        estimate: maps weights (films, b), one column per resample, to values (..., b), each from its own column alone.
        products: whether it multiplies a few rows with the weights and makes nothing of their size: it then has all
            columns at once, and nothing is copied.

    Returns:
        values[..., 0] (a float if that is one number) for None and (films,) weights, else values (..., B).

    Raises:
        WeightError: wrong shape, negative or not finite, or a resample in which nothing has weight.
    """
    if isinstance(weights, Rows):
        parts = [over_resamples(block, films, estimate, products=products) for block in weights.blocks()]
        return np.concatenate(parts, axis=-1)
    single = weights is None or np.ndim(weights) == 1
    columns = checked_weights(np.ones(films) if weights is None else weights, films)
    if products:
        values = np.asarray(estimate(columns))
    else:
        width = max(1, BLOCK // films)
        blocks = (np.ascontiguousarray(columns[:, at : at + width]) for at in range(0, columns.shape[1], width))
        values = np.concatenate([np.asarray(estimate(block)) for block in blocks], axis=-1)
    if not single:
        return values
    return float(values[0]) if values.ndim == 1 else values[..., 0]


def averaged(weights: Weights | None, values: FloatArray) -> Estimate:
    """Return weighted means of values (films,): a float for None and (films,) weights, else (B,).

    Raises:
        WeightError: see `over_resamples`.
    """
    sums = np.stack([values, np.ones_like(values)])
    if isinstance(weights, Rows):
        return over_resamples(weights, values.size, lambda w: np.divide(*(sums @ w)))
    columns = checked_weights(np.ones(values.size) if weights is None else weights, values.size)
    means = np.divide(*(sums @ columns))  # one pass over the weights, which are not copied
    return float(means[0]) if weights is None or np.ndim(weights) == 1 else means


def each(values: Estimate) -> list[Estimate]:
    """Split the result (m,) or (m, B) of an estimator with m numbers into m floats or m vectors (B,)."""
    return [float(value) if np.ndim(value) == 0 else value for value in values]


def checked_weights(weights: ArrayLike, films: int) -> FloatArray:
    """Return weights (films,) or (B, films) as float64 columns (films, B), without a copy where none is needed.

    Raises:
        WeightError: wrong shape, negative or not finite, or a resample in which nothing has weight.
    """
    w = np.asarray(weights, dtype=np.float64)
    if w.ndim not in {1, 2} or w.shape[-1] != films or w.size == 0:
        raise WeightError(f"weights must have shape ({films},) or (resamples, {films}), not {w.shape}")
    columns = np.atleast_2d(w).T
    if _SOUND.get(id(w)) is w:
        return columns
    total = columns.sum(axis=0)
    if not np.isfinite(total).all() or columns.min() < 0:
        raise WeightError("weights must be finite and not negative: they say how often each film counts")
    if total.min() <= 0:
        raise WeightError(f"resample {int(total.argmin())} gives no film any weight")
    if not w.flags.writeable:
        _SOUND[id(w)] = w
    return columns


def softmax(logits: ArrayLike) -> FloatArray:
    """Return probabilities (n, K) of logits (n, K), in float64."""
    return np.exp(log_softmax(logits))


def log_softmax(logits: ArrayLike) -> FloatArray:
    """Return log probabilities (n, K) of logits (n, K), exact where the softmax itself would round to 0 or 1."""
    z = checked_logits(logits)
    if z.shape[1] >= ADDED_IN_TURN:
        return np.asarray(_log_softmax(z, axis=1))
    # The same numbers to the last bit, in a fifth of the time: column by column, where there are so few.
    columns = range(1, z.shape[1])
    below = z - reduce(np.maximum, (z[:, k] for k in columns), z[:, 0])[:, None]
    each_class = np.exp(below)
    below -= np.log(reduce(np.add, (each_class[:, k] for k in columns), each_class[:, 0]))[:, None]
    return below


def logits_from_probabilities(probabilities: ArrayLike) -> FloatArray:
    """Return log probabilities (n, K) of a subject that gives no logits (a service); softmax of them gives them back.

    Raises:
        ProbabilityError: an exact 0, whose logarithm says nothing about how sure the subject was.
    """
    p = checked_probabilities(probabilities)
    if p.min() <= 0:
        row = int(np.flatnonzero((p <= 0).any(axis=1))[0])
        raise ProbabilityError(
            f"row {row} holds a probability of exactly 0 (saturated in float32, or rounded), whose log loss "
            "is infinite: ask the subject for logits"
        )
    return np.log(p)
