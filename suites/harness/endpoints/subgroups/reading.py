"""How is a group of patients read off features? By ridge regression within class, on other patients than fitted on.

Features are centred within class and scaled. What is fitted is linear in the group, so what does not depend on the
group (folds, products of features, how patients are shuffled) is made once for all groups of the same films, and
shuffled groups cost one product of matrices. Of fewer films than features, films are described by their places in the
space that they span.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import rankdata

from suites.harness.endpoints.subgroups.groups import Films
from suites.harness.predictions.answers import Answers
from suites.harness.statistics import Floats, Integers
from suites.harness.statistics.sides import member_of

FOLDS = 5
PERMUTATIONS = 200


@dataclass(frozen=True)
class Fold:
    """A share of the patients that is read, and what was fitted on all others.

    Attributes:
        mine: (m,) places of its films.
        others: (o,) places of all others.
        fitted: (D, o) from what is wanted of the others to what each feature counts.
        of_patients: (D, people) the same from what is wanted of patients, all of whose films are alike.
    """

    mine: Integers
    others: Integers
    fitted: Floats
    of_patients: Floats


@dataclass(frozen=True)
class Reading:
    """Features of some films, ready to read any group off.

    Attributes:
        films: (N,) which.
        features: (n, D) of these.
        labels: (n,) index of each film's class.
        owner: (n,) index of each film's patient.
        folds: of the patients.
        shuffled: (P, people) whose place each patient takes, within class.
    """

    films: Films
    features: Floats
    labels: Integers
    owner: Integers
    folds: list[Fold]
    shuffled: Integers

    @classmethod
    def of(cls, features: npt.NDArray[np.float32], answers: Answers, films: Films) -> Reading:
        """Return the reading of (N, D) features on (N,) films."""
        classes, labels = np.unique(answers.labels[films], return_inverse=True)
        people, owner = np.unique(answers.patients[films], return_inverse=True)
        x = _within(features[films].astype(np.float64), labels, len(classes))
        spread = x.std(axis=0)
        x = x[:, spread > 1e-9] / spread[spread > 1e-9] if (spread > 1e-9).any() else np.zeros((len(x), 1))
        x /= np.sqrt(x.shape[1])
        if x.shape[1] > len(x):
            x = np.ascontiguousarray(np.asarray(np.linalg.qr(x.T, mode="r")).T)
        lot = np.array([hashlib.sha256(f"fold\x1f{name}".encode()).digest()[0] for name in people])
        fold = (np.argsort(np.argsort(lot, kind="stable"), kind="stable") % FOLDS)[owner]
        folds = [_fold(x, labels, owner, fold == held) for held in range(FOLDS)]
        return cls(films, x, labels, owner, folds, _shuffled(labels, owner, len(people), answers.seed))

    def read_off(self, group: Films) -> tuple[Floats, Floats]:
        """Return (n,) cross-fitted scores of being of a group (N,), and (P,) AUROCs within class with it shuffled."""
        member = group[self.films]
        share = np.bincount(self.owner, member) / np.bincount(self.owner) >= 0.5
        dealt = share[self.shuffled].T.astype(np.float64)
        scores, shuffled = np.zeros(len(member)), np.zeros((len(member), PERMUTATIONS))
        for fold in self.folds:
            mine = self.features[fold.mine]
            scores[fold.mine] = mine @ (fold.fitted @ member[fold.others])
            shuffled[fold.mine] = mine @ (fold.of_patients @ dealt)
        return scores, _areas(shuffled, share[self.shuffled], self.labels, self.owner)


def _fold(x: Floats, labels: Integers, owner: Integers, held: Films) -> Fold:
    mine, others = np.flatnonzero(held), np.flatnonzero(~held)
    left = x[others]
    kernel = cho_factor(left.T @ left + np.eye(x.shape[1]))
    # Centring what is wanted within class is centring the features.
    fitted = cho_solve(kernel, _within(left, labels[others], int(labels.max()) + 1).T)
    of_patients = member_of(owner[others], int(owner.max()) + 1).T @ fitted.T
    return Fold(mine, others, fitted, np.ascontiguousarray(of_patients.T))


def _within(values: Floats, labels: Integers, classes: int) -> Floats:
    """Return (n, M) values less the mean of their class."""
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)[:, None]
    sums = member_of(labels, classes).T @ values
    return np.asarray(values - (sums / counts)[labels], dtype=np.float64)


def _shuffled(labels: Integers, owner: Integers, people: int, seed: int) -> Integers:
    """Return (P, people) whose place each patient takes: patients shuffled within their class, time and again."""
    generator = np.random.Generator(np.random.PCG64([seed, len(labels)]))
    kind = np.zeros(people, dtype=np.int64)
    np.maximum.at(kind, owner, labels)
    members = [np.flatnonzero(kind == one) for one in np.unique(kind)]
    taken = np.zeros((PERMUTATIONS, people), dtype=np.int64)
    for row in taken:
        for mine in members:
            row[mine] = generator.permutation(mine)
    return taken


def _areas(scores: Floats, member: npt.NDArray[np.bool_], labels: Integers, owner: Integers) -> Floats:
    """Return (P,) AUROCs within class of (n, P) scores, classes by their number of pairs.

    Args:
        scores: (n, P).
        member: (P, people) who is of the group.
        labels: (n,) class of each film.
        owner: (n,) its patient.
    """
    area, pairs = np.zeros(len(member)), np.zeros(len(member))
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        some, inside = scores[mine].T, member[:, owner[mine]]
        ranks = _rank_sums(some, inside)
        count = inside.sum(axis=1)
        area += ranks - count * (count + 1) / 2
        pairs += count * (len(mine) - count)
    return np.asarray(area / np.maximum(pairs, 1), dtype=np.float64)


def _rank_sums(scores: Floats, member: npt.NDArray[np.bool_]) -> Floats:
    """Return (P,) sums of the ranks of (P, n) scores of members, those of ties averaged.

    Sorting alone is several times faster than telling who is where, so the last bit of a score says who is a member.
    """
    marked = (np.ascontiguousarray(scores).view(np.int64) & ~1 | member).view(np.float64)
    marked.sort(axis=1)
    bits = marked.view(np.int64)
    apart = bits >> 1
    if (apart[:, 1:] == apart[:, :-1]).any() or not np.isfinite(scores).all():  # tied, or nearly so
        return np.asarray((rankdata(scores, axis=1) * member).sum(axis=1), dtype=np.float64)
    return np.asarray((bits & 1) @ np.arange(1, scores.shape[1] + 1), dtype=np.float64)
