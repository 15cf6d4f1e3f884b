"""What is one run? Subjects x cohort x claims: predict once, judge many; pytest and the Python face end here.

from suites.harness import evaluate
evaluation = evaluate("bundled:fragile", "phantom", profile="quick")
evaluation.to_pandas()
evaluation.report("report")
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pandas as pd

from suites.harness.cache.measures import KeptMeasures
from suites.harness.claims import Claim, Judgement
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.external import is_external
from suites.harness.cohorts.probes import films_of, shared_films
from suites.harness.endpoints import get
from suites.harness.endpoints.measuring import is_ours
from suites.harness.endpoints.named_classes import without_their_classes
from suites.harness.endpoints.uncertainty.held_out import caveat
from suites.harness.errors import printable
from suites.harness.measured_run import MeasuredRun
from suites.harness.performance.paired_comparison import compare
from suites.harness.predictions.per_finding import whole_of
from suites.harness.predictions.table import together
from suites.harness.process import LARGE, give_back, mapping
from suites.harness.progress import STAGES
from suites.harness.record import PAGE, Part, Record, no_exclusions, no_predictions, writable
from suites.harness.report import drawing_once, write_report
from suites.harness.report.results import verdicts_table
from suites.harness.statistics import DENSE
from suites.harness.stress_grid.kept_cells import KeptCells
from suites.harness.stress_grid.whole import stress_grid
from suites.harness.validity.in_report import section_of
from suites.harness.verdicts import judge_together

OF_MANY = (
    f"There are more than {DENSE:,} films: patients are resampled by Poisson numbers, which gives the intervals of the "
    "multinomial bootstrap; rank measures (AUROC and the like) are counted in fine bins, and their intervals are wider "
    "by what bins can change."
)


@dataclass(kw_only=True)
class Evaluation(MeasuredRun):
    """A run that predicts, measures and judges as it is asked, and remembers.

    Attributes:
        command: the command line that does the same again; `shortened` where paths in it are cut to their last name.
        stopped: what ended the run before it judged all of its claims, in a few words; a report then shows what is
            there.
        remarks: what became known after all was judged, for the notes (which subject a gate compared with which).
    """

    command: str = ""
    shortened: bool = False
    stopped: str = ""
    remarks: list[str] = field(default_factory=list, repr=False)
    _judged: dict[tuple[str, str], list[Judgement]] = field(default_factory=dict, repr=False)
    _began: float = field(default_factory=time.monotonic, repr=False)
    _started: str = field(default_factory=lambda: datetime.now().astimezone().isoformat(timespec="seconds"), repr=False)

    def judgement(self, claim: Claim, subject: str) -> Judgement:
        """Return the judgement of one claim on one subject; its whole section is judged with it.

        Raises:
            ValueError: this run is about other claims.
        """
        if not self.is_selected(claim):
            raise ValueError(f"{claim.id} is none of the claims that were selected, and is not measured as a whole")
        key = claim.section, subject
        if key not in self._judged:
            # The findings of one subject share Holm's correction: whoever looks at all finds something more often.
            names = self._together(subject)
            section = {
                name: [other for other in self.running if other.section == claim.section and name in self.about(other)]
                for name in names
            }
            for name, judged in judge_together(section, self.measured(section)).items():
                self._judged[claim.section, name] = judged
        return next(judgement for judgement in self._judged[key] if judgement.claim.id == claim.id)

    def _together(self, name: str) -> list[str]:
        """Return what is judged together with a subject: the other findings of its whole."""
        whole = next((subject.whole for subject in self.subjects if subject.name == name), None)
        return [name] if whole is None else [one.name for one in self.subjects if one.whole is whole]

    def run(self) -> Evaluation:
        """Judge every selected claim on everything it is about, the cheap ones first."""
        for claim in sorted(self.claims, key=self.cost):
            if self.is_selected(claim):
                for subject in self.about(claim):
                    self.judgement(claim, subject)
        return self

    @property
    def pairs(self) -> set[tuple[str, str]]:
        """Every judgement of a whole run, as (id of a claim, what it is judged on)."""
        return {(claim.id, subject) for claim in self.claims for subject in self.about(claim)}

    @property
    def part(self) -> Part | None:
        """What has been judged so far, where that is not the whole table."""
        pairs, judged = self.pairs, len(self.judgements)
        if judged == len(pairs):
            return None
        what = "claims" if len(pairs) == len(self.claims) else "judgements"
        why = "; ".join(filter(None, (self.chosen_by, self.stopped)))
        return Part(judged=judged, of=len(pairs), what=what, why=why)

    def cost(self, claim: Claim) -> int:
        """Return what a claim waits for: 0 page or cohort, 1 answers, then attacks, then explanations.

        Its section counts as a whole, for it is judged as a whole. Explanations show what attacks have found.
        """
        endpoints = [get(other.endpoint) for other in self.claims if other.section == claim.section]
        return max(0 if one.about != "subject" else list(STAGES).index(one.stage) for one in endpoints)

    @property
    def judgements(self) -> list[Judgement]:
        """Everything judged so far, in the order of the claims table, then of the subjects."""
        order = {claim.id: position for position, claim in enumerate(self.claims)}
        flat = [judgement for section in self._judged.values() for judgement in section]
        shown = [judgement for judgement in flat if self.is_selected(judgement.claim)]
        names = [PAGE, self.cohort.name, *(subject.name for subject in self.subjects)]
        return sorted(shown, key=lambda judgement: (order[judgement.claim.id], names.index(judgement.subject)))

    def record(self) -> Record:
        """Return everything a report is written from."""
        tables = [answers.predictions.table for _, answers in self._in_order()]
        excluded = [answers.predictions.excluded for _, answers in self._in_order()]
        judged = {name: answers.cohort for (name, role), answers in self._answers.items() if role == "main"}
        findings = {subject.name for subject in self.subjects if subject.whole is not None}
        aligned = (cohort for name, cohort in judged.items() if name not in findings)
        return Record(
            subjects=self.subjects,
            cohort=writable(next(aligned, None) or self._readable(excluded)),
            labelled={name: writable(cohort) for name, cohort in judged.items() if name in findings},
            judgements=self.judgements,
            predictions=together(tables) if tables else no_predictions(),
            excluded=self._by_id(pd.concat(excluded, ignore_index=True)) if excluded else no_exclusions(),
            profile=self.profile,
            seed=self.seed,
            command=printable(self.command),
            shortened=self.shortened,
            started=self._started,
            seconds=time.monotonic() - self._began,
            resolution=str(self.working),
            versions=self._versions,
            probes={role: writable(probe) for role, probe in self.probes.items()},
            checks=self.checks,
            notes=self.notes,
            part=self.part,
            expected=0.0 if self.stopped else self.progress.expected,  # the plan is of a whole run
            kept=KeptMeasures(self.cache, self._versions),
        )

    def _readable(self, excluded: Sequence[pd.DataFrame]) -> Cohort:
        """Return the cohort without the films that could not be read, as far as any were asked about."""
        lost = {file for table in excluded for file in table.loc[table["cohort"] == self.cohort.name, "file"]}
        return self.cohort.select(~self.cohort.table["file"].astype(str).isin(lost)) if lost else self.cohort

    def _by_id(self, excluded: pd.DataFrame) -> pd.DataFrame:
        """Return each film left out once, named as in films.csv and not by where it lies."""
        films = pd.concat([cohort.table[["file", "id"]] for cohort in (self.cohort, *self.probes.values())])
        lost = films.astype(str)
        ids = dict(lost[lost["file"].isin(excluded["file"])].itertuples(index=False, name=None))
        return excluded.assign(file=[ids.get(file, file) for file in excluded["file"]]).drop_duplicates()

    @property
    def warnings(self) -> list[str]:
        """What is wrong with the subjects themselves, a sentence each."""
        return [
            f"{subject.name}: {check.detail}." + (" None of its claims is judged." if check.blocking else "")
            for subject in self.wholes
            for check in next(self.checks[one.name] for one in self.subjects if whole_of(one) is subject)
            if not check.passed
        ]

    @property
    def assumptions(self) -> list[str]:
        """What was assumed of the subjects because nobody said, a sentence each."""
        told = [(subject.name, subject.provenance.assumed) for subject in self.wholes]
        return [f"{name}: {assumed}." for name, assumed in told if assumed]

    @property
    def unfit(self) -> list[str]:
        """Which claims name classes that a subject does not have, a sentence for each subject."""
        asked = list(filter(self.is_selected, self.claims))
        first = {whole_of(subject).name: subject for subject in reversed(self.subjects)}
        return [told for subject in first.values() if (told := without_their_classes(asked, subject))]

    @property
    def notes(self) -> list[str]:
        """What every reader must be told first."""
        judged = [answers for (_, role), answers in self._answers.items() if role == "main"]
        read = dict.fromkeys(note for _, answers in self._in_order() for note in answers.predictions.notes)
        notes = [
            *self.remarks, *self.warnings, *self.hardware(), *self.assumptions, *(one.note() for one in self.judged_on),
            *self.cohort.notes, *self._of_hospitals, *read,
            *([OF_MANY] if any(len(answers.cohort) > DENSE for answers in judged) else ()),
            *filter(None, map(caveat, judged)), *self._shared_films(),
        ]  # fmt: skip
        if self.cohort.simulated:
            notes.insert(
                0,
                "This is a self-test on simulated films: it shows that the suite sees a failure that is there. It says "
                "nothing about any clinical use. For a real subject pass --weights and --data with real films.",
            )
        return notes

    @property
    def _of_hospitals(self) -> list[str]:
        """What must be known of the films of other hospitals."""
        others = [cohort for role, cohort in self.probes.items() if is_external(role)]
        return [f"{cohort.name}: {note}" for cohort in others for note in cohort.notes]

    def _shared_films(self) -> list[str]:
        """Return what must be known of films that lie in the cohort and in a probe."""
        contents = {role: answers.predictions.contents for (_, role), answers in self._in_order()}
        probes = {role: films for role, films in contents.items() if not is_external(role)}
        of_findings = all(subject.whole is not None for subject in self.subjects)
        seen_as = {role: films_of(role, of_findings=of_findings) for role in probes}
        return shared_films(probes.pop("main", {}), probes, seen_as)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per claim and subject: verdict, effect with interval, margin, reason."""
        return verdicts_table(self.judgements)

    def report(self, folder: str | Path) -> Path:
        """Write the report and return its `index.html`."""
        if self.preset and not self.stopped:  # a run of claims that need no predictions still owes the grid
            for subject in self.judged:
                self.evidence(subject.name)
        give_back()
        # Matrices of resamples are freed after each measure, and no two are of a size: kept, none fits the next.
        with self.progress.doing("drawing", "the report"), mapping(LARGE):
            return self._drawn(Path(folder).expanduser())

    def _drawn(self, folder: Path) -> Path:
        judged = [answers for (_, role), answers in self._answers.items() if role == "main"]
        asked = self.conditions(filter(self.is_selected, self.claims))
        cells = KeptCells(self.cache, self._decided_by(()))
        grid = stress_grid(judged, self.preset, {condition.text for condition in asked}, cells)
        hospitals = section_of(self.record())
        give_back()
        if not all(is_ours(judgement.claim) for judgement in self.judgements):
            return write_report(self.record(), folder, comparison=compare(judged), grid=grid, hospitals=hospitals)
        looked = [role for role in self.probes if any(key[1] == role for key in self._answers)]
        with drawing_once(self.record(), self.cache, self._decided_by(looked), self.progress) as record:
            return write_report(record, folder, comparison=compare(judged), grid=grid, hospitals=hospitals)

    def _repr_html_(self) -> str:
        """Return the verdict table for a notebook."""
        columns = ["claim", "subject", "verdict", "estimate", "low", "high", "margin", "n"]
        return str(
            self.to_pandas().reindex(columns=columns).to_html(index=False, float_format="{:.3f}".format, escape=True)
        )
