"""How is a subject of several findings judged on one of them? On its predictions, looked at once for each finding.

The network was asked once for all; a finding's own table holds what `OneFinding` would have answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.finding_names import matched, meaning, truths, without_both
from suites.harness.cohorts.quoting import listed, shown
from suites.harness.errors import CohortProblem, UsageProblem
from suites.harness.predictions.table import Predictions
from suites.harness.subjects.finding import for_finding, own_finding
from suites.harness.subjects.heads import spelling
from suites.harness.subjects.subject import Subject


@dataclass(frozen=True, kw_only=True)
class JudgedOn:
    """Which findings of a subject are judged on which findings of the films.

    Attributes:
        whole: the subject of all findings.
        names: its finding -> the films' finding, in its order; those that are judged.
        left_out: further findings of it -> why they are not.
        unasked: findings of the films that it does not answer.
    """

    whole: Subject
    names: Mapping[str, str]
    left_out: Mapping[str, str] = field(default_factory=dict)
    unasked: Sequence[str] = ()

    def note(self) -> str:
        """Return in a sentence what is taken for what, and what is not judged."""
        taken = ", ".join(own if own == name else f"{own} = {name}" for own, name in self.names.items())
        told = f"{self.whole.name} is judged on {len(self.names)} of its {len(self.whole.classes)} findings: {taken}"
        reasons: dict[str, list[str]] = {}
        for own, reason in self.left_out.items():
            reasons.setdefault(reason, []).append(own)
        told += "".join(f"; not on {', '.join(own)} ({reason})" for reason, own in reasons.items())
        asked = f". It does not answer {', '.join(self.unasked)}, which the films tell of" if self.unasked else ""
        return f"{told}{asked}."


def judged_on(
    subjects: Sequence[Subject], cohort: Cohort, given: Mapping[str, str]
) -> tuple[list[Subject], list[JudgedOn]]:
    """Return the subjects of a run, one of several findings as one for each that the films can tell it about.

    Args:
        subjects: as they were loaded.
        cohort: the films under test.
        given: finding of a subject -> that of the films, where the names do not tell (see `finding_names.matched`).

    Raises:
        CohortProblem: the films can tell of none of its findings.
        UsageProblem: `given` names a finding that the films do not tell of, or one that no subject has.
    """
    asked = [name for subject in subjects if subject.heads == "sigmoid" for name in subject.classes]
    for own in given:
        if spelling(own) not in map(spelling, asked):
            raise UsageProblem(
                f"--map: no subject has a finding {shown(own, 60)!r}; there are {listed(asked) or 'none'}"
            )
    found: list[Subject] = []
    told: list[JudgedOn] = []
    for subject in subjects:
        if subject.heads == "softmax":
            found.append(subject)
            continue
        names = matched(subject.classes, cohort, given)
        empty = {own: reason for own, name in names.items() if (reason := without_both(cohort, name))}
        kept = {own: name for own, name in names.items() if own not in empty}
        if not kept:
            first = next(iter(empty))
            raise CohortProblem(
                f"cohort {cohort.name:.40}: nothing can be said of {first:.40} ({empty[first]}), nor of any other of "
                "the subject's findings; give films with and without it"
            )
        dropped = {spelling(own) for own, name in given.items() if not name}
        unlabelled = {
            own: "left out with --map" if spelling(own) in dropped else "no film is labelled with it"
            for own in subject.classes
            if own not in names
        }
        answered = {*names.values(), *map(meaning, subject.classes)}
        told.append(
            JudgedOn(
                whole=subject,
                names=kept,
                left_out={**empty, **unlabelled},
                unasked=[name for name in truths(cohort) if name not in answered and meaning(name) not in answered],
            )
        )
        found += [for_finding(subject, own, name) for own, name in kept.items()]
    return found, told


def whole_of(subject: Subject) -> Subject:
    """Return the subject whose network is asked: that of all findings, else itself."""
    return subject.whole or subject


def of_subject(subject: Subject, answered: Predictions) -> Predictions:
    """Return the predictions of a subject: those of its whole about its finding, else what was answered itself."""
    if subject.whole is None:
        return answered
    index, offset = own_finding(subject)
    table = answered.table
    there = table[f"logit_{index}"].to_numpy(np.float32)
    columns = ["subject", "cohort", "image", "condition", "severity"]
    own = table[columns].assign(
        subject=pd.Categorical.from_codes(np.zeros(len(table), dtype=np.int8), pd.Index([subject.name], dtype="str")),
        logit_0=np.where(np.isnan(there), np.float32(np.nan), np.float32(offset)),
        logit_1=there,
        undefined=table["undefined"],
    )
    return replace(answered, table=own)
