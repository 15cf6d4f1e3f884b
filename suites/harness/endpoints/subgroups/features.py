"""What do the features know of a patient? Which group a film is of, read off within a class, and what is out of reach.

A network that knows the scanner from the film can lean on it; knowing alone is no harm, so what the call depends on it
stands beside. Within a class, for groups often differ in who is ill. Read off is by ridge regression on the frozen
features of clean films, always on other patients than it was fitted on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

from calibration import ood
from suites.harness import statistics
from suites.harness.claims import Claim, Result
from suites.harness.endpoints import headroom
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.endpoints.subgroups.ceiling import ceiling
from suites.harness.endpoints.subgroups.comparing import LargestGap
from suites.harness.endpoints.subgroups.groups import FEWEST, Films, Group, groups_of, one_mix, patients
from suites.harness.endpoints.subgroups.statistic import sampled
from suites.harness.errors import NotEvaluable
from suites.harness.formatting.cells import cell, points
from suites.harness.formatting.wording import number, opened, p_value
from suites.harness.predictions.answers import Answers, Evidence
from suites.harness.predictions.conditions import CLEAN
from suites.harness.statistics import Floats, Integers, Sampled
from suites.harness.statistics.resamples import means

FOLDS = 5
PERMUTATIONS = 200
MOST_FILMS = 2_000
"""Films beyond which patients are drawn by lot: what features know shows on these."""


@endpoint("features_tell_groups")
def features_tell_groups(evidence: Evidence, claim: Claim) -> Result:
    """How well a recorded group is read off the features within a class (AUROC on other patients), the best of all."""
    answers = evidence.main
    keep = _some(answers, answers.shared(CLEAN))
    groups = groups_of(answers, keep)
    features = answers.predictions.features
    if features is None:
        raise NotEvaluable(f"{answers.subject.name} has no features that could be read (no network, or no linear head)")
    singles = [group for group in groups.shown if len(group.attributes) == 1]
    read: dict[str, Sampled] = {}
    nulls: dict[str, Floats] = {}
    rows = []
    for group in singles:
        films = _of_common_classes(answers, group)
        if films is None:
            continue
        scores, shuffled = _read_off(features, answers, group.inside, films)
        read[group.name] = sampled(answers, films, _area_within(scores, group.inside, answers.labels, films))
        nulls[group.name] = shuffled
        inside, outside = group.inside & films, group.outside & films
        auroc, depends = read[group.name].interval(), _dependence(answers, inside, outside)
        rows.append({
            "group": group.name, "films": int(inside.sum()), "patients": patients(answers, inside),
            "AUROC within class": cell(auroc), "chance: 95th percentile": number(float(np.quantile(shuffled, 0.95))),
            "P(ill), beyond all others of the class": f"{points(depends)} points" if depends is not None else "",
        })  # fmt: skip
    if not read:
        raise NotEvaluable(f"no group and its others have {FEWEST} patients each in one class")
    tests = [
        float((1 + np.count_nonzero(nulls[name] >= one.estimate)) / (1 + PERMUTATIONS)) for name, one in read.items()
    ]
    table = pd.DataFrame(rows)
    table.insert(5, "p, Holm", [p_value(float(p)) for p in statistics.holm(tests)])
    best = LargestGap(read)
    count = int((next(group.inside for group in singles if group.name == best.name) & keep).sum())
    effect = measured("auroc_within_class", CLEAN, best, count, unit="plain")
    bounds, told = ceiling(answers, features, keep)
    several = f", the best of {len(read)} groups" if len(read) > 1 else ""
    finding = (
        f"{opened(best.name)} is read off the features within a class with an AUROC of {number(effect.estimate)} "
        f"({number(effect.low)} to {number(effect.high)}{several}; 0.5 is chance)."
    )
    return Result(
        effect=effect,
        p_beyond=beyond(best, claim),
        p_within=within(best, claim),
        headroom=[headroom.skill(answers)],
        caveat="what is known need not be used; what a linear reading does not find may be there all the same",
        films="films of the group",
        measures=[*bounds, *(
            measured("auroc_within_class", f"{CLEAN}, {name}", one, one.patients, unit="plain")
            for name, one in read.items()
        )],
        summary=f"{finding} {told} {groups.sentence}".strip(),
        finding=finding,
        tables={"What the features know, on other patients than it was fitted on": table},
    )  # fmt: skip


def _some(answers: Answers, keep: Films) -> Films:
    """Return (N,) the films of as many patients, drawn by lot, as make up `MOST_FILMS`."""
    if int(keep.sum()) <= MOST_FILMS:
        return keep
    names, sizes = np.unique(answers.patients[keep], return_counts=True)
    lot = [hashlib.sha256(f"features\x1f{answers.seed}\x1f{name}".encode()).digest() for name in names]
    order = sorted(range(len(names)), key=lot.__getitem__)
    filled = np.cumsum(sizes[order])
    return np.isin(answers.patients, names[order][filled <= MOST_FILMS]) & keep


def _of_common_classes(answers: Answers, group: Group) -> Films | None:
    """Return (N,) the films of classes in which group and others have enough patients, None where none is."""
    found = np.zeros(len(answers.labels), dtype=bool)
    for label in np.unique(answers.labels[group.inside]):
        sides = [side & (answers.labels == label) for side in (group.inside, group.outside)]
        if min(patients(answers, side) for side in sides) >= FEWEST:
            found |= sides[0] | sides[1]
    return found if found.any() else None


def _read_off(
    features: npt.NDArray[np.float32], answers: Answers, member: Films, films: Films
) -> tuple[Floats, Floats]:
    """Return (n,) cross-fitted scores of being of the group, and (P,) AUROCs within class with the groups shuffled.

    Ridge regression in its dual form, features centred within class and scaled: linear in the groups, so that shuffled
    ones cost a product of matrices. Shuffled are patients within their class.
    """
    classes, labels = np.unique(answers.labels[films], return_inverse=True)
    people, owner = np.unique(answers.patients[films], return_inverse=True)
    x = _within(features[films].astype(np.float64), labels, len(classes))
    spread = x.std(axis=0)
    x = x[:, spread > 1e-9] / spread[spread > 1e-9] if (spread > 1e-9).any() else np.zeros((len(x), 1))
    kernel = x @ x.T / x.shape[1]
    wanted = _with_shuffled(member[films], labels, owner, len(people), answers.seed)
    scores = np.zeros_like(wanted)
    lot = np.array([hashlib.sha256(f"fold\x1f{name}".encode()).digest()[0] for name in people])
    fold = (np.argsort(np.argsort(lot, kind="stable"), kind="stable") % FOLDS)[owner]
    for held in range(FOLDS):
        mine, others = fold == held, fold != held
        solved = np.linalg.solve(
            kernel[np.ix_(others, others)] + np.eye(int(others.sum())),
            _within(wanted[others], labels[others], len(classes)),
        )
        scores[mine] = kernel[np.ix_(mine, others)] @ solved
    return scores[:, 0], _areas(scores[:, 1:], wanted[:, 1:] > 0.5, labels)


def _within(values: Floats, labels: Integers, classes: int) -> Floats:
    """Return (n, M) values less the mean of their class."""
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)[:, None]
    sums = np.zeros((classes, values.shape[1]))
    np.add.at(sums, labels, values)
    return np.asarray(values - (sums / counts)[labels], dtype=np.float64)


def _with_shuffled(member: Films, labels: Integers, owner: Integers, people: int, seed: int) -> Floats:
    """Return (n, 1 + P) 0 and 1: the group, then the groups of patients shuffled within their class."""
    generator = np.random.Generator(np.random.PCG64([seed, len(member)]))
    share = np.bincount(owner, member, minlength=people) / np.bincount(owner, minlength=people) >= 0.5
    kind = np.zeros(people, dtype=np.int64)
    np.maximum.at(kind, owner, labels)
    columns = [member.astype(np.float64)]
    for _ in range(PERMUTATIONS):
        dealt = share.copy()
        for one in np.unique(kind):
            mine = np.flatnonzero(kind == one)
            dealt[mine] = share[generator.permutation(mine)]
        columns.append(dealt[owner].astype(np.float64))
    return np.stack(columns, axis=1)


def _areas(scores: Floats, member: npt.NDArray[np.bool_], labels: Integers) -> Floats:
    """Return (P,) AUROCs within class of (n, P) scores, classes by their number of pairs."""
    area, pairs = np.zeros(scores.shape[1]), np.zeros(scores.shape[1])
    for label in np.unique(labels):
        mine = labels == label
        ranks, inside = rankdata(scores[mine], axis=0), member[mine]
        count = inside.sum(axis=0)
        area += (ranks * inside).sum(axis=0) - count * (count + 1) / 2
        pairs += count * (mine.sum() - count)
    return np.asarray(area / np.maximum(pairs, 1), dtype=np.float64)


def _area_within(scores: Floats, member: Films, labels: Integers, films: Films) -> Callable[[Films, Floats], Floats]:
    of = np.flatnonzero(films)
    parts = [np.flatnonzero(labels[of] == label) for label in np.unique(labels[of])]
    sizes = [float(member[of][part].sum() * (~member[of][part]).sum()) for part in parts]

    def area(_: Films, weights: Floats) -> Floats:
        areas = [
            np.asarray(ood.auroc(scores[part], member[of][part], weights=_some_weight(weights[:, part])))
            for part in parts
        ]
        return np.asarray(np.average(areas, axis=0, weights=sizes), dtype=np.float64)

    return area


def _some_weight(weights: Floats) -> Floats:
    """Return weights of which no row is empty: one that drew no patient of a class says 0.5 of it."""
    return np.where(weights.sum(axis=1, keepdims=True) > 0, weights, 1e-12)


def _dependence(answers: Answers, inside: Films, outside: Films) -> float | None:
    """Return how much more ill films of a group are called than those of all others, both of one mix of classes."""
    if "normal" not in answers.subject.classes:
        return None
    risk = 1 - answers.probabilities(CLEAN)[:, answers.class_index("normal")]
    weights, _ = one_mix(np.maximum(answers.labels, 0), inside, outside)
    return float(np.subtract(*(means(risk[side], weights[None, side])[0] for side in (inside, outside))))
