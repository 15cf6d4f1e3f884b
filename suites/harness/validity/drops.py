"""What did each subject lose under each perturbation at home, and what at each other hospital? From finished reports.

Both drops are of the same number: balanced accuracy over the classes that labels of both hospitals can say. That of
a perturbation is paired, on the home films it is defined for; that of a hospital is of others, with an interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from robustness import perturbation
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.common_labels import with_truth
from suites.harness.cohorts.external import is_external
from suites.harness.cohorts.finding_names import labelled
from suites.harness.cohorts.layouts import align_labels
from suites.harness.cohorts.quoting import listed
from suites.harness.endpoints.external.two_hospitals import Hospital, TwoHospitals
from suites.harness.endpoints.headroom import SKILL
from suites.harness.errors import NotEvaluable, UsageProblem
from suites.harness.formatting.cells import percent, points
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN
from suites.harness.predictions.table import Predictions
from suites.harness.record import Record
from suites.harness.report.stored_record import record_of
from suites.harness.statistics import Sampled, average, difference
from suites.harness.subjects.subject import Subject

COLUMNS = (
    "report",
    "subject",
    "hospital",
    "perturbation",
    "severity",
    "condition",
    "predicted",
    "predicted_low",
    "predicted_high",
    "measured",
    "low",
    "high",
    "at_home",
    "patients",
)


@dataclass(frozen=True)
class Drops:
    """Every pair of a predicted and a measured drop.

    Attributes:
        table: columns `COLUMNS`, drops of balanced accuracy as fractions, positive where something is lost, with 95 %
            intervals over patients; `low` and `high` are those of `measured`; `at_home` is the balanced accuracy on the
            clean home films, `patients` those of the rarest common class at the hospital.
        left_out: why a subject or hospital of a report is in no row, a sentence each.
        readings: hospital -> how its labels and the classes were read as one, a sentence.
    """

    table: pd.DataFrame
    left_out: tuple[str, ...]
    readings: dict[str, str]


def drops_of(reports: Sequence[Path]) -> Drops:
    """Return the drops of every subject of some finished reports; a subject that two of them hold counts once.

    Args:
        reports: folders of reports, with their predictions.parquet and films.csv.

    Raises:
        UsageProblem: a folder is no report, two reports are about other home films, or none has an external cohort.
    """
    found = drops_among((path.name, record_of(path)) for path in reports)
    if found.table.empty:
        raise UsageProblem(
            f"{', '.join(path.name for path in reports)[:120]}: no report has a subject with films of another hospital "
            "and of a perturbation; run with --external SPEC and --preset quick"
        )
    return found


def drops_among(records: Iterable[tuple[str, Record]]) -> Drops:
    """Return the drops of every subject of some finished runs, each with the name of its report.

    Raises:
        UsageProblem: two runs are about other home films.
    """
    rows: list[dict[str, object]] = []
    left_out: list[str] = []
    readings: dict[str, str] = {}
    homes: dict[str, str] = {}
    seen: dict[tuple[str, str], str] = {}
    for report, record in records:
        homes.setdefault(record.cohort.fingerprint, report)
        if len(homes) > 1:
            first, second = homes.values()
            raise UsageProblem(
                f"{first} and {second} are of other home films, so their drops are not of one thing; give reports of "
                "one home cohort"
            )
        hospitals = [cohort for role, cohort in record.probes.items() if is_external(role)]
        for subject in record.subjects:
            if subject.name in record.labelled:
                if hospitals:
                    left_out.append(f"{subject.name} of {report} is one of several findings, which are not compared.")
                continue
            again: dict[str, list[str]] = {}
            for hospital in hospitals:
                key = subject.provenance.sha256 or subject.name, hospital.fingerprint
                if key in seen:
                    again.setdefault(seen[key], []).append(hospital.name)
                    continue
                seen[key] = f"{subject.name} of {report}"
                try:
                    both, found = _of_subject(record, subject, hospital)
                except NotEvaluable as problem:
                    left_out.append(f"{subject.name} of {report} on {hospital.name}: {problem}.")
                    continue
                readings[hospital.name] = both.classes.sentence
                rows += [{"report": report, "subject": subject.name, "hospital": hospital.name} | row for row in found]
            for other, names in again.items():
                left_out.append(f"{subject.name} of {report} is {other} again, on {listed(names)}, and counts once.")
    return Drops(pd.DataFrame(rows, columns=list(COLUMNS)), tuple(left_out), readings)


def _of_subject(record: Record, subject: Subject, hospital: Cohort) -> tuple[TwoHospitals, list[dict[str, object]]]:
    home = answers_of(record, subject, record.cohort, labels_must_fit=True)
    both = TwoHospitals.of(home, answers_of(record, subject, hospital))
    skill, chance = both.home.balanced().interval(), 1 / len(both.classes.names)
    if skill.low <= chance + SKILL:
        span, bar = f"{percent(skill.low)} to {percent(skill.high)}", points(SKILL, signed=False)
        raise NotEvaluable(
            f"it has nothing to lose: its balanced accuracy at home, {percent(skill.estimate)} ({span}), is not surely "
            f"{bar} points above chance ({percent(chance)})"
        )
    measured = both.drop(Hospital.balanced).interval()
    told = {"measured": measured.estimate, "low": measured.low, "high": measured.high}
    told["at_home"] = skill.estimate
    told["patients"] = min(both.away.owners_of(both.away.truth == code) for code in np.unique(both.away.truth))
    rows: list[dict[str, object]] = []
    for name, severity, condition in perturbed(home):
        if (fallen := predicted_drop(home, both, condition)) is None:
            continue
        ends = fallen.interval()
        foretold = {"predicted": ends.estimate, "predicted_low": ends.low, "predicted_high": ends.high}
        rows.append({"perturbation": name, "severity": severity, "condition": condition, **foretold, **told})
    return both, rows


def answers_of(record: Record, subject: Subject, cohort: Cohort, *, labels_must_fit: bool = False) -> Answers:
    """Return what a subject answered on a cohort of a finished report.

    Raises:
        NotEvaluable: it answered none of its films.
    """
    table = record.predictions
    mine = table[(table["subject"] == subject.name) & (table["cohort"] == cohort.name)].astype({"image": "str"})
    if mine.empty:
        raise NotEvaluable(f"{subject.name} was asked about no film of {cohort.name}")
    order = cohort.table["id"].astype(str)
    order = order[order.isin(set(mine["image"][mine["condition"] == CLEAN].astype(str)))]
    logits = [f"logit_{index}" for index in range(len(subject.classes))]
    by_condition = {str(name): rows.set_index("image")[logits] for name, rows in mine.groupby("condition", sort=False)}
    aligned = [
        rows.reindex(order).reset_index(names="image").assign(condition=name) for name, rows in by_condition.items()
    ]
    shown = pd.concat(aligned, ignore_index=True).assign(undefined="")
    known, probe = with_truth(cohort), not labels_must_fit
    if subject.whole is None:
        named = align_labels(known, subject.classes, probe=probe)
    else:
        without, finding = subject.classes
        named = labelled(known, finding, (without, finding), probe=probe)
    predictions = Predictions(shown, None, pd.DataFrame(columns=["cohort", "file", "reason"]), 0)
    return Answers.of(subject, named, predictions, seed=record.seed)


def perturbed(home: Answers) -> Iterator[tuple[str, int, str]]:
    """Yield perturbation, severity and condition of everything the home films were perturbed by, and by it alone."""
    known = set(perturbation.names())
    for condition in dict.fromkeys(home.predictions.table["condition"].astype(str)):
        name, mark, severity = condition.partition("@")
        if mark and name in known and severity.isdigit():
            yield name, int(severity), condition


def predicted_drop(home: Answers, both: TwoHospitals, condition: str) -> Sampled | None:
    """Return the fall of balanced accuracy over the common classes from the clean films to the perturbed ones.

    Paired, on the films that the condition is defined for; None where these are of fewer than two classes.
    """
    side = both.home
    changed = home.logits(condition)[side.keep]
    defined = np.isfinite(changed).all(axis=1)
    groups = np.asarray(both.classes.of_class)
    calls = np.full(len(changed), -1)
    calls[defined] = groups[changed[defined].argmax(axis=1)]
    codes = np.unique(side.truth[defined])
    if len(codes) < 2:
        return None
    before, after = (
        average([side.rate(called == side.truth, defined & (side.truth == code)) for code in codes], side.owners)
        for called in (side.called, calls)
    )
    return difference(before, after)
