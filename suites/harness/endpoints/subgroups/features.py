"""What do the features know of a patient? Which group a film is of, read off within a class, and what is out of reach.

A network that knows the scanner from the film can lean on it; knowing alone is no harm, so what the call depends on it
stands beside. Within a class, for groups often differ in who is ill. Read off is as `reading` does it, always on other
patients than it was fitted on.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from calibration import ood
from suites.harness import statistics
from suites.harness.claims import Claim, Result
from suites.harness.endpoints import headroom
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.endpoints.subgroups.ceiling import ceiling
from suites.harness.endpoints.subgroups.comparing import LargestGap
from suites.harness.endpoints.subgroups.groups import FEWEST, Films, Group, groups_of, one_mix, patients
from suites.harness.endpoints.subgroups.reading import PERMUTATIONS, Reading
from suites.harness.endpoints.subgroups.statistic import sampled
from suites.harness.errors import NotEvaluable
from suites.harness.formatting.cells import cell, points
from suites.harness.formatting.wording import number, opened, p_value
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import Floats, Sampled
from suites.harness.statistics.resamples import means
from suites.harness.statistics.side_aurocs import aurocs
from suites.harness.statistics.sides import Sides

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
    readings: dict[bytes, tuple[Reading, Sides]] = {}  # all groups of one attribute are read off the same films
    for group in singles:
        films = _of_common_classes(answers, group)
        if films is None:
            continue
        key = films.tobytes()
        if key not in readings:
            readings[key] = Reading.of(features, answers, films), _by_class(answers, films)
        reading, classes = readings[key]
        scores, shuffled = reading.read_off(group.inside)
        read[group.name] = _area_within(answers, classes, scores, group.inside)
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


def _by_class(answers: Answers, films: Films) -> Sides:
    """Return the films of each class among (N,) films, whose patients are left out as of all of these."""
    parts = np.stack([films & (answers.labels == label) for label in np.unique(answers.labels[films])])
    return Sides(answers.resamples, np.broadcast_to(films, parts.shape), parts.astype(np.float64))


def _area_within(answers: Answers, classes: Sides, scores: Floats, member: Films) -> Sampled:
    """Return the mean AUROC of (n,) scores within class, classes by their number of pairs, of (N,) members."""
    films, parts = classes.inside[0], classes.factor > 0
    index = np.flatnonzero(films)
    sizes = [float((member & part).sum() * (~member & part).sum()) for part in parts]

    def area(_: Films, weights: Floats) -> Floats:
        places = [np.flatnonzero(part[index]) for part in parts]
        areas = [
            np.asarray(ood.auroc(scores[part], member[index][part], weights=_some_weight(weights[:, part])))
            for part in places
        ]
        return _averaged(areas, sizes)

    if answers.resamples.counted_by_patient:
        everywhere = np.zeros(len(films))
        everywhere[index] = scores
        found = aurocs(classes, everywhere, member)
        if np.isfinite(found.drawn).all() and np.isfinite(found.left_out).all():  # every class in every resample
            estimate, drawn, alone = (
                _averaged(list(each), sizes) for each in (found.estimate[:, None], found.drawn, found.left_out)
            )
            return Sampled(float(estimate[0]), drawn, int(classes.patients[0]), left_out=alone)
    return sampled(answers, films, area)


def _averaged(areas: list[Floats], sizes: list[float]) -> Floats:
    return np.asarray(np.average(areas, axis=0, weights=sizes), dtype=np.float64)


def _some_weight(weights: Floats) -> Floats:
    """Return weights of which no row is empty: one that drew no patient of a class counts each of its films once."""
    return np.where(weights.sum(axis=1, keepdims=True) > 0, weights, 1e-12)


def _dependence(answers: Answers, inside: Films, outside: Films) -> float | None:
    """Return how much more ill films of a group are called than those of all others, both of one mix of classes."""
    if "normal" not in answers.subject.classes:
        return None
    risk = 1 - answers.probabilities(CLEAN)[:, answers.class_index("normal")]
    weights, _ = one_mix(np.maximum(answers.labels, 0), inside, outside)
    return float(np.subtract(*(means(risk[side], weights[None, side])[0] for side in (inside, outside))))
