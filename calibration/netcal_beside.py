"""What does netcal find? Its numbers beside ours, in float64, its known failures turned into errors.

netcal 1.4 fits temperature, logistic and beta scaling with a numerical gradient in the dtype of the data: on float32
probabilities the step vanishes and the fit returns "do nothing" without a word (its issues #48, #61). Its temperature
is the inverse of everybody else's. Its two-column binary ECE is that of the positive class, and three-class data in
which two labels occur stop it. Hence this adapter, and hence our own estimators, which these functions check.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from netcal.metrics import ACE, ECE, MCE
from netcal.scaling import TemperatureScaling
from numpy.typing import ArrayLike

from calibration.binning import view_of
from calibration.scaling import temperature
from calibration.validation import (
    FitError,
    FloatArray,
    checked_labels,
    checked_logits,
    checked_probabilities,
    softmax,
)

AGREEMENT = 0.01


@dataclass(frozen=True)
class NetcalErrors:
    """ECE, MCE and ACE as netcal computes them (equal-width bins)."""

    ece: float
    mce: float
    ace: float


def netcal_errors(
    probabilities: ArrayLike, labels: ArrayLike, *, view: str = "top-label", bins: int = 15
) -> NetcalErrors:
    """Return netcal's errors of one view, in float64.

    The view's confidence and outcome are handed over as a binary problem of their own, so that top-label means
    top-label for two classes too, and a sample in which a class is missing does not stop it.

    Args:
        probabilities: (n, K), rows sum to 1.
        labels: (n,) integers.
        view: `top-label` or `class-<k>`.
        bins: number of equal-width bins.

    Raises:
        CalibrationError: bad probabilities, labels or view.
    """
    p = checked_probabilities(probabilities)
    y = checked_labels(labels, *p.shape)
    confidence, outcome = view_of(p, y, view)[0]
    values = [float(kind(bins).measure(confidence, outcome.astype(np.int64))) for kind in (ECE, MCE, ACE)]
    return NetcalErrors(*values)


def netcal_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Return the temperature netcal fits, as T > 1 = too sure.

    Args:
        logits: (n, K).
        labels: (n,) integers.

    Raises:
        FitError: netcal's value is more than 1 % away from the optimum (its float32 failure returns exactly 1).
        CalibrationError: bad logits or labels.
    """
    z = checked_logits(logits)
    y = checked_labels(labels, *z.shape, all_classes=True)
    p = softmax(z)
    found = 1.0 / float(np.ravel(_fit(p[:, 1] if z.shape[1] == 2 else p, y).temperature)[0])
    truth = float(temperature(z, y))
    if abs(found / truth - 1) > AGREEMENT:
        raise FitError(
            f"netcal fits T = {found:.4f} where the log loss is least at T = {truth:.4f}: do not use its scaling here"
        )
    return found


def _fit(probabilities: FloatArray, labels: ArrayLike) -> TemperatureScaling:
    return TemperatureScaling().fit(probabilities, np.asarray(labels))
