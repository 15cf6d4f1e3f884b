"""What do many parts of one cohort show, each film counting more or less in each, on the same resamples of patients?

A group of patients and all others, raw and with both of one mix, are sixty such parts of the same films. All films of a
patient are drawn and left out together, so what a part sums up is summed by patient once, and one product with how
often each patient is drawn gives the sums of all parts on all resamples. With one patient left out every other one of
the class weighs the same, so that those sums are three numbers. Digits are those of `resamples.applied`, up to the
order in which films are added up (about 1e-15).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import sparse

from suites.harness.statistics.poisson_draws import Floats, Integers
from suites.harness.statistics.resamples import Resamples

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Values:
    """A statistic of S parts.

    Attributes:
        estimate: (S,) on the films themselves.
        drawn: (S, B) on the resamples, NaN where a resample has no film of the part.
        left_out: (S, R) as `Resamples.left_out` leaves patients of the part out.
    """

    estimate: Floats
    drawn: Floats
    left_out: Floats

    @classmethod
    def of(cls, counted: Floats, left_out: Floats) -> Values:
        """Return the values of (S, 1 + B), the films themselves first, and (S, R)."""
        return cls(counted[:, 0], counted[:, 1:], left_out)


@dataclass(frozen=True)
class Sides:
    """Parts of the films of a cohort.

    Attributes:
        resamples: of the patients of all films, counted by patient (`Resamples.counted_by_patient`).
        inside: (S, N) the films of each part; their patients are left out in turn.
        factor: (S, N) how often each film counts, not negative; 0 outside.
    """

    resamples: Resamples
    inside: Bools
    factor: Floats

    @classmethod
    def of(cls, resamples: Resamples, parts: Sequence[tuple[Bools, Floats | None]]) -> Sides:
        """Return the parts of (N,) films, each with how often its films count; once each by default."""
        inside = np.array([films for films, _ in parts], dtype=bool)
        factor = np.array([films if counts is None else films * counts for films, counts in parts], dtype=np.float64)
        return cls(resamples, inside, factor)

    @cached_property
    def patients(self) -> Integers:
        """(S,) number of patients of each part."""
        return np.asarray(np.count_nonzero(self._present, axis=1), dtype=np.int64)

    def means(self, values: npt.ArrayLike) -> Values:
        """Return the means of (N,) values, finite wherever a film counts."""
        numbers = np.where(self.factor > 0, np.asarray(values, dtype=np.float64), 0.0)
        columns = np.stack([self.by_patient(self.factor * numbers), self.by_patient(self.factor)], axis=1)
        counted = self.drawn(columns.reshape(-1, columns.shape[-1])).reshape(*columns.shape[:2], -1)
        alone = self.alone(columns)
        return Values.of(ratio(counted[:, 0], counted[:, 1]), ratio(alone[:, 0], alone[:, 1]))

    def by_patient(self, values: Floats) -> Floats:
        """Return (..., G) sums over the films of each patient of (..., N) values."""
        flat = values.reshape(-1, values.shape[-1])
        return np.ascontiguousarray((self._owner @ flat.T).T).reshape(*values.shape[:-1], -1)

    def drawn(self, columns: Floats, *, squared: bool = False) -> Floats:
        """Return (C, 1 + B) sums of (C, G) columns by how often patients are drawn (squared); counted once first."""
        blocks = self.resamples.of_patients()
        return side_by_side([columns @ (block * block if squared else block) for block in blocks])

    def alone(self, columns: Floats, *, squared: bool = False) -> Floats:
        """Return (S, C, R) sums of (S, C, G) columns, those of each part as its patients are left out."""
        others, own = self.left_out_weights
        if squared:
            others, own = others**2, own**2
        sums = columns.reshape(-1, columns.shape[-1]) @ self._strata
        of_group = (columns.reshape(-1, columns.shape[-1]) @ self._rows).reshape(*columns.shape[:2], -1)
        stratum = self.stratum_of_row
        mine = sums[:, stratum].reshape(of_group.shape)
        rest = (sums @ (1 - np.eye(sums.shape[1])))[:, stratum].reshape(of_group.shape)
        return np.asarray(rest + others[:, None] * (mine - of_group) + own[:, None] * of_group)

    @cached_property
    def left_out_weights(self) -> tuple[Floats, Floats]:
        """(S, R) what others of the class weigh with a group of patients left out, and (S, R) what that one weighs."""
        present = self._present.astype(np.float64)
        sizes, members = present @ self._rows, present @ self._strata
        row_of = sparse.csr_matrix(
            (np.ones(len(self.stratum_of_row)), (np.arange(len(self.stratum_of_row)), self.stratum_of_row)),
            shape=(len(self.stratum_of_row), members.shape[1]),
        )
        groups = (((sizes > 0).astype(np.float64)) @ row_of)[:, self.stratum_of_row]
        moved = (sizes > 0) & (groups > 1)
        pull = np.sqrt(groups / np.where(moved, groups - 1, 1.0))
        others = 1 + pull * (sizes / np.maximum(members[:, self.stratum_of_row], 1))
        return np.where(moved, others, 1.0), np.where(moved, np.maximum(others - pull, 0.0), 1.0)

    @cached_property
    def stratum_of_row(self) -> Integers:
        """(R,) the class of each group of patients that is left out."""
        stratum = np.zeros(int(self.resamples.groups.max()) + 1, dtype=np.int64)
        stratum[self.resamples.groups] = self.resamples.stratum
        return stratum

    @cached_property
    def owner(self) -> Integers:
        """(N,) the place of each film's patient among those who have films."""
        return np.unique(self.resamples.cluster, return_inverse=True)[1].astype(np.int64)

    @cached_property
    def kinds(self) -> tuple[Integers, Floats]:
        """(N,) the kind of each film and (K, S) how often those of a kind, alike in every part, count."""
        return kinds_of(self.factor)

    @cached_property
    def _known(self) -> Integers:
        """(G,) who the patients with films are."""
        return np.unique(self.resamples.cluster)

    @cached_property
    def _owner(self) -> sparse.csr_matrix:
        return member_of(self.owner, len(self._known)).T.tocsr()

    @cached_property
    def _present(self) -> Bools:
        """(S, G) whether a part has a film of each patient."""
        return np.asarray(self.by_patient(self.inside.astype(np.float64)) > 0)

    @cached_property
    def _rows(self) -> sparse.csr_matrix:
        """(G, R) in which group each patient is left out."""
        return member_of(self.resamples.groups[self._known], len(self.stratum_of_row))

    @cached_property
    def _strata(self) -> sparse.csr_matrix:
        """(G, strata) of which class each patient is."""
        return member_of(self.resamples.stratum[self._known], int(self.resamples.stratum.max()) + 1)


def kinds_of(factor: Floats) -> tuple[Integers, Floats]:
    """Return (n,) the kind of each film and (K, S) how often those of a kind count, from (S, n)."""
    known: dict[bytes, int] = {}
    rows = np.ascontiguousarray(factor.T)
    kind = np.array([known.setdefault(row.tobytes(), len(known)) for row in rows], dtype=np.int64)
    return kind, rows[np.unique(kind, return_index=True)[1]]


def side_by_side(blocks: Sequence[Floats]) -> Floats:
    """Return (n, b) columns of all blocks; a single one as it is."""
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)


def ratio(top: npt.NDArray[np.generic], bottom: npt.NDArray[np.generic]) -> Floats:
    """Return top / bottom, NaN where the bottom is nothing."""
    above, below = np.asarray(top, dtype=np.float64), np.asarray(bottom, dtype=np.float64)
    nothing = np.full(np.broadcast(above, below).shape, np.nan)
    return np.asarray(np.divide(above, below, out=nothing, where=below > 0))


def member_of(which: Integers, of: int) -> sparse.csr_matrix:
    """Return (n, of) 1 where each of n belongs."""
    return sparse.csr_matrix((np.ones(len(which)), (np.arange(len(which)), which)), shape=(len(which), of))
