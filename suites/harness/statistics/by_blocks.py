"""How is one array of weights looked at without being in memory? A block of its rows at a time, digit for digit.

Of 10,000 films the weights of all resamples are 160 MB, and what is made of them takes as much again. Kept are whole
numbers, a byte for each patient and resample; of these, blocks of rows are made as the array would have them, and
multiplied by the library that would multiply the array. A product is its very digits: each row is a sum of its own, and
blocks end where the library's own pieces of a matrix do (`ROWS`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from suites.harness.statistics.poisson_draws import Floats, Integers
from suites.harness.statistics.streamed import Rows, Values

BYTES = 2**23
"""Of the rows that are made together, about: in the cache of a processor, and no growth of a run's memory."""
ROWS = 64
"""A block has a multiple of so many rows, so that libraries cut it as they would cut the whole array."""
DRAWN_BYTES = 2**24
"""Of numbers as the generator gives them, 8 bytes each."""


class ByBlocks(Rows):
    """Rows whose products and sums are those of the array they stand for."""

    binned: ClassVar[bool] = False

    def blocks(self) -> Iterator[Floats]:
        """Yield the rows in blocks of about 8 MB."""
        step = max(1, BYTES // (8 * ROWS * max(self.shape[1], 1))) * ROWS
        return (self[at : at + step] for at in range(0, len(self), step))

    def __matmul__(self, values: Values) -> Floats:
        """Return (rows, m) sums of (N, m) values, or (rows,) of (N,)."""
        return np.concatenate([np.asarray(block @ values) for block in self.blocks()])

    def sum(self, axis: int = 1, *, keepdims: bool = False) -> Floats:
        """Return (rows,) sums over the films, or (rows, 1)."""
        if axis != 1:
            raise ValueError("only the sum over films is made")
        return np.concatenate([block.sum(axis=1, keepdims=keepdims) for block in self.blocks()])

    def products(self, *values: Values) -> list[Floats]:
        """Return the product with each of several (N, m) values; every block is made once for all of them."""
        found = [[np.asarray(block @ one) for one in values] for block in self.blocks()]
        return [np.concatenate(parts) for parts in zip(*found, strict=True)]

    def in_parts(self, values: Values, rows: int) -> Iterator[Floats]:
        """Yield the product with (N, m) values so many rows at a time."""
        return (np.asarray(self[at : at + rows] @ values) for at in range(0, len(self), rows))

    def sums(self, whole: Values, start: int = 0, stop: int | None = None) -> Floats:
        """Return (stop - start, m) sums of whole numbers (N, m)."""
        return np.asarray((self @ whole)[start:stop])


@dataclass(frozen=True)
class Counted(ByBlocks):
    """The weights of a bootstrap: how often each patient is drawn, and for how much that counts.

    Attributes:
        numbers: (G, B) how often each patient of the cohort is drawn in each resample.
        scale: (G,) what one draw of a patient counts.
        cluster: (N,) place of each film's patient among those of the cohort.
    """

    numbers: npt.NDArray[np.unsignedinteger[Any]]
    scale: Floats
    cluster: Integers

    @classmethod
    def drawn(cls, cluster: Integers, stratum: Integers, generator: np.random.Generator, count: int) -> Counted:
        """Return `count` resamples by a multinomial in each class.

        Of n patients of a class n - 1 are drawn, each counts n / (n - 1).

        Args:
            cluster: (N,) place of each film's patient.
            stratum: (G,) the class of each patient.
            generator: that draws, class by class and resample by resample.
            count: of the resamples B.
        """
        numbers = np.ones((len(stratum), count), dtype=np.uint8)
        scale = np.ones(len(stratum))
        for one in np.unique(stratum):
            members = np.flatnonzero(stratum == one)
            size = len(members)
            if size == 1:
                continue
            scale[members] = size / (size - 1)
            step, share = max(1, DRAWN_BYTES // (8 * size)), np.full(size, 1 / size)
            for at in range(0, count, step):
                drawn = generator.multinomial(size - 1, share, min(step, count - at))
                needed = np.min_scalar_type(int(drawn.max()))
                if needed.itemsize > numbers.itemsize:
                    numbers = numbers.astype(needed)
                numbers[members, at : at + step] = drawn.T
        return cls(numbers, scale, cluster)

    @property
    def shape(self) -> tuple[int, int]:
        """(B, N)."""
        return self.numbers.shape[1], len(self.cluster)

    def films(self, keep: npt.NDArray[Any]) -> Counted:
        """Return the same for some of the films, by their places or a mask."""
        return Counted(self.numbers, self.scale, self.cluster[keep])

    def made(self, start: int, stop: int) -> Floats:
        """Return (stop - start, N) of these rows, film after film in memory."""
        _, place = self._present
        return np.asarray(self.of_patients(start, stop)[place].T)

    @property
    def present(self) -> int:
        """Number of patients with films."""
        return len(self._present[0])

    def of_patients(self, start: int, stop: int) -> Floats:
        """Return (P, stop - start) how often each patient with films counts in these rows."""
        present, _ = self._present
        return self.numbers[present, start:stop] * self.scale[present, None]

    @cached_property
    def _present(self) -> tuple[Integers, Integers]:
        """The patients of the films, and (N,) the place of each film's patient among them."""
        present, place = np.unique(self.cluster, return_inverse=True)
        return present, place


@dataclass(frozen=True)
class OneArray(ByBlocks):
    """Rows of whatever kind, as one array would have them.

    Attributes:
        of: what makes them.
    """

    of: Rows

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, N)."""
        return self.of.shape

    def films(self, keep: npt.NDArray[Any]) -> OneArray:
        """Return the same for some of the films, by their places or a mask."""
        return OneArray(self.of.films(keep))

    def made(self, start: int, stop: int) -> Floats:
        """Return (stop - start, N) of these rows."""
        return self.of.made(start, stop)
