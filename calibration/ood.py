"""How well does a score tell foreign films from usual ones? AUROC, AUPR, FPR at 95 % TPR.

One convention: **a larger score means more out of distribution**, and the out-of-distribution film is the positive one.
AUROC is that of two kinds, so nothing is averaged over classes; its area is by trapezoids (ties count half; Mann &
Whitney 1947), that of AUPR by steps (average precision), both as in scikit-learn. Scores are used as they are.
(torchmetrics squashes raw scores through a sigmoid; an AUROC of 0.96 can become 0.52.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from calibration.ranking import checked_scores, over_thresholds, steps
from calibration.validation import ClassAbsentError, Estimate, FloatArray, Weights


def auroc(scores: ArrayLike, outside: ArrayLike, *, weights: Weights | None = None, orders: bool = False) -> Estimate:
    """Chance that an outside film scores higher than an inside one, ties counting half.

    Args:
        scores: (n,) larger = more out of distribution.
        outside: (n,) true for out-of-distribution films.
        weights: None, (n,), (B, n) or rows of these, see `calibration.validation`; rows are counted in bins.
        orders: see what bins can change: (3, B) for rows, see `calibration.ranking`.

    Returns:
        A float, or (B,) for (B, n) weights; NaN for a resample with one kind of film only.

    Raises:
        ClassAbsentError: no outside film, or no inside film.
        CalibrationError: vectors that do not match or are not finite.
    """
    score, mark = _checked(scores, outside)

    return over_thresholds(
        score, mark, weights, _area, orders=orders, of_steps=lambda false, true: _of_steps(false, true)[0]
    )


def aupr(scores: ArrayLike, outside: ArrayLike, *, weights: Weights | None = None, orders: bool = False) -> Estimate:
    """Average precision: the mean precision at each outside film, stepwise as scikit-learn's.

    Depends on how many outside films there are.
    Arguments, result and errors as in `auroc`.
    """
    score, mark = _checked(scores, outside)

    def area(false: FloatArray, true: FloatArray) -> FloatArray:
        precision = true / np.where(false + true > 0, false + true, 1.0)
        return _ratio((steps(true) * precision).sum(axis=0), np.where(false[-1] > 0, true[-1], 0.0))

    return over_thresholds(score, mark, weights, area, orders=orders)


def fpr_at_tpr(
    scores: ArrayLike,
    outside: ArrayLike,
    *,
    tpr: float = 0.95,
    weights: Weights | None = None,
    orders: bool = False,
) -> Estimate:
    """Share of inside films flagged at the highest threshold that flags at least `tpr` of the outside films.

    Arguments, result and errors as in `auroc`.
    """
    score, mark = _checked(scores, outside)

    return over_thresholds(
        score,
        mark,
        weights,
        lambda false, true: _flagged(false, true, tpr),
        orders=orders,
        of_steps=lambda false, true: _of_steps(false, true, tpr)[1],
    )


def auroc_and_fpr(
    scores: ArrayLike,
    outside: ArrayLike,
    *,
    tpr: float = 0.95,
    weights: Weights | None = None,
    orders: bool = False,
) -> tuple[Estimate, Estimate]:
    """`auroc` and `fpr_at_tpr` in one pass over the films, for tables of many scores.

    Arguments and errors as in `auroc`, and scores may be (S, n); returns two floats, or two (B,) for (B, n) weights,
    of (S, n) scores two (S,) or (S, B).
    """
    mark = np.asarray(outside)
    checked = [_checked(one, mark) for one in np.atleast_2d(np.asarray(scores))]
    score = np.stack([one for one, _ in checked]) if np.ndim(scores) == 2 else checked[0][0]

    def both(false: FloatArray, true: FloatArray) -> FloatArray:
        return np.stack([_area(false, true), _flagged(false, true, tpr)])

    found = over_thresholds(
        score, checked[0][1], weights, both, orders=orders, of_steps=lambda false, true: _of_steps(false, true, tpr)
    )
    return (found[:, 0], found[:, 1]) if np.ndim(scores) == 2 else (found[0], found[1])


def _area(false: FloatArray, true: FloatArray) -> FloatArray:
    return _ratio((steps(false) * (true - steps(true) / 2)).sum(axis=0), false[-1] * true[-1])


def _flagged(false: FloatArray, true: FloatArray, tpr: float) -> FloatArray:
    enough = (true >= tpr * true[-1] * (1 - 1e-12)).argmax(axis=0)
    at = false[enough, np.arange(false.shape[1])]
    return _ratio(at, np.where(true[-1] > 0, false[-1], 0.0))


def _of_steps(false: FloatArray, true: FloatArray, tpr: float | None = None) -> FloatArray:
    """Return `_area` and, of a `tpr`, `_flagged`, (1 or 2, B), from what each threshold adds, (t, B) each."""
    running = np.cumsum(true, axis=0)
    total, foreign = false.sum(axis=0), running[-1]
    between = np.multiply(true, -0.5, out=true)
    between += running
    between *= false
    found = [_ratio(between.sum(axis=0), total * foreign)]
    if tpr is not None:
        enough = (running >= tpr * foreign * (1 - 1e-12)).argmax(axis=0)
        at = np.cumsum(false, axis=0, out=between)[enough, np.arange(false.shape[1])]
        found.append(_ratio(at, np.where(foreign > 0, total, 0.0)))
    return np.stack(found)


def _checked(scores: ArrayLike, outside: ArrayLike) -> tuple[FloatArray, FloatArray]:
    score, mark = checked_scores(scores, outside, "outside")
    if mark.min() == mark.max():
        raise ClassAbsentError(
            f"all {mark.size} films are of one kind (outside = {bool(mark[0])}): nothing to tell apart"
        )
    return score, mark


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), np.nan)
