"""Which outcomes do uniform numbers decide? Those of numbers below a limit, and what changes where limits move.

An inverted interval draws the same films under some fifty candidates whose chances differ by little. So each film's
numbers are put in order once: what a limit decides is a place in that order, and a limit that moves changes the
outcomes between two places and no others. Sums over films are carried along; counts stay exact whole numbers. A limit
that moves far is faster counted afresh: in bytes, 256ths of the numbers, and from there to the limit itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from calibration.validation import FloatArray, IntArray

BUCKETS = 256  # of [0, 1), in which the search for a limit begins; a byte names one
FAR, FAR_WEIGHED = 1 / 40, 1 / 6  # share of all outcomes beyond which a move takes longer than summing afresh
BYTE = 255  # films whose outcomes one byte can count
KEPT = 2**23  # numbers (64 MB) up to which they are kept in order for whoever draws the same films again


def bucket_of(limits: FloatArray) -> IntArray:
    """Return the bucket (n,) each limit lies in, that of 1 and a little more the last."""
    return np.minimum((limits * BUCKETS).astype(np.int64), BUCKETS - 1)


@dataclass(frozen=True)
class Ordered:
    """Uniform numbers (rows, draws) in [0, 1), each row in order.

    Attributes:
        values: (rows * draws,) ascending within each row.
        draw: (rows * draws,) whose number that is.
        starts: (rows, BUCKETS + 1) how many numbers of a row lie below each multiple of 1 / BUCKETS.
        bucket: (rows, draws) that of each number, as they were drawn.
    """

    values: FloatArray
    draw: npt.NDArray[np.signedinteger[Any]]
    starts: IntArray
    bucket: npt.NDArray[np.uint8]

    @property
    def draws(self) -> int:
        """Numbers in a row."""
        return int(self.bucket.shape[1])

    @classmethod
    def of(cls, numbers: FloatArray) -> Ordered:
        """Put (rows, draws) numbers in order."""
        rows, draws = numbers.shape
        order = np.argsort(numbers, axis=1)
        values = np.take_along_axis(numbers, order, axis=1)
        bucket = (numbers * BUCKETS).astype(np.uint8)
        place = bucket + BUCKETS * np.arange(rows)[:, None]
        counts = np.bincount(place.ravel(), minlength=rows * BUCKETS).reshape(rows, BUCKETS)
        starts = np.concatenate([np.zeros((rows, 1), np.int64), np.cumsum(counts, axis=1)], axis=1)
        narrow = np.int16 if draws <= np.iinfo(np.int16).max else np.int64
        return cls(values.ravel(), order.ravel().astype(narrow), starts, bucket)

    def below(self, limits: FloatArray, rows: IntArray) -> IntArray:
        """Return (n,) how many numbers of some rows (n,) lie below the (n,) limits, which are not negative."""
        bucket, first = bucket_of(limits), rows * self.draws
        place, end = self.starts[rows, bucket] + first, self.starts[rows, bucket + 1] + first
        step = 1 << int((end - place).max()).bit_length() >> 1
        while step:
            last = place + (step - 1)  # of so many further numbers
            inside = last < end
            last[~inside] = 0
            place += step * (inside & (self.values[last] < limits))
            step >>= 1
        return np.asarray(place - first)


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
        bucket: (n, draws) bytes, that of the number that decides.
    """

    own: Ordered
    shared: Ordered | None
    owner: IntArray
    together: npt.NDArray[np.bool_]
    bucket: npt.NDArray[np.uint8]

    @classmethod
    def draw(cls, patients: IntArray, within: float, draws: int, seed: int) -> Luck:
        """Draw them for n films: two films of a patient (n,) share theirs with chance `within`."""
        films, count = patients.size, int(patients.max()) + 1
        keeps = films * draws <= KEPT
        own = (_own if keeps else _own.__wrapped__)(films, draws, seed)
        if within <= 0:
            return cls(own, None, patients, np.zeros(0, np.bool_), own.bucket)
        shared, uniform = (_shared if keeps else _shared.__wrapped__)(films, count, draws, seed)
        together = uniform < math.sqrt(within)
        # Bit by bit: `where` takes twenty times as long on bytes.
        bucket = own.bucket ^ ((own.bucket ^ shared.bucket[patients]) & -together.view(np.uint8))
        return cls(own, shared, patients, together.ravel(), bucket)

    @property
    def draws(self) -> int:
        """How many samples are drawn."""
        return self.own.draws

    def below(self, limits: FloatArray) -> list[IntArray]:
        """Return the places (n,) of (n,) limits among the numbers of the films, and of their patients."""
        places = [self.own.below(limits, np.arange(self.owner.size))]
        return places if self.shared is None else [*places, self.shared.below(limits, self.owner)]

    def starts(self, limits: FloatArray) -> list[IntArray]:
        """Return the places (n,) at which the buckets of (n,) limits begin."""
        bucket = bucket_of(limits)
        places = [self.own.starts[np.arange(self.owner.size), bucket]]
        return places if self.shared is None else [*places, self.shared.starts[self.owner, bucket]]

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
        rows: C arrays (m, n), of each view.
        cells: C arrays (n,), where the rows count films in bins the bin of each; else none.
    """

    luck: Luck
    rows: list[npt.NDArray[np.floating[Any]]]
    cells: tuple[IntArray, ...] = ()
    _places: dict[int, list[IntArray]] = field(default_factory=dict)
    _below: dict[tuple[int, int], npt.NDArray[Any]] = field(default_factory=dict)
    _binned: dict[int, npt.NDArray[np.uint8]] = field(default_factory=dict)

    def copy(self) -> Outcomes:
        """Return the same, to be moved elsewhere."""
        below = {of: sums.copy() for of, sums in self._below.items()}
        return Outcomes(self.luck, self.rows, self.cells, dict(self._places), below, self._binned)

    def under(self, limits: FloatArray) -> list[npt.NDArray[Any]]:
        """Return C arrays (m, draws) rows @ outcomes: of view k where a number lies below (C, n) limit k and no other.

        Limits do not fall from one view to the next. The arrays are those that are moved next time.
        """
        for view, limit in enumerate(limits):
            self._move(view, limit)
        return [
            self._below[view, view] - self._below[view - 1, view] if view else self._below[0, 0]
            for view in range(len(limits))
        ]

    def _move(self, view: int, limit: FloatArray) -> None:
        """Move the sums of the numbers below a view's limit, over its own rows and over those of the next view."""
        places, before = self.luck.below(limit), self._places.get(view)
        sums = [of for of in (view, view + 1) if of < len(self.rows)]
        far = (FAR if self.cells else FAR_WEIGHED) * limit.size * self.luck.draws
        if before is None or sum(int(np.abs(a - b).sum()) for a, b in zip(before, places, strict=True)) > far:
            before, bucket = self.luck.starts(limit), bucket_of(limit).astype(np.uint8)
            for of in sums:
                self._below[view, of] = self._counted(of, bucket) if self.cells else self._weighed(of, bucket)
        for moved in self.luck.between(before, places):
            for of in sums:
                self._below[view, of] += (
                    moved.counted(self.cells[of], len(self.rows[of]), self.luck.draws)
                    if self.cells
                    else moved.weighed(self.rows[of], self.luck.draws)
                )
        self._places[view] = places

    def _weighed(self, of: int, bucket: npt.NDArray[np.uint8]) -> FloatArray:
        """Return (m, draws) rows @ whether each film has a number in a bucket below its (n,)."""
        return np.asarray(self.rows[of] @ (self.luck.bucket < bucket[:, None]).astype(np.float64))

    def _counted(self, of: int, bucket: npt.NDArray[np.uint8]) -> IntArray:
        """Return (bins, draws) how many films of each bin have a number in a bucket below theirs (n,).

        The same as a product with the members of each bin, in a tenth of the time: bytes are added up, of so few films
        at once that none runs over.
        """
        films = np.argsort(self.cells[of], kind="stable")
        if of not in self._binned:
            self._binned[of] = self.luck.bucket[films]
        numbers, bucket = self._binned[of], bucket[films]
        ends = np.searchsorted(self.cells[of][films], np.arange(len(self.rows[of])), side="right")
        counts = np.zeros((len(ends), self.luck.draws), dtype=np.int64)
        start = 0
        for cell, end in enumerate(ends.tolist()):
            for at in range(start, end, BYTE):
                few = slice(at, min(at + BYTE, end))
                below = numbers[few] < bucket[few, None]
                counts[cell] += np.add.reduce(below.view(np.uint8), axis=0, dtype=np.uint8)
            start = end
        return counts


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
