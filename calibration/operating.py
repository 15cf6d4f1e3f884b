"""Pneumonia or normal, as a clinician asks? Sensitivity, specificity, predictive values, decision curve.

The risk of a film is the sum of the probabilities of the pneumonia classes. Predictive values are given at stated
prevalences, never at that of a test set that somebody composed (62 % pneumonia in the public one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from calibration.ranking import checked_scores
from calibration.validation import (
    CalibrationError,
    ClassAbsentError,
    Estimate,
    FloatArray,
    checked_labels,
    checked_probabilities,
    each,
    over_resamples,
)

PREVALENCES = (0.05, 0.15, 0.62)
"""Of pneumonia: screening, an emergency department, the public test set."""


@dataclass(frozen=True)
class OperatingPoint:
    """Sensitivity and specificity: floats, or (B,) for (B, n) weights (NaN without sick or healthy films)."""

    sensitivity: Estimate
    specificity: Estimate

    def positive_value(self, prevalence: float) -> Estimate:
        """PPV: chance of pneumonia after a positive answer, at a prevalence in (0, 1); NaN if nothing is positive."""
        return positive_value(self.sensitivity, self.specificity, prevalence)

    def negative_value(self, prevalence: float) -> Estimate:
        """NPV: chance of no pneumonia after a negative answer, at a prevalence in (0, 1)."""
        return negative_value(self.sensitivity, self.specificity, prevalence)


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit per film at each threshold (Vickers & Elkin 2006), of the subject and of treating all.

    Treating none is 0.     thresholds (t,); subject (t,) or (t, B); treat_all (t,).
    """

    thresholds: FloatArray
    subject: Estimate
    treat_all: FloatArray
    prevalence: float


def pneumonia_view(probabilities: ArrayLike, labels: ArrayLike, *, normal: int) -> tuple[FloatArray, FloatArray]:
    """Return risk (n,) = 1 - p[normal] and disease (n,) of 0.0 and 1.0.

    Args:
        probabilities: (n, K).
        labels: (n,) integers.
        normal: index of the class without pneumonia (1 in the published order).

    Raises:
        ClassAbsentError: only sick, or only healthy films.
        CalibrationError: bad probabilities or labels, or no such class.
    """
    p = checked_probabilities(probabilities)
    y = checked_labels(labels, *p.shape)
    if not 0 <= normal < p.shape[1]:
        raise CalibrationError(f"the normal class must be one of 0..{p.shape[1] - 1}, not {normal}")
    disease = (y != normal).astype(np.float64)
    if disease.min() == disease.max():
        raise ClassAbsentError(
            f"all {y.size} films are {'pneumonia' if disease[0] else 'normal'}: the two cannot be told apart"
        )
    return np.delete(p, normal, axis=1).sum(axis=1), disease


def operating_point(positive: ArrayLike, disease: ArrayLike, *, weights: ArrayLike | None = None) -> OperatingPoint:
    """Sensitivity and specificity of yes-or-no answers.

    Args:
        positive: (n,) true where the subject says pneumonia: `risk >= threshold`, or its own argmax.
        disease: (n,) true where there is pneumonia.
        weights: None, (n,) or (B, n), see `calibration.validation`.

    Raises:
        ClassAbsentError: only sick, or only healthy films.
        CalibrationError: vectors that do not match.
    """
    answer, sick = checked_scores(positive, disease, "disease")
    if not np.isin(answer, (0.0, 1.0)).all():
        raise CalibrationError("positive must be true or false for every film; compare the risk with a threshold first")
    if sick.min() == sick.max():
        raise ClassAbsentError("only sick, or only healthy films: sensitivity or specificity has no denominator")
    rates = over_resamples(
        weights, sick.size, lambda w: np.stack([_share(answer, sick, w), _share(1 - answer, 1 - sick, w)])
    )
    return OperatingPoint(*each(rates))


def decision_curve(
    risk: ArrayLike,
    disease: ArrayLike,
    *,
    prevalence: float,
    stated_for: float | None = None,
    thresholds: Sequence[float] = tuple(np.linspace(0.01, 0.99, 99)),
    weights: ArrayLike | None = None,
) -> DecisionCurve:
    """Net benefit at each risk threshold, with the films and the risks carried over to a stated prevalence.

    Risks that are right where two films in three show pneumonia are far too high where one in seven does, and would
    make overconfidence look useful: their odds are multiplied by the ratio of the prevalence odds before the threshold.

    net benefit = prevalence x sensitivity - (1 - prevalence) x (1 - specificity) x t / (1 - t), positive when risk >=
    t.

    Args:
        risk: (n,) in [0, 1].
        disease: (n,) true where there is pneumonia.
        prevalence: in (0, 1).
        stated_for: prevalence the risks are meant for; None takes that of these films.
        thresholds: each in (0, 1).
        weights: None, (n,) or (B, n), see `calibration.validation`.

    Raises:
        ClassAbsentError: only sick, or only healthy films.
        CalibrationError: vectors that do not match, prevalence or thresholds outside (0, 1).
    """
    r, sick = checked_scores(risk, disease, "disease")
    t = np.asarray(thresholds, dtype=np.float64)
    if not 0 < prevalence < 1 or t.ndim != 1 or t.size == 0 or t.min() <= 0 or t.max() >= 1:
        raise CalibrationError("prevalence and thresholds must lie between 0 and 1, ends excluded")
    if r.min() < 0 or r.max() > 1:
        raise CalibrationError(f"risks must lie in [0, 1], not {r.min():.3g} to {r.max():.3g}")
    if sick.min() == sick.max():
        raise ClassAbsentError("only sick, or only healthy films: net benefit has no denominator")
    stated = float(sick.mean()) if stated_for is None else stated_for
    if not 0 < stated < 1:
        raise CalibrationError(
            f"the prevalence the risks are stated for lies between 0 and 1, ends excluded, not {stated}"
        )
    up, down = prevalence * (1 - stated), (1 - prevalence) * stated
    carried = r * up / (r * up + (1 - r) * down)
    positive = (carried >= t[:, None]).astype(np.float64)
    odds = (t / (1 - t))[:, None]

    def benefit(w: FloatArray) -> FloatArray:
        caught = (positive * sick) @ w / _positive(sick @ w)
        alarms = (positive * (1 - sick)) @ w / _positive((1 - sick) @ w)
        return prevalence * caught - (1 - prevalence) * alarms * odds

    treat_all = prevalence - (1 - prevalence) * odds[:, 0]
    return DecisionCurve(t, over_resamples(weights, sick.size, benefit), treat_all, prevalence)


def positive_value(sensitivity: Estimate, specificity: Estimate, prevalence: float) -> Estimate:
    """PPV of rates, floats or (B,) each, at a prevalence in (0, 1); NaN where nothing is called positive."""
    return _predictive(sensitivity, 1 - specificity, prevalence, 1 - prevalence)


def negative_value(sensitivity: Estimate, specificity: Estimate, prevalence: float) -> Estimate:
    """NPV of rates, floats or (B,) each, at a prevalence in (0, 1); NaN where nothing is called negative."""
    return _predictive(specificity, 1 - sensitivity, 1 - prevalence, prevalence)


def _share(answer: FloatArray, among: FloatArray, w: FloatArray) -> FloatArray:
    return np.asarray((answer * among) @ w / _positive(among @ w))


def _positive(values: FloatArray) -> FloatArray:
    return np.where(values > 0, values, np.nan)


def _predictive(hit_rate: Estimate, false_rate: Estimate, share: float, rest: float) -> Estimate:
    """Return how many of those called something are it, of whom there are `share`, and `rest` of the others."""
    if not 0 < share < 1:
        raise CalibrationError(f"a prevalence lies between 0 and 1, ends excluded, not {share}")
    hits = share * np.asarray(hit_rate)
    called = hits + rest * np.asarray(false_rate)
    value = np.where(called > 0, hits / np.where(called > 0, called, 1.0), np.nan)
    return float(value) if value.ndim == 0 else value
