"""Proper scores: Brier with its decomposition, and the log loss.

Lower is better, and honest probabilities do best on average: unlike the calibration errors, nothing can be gained by
binning.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from calibration.binning import sort_into_bins, view_of
from calibration.checks import (
    Estimate,
    FloatArray,
    checked_labels,
    checked_logits,
    checked_probabilities,
    each,
    log_softmax,
    over_resamples,
)


@dataclass(frozen=True)
class BrierParts:
    """Terms of the Brier score, which add up to it exactly.

    score = reliability - resolution + uncertainty + within_variance - within_covariance.
    reliability: squared gap between confidence and frequency (0 is calibrated); resolution: how far the frequencies
    of the bins lie from the base rate (more is better); uncertainty: the base rate's own variance (nothing to do with
    the subject); within_variance, within_covariance: what binning hides, the spread of confidence inside a bin and
    its use. Each a float, or (B,) for (B, n) weights; each summed over classes.
    """

    score: Estimate
    reliability: Estimate
    resolution: Estimate
    uncertainty: Estimate
    within_variance: Estimate
    within_covariance: Estimate


def brier(probabilities: ArrayLike, labels: ArrayLike, *, weights: ArrayLike | None = None) -> Estimate:
    """Brier score (1950): squared distance of the probabilities to the truth, summed over classes, in [0, 2].

    For two classes this is twice the score many libraries print for the positive class alone.
    Arguments and errors as in `calibration.error.ece`.
    """
    p = checked_probabilities(probabilities)
    y = checked_labels(labels, *p.shape)
    loss = ((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1)
    return over_resamples(weights, y.size, lambda w: loss @ w / w.sum(axis=0))


def brier_parts(
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    bins: int = 15,
    binning: str = "equal-width",
) -> BrierParts:
    """Murphy's decomposition of the Brier score (1973), with within-bin terms.

    Those are of Stephenson et al. 2008 (10.1175/2007WAF2006116.1).     Without those two terms the parts of a binned
    forecast do not add up to its score. Arguments and errors as in `calibration.error.ece`; the view is class-wise.
    """
    p = checked_probabilities(probabilities)
    y = checked_labels(labels, *p.shape)
    views = view_of(p, y, "class-wise")

    def parts(w: FloatArray) -> FloatArray:
        return np.asarray(
            np.sum([_parts(confidence, outcome, w, bins, binning) for confidence, outcome in views], axis=0)
        )

    return BrierParts(*each(over_resamples(weights, y.size, parts)))


def nll(logits: ArrayLike, labels: ArrayLike, *, weights: ArrayLike | None = None) -> Estimate:
    """Mean negative log probability of the true class, in nats, from logits (log probabilities are logits too).

    Taken from logits and not from probabilities, whose rounding to 0 would make a confident mistake cost infinity.

    Args:
        logits: (n, K).
        labels: (n,) integers.
        weights: None, (n,) or (B, n), see `calibration.checks`.

    Returns:
        A float, or (B,) for (B, n) weights.

    Raises:
        CalibrationError: bad logits, labels or weights.
    """
    z = checked_logits(logits)
    y = checked_labels(labels, *z.shape)
    loss = -log_softmax(z)[np.arange(y.size), y]
    return over_resamples(weights, y.size, lambda w: loss @ w / w.sum(axis=0))


def _parts(confidence: FloatArray, outcome: FloatArray, w: FloatArray, bins: int, binning: str) -> FloatArray:
    total = w.sum(axis=0)
    table = sort_into_bins(confidence, outcome, w, bins, binning)
    safe = np.where(table.weight > 0, table.weight, 1.0)
    mean, rate = table.confidence / safe, table.outcome / safe
    base = outcome @ w / total
    reliability = (table.share * (mean - rate) ** 2).sum(axis=0)
    resolution = (table.share * (rate - base) ** 2).sum(axis=0)
    spread = confidence**2 @ w / total - (table.share * mean**2).sum(axis=0)
    covariance = 2 * ((confidence * outcome) @ w / total - (table.share * mean * rate).sum(axis=0))
    score = (confidence - outcome) ** 2 @ w / total
    return np.stack([score, reliability, resolution, base * (1 - base), spread, covariance])
