"""Which calibration measures are there, by their full names? Each with the interval and null band that fit it.

    ece/top-label/15/equal-width     measure / view / bins / binning
    smooth-ece/class-1               measure / view
    brier                            measure

Conventions behind the names, each from the paper in its docstring:

    class-wise        mean over classes, each against the rest (Kull et al. 2019), not their sum
    equal-mass        equal confidences stay together; array-split: `numpy.array_split` of the sorted films
    debiased-l2       squared, signed, U-statistic over pairs of films of different patients
    kumar-l2          squared, signed, Kumar et al. 2019: films independent, noise f (1 - f) / (n - 1)
    brier             summed over classes, in [0, 2]; scikit-learn's for two classes is half of it
    nll               natural logarithm, mean over films

To add one: write the estimator, add a line to `MEASURES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from calibration import error, null_band, regression, scaling, scoring, smooth
from calibration.interval import Interval, interval
from calibration.inversion import inverted_interval
from calibration.validation import (
    CalibrationError,
    Estimate,
    FloatArray,
    IntArray,
    Rows,
    Weights,
    checked_groups,
    checked_labels,
    checked_logits,
    checked_weights,
    softmax,
)


@dataclass(frozen=True)
class Measure:
    """How a measure is computed and judged.

    estimator: called with (probabilities or logits, labels, weights=..., and what its name spells out).
    takes: whether the first argument is probabilities or logits.
    parts: how many parts its name has: 1 (no view), 2 (view), 4 (view, bins, binning).
    interval: `accelerated`, `inverted`, or `none` where no method was found that covers (the null band still speaks).
    banded: whether a null band makes sense (errors that are 0 under perfect calibration).
    patients: whether the estimator itself needs patient keys.
    """

    estimator: Callable[..., Estimate]
    takes: Literal["probabilities", "logits"]
    parts: Literal[1, 2, 4]
    interval: Literal["accelerated", "inverted", "none"]
    banded: bool
    patients: bool = False


MEASURES: dict[str, Measure] = {
    "ece": Measure(error.ece, "probabilities", 4, "inverted", banded=True),
    "mce": Measure(error.mce, "probabilities", 4, "none", banded=True),
    "ace": Measure(error.ace, "probabilities", 4, "none", banded=True),
    "debiased-l2": Measure(error.debiased_l2, "probabilities", 4, "accelerated", banded=True, patients=True),
    "kumar-l2": Measure(error.kumar_l2, "probabilities", 4, "none", banded=True),
    "smooth-ece": Measure(smooth.smooth_ece, "probabilities", 2, "inverted", banded=True),
    "brier": Measure(scoring.brier, "probabilities", 1, "accelerated", banded=False),
    "nll": Measure(scoring.nll, "logits", 1, "accelerated", banded=False),
    "slope": Measure(regression.slope, "logits", 2, "accelerated", banded=False),
    "intercept": Measure(regression.intercept, "logits", 2, "accelerated", banded=False),
    "temperature": Measure(scaling.temperature, "logits", 1, "accelerated", banded=False),
}

STANDARD = (
    "ece/top-label/15/equal-width",
    "ece/top-label/15/equal-mass",
    "ece/class-wise/15/equal-width",
    "ece/class-wise/15/equal-mass",
    "mce/top-label/15/equal-width",
    "ace/top-label/15/equal-width",
    "debiased-l2/top-label/15/equal-mass",
    "smooth-ece/top-label",
    "brier",
    "nll",
    "slope/top-label",
    "intercept/top-label",
    "temperature",
)


@dataclass(frozen=True)
class Measured:
    """One number of the report: its full name, value, interval and null band (None where the kind has none).

    problem: why the value (then NaN), its interval or its band is missing, where it may be (see `measured`).
    """

    name: str
    estimate: float
    films: int
    patients: int
    interval: Interval | None = None
    band: null_band.NullBand | None = None
    problem: str = ""


def estimate(
    name: str,
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    weights: Weights | None = None,
    groups: ArrayLike | None = None,
) -> Estimate:
    """Value of a named measure: a float, or (B,) for (B, n) weights.

    Args:
        name: full name, for example `ece/top-label/15/equal-width`.
        logits: (n, K); for a subject that gives probabilities see `calibration.validation.logits_from_probabilities`.
        labels: (n,) integers.
        weights: None, (n,) or (B, n).
        groups: (n,) patient keys; only the debiased error uses them.

    Raises:
        CalibrationError: an unknown name, or what the estimator raises.
    """
    measure, options = _parse(name)
    z = checked_logits(logits)
    if measure.patients:
        options["groups"] = groups
    return measure.estimator(softmax(z) if measure.takes == "probabilities" else z, labels, weights=weights, **options)


def measured(
    names: Sequence[str],
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    groups: ArrayLike,
    weights: Weights | None = None,
    left_out: Weights | None = None,
    within: float = 0.0,
    draws: int = null_band.DRAWS,
    seed: int = 0,
    beside: Sequence[str] = (),
) -> dict[str, Measured]:
    """Named measures, each with everything that belongs beside it.

    Args:
        names: full names, for example `STANDARD`.
        logits: (n, K).
        labels: (n,) integers.
        groups: (n,) patient keys.
        weights: (B, n) weights of the patient bootstrap; None leaves the intervals out. Inverted ones draw B samples.
        left_out: (R, n) weights with one patient left out at a time, for accelerated intervals.
        within: correlation of outcomes within a patient for the null band, see `null.patient_correlation`.
        draws: draws of the null band; 0 leaves the bands out.
        seed: of the null band and of inverted intervals.
        beside: further names, which may fail: where one has no value (the slope of a constant), its `problem` says why.

    Returns:
        name -> measured, in the order of names, then of beside.

    Raises:
        CalibrationError: an unknown name, or what estimators, intervals and bands raise.
    """
    z = checked_logits(logits)
    y = checked_labels(labels, *z.shape)
    patients = checked_groups(groups, y.size)
    w, alone = (
        rows if rows is None or isinstance(rows, Rows) else _whole(rows, y.size) for rows in (weights, left_out)
    )
    samples = None
    if draws and any(_parse(name)[0].banded for name in (*names, *beside)):
        samples = null_band.calibrated_samples(softmax(z), groups=patients, within=within, draws=draws, seed=seed)
    return {
        name: _measured(name, z, y, patients, weights=w, left_out=alone, samples=samples, seed=seed, strict=strict)
        for strict, wanted in ((True, names), (False, beside))
        for name in wanted
    }


def _whole(rows: ArrayLike, films: int) -> FloatArray:
    """Return weights as (B, films), the same array where it is one already; see `checked_weights` for what is not."""
    w = np.asarray(rows, dtype=np.float64)
    checked_weights(w, films)
    return np.atleast_2d(w)


def _measured(
    name: str,
    z: FloatArray,
    y: IntArray,
    patients: IntArray,
    *,
    weights: FloatArray | Rows | None,
    left_out: FloatArray | Rows | None,
    samples: null_band.CalibratedSamples | None,
    seed: int,
    strict: bool,
) -> Measured:
    """Return as much of a measure as there is: its value, its band, its interval, and why the rest is missing.

    Raises:
        CalibrationError: an unknown name; if `strict`, also what the estimator, its band or its interval raises.
    """
    measure, options = _parse(name)  # a misspelt name is never a measure without a value
    found = Measured(name, float("nan"), y.size, int(np.unique(patients).size))

    def of_draws(p: FloatArray, drawn: IntArray, w: FloatArray, g: IntArray) -> Estimate:
        return measure.estimator(p, drawn, weights=w, **options, **({"groups": g} if measure.patients else {}))

    try:
        found = replace(found, estimate=float(estimate(name, z, y, groups=patients)))
        if samples is not None and measure.banded:
            found = replace(found, band=samples.band(of_draws))
        if weights is not None:
            found = replace(
                found, interval=_interval(found, z, y, patients, weights=weights, left_out=left_out, seed=seed)
            )
    except CalibrationError as reason:
        if strict:
            raise
        found = replace(found, problem=str(reason))
    return found


def _interval(
    found: Measured,
    z: FloatArray,
    y: IntArray,
    patients: IntArray,
    *,
    weights: FloatArray | Rows,
    left_out: FloatArray | Rows | None,
    seed: int,
) -> Interval | None:
    measure, options = _parse(found.name)
    if measure.interval == "none":
        return None
    if measure.interval == "inverted":
        options = {"binning": "smooth", "seed": seed} | options
        return _inverted(softmax(z).tobytes(), y.tobytes(), patients.tobytes(), len(weights), tuple(options.items()))
    drawn, alone = (
        None if rows is None else estimate(found.name, z, y, weights=rows, groups=patients)
        for rows in (weights, left_out)
    )
    return interval(found.estimate, np.asarray(drawn), measure.interval, left_out=alone, patients=found.patients)


@lru_cache(maxsize=8)
def _inverted(
    probabilities: bytes, labels: bytes, patients: bytes, draws: int, options: tuple[tuple[str, Any], ...]
) -> Interval:
    """Return an inverted interval, kept: that of clean films is asked for by what stands beside it as well."""
    y, owner = np.frombuffer(labels, dtype=np.int64), np.frombuffer(patients, dtype=np.int64)
    p = np.frombuffer(probabilities, dtype=np.float64).reshape(y.size, -1)
    return inverted_interval(p, y, groups=owner, draws=draws, **dict(options))


def _parse(name: str) -> tuple[Measure, dict[str, Any]]:
    head, *rest = name.split("/")
    if head not in MEASURES:
        raise CalibrationError(f"unknown measure {name!r}: the first part is one of {', '.join(MEASURES)}")
    measure = MEASURES[head]
    if len(rest) != measure.parts - 1:
        spelled = {1: head, 2: f"{head}/top-label", 4: f"{head}/top-label/15/equal-width"}[measure.parts]
        raise CalibrationError(f"{name!r} does not say what it measures: spell it like {spelled!r}")
    if not rest:
        return measure, {}
    if len(rest) == 1:
        return measure, {"view": rest[0]}
    if not rest[1].isdigit():
        raise CalibrationError(f"{name!r}: the number of bins must be a whole number, not {rest[1]!r}")
    return measure, {"view": rest[0], "bins": int(rest[1]), "binning": rest[2]}
