"""Conformal prediction: sets of classes that hold the true one with a promised chance.

Why our own few lines: MAPIE 1.6 (BSD-3) wants a scikit-learn estimator around every array of probabilities, and no
library tried knows patients; torchcp 1.2 (LGPL-3) needs a compiled extension (torchsort), puncc 0.9 (MIT) holds numpy
below 2. The tests hold the film-wise case against MAPIE.

Patients: the films of one patient are not exchangeable with one another and another patient's. With `groups`, each
patient counts once, its films sharing that weight (hierarchical conformal prediction: Dunn, Wasserman & Ramdas 2022;
Lee, Barber & Willett 2023, arXiv 2306.06342), and the promise is for a film of a *new patient*. No promise holds
under shift: measure it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.checks import (
    CalibrationError,
    Estimate,
    FloatArray,
    IntArray,
    TooFewFilmsError,
    checked_groups,
    checked_labels,
    checked_probabilities,
    over_resamples,
)

Score: TypeAlias = Literal["lac", "aps"]
Sets: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class ConformalSets:
    """A fitted set predictor: class k is in the set when its nonconformity is at most thresholds[k].

    alpha: 1 - promised coverage. score: `lac` (1 - probability; smallest sets, may be empty) or `aps` (probability
    mass down to and including the class, not randomised, so never empty and a little too large). per_class: whether
    the promise holds within each class. films, patients: what it was fitted on.
    """

    alpha: float
    score: Score
    per_class: bool
    thresholds: tuple[float, ...]
    films: int
    patients: int

    def sets(self, probabilities: ArrayLike) -> Sets:
        """Return the sets (n, K) of probabilities (n, K).

        Raises:
            CalibrationError: bad probabilities, or another number of classes than it was fitted on.
        """
        p = checked_probabilities(probabilities)
        if p.shape[1] != len(self.thresholds):
            raise CalibrationError(f"fitted on {len(self.thresholds)} classes, these probabilities have {p.shape[1]}")
        return np.asarray(_nonconformity(p, self.score) <= np.asarray(self.thresholds))

    def to_json(self) -> str:
        """Return everything needed to form the same sets elsewhere."""
        return json.dumps({"format": "conformal/1", **asdict(self)}, indent=1, sort_keys=True) + "\n"

    @staticmethod
    def from_json(text: str) -> ConformalSets:
        """Read what `to_json` wrote.

        Raises:
            CalibrationError: not such a document.
        """
        try:
            document = json.loads(text)
            if document.pop("format") != "conformal/1":
                raise CalibrationError("not a conformal/1 file")
            return ConformalSets(**document | {"thresholds": tuple(document["thresholds"])})
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise CalibrationError(f"not a conformal/1 file: {error!r}") from error


def fit_sets(
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: float = 0.1,
    score: Score = "lac",
    per_class: bool = False,
    groups: ArrayLike | None = None,
) -> ConformalSets:
    """Fit split conformal sets on calibration films the subject was not trained on.

    Args:
        probabilities: (n, K), rows sum to 1; recalibrate first if at all.
        labels: (n,) integers.
        alpha: 1 - promised coverage, in (0, 1).
        score: `lac` (Sadinle et al. 2019) or `aps` (Romano et al. 2020, arXiv 2006.02544).
        per_class: one threshold per class (Mondrian), so that rare classes keep the promise too.
        groups: (n,) patient keys; None makes every film its own patient.

    Returns:
        The set predictor.

    Raises:
        TooFewFilmsError: fewer patients (of a class) than 1/alpha - 1, which no finite threshold can serve.
        ClassAbsentError: a class does not occur.
        CalibrationError: bad probabilities, labels, groups, alpha or score.
    """
    p = checked_probabilities(probabilities)
    y = checked_labels(labels, *p.shape, all_classes=True)
    patients = checked_groups(groups, y.size)
    if not 0 < alpha < 1:
        raise CalibrationError(f"alpha is 1 - coverage and lies between 0 and 1, not {alpha}")
    own = _nonconformity(p, score)[np.arange(y.size), y]
    if per_class:
        limits = [_threshold(own[y == k], patients[y == k], alpha, f"class {k}") for k in range(p.shape[1])]
    else:
        limits = [_threshold(own, patients, alpha, "all classes")] * p.shape[1]
    return ConformalSets(alpha, score, per_class, tuple(limits), y.size, int(np.unique(patients).size))


def coverage(
    sets: ArrayLike, labels: ArrayLike, *, weights: ArrayLike | None = None, of_class: int | None = None
) -> Estimate:
    """Share of films whose set holds the true class.

    Args:
        sets: (n, K) booleans.
        labels: (n,) integers.
        weights: None, (n,) or (B, n), see `calibration.checks`.
        of_class: only films of this class; None for all.

    Returns:
        A float, or (B,) for (B, n) weights; NaN for a resample without the class.

    Raises:
        CalibrationError: bad shapes, labels or weights.
    """
    inside, y = _checked(sets, labels)
    among = np.ones(y.size) if of_class is None else (y == of_class).astype(np.float64)
    hit = inside[np.arange(y.size), y] * among

    def share(w: FloatArray) -> FloatArray:
        total = among @ w
        return np.asarray(hit @ w / np.where(total > 0, total, np.nan))

    return over_resamples(weights, y.size, share)


def set_size(sets: ArrayLike, *, weights: ArrayLike | None = None) -> Estimate:
    """Mean number of classes in a set, 0 to K. Arguments and result as in `coverage`."""
    size = np.asarray(sets, dtype=np.float64).sum(axis=1)
    return over_resamples(weights, size.size, lambda w: size @ w / w.sum(axis=0))


def share_of_size(sets: ArrayLike, size: int, *, weights: ArrayLike | None = None) -> Estimate:
    """Share of sets with exactly `size` classes (1 = a decision, 0 = none fits, K = no idea). As in `coverage`."""
    hit = (np.asarray(sets).sum(axis=1) == size).astype(np.float64)
    return over_resamples(weights, hit.size, lambda w: hit @ w / w.sum(axis=0))


def _nonconformity(p: FloatArray, score: str) -> FloatArray:
    if score == "lac":
        return 1.0 - p
    if score == "aps":
        order = np.argsort(-p, axis=1, kind="stable")
        mass = np.cumsum(np.take_along_axis(p, order, axis=1), axis=1)
        out = np.empty_like(p)
        np.put_along_axis(out, order, mass, axis=1)
        return out
    raise CalibrationError(f"unknown score {score!r}: use 'lac' or 'aps'")


def _threshold(scores: FloatArray, patients: IntArray, alpha: float, where: str) -> float:
    """Smallest score below which lies 1 - alpha of the weight, one unit per patient and one more at infinity."""
    numbers, counts = np.unique(patients, return_inverse=True, return_counts=True)[1:]
    units = counts.size
    if units + 1 < 1 / alpha:
        raise TooFewFilmsError(
            f"{where}: {units} patients cannot promise {100 * (1 - alpha):.0f} % coverage, "
            f"at least {int(np.ceil(1 / alpha)) - 1} are needed"
        )
    order = np.argsort(scores, kind="stable")
    mass = np.cumsum((1.0 / counts[numbers])[order])
    needed = (1 - alpha) * (units + 1)
    at = min(int(np.searchsorted(mass, needed - 1e-9 * units)), scores.size - 1)
    return float(scores[order][at])


def _checked(sets: ArrayLike, labels: ArrayLike) -> tuple[Sets, IntArray]:
    inside = np.asarray(sets)
    if inside.ndim != 2 or inside.dtype != np.bool_:
        raise CalibrationError(f"sets must be booleans (films, classes), not {inside.dtype} {inside.shape}")
    return inside, checked_labels(labels, *inside.shape)
