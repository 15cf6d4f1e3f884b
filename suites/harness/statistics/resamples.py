"""Which other cohorts could these patients have been? Resampled within class, and left out one at a time.

Of few films the weights of all resamples are an array. Up to `DENSE` films they are looked at as if they were one, some
rows at a time (`by_blocks`); beyond, patients are drawn otherwise, and films counted in sums (`streamed`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from suites.harness.latest import Latest
from suites.harness.statistics.by_blocks import ByBlocks, Counted, OneArray
from suites.harness.statistics.keys import keyed
from suites.harness.statistics.of_patients import OfPatients
from suites.harness.statistics.poisson_draws import Draws, Floats, Integers
from suites.harness.statistics.streamed import (
    Drawn,
    Joined,
    LeftOut,
    Rows,
    Stacked,
    of_films,
)

ARRAY_BYTES = 40 * 1024**2
"""Of the weights of all resamples up to which they are one array (2,600 films)."""
BLOCK_BYTES = 16 * 1024**2
"""Of the weights of patients that are made at a time where they are no array."""
KEPT = 4
"""How many subsets of films are kept."""
RESAMPLES = 2000
DENSE = 20_000
"""Films up to which patients are drawn by a multinomial, and weights are one array or as one would have them."""
LEFT_OUT = 400
"""Groups of patients left out one at a time, about; each is one patient where there are no more."""


_FULL: WeakValueDictionary[int, Floats] = WeakValueDictionary()
"""Weights that cannot be written to and leave no row without a film, by `id`."""
_HELD: WeakValueDictionary[bytes, Resamples] = WeakValueDictionary()
"""Resamples that somebody holds, by a digest of all they are drawn from: of large cohorts drawing takes a second."""


Weights = Floats | Rows


@dataclass(frozen=True)
class Resamples:
    """The patients of a cohort, resampled with replacement within class, once for all comparisons of a run.

    Attributes:
        made: gives the weights; of films of which rates alone are asked, none are made.
        cluster: (N,) index of each film's patient.
        stratum: (G,) the class of each of the cohort's patients, whether or not a film of theirs is among the N.
        counted: how often each of these patients is drawn; None of several cohorts, and where patients are many.
        one_array: whether the weights are one.
    """

    made: Callable[[], Weights] = field(repr=False)
    cluster: Integers
    stratum: Integers
    counted: OfPatients | None = None
    one_array: bool = True

    @property
    def weights(self) -> Weights:
        """(B, N) float64, how often each film counts in each resample; rows made on demand in a large cohort."""
        return self.made()

    @property
    def patients(self) -> int:
        """Number of different patients."""
        return int(np.count_nonzero(np.bincount(self.cluster, minlength=1)))

    @classmethod
    def draw(cls, patients: npt.ArrayLike, labels: npt.ArrayLike, *, seed: int, count: int = RESAMPLES) -> Resamples:
        """Draw `count` resamples; a patient with several labels belongs to the stratum of its first.

        Of n patients of a class n - 1 are drawn and count n / (n - 1) times, so that the variance of a mean is the
        unbiased one also where n is small (Rao, Wu & Yue 1992; drawing n gives (n - 1) / n of it). Beyond `DENSE` films
        each patient counts as often as a Poisson number says, see `streamed`.

        Args:
            patients: (N,) cluster keys.
            labels: (N,) class of each film, the strata.
            seed: of the run; the order of the films does not matter, only keys and labels do.
            count: number of resamples B.

        Returns:
            The same object for the same patients and classes, as long as somebody holds it.
        """
        keys, cluster = keyed(patients)
        first = np.zeros(len(keys), dtype=np.int64)
        _, codes = keyed(labels)
        np.maximum.at(first, cluster, codes)
        streamed = len(cluster) > DENSE
        of = hashlib.sha256(f"{seed}\x1f{count}\x1f{streamed}\x1f{keys.dtype}\x1f{len(keys)}\x1f".encode())
        for part in (keys, cluster, first):
            of.update(np.ascontiguousarray(part).tobytes())
        key = of.digest()
        if (held := _HELD.get(key)) is None:
            if streamed:
                rows = Drawn(Draws(seed, keys, first, count), cluster)
                held = cls(lambda: rows, cluster, first, one_array=False)
            else:
                held = _dense(cluster, first, seed, count)
            _HELD[key] = held
        return held

    def subset(self, keep: npt.NDArray[np.bool_]) -> Resamples:
        """Return the same resamples for some of the films (an exclusion, one class); of all films they are these.

        Those of the last few masks are kept: every condition is counted on the same classes.
        """
        mask = np.asarray(keep)
        if mask.dtype == np.bool_ and mask.all():
            return self
        if mask.dtype != np.bool_:
            return self._some(mask)
        return self._subsets.once(mask.tobytes(), lambda: self._some(mask))

    def _some(self, keep: npt.NDArray[Any]) -> Resamples:
        keep = keep.copy()  # whoever asks may change theirs before the weights are made
        made = cache(partial(_of_some, self.made, keep))
        return Resamples(made, self.cluster[keep], self.stratum, self.counted, self.one_array)

    @cached_property
    def _subsets(self) -> Latest[Resamples]:
        return Latest(KEPT)

    @cached_property
    def groups(self) -> Integers:
        """(G,) the group in which each patient of the cohort is left out, groups within one class."""
        return _groups(self.stratum)

    def of_patients(self) -> Sequence[Floats] | Iterator[Floats]:
        """Yield (G, b) how often each patient with films counts: once each, then in the resamples, in blocks of these.

        Kept where the weights are an array.

        Raises:
            TypeError: the weights are made on demand (see `counted_by_patient`).
        """
        if self.counted is None and not self.one_array:
            raise TypeError("weights that are made on demand have no blocks of patients: multiply with them")
        return self._of_patients if self.one_array else self._blocks_of_patients()

    @property
    def counted_by_patient(self) -> bool:
        """Whether `of_patients` tells how often each patient counts: the weights are an array, or stand for one."""
        return self.counted is not None or self.one_array

    @cached_property
    def _of_patients(self) -> list[Floats]:
        present, first = np.unique(self.cluster, return_index=True)
        if self.counted is None:
            drawn = np.asarray(self.weights).T[first]
        else:
            drawn = self.counted.weights(present, 0, self.counted.numbers.shape[1])
        return [np.concatenate([np.ones((len(first), 1)), drawn], axis=1)]

    def _blocks_of_patients(self) -> Iterator[Floats]:
        present = np.unique(self.cluster)
        yield np.ones((len(present), 1))
        if self.counted is not None:
            count, width = self.counted.numbers.shape[1], max(1, BLOCK_BYTES // (8 * max(1, len(present))))
            yield from (self.counted.weights(present, at, at + width) for at in range(0, count, width))

    @cached_property
    def left_out(self) -> Floats | Rows:
        """(R, N) weights with one patient (or group) at a time left out, almost, and the rest of its class filling in.

        A row lowers its patient's weight by sqrt(k / (k - 1)), k patients in the class, and shares that out in the
        class. The squared changes of a mean add up to its unbiased variance, so nothing has to be scaled afterwards
        (the stratified jackknife; Davison & Hinkley 1997, 3.2). A patient without a film here changes nothing.
        """
        if not self.one_array:
            rows = LeftOut(self.cluster, self.stratum, self.groups)
            return rows if self._binned else OneArray(rows)
        present = np.unique(self.cluster)
        group, stratum = self.groups, self.stratum
        kept = np.ones((int(group.max()) + 1, len(self.cluster)))
        for one in np.unique(stratum[present]):
            members = present[stratum[present] == one]
            names, sizes = np.unique(group[members], return_counts=True)
            if len(names) > 1:
                pull = np.sqrt(len(names) / (len(names) - 1))
                kept[np.ix_(names, stratum[self.cluster] == one)] += pull * (sizes / len(members))[:, None]
                films = np.flatnonzero(stratum[self.cluster] == one)
                kept[group[self.cluster[films]], films] -= pull
        return _kept(np.maximum(kept, 0.0))

    @property
    def rows(self) -> Floats | Rows:
        """(1 + B + R, N) the films counted once each, then `weights`, then `left_out`."""
        once, weights, left_out = np.ones((1, len(self.cluster))), self.weights, self.left_out
        if isinstance(weights, Rows) or isinstance(left_out, Rows):
            return _stands_for_array(Stacked([once, weights, left_out]))
        return np.concatenate([once, weights, left_out])

    def means(self, values: npt.ArrayLike) -> Floats:
        """Return (B, ...) weighted means of (N, ...) values; a resample without any weight gives NaN."""
        return means(values, self.weights)

    def beside(self, other: Resamples) -> Resamples:
        """Return the resamples of these films and then those of `other`, whose patients are others.

        Only where both come from one cohort (the same patients twice) are they drawn and left out together.
        """
        one_array = self.one_array and other.one_array
        made = cache(partial(_beside, self.made, other.made, one_array))
        if self.stratum is other.stratum:
            return Resamples(made, np.concatenate([self.cluster, other.cluster]), self.stratum, one_array=one_array)
        further = int(self.stratum.max()) + 1
        cluster = np.concatenate([self.cluster, other.cluster + len(self.stratum)])
        return Resamples(made, cluster, np.concatenate([self.stratum, other.stratum + further]), one_array=one_array)

    @property
    def _binned(self) -> bool:
        weights = self.weights
        return isinstance(weights, Rows) and weights.binned


def _groups(stratum: Integers) -> Integers:
    """Return (G,) the group in which each patient is left out, from the class of each."""
    together = -(-len(stratum) // LEFT_OUT)
    groups, start = np.zeros(len(stratum), dtype=np.int64), 0
    for one in np.unique(stratum):
        members = np.flatnonzero(stratum == one)
        groups[members] = start + np.arange(len(members)) // together
        start = int(groups[members[-1]]) + 1
    return groups


def _dense(cluster: Integers, first: Integers, seed: int, count: int) -> Resamples:
    """Return resamples by a multinomial in each class: `first` is that of each patient."""
    digest = hashlib.sha256(f"resamples\x1f{seed}".encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
    drawn, one_array = Counted.drawn(cluster, first, generator, count), 8 * count * len(cluster) <= ARRAY_BYTES
    patients = OfPatients(drawn.numbers, drawn.scale, first, _groups(first))
    made = cache(lambda: _kept(drawn[:])) if one_array else lambda: drawn
    return Resamples(made, cluster, first, patients, one_array)


def _of_some(made: Callable[[], Weights], keep: npt.NDArray[Any]) -> Weights:
    """Return the weights of some of the films."""
    some = of_films(made(), keep)
    return some if isinstance(some, Rows) else _kept(some)


def _beside(first: Callable[[], Weights], second: Callable[[], Weights], one_array: bool) -> Weights:
    """Return the weights of films, and then those of others."""
    parts = [first(), second()]
    if one_array:
        return _kept(np.concatenate([np.asarray(part) for part in parts], axis=1))
    return _stands_for_array(Joined(parts))


def _kept(weights: Floats) -> Floats:
    """Return weights that nobody can write to: what has been found of them once stays true."""
    weights.flags.writeable = False
    return weights


def _stands_for_array(rows: Stacked | Joined) -> Rows:
    """Return rows of several kinds as one array would have them, where none of them are binned."""
    binned = any(isinstance(part, Rows) and part.binned for part in rows.parts)
    return rows if binned else OneArray(rows)


def applied(statistic: Callable[..., object], weights: Floats | Rows) -> Floats:
    """Return (..., B) values of a statistic (called with `weights=`), NaN for a row that gives no film any weight."""
    if isinstance(weights, Rows):
        return np.concatenate([applied(statistic, block) for block in weights.blocks()], axis=-1)
    if _FULL.get(id(weights)) is weights:
        return np.asarray(statistic(weights=weights), dtype=np.float64)
    some = weights.sum(axis=1) > 0
    if not some.any():
        return np.full(len(weights), np.nan)
    if some.all() and not weights.flags.writeable:
        _FULL[id(weights)] = weights
    found = np.asarray(statistic(weights=weights if some.all() else weights[some]), dtype=np.float64)
    values = np.full((*found.shape[:-1], len(weights)), np.nan)
    values[..., some] = found
    return values


def ranked(statistic: Callable[..., object], resamples: Resamples) -> tuple[Floats, Floats, Floats]:
    """Return (..., B) and (..., R) values of a rank statistic, and (...) the most by which bins move its distribution.

    Args:
        statistic: called with `weights=`, and `orders=` to see what bins can change (see `calibration.ranking`).
        resamples: of its films.
    """
    if not isinstance(resamples.weights, Rows) or not resamples.weights.binned:
        drawn, alone = (applied(statistic, rows) for rows in (resamples.weights, resamples.left_out))
        return drawn, alone, np.zeros(drawn.shape[:-1])
    found = np.asarray(statistic(weights=resamples.weights, orders=True), dtype=np.float64)
    drawn, ends = found[..., 0, :], np.sort([found.min(axis=-2), found.max(axis=-2)], axis=-1)
    alone = np.asarray(statistic(weights=resamples.left_out), dtype=np.float64)
    return drawn, alone, np.nanmax(np.abs(ends - np.sort(drawn, axis=-1)), axis=(0, -1))


def forget() -> None:
    """Forget what has been drawn for large cohorts, and for some of their films; whoever asks has the same again."""
    for held in list(_HELD.values()):
        if not held.one_array:
            held.__dict__.pop("_subsets", None)
            if isinstance(rows := held.made(), Drawn):
                rows.forget()


def means(values: npt.ArrayLike, weights: Floats | Rows) -> Floats:
    """Return (B, ...) means of (N, ...) values by (B, N) weights; a row without any weight gives NaN."""
    matrix = np.asarray(values, dtype=np.float64)
    flat = matrix.reshape(len(matrix), -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        if isinstance(weights, ByBlocks):
            return np.concatenate([means(matrix, block) for block in weights.blocks()])
        if isinstance(weights, Rows):
            sums = weights @ np.column_stack([flat, np.ones(len(flat))])
            found = sums[:, :-1] / sums[:, -1:]
        else:
            found = (weights @ flat) / weights.sum(axis=1, keepdims=True)
    return np.asarray(found.reshape(len(weights), *matrix.shape[1:]), dtype=np.float64)


def products(weights: Floats | Rows, *values: npt.NDArray[Any]) -> list[Floats]:
    """Return the (B, m) product of (B, N) weights with each of several (N, m) values."""
    return weights.products(*values) if isinstance(weights, ByBlocks) else [weights @ one for one in values]
