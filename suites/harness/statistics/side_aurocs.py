"""How well are marked films told from all others within many parts of a cohort, on the same resamples?

An AUROC is a sum over pairs of films. Films that count alike in every part are one kind (women filmed lying), so that
the pairs of two kinds are counted once, and every part adds up those of its own kinds. The films of one kind are gone
through in order of their score, for all resamples at once, and what lies below each film of the rarer mark is noted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from suites.harness.statistics.poisson_draws import Floats, Integers
from suites.harness.statistics.sides import Bools, Sides, Values, ratio

KINDS = 3
"""Kinds of film, for each part, up to which counting pairs of kinds costs less than the pairs of each part."""


def aurocs(sides: Sides, scores: Floats, marked: Bools) -> Values:
    """Return the AUROC of marked films against the others in each part; NaN where one of the two has no weight.

    Args:
        sides: the parts.
        scores: (N,) finite wherever a film counts; higher where it is more likely marked.
        marked: (N,) which films should score higher.
    """
    counts = (sides.factor > 0).any(axis=0)
    films = np.flatnonzero(counts)
    some = _Films(scores[films], marked[films], sides.owner[films], sides.factor[:, films])
    drawn = np.concatenate([some.drawn(block) for block in sides.resamples.of_patients()], axis=1)
    both = np.stack([sides.by_patient(sides.factor * mark) for mark in (marked, ~marked)], axis=1)
    weights = sides.alone(both)
    pairs = np.array([_left_out(sides, at, scores, marked) for at in range(len(sides.factor))])
    return Values.of(drawn, ratio(pairs, weights[:, 0] * weights[:, 1]))


@dataclass(frozen=True)
class _Films:
    """Films that count in some part: scores, marks and patients (n,), and how often each counts (S, n)."""

    scores: Floats
    marked: Bools
    owner: Integers
    factor: Floats

    def drawn(self, weights: Floats) -> Floats:
        """Return (S, b) AUROCs by (G, b) weights of patients."""
        sides, alone = len(self.factor), len(self.factor) == 1
        kinds = [_kinds(self.factor[:, mark]) for mark in (self.marked, ~self.marked)]
        if not alone and max(len(factor) for _, factor in kinds) > KINDS * sides:
            halves = np.array_split(np.arange(sides), 2)
            return np.concatenate([self._some(half).drawn(weights) for half in halves])
        if alone:  # what its films count goes into their weights
            kinds = [(np.zeros_like(kind), np.ones((1, 1))) for kind, _ in kinds]
        films = [np.flatnonzero(mark) for mark in (self.marked, ~self.marked)]
        counts = self.factor[0] if alone else np.ones(len(self.scores))
        totals = [
            factor.T @ (_by_kind(kind, self.owner[own], counts[own], len(weights)) @ weights)
            for own, (kind, factor) in zip(films, kinds, strict=True)
        ]
        cost = [len(films[at]) * len(kinds[1 - at][1]) + len(films[1 - at]) for at in (0, 1)]
        rarer = int(cost[1] < cost[0])
        scores = -self.scores if rarer else self.scores
        points = films[rarer][np.argsort(scores[films[rarer]], kind="stable")]
        kind = kinds[rarer][0][np.searchsorted(films[rarer], points)]
        own_weights = weights[self.owner[points]] * counts[points, None]
        rest, (of_rest, factor_of_rest) = films[1 - rarer], kinds[1 - rarer]
        found = np.zeros((sides, weights.shape[1]))
        for one, often in enumerate(factor_of_rest):
            mine = rest[of_rest == one]
            entering = _entering(scores[points], scores[mine], self.owner[mine], counts[mine], len(weights))
            pairs = _pairs(entering @ weights, own_weights, kind, len(kinds[rarer][1]))
            found += (often[:, None] * kinds[rarer][1].T) @ pairs
        return ratio(found, totals[0] * totals[1])

    def _some(self, sides: Integers) -> _Films:
        factor = self.factor[sides]
        there = (factor > 0).any(axis=0)
        return replace(
            self, scores=self.scores[there], marked=self.marked[there], owner=self.owner[there], factor=factor[:, there]
        )


def _kinds(factor: Floats) -> tuple[Integers, Floats]:
    """Return (n,) the kind of each film and (K, S) how often those of a kind count, from (S, n)."""
    known: dict[bytes, int] = {}
    rows = np.ascontiguousarray(factor.T)
    kind = np.array([known.setdefault(row.tobytes(), len(known)) for row in rows], dtype=np.int64)
    return kind, rows[np.unique(kind, return_index=True)[1]]


def _by_kind(kind: Integers, owner: Integers, counts: Floats, patients: int) -> sparse.csr_matrix:
    """Return (K, G) how often the films of each kind and patient count, from (n,) of each film."""
    return sparse.csr_matrix((counts, (kind, owner)), shape=(int(kind.max()) + 1, patients))


def _pairs(entering: Floats, own: Floats, kind: Integers, kinds: int) -> Floats:
    """Return (K, b) sums over the films of each kind: what each weighs, times what lies below it.

    Args:
        entering: (p, b) weight that lies below a film and not below the one before it.
        own: (p, b) weight of each film.
        kind: (p,) of each film.
        kinds: how many there are.
    """
    found = np.zeros((kinds, own.shape[1]))
    below, product = np.zeros(own.shape[1]), np.empty(own.shape[1])
    # Row by row, for all of them stay in the cache of a processor; numpy's cumsum goes through memory once a column.
    for at, mine in enumerate(kind.tolist()):
        below += entering[at]
        np.multiply(below, own[at], out=product)
        found[mine] += product
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


def _left_out(sides: Sides, at: int, scores: Floats, marked: Bools) -> Floats:
    """Return (R,) weight of the pairs of one part in which the marked film scores higher, with patients left out.

    Others of the class weigh 1 + a, the patients that are left out 1 + a + b, all other films 1; so the pairs are a
    form of second degree in a and b, whose coefficients are pairs of films of anybody, of the class, and of these.
    """
    factor, stratum_of = sides.factor[at], sides.stratum_of_row
    others, own = (weights[at] for weights in sides.left_out_weights)
    films = np.flatnonzero(factor > 0)
    row = sides.resamples.groups[sides.resamples.cluster[films]]
    stratum, count, mark = stratum_of[row], factor[films], marked[films]
    rank = np.unique(scores[films], return_inverse=True)[1].astype(np.int64)
    anybody = np.zeros_like(row)

    def won(points: Bools, rank: Integers, among: Integers) -> Floats:
        """Return (p,) weight of what lies below each point among films of the same owner, times its own."""
        return np.asarray(count[points] * _below(rank, points, among, count))

    def by(owner: Integers, points: Bools, values: Floats, size: int) -> Floats:
        return np.asarray(np.bincount(owner[points], values, minlength=size), dtype=np.float64)

    rows, strata = len(stratum_of), int(stratum_of.max()) + 1
    up, down = (mark, rank), (~mark, -rank)
    all_up = won(*up, anybody)
    all_down = won(*down, anybody)
    class_up, class_down = won(*up, stratum), won(*down, stratum)
    everything = float(all_up.sum())
    one_class = (by(stratum, mark, all_up, strata) + by(stratum, ~mark, all_down, strata))[stratum_of]
    these = by(row, mark, all_up, rows) + by(row, ~mark, all_down, rows)
    within_class = by(stratum, mark, class_up, strata)[stratum_of]
    these_in_class = by(row, mark, class_up, rows) + by(row, ~mark, class_down, rows)
    within_these = by(row, mark, won(*up, row), rows)
    a, b = others - 1, own - others
    return np.asarray(
        everything + a * one_class + b * these + a**2 * within_class + a * b * these_in_class + b**2 * within_these
    )


def _below(rank: Integers, points: Bools, among: Integers, count: Floats) -> Floats:
    """Return (p,) how much of the other films of the same owner ranks below each point, ties by half.

    Args:
        rank: (n,) of each film.
        points: (n,) which films are the points.
        among: (n,) owner of each film.
        count: (n,) how often each film counts.
    """
    width = 2 * len(rank) + 1
    key = among * width + rank + len(rank)  # ranks of either sign: films of one owner lie together
    order = np.argsort(key[~points], kind="stable")
    others = key[~points][order]
    running = np.r_[0.0, np.cumsum(count[~points][order])]
    first, left = np.searchsorted(others, among[points] * width), np.searchsorted(others, key[points])
    right = np.searchsorted(others, key[points], side="right")
    return np.asarray((running[left] + running[right]) / 2 - running[first])
