"""What can be said when nothing was seen? Exact bounds over the patients of one class, or of several together.

The rule of three, two-sided (Clopper-Pearson with no event), and its counterpart for the mean rate of several classes,
where all classes without an event say more than the smallest of them alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@lru_cache(maxsize=4096)
def largest_unseen(parts: tuple[int, ...], chance: float) -> float:
    """Return the largest mean rate over the parts at which no event at all still has this chance.

    With one part of n patients that is 1 - chance ** (1 / n). With several, the least favourable rates p_k with
    prod (1 - p_k) ** n_k = chance are 1 - p_k = min(1, s n_k) for some s (Lagrange; the constraint is convex).

    Args:
        parts: patients of each part, at least 1 each.
        chance: in (0, 1).
    """
    if len(parts) == 1:
        return -math.expm1(math.log(chance) / parts[0])
    return float(_rates(parts, lambda rates: _log_chance(parts, rates) - math.log(chance)).mean())


@lru_cache(maxsize=4096)
def chance_of_none(parts: tuple[int, ...], rate: float) -> float:
    """Return the largest chance that no patient shows an event although the mean rate over the parts is `rate`."""
    if rate <= 0:
        return 1.0
    if rate >= 1:
        return 0.0
    return math.exp(_log_chance(parts, _rates(parts, lambda rates: rate - float(rates.mean()))))


def _rates(parts: tuple[int, ...], rising: Callable[[Floats], float]) -> Floats:
    """Return the least favourable rates at which a function that rises with the scale s crosses zero, by bisection."""
    sizes = np.array(parts, dtype=np.float64)
    low, high = 0.0, 1 / sizes.min()
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(1 - np.minimum(1.0, middle * sizes)) < 0 else (low, middle)
    return np.asarray(1 - np.minimum(1.0, (low + high) / 2 * sizes), dtype=np.float64)


def _log_chance(parts: tuple[int, ...], rates: Floats) -> float:
    with np.errstate(divide="ignore"):
        return float((np.array(parts) * np.log1p(-rates)).sum())
