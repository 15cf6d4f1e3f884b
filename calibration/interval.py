"""How sure is a calibration measure? Intervals from replicates, each by the method right for its estimator.

A calibration error is an absolute value of noisy gaps: it is biased upwards, most of all where the truth is zero. In
simulation (n = 200 to 2000, 3 classes, nominal 95 %, `tests/calibration/test_interval.py`) the percentile interval of
the ECE of a perfectly calibrated subject covers the truth in 0 % of samples and the basic (reflected) one in about 50
%. `recentred` inverts a test instead and covers in 93 to 99 %. Estimators without that bias (Brier, log loss,
debiased error, AUROC, temperature, slope) take the accelerated interval: the percentile one is too short where
patients are few, and beside the truth where single patients weigh much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from calibration.accelerated import Accelerated
from calibration.binning import CELLS, view_of
from calibration.smooth import smoothed_residuals
from calibration.validation import (
    CalibrationError,
    FloatArray,
    ReplicateError,
    checked_labels,
    checked_probabilities,
    checked_weights,
)

Method: TypeAlias = Literal["accelerated", "percentile", "basic"]
MISSING = 0.01  # share of replicates that may be NaN (a resample without a finite slope) before no interval is given
LARGEST = 2.5  # times the error seen, within which the truth is looked for first
HALVINGS = 11  # to a thousandth of that
RARE = math.exp(-3)  # share of resamples without any mistake (or without any right call) when three patients show one


@dataclass(frozen=True)
class Interval:
    """A confidence interval, and where the method has one, the estimate with its bias taken out."""

    low: float
    high: float
    method: str
    level: float = 0.95
    corrected: float | None = None


def interval(
    estimate: float,
    replicates: ArrayLike,
    method: Method = "percentile",
    level: float = 0.95,
    *,
    left_out: ArrayLike | None = None,
    patients: int = 1_000_000,
) -> Interval:
    """Interval of an estimator from its value on B resamples.

    Args:
        estimate: the value on the sample; `percentile` does without it.
        replicates: (B,) values on resamples of patients, B >= 100.
        method: `accelerated` (see `calibration.accelerated`), the plain `percentile`, or `basic` (reflected at the
            estimate). None is right for the plug-in calibration errors: use `recentred_interval`.
        level: nominal coverage.
        left_out: (R,) values with one patient left out at a time, and `patients` how many there are; for `accelerated`.
        patients: see there.

    Returns:
        The interval.

    Raises:
        ReplicateError: fewer than 100 replicates, more than 1 % of them are not numbers, or all are the same.
    """
    values = np.asarray(replicates, dtype=np.float64).ravel()
    if values.size < 100:
        raise ReplicateError(f"an interval needs at least 100 replicates (2000 for print), not {values.size}")
    missing = np.isnan(values)
    if missing.mean() > MISSING:
        raise ReplicateError(
            f"{int(missing.sum())} of {values.size} resamples have no value of this estimator: "
            "the sample is too small for it"
        )
    if method not in {"accelerated", "percentile", "basic"}:
        raise CalibrationError(f"unknown method {method!r}: use 'accelerated', 'percentile' or 'basic'")
    if np.ptp(values[~missing]) == 0:
        raise ReplicateError("all resamples have the same value: they do not show how sure it is")
    if method == "accelerated":
        found = Accelerated.of(estimate, values, left_out, patients)
        return Interval(found.end((1 - level) / 2), found.end((1 + level) / 2), method, level)
    low, high = np.quantile(values[~missing], [(1 - level) / 2, (1 + level) / 2])
    if method == "basic":
        low, high = 2 * estimate - high, 2 * estimate - low
    return Interval(float(low), float(high), method, level)


def recentred_interval(
    probabilities: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike,
    *,
    view: str = "top-label",
    bins: int = 15,
    binning: str = "equal-width",
    level: float = 0.95,
    patients: int | None = None,
) -> Interval:
    """Interval of the ECE (or SmoothECE) by test inversion over recentred resamples.

    Write the error as |g|, the summed absolute gaps g of the bins. Resamples show the noise of the gaps, d = g* - g,
    patients included. If the true gaps were t g, samples would show |t g + d|. The interval is every t |g| under
    which the error seen is not extreme; t = 0 is perfect calibration, so it holds 0 when the error seen lies within
    the noise of a calibrated subject of this sample. `corrected` is the t |g| under which the error seen is the median.

    Where even a calibrated subject would show more (an error of exactly 0, say), no t fits, and the interval reaches as
    far as the noise does. And where hardly a call is wrong, or right, resamples do not show the mistakes that were not
    drawn: then no end is nearer than the exact bound over patients of none at all (Clopper & Pearson 1934), so that a
    subject that is always right with a probability of 1 has an error of 0 to 3.7 / patients, not of 0.

    Args:
        probabilities: (n, K), rows sum to 1.
        labels: (n,) integers.
        weights: (B, n) resampling weights.
        view: as in `calibration.error.ece`.
        bins: number of bins (not used by `smooth`).
        binning: `equal-width`, `equal-mass` or `array-split` (edges placed once, on the sample), or `smooth`
            (bandwidth chosen once).
        level: nominal coverage.
        patients: how many there are; None takes every film for one.

    Returns:
        The interval, within [0, 1].

    Raises:
        ReplicateError: fewer than 100 resamples.
        CalibrationError: bad probabilities, labels, weights, view or binning (a named subclass where there is one).
    """
    p = checked_probabilities(probabilities)
    y = checked_labels(labels, *p.shape)
    w = checked_weights(weights, y.size)
    if w.shape[1] < 100:
        raise ReplicateError(f"an interval needs at least 100 resamples (2000 for print), not {w.shape[1]}")
    residuals = _residuals(p, y, view, bins, binning)
    gaps = residuals.mean(axis=1, keepdims=True)
    noise = residuals @ w / w.sum(axis=0) - gaps
    error = float(np.abs(gaps).sum())
    tail = (1 - level) / 2
    reach = float(np.quantile(np.abs(noise).sum(axis=0), 1 - tail))
    furthest = error + reach  # the triangle inequality: no further than the noise reaches
    low, middle, high = (_scale(gaps, noise, error, quantile, furthest) for quantile in (1 - tail, 0.5, tail))
    if high == 0:  # even the noise of a calibrated subject is larger than the error seen
        high = furthest
    right = (p.argmax(axis=1) == y).astype(np.float64)
    rarer = np.minimum(right @ w, (1 - right) @ w)
    if (rarer < 1e-9).mean() >= RARE:
        unseen = 1 - tail ** (1 / (patients or y.size))
        low, high = min(low, error - unseen), max(high, error + unseen)
    return Interval(max(low, 0.0), min(high, 1.0), "recentred", level, middle)


def _residuals(p: FloatArray, y: np.ndarray, view: str, bins: int, binning: str) -> FloatArray:
    """Rows (m, n) with sum |rows @ w| / sum w = the calibration error of weights w."""
    pairs = view_of(p, y, view)
    if binning == "smooth":
        rows = [smoothed_residuals(confidence, outcome) for confidence, outcome in pairs]
        return np.concatenate(rows) / len(pairs)
    if binning not in CELLS:
        raise CalibrationError(f"unknown binning {binning!r}: use one of {', '.join(CELLS)} or 'smooth'")
    cells_of = CELLS[binning]
    rows = []
    for confidence, outcome in pairs:
        row = np.zeros((bins, y.size))
        row[cells_of(confidence, bins), np.arange(y.size)] = outcome - confidence
        rows.append(row[np.abs(row).max(axis=1) > 0])
    return np.concatenate(rows) / len(pairs)


def _scale(gaps: FloatArray, noise: FloatArray, error: float, quantile: float, furthest: float) -> float:
    """The error t |gaps|, up to `furthest`, at which a quantile of |t gaps + noise| reaches the one seen."""
    rank = round(quantile * (noise.shape[1] - 1))

    def reached(t: float) -> bool:
        return bool(np.partition(np.abs(t * gaps + noise).sum(axis=0), rank)[rank] >= error)

    if error == 0 or reached(0.0):
        return 0.0
    low, high = 0.0, LARGEST
    while not reached(high) and high * error < furthest:
        low, high = high, 2 * high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return min(high * error, furthest)
