"""Recalibration: maps from logits to better logits, fitted by lowering the log loss.

`Temperature` (one number), `Vector` (a factor and an offset per class), `Dirichlet` (a matrix), `Beta` and `Isotonic`
(class by class). All take logits (n, K) and give logits; all are written to a small json and read back bit for bit.
T > 1 says the subject was too sure of itself. Everything is float64: netcal's scalings do nothing on float32 and say
so to nobody.

Never judge a recalibration on the films it was fitted on: `calibration.crossfit` keeps patients apart.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self, TypeVar, final

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from calibration.checks import (
    CalibrationError,
    Estimate,
    FitError,
    FloatArray,
    IntArray,
    TooFewFilmsError,
    checked_labels,
    checked_logits,
    log_softmax,
    over_resamples,
)
from calibration.scoring import nll

FORMAT = "recalibration/1"
LOWEST, HIGHEST = 0.02, 50.0  # temperatures searched; an optimum beyond is no temperature but a symptom
LADDER = np.geomspace(1 / HIGHEST, 1 / LOWEST, 49)  # inverse temperatures
FEWEST = 30  # films to fit on

R = TypeVar("R", bound="type[Recalibrator]")
RECALIBRATORS: dict[str, type[Recalibrator]] = {}


def recalibrator(name: str) -> Callable[[R], R]:
    """Register a recalibrator under a name, for `recalibrator_class` and the json."""

    def register(kind: R) -> R:
        kind.method = name
        RECALIBRATORS[name] = kind
        return kind

    return register


def recalibrator_class(method: str) -> type[Recalibrator]:
    """Return the class registered under a name.

    Raises:
        CalibrationError: nothing of that name.
    """
    import calibration.classwise  # noqa: F401, PLC0415  fills the registry; it builds on this file

    if method not in RECALIBRATORS:
        raise CalibrationError(f"unknown recalibration {method!r}: use one of {', '.join(sorted(RECALIBRATORS))}")
    return RECALIBRATORS[method]


@dataclass(frozen=True, kw_only=True)
class Recalibrator(ABC):
    """A fitted map from logits to logits. Authors write `_fit` and `_apply`; checks and bookkeeping are here.

    Attributes:
        classes: number of classes K.
        fitted_on: films, log loss before and after on the very films of the fit, and what the caller noted.
    """

    method: ClassVar[str]
    classes: int
    fitted_on: dict[str, Any] = field(default_factory=dict)

    @final
    @classmethod
    def fit(cls, logits: ArrayLike, labels: ArrayLike, **note: str | float) -> Self:
        """Fit to logits (n, K) and labels (n,); `note` (cohort, subject, ...) travels in the json.

        Raises:
            ClassAbsentError: a class does not occur.
            TooFewFilmsError: fewer than 30 films.
            FitError: no finite optimum, or the log loss of these films was not lowered.
        """
        z = checked_logits(logits)
        y = checked_labels(labels, *z.shape, all_classes=True)
        if y.size < FEWEST:
            raise TooFewFilmsError(f"{cls.method}: {y.size} films are too few to fit on, {FEWEST} are the least")
        fitted = cls(classes=z.shape[1], **cls._fit(z, y))
        before, after = nll(z, y), nll(fitted.transform(z), y)
        if not after < before:
            raise FitError(
                f"{cls.method}: the fit did not lower the log loss of its own {y.size} films "
                f"({before:.6f} to {after:.6f}); "
                "do not use it"
            )
        fitted.fitted_on.update(films=int(y.size), nll_before=float(before), nll_after=float(after), **note)
        return fitted

    @final
    def transform(self, logits: ArrayLike) -> FloatArray:
        """Return recalibrated logits (n, K); their softmax are the recalibrated probabilities.

        Raises:
            CalibrationError: another number of classes than it was fitted on, or bad logits.
        """
        z = checked_logits(logits)
        if z.shape[1] != self.classes:
            raise CalibrationError(
                f"{self.method} was fitted on {self.classes} classes, these logits have {z.shape[1]}"
            )
        return np.asarray(self._apply(z), dtype=np.float64)

    @final
    def to_json(self) -> str:
        """Return everything needed to apply this map elsewhere, floats to the last bit."""
        parameters = asdict(self)
        fitted_on, classes = parameters.pop("fitted_on"), parameters.pop("classes")
        document = {
            "format": FORMAT,
            "method": self.method,
            "classes": classes,
            "parameters": parameters,
            "fitted_on": fitted_on,
        }
        return json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"

    @staticmethod
    def from_json(text: str) -> Recalibrator:
        """Read what `to_json` wrote.

        Raises:
            CalibrationError: not such a document, or an unknown method.
        """
        try:
            document = json.loads(text)
            if document["format"] != FORMAT:
                raise CalibrationError(f"this is {document['format']!r}, not {FORMAT!r}")
            kind = recalibrator_class(document["method"])
            return kind(classes=document["classes"], fitted_on=document["fitted_on"], **document["parameters"])
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise CalibrationError(f"not a recalibration file ({FORMAT}): {error!r}") from error

    @classmethod
    @abstractmethod
    def _fit(cls, logits: FloatArray, labels: IntArray) -> dict[str, Any]:
        """Return the parameters as plain floats and lists."""

    @abstractmethod
    def _apply(self, logits: FloatArray) -> FloatArray:
        """Return the mapped logits."""


@recalibrator("temperature")
@dataclass(frozen=True, kw_only=True)
class Temperature(Recalibrator):
    """Logits divided by one number T (Guo et al. 2017): decisions stay. T > 1 = the subject was too sure."""

    T: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.T) and self.T > 0):
            raise CalibrationError(f"a temperature is a positive number, not {self.T}")

    @classmethod
    def _fit(cls, logits: FloatArray, labels: IntArray) -> dict[str, Any]:
        return {"T": float(temperature(logits, labels))}

    def _apply(self, logits: FloatArray) -> FloatArray:
        return logits / self.T


def temperature(logits: ArrayLike, labels: ArrayLike, *, weights: ArrayLike | None = None) -> Estimate:
    """The temperature T in (0.02, 50) that minimises the log loss of logits / T; T > 1 = the subject was too sure.

    The log loss is convex in 1/T, so its derivative has one zero: found by Brent's method to 1e-12 on the sample, and
    on each resample by cubic interpolation in a table of derivatives (relative error below 1e-5), with no pass over
    films.

    Args:
        logits: (n, K).
        labels: (n,) integers.
        weights: None, (n,) or (B, n), see `calibration.checks`.

    Returns:
        A float, or (B,) for (B, n) weights; NaN for a resample without an optimum inside the bounds.

    Raises:
        FitError: the sample itself has no optimum inside the bounds.
        CalibrationError: bad logits, labels or weights.
    """
    z = checked_logits(logits)
    y = checked_labels(labels, *z.shape)
    if weights is None or np.ndim(weights) == 1:
        return over_resamples(weights, y.size, lambda w: np.array([_optimum(z, y, w[:, 0])]))
    tables = [_slopes(z, y, beta) for beta in LADDER]
    slope, bend = np.stack([t[0] for t in tables]), np.stack([t[1] for t in tables])
    return over_resamples(weights, y.size, lambda w: 1 / _interpolated_zero(slope @ w, bend @ w))


def _optimum(z: FloatArray, y: IntArray, w: FloatArray) -> float:
    def derivative(log_beta: float) -> float:
        return float(_slopes(z, y, float(np.exp(log_beta)))[0] @ w)

    low, high = np.log(LADDER[0]), np.log(LADDER[-1])
    if derivative(high) <= 0:
        raise FitError(f"every film ends up right however sure the subject gets: no temperature above {LOWEST} fits")
    if derivative(low) >= 0:
        raise FitError(
            f"the logits say nothing about the labels (or the opposite): no temperature below {HIGHEST} fits"
        )
    return float(np.exp(-brentq(derivative, low, high, xtol=1e-13, rtol=1e-13)))


def _slopes(z: FloatArray, y: IntArray, beta: float) -> tuple[FloatArray, FloatArray]:
    """First and second derivative by log beta of each film's log loss at inverse temperature beta, each (n,)."""
    p = np.exp(log_softmax(beta * z))
    centred = z - (p * z).sum(axis=1, keepdims=True)
    first = -beta * centred[np.arange(y.size), y]
    return first, first + beta**2 * (p * centred**2).sum(axis=1)


def _interpolated_zero(slope: FloatArray, bend: FloatArray) -> FloatArray:
    """Inverse temperature where the slope (ladder, B) crosses zero, by Newton on the cubic between two rungs."""
    positive = slope > 0
    rung = np.clip(positive.argmax(axis=0), 1, None)
    found = positive.any(axis=0) & ~positive[0]
    column = np.arange(slope.shape[1])
    h = float(np.log(LADDER[1] / LADDER[0]))
    s0, s1 = slope[rung - 1, column], slope[rung, column]
    b0, b1 = h * bend[rung - 1, column], h * bend[rung, column]
    c2, c3 = 3 * (s1 - s0) - 2 * b0 - b1, 2 * (s0 - s1) + b0 + b1
    t = -s0 / (s1 - s0)
    for _ in range(6):
        t = np.clip(t - (((c3 * t + c2) * t + b0) * t + s0) / ((3 * c3 * t + 2 * c2) * t + b0), 0, 1)
    return np.where(found, LADDER[rung - 1] * np.exp(t * h), np.nan)
