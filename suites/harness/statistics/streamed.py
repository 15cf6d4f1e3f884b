"""How often does each film count where a matrix of all resamples would not fit? As much of it as is looked at.

Sums are exact: values become whole multiples of a power of two, few enough that float64 holds every sum of them, so
that neither the order of films nor of shards, nor the number of threads, changes a digit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

from suites.harness.statistics.poisson_draws import Draws, Floats, Integers

Values: TypeAlias = npt.NDArray[Any] | sparse.csr_matrix
"""(N, m) numbers of films; sparse where each film falls in one bin of many."""

BLOCK = 2**23
"""Bytes of weights that are looked at together."""
NUMBERS = 2**21
"""Bytes of the numbers of patients that are multiplied with bins together."""
PATIENTS = 128
"""Patients that are multiplied together: their numbers stay in the cache of a processor."""


class Rows(ABC):
    """A matrix (rows, N) of weights of which slices of rows, and its products, are made when they are asked for.

    Attributes:
        binned: whether rank measures count films in bins; else they are sorted, resample by resample.
    """

    binned: ClassVar[bool] = True

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(rows, N)."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Floats:
        """Return (b, N) of these rows, which lie one after the other."""
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise IndexError("rows of weights are made one after the other")
        return self.made(start, max(stop, start))

    def __matmul__(self, values: Values) -> Floats:
        """Return (rows, m) sums of (N, m) values, an array or a sparse matrix; exact, see above."""
        flat = values if sparse.issparse(values) or values.ndim == 2 else values[:, None]
        whole, unit = _whole(flat)
        sums = self.sums(whole) * unit
        return sums if flat is values else sums[:, 0]

    def in_parts(self, values: Values, rows: int) -> Iterator[Floats]:
        """Yield the product with (N, m) values so many rows at a time: of bins by the thousand it is large."""
        whole, unit = _whole(values)
        for at in range(0, len(self), rows):
            yield self.sums(whole, at, min(at + rows, len(self))) * unit

    def sum(self, axis: int = 1, *, keepdims: bool = False) -> Floats:
        """Return (rows,) sums over the films, or (rows, 1)."""
        if axis != 1:
            raise ValueError("only the sum over films is made")
        sums = self @ np.ones((self.shape[1], 1))
        return sums if keepdims else sums[:, 0]

    def blocks(self) -> Iterator[Floats]:
        """Yield the rows in blocks of about 8 MB."""
        step = max(1, BLOCK // (8 * max(self.shape[1], 1)))
        return (self[at : at + step] for at in range(0, len(self), step))

    @abstractmethod
    def films(self, keep: npt.NDArray[Any]) -> Rows:
        """Return the same for some of the films, by their places or a mask."""

    @abstractmethod
    def made(self, start: int, stop: int) -> Floats:
        """Return (stop - start, N) of these rows."""

    @abstractmethod
    def sums(self, whole: Values, start: int = 0, stop: int | None = None) -> Floats:
        """Return (stop - start, m) sums of whole numbers (N, m), dense or sparse, as these rows have them."""


def _whole(values: Values) -> tuple[Values, Floats]:
    """Return values as whole numbers, and what one of them is worth (m,); a column that is not finite is worth NaN."""
    if sparse.issparse(values):
        return values, np.ones(values.shape[1])
    with np.errstate(invalid="ignore"):
        if values.dtype.kind in "biu" or (values == np.rint(values)).all():
            return values, np.ones(values.shape[1])
    finite = np.isfinite(values).all(axis=0)
    known = np.where(finite, values, 0.0)
    # A number is at most 255, so a sum of N of them, times the largest value, stays below 2^53.
    room = 45 - np.ceil(np.log2(np.maximum(np.abs(known).max(axis=0), 2.0**-500) * max(len(known), 1)))
    unit = np.exp2(-room)
    return np.rint(known / unit), np.where(finite, unit, np.nan)


@dataclass(frozen=True)
class Drawn(Rows):
    """The weights of a bootstrap.

    Attributes:
        draws: of the whole cohort.
        cluster: (N,) place of each film's patient among those of the cohort.
    """

    draws: Draws
    cluster: Integers

    @property
    def shape(self) -> tuple[int, int]:
        """(B, N)."""
        return self.draws.count, len(self.cluster)

    def films(self, keep: npt.NDArray[Any]) -> Drawn:
        """Return the same for some of the films, by their places or a mask."""
        return Drawn(self.draws, self.cluster[keep])

    def made(self, start: int, stop: int) -> Floats:
        """Return (stop - start, N) of these rows."""
        present, place = self._present
        numbers = self.draws.numbers(present, start, stop)
        weights = numbers * self.draws.scale[self.draws.stratum[present], start:stop]
        return np.asarray(weights[place].T)

    @cached_property
    def _present(self) -> tuple[Integers, Integers]:
        """The patients of the films, and (N,) the place of each film's patient among them."""
        present, place = np.unique(self.cluster, return_inverse=True)
        return present, place

    @cached_property
    def _order(self) -> Integers:
        """(N,) the films by class and patient."""
        return np.lexsort((self.cluster, self.draws.stratum[self.cluster]))

    def forget(self) -> None:
        """Forget what is kept beside what all of it is made of."""
        for of, names in ((self, ("_present", "_order")), (self.draws, ("_kept",))):
            for name in names:
                of.__dict__.pop(name, None)

    def in_parts(self, values: Values, rows: int) -> Iterator[Floats]:
        """Yield the product with (N, m) values so many rows at a time."""
        return self._in_bins(values, rows, 0, len(self)) if sparse.issparse(values) else super().in_parts(values, rows)

    def sums(self, whole: Values, start: int = 0, stop: int | None = None) -> Floats:
        """Return (stop - start, m) sums of whole numbers (N, m), dense or sparse, as these rows have them."""
        if sparse.issparse(whole):
            stop = len(self) if stop is None else stop
            return next(self._in_bins(whole, stop - start, start, stop))
        order, cluster = self._order, self.cluster[self._order]
        first = np.flatnonzero(np.r_[True, np.diff(cluster) != 0]) if len(cluster) else np.zeros(0, dtype=np.int64)
        patients, ends = cluster[first], np.r_[first, len(cluster)]
        stratum = self.draws.stratum[patients]
        stop = self.draws.count if stop is None else stop
        found = np.zeros((whole.shape[1], stop - start))
        for one in np.unique(stratum):
            low, high = np.searchsorted(stratum, [one, one + 1])
            sums = np.zeros_like(found)
            for at in range(int(low), int(high), PATIENTS):
                end = min(at + PATIENTS, int(high))
                part = whole[order[ends[at] : ends[end]]]
                numbers = self.draws.numbers(patients[at:end], start, stop).astype(np.float64)
                of_patients = np.add.reduceat(part.astype(np.float64), ends[at:end] - ends[at], axis=0)
                sums += np.ascontiguousarray(of_patients.T) @ numbers
            sums *= self.draws.scale[one, start:stop]
            found += sums
        return np.ascontiguousarray(found.T)

    def _in_bins(self, whole: sparse.csr_matrix, rows: int, first: int, after: int) -> Iterator[Floats]:
        """Yield the sums of whole numbers (N, m) in bins so many rows at a time; films are added up once for all."""
        patients, place = self._present
        films = whole.shape[0]
        member = sparse.csr_matrix((np.ones(films), (place, np.arange(films))), shape=(len(patients), films))
        of_patients = (member @ whole).tocsr()
        step, stratum = max(1, NUMBERS // (8 * rows)), self.draws.stratum[patients]
        pieces = [
            (one, members[at : at + step])
            for one in np.unique(stratum).tolist()
            for members in (np.flatnonzero(stratum == one),)
            for at in range(0, len(members), step)
        ]
        turned = [of_patients[members].T.tocsr() for _, members in pieces]
        for start in range(first, after, rows):
            stop = min(start + rows, after)
            found, sums = (np.zeros((whole.shape[1], stop - start)) for _ in range(2))
            for number, (one, members) in enumerate(pieces):
                numbers = self.draws.numbers(patients[members], start, stop).astype(np.float64)
                sums += turned[number] @ numbers
                if number + 1 == len(pieces) or pieces[number + 1][0] != one:  # of a class all are in
                    sums *= self.draws.scale[one, start:stop]
                    found += sums
                    sums[:] = 0.0
            yield np.ascontiguousarray(found.T)


@dataclass(frozen=True)
class LeftOut(Rows):
    """The weights of a jackknife: one group of patients left out at a time, see `Resamples.left_out`.

    Attributes:
        cluster: (N,) place of each film's patient among those of the cohort.
        stratum: (G,) the class of each patient.
        group: (G,) the group in which each patient is left out, groups within one class.
    """

    cluster: Integers
    stratum: Integers
    group: Integers

    @property
    def shape(self) -> tuple[int, int]:
        """(R, N)."""
        return int(self.group.max()) + 1, len(self.cluster)

    def films(self, keep: npt.NDArray[Any]) -> LeftOut:
        """Return the same for some of the films, by their places or a mask."""
        return LeftOut(self.cluster[keep], self.stratum, self.group)

    @cached_property
    def _parts(self) -> list[tuple[int, Integers, Floats, Floats]]:
        """For each class: its code, its groups, what their films keep of their weight, and what all others get."""
        present = np.unique(self.cluster)
        parts = []
        for one in np.unique(self.stratum[present]):
            members = present[self.stratum[present] == one]
            names, sizes = np.unique(self.group[members], return_counts=True)
            if len(names) > 1:
                pull = np.sqrt(len(names) / (len(names) - 1))
                others = 1 + pull * (sizes / len(members))
                parts.append((int(one), names, np.maximum(others - pull, 0.0), others))
        return parts

    def made(self, start: int, stop: int) -> Floats:
        """Return (stop - start, N) of these rows."""
        rows = np.ones((stop - start, len(self.cluster)))
        stratum, group = self.stratum[self.cluster], self.group[self.cluster]
        for one, names, own, others in self._parts:
            inside = np.flatnonzero(stratum == one)
            for name, mine, theirs in zip(names, own, others, strict=True):
                if start <= name < stop:
                    rows[name - start, inside] = np.where(group[inside] == name, mine, theirs)
        return rows

    def sums(self, whole: Values, start: int = 0, stop: int | None = None) -> Floats:
        """Return (stop - start, m) sums of whole numbers (N, m), dense or sparse, as these rows have them."""
        groups, films = self.shape
        stop = groups if stop is None else stop
        stratum, group = self.stratum[self.cluster], self.group[self.cluster]
        member = sparse.csr_matrix((np.ones(films), (group, np.arange(films))), shape=(groups, films))
        of_groups: Any = member @ whole
        of_groups = of_groups.tocsr() if sparse.issparse(of_groups) else np.asarray(of_groups, dtype=np.float64)
        sums = np.repeat(np.asarray(of_groups.sum(axis=0)).reshape(1, -1), stop - start, axis=0)
        for one, names, own, others in self._parts:
            inside = np.asarray(of_groups[np.unique(group[stratum == one])].sum(axis=0)).reshape(1, -1)
            here = (names >= start) & (names < stop)
            mine = of_groups[names[here]]
            if sparse.issparse(mine):  # of bins by the thousand only these rows
                mine = mine.toarray()
            sums[names[here] - start] += (others[here] - 1)[:, None] * (inside - mine) + (own[here] - 1)[:, None] * mine
        return sums


@dataclass(frozen=True)
class Stacked(Rows):
    """Rows of weights of the same films, one kind after the other.

    Attributes:
        parts: (rows, N) each, arrays or made when asked for.
    """

    parts: Sequence[Floats | Rows]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, N)."""
        return sum(map(len, self.parts)), self.parts[0].shape[1]

    def films(self, keep: npt.NDArray[Any]) -> Stacked:
        """Return the same for some of the films, by their places or a mask."""
        return Stacked([of_films(part, keep) for part in self.parts])

    def made(self, start: int, stop: int) -> Floats:
        """Return (stop - start, N) of these rows."""
        starts = np.cumsum([0, *map(len, self.parts)])[:-1]
        return np.ascontiguousarray(np.concatenate([
            part[max(start - first, 0) : max(stop - first, 0)]
            for part, first in zip(self.parts, starts.tolist(), strict=True)
        ]))  # fmt: skip

    def sums(self, whole: Values, start: int = 0, stop: int | None = None) -> Floats:
        """Return (stop - start, m) sums of whole numbers (N, m), dense or sparse, as these rows have them."""
        sums = [part.sums(whole) if isinstance(part, Rows) else part @ whole for part in self.parts]
        return np.concatenate(sums)[start:stop]


@dataclass(frozen=True)
class Joined(Rows):
    """The weights of films of several cohorts, one after the other.

    Attributes:
        parts: (rows, n) each, arrays or made when asked for.
    """

    parts: Sequence[Floats | Rows]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, N)."""
        return len(self.parts[0]), sum(part.shape[1] for part in self.parts)

    def films(self, keep: npt.NDArray[Any]) -> Joined:
        """Return the same for some of the films, by a mask."""
        starts = np.cumsum([part.shape[1] for part in self.parts])[:-1]
        return Joined([of_films(part, one) for part, one in zip(self.parts, np.split(keep, starts), strict=True)])

    def made(self, start: int, stop: int) -> Floats:
        """Return (stop - start, N) of these rows."""
        return np.concatenate([part[start:stop] for part in self.parts], axis=1)

    def sums(self, whole: Values, start: int = 0, stop: int | None = None) -> Floats:
        """Return (stop - start, m) sums of whole numbers (N, m), dense or sparse, as these rows have them."""
        stop = len(self) if stop is None else stop
        firsts = np.cumsum([0, *(part.shape[1] for part in self.parts)])
        found = np.zeros((stop - start, whole.shape[1]))
        for part, first, after in zip(self.parts, firsts, firsts[1:], strict=False):
            values = whole[first:after]
            found += part.sums(values, start, stop) if isinstance(part, Rows) else part[start:stop] @ values
        return found


def of_films(weights: Floats | Rows, keep: npt.NDArray[Any]) -> Floats | Rows:
    """Return the weights of some of the films, by their places or a mask."""
    return weights.films(keep) if isinstance(weights, Rows) else weights[:, keep]
