"""How does one fit on some patients and judge on others? Folds that never part a patient."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from calibration import recalibrator
from calibration.recalibrator import FEWEST, Recalibrator
from calibration.validation import (
    CalibrationError,
    ClassAbsentError,
    FloatArray,
    IntArray,
    TooFewFilmsError,
    checked_groups,
    checked_labels,
    checked_logits,
)

Fitted = TypeVar("Fitted")


@dataclass(frozen=True)
class CrossFit(Generic[Fitted]):
    """One model per fold, each fitted on the patients outside its fold, and one fitted on everybody.

    Attributes:
        fold: (n,) the fold each film belongs to.
        models: models[f] never saw a patient of fold f.
        pooled: fitted on all films; for other cohorts only, never for these films.
    """

    fold: IntArray
    models: tuple[Fitted, ...]
    pooled: Fitted

    def apply(self, use: Callable[[Fitted, FloatArray], FloatArray], rows: ArrayLike) -> FloatArray:
        """Apply to each row (n, ...) the model that never saw its patient.

        The rows are the same films in the same order as in the fit, under any condition (clean, shifted, attacked).

        Raises:
            CalibrationError: another number of rows than films in the fit.
        """
        values = np.asarray(rows)
        if values.shape[0] != self.fold.size:
            raise CalibrationError(
                f"{values.shape[0]} rows for {self.fold.size} fitted films: "
                "give the same films in the same order, or use .pooled"
            )
        parts = [np.asarray(use(model, values[self.fold == f])) for f, model in enumerate(self.models)]
        out = np.zeros((self.fold.size, *parts[0].shape[1:]), dtype=parts[0].dtype)
        for f, part in enumerate(parts):
            out[self.fold == f] = part
        return out


def patient_folds(labels: ArrayLike, groups: ArrayLike, *, folds: int = 5, seed: int = 0) -> IntArray:
    """Assign every film (n,) to a fold: patients whole, classes spread evenly, whatever the order of films.

    Raises:
        TooFewFilmsError: a fold with fewer than 30 films, or fewer patients than folds.
        ClassAbsentError: a class from fewer patients than folds.
    """
    y = np.asarray(labels)
    if folds < 2:
        raise CalibrationError(f"cross-fitting needs at least 2 folds, not {folds}")
    y = checked_labels(y, y.size, int(y.max(initial=0)) + 1)
    patients = checked_groups(groups, y.size)
    count = int(patients.max()) + 1
    if count < folds:
        raise TooFewFilmsError(f"{count} patients cannot fill {folds} folds")
    if y.size < FEWEST * folds:
        raise TooFewFilmsError(
            f"{y.size} films in {folds} folds leave fewer than {FEWEST} in one: use fewer folds or more films"
        )
    for k in np.unique(y):
        owners = np.unique(patients[y == k]).size
        if owners < folds:
            raise ClassAbsentError(
                f"class {k} comes from {owners} patients, fewer than the {folds} folds: use fewer folds"
            )
    fold = np.frombuffer(_split(y.tobytes(), patients.tobytes(), folds, seed), dtype=np.int64).copy()
    for f in range(folds):
        size = int((fold == f).sum())
        if size < FEWEST:
            raise TooFewFilmsError(f"fold {f} holds {size} films, fewer than {FEWEST}: use fewer folds or more films")
    return fold


@lru_cache(maxsize=32)
def _split(labels: bytes, patients: bytes, folds: int, seed: int) -> bytes:
    """Return (n,) folds as bytes of int64: every recalibration asks for those of the same films."""
    y, owner = np.frombuffer(labels, dtype=np.int64), np.frombuffer(patients, dtype=np.int64)
    return _stratified(y, owner, folds, seed)[owner].tobytes()


def _stratified(y: IntArray, owner: IntArray, folds: int, seed: int) -> IntArray:
    """Return (G,) the fold of each patient: that of scikit-learn's `StratifiedGroupKFold(shuffle=True)`.

    Patients whose films are of unequal classes come first, in a random order; each goes to the fold that leaves the
    classes spread most evenly, of folds as good the one with the fewest films. Written out for what it takes: theirs
    asks numpy for the spread of a dozen numbers a thousand times over. To the last bit the same sums in the same order.
    """
    _, label = np.unique(y, return_inverse=True)
    films, classes = np.bincount(label).astype(np.float64).tolist(), int(label.max()) + 1
    count = int(owner.max()) + 1
    of_patient = np.bincount(owner * classes + label, minlength=count * classes).reshape(count, classes).astype(float)
    shuffled = np.arange(count)
    np.random.RandomState(seed).shuffle(shuffled)
    order = shuffled[np.argsort(-np.std(of_patient[shuffled], axis=1), kind="stable")]
    held = [[0.0] * folds for _ in range(classes)]
    spread = [0.0] * classes
    size, fold = [0.0] * folds, np.zeros(count, dtype=np.int64)
    for patient, numbers in zip(order.tolist(), of_patient[order].tolist(), strict=True):
        best, least, fewest = 0, math.inf, math.inf
        own = [k for k in range(classes) if numbers[k]]
        for at in range(folds):
            for k in own:
                held[k][at] += numbers[k]
                spread[k] = _spread(held[k], films[k])
                held[k][at] -= numbers[k]
            uneven = _mean(spread)
            if uneven < least or (abs(uneven - least) <= 1e-8 + 1e-5 * least and size[at] < fewest):
                best, least, fewest = at, uneven, size[at]
        for k in own:
            held[k][best] += numbers[k]
            spread[k] = _spread(held[k], films[k])
        size[best] += sum(numbers)
        fold[patient] = best
    return fold


def _spread(held: list[float], films: float) -> float:
    """Return the standard deviation over folds of their shares in the films of a class, as `numpy.std` adds it up."""
    shares, total, squares = [count / films for count in held], 0.0, 0.0
    for share in shares:
        total += share
    middle = total / len(shares)
    for share in shares:
        squares += (share - middle) * (share - middle)
    return math.sqrt(squares / len(shares))


def _mean(values: list[float]) -> float:
    """Return the mean as `numpy.mean` has it, which adds eight and more in another order."""
    if len(values) >= 8:
        return float(np.mean(values))
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


def cross_fit(
    method: str, logits: ArrayLike, labels: ArrayLike, groups: ArrayLike, *, folds: int = 5, seed: int = 0
) -> CrossFit[Recalibrator]:
    """Fit a recalibration (`temperature`, `vector`, `dirichlet`, `beta`, `isotonic`) out of fold.

    `recalibrated(result, logits)` then gives logits no film of which was used for its own map.

    Args:
        method: a registered recalibration.
        logits: (n, K).
        labels: (n,) integers.
        groups: (n,) patient keys.
        folds: at least 30 films each.
        seed: of the folds.

    Raises:
        TooFewFilmsError, ClassAbsentError: see `patient_folds` and `Recalibrator.fit`.
        FitError: a fold whose fit does not lower the log loss.
    """
    z = checked_logits(logits)
    y = checked_labels(labels, *z.shape, all_classes=True)
    fold = patient_folds(y, groups, folds=folds, seed=seed)
    kind = recalibrator.get(method)
    patients = checked_groups(groups, y.size)
    models = tuple(kind.fit(z[fold != f], y[fold != f], groups=patients[fold != f]) for f in range(folds))
    return CrossFit(fold, models, kind.fit(z, y, groups=patients))


def recalibrated(fits: CrossFit[Recalibrator], logits: ArrayLike) -> FloatArray:
    """Logits (n, K) of the fitted films, under any condition, each through the map that never saw its patient."""
    return fits.apply(lambda model, rows: model.transform(rows), checked_logits(logits))
