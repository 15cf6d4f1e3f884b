"""How do outcomes depend on the log odds claimed? Calibration slope and intercept.

Cox 1958; Van Calster et al. 2019 (10.1186/s12916-019-1466-7). slope = 1 and intercept = 0 is calibrated. slope < 1:
too sure of itself (about 1/T); intercept < 0: risks too high throughout.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from calibration.validation import (
    CalibrationError,
    ClassAbsentError,
    Estimate,
    FloatArray,
    IntArray,
    checked_labels,
    checked_logits,
    over_resamples,
)

STEPS = 50
TOLERANCE = 1e-6  # nats per film the last step of a resample gained; the next would gain about its square
EXACT = 1e-13  # the same for the sample itself
HALVINGS = 100  # of the bracket of an intercept, at most; Newton takes about five
SAME = 1e-9  # relative spread of log odds below which they are the rounding of one number
SEPARATED = 1e-8  # mean p(1-p) below which the optimum runs off to infinity


def slope(
    logits: ArrayLike, labels: ArrayLike, *, weights: ArrayLike | None = None, view: str = "top-label"
) -> Estimate:
    """Calibration slope: b of logit P(outcome) = a + b log odds.

    Args:
        logits: (n, K).
        labels: (n,) integers.
        weights: None, (n,) or (B, n), see `calibration.validation`.
        view: `top-label` (was the winner right, against the winner's log odds) or `class-<k>` (class k against the
            rest).

    Returns:
        A float, or (B,) for (B, n) weights; NaN for a resample in which the regression has no finite optimum.

    Raises:
        ClassAbsentError: every outcome is the same, so there is nothing to regress.
        CalibrationError: bad logits, labels, weights or view, or the sample itself has no finite optimum; the message
            says whether the log odds are all the same or separate right from wrong perfectly.
    """
    odds, outcome = _checked(logits, labels, view)
    if np.ptp(odds) <= SAME * max(1.0, float(np.abs(odds).max())):
        raise CalibrationError(
            f"the calibration slope has no value here: the log odds of all {odds.size} films are the same "
            f"({odds[0]:.4g}), so that nothing varies with them"
        )
    design = np.stack([np.ones_like(odds), odds])
    return _regress(design, np.zeros_like(odds), outcome, weights)


def intercept(
    logits: ArrayLike, labels: ArrayLike, *, weights: ArrayLike | None = None, view: str = "top-label"
) -> Estimate:
    """Calibration in the large: a of logit P(outcome) = a + log odds, the slope held at 1.

    It exists wherever both outcomes do, for saturated logits too. Arguments, result and errors as in `slope`.
    """
    odds, outcome = _checked(logits, labels, view)
    # The score falls with a from above 0 to below it, so that there is always one value: Newton only loses it where
    # saturated log odds leave no curvature. Resamples begin at the sample's own.
    sample = _crossing(odds, outcome, np.ones((odds.size, 1)))[0]
    start = float(sample) if np.isfinite(sample) else 0.0
    return over_resamples(weights, odds.size, lambda w: _crossing(odds, outcome, w, start))


def log_odds(logits: ArrayLike, view: str = "top-label") -> FloatArray:
    """Return log p/(1-p) (n,) of the winner or of class k, straight from logits: finite where p itself rounds to 1.

    Raises:
        CalibrationError: bad logits or an unknown view.
    """
    z = checked_logits(logits)
    number = view.removeprefix("class-")
    if view == "top-label":
        chosen = z.argmax(axis=1)
    elif view.startswith("class-") and number.isdigit() and int(number) < z.shape[1]:
        chosen = np.full(z.shape[0], int(number))
    else:
        raise CalibrationError(f"unknown view {view!r}: use 'top-label' or 'class-0' to 'class-{z.shape[1] - 1}'")
    rows = np.arange(z.shape[0])
    others = z.copy()
    others[rows, chosen] = -np.inf
    return np.asarray(z[rows, chosen] - logsumexp(others, axis=1))


def _checked(logits: ArrayLike, labels: ArrayLike, view: str) -> tuple[FloatArray, FloatArray]:
    z = checked_logits(logits)
    y: IntArray = checked_labels(labels, *z.shape)
    odds = log_odds(z, view)
    outcome = (z.argmax(axis=1) == y if view == "top-label" else y == int(view.removeprefix("class-"))).astype(
        np.float64
    )
    if outcome.min() == outcome.max():
        what = "correct" if view == "top-label" else view
        raise ClassAbsentError(
            f"all {y.size} films are {'' if outcome[0] else 'not '}{what}: slope and intercept are undefined"
        )
    return odds, outcome


def _regress(design: FloatArray, offset: FloatArray, outcome: FloatArray, weights: ArrayLike | None) -> Estimate:
    """Weighted logistic regression of each resample on design (d, n), d <= 2; returns the last coefficient."""
    everyone = np.ones((outcome.size, 1))
    sample = _iterate(design, offset, outcome, everyone, np.zeros((design.shape[0], 1)), tolerance=EXACT)
    if not np.isfinite(sample).all():
        raise CalibrationError(f"the calibration slope has no finite value here: {_why(design[-1], outcome)}")
    # all resamples start from the sample's optimum, where they share p: the first step is two matrix products
    p = _expit(sample[:, 0] @ design + offset)
    score, information = design * (outcome - p), _products(design) * p * (1 - p)

    def last_coefficient(w: FloatArray) -> FloatArray:
        start = sample + _solve(information @ w, score @ w)
        return np.asarray(
            _iterate(design, offset, outcome, w, np.where(np.isfinite(start), start, sample), tolerance=TOLERANCE)[-1]
        )

    return over_resamples(weights, outcome.size, last_coefficient)


def _why(odds: FloatArray, outcome: FloatArray) -> str:
    """Return why the regression on log odds (n,) has no finite slope."""
    right, wrong = odds[outcome == 1], odds[outcome == 0]
    if right.min() >= wrong.max() or right.max() <= wrong.min():
        return "the log odds separate right from wrong perfectly"
    return f"the regression did not converge in {STEPS} steps; log odds run from {odds.min():.4g} to {odds.max():.4g}"


def _crossing(odds: FloatArray, outcome: FloatArray, weights: FloatArray, start: float = 0.0) -> FloatArray:
    """Return a (B,) at which the mean of expit(a + odds) is the mean outcome: Newton, held inside a bracket."""
    total, events = weights.sum(axis=0), outcome @ weights
    ends = np.log(weights.shape[0]) + 40.0  # beyond: expit is 0 or 1 for all films to the last bit
    low = np.full(total.size, -float(odds.max()) - ends)
    high = np.full(total.size, -float(odds.min()) + ends)
    a = np.clip(start, low, high)
    for step in range(HALVINGS):
        if not step:  # all begin at one number: the first step is two products
            p = _expit(a[0] + odds)
            expected, bend = np.stack([p, p * (1 - p)]) @ weights
        else:
            p = _expit(a + odds[:, None])
            weighed = weights * p
            expected = weighed.sum(axis=0)
            weighed *= np.subtract(1.0, p, out=p)
            bend = weighed.sum(axis=0)
        score = events - expected
        low, high = np.where(score >= 0, a, low), np.where(score <= 0, a, high)
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = a + score / bend
        inside = (newton > low) & (newton < high)
        a, before = np.where(inside, newton, (low + high) / 2), a
        # After a step of Newton the error is about the square of the step.
        if (np.abs(a - before) <= np.where(inside, 1e-6, 1e-10) * np.maximum(1.0, np.abs(a))).all():
            break
    return np.where((events > 0) & (events < total), a, np.nan)  # a resample of one outcome alone has none


def _iterate(
    design: FloatArray,
    offset: FloatArray,
    outcome: FloatArray,
    weights: FloatArray,
    beta: FloatArray,
    *,
    tolerance: float,
) -> FloatArray:
    products = _products(design)
    pending = np.arange(weights.shape[1])
    beta = beta.copy()
    total = weights.sum(axis=0)
    for _ in range(STEPS):
        p = _expit(design.T @ beta[:, pending] + offset[:, None])
        w = weights if pending.size == weights.shape[1] else weights[:, pending]
        gradient = design @ (w * (outcome[:, None] - p))
        hessian = products @ (w * p * (1 - p))
        step = _solve(hessian, gradient)
        step[:, ~np.isfinite(step).all(axis=0) | (hessian[0] < SEPARATED * total[pending])] = np.nan
        beta[:, pending] += step
        gain = np.abs(gradient / total[pending] * step).max(axis=0)
        pending = pending[gain >= tolerance]  # a NaN is final too
        if not pending.size:
            break
    beta[:, pending] = np.nan
    return beta


def _expit(x: FloatArray) -> FloatArray:
    p = np.clip(x, -700, 700)
    np.negative(p, out=p)
    np.exp(p, out=p)
    p += 1.0
    return np.asarray(np.divide(1.0, p, out=p))


def _products(design: FloatArray) -> FloatArray:
    d = design.shape[0]
    return np.stack([design[i] * design[j] for i in range(d) for j in range(d)])


def _solve(hessian: FloatArray, gradient: FloatArray) -> FloatArray:
    """Solve d x d systems for d <= 2: hessian (d*d, B), gradient (d, B)."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if gradient.shape[0] == 1:
            return np.asarray(gradient / hessian)
        a, b, _, d = hessian
        determinant = a * d - b * b
        return np.asarray(
            np.stack([d * gradient[0] - b * gradient[1], a * gradient[1] - b * gradient[0]]) / determinant
        )
