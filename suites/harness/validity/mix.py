"""Which small mix of perturbations makes home films look like those of another hospital, by what pixels can tell?

Films are numbers here: some statistics of each (sharpness, noise, width of the histogram, borders). A hospital lies a
vector away from home, the difference of the medians in standard deviations of home films; so does every perturbation.
Perturbations are added one by one, each the one that leaves least, as long as it takes a tenth off the distance. The
steps are taken to add up: what the mix truly does has to be measured on films it was applied to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
MOST = 3
"""Perturbations of a mix."""
WORTH = 0.1
"""Share of the first distance that a further perturbation must take off."""


@dataclass(frozen=True)
class Mix:
    """The perturbations that together come nearest.

    Attributes:
        conditions: in the order in which they were chosen; empty where none helps.
        before: root mean square of the hospital's distances from home, in standard deviations of home films.
        after: the same once the steps of the mix are taken off.
        away, made: (S,) of the hospital from home, and of the mix from home; NaN of a statistic that one has not.
    """

    conditions: tuple[str, ...]
    before: float
    after: float
    away: Floats
    made: Floats

    @property
    def explained(self) -> float:
        """Share of the distance that the mix takes off."""
        return 1 - self.after / self.before if self.before else 0.0


def small_mix(
    home: Floats, away: Floats, changed: Mapping[str, Floats], *, most: int = MOST, alone: Sequence[str] = ()
) -> Mix:
    """Return the small mix of perturbations that takes home films nearest to those of a hospital.

    Args:
        home: (n, S) statistics of home films.
        away: (m, S) the same of the hospital's films.
        changed: condition (`scatter@3`) -> (n, S) of the home films under it.
        most: perturbations at most.
        alone: conditions to choose from, all by default.

    Raises:
        ValueError: the tables are not of the same statistics, or one has no film.
    """
    if not len(home) or not len(away) or any(one.shape[1] != home.shape[1] for one in (away, *changed.values())):
        raise ValueError("home, away and every condition need films, measured by the same statistics")
    middle, scale = _median(home), _scale(home)
    target = _step(away, middle, scale)
    steps = {
        name: np.nan_to_num(_step(rows, middle, scale)) for name, rows in changed.items() if not alone or name in alone
    }
    chosen: list[str] = []
    left, first = target, _size(target)
    while len(chosen) < most and first > 0:
        taken = {name.partition("@")[0] for name in chosen}
        rest = {name: left - step for name, step in steps.items() if name.partition("@")[0] not in taken}
        if not rest:
            break
        best = min(rest, key=lambda name: _size(rest[name]))
        if _size(left) - _size(rest[best]) < WORTH * first:
            break
        chosen.append(best)
        left = rest[best]
    return Mix(tuple(chosen), first, _size(left), target, target - left)


def distance(home: Floats, away: Floats, made: Floats) -> float:
    """Return how far films that were truly changed lie from a hospital's, in the unit of `Mix.before`."""
    return _size((_median(away) - _median(made)) / _scale(home))


def _step(rows: Floats, middle: Floats, scale: Floats) -> Floats:
    return np.asarray((_median(rows) - middle) / scale, dtype=np.float64)


def _median(rows: Floats) -> Floats:
    """Return (S,) medians; NaN of a statistic that no film has."""
    known = np.isfinite(rows).any(axis=0)
    found = np.full(rows.shape[1], np.nan)
    found[known] = np.nanmedian(rows[:, known], axis=0)
    return found


def _scale(rows: Floats) -> Floats:
    """Return (S,) standard deviations; 1 of a statistic that does not vary."""
    known = np.isfinite(rows).any(axis=0)
    found = np.ones(rows.shape[1])
    spread = np.nanstd(rows[:, known], axis=0)
    found[known] = np.where(spread > 0, spread, 1.0)
    return found


def _size(vector: Floats) -> float:
    known = vector[np.isfinite(vector)]
    return float(np.sqrt(np.mean(known**2))) if len(known) else float("nan")
