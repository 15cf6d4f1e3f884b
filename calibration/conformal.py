"""Which classes can be promised to hold the true one? Conformal prediction sets.

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

from calibration.validation import (
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

Score: TypeAlias = Literal["lac", "aps", "aps-randomized"]
Sets: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class ConformalSets:
    """A fitted set predictor: class k is in the set when its nonconformity is at most thresholds[k].

    alpha: 1 - promised coverage. score: which nonconformity, see `fit_sets`. per_class: whether the promise holds
    within each class. films, patients: what it was fitted on.

    Every score can give an **empty set**: the film is stranger than all but alpha of the calibration films, and no
    class fits. With `aps` that is a film whose winner alone weighs more than the threshold (sure films, where most
    calibration films were less sure). `sets(non_empty=True)` puts the winner in; coverage can only grow by it.
    """

    alpha: float
    score: Score
    per_class: bool
    thresholds: tuple[float, ...]
    films: int
    patients: int

    def sets(self, probabilities: ArrayLike, *, uniform: ArrayLike | None = None, non_empty: bool = False) -> Sets:
        """Return the sets (n, K) of probabilities (n, K).

        Args:
            probabilities: (n, K), rows sum to 1.
            uniform: (n,) random numbers in [0, 1], one per film, for `aps-randomized` alone.
            non_empty: whether the most probable class joins a set that would be empty.

        Raises:
            CalibrationError: bad probabilities or random numbers, or another number of classes than it was fitted on.
        """
        p = checked_probabilities(probabilities)
        if p.shape[1] != len(self.thresholds):
            raise CalibrationError(f"fitted on {len(self.thresholds)} classes, these probabilities have {p.shape[1]}")
        inside = np.asarray(_nonconformity(p, self.score, uniform) <= np.asarray(self.thresholds))
        if non_empty:
            empty = np.flatnonzero(~inside.any(axis=1))
            inside[empty, p[empty].argmax(axis=1)] = True
        return inside

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
    uniform: ArrayLike | None = None,
) -> ConformalSets:
    """Fit split conformal sets on calibration films the subject was not trained on.

    The threshold is the ceil((n + 1)(1 - alpha))-th smallest nonconformity of n calibration films (Vovk et al. 2005;
    no interpolation), with patients in place of films where `groups` are given. The nonconformity is
    `lac`: 1 - probability (Sadinle et al. 2019), MAPIE's "lac";
    `aps`: probability mass down to and including the class, not randomised (Angelopoulos & Bates, arXiv 2107.07511);
    `aps-randomized`: that mass less u times the class's own, u uniform in [0, 1] and one per film (Romano et al. 2020,
    arXiv 2006.02544), MAPIE's "aps" with `include_last_label="randomized"`: exact coverage, smaller sets, by lot.
    MAPIE fits "aps" on the randomised score whatever `include_last_label` is, so that its default sets are neither.

    Args:
        probabilities: (n, K), rows sum to 1; recalibrate first if at all.
        labels: (n,) integers.
        alpha: 1 - promised coverage, in (0, 1).
        score: `lac`, `aps` or `aps-randomized`, see above.
        per_class: one threshold per class (Mondrian), so that rare classes keep the promise too.
        groups: (n,) patient keys; None makes every film its own patient.
        uniform: (n,) random numbers in [0, 1], one per film, for `aps-randomized` alone.

    Returns:
        The set predictor.

    Raises:
        TooFewFilmsError: fewer patients (of a class) than 1/alpha - 1, which no finite threshold can serve.
        ClassAbsentError: a class does not occur.
        CalibrationError: bad probabilities, labels, groups, alpha, score or random numbers.
    """
    p = checked_probabilities(probabilities)
    y = checked_labels(labels, *p.shape, all_classes=True)
    patients = checked_groups(groups, y.size)
    if not 0 < alpha < 1:
        raise CalibrationError(f"alpha is 1 - coverage and lies between 0 and 1, not {alpha}")
    own = _nonconformity(p, score, uniform)[np.arange(y.size), y]
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
        weights: None, (n,) or (B, n), see `calibration.validation`.
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


def _nonconformity(p: FloatArray, score: str, uniform: ArrayLike | None) -> FloatArray:
    if score not in {"lac", "aps", "aps-randomized"}:
        raise CalibrationError(f"unknown score {score!r}: use 'lac', 'aps' or 'aps-randomized'")
    if (score == "aps-randomized") != (uniform is not None):
        raise CalibrationError("random numbers (`uniform`, one per film) belong to 'aps-randomized', and to it alone")
    if score == "lac":
        return 1.0 - p
    order = np.argsort(-p, axis=1, kind="stable")
    mass = np.empty_like(p)
    np.put_along_axis(mass, order, np.cumsum(np.take_along_axis(p, order, axis=1), axis=1), axis=1)
    if uniform is None:
        return mass
    u = np.asarray(uniform, dtype=np.float64)
    if u.shape != p.shape[:1] or not ((u >= 0) & (u <= 1)).all():
        raise CalibrationError(f"`uniform` must be {p.shape[0]} numbers in [0, 1], one per film, not shape {u.shape}")
    return np.asarray(mass - u[:, None] * p)


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
