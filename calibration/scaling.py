"""Which maps from logits to better logits are fitted by lowering the log loss?

`Temperature` (one number), `Vector` (a factor and an offset per class), `Dirichlet` (a matrix), `Beta` and `Isotonic`
(class by class). All take logits (n, K) and give logits; all are written to a small json and read back bit for bit.
T > 1 says the subject was too sure of itself. Everything is float64: netcal's scalings do nothing on float32 and say
so to nobody.

Never judge a recalibration on the films it was fitted on: `calibration.crossfit` keeps patients apart.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from calibration.recalibrator import Recalibrator, register
from calibration.validation import (
    CalibrationError,
    Estimate,
    FitError,
    FloatArray,
    IntArray,
    checked_labels,
    checked_logits,
    log_softmax,
    over_resamples,
)

AROUND = 50.0  # factor by which the temperature of a resample may differ from that of the sample
RUNGS = np.geomspace(1 / AROUND, AROUND, 49)  # inverse temperatures over that of the sample
NEAR = len(RUNGS) // 2 - 2, len(RUNGS) // 2 + 3  # those that nearly all resamples want: within a third of it
FARTHEST = 120  # doublings of the inverse temperature: beyond float64's own precision of any logit


@register("temperature", rank=0)
@dataclass(frozen=True, kw_only=True)
class Temperature(Recalibrator):
    """Logits divided by one number T (Guo et al. 2017): decisions stay. T > 1 = the subject was too sure."""

    T: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.T) and self.T > 0):
            raise CalibrationError(f"a temperature is a positive number, not {self.T}")

    @classmethod
    def _fit(cls, logits: FloatArray, labels: IntArray) -> dict[str, Any]:
        return {"T": float(temperature(logits, labels))}

    def _apply(self, logits: FloatArray) -> FloatArray:
        return logits / self.T


def temperature(logits: ArrayLike, labels: ArrayLike, *, weights: ArrayLike | None = None) -> Estimate:
    """The temperature T > 0 that minimises the log loss of logits / T; T > 1 = the subject was too sure.

    The log loss is convex in 1/T, so its derivative has one zero: bracketed by doubling from the scale of the logits,
    whatever that is, and found by Brent's method to 1e-12 on the sample; on each resample by cubic interpolation in a
    table of derivatives (relative error below 1e-5) from 1/50 to 50 times the sample's, with no pass over films.
    There is a zero exactly when a film is called wrong and the true class's logit lies above the mean of its film's
    logits on average.

    Args:
        logits: (n, K).
        labels: (n,) integers.
        weights: None, (n,) or (B, n), see `calibration.validation`.

    Returns:
        A float, or (B,) for (B, n) weights; NaN for a resample without an optimum within that table.

    Raises:
        FitError: the sample itself has no optimum.
        CalibrationError: bad logits, labels or weights.
    """
    z = checked_logits(logits)
    y = checked_labels(labels, *z.shape)
    if weights is None or np.ndim(weights) == 1:
        return over_resamples(weights, y.size, lambda w: np.array([_optimum(z, y, w[:, 0])]))
    ladder = _Ladder.of(z, y)

    def of_resamples(w: FloatArray) -> FloatArray:
        found = ladder.zero(w, *NEAR)  # the loss is convex: a zero between two rungs is the only one
        if (far := np.isnan(found)).any():
            found[far] = ladder.zero(w[:, far], 0, len(RUNGS))
        return found

    return over_resamples(weights, y.size, of_resamples, products=True)


@dataclass(frozen=True)
class _Ladder:
    """Derivatives of the log loss of some films at several inverse temperatures.

    Attributes:
        digest: of logits and labels; asked about many resamples, of many films block by block, these are the same.
    """

    digest: bytes
    z: FloatArray = field(compare=False)
    y: IntArray = field(compare=False)

    @classmethod
    def of(cls, z: FloatArray, y: IntArray) -> _Ladder:
        """Return that of logits (n, K) and labels (n,), with whatever is known of it."""
        digest = hashlib.blake2b(repr(z.shape).encode())
        for part in (z, y):
            digest.update(np.ascontiguousarray(part).data)
        return _known(cls(digest.digest(), z, y))

    @cached_property
    def betas(self) -> FloatArray:
        """(49,) inverse temperatures."""
        return np.asarray(RUNGS / _optimum(self.z, self.y, np.ones(self.y.size)))

    def zero(self, w: FloatArray, first: int, last: int) -> FloatArray:
        """Return (B,) temperatures of weights (n, B) whose inverse lies between two rungs, NaN where it does not."""
        if (first, last) not in self._tables:
            rungs = (_slopes(self.z, self.y, beta) for beta in self.betas[first:last])
            self._tables[first, last] = np.stack(list(rungs), axis=1)
        slope, bend = self._tables[first, last] @ w
        return 1 / _interpolated_zero(slope, bend, self.betas[first:last])

    @cached_property
    def _tables(self) -> dict[tuple[int, int], FloatArray]:
        """Rungs, the first and the one after the last -> (2, rungs, n) first and second derivatives."""
        return {}


@lru_cache(maxsize=1)
def _known(ladder: _Ladder) -> _Ladder:
    return ladder


def _optimum(z: FloatArray, y: IntArray, w: FloatArray) -> float:
    gaps = np.ptp(z, axis=1)
    _refuse_without_optimum(z, y, w, gaps)

    def derivative(log_beta: float) -> float:
        return float(_slopes(z, y, float(np.exp(log_beta)))[0] @ w)

    low = high = -float(np.log(np.median(gaps[gaps > 0])))
    for _ in range(FARTHEST):
        if derivative(high) > 0:
            break
        high += np.log(2)
    for _ in range(FARTHEST):
        if derivative(low) < 0:
            break
        low -= np.log(2)
    if not derivative(low) < 0 < derivative(high):
        raise FitError("the best temperature lies beyond the precision of float64: the mistakes are ties but for noise")
    return float(np.exp(-brentq(derivative, low, high, xtol=1e-13, rtol=1e-13)))


def _refuse_without_optimum(z: FloatArray, y: IntArray, w: FloatArray, gaps: FloatArray) -> None:
    """Raise FitError with the reason where the log loss falls for ever as T goes to 0 or to infinity."""
    own, used = z[np.arange(y.size), y], w > 0
    if not gaps[used].any():
        raise FitError("the logits of every film are equal in all classes: every temperature gives the same answers")
    if not (own < z.max(axis=1))[used].any():
        raise FitError(
            f"every film ends up right: all {int(used.sum())} films are called right, so that the log loss falls for "
            "ever as the temperature goes to 0"
        )
    if (own - z.mean(axis=1)) @ w <= 1e-12 * (gaps @ w):
        right = float((own >= z.max(axis=1)) @ w / w.sum())
        constant = " (the same for every film)" if (z[used] == z[used][0]).all() else ""
        raise FitError(
            f"the logits{constant} say nothing about the labels on average, or the opposite, though {100 * right:.0f} "
            "% of the calls are right: mistakes outweigh them in logits, and no finite temperature fits"
        )


def _slopes(z: FloatArray, y: IntArray, beta: float) -> tuple[FloatArray, FloatArray]:
    """First and second derivative by log beta of each film's log loss at inverse temperature beta, each (n,)."""
    p = np.exp(log_softmax(beta * z))
    centred = z - (p * z).sum(axis=1, keepdims=True)
    first = -beta * centred[np.arange(y.size), y]
    return first, first + beta**2 * (p * centred**2).sum(axis=1)


def _interpolated_zero(slope: FloatArray, bend: FloatArray, ladder: FloatArray) -> FloatArray:
    """Inverse temperature where the slope (ladder, B) crosses zero, by Newton on the cubic between two rungs."""
    positive = slope > 0
    rung = np.clip(positive.argmax(axis=0), 1, None)
    found = positive.any(axis=0) & ~positive[0]
    column = np.arange(slope.shape[1])
    h = float(np.log(ladder[1] / ladder[0]))
    s0, s1 = slope[rung - 1, column], slope[rung, column]
    b0, b1 = h * bend[rung - 1, column], h * bend[rung, column]
    c2, c3 = 3 * (s1 - s0) - 2 * b0 - b1, 2 * (s0 - s1) + b0 + b1
    t = -s0 / (s1 - s0)
    for _ in range(6):
        t = np.clip(t - (((c3 * t + c2) * t + b0) * t + s0) / ((3 * c3 * t + 2 * c2) * t + b0), 0, 1)
    return np.where(found, ladder[rung - 1] * np.exp(t * h), np.nan)
