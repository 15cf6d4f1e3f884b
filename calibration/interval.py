"""How sure is a calibration measure? Intervals from replicates, each by the method right for its estimator.

Estimators without a bias from noise (Brier, log loss, debiased error, AUROC, temperature, slope) take the accelerated
interval: the percentile one is too short where patients are few, and beside the truth where single patients weigh
much. A calibration error is an absolute value of noisy gaps, biased upwards, most of all where the truth is zero: in
simulation (`tests/calibration/test_interval.py`) the percentile interval of the ECE of a perfectly calibrated subject
covers the truth in 0 % of samples and the basic (reflected) one in about 50 %. It takes `calibration.inversion`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from calibration.accelerated import Accelerated
from calibration.validation import CalibrationError, ReplicateError

Method: TypeAlias = Literal["accelerated", "percentile", "basic"]
MISSING = 0.01  # share of replicates that may be NaN (a resample without a finite slope) before no interval is given


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
            estimate). None is right for the plug-in calibration errors: use `calibration.inversion`.
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
