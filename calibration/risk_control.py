"""From which score on must a finding be claimed, so that no more than a promised share of findings is missed?

Conformal risk control (Angelopoulos, Bates, Fisch, Lei & Schuster 2022, arXiv 2208.02814, section 3 with the false
negative rate as its loss). Of a film's findings a share is missed, those whose score lies below the threshold; it grows
with the threshold, so the largest one is taken at which the mean over n calibration patients, one more of them missing
everything, stays within alpha: (n R + 1) / (n + 1) <= alpha. The promise is for a film of a new patient that shows a
finding, in expectation; none holds under shift: measure it. Split conformal sets promise the same of one class (see
`conformal`), but not of several findings that one film may show.

Patients: each counts once, with the mean share over its films, for films of one patient are not exchangeable with
another's (Dunn, Wasserman & Ramdas 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from calibration.validation import (
    CalibrationError,
    Estimate,
    FloatArray,
    IntArray,
    TooFewFilmsError,
    checked_groups,
    over_resamples,
)


@dataclass(frozen=True)
class MissedFindings:
    """A fitted threshold: a finding is claimed where its score is at least `threshold`.

    alpha: promised share of missed findings. films, patients: those with a finding that it was fitted on.
    """

    alpha: float
    threshold: float
    films: int
    patients: int

    def claimed(self, scores: ArrayLike) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Return, in the shape of the scores, which findings are claimed."""
        return np.asarray(np.asarray(scores, dtype=np.float64) >= self.threshold)


def control_missed(
    scores: ArrayLike, labels: ArrayLike, *, alpha: float = 0.1, groups: ArrayLike | None = None
) -> MissedFindings:
    """Fit the threshold on films the subject was not trained on.

    Args:
        scores: (n,) of one finding or (n, F) of several on one scale, larger where it is more likely.
        labels: the same shape: 1 where the finding is there, 0 where it is not, -1 where nobody says.
        alpha: promised share of missed findings, in (0, 1).
        groups: (n,) patient keys; None makes every film its own patient.

    Raises:
        TooFewFilmsError: fewer patients with a finding than 1/alpha - 1, which no threshold can serve.
        CalibrationError: scores that are not finite, labels of another kind or shape, a bad alpha.
    """
    values, there = _checked(scores, labels)
    if not 0 < alpha < 1:
        raise CalibrationError(f"alpha is a share of missed findings and lies between 0 and 1, not {alpha}")
    patients = checked_groups(groups, len(values))
    shows = there.any(axis=1)
    _, number, films = np.unique(patients[shows], return_inverse=True, return_counts=True)
    units = films.size
    if units + 1 < 1 / alpha:
        raise TooFewFilmsError(
            f"{units} patients with a finding cannot promise that at most {100 * alpha:.0f} % are missed, at least "
            f"{int(np.ceil(1 / alpha)) - 1} are needed"
        )
    # What a finding adds to the mean share over patients once it is missed.
    weight = there[shows] / there[shows].sum(axis=1, keepdims=True) / films[number][:, None] / units
    own, share = values[shows][there[shows]], weight[there[shows]]
    order = np.argsort(own, kind="stable")
    steps, place = np.unique(own[order], return_index=True)
    missed = np.concatenate([[0.0], np.cumsum(share[order])])[place]  # below each score
    kept = (units * missed + 1) / (units + 1) <= alpha + 1e-12
    return MissedFindings(alpha, float(steps[np.flatnonzero(kept)[-1]]), int(shows.sum()), units)


def missed_share(claimed: ArrayLike, labels: ArrayLike, *, weights: ArrayLike | None = None) -> Estimate:
    """Mean over the films that show a finding of the share of their findings that is not claimed.

    Args:
        claimed: (n,) or (n, F) booleans.
        labels: as in `control_missed`.
        weights: None, (n,) or (B, n), see `calibration.validation`.

    Returns:
        A float, or (B,) for (B, n) weights; NaN for a resample without such a film.
    """
    said, there = _checked(np.asarray(claimed, dtype=np.float64), labels)
    shows = there.any(axis=1)
    share = np.where(shows, (there * (1 - said)).sum(axis=1) / np.maximum(there.sum(axis=1), 1), 0.0)

    def mean(w: FloatArray) -> FloatArray:
        missed, total = np.stack([share, shows]) @ w
        return np.asarray(missed / np.where(total > 0, total, np.nan))

    return over_resamples(weights, len(said), mean, products=True)


def _checked(
    scores: ArrayLike, labels: ArrayLike
) -> tuple[FloatArray, np.ndarray[tuple[int, int], np.dtype[np.bool_]]]:
    """Return (n, F) scores and whether each finding is there."""
    values, given = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if values.shape != given.shape or values.ndim not in (1, 2) or not values.size:
        raise CalibrationError(
            f"scores {values.shape} and labels {given.shape} must match, (films,) or (films, findings)"
        )
    if not np.isfinite(values).all() or not np.isin(given, (-1, 0, 1)).all():
        raise CalibrationError("scores must be finite, and labels 1 (there), 0 (not there) or -1 (nobody says)")
    known: IntArray = np.asarray(given, dtype=np.int64).reshape(len(values), -1)
    return values.reshape(len(values), -1), known == 1
