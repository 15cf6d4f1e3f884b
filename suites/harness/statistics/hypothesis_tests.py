"""Is a difference more than chance, and how many films would show it? Tests, their correction for many, their power.

McNemar comes from statsmodels; Holm, the power of a paired comparison and the clustered sign-flip test are ours.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from suites.harness.statistics.bootstrap import LEVEL
from suites.harness.statistics.poisson_draws import Floats

AT_ONCE = 2**23
"""Signs of a test that are drawn together."""


def mcnemar_test(first_right: npt.ArrayLike, second_right: npt.ArrayLike) -> float:
    """Return the exact McNemar p for two subjects (or two conditions) on the same independent films (McNemar 1947)."""
    first, second = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    table = [
        [int((first & second).sum()), int((first & ~second).sum())],
        [int((~first & second).sum()), int((~first & ~second).sum())],
    ]
    return float(mcnemar(table, exact=True).pvalue)


def sign_flip_test(differences: npt.ArrayLike, patients: npt.ArrayLike, *, seed: int, flips: int = 10_000) -> float:
    """Return the two-sided p that paired differences are zero, flipping the sign of whole patients.

    The clustered counterpart of McNemar's test: under the null each patient's summed difference is as likely negative.
    """
    _, cluster = np.unique(np.asarray(patients).astype(str), return_inverse=True)
    sums = np.bincount(cluster, weights=np.asarray(differences, dtype=np.float64))
    generator = np.random.Generator(np.random.PCG64(seed))
    extreme, step = 0, max(1, AT_ONCE // len(sums))
    for start in range(0, flips, step):
        signs = generator.integers(0, 2, size=(min(step, flips - start), len(sums))) * 2 - 1
        extreme += int((np.abs(signs @ sums) >= abs(sums.sum()) - 1e-12).sum())
    return (1 + extreme) / (1 + flips)


def holm(p_values: npt.ArrayLike) -> Floats:
    """Return Holm-adjusted p values, in the order given (Holm 1979).

    Our own three lines: the library's collects garbage on every call, a second each in a process that holds a network.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def films_needed(discordant: float, effect: float, level: float = LEVEL, power: float = 0.8) -> int:
    """Return the paired films needed to detect an effect (Connor 1987; independent films, so patients are better).

    Args:
        discordant: share of films whose call changes between the two conditions.
        effect: difference of the two rates to detect, absolute.
        level: confidence level.
        power: chance to detect it.
    """
    if effect == 0:
        raise ValueError("an effect of exactly zero can never be detected; ask for the smallest effect that matters")
    share = max(discordant, abs(effect))
    a, b = stats.norm.ppf((1 + level) / 2), stats.norm.ppf(power)
    films = (a * math.sqrt(share) + b * math.sqrt(max(share - effect**2, 0.0))) ** 2 / effect**2
    return math.ceil(float(films))


def detectable_effect(discordant: float, films: int, level: float = LEVEL, power: float = 0.8) -> float:
    """Return the smallest paired difference that this many films would show, by bisection on `films_needed`."""
    low, high = 1e-4, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if films_needed(discordant, middle, level, power) <= films else (middle, high)
    return high


def page_trend(scores: npt.ArrayLike, patients: npt.ArrayLike) -> float:
    """Return the one-sided p of Page's L test for a rising trend over ordered conditions (Page 1963).

    Args:
        scores: (N, S) per film and severity, larger is worse.
        patients: (N,) cluster keys; films of one patient are averaged first.
    """
    matrix = np.asarray(scores, dtype=np.float64)
    _, cluster = np.unique(np.asarray(patients).astype(str), return_inverse=True)
    counts = np.bincount(cluster)
    means = np.stack([np.bincount(cluster, weights=column) / counts for column in matrix.T], axis=1)
    means = means[np.isfinite(means).all(axis=1)]
    return float(stats.page_trend_test(means, method="asymptotic").pvalue)
