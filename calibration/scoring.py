"""How good is a probability, calibration and sharpness together? The Brier score and the log loss.

Lower is better, and honest probabilities do best on average: unlike the calibration errors, nothing can be gained by
binning.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from calibration.validation import (
    Estimate,
    averaged,
    checked_labels,
    checked_logits,
    checked_probabilities,
    log_softmax,
)


def brier(probabilities: ArrayLike, labels: ArrayLike, *, weights: ArrayLike | None = None) -> Estimate:
    """Brier score (1950): squared distance of the probabilities to the truth, summed over classes, in [0, 2].

    For two classes this is twice the score many libraries print for the positive class alone.
    Arguments and errors as in `calibration.error.ece`.
    """
    p = checked_probabilities(probabilities)
    y = checked_labels(labels, *p.shape)
    loss = ((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1)
    return averaged(weights, loss)


def nll(logits: ArrayLike, labels: ArrayLike, *, weights: ArrayLike | None = None) -> Estimate:
    """Mean negative log probability of the true class, in nats, from logits (log probabilities are logits too).

    Taken from logits and not from probabilities, whose rounding to 0 would make a confident mistake cost infinity.

    Args:
        logits: (n, K).
        labels: (n,) integers.
        weights: None, (n,) or (B, n), see `calibration.validation`.

    Returns:
        A float, or (B,) for (B, n) weights.

    Raises:
        CalibrationError: bad logits, labels or weights.
    """
    z = checked_logits(logits)
    y = checked_labels(labels, *z.shape)
    loss = -log_softmax(z)[np.arange(y.size), y]
    return averaged(weights, loss)
