"""Which recalibrations have more than one number? Vector, Dirichlet, beta, isotonic.

They bend more and need more films; with a few hundred, temperature scaling usually wins out of fold.

Vector and Dirichlet take their ridge from cross-validation over patients (Kull et al. 2019 choose theirs so): of
`RIDGES`, the one with the least held-out log loss, the larger of equals. It is kept as `ridge` and travels in the json.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from calibration import multinomial
from calibration.crossfit import patient_folds
from calibration.recalibrator import Recalibrator, register
from calibration.validation import CalibrationError, FloatArray, IntArray, log_softmax, softmax

RIDGE = 1e-3  # per parameter, on its distance from doing nothing; where nothing can be cross-validated
RIDGES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 0.0)  # tried
INNER = 3  # folds of that choice, fewer where films are few
SMALLEST = 1e-6  # probability left to a class that isotonic steps would rule out


@dataclass(frozen=True, kw_only=True)
class Ridged(Recalibrator):
    """A recalibration with a ridge towards doing nothing, chosen over patients.

    Authors write `_design`, `_named` and `_apply`.

    Attributes:
        ridge: on the squared distance of the parameters from doing nothing, beside the mean log loss in nats.
    """

    ridge: float = RIDGE

    @classmethod
    @abstractmethod
    def _design(cls, logits: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return features (K, P, n) of each class, and the parameters (K, P) that change nothing."""

    @classmethod
    @abstractmethod
    def _named(cls, parameters: FloatArray) -> dict[str, Any]:
        """Return parameters (K, P) by their names."""

    @classmethod
    def _fit(cls, logits: FloatArray, labels: IntArray) -> dict[str, Any]:
        return cls._fit_patients(logits, labels, np.arange(labels.size))

    @classmethod
    def _fit_patients(cls, logits: FloatArray, labels: IntArray, patients: IntArray) -> dict[str, Any]:
        ridge = cls._chosen(logits, labels, patients)
        return {"ridge": ridge, **cls._at(logits, labels, ridge)}

    @classmethod
    def _at(cls, logits: FloatArray, labels: IntArray, ridge: float) -> dict[str, Any]:
        """Return the parameters under a ridge."""
        design, rest = cls._design(logits)
        return cls._named(multinomial.fitted(design, labels, rest, ridge, start=rest, method=cls.method))

    @classmethod
    def _chosen(cls, logits: FloatArray, labels: IntArray, patients: IntArray) -> float:
        try:
            fold = patient_folds(labels, patients, folds=max(2, min(INNER, labels.size // 45)))
        except CalibrationError:  # too few films or patients to hold any out
            return RIDGE
        design, rest = cls._design(logits)
        held_out = np.zeros(len(RIDGES))
        for f in np.unique(fold):
            inside, outside = fold == f, fold != f
            theirs, ours, found = design[:, :, outside], design[:, :, inside], rest
            for at, ridge in enumerate(RIDGES):  # each begins at the optimum of the one before
                found = multinomial.fitted(theirs, labels[outside], rest, ridge, start=found, method=cls.method)
                held_out[at] += multinomial.losses(multinomial.logits_of(found, ours), labels[inside])[0].sum()
        return RIDGES[int(np.argmin(held_out))]


@register("vector")
@dataclass(frozen=True, kw_only=True)
class Vector(Ridged):
    """A factor and an offset for each logit (Guo et al. 2017), with a cross-validated ridge towards doing nothing."""

    factor: list[float]
    offset: list[float]

    @classmethod
    def _design(cls, logits: FloatArray) -> tuple[FloatArray, FloatArray]:
        design = np.stack([logits.T, np.ones_like(logits.T)], axis=1)
        return design, np.tile([1.0, 0.0], (len(design), 1))

    @classmethod
    def _named(cls, parameters: FloatArray) -> dict[str, Any]:
        return {"factor": parameters[:, 0].tolist(), "offset": parameters[:, 1].tolist()}

    def _apply(self, logits: FloatArray) -> FloatArray:
        return np.asarray(logits * np.asarray(self.factor) + np.asarray(self.offset))


@register("dirichlet")
@dataclass(frozen=True, kw_only=True)
class Dirichlet(Ridged):
    """A linear map of the log probabilities (Kull et al. 2019, arXiv 1910.12656), with a ridge towards the identity.

    The paper's ridge pulls off-diagonal terms and offsets to 0; this one pulls the diagonal to 1 as well.
    """

    matrix: list[list[float]]
    offset: list[float]

    @classmethod
    def _design(cls, logits: FloatArray) -> tuple[FloatArray, FloatArray]:
        n, k = logits.shape
        features = np.concatenate([log_softmax(logits).T, np.ones((1, n))])
        return np.broadcast_to(features, (k, k + 1, n)), np.eye(k, k + 1)

    @classmethod
    def _named(cls, parameters: FloatArray) -> dict[str, Any]:
        return {"matrix": parameters[:, :-1].tolist(), "offset": parameters[:, -1].tolist()}

    def _apply(self, logits: FloatArray) -> FloatArray:
        return np.asarray(log_softmax(logits) @ np.asarray(self.matrix).T + np.asarray(self.offset))


@register("beta")
@dataclass(frozen=True, kw_only=True)
class Beta(Recalibrator):
    """Beta calibration (Kull et al. 2017) of each class against the rest, then renormalised.

    log odds = a log p - b log(1 - p) + c with a, b >= 0; p comes from log odds, so saturated subjects stay finite.
    """

    a: list[float]
    b: list[float]
    c: list[float]

    @classmethod
    def _fit(cls, logits: FloatArray, labels: IntArray) -> dict[str, Any]:
        inside, outside = _log_both(logits)
        fits = [_beta(inside[:, k], outside[:, k], labels == k) for k in range(logits.shape[1])]
        a, b, c = np.array(fits).T.tolist()
        return {"a": a, "b": b, "c": c}

    def _apply(self, logits: FloatArray) -> FloatArray:
        inside, outside = _log_both(logits)
        odds = np.asarray(self.a) * inside - np.asarray(self.b) * outside + np.asarray(self.c)
        return np.asarray(-np.logaddexp(0, -odds))


@register("isotonic")
@dataclass(frozen=True, kw_only=True)
class Isotonic(Recalibrator):
    """Isotonic regression of each class against the rest (Zadrozny & Elkan 2002), then renormalised.

    A step at 0 would make a mistake cost infinity: no class is left with less than 1e-6.
    """

    thresholds: list[list[float]]
    values: list[list[float]]

    @classmethod
    def _fit(cls, logits: FloatArray, labels: IntArray) -> dict[str, Any]:
        p = softmax(logits)
        fits = [
            IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(p[:, k], labels == k)
            for k in range(p.shape[1])
        ]
        return {
            "thresholds": [f.X_thresholds_.tolist() for f in fits],
            "values": [f.y_thresholds_.tolist() for f in fits],
        }

    def _apply(self, logits: FloatArray) -> FloatArray:
        p = softmax(logits)
        steps = [np.interp(p[:, k], self.thresholds[k], self.values[k]) for k in range(self.classes)]
        return np.asarray(np.log(np.clip(np.stack(steps, axis=1), SMALLEST, None)))


def _log_both(logits: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return log p and log(1 - p) of every class (n, K), finite for saturated logits too."""
    log_p = log_softmax(logits)
    k = logits.shape[1]
    rest = [np.logaddexp.reduce(np.delete(log_p, i, axis=1), axis=1) for i in range(k)]
    return log_p, np.stack(rest, axis=1)


def _beta(inside: FloatArray, outside: FloatArray, hit: IntArray) -> FloatArray:
    design = np.stack([inside, -outside, np.ones_like(inside)], axis=1)
    start = np.array([1.0, 1.0, 0.0])

    def loss(w: FloatArray) -> tuple[float, FloatArray]:
        odds = design @ w
        away = w - start
        value = np.logaddexp(0, odds) - hit * odds
        p = np.exp(-np.logaddexp(0, -odds))
        return float(value.mean() + RIDGE * away @ away), design.T @ (p - hit) / hit.size + 2 * RIDGE * away

    result = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None), (0, None), (None, None)])
    return np.asarray(result.x, dtype=np.float64)
