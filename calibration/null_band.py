"""What would a perfectly calibrated subject with these very confidences show on this many films?

Consistency resampling (Broecker & Smith 2007): keep the probabilities, draw the labels from them, measure again. An
ECE inside the band cannot be told from perfect calibration, whatever its value; printed without it an ECE means little.

The labels of one patient's films hang together, which widens the band: `patient_correlation` measures it, `within`
applies it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from calibration.binning import view_of
from calibration.validation import (
    CalibrationError,
    Estimate,
    FloatArray,
    IntArray,
    checked_groups,
    checked_labels,
    checked_probabilities,
)

Estimator = Callable[[FloatArray, IntArray, FloatArray, IntArray], Estimate]
DRAWS = 500


@dataclass(frozen=True)
class NullBand:
    """Distribution of an estimator under perfect calibration: mean, median, 95th percentile, and all draws (R,)."""

    mean: float
    median: float
    upper: float
    draws: FloatArray

    @classmethod
    def of(cls, draws: FloatArray) -> NullBand:
        """Return the band of an estimator's values (R,) on calibrated samples."""
        return cls(float(draws.mean()), float(np.median(draws)), float(np.quantile(draws, 0.95)), draws)

    def exceeded_by(self, estimate: float) -> bool:
        """Whether an estimate lies above what perfect calibration shows in 95 of 100 samples."""
        return estimate > self.upper

    def p_value(self, estimate: float) -> float:
        """Share of calibrated samples with at least this error, never below 1/(R+1)."""
        return float((1 + np.count_nonzero(self.draws >= estimate)) / (1 + self.draws.size))


@dataclass(frozen=True)
class CalibratedSamples:
    """Many samples of a perfectly calibrated subject as one weighted sample, for any number of estimators.

    Each film is entered K times, once with each label; the weights switch on the entry whose label was drawn.
    probabilities (n K, K), labels (n K,), weights (draws, n K), groups (n K,).
    """

    probabilities: FloatArray
    labels: IntArray
    weights: FloatArray
    groups: IntArray

    def band(self, estimator: Estimator) -> NullBand:
        """Return the null band of estimator(probabilities, labels, weights, groups) -> (draws,).

        Raises:
            CalibrationError: the estimator does not return one value per draw.
        """
        values = np.asarray(estimator(self.probabilities, self.labels, self.weights, self.groups))
        if values.shape != self.weights.shape[:1]:
            raise CalibrationError(f"the estimator must return one value per draw, not an array {values.shape}")
        return NullBand.of(values)


def calibrated_samples(
    probabilities: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    within: float = 0.0,
    draws: int = DRAWS,
    seed: int = 0,
) -> CalibratedSamples:
    """Draw samples in which the probabilities are exactly right.

    Args:
        probabilities: (n, K) of the sample.
        groups: (n,) patient keys.
        within: correlation of outcomes within a patient, 0 (independent films) to 1, see `patient_correlation`.
        draws: number of simulated samples.
        seed: same input, same samples.

    Raises:
        CalibrationError: bad probabilities or groups, within outside [0, 1], fewer than 20 draws.
    """
    p = checked_probabilities(probabilities)
    patients = checked_groups(groups, p.shape[0])
    drawn = simulated_labels(p, patients, within=within, draws=draws, seed=seed)
    n, classes = p.shape
    weights = np.zeros((n, classes, draws))
    for k in range(classes):
        np.equal(drawn.T, k, out=weights[:, k], casting="unsafe")
    rows = weights.reshape(n * classes, draws).T
    rows.flags.writeable = False  # looked through once for all estimators
    return CalibratedSamples(
        np.repeat(p, classes, axis=0),
        np.tile(np.arange(classes), n),
        rows,
        np.repeat(patients, classes),
    )


def simulated_labels(
    probabilities: FloatArray, patients: IntArray, *, within: float, draws: int, seed: int
) -> IntArray:
    """Draw labels (draws, n) from probabilities (n, K), correlated within patients.

    With chance `within` two films of a patient share one uniform number, else each has its own; classes are ranked by
    probability before the draw, so that shared luck means being right or wrong together.
    """
    if not 0 <= within <= 1:
        raise CalibrationError(f"within is a correlation in [0, 1], not {within}")
    if draws < 20:
        raise CalibrationError(f"a 95th percentile needs at least 20 draws, not {draws}")
    rng = np.random.default_rng([seed, draws])
    n = probabilities.shape[0]
    uniform = rng.random((draws, n))
    if within > 0:
        shared = np.take(rng.random((draws, int(patients.max()) + 1)), patients, axis=1)
        np.copyto(uniform, shared, where=rng.random((draws, n)) < np.sqrt(within))
    ranked = np.argsort(-probabilities, axis=1, kind="stable")
    limits = np.cumsum(np.take_along_axis(probabilities, ranked, axis=1), axis=1)
    drawn = np.tile(ranked[:, 0], (draws, 1))
    for k in range(probabilities.shape[1] - 1):  # limits rise, so the last one passed decides
        np.copyto(drawn, ranked[:, k + 1], where=uniform >= limits[:, k])
    return drawn


def patient_correlation(
    probabilities: ArrayLike, labels: ArrayLike, groups: ArrayLike, view: str = "top-label"
) -> float:
    """Correlation of the residuals outcome - confidence of two films of one patient, clipped to [0, 1].

    Moment estimate over all pairs within patients; 0 when no patient has two films.
    """
    p = checked_probabilities(probabilities)
    y = checked_labels(labels, *p.shape)
    patients = checked_groups(groups, y.size)
    products = pairs = variance = 0.0
    for confidence, outcome in view_of(p, y, view):
        residual = outcome - confidence
        sums, squares = np.bincount(patients, residual), np.bincount(patients, residual**2)
        counts = np.bincount(patients)
        products += float((sums**2 - squares).sum())
        pairs += float((counts * (counts - 1)).sum())
        variance += float((residual**2).mean())
    views = len(view_of(p, y, view))
    if pairs == 0 or variance == 0:
        return 0.0
    return float(np.clip(products / pairs / (variance / views), 0.0, 1.0))
