"""What is one run? Subjects x cohort x claims: predict once, judge many; pytest and the Python face end here.

from suites.harness import evaluate
evaluation = evaluate("bundled:fragile", "phantom", profile="quick")
evaluation.to_pandas()
evaluation.report("report")
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Literal

import pandas as pd

from suites.harness.cache import default_folder
from suites.harness.cache.code_digest import OUR_PACKAGES, digest_of, digest_of_table
from suites.harness.cache.results import KeptResults
from suites.harness.cache.versions import library_versions
from suites.harness.claims import Claim, Judgement, Result, load_claims
from suites.harness.cohorts.class_roles import for_classes
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.decoding import check_exclusions
from suites.harness.cohorts.layouts import align_labels
from suites.harness.cohorts.probes import shared_films
from suites.harness.endpoints import get
from suites.harness.endpoints.measuring import endpoint_of, is_ours, measured_alone
from suites.harness.endpoints.named_classes import without_their_classes
from suites.harness.endpoints.uncertainty.held_out import caveat
from suites.harness.errors import NotEvaluable, SubjectProblem, UsageProblem, one_line, printable
from suites.harness.performance.paired_comparison import compare
from suites.harness.predictions.answers import Answers, Evidence, WhenAsked
from suites.harness.predictions.conditions import CLEAN, Condition, parse
from suites.harness.predictions.resolution import AS_STORED, Resolution
from suites.harness.predictions.subject_checks import SubjectCheck, barred, refuse, subject_checks
from suites.harness.predictions.table import predict
from suites.harness.progress import STAGES, Progress
from suites.harness.record import PAGE, Part, Record, no_exclusions, no_predictions, writable
from suites.harness.report import drawing_once, write_report
from suites.harness.report.results import verdicts_table
from suites.harness.stress_grid.whole import preset_conditions, stress_grid
from suites.harness.subjects.subject import Subject, device_kind
from suites.harness.verdicts import judge_section

Profile = Literal["quick", "standard", "full"]
SEVERITIES: Mapping[str, tuple[int, ...]] = {"quick": (1, 3, 5), "standard": (1, 2, 3, 4, 5), "full": (1, 2, 3, 4, 5)}


@dataclass(kw_only=True)
class Evaluation:
    """A run that predicts, measures and judges as it is asked, and remembers.

    Attributes:
        subjects: the classifiers; `cohort` the films; `claims` the whole table, so that Holm's correction never depends
            on which tests were selected.
        probes: further cohorts by role (`lateral`, `adult`, `unseen`).
        profile: how much is run; see `SEVERITIES`.
        preset: a whole grid of perturbations that is run beside what the claims need (`robustness.presets`).
        resolution: `working`: films are perturbed at what their subjects can tell from more (see `Resolution`), or
            `native`: as they are stored.
        selected: ids of the claims this run is about, the others of their sections only share Holm's correction with
            them; empty: all of the table. Set by `select`, with `chosen_by`: how they were chosen, in a few words.
        stopped: what ended the run before it judged all of them, in a few words; a report then shows what is there.
        progress: told of whatever is done.
    """

    subjects: Sequence[Subject]
    cohort: Cohort
    claims: Sequence[Claim]
    probes: Mapping[str, Cohort] = field(default_factory=dict)
    profile: str = "quick"
    preset: str | None = None
    resolution: Literal["working", "native"] = "working"
    seed: int = 0
    cache: Path = field(default_factory=default_folder)
    quiet: bool = False
    command: str = ""
    selected: frozenset[str] = frozenset()
    chosen_by: str = ""
    stopped: str = ""
    progress: Progress = field(default_factory=Progress, repr=False)
    _judged: dict[tuple[str, str], list[Judgement]] = field(default_factory=dict, repr=False)
    _answers: dict[tuple[str, str], Answers] = field(default_factory=dict, repr=False)
    _kept: dict[tuple[str, tuple[str, ...]], KeptResults] = field(default_factory=dict, repr=False)
    _began: float = field(default_factory=time.monotonic, repr=False)
    _started: str = field(default_factory=lambda: datetime.now().astimezone().isoformat(timespec="seconds"), repr=False)

    def __post_init__(self) -> None:
        if self.profile not in SEVERITIES:
            raise UsageProblem(f"profile is {self.profile!r}; known are {', '.join(SEVERITIES)}")
        if self.resolution not in ("working", "native"):
            raise UsageProblem(f"resolution is {self.resolution!r}; known are working, native")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**63:
            raise UsageProblem(f"seed is {repr(self.seed)[:40]}; expected a whole number from 0 to 2**63 - 1")
        if not self.claims:
            raise UsageProblem("no claims were selected: nothing would be judged")
        names = [subject.name for subject in self.subjects]
        repeated = {name for name in names if names.count(name) > 1}
        if repeated:
            raise SubjectProblem(
                f"two subjects are called {', '.join(sorted(repeated))}; name them with --name (from Python, name=)"
            )
        self.claims = for_classes(self.claims, [subject.classes for subject in self.subjects])
        self.conditions(self.claims)  # every parameter of every claim is read: a mistake ends the run here
        self._check_classes()
        preset_conditions(self.preset)

    def _check_classes(self) -> None:
        """Refuse a class that no subject of the run has and that is spelt almost like one they have.

        The project's own table names the published classes: a subject that spells them otherwise is for its claims to
        say, one by one.
        """
        published = {claim.id: claim.parameters for claim in load_claims()}
        known = sorted({name for subject in self.subjects for name in subject.classes})
        for claim in self.claims:
            endpoint = get(claim.endpoint)
            if endpoint.about != "subject":
                continue
            for name, wanted in endpoint.classes_named(claim).items():
                near = get_close_matches(wanted, known, n=1, cutoff=0.8)
                if near and wanted not in known and published.get(claim.id, {}).get(name) != wanted:
                    raise UsageProblem(
                        f"claim {claim.id}: `{name}` is {wanted!r}, a class that no subject of this run has; did you "
                        f"mean {near[0]}?"
                    )

    def about(self, claim: Claim) -> list[str]:
        """Return what a claim is judged on: the page, the cohort, or each subject."""
        kind = get(claim.endpoint).about
        return {"page": [PAGE], "cohort": [self.cohort.name]}.get(kind) or [subject.name for subject in self.subjects]

    def conditions(self, claims: Iterable[Claim]) -> list[Condition]:
        """Return every condition these claims need, clean first, each once."""
        severities, thorough = SEVERITIES[self.profile], self.profile != "quick"
        wanted = {CLEAN: parse(CLEAN)}
        for claim in claims:
            needed = endpoint_of(claim).conditions(claim, severities, thorough=thorough)
            wanted |= {condition.text: condition for condition in needed}
        return list(wanted.values())

    def judgement(self, claim: Claim, subject: str) -> Judgement:
        """Return the judgement of one claim on one subject; its whole section is judged with it."""
        key = claim.section, subject
        if key not in self._judged:
            section = [
                other for other in self.claims if other.section == claim.section and subject in self.about(other)
            ]
            results = {other.id: self._measure(other, subject) for other in section}
            self._judged[key] = judge_section(section, subject, results)
            for kept in self._kept.values():
                kept.flush()
        return next(judgement for judgement in self._judged[key] if judgement.claim.id == claim.id)

    def run(self) -> Evaluation:
        """Judge every selected claim on everything it is about, the cheap ones first."""
        for claim in sorted(self.claims, key=self.cost):
            if not self.selected or claim.id in self.selected:
                for subject in self.about(claim):
                    self.judgement(claim, subject)
        return self

    def select(self, ids: Iterable[str], chosen_by: str = "") -> None:
        """Say which claims this run is about, and how they were chosen, before anything is predicted.

        Raises:
            ValueError: the conditions of this run have been planned; another selection needs another run.
        """
        if "plan" in self.__dict__:
            raise ValueError("this run has planned its conditions already; select its claims before it predicts")
        self.selected, self.chosen_by = frozenset(ids), chosen_by

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

    @cached_property
    def plan(self) -> Mapping[str, Sequence[Condition]]:
        """Role of a cohort (`main`, a probe's) -> what it is predicted under.

        Made once, before the first prediction, from all claims whose section is judged: what a claim needs never
        depends on which of them is judged first. Nothing is predicted of a cohort that no such claim looks at.
        """
        wanted = [claim for claim in self.running if get(claim.endpoint).about == "subject"]
        plan = {"main": self._asked(wanted)} if wanted or self.preset else {}
        for role in self.probes:
            looking = [claim for claim in wanted if role in get(claim.endpoint).roles(claim, self.probes)]
            if looking:
                plan[role] = self._probed(looking)
        return plan

    def _probed(self, claims: Iterable[Claim]) -> list[Condition]:
        """Return what a probe is predicted under for these claims: as its films came, and whatever they name."""
        probed = {CLEAN: parse(CLEAN)}
        for claim in claims:
            needed = get(claim.endpoint).probe_conditions(claim, thorough=self.profile != "quick")
            probed |= {condition.text: condition for condition in needed}
        return list(probed.values())

    @property
    def running(self) -> list[Claim]:
        """The claims whose section is judged in this run: they share Holm's correction with a selected one."""
        sections = {other.section for other in self.claims if other.id in self.selected}
        return [claim for claim in self.claims if not self.selected or claim.section in sections]

    def cost(self, claim: Claim) -> int:
        """Return what a claim waits for: 0 page or cohort, 1 answers, then attacks, then explanations.

        Its section counts as a whole, for it is judged as a whole. Explanations show what attacks have found.
        """
        endpoints = [get(other.endpoint) for other in self.claims if other.section == claim.section]
        return max(0 if one.about != "subject" else list(STAGES).index(one.stage) for one in endpoints)

    def _measure(self, claim: Claim, subject: str) -> Result | str:
        """Return the result of a claim's endpoint, or the reason why it cannot be had."""
        measure = get(claim.endpoint)
        try:
            if measure.about == "page":
                return measured_alone(measure, None, claim)
            if measure.about == "cohort":
                return measured_alone(measure, self.cohort, claim)
            refuse(self._named(subject), self.checks[subject])
            looked: set[str] = set()
            evidence = self.evidence(subject, looked)
            roles = measure.roles(claim, self.probes)
            for role in roles:
                self.answers(self._named(subject), self.probes[role], role)

            def found() -> Result:
                result = measured_alone(measure, evidence, claim)
                # Answers on a probe that no parameter names are in no key.
                return replace(result, settled=result.settled and looked <= {"main", *roles})

            with self.progress.doing(measure.stage, f"{claim.id}, {subject}"):
                result = self._results(subject, roles).once(claim, found) if is_ours(claim) else found()
                if measure.stage == "measuring":
                    self.progress.done()
                return result
        except NotEvaluable as reason:
            return str(reason)

    def evidence(self, name: str, looked: set[str] | None = None) -> Evidence:
        """Return the answers of one subject, predicting what is missing; on a probe when somebody looks at it.

        Args:
            name: of the subject.
            looked: takes the roles that somebody has looked at.

        Raises:
            NotEvaluable: the subject is no function of the film (see `checks`).
        """
        subject = self._named(name)
        refuse(subject, self.checks[name])
        cohorts, seen = {"main": self.cohort, **self.probes}, set() if looked is None else looked

        def there(role: str) -> Answers:
            seen.add(role)
            return self.answers(subject, cohorts[role], role)

        def beside(role: str) -> list[Answers]:
            mine = there(role)
            found = [self.answers(other, cohorts[role], role) for other in self.judged if other.name != name]
            return [one for one in found if one.subject.classes == subject.classes and one.images == mine.images]

        return Evidence(
            main=self.answers(subject, self.cohort, "main"), profile=self.profile, seed=self.seed, cache=self.cache,
            probes=WhenAsked(self.probes, there),
            severities=SEVERITIES[self.profile], peers=WhenAsked(cohorts, beside),
        )  # fmt: skip

    def _named(self, name: str) -> Subject:
        return next(subject for subject in self.subjects if subject.name == name)

    @cached_property
    def working(self) -> Resolution:
        """At which films are perturbed: one for all subjects, so that they are asked about the same films."""
        if self.resolution == "native":
            return AS_STORED
        recipes = [
            recipe for subject in self.subjects for recipe in (subject.preprocessing, *subject.preprocessings.values())
        ]
        return Resolution.enough_for(recipes)

    @cached_property
    def checks(self) -> Mapping[str, Sequence[SubjectCheck]]:
        """Name of a subject -> what a few films show about it, found out before the first prediction."""
        found = {}
        for subject in self.subjects:
            with self.progress.doing("checking", f"{subject.name} on {one_line(self.cohort.name, 30)}"):
                found[subject.name] = subject_checks(subject, self.cohort, self.cache)
                self.progress.done(len(self.cohort))
        return found

    @property
    def judged(self) -> Sequence[Subject]:
        """The subjects that claims can be judged on: those whose answer is a function of the film."""
        return [subject for subject in self.subjects if not barred(self.checks[subject.name])]

    def _results(self, subject: str, roles: Sequence[str]) -> KeptResults:
        """Return what was found of a subject before with these probes; called when they have been predicted."""
        key = subject, tuple(roles)
        if key not in self._kept:
            self._kept[key] = KeptResults(self.cache, {"about": subject, **self._decided_by(roles)})
        return self._kept[key]

    def _decided_by(self, roles: Iterable[str]) -> dict[str, object]:
        """Return everything that decides a result or a picture besides its claim, where these probes are looked at."""
        looked = ["main", *roles]
        films = [self.cohort.table, *(self.probes[role].table for role in looked[1:])]
        return {
            "answers": [
                [*key, digest_of_table(found.predictions.table), sorted(found.predictions.contents.items())]
                for key, found in self._in_order()
                if key[1] in looked
            ],
            "probes": list(self.probes),
            "films": [digest_of_table(table) for table in films],
            "subjects": [[one.name, one.cache_key, one.attribution_layer] for one in self.subjects],
            "profile": self.profile,
            "preset": self.preset,
            "resolution": str(self.working),
            "seed": self.seed,
            "code": [digest_of(package, "**/*.py") for package in OUR_PACKAGES],
            "versions": self._versions,
        }

    def _asked(self, claims: Iterable[Claim]) -> list[Condition]:
        """Return what the main cohort is predicted under: the conditions of the claims, then the preset's."""
        conditions = self.conditions(claims)
        known = {condition.text for condition in conditions}
        return conditions + [item for item in preset_conditions(self.preset) if item.text not in known]

    def _in_order(self) -> list[tuple[tuple[str, str], Answers]]:
        """Return what was answered by (subject, role): probes in their order, then the cohort; whichever came first."""
        roles, names = [*self.probes, "main"], [subject.name for subject in self.subjects]
        return sorted(self._answers.items(), key=lambda item: (roles.index(item[0][1]), names.index(item[0][0])))

    def available(self, subject: Subject, conditions: Sequence[Condition]) -> list[Condition]:
        """Return the conditions this subject can be asked under (a subject may have one preprocessing only)."""
        recipes = {subject.preprocessing.name, *subject.preprocessings}
        return [condition for condition in conditions if condition.preprocessing in {None, *recipes}]

    def answers(self, subject: Subject, cohort: Cohort, role: str) -> Answers:
        """Return what a subject answers on a cohort under the plan's conditions, from the cache where it is there."""
        if (subject.name, role) not in self._answers:
            planned = self.plan[role] if role in self.plan else self._probed(())  # somebody looks at it unannounced
            asked = {other.name: (other, self.available(other, planned)) for other in self.judged}
            # Before anything is predicted: labels that do not fit end the run.
            aligned = self._aligned[role]
            found = predict(
                asked, cohort, seed=self.seed, cache=self.cache, quiet=self.quiet, resolution=self.working,
                progress=self.progress,
            )  # fmt: skip
            check_exclusions(found[subject.name].excluded, len(cohort))
            for other in self.judged:
                self._answers[other.name, role] = Answers.of(
                    other, aligned[other.name], found[other.name], seed=self.seed, cache=self.cache,
                    resolution=self.working, progress=self.progress,
                )  # fmt: skip
        return self._answers[subject.name, role]

    @cached_property
    def _aligned(self) -> Mapping[str, Mapping[str, Cohort]]:
        """Role -> subject -> its films with the classes as the subject spells them; all before the first prediction."""
        cohorts = {"main": self.cohort, **self.probes}
        return {
            role: {one.name: align_labels(cohort, one.classes, probe=role != "main") for one in self.judged}
            for role, cohort in cohorts.items()
        }

    @property
    def judgements(self) -> list[Judgement]:
        """Everything judged so far, in the order of the claims table, then of the subjects."""
        order = {claim.id: position for position, claim in enumerate(self.claims)}
        flat = [judgement for section in self._judged.values() for judgement in section]
        shown = [judgement for judgement in flat if not self.selected or judgement.claim.id in self.selected]
        names = [PAGE, self.cohort.name, *(subject.name for subject in self.subjects)]
        return sorted(shown, key=lambda judgement: (order[judgement.claim.id], names.index(judgement.subject)))

    @cached_property
    def _versions(self) -> dict[str, str]:
        return library_versions(
            (device_kind(subject.device) for subject in self.subjects),
            (subject.precision for subject in self.subjects if subject.network is not None),
        )

    def record(self) -> Record:
        """Return everything a report is written from."""
        tables = [answers.predictions.table for _, answers in self._in_order()]
        excluded = [answers.predictions.excluded for _, answers in self._in_order()]
        judged = (answers.cohort for (_, role), answers in self._answers.items() if role == "main")
        return Record(
            subjects=self.subjects,
            cohort=writable(next(judged, self.cohort)),
            judgements=self.judgements,
            predictions=pd.concat(tables, ignore_index=True) if tables else no_predictions(),
            excluded=self._by_id(pd.concat(excluded, ignore_index=True)) if excluded else no_exclusions(),
            profile=self.profile,
            seed=self.seed,
            command=printable(self.command),
            started=self._started,
            seconds=time.monotonic() - self._began,
            resolution=str(self.working),
            versions=self._versions,
            probes={role: writable(probe) for role, probe in self.probes.items()},
            checks=self.checks,
            notes=self.notes,
            part=self.part,
            expected=self.progress.expected,
        )

    def _by_id(self, excluded: pd.DataFrame) -> pd.DataFrame:
        """Return each film left out once, named as in films.csv and not by where it lies."""
        films = pd.concat([cohort.table[["file", "id"]] for cohort in (self.cohort, *self.probes.values())])
        ids = dict(films.astype(str).itertuples(index=False, name=None))
        return excluded.assign(file=[ids.get(file, file) for file in excluded["file"]]).drop_duplicates()

    @property
    def warnings(self) -> list[str]:
        """What is wrong with the subjects themselves, a sentence each."""
        return [
            f"{subject}: {check.detail}." + (" None of its claims is judged." if check.blocking else "")
            for subject, checks in self.checks.items()
            for check in checks
            if not check.passed
        ]

    @property
    def assumptions(self) -> list[str]:
        """What was assumed of the subjects because nobody said, a sentence each."""
        told = [(subject.name, subject.provenance.assumed) for subject in self.subjects]
        return [f"{name}: {assumed}." for name, assumed in told if assumed]

    @property
    def unfit(self) -> list[str]:
        """Which claims name classes that a subject does not have, a sentence for each subject."""
        asked = [claim for claim in self.claims if not self.selected or claim.id in self.selected]
        return [told for subject in self.subjects if (told := without_their_classes(asked, subject))]

    @property
    def notes(self) -> list[str]:
        """What every reader must be told first."""
        judged = [answers for (_, role), answers in self._answers.items() if role == "main"]
        read = dict.fromkeys(note for _, answers in self._in_order() for note in answers.predictions.notes)
        notes = [
            *self.warnings, *self.assumptions, *self.cohort.notes, *read, *filter(None, map(caveat, judged)),
            *self._shared_films(),
        ]  # fmt: skip
        if self.cohort.simulated:
            notes.insert(
                0,
                "This is a self-test on simulated films: it shows that the suite sees a failure that is there. It says "
                "nothing about any clinical use. For a real subject pass --weights and --data with real films.",
            )
        return notes

    def _shared_films(self) -> list[str]:
        """Return what must be known of films that lie in the cohort and in a probe."""
        contents = {role: answers.predictions.contents for (_, role), answers in self._in_order()}
        return shared_films(contents.pop("main", {}), contents)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per claim and subject: verdict, effect with interval, margin, reason."""
        return verdicts_table(self.judgements)

    def report(self, folder: str | Path) -> Path:
        """Write the report and return its `index.html`."""
        if self.preset and not self.stopped:  # a run of claims that need no predictions still owes the grid
            for subject in self.judged:
                self.evidence(subject.name)
        with self.progress.doing("drawing", "the report"):
            return self._drawn(Path(folder).expanduser())

    def _drawn(self, folder: Path) -> Path:
        judged = [answers for (_, role), answers in self._answers.items() if role == "main"]
        grid = stress_grid(judged, self.preset)
        if not all(is_ours(judgement.claim) for judgement in self.judgements):
            return write_report(self.record(), folder, comparison=compare(judged), grid=grid)
        looked = [role for role in self.probes if any(key[1] == role for key in self._answers)]
        with drawing_once(self.record(), self.cache, self._decided_by(looked), self.progress) as record:
            return write_report(record, folder, comparison=compare(judged), grid=grid)

    def _repr_html_(self) -> str:
        """Return the verdict table for a notebook."""
        columns = ["claim", "subject", "verdict", "estimate", "low", "high", "margin", "n"]
        return str(
            self.to_pandas().reindex(columns=columns).to_html(index=False, float_format="{:.3f}".format, escape=True)
        )
