"""How well are marked films told from all others within many parts of a cohort, on the same resamples?

An AUROC is a sum over pairs of films. Films that count alike in every part are one kind (women filmed lying), so that
the pairs of two kinds are counted once, and every part adds up those of its own kinds. The films of one kind are gone
through in order of their score, for all resamples at once, and what lies below each film of the rarer mark is noted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from suites.harness.statistics.poisson_draws import Floats, Integers
from suites.harness.statistics.sides import Bools, Sides, Values, kinds_of, ratio, side_by_side

Kinds = tuple[Integers, Floats]
"""Of some films the kind (n,), and how often those of each kind count in every part (K, S)."""
KINDS = 3
"""Kinds of film, for each part, up to which counting pairs of kinds costs less than the pairs of each part."""


def aurocs(sides: Sides, scores: Floats, marked: Bools) -> Values:
    """Return the AUROC of marked films against the others in each part; NaN where one of the two has no weight.

    Args:
        sides: the parts, each with films of both kinds.
        scores: (N,) finite wherever a film counts; higher where it is more likely marked.
        marked: (N,) which films should score higher.
    """
    films = np.flatnonzero((sides.factor > 0).any(axis=0))
    kind, factor = sides.kinds
    row = sides.resamples.groups[sides.resamples.cluster[films]]
    some = Films(scores[films], marked[films], sides.owner[films], row, kind[films], factor.T)
    drawn = side_by_side([some.drawn(block) for block in sides.resamples.of_patients()])
    both = np.stack([sides.by_patient(sides.factor * mark) for mark in (marked, ~marked)], axis=1)
    weights = sides.alone(both)
    pairs = some.left_out(sides.stratum_of_row, *sides.left_out_weights)
    return Values.of(drawn, ratio(pairs, weights[:, 0] * weights[:, 1]))


@dataclass(frozen=True)
class Films:
    """Films that count in some part.

    Attributes:
        scores: (n,).
        marked: (n,).
        owner: (n,) their patients.
        row: (n,) with which group of patients each is left out.
        kind: (n,) films of a kind count alike in every part.
        factor: (S, K) how often.
    """

    scores: Floats
    marked: Bools
    owner: Integers
    row: Integers
    kind: Integers
    factor: Floats

    def drawn(self, weights: Floats) -> Floats:
        """Return (S, b) AUROCs by (G, b) weights of patients."""
        if self._many:
            return np.concatenate([part.drawn(weights) for part in self._halves])
        counts = self._counts
        (marked, of_marked), (others, of_others) = self._by_mark
        (kind, factor), (other_kind, other_factor) = of_marked, of_others
        totals = [
            often.T @ (_by_kind(which, self.owner[own], counts[own], len(weights)) @ weights)
            for own, which, often in ((marked, kind, factor), (others, other_kind, other_factor))
        ]
        scores = self.scores
        if len(others) * len(factor) + len(marked) < len(marked) * len(other_factor) + len(others):  # rather walk these
            scores, marked, others = -scores, others, marked
            kind, factor, other_kind, other_factor = other_kind, other_factor, kind, factor
        order = np.argsort(scores[marked], kind="stable")
        points, kind = marked[order], kind[order]
        found = np.zeros((len(self.factor), weights.shape[1]))
        for one, often in enumerate(other_factor):
            mine = others[other_kind == one]
            held = ((factor > 0) & (often > 0)).any(axis=1)[kind]  # against films of no common part nothing is held
            against, of_kind = points[held], kind[held]
            entering = _entering(scores[against], scores[mine], self.owner[mine], counts[mine], len(weights))
            steps = zip(self.owner[against].tolist(), counts[against].tolist(), of_kind.tolist(), strict=True)
            found += (often[:, None] * factor.T) @ _pairs(weights, entering @ weights, list(steps), len(factor))
        return ratio(found, totals[0] * totals[1])

    def left_out(self, stratum_of_row: Integers, others: Floats, own: Floats) -> Floats:
        """Return (S, R) weight of the pairs in which the marked film scores higher, with patients left out.

        Others of the class weigh 1 + a, the patients that are left out 1 + a + b, all other films 1; so the pairs are a
        form of second degree in a and b, whose coefficients are pairs of films of anybody, of the class, of these.

        Args:
            stratum_of_row: (R,) classes of the groups of patients that are left out together.
            others: (S, R) 1 + a.
            own: (S, R) 1 + a + b.
        """
        if self._many:
            parts = zip(self._halves, np.array_split(others, 2), np.array_split(own, 2), strict=True)
            return np.concatenate([part.left_out(stratum_of_row, *weights) for part, *weights in parts])
        row, stratum, counts = self.row, stratum_of_row[self.row], self._counts
        rank = np.unique(self.scores, return_inverse=True)[1].astype(np.int64)
        (up, of_up), (down, of_down) = self._by_mark
        often_up, often_down = (factor[kind] for kind, factor in (of_up, of_down))  # (p, S)

        def won(points: Integers, rest: Integers, rank: Integers, among: Integers, rest_of: Kinds) -> Floats:
            """Return (p, K) weight of what lies below each point among films of its owner, by kind of those."""
            kind, factor = rest_of
            below = [
                _below(rank[points], among[points], rank[mine], among[mine], counts[mine])
                for mine in (rest[kind == one] for one in range(len(factor)))
            ]
            return counts[points, None] * (np.stack(below, axis=1) @ factor)

        def by(owner: Integers, values: Floats, size: int) -> Floats:
            return np.stack([np.bincount(owner, column, size) for column in np.ascontiguousarray(values.T)])

        rows, strata, anybody = len(stratum_of_row), int(stratum_of_row.max()) + 1, np.zeros_like(row)
        all_up = often_up * won(up, down, rank, anybody, of_down)
        all_down = often_down * won(down, up, -rank, anybody, of_up)
        class_up = often_up * won(up, down, rank, stratum, of_down)
        class_down = often_down * won(down, up, -rank, stratum, of_up)
        own_up = often_up * won(up, down, rank, row, of_down)
        everything = all_up.sum(axis=0)[:, None]
        one_class = (by(stratum[up], all_up, strata) + by(stratum[down], all_down, strata))[:, stratum_of_row]
        these = by(row[up], all_up, rows) + by(row[down], all_down, rows)
        within_class = by(stratum[up], class_up, strata)[:, stratum_of_row]
        these_in_class = by(row[up], class_up, rows) + by(row[down], class_down, rows)
        within_these = by(row[up], own_up, rows)
        a, b = others - 1, own - others
        return np.asarray(
            everything + a * (one_class + a * within_class) + b * (these + a * these_in_class + b * within_these)
        )

    @property
    def _alone(self) -> bool:
        """Whether there is one part: what its films count goes into their weights."""
        return len(self.factor) == 1

    @property
    def _many(self) -> bool:
        """Whether there are too many kinds of film for so few parts."""
        return not self._alone and max(len(factor) for _, (_, factor) in self._by_mark) > KINDS * len(self.factor)

    @property
    def _counts(self) -> Floats:
        """(n,) how often each film counts in the one part there is; 1 where kinds say it."""
        return self.factor[0, self.kind] if self._alone else np.ones(len(self.scores))

    @cached_property
    def _by_mark(self) -> tuple[tuple[Integers, Kinds], tuple[Integers, Kinds]]:
        """The places of the marked films and of the others, with their kinds."""
        return self._of_mark(self.marked), self._of_mark(~self.marked)

    def _of_mark(self, mark: Bools) -> tuple[Integers, Kinds]:
        films = np.flatnonzero(mark)
        if self._alone:
            return films, (np.zeros(len(films), dtype=np.int64), np.ones((1, 1)))
        names, kind = np.unique(self.kind[films], return_inverse=True)
        return films, (kind.astype(np.int64), self.factor[:, names].T)

    @property
    def _halves(self) -> list[Films]:
        return [self._some(half) for half in np.array_split(np.arange(len(self.factor)), 2)]

    def _some(self, sides: Integers) -> Films:
        kind, factor = kinds_of(self.factor[sides])
        there = np.asarray((factor > 0).any(axis=1))[kind[self.kind]]
        return Films(
            self.scores[there], self.marked[there], self.owner[there], self.row[there], kind[self.kind[there]], factor.T
        )


def _by_kind(kind: Integers, owner: Integers, counts: Floats, patients: int) -> sparse.csr_matrix:
    """Return (K, G) how often the films of each kind and patient count, from (n,) of each film."""
    return sparse.csr_matrix((counts, (kind, owner)), shape=(int(kind.max()) + 1, patients))


def _pairs(weights: Floats, entering: Floats, points: Sequence[tuple[int, float, int]], kinds: int) -> Floats:
    """Return (K, b) sums over the films of each kind: what each weighs, times what lies below it.

    Args:
        weights: (G, b) of patients.
        entering: (p, b) weight that lies below a film and not below the one before it.
        points: of each of these p films its patient, how often it counts, its kind.
        kinds: how many there are.
    """
    found = np.zeros((kinds, weights.shape[1]))
    below, product = np.zeros(weights.shape[1]), np.empty(weights.shape[1])
    # Row by row, for all of them stay in the cache of a processor; numpy's cumsum goes through memory once a column.
    for enters, (patient, often, kind) in zip(entering, points, strict=True):
        below += enters
        np.multiply(below, weights[patient], out=product)
        if often != 1:
            product *= often
        found[kind] += product
    return found


def _entering(points: Floats, rest: Floats, owner: Integers, counts: Floats, patients: int) -> sparse.csr_matrix:
    """Return (p, G) which of the rest lie below a point and not below the one before it, by their patients.

    Args:
        points: (p,) ascending scores.
        rest: (r,) scores of the others; of a tied one, half lies below.
        owner: (r,) their patients.
        counts: (r,) how often each counts.
        patients: G.
    """
    first, last = (np.searchsorted(points, rest, side=side) for side in ("left", "right"))
    shape = len(points) + 1, patients
    places, who = np.concatenate([first, last]), np.concatenate([owner, owner])
    return sparse.csr_matrix((np.tile(counts / 2, 2), (places, who)), shape=shape)[:-1]


def _below(points: Integers, of_points: Integers, rest: Integers, of_rest: Integers, counts: Floats) -> Floats:
    """Return (p,) how much of the rest of the same owner ranks below each point, ties by half.

    Args:
        points: (p,) ranks.
        of_points: (p,) owners.
        rest: (r,) ranks.
        of_rest: (r,) owners.
        counts: (r,) how often each of the rest counts.
    """
    size = 1 + max(int(np.abs(points).max(initial=0)), int(np.abs(rest).max(initial=0)))
    key = of_rest * (2 * size) + rest + size  # ranks of either sign: films of one owner lie together
    order = np.argsort(key, kind="stable")
    others, running = key[order], np.r_[0.0, np.cumsum(counts[order])]
    wanted = of_points * (2 * size) + points + size
    first, left = np.searchsorted(others, of_points * (2 * size)), np.searchsorted(others, wanted)
    right = np.searchsorted(others, wanted, side="right")
    return np.asarray((running[left] + running[right]) / 2 - running[first])
