"""Which films tell of what a subject is asked? Counted by class, or with and without each of its findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from suites.harness import counts
from suites.harness.cohorts.class_roles import healthy
from suites.harness.cohorts.layouts.labels import NORMAL
from suites.harness.errors import CohortProblem
from suites.harness.evaluation import Evaluation
from suites.harness.formatting.wording import plain_name
from suites.harness.plan.precision import Group
from suites.harness.plan.readable import Tried
from suites.harness.subjects.subject import Subject

FEW = 50
"""Patients of a class, or with or without a finding, below which the plan names it."""
NAMED = 6
"""Findings that a short line counts, those that are rarest first."""


@dataclass(frozen=True, kw_only=True)
class LabelledFilms:
    """Films as one subject, or one finding of it, is judged on them.

    Attributes:
        subject: of these classes.
        classes: class -> films and patients, as the subject spells it.
        groups: role of a cohort -> its films.
        left_out: films of which nobody says whether they show the finding.
        strange: films of no class that the subject has.
    """

    subject: Subject
    classes: Mapping[str, tuple[int, int]]
    groups: Mapping[str, Group]
    left_out: int = 0
    strange: int = 0

    @property
    def smaller(self) -> int:
        """Patients of its smallest class."""
        return min((patients for _, patients in self.classes.values()), default=0)


def asked_first(evaluation: Evaluation) -> list[Subject]:
    """Return the first subject, or of one that answers several findings all that are judged."""
    first = evaluation.subjects[0]
    return [first] if first.whole is None else [one for one in evaluation.subjects if one.whole is first.whole]


def refusal(evaluation: Evaluation) -> str:
    """Return why a run that asks a subject is refused, else ''."""
    for subject in evaluation.subjects if "main" in evaluation.plan else ():
        try:
            evaluation.aligned(subject, evaluation.cohort, probe=False)
        except CohortProblem as problem:
            return str(problem)
    return ""


def labelled_films(
    evaluation: Evaluation, subject: Subject, tried: Mapping[str, Tried], *, probe: bool, refused: bool
) -> LabelledFilms:
    """Return the films of a run as a subject spells their labels; films that no run can be judged on count, too.

    Args:
        evaluation: the run.
        subject: one of its subjects.
        tried: role of a cohort -> which of its films cannot be read; they are left out.
        probe: keep films without a label, as where labels do not fit or nothing is asked of them.
        refused: a run on them is refused.
    """
    main = evaluation.aligned(subject, evaluation.cohort, probe=probe)
    cohorts = {"main": main} | {role: cohort for role, cohort in evaluation.probes.items() if role in evaluation.plan}
    films = {role: _readable(cohort.table, tried.get(role)) for role, cohort in cohorts.items()}
    groups = {role: _group(table, subject) for role, table in films.items()}
    if refused:  # a class without films counts: no score of all classes can be had
        known = groups["main"].patients
        groups["main"] = replace(groups["main"], patients={name: known.get(name, 0) for name in subject.classes})
    labels = films["main"]["label"]
    classes = {name: (int((labels == name).sum()), groups["main"].patients.get(name, 0)) for name in subject.classes}
    return LabelledFilms(
        subject=subject,
        classes={name: pair for name, pair in classes.items() if pair[0] or refused},
        groups=groups,
        left_out=0 if subject.whole is None else len(evaluation.cohort) - len(main),
        strange=int((~labels.isin(subject.classes)).sum()) if refused else 0,
    )


def told_of_classes(films: LabelledFilms) -> str:
    """Return how many films there are of each class."""
    found = ", ".join(counted(plain_name(name), *pair) for name, pair in films.classes.items())
    return f"{found or 'none of a class'}{f', {films.strange:,} of no such class' if films.strange else ''}"


def told_of_findings(found: Sequence[LabelledFilms], films: int, *, every: bool) -> str:
    """Return how many films show each finding and how many do not, the rarest first.

    Args:
        found: the films of each finding.
        films: of the cohort.
        every: all findings; else the rarest `NAMED`.
    """
    order = sorted(found, key=lambda one: one.smaller)
    shown = order if every else order[:NAMED]
    more = f" and {len(order) - len(shown)} more findings" if len(order) > len(shown) else ""
    return f"{films:,}, with and without {', '.join(map(_with_and_without, shown))}{more}"


def told_of_the_fewest(found: Sequence[LabelledFilms]) -> str:
    """Return the smallest class of all, where it has few patients, else ''."""
    each = [(one.subject, name, *pair) for one in found for name, pair in one.classes.items()]
    subject, name, films, patients = min(each, key=lambda item: item[3], default=(None, "", 0, FEW))
    if subject is None or patients >= FEW:
        return ""
    one = "film" if films == 1 else "films"
    if subject.whole is None:
        return counted(f"{plain_name(name)} {one}", films, patients)
    without, finding = subject.classes
    return counted(f"{one} {'without' if name == without else 'with'} {finding}", films, patients)


def _with_and_without(one: LabelledFilms) -> str:
    without, name = one.subject.classes
    sides = [f"{one.classes.get(side, (0, 0))[0]:,}" for side in (name, without)]
    return f"{name} {' / '.join(sides)}" + (f" ({one.left_out:,} left out)" if one.left_out else "")


def counted(what: str, films: int, patients: int) -> str:
    """Return `12 normal (10 patients)`; patients only where they are fewer than films."""
    return f"{films:,} {what}" + (f" ({counts.counted(patients, 'patient')})" if patients != films else "")


def _readable(table: pd.DataFrame, seen: Tried | None) -> pd.DataFrame:
    return table[~table["id"].astype(str).isin(seen.unreadable)] if seen else table


def _group(table: pd.DataFrame, subject: Subject) -> Group:
    known = table[table["label"].isin(subject.classes)]
    patients = {str(name): int(rows["patient"].nunique()) for name, rows in known.groupby("label", sort=True)}
    return Group(patients, int(table["patient"].nunique()), len(table), healthy(subject.classes) or NORMAL)
