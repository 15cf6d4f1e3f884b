"""Which outcomes do uniform numbers decide? Those of numbers below a limit, and what changes where limits move.

An inverted interval draws the same films under some fifty candidates whose chances differ by little. So each film's
numbers are put in order once: what a limit decides is a place in that order, and a limit that moves changes the
outcomes between two places and no others. Sums over films are carried along; counts stay exact whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from calibration.validation import FloatArray, IntArray

BUCKETS = 256  # of [0, 1), in which the search for a limit begins
KEPT = 2**23  # numbers (64 MB) up to which they are kept in order for whoever draws the same films again


@dataclass(frozen=True)
class Ordered:
    """Uniform numbers (rows, draws) in [0, 1), each row in order.

    Attributes:
        values: (rows * draws,) ascending within each row.
        draw: (rows * draws,) whose number that is.
        starts: (rows, BUCKETS + 1) how many numbers of a row lie below each multiple of 1 / BUCKETS.
        draws: numbers in a row.
    """

    values: FloatArray
    draw: npt.NDArray[np.signedinteger[Any]]
    starts: IntArray
    draws: int

    @classmethod
    def of(cls, numbers: FloatArray) -> Ordered:
        """Put (rows, draws) numbers in order."""
        rows, draws = numbers.shape
        order = np.argsort(numbers, axis=1)
        values = np.take_along_axis(numbers, order, axis=1)
        bucket = (values * BUCKETS).astype(np.int64) + BUCKETS * np.arange(rows)[:, None]
        counts = np.bincount(bucket.ravel(), minlength=rows * BUCKETS).reshape(rows, BUCKETS)
        starts = np.concatenate([np.zeros((rows, 1), np.int64), np.cumsum(counts, axis=1)], axis=1)
        narrow = np.int16 if draws <= np.iinfo(np.int16).max else np.int64
        return cls(values.ravel(), order.ravel().astype(narrow), starts, draws)

    def below(self, limits: FloatArray, rows: IntArray) -> IntArray:
        """Return (n,) how many numbers of some rows (n,) lie below the (n,) limits, which are not negative."""
        bucket = np.minimum((limits * BUCKETS).astype(np.int64), BUCKETS - 1)
        low, high, first = self.starts[rows, bucket], self.starts[rows, bucket + 1], rows * self.draws
        for _ in range(int((high - low).max()).bit_length()):
            middle = (low + high) // 2
            less = self.values[np.minimum(first + middle, self.values.size - 1)] < limits
            unsettled = low < high
            low, high = np.where(unsettled & less, middle + 1, low), np.where(unsettled & ~less, middle, high)
        return low


@dataclass(frozen=True)
class Moved:
    """Outcomes that a move of limits changed, film by film: they came true where `rises` and else no longer do.

    Attributes:
        films: (n,) how many outcomes of each film.
        rises: (n,) whether they came true.
        draw: (moved,) in which draws, those of the first film first.
    """

    films: IntArray
    rises: npt.NDArray[np.bool_]
    draw: npt.NDArray[np.signedinteger[Any]]

    def counted(self, cells: IntArray, bins: int, draws: int) -> IntArray:
        """Return (bins, draws) by how much the films of each bin change; `cells` (n,) is each film's."""
        place = np.repeat((cells + np.where(self.rises, 0, bins)) * draws, self.films)
        place += self.draw
        up, down = np.bincount(place, minlength=2 * bins * draws).reshape(2, bins, draws)
        return np.asarray(up - down)

    def weighed(self, rows: npt.NDArray[np.floating[Any]], draws: int) -> FloatArray:
        """Return (m, draws) by how much (m, n) rows @ outcomes change."""
        sign = np.repeat(np.where(self.rises, 1.0, -1.0), self.films)
        ends = np.concatenate([[0], np.cumsum(self.films)])
        change = sparse.csc_array((sign, self.draw.astype(np.int32), ends), shape=(draws, self.films.size))
        return np.asarray(change @ np.ascontiguousarray(rows.T, dtype=np.float64)).T


@dataclass(frozen=True)
class Luck:
    """What decides the outcomes of n films in some draws: each film's own numbers, or at times its patient's.

    Attributes:
        own: numbers of the films.
        shared: numbers of the patients, None where none are shared.
        owner: (n,) patient of each film.
        together: (n * draws,) whether the patient's number decides.
    """

    own: Ordered
    shared: Ordered | None
    owner: IntArray
    together: npt.NDArray[np.bool_]

    @classmethod
    def draw(cls, patients: IntArray, within: float, draws: int, seed: int) -> Luck:
        """Draw them for n films: two films of a patient (n,) share theirs with chance `within`."""
        films, count = patients.size, int(patients.max()) + 1
        keeps = films * draws <= KEPT
        own = (_own if keeps else _own.__wrapped__)(films, draws, seed)
        if within <= 0:
            return cls(own, None, patients, np.zeros(0, np.bool_))
        shared, uniform = (_shared if keeps else _shared.__wrapped__)(films, count, draws, seed)
        return cls(own, shared, patients, (uniform < math.sqrt(within)).ravel())

    @property
    def draws(self) -> int:
        """How many samples are drawn."""
        return self.own.draws

    def below(self, limits: FloatArray) -> list[IntArray]:
        """Return the places (n,) of (n,) limits among the numbers of the films, and of their patients."""
        places = [self.own.below(limits, np.arange(self.owner.size))]
        return places if self.shared is None else [*places, self.shared.below(limits, self.owner)]

    def between(self, before: Sequence[IntArray], after: Sequence[IntArray]) -> list[Moved]:
        """Return which outcomes differ between two places of each film's limit."""
        found = []
        for source, start, end in zip((self.own, self.shared), before, after, strict=False):
            assert source is not None  # noqa: S101 - places were found in it
            films = np.abs(end - start)
            row = np.arange(films.size) if source is self.own else self.owner
            first = row * self.draws + np.minimum(start, end) - (np.cumsum(films) - films)
            draw = source.draw[np.repeat(first, films) + np.arange(int(films.sum()))]
            if self.shared is not None:
                decides = self.together[np.repeat(np.arange(films.size) * self.draws, films) + draw]
                decides = ~decides if source is self.own else decides
                ends = np.concatenate([[0], np.cumsum(decides)])[np.concatenate([[0], np.cumsum(films)])]
                draw, films = draw[decides], np.diff(ends)
            found.append(Moved(films, end > start, draw))
        return found


@dataclass
class Outcomes:
    """Sums over films of the outcomes under the last limits asked for.

    Attributes:
        luck: what decides.
        changed: called with a view and `Moved`, by how much the sums (m, draws) of that view's rows change.
        rows: C arrays (m, n), of each view.
    """

    luck: Luck
    changed: Callable[[int, Moved], npt.NDArray[Any]]
    rows: list[npt.NDArray[np.floating[Any]]]
    _places: list[list[IntArray]] = field(default_factory=list)
    _sums: list[FloatArray] = field(default_factory=list)

    def copy(self) -> Outcomes:
        """Return the same, to be moved elsewhere."""
        return Outcomes(self.luck, self.changed, self.rows, list(self._places), [sums.copy() for sums in self._sums])

    def under(self, limits: FloatArray) -> list[FloatArray]:
        """Return C arrays (m, draws) rows @ outcomes: of view k where a number lies below (C, n) limit k and no other.

        Limits do not fall from one view to the next. The arrays are those that are moved next time.
        """
        if not self._places:
            self._begin(limits)
        for view, limit in enumerate(limits):
            places = self.luck.below(limit)
            for moved in self.luck.between(self._places[view], places):
                self._sums[view] += self.changed(view, moved)
                if view + 1 < len(limits):
                    self._sums[view + 1] -= self.changed(view + 1, moved)
            self._places[view] = places
        return self._sums

    def _begin(self, limits: FloatArray) -> None:
        """Begin where every number of a film lies below its limit, or none, whichever is nearer."""
        sources = 1 if self.luck.shared is None else 2
        every = limits > 0.5
        self._places = [[np.where(row, self.luck.draws, 0)] * sources for row in every]
        outcome = np.diff(every.astype(np.float64), axis=0, prepend=0.0)
        self._sums = [
            np.repeat((rows @ one)[:, None], self.luck.draws, axis=1)
            for rows, one in zip(self.rows, outcome, strict=True)
        ]


@lru_cache(maxsize=2)
def _own(films: int, draws: int, seed: int) -> Ordered:
    return Ordered.of(np.random.default_rng([seed, draws]).random((films, draws)))


@lru_cache(maxsize=2)
def _shared(films: int, patients: int, draws: int, seed: int) -> tuple[Ordered, FloatArray]:
    """Return the numbers of the patients, and (films, draws) those that decide who decides."""
    rng = np.random.default_rng([seed, draws])
    rng.random((films, draws))  # the films' own come first
    shared = Ordered.of(rng.random((patients, draws)))
    return shared, rng.random((films, draws))
