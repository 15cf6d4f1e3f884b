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
    checked_groups,
    checked_labels,
    checked_logits,
    log_softmax,
    over_resamples,
)
from calibration.scoring import nll

FORMAT = "recalibration/1"
AROUND = 50.0  # factor by which the temperature of a resample may differ from that of the sample
RUNGS = np.geomspace(1 / AROUND, AROUND, 49)  # inverse temperatures over that of the sample
FARTHEST = 120  # doublings of the inverse temperature: beyond float64's own precision of any logit
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
    def fit(cls, logits: ArrayLike, labels: ArrayLike, *, groups: ArrayLike | None = None, **note: str | float) -> Self:
        """Fit to logits (n, K) and labels (n,); `note` (cohort, subject, ...) travels in the json.

        `groups` (n,) are patient keys, which cross-validation within the fit keeps whole; None: each film its own.

        Raises:
            ClassAbsentError: a class does not occur.
            TooFewFilmsError: fewer than 30 films.
            FitError: no finite optimum, or the log loss of these films was not lowered.
        """
        z = checked_logits(logits)
        y = checked_labels(labels, *z.shape, all_classes=True)
        if y.size < FEWEST:
            raise TooFewFilmsError(f"{cls.method}: {y.size} films are too few to fit on, {FEWEST} are the least")
        fitted = cls(classes=z.shape[1], **cls._fit_patients(z, y, checked_groups(groups, y.size)))
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
    def _fit_patients(cls, logits: FloatArray, labels: IntArray, patients: IntArray) -> dict[str, Any]:  # noqa: ARG003
        """Return the parameters; overridden where the fit itself is cross-validated over patients (n,)."""
        return cls._fit(logits, labels)

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
    """The temperature T > 0 that minimises the log loss of logits / T; T > 1 = the subject was too sure.

    The log loss is convex in 1/T, so its derivative has one zero: bracketed by doubling from the scale of the logits,
    whatever that is, and found by Brent's method to 1e-12 on the sample; on each resample by cubic interpolation in a
    table of derivatives (relative error below 1e-5) from 1/50 to 50 times the sample's, with no pass over films.
    There is a zero exactly when a film is called wrong and the true class's logit lies above the mean of its film's
    logits on average.

    Args:
        logits: (n, K).
        labels: (n,) integers.
        weights: None, (n,) or (B, n), see `calibration.checks`.

    Returns:
        A float, or (B,) for (B, n) weights; NaN for a resample without an optimum within that table.

    Raises:
        FitError: the sample itself has no optimum.
        CalibrationError: bad logits, labels or weights.
    """
    z = checked_logits(logits)
    y = checked_labels(labels, *z.shape)
    if weights is None or np.ndim(weights) == 1:
        return over_resamples(weights, y.size, lambda w: np.array([_optimum(z, y, w[:, 0])]))
    ladder = RUNGS / _optimum(z, y, np.ones(y.size))
    tables = [_slopes(z, y, beta) for beta in ladder]
    slope, bend = np.stack([t[0] for t in tables]), np.stack([t[1] for t in tables])
    return over_resamples(weights, y.size, lambda w: 1 / _interpolated_zero(slope @ w, bend @ w, ladder))


def _optimum(z: FloatArray, y: IntArray, w: FloatArray) -> float:
    gaps = np.ptp(z, axis=1)
    _refuse_without_optimum(z, y, w, gaps)

    def derivative(log_beta: float) -> float:
        return float(_slopes(z, y, float(np.exp(log_beta)))[0] @ w)

    low = high = -float(np.log(np.median(gaps[gaps > 0])))
    for _ in range(FARTHEST):
        if derivative(high) > 0:
            break
        high += np.log(2)
    for _ in range(FARTHEST):
        if derivative(low) < 0:
            break
        low -= np.log(2)
    if not derivative(low) < 0 < derivative(high):
        raise FitError("the best temperature lies beyond the precision of float64: the mistakes are ties but for noise")
    return float(np.exp(-brentq(derivative, low, high, xtol=1e-13, rtol=1e-13)))


def _refuse_without_optimum(z: FloatArray, y: IntArray, w: FloatArray, gaps: FloatArray) -> None:
    """Raise FitError with the reason where the log loss falls for ever as T goes to 0 or to infinity."""
    own, used = z[np.arange(y.size), y], w > 0
    if not gaps[used].any():
        raise FitError("the logits of every film are equal in all classes: every temperature gives the same answers")
    if not (own < z.max(axis=1))[used].any():
        raise FitError(
            f"every film ends up right: all {int(used.sum())} films are called right, so that the log loss falls for "
            "ever as the temperature goes to 0"
        )
    if (own - z.mean(axis=1)) @ w <= 1e-12 * (gaps @ w):
        right = float((own >= z.max(axis=1)) @ w / w.sum())
        constant = " (the same for every film)" if (z[used] == z[used][0]).all() else ""
        raise FitError(
            f"the logits{constant} say nothing about the labels on average, or the opposite, though {100 * right:.0f} "
            "% of the calls are right: mistakes outweigh them in logits, and no finite temperature fits"
        )


def _slopes(z: FloatArray, y: IntArray, beta: float) -> tuple[FloatArray, FloatArray]:
    """First and second derivative by log beta of each film's log loss at inverse temperature beta, each (n,)."""
    p = np.exp(log_softmax(beta * z))
    centred = z - (p * z).sum(axis=1, keepdims=True)
    first = -beta * centred[np.arange(y.size), y]
    return first, first + beta**2 * (p * centred**2).sum(axis=1)


def _interpolated_zero(slope: FloatArray, bend: FloatArray, ladder: FloatArray) -> FloatArray:
    """Inverse temperature where the slope (ladder, B) crosses zero, by Newton on the cubic between two rungs."""
    positive = slope > 0
    rung = np.clip(positive.argmax(axis=0), 1, None)
    found = positive.any(axis=0) & ~positive[0]
    column = np.arange(slope.shape[1])
    h = float(np.log(ladder[1] / ladder[0]))
    s0, s1 = slope[rung - 1, column], slope[rung, column]
    b0, b1 = h * bend[rung - 1, column], h * bend[rung, column]
    c2, c3 = 3 * (s1 - s0) - 2 * b0 - b1, 2 * (s0 - s1) + b0 + b1
    t = -s0 / (s1 - s0)
    for _ in range(6):
        t = np.clip(t - (((c3 * t + c2) * t + b0) * t + s0) / ((3 * c3 * t + 2 * c2) * t + b0), 0, 1)
    return np.where(found, ladder[rung - 1] * np.exp(t * h), np.nan)
