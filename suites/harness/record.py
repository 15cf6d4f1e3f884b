"""What is left of a run? Everything the report, the gate and the model card are written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from suites.harness.cache.measures import KeptMeasures
from suites.harness.claims import Judgement
from suites.harness.cohorts.cohort import Cohort
from suites.harness.errors import printable
from suites.harness.local_paths import spec_without_folders
from suites.harness.predictions.resolution import AS_STORED
from suites.harness.predictions.subject_checks import SubjectCheck
from suites.harness.subjects.subject import Subject

PAGE = "the published page"
"""What the claims about printed numbers are judged on."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a run judged that did not judge all it could.

    Attributes:
        judged: judgements made (one per claim and subject), `of`: those of a whole run.
        what: what is counted, `claims` or, where several subjects share them, `judgements`.
        why: what chose the part, or ended the run, in a few words.
    """

    judged: int
    of: int
    what: str = "claims"
    why: str = ""

    def __str__(self) -> str:
        return f"incomplete: {self.judged} of {self.of} {self.what}" + (f" ({self.why})" if self.why else "")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One finished run.

    Attributes:
        subjects: the models, in the order given.
        cohort: the films judged on; `probes` the further cohorts by role (`lateral`, `adult`, `unseen`).
        judgements: one per claim and subject, in the order of the claims table.
        predictions: the prediction table: columns `subject`, `cohort`, `image`, `condition`, `severity`, `logit_0`, ...
        excluded: films left out, columns `cohort`, `file`, `reason`.
        profile: `quick`, `standard` or `full`.
        command: the command line that gives the same results; it names nothing that is written.
        shortened: whether paths of this machine are cut down to their last name in it.
        resolution: at which films were perturbed, a sentence.
        started: local time with offset, ISO 8601; `seconds`: duration.
        versions: package -> version, with `python`, `platform` and `device`.
        checks: subject -> what was found out about it before anything was predicted (see `subject_checks`).
        notes: what every reader must be told first (a self-test on simulated films, a limited cohort).
        part: what was judged of the table of claims, where that is not all of it.
        expected: seconds that the plan before the run came to; 0 where there was none.
        labelled: subject of one finding -> the films that it is judged on, that finding as their label.
        kept: where measures that are slow to resample are found again; `None`: nowhere.
    """

    subjects: Sequence[Subject]
    cohort: Cohort
    judgements: Sequence[Judgement]
    predictions: pd.DataFrame
    excluded: pd.DataFrame
    profile: str
    seed: int
    command: str
    started: str
    seconds: float
    versions: Mapping[str, str]
    probes: Mapping[str, Cohort] = field(default_factory=dict)
    checks: Mapping[str, Sequence[SubjectCheck]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    resolution: str = str(AS_STORED)
    part: Part | None = None
    expected: float = 0.0
    shortened: bool = False
    labelled: Mapping[str, Cohort] = field(default_factory=dict)
    kept: KeptMeasures | None = None

    @property
    def asked_about(self) -> Sequence[Cohort]:
        """The cohort, and of the probes those that some claim of this run looked at."""
        asked = set(self.predictions["cohort"].unique())
        return [self.cohort, *(probe for probe in self.probes.values() if probe.name in asked)]

    def films_of(self, subject: str) -> Cohort:
        """Return the films that a subject is judged on, with labels as it spells its classes."""
        return self.labelled.get(subject, self.cohort)


def writable(cohort: Cohort) -> Cohort:
    """Return a cohort whose spec can be published: a path may hold bytes that are no text, and folders of a machine."""
    return replace(cohort, spec=printable(spec_without_folders(cohort.spec)))


def no_predictions() -> pd.DataFrame:
    """Return the prediction table of a run that asked no subject."""
    return pd.DataFrame(
        columns=["subject", "cohort", "image", "condition", "severity", "logit_0", "logit_1", "undefined"]
    )


def no_exclusions() -> pd.DataFrame:
    """Return the table of films left out where there are none."""
    return pd.DataFrame(columns=["cohort", "file", "reason"], dtype=str)
