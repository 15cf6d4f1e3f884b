"""Which true calibration errors would not make the one seen extreme? Intervals by inverting a test.

A calibration error is a sum of absolute gaps between outcomes and confidences. Noise makes it larger than the truth,
most of all where the truth is 0, and where few bins are occupied it is the absolute value of a few numbers, with a
kink at 0. No resample of a sample knows either: the percentile interval of the ECE of a calibrated subject never
covers. So a test is inverted (Davison & Hinkley 1997, 5.7): for a candidate truth outcomes are drawn, the error is
measured on them, and the candidate stays while the error seen is not among the most extreme.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtrit

from calibration.gaps import Candidates, Gaps, Samples
from calibration.interval import Interval
from calibration.null_band import patient_correlation
from calibration.simulated_outcomes import Luck
from calibration.validation import (
    FloatArray,
    IntArray,
    ReplicateError,
    checked_groups,
    checked_labels,
    checked_probabilities,
)

HALVINGS = 7
NOISE = 2.0  # standard errors within which a gap may be nothing
RARE = math.exp(-3)  # chance of a resample without any mistake (or right call) when three patients show one


def inverted_interval(
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    view: str = "top-label",
    bins: int = 15,
    binning: str = "equal-width",
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Interval of the ECE (or SmoothECE) by inversion of a test.

    Outcomes are drawn film by film from confidence + gap, so their spread is that of the candidate and not that of a
    lucky sample. Films of a patient share their luck as often as their outcomes hang together, and where the gaps vary
    more over patients than that explains, noise is widened by the rest of the design effect (Kish 1965). Classes are
    drawn too and not held at their counts: whether a call of constant confidence is right is nothing but its class.

    How much of the error seen is noise depends on how the true one is spread: most where it sits in few bins. So each
    end is the furthest over several shapes of gaps, each scaled to every size: those seen, only those beyond their
    noise (low end), the same gap everywhere with the sign seen there or overall (high end), and mirror images of
    the latter while even a truth of 0 is possible.

    The low end is the smallest truth that shows the error seen, or more, with a chance of (1 - level) / 2. The high end
    is the largest that shows it, or less, with that chance times the chance under a truth of 0 (CLs, Read 2002: an
    error below what calibration itself shows must not give a short interval); no further, though, than the signed
    sum of the gaps goes, which has no bias. `corrected` is the truth, in the shape seen, under which the error seen is
    the median.

    Where hardly a patient shows a wrong call, or a right one, no end is nearer than the exact bound over patients of
    none at all (Clopper & Pearson 1934), so that a subject that is always right with a probability of 1 has an error
    of 0 to 3.7 / patients, not of 0.

    Args:
        probabilities: (n, K), rows sum to 1.
        labels: (n,) integers.
        groups: (n,) patient keys; None takes every film for a patient.
        view: as in `calibration.error.ece`.
        bins: number of bins (not used by `smooth`).
        binning: `equal-width`, `equal-mass` or `array-split` (edges placed once, on the sample), or `smooth`
            (bandwidth chosen once).
        level: nominal coverage.
        draws: simulated samples for each candidate, at least 100.
        seed: same input, same interval.

    Returns:
        The interval, within [0, 1].

    Raises:
        ReplicateError: fewer than 100 draws.
        CalibrationError: bad probabilities, labels, groups, view or binning (a named subclass where there is one).
    """
    p = checked_probabilities(probabilities)
    y = checked_labels(labels, *p.shape)
    patients = checked_groups(groups, y.size)
    if draws < 100:
        raise ReplicateError(f"an interval needs at least 100 draws (2000 for print), not {draws}")
    seen = Gaps.of(p, y, view, bins, binning)
    luck = Luck.draw(patients, patient_correlation(p, y, patients, view), draws, seed)
    as_seen = Candidates(seen, luck, seen.shape)
    noise = as_seen.noise(seen.error)
    wider = _design_effect(seen, noise, patients) * _few(patients, level)
    as_seen = replace(as_seen, wider=wider)
    tail, count = (1 - level) / 2, np.unique(patients).size

    by_chance = as_seen.drawn(0.0)

    def possible(samples: Samples) -> bool:
        rarely = tail * by_chance.at_most(seen.error)
        return samples.at_most(seen.error) >= rarely and samples.signed_at_most(seen.error) >= tail

    low = 0.0
    if by_chance.at_least(seen.error) < tail:
        strong = as_seen.reshaped(seen.shape_beyond(NOISE * wider * noise.std(axis=1)))
        low = min(_smallest(shape, seen.error, tail, by_chance) for shape in (as_seen, strong))
    middle = _smallest(as_seen, seen.error, 0.5, by_chance)
    high, furthest = 0.0, min(1.0, seen.error + 2 * wider / math.sqrt(y.size))
    overall = np.sign(seen.shape.mean(axis=1, keepdims=True)) * np.ones_like(seen.shape)
    for side in (1.0, -1.0) if low == 0 else (1.0,):
        for shape in (seen.shape, np.sign(seen.shape), overall):
            if noise.any():  # probabilities of 0 and 1 that came true have none: only the exact bound speaks
                high = _largest(as_seen.reshaped(side * shape), possible, high, furthest, by_chance)
    right = p.argmax(axis=1) == y
    rarer = min(np.unique(patients[right]).size, np.unique(patients[~right]).size)
    if (1 - rarer / count) ** count >= RARE:
        unseen = 1 - tail ** (1 / count)
        low, high = min(low, seen.error - unseen), max(high, seen.error + unseen)
    return Interval(max(low, 0.0), min(high, 1.0), "inverted", level, middle)


def _smallest(candidates: Candidates, error: float, chance: float, by_chance: Samples) -> float:
    """Return the smallest true error of a shape that shows the error seen, or more, with this chance."""

    def too_small(e: float) -> bool:
        return candidates.drawn(e).at_least(error) < chance

    return candidates.truth(_between(too_small, 0.0, error)[0]) if by_chance.at_least(error) < chance else 0.0


def _largest(
    candidates: Candidates, possible: Callable[[Samples], bool], least: float, furthest: float, by_chance: Samples
) -> float:
    """Return the largest true error of a shape that is possible, or `least` where nothing beyond that is."""

    def small_enough(e: float) -> bool:
        return possible(candidates.drawn(e) if e else by_chance)  # of no error every shape gives these

    if not small_enough(least):
        return least
    for end in (furthest, 1.0):
        if not small_enough(end):
            return max(least, candidates.truth(_between(small_enough, least, end)[1]))
    return max(least, candidates.truth(1.0))


def _between(holds: Callable[[float], bool], inside: float, outside: float) -> tuple[float, float]:
    """Return where a property that holds inside and not outside stops holding, from both sides, by bisection."""
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return inside, outside


def _design_effect(seen: Gaps, noise: FloatArray, patients: IntArray) -> float:
    """Return the root of what is left of the design effect, at least 1: of the gaps, and of their sum in the error.

    Args:
        seen: the sample.
        noise: (m, draws) of its gaps as they are drawn.
        patients: (n,) keys.
    """
    films = seen.by_film
    gaps = films.sum(axis=1, keepdims=True)
    _, cluster = np.unique(patients, return_inverse=True)
    count = int(cluster.max()) + 1
    if count == 1:
        return 1.0
    sums = np.array([np.bincount(cluster, row, count) for row in films - gaps / patients.size])
    sign, effect = np.sign(gaps), 1.0
    for found, drawn in ((sums, noise), ((sign * sums).sum(axis=0), (sign * noise).sum(axis=0))):
        variance = float(drawn.var(axis=-1).sum())
        if variance > 0:
            effect = max(effect, float((found**2).sum()) * count / (count - 1) / variance)
    return math.sqrt(effect)


def _few(patients: IntArray, level: float) -> float:
    """Return Student's quantile over the normal one, for a design effect that so many patients measured.

    Degrees of freedom after Satterthwaite, a patient's share in the variance growing with the square of its films.
    """
    films = np.unique(patients, return_counts=True)[1].astype(np.float64)
    if films.max() == 1:
        return 1.0  # independent films have no design effect
    freedom = max(1.0, float((films**2).sum() ** 2 / (films**4).sum()) - 1)
    tail = (1 + level) / 2
    return float(stdtrit(freedom, tail) / ndtri(tail))
