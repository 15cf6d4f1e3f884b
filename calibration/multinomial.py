"""Which linear map of features lowers the log loss most? Multinomial regression by Newton's method, with a ridge.

The loss is convex, its gradient and curvature are known: a handful of steps reach an optimum that is exact to rounding.
Where there is none (films that a map parts perfectly, without a ridge) L-BFGS walks as far as the loss still falls.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from calibration.validation import FitError, FloatArray, IntArray

STEPS = 40  # about six are taken, from a near start two
STEEPEST = 1e-11  # nats per unit of a parameter: slope at which the optimum is reached
FLAT = 1e-13  # curvature over the largest one, below which a direction changes no probability
NEWTON = 100  # parameters up to which the curvature is written out
HALVINGS = 30


def fitted(
    design: FloatArray, labels: IntArray, rest: FloatArray, ridge: float, *, start: FloatArray, method: str
) -> FloatArray:
    """Return the parameters (K, P) that minimise mean log loss + ridge x squared distance from `rest`.

    Args:
        design: (K, P, n) features of each class; logit k of a film is parameters[k] @ design[k, :, film].
        labels: (n,) integers.
        rest: (K, P) parameters of doing nothing.
        ridge: in nats.
        start: (K, P) where to begin: `rest`, or an optimum nearby under another ridge. Directions in which the loss is
            flat stay as they are in it.
        method: what is fitted, for the error.

    Raises:
        FitError: the fit runs off to infinity.
    """
    found = _newton(design, labels, rest, ridge, start) if rest.size <= NEWTON else None
    return _walked(design, labels, rest, ridge, method) if found is None else found


def logits_of(parameters: FloatArray, design: FloatArray) -> FloatArray:
    """Return logits (K, n)."""
    return np.asarray((parameters[:, None, :] @ design)[:, 0, :])


def losses(logits: FloatArray, labels: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return each film's log loss (n,) and probabilities (K, n) of logits (K, n)."""
    top = logits.max(axis=0)
    p = np.exp(logits - top)
    total = p.sum(axis=0)
    p /= total
    return np.log(total) + top - logits[labels, np.arange(labels.size)], p


def _newton(
    design: FloatArray, labels: IntArray, rest: FloatArray, ridge: float, start: FloatArray
) -> FloatArray | None:
    """Return the optimum, or None where none is reached."""
    classes, size, n = design.shape
    truth = np.arange(classes)[:, None] == labels

    def value(w: FloatArray) -> tuple[float, FloatArray]:
        loss, p = losses(logits_of(w, design), labels)
        return float(loss.mean() + ridge * ((w - rest) ** 2).sum()), p

    w = start
    now, p = value(w)
    for _ in range(STEPS):
        slope = (design @ (p - truth)[:, :, None])[:, :, 0] / n + 2 * ridge * (w - rest)
        if np.abs(slope).max() <= STEEPEST:
            return w
        curvature, turn = np.linalg.eigh(_curvature(design, p) + 2 * ridge * np.eye(classes * size))
        bent = curvature > FLAT * max(curvature[-1], 0.0)
        along = turn.T @ slope.ravel()
        step = -(turn @ np.where(bent, along / np.where(bent, curvature, 1.0), 0.0)).reshape(w.shape)
        falls, share = float((slope * step).sum()), 1.0
        for _ in range(HALVINGS):
            further, there = value(w + share * step)
            if further <= now + 1e-4 * share * falls + 1e-15 * abs(now):
                break
            share /= 2
        else:
            return None
        w, now, p = w + share * step, further, there
    return None


def _curvature(design: FloatArray, p: FloatArray) -> FloatArray:
    """Return the second derivatives (K P, K P) of the mean log loss."""
    classes, size, n = design.shape
    found = np.empty((classes, size, classes, size))
    for k in range(classes):
        for other in range(k + 1):
            pull = p[k] * ((k == other) - p[other])
            block = (design[k] * pull) @ design[other].T / n
            found[k, :, other], found[other, :, k] = block, block.T
    return found.reshape(classes * size, classes * size)


def _walked(design: FloatArray, labels: IntArray, rest: FloatArray, ridge: float, method: str) -> FloatArray:
    """Return where L-BFGS ends from doing nothing."""
    truth = np.arange(len(design))[:, None] == labels

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        w = flat.reshape(rest.shape)
        each, p = losses(logits_of(w, design), labels)
        slope = (design @ (p - truth)[:, :, None])[:, :, 0] / labels.size + 2 * ridge * (w - rest)
        return float(each.mean() + ridge * ((w - rest) ** 2).sum()), slope.ravel()

    options = {"maxiter": 2000, "ftol": 1e-13, "gtol": 1e-9}
    result = minimize(loss, rest.ravel(), jac=True, method="L-BFGS-B", options=options)
    if not np.isfinite(result.x).all():
        raise FitError(f"{method}: the fit ran off to infinity ({result.message})")
    return np.asarray(result.x, dtype=np.float64).reshape(rest.shape)
