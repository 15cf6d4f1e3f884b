"""Which films fail that nobody named? A slice found on half of the patients, and held against the other half.

Searched is a shallow tree over what is recorded of the patients and what their files are like, fitted to wrong calls
beyond those that are usual for the class. Films found to fail more will fail less when looked at again, for they were
chosen for it, so nothing is said of the half that they were found on.
"""

from __future__ import annotations

import hashlib
import math
from contextlib import suppress

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.tree import DecisionTreeRegressor

from suites.harness.claims import Claim, Result
from suites.harness.counts import counted
from suites.harness.endpoints import headroom
from suites.harness.endpoints.dataset_scope import file_properties
from suites.harness.endpoints.dataset_scope.shortcut_baselines import CUE_SETS
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.endpoints.subgroups.groups import FEWEST, Films, ages, one_mix, patients, recorded
from suites.harness.endpoints.subgroups.statistic import Mean, all_sampled
from suites.harness.errors import NotEvaluable
from suites.harness.formatting.cells import percent, points
from suites.harness.formatting.wording import number, opened, plain_name
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import difference

INFANT = 2
"""Years of age below which limits are told in months."""
DEPTH = 2
"""Conditions that a slice has: what takes more to say is found by chance more often than not."""
LEAST = 0.15
"""Share of the films that a slice has, at least."""
MOST_FILMS = 5_000
"""Files beyond which their properties are not measured: each film would be decoded once more."""


@endpoint("found_slice")
def found_slice(evidence: Evidence, claim: Claim) -> Result:
    """How many more calls are wrong on a slice found on other patients than on all other films, class by class."""
    answers = evidence.main
    keep = answers.shared(CLEAN)
    wrong = np.where(keep, 1 - np.nan_to_num(answers.correct(CLEAN)), 0.0)
    first = keep & _first_half(answers)
    second = keep & ~first
    columns = _columns(answers)
    if columns.empty:
        raise NotEvaluable("nothing is recorded of these films by which a slice could be found")
    rule, inside = _found(columns, answers.labels, wrong, first)
    sides = second & inside, second & ~inside
    if min(patients(answers, films) for films in sides) < FEWEST:
        raise NotEvaluable(f"the slice that was found ({rule}) has fewer than {FEWEST} patients in the other half")
    factor, covered = one_mix(answers.labels, *sides)

    even = [films & (factor > 0) for films in sides]
    if min(patients(answers, films) for films in even) < FEWEST:
        raise NotEvaluable(f"the slice that was found ({rule}) has no class in common with the other films")
    here, others = all_sampled(answers, [(films, factor) for films in even], Mean(wrong))
    gap = difference(here, others, patients(answers, even[0] | even[1]))
    effect = measured("slice_gap", CLEAN, gap, int(even[0].sum()), unit="points")
    raw = [float(wrong[films].mean()) for films in sides]
    searched = (
        f"{counted(len(columns.columns), 'column')} on {counted(int(first.sum()), 'film')} of "
        f"{counted(patients(answers, first), 'patient')}"
    )
    ends = f"{points(effect.low)} to {points(effect.high)}"
    return Result(
        effect=effect,
        p_beyond=beyond(gap, claim),
        p_within=within(gap, claim),
        headroom=[headroom.skill(answers)],
        caveat=f"the slice is {rule}, found among {searched}; another search may find another",
        films="films of the slice",
        measures=[
            measured("error_rate", f"{CLEAN}, {name}", one, int(films.sum()), unit="share")
            for name, one, films in (("slice", here, even[0]), ("others", others, even[1]))
        ],
        summary=(
            f"{opened(rule)}: on patients that it was not found on {percent(raw[0])} of its calls are wrong, of all "
            f"others {percent(raw[1])}; with both of one mix of classes {points(effect.estimate)} points more ({ends}, "
            f"{percent(covered)} of the films). Found among {searched}. A slice that holds is a place to look, none "
            "that is not found is proof that there is none."
        ),
        finding=(
            f"{opened(rule)}: {points(abs(effect.estimate), signed=False)} points "
            f"{'more' if effect.estimate >= 0 else 'fewer'} calls are wrong than on all other films, both of one mix "
            "of classes."
        ),
        tables={"The slice on both halves": _table(wrong, inside, {"found on": first, "tested on": second}, answers)},
    )


def _first_half(answers: Answers) -> Films:
    """Return (N,) the films of every second patient, by lot within the first class of each."""
    first: dict[str, int] = {}
    for patient, label in zip(answers.patients.tolist(), answers.labels.tolist(), strict=True):
        first[patient] = max(label, first.get(patient, -1))
    lot = {patient: hashlib.sha256(f"slice\x1f{answers.seed}\x1f{patient}".encode()).digest() for patient in first}
    chosen: set[str] = set()
    for label in sorted(set(first.values())):
        members = sorted((patient for patient in first if first[patient] == label), key=lot.__getitem__)
        chosen.update(members[::2])
    return np.isin(answers.patients, sorted(chosen))


def _columns(answers: Answers) -> pd.DataFrame:
    """Return (N, C) numbers by which films may differ: 0 and 1 for each recorded value, ages, properties of files.

    What is not known of a film counts as the middle of all others.
    """
    table = answers.cohort.table
    found: dict[str, npt.ArrayLike] = {}
    for name, values in recorded(table).items():
        if name == "age":
            continue
        found |= {f"{name} {value}": values == value for value in sorted(set(values) - {""})}
    found["age"] = ages(table)
    if len(table) <= MOST_FILMS:
        with suppress(NotEvaluable):  # simulated films come from no files
            files = file_properties.audit_files(answers.cohort).properties.set_index("id")
            cues = files.reindex(answers.images)[list(CUE_SETS["file_and_surface"])]
            found |= {plain_name(str(name)): cues[name].to_numpy(np.float64) for name in cues}
    columns = pd.DataFrame(found).astype(np.float64)
    columns = columns.fillna(columns.median())
    return columns.loc[:, columns.max() > columns.min()]


def _found(
    columns: pd.DataFrame, labels: npt.NDArray[np.int64], wrong: npt.NDArray[np.float64], first: Films
) -> tuple[str, Films]:
    """Return the slice whose calls are wrong most surely beyond its classes, on the first half: rule and (N,) films.

    Raises:
        NotEvaluable: no split of any column tells wrong calls apart.
    """
    usual = np.bincount(labels[first], wrong[first]) / np.maximum(np.bincount(labels[first]), 1)
    rest = wrong[first] - usual[labels[first]]
    least = max(FEWEST, math.ceil(LEAST * int(first.sum())))
    values = columns.to_numpy()
    tree = DecisionTreeRegressor(max_depth=DEPTH, min_samples_leaf=least, random_state=0).fit(values[first], rest)
    leaf = tree.apply(values)
    if tree.tree_.node_count == 1:
        raise NotEvaluable("no recorded column tells wrong calls from right ones on the half that is searched")
    here = leaf[first]
    # Beyond its spread, so that the smallest leaf does not win for being small.
    best = max(sorted(set(here)), key=lambda one: rest[here == one].mean() * math.sqrt(np.count_nonzero(here == one)))
    return _rule(tree, int(best), list(map(str, columns))), np.asarray(leaf == best, dtype=bool)


def _rule(tree: DecisionTreeRegressor, leaf: int, names: list[str]) -> str:
    """Return the conditions on the way to a leaf, the narrowest of a kind: `age above 64 and not sex male`."""
    nodes, told = tree.tree_, dict[tuple[str, bool], str]()
    parent = {
        child: at for at in range(nodes.node_count) for child in (nodes.children_left[at], nodes.children_right[at])
    }
    at = leaf
    while at in parent and at != 0:
        above = parent[at]
        name, limit, lower = (
            names[nodes.feature[above]],
            float(nodes.threshold[above]),
            nodes.children_left[above] == at,
        )
        named = " " in name and limit == 0.5
        told.setdefault(  # from the leaf up: what is nearer to it is narrower
            (name, lower),
            f"{'not ' if lower else ''}{name}"
            if named
            else f"{name} {'up to' if lower else 'above'} {_limit(name, limit)}",
        )
        at = above
    return " and ".join(reversed(told.values()))


def _limit(name: str, limit: float) -> str:
    """Return a limit as people read it: an age of 64.5 as 64 (whole years, as they are told), of an infant in months.

    >>> _limit("age", 64.5), _limit("age", 0.71), _limit("sharpness", 0.5)
    ('64', '8 months', '0.500')
    """
    if name != "age":
        return number(limit)
    return f"{math.floor(limit)}" if limit >= INFANT else f"{math.floor(12 * limit)} months"


def _table(wrong: npt.NDArray[np.float64], inside: Films, halves: dict[str, Films], answers: Answers) -> pd.DataFrame:
    rows = []
    for half, films in halves.items():
        for name, part in (("slice", films & inside), ("all others", films & ~inside)):
            rows.append({
                "half": half, "films of": name, "films": int(part.sum()), "patients": patients(answers, part),
                "calls wrong": percent(float(wrong[part].mean())) if part.any() else "",
            })  # fmt: skip
    return pd.DataFrame(rows)
