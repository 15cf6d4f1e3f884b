"""In which order does a score put films? Ties kept together: what ROC and risk-coverage curves are made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from calibration.validation import CalibrationError, FloatArray


def checked_scores(scores: ArrayLike, marked: ArrayLike, name: str) -> tuple[FloatArray, FloatArray]:
    """Return scores (n,) and a mark (n,) of 0.0 and 1.0.

    Raises:
        CalibrationError: shapes that differ, scores that are not finite, or marks other than 0 and 1.
    """
    s = np.asarray(scores, dtype=np.float64)
    m = np.asarray(marked, dtype=np.float64)
    if s.ndim != 1 or s.size == 0 or m.shape != s.shape:
        raise CalibrationError(
            f"scores and {name} must be one vector each, one entry per film, not {s.shape} and {m.shape}"
        )
    if not np.isfinite(s).all():
        raise CalibrationError(f"{int((~np.isfinite(s)).sum())} scores are NaN or infinite")
    if not np.isin(m, (0.0, 1.0)).all():
        raise CalibrationError(f"{name} must be true or false for every film")
    return s, m


def running_sums(scores: FloatArray, marked: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weight of the unmarked and of the marked films with a score >= each threshold, highest threshold first.

    Args:
        scores: (n,).
        marked: (n,) of 0.0 and 1.0.
        weights: (n, B).

    Returns:
        Two arrays (distinct scores, B), each row a threshold.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.flatnonzero(np.r_[np.diff(ordered) < 0, True])
    w = weights[order]
    of_marked = np.cumsum(w * marked[order, None], axis=0)[last]
    return np.cumsum(w, axis=0)[last] - of_marked, of_marked


def steps(running: FloatArray) -> FloatArray:
    """What each threshold added to a running sum."""
    return np.diff(running, axis=0, prepend=0.0)
