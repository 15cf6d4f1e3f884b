"""Statistics of weighted films, many weightings at once: the inner loop of the patient bootstrap.

Each takes (B, N) non-negative weights, how often every film was drawn, and returns (B,) numbers. NaN where a weighting
holds no film of one kind.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def mean(weights: Floats, values: Floats) -> Floats:
    """Return the weighted means of (N,) values."""
    averages: Floats = (weights @ values) / weights.sum(1)
    return averages


def auroc(weights: Floats, positive: NDArray[np.bool_], score: Floats) -> Floats:
    """Return the areas under the ROC curve: how often a positive film scores above a negative one, ties half.

    Mann and Whitney (1947), with weights.
    """
    up, down = _by_score(weights, positive, score)
    below = np.cumsum(down, axis=1) - down
    pairs = up.sum(1) * down.sum(1)
    wins = (up * (below + down / 2)).sum(1)
    areas: Floats = np.divide(wins, pairs, out=np.full(len(wins), np.nan), where=pairs > 0)
    return areas


def auprc(weights: Floats, positive: NDArray[np.bool_], score: Floats) -> Floats:
    """Return the average precisions: the step-wise areas under the precision-recall curve, as in scikit-learn."""
    up, down = (side[:, ::-1] for side in _by_score(weights, positive, score))
    hits = np.cumsum(up, axis=1)
    said = hits + np.cumsum(down, axis=1)
    precision = np.divide(hits, said, out=np.zeros_like(hits), where=said > 0)
    total = up.sum(1)
    areas: Floats = np.divide((precision * up).sum(1), total, out=np.full(len(total), np.nan), where=total > 0)
    return areas


def _by_score(weights: Floats, positive: NDArray[np.bool_], score: Floats) -> tuple[Floats, Floats]:
    """Return (B, G) weights of positive and negative films at each of the G different scores, lowest first."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf) > 0)
    sorted_weights, sign = weights[:, order], positive[order]
    up = np.add.reduceat(sorted_weights * sign, starts, axis=1)
    down = np.add.reduceat(sorted_weights * ~sign, starts, axis=1)
    return up, down
