"""What is the calibration error without bins? SmoothECE of Blasiok & Nakkiran 2023 (arXiv 2309.12236).

The residuals outcome - confidence are smoothed over [0, 1] by a Gaussian reflected at both ends, and their absolute
value is integrated. The bandwidth is not chosen by hand: it is the one that equals the error it gives. Written here
because the authors' package (relplot) carries a licence of its own; the tests hold it against a direct sum and
against values relplot printed.

A reflected Gaussian multiplies the k-th cosine coefficient by exp(-(pi k s)^2 / 2), so each film enters only once, as
cosines of its confidence, and all resamples are smoothed by two matrix products.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from calibration.binning import view_of
from calibration.validation import Estimate, FloatArray, checked_labels, checked_probabilities, over_resamples

FINEST = 0.001  # bandwidth below which nothing is resolved; an error this small is reported as it stands
STEPS = 40  # upper limit; about eight are taken
TOLERANCE = 1e-6


def smooth_ece(
    probabilities: ArrayLike, labels: ArrayLike, *, weights: ArrayLike | None = None, view: str = "top-label"
) -> Estimate:
    """SmoothECE, in [0, 1]; biased upwards like the ECE, but without edges for films to fall on either side of.

    Args:
        probabilities: (n, K), rows sum to 1.
        labels: (n,) integers.
        weights: None, (n,) or (B, n), see `calibration.validation`.
        view: `top-label`, `class-<k>` or `class-wise` (the mean over classes).

    Returns:
        A float, or (B,) for (B, n) weights.

    Raises:
        CalibrationError: bad probabilities, labels, weights or view.
    """
    p = checked_probabilities(probabilities)
    y = checked_labels(labels, *p.shape)
    pairs = [_waves(c, o) for c, o in view_of(p, y, view)]
    return over_resamples(
        weights, y.size, lambda w: np.mean([_fixpoint(*pair, w / w.sum(axis=0)) for pair in pairs], axis=0)
    )


def smoothing_of(confidence: FloatArray, outcome: FloatArray) -> tuple[FloatArray, FloatArray]:
    """How the sample's own bandwidth weighs each film at points of [0, 1], and the smoothed gap at each film.

    Returns:
        Rows (points, n) with sum |rows @ (outcome - confidence)| / n the SmoothECE, and for other outcomes its
        neighbour at a fixed bandwidth; and (n,) the mean residual around each film (Nadaraya-Watson).
    """
    bandwidth = _waves(confidence, outcome)[2]
    waves, _ = _cosines(confidence, confidence + 1, bandwidth)
    modes = np.arange(len(waves))
    count = len(waves) + len(waves) // 2  # a third of the points an estimate takes: enough for its noise
    points = (np.arange(count) + 0.5) / count
    damping = np.exp(-0.5 * (np.pi * bandwidth * modes) ** 2)
    rows = np.cos(np.pi * np.outer(points, modes)) @ (damping[:, None] * waves) / count
    mass = np.maximum(rows.sum(axis=1), 1e-12)
    gaps = np.interp(confidence, points, rows @ (outcome - confidence) / mass)
    return np.asarray(rows), np.asarray(gaps)


def _waves(confidence: FloatArray, outcome: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Return cosines x residual of each film (modes, n), the cosines (points, modes), the sample's bandwidth."""
    everyone = np.full((confidence.size, 1), 1 / confidence.size)
    films, points = _cosines(confidence, outcome, 4 * FINEST)
    bandwidth = float(_fixpoint(films, points, 0.05, everyone)[0])
    # resamples differ from the sample by noise: half its bandwidth is a fine enough resolution for all but freaks
    return *_cosines(confidence, outcome, max(bandwidth / 2, 4 * FINEST)), bandwidth


@lru_cache(maxsize=4)
def _of_points(modes: int, points: int) -> FloatArray:
    """Return the cosines (points, modes) at the midpoints of as many parts of [0, 1]."""
    found = np.cos(np.pi * np.outer((np.arange(points) + 0.5) / points, np.arange(modes)))
    found.flags.writeable = False
    return found


def _cosines(confidence: FloatArray, outcome: FloatArray, finest: float) -> tuple[FloatArray, FloatArray]:
    modes = int(np.ceil(4.5 / (np.pi * finest)))  # the first wave left out is damped to exp(-4.5^2 / 2) = 4e-5
    k = np.arange(modes)
    points = 4 * modes  # midpoints of the integral of an absolute value: half of these leave 3e-5 between two grids
    films = np.cos(np.pi * np.outer(k, confidence)) * (outcome - confidence)
    films[1:] *= 2.0
    return films, _of_points(modes, points)


def _fixpoint(films: FloatArray, points: FloatArray, guess: float, share: FloatArray) -> FloatArray:
    """Find s with error(s) = s by false position (Illinois), all resamples at once; error(s) - s falls everywhere."""
    coefficients = films @ share
    frequency = -0.5 * (np.pi * np.arange(coefficients.shape[0])) ** 2

    def excess(s: FloatArray) -> FloatArray:
        smoothed = points @ (coefficients * np.exp(np.outer(frequency, s**2)))
        return np.asarray(np.abs(smoothed).mean(axis=0) - s)

    low = np.full(share.shape[1], FINEST)
    high = np.ones(share.shape[1])
    at_low, at_high = excess(low), excess(high)
    done = at_low <= 0
    s = np.where(done, FINEST, guess)
    previous = np.zeros_like(s)
    for step in range(STEPS):
        value = np.where(done, 0.0, excess(s))
        if np.abs(value).max() < TOLERANCE:
            break
        side = np.sign(value)
        again = side == previous
        at_high = np.where(side > 0, np.where(again, at_high / 2, at_high), value)
        at_low = np.where(side > 0, value, np.where(again, at_low / 2, at_low))
        low, high = np.where(side > 0, s, low), np.where(side > 0, high, s)
        previous = side
        inside = (low * at_high - high * at_low) / np.where(at_high == at_low, 1.0, at_high - at_low)
        s = np.where(done | (value == 0), s, np.clip(s + value / 1.5, low, high) if step == 0 else inside)
    return s
