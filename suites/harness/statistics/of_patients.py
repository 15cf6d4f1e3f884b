"""What do films add up to in every resample, where all films of a patient are drawn together? Summed by patient first.

A cohort has fewer patients than films, and how often each is drawn is a whole number. So a rate takes one product of a
row of whole numbers with those of all resamples, in single precision and yet exact; and with one patient left out,
every other one of the class weighs the same, so that those sums are three numbers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from suites.harness.latest import Latest
from suites.harness.statistics.poisson_draws import Floats, Integers

AT_HAND = 2**24
"""Bytes of single precision up to which all numbers are kept so; of more, those of some patients are made at a time."""
TOGETHER = 512
"""Patients whose numbers are then made together."""
EXACT = 2.0**24
"""Whole numbers below which single precision holds every one."""
RATES, FILMS = 256, 16
"""Rates, and how many films of some there are in every resample, that are remembered of a cohort: many claims count the
same films."""


@dataclass(frozen=True)
class OfPatients:
    """How often each patient of a cohort is drawn in each resample, and with whom each is left out.

    Attributes:
        numbers: (G, B) how often each is drawn.
        scale: (G,) what one draw counts; the same for all of a class.
        stratum: (G,) the class of each.
        groups: (G,) the group in which each is left out, groups within one class.
    """

    numbers: npt.NDArray[np.unsignedinteger[Any]]
    scale: Floats
    stratum: Integers
    groups: Integers

    def summed(self, cluster: Integers, values: Floats) -> Summed:
        """Return what (N,) finite values of films, whose patients are at (N,) `cluster`, add up to by patient."""
        size = len(self.stratum)
        total, films = np.bincount(cluster, values, size), np.bincount(cluster, minlength=size)
        return Summed(self, np.asarray(total, dtype=np.float64), films.astype(np.float64))

    def films(self, there: Floats) -> Floats:
        """Return (B,) how many films there are of (G,) patients; remembered for a while."""
        return self._films.once(there.tobytes(), lambda: self.drawn(there))

    def drawn(self, of: Floats) -> Floats:
        """Return (B,) sums of (G,) numbers of patients by how often each counts."""
        whole = bool((of == np.rint(of)).all()) and float(np.abs(of).max(initial=0.0)) * len(of) < EXACT
        if not whole:
            return np.asarray(self._product((of * self.scale)[None], np.float64)[0], dtype=np.float64)
        classes = np.unique(self.stratum[of != 0])
        scale = np.array([self.scale[self.stratum == one][0] for one in classes], dtype=np.float64)
        rows = np.where(self.stratum == classes[:, None], of, 0.0)
        return np.asarray(scale @ self._product(rows, np.float32).astype(np.float64), dtype=np.float64)

    def _product(self, rows: Floats, kind: type[np.floating[Any]]) -> npt.NDArray[Any]:
        """Return (m, B) of (m, G) rows by how often patients are drawn."""
        rows = rows.astype(kind)
        if kind is np.float32 and 4 * self.numbers.size <= AT_HAND:
            return np.asarray(rows @ self._single)
        found = np.zeros((len(rows), self.numbers.shape[1]), dtype=kind)
        for at in range(0, len(self.numbers), TOGETHER):
            found += rows[:, at : at + TOGETHER] @ self.numbers[at : at + TOGETHER].astype(kind)
        return found

    @cached_property
    def _single(self) -> npt.NDArray[np.float32]:
        return self.numbers.astype(np.float32)

    @cached_property
    def _films(self) -> Latest[Floats]:
        return Latest(FILMS)

    @cached_property
    def rates(self) -> Latest[Any]:
        """The rates that were asked for last, by what they are made from."""
        return Latest(RATES)

    def left_out(self, there: Floats, *of: Floats) -> list[Floats]:
        """Return (R,) sums of (G,) numbers of patients with one group at a time left out, see `Resamples.left_out`.

        Args:
            there: (G,) above 0 for patients who have films.
            of: what is added up.
        """
        stratum, rows = self.stratum_of_row, len(self.stratum_of_row)
        present = np.flatnonzero(there > 0)
        members = np.bincount(self.stratum[present], minlength=int(self.stratum.max()) + 1)
        sizes = np.bincount(self.groups[present], minlength=rows)
        groups = np.bincount(stratum[sizes > 0], minlength=len(members))[stratum]
        moved = (sizes > 0) & (groups > 1)
        pull = np.sqrt(groups / np.where(moved, groups - 1, 1))
        others = np.where(moved, 1 + pull * (sizes / np.maximum(members[stratum], 1)), 1.0)
        own = np.where(moved, np.maximum(others - pull, 0.0), 1.0)
        found = []
        for one in of:
            mine = np.bincount(self.groups, one, minlength=rows)
            of_class = np.bincount(self.stratum, one, minlength=len(members))[stratum]
            found.append(np.asarray(one.sum() + (others - 1) * (of_class - mine) + (own - 1) * mine, dtype=np.float64))
        return found

    @cached_property
    def stratum_of_row(self) -> Integers:
        """(R,) the class of each group of patients that is left out."""
        stratum = np.zeros(int(self.groups.max()) + 1, dtype=np.int64)
        stratum[self.groups] = self.stratum
        return stratum

    def weights(self, present: Integers, start: int, stop: int) -> Floats:
        """Return (P, stop - start) how often these patients count in these resamples."""
        return self.numbers[present, start:stop] * self.scale[present, None]


@dataclass(frozen=True)
class Summed:
    """What values of some films add up to, by patient.

    Attributes:
        of: the patients of the cohort.
        total: (G,) sums of the values.
        there: (G,) how many of the films each patient has.
    """

    of: OfPatients
    total: Floats
    there: Floats

    @property
    def key(self) -> bytes:
        """Digest of the two, which tells means of one cohort apart."""
        return hashlib.blake2b(self.total.tobytes() + self.there.tobytes(), digest_size=16).digest()

    @property
    def patients(self) -> int:
        """How many patients the films are of."""
        return int(np.count_nonzero(self.there))

    def means(self) -> tuple[Floats, Floats]:
        """Return (B,) means on the resamples, NaN on one without any of the films, and (R,) with patients left out."""
        total, films = self.of.left_out(self.there, self.total, self.there)
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.of.drawn(self.total) / self.of.films(self.there), total / films
