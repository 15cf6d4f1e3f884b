"""What does a run ask, and what did its subjects answer? Predicted when somebody needs it, and then kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

from suites.harness.cache import default_folder
from suites.harness.cache.places import Root
from suites.harness.claims import Claim
from suites.harness.claims_table import load_claims, table_ids
from suites.harness.cohorts.class_roles import for_classes, for_findings
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.decoding import check_exclusions
from suites.harness.cohorts.external import is_external, refuse_shared_films
from suites.harness.cohorts.finding_names import labelled
from suites.harness.cohorts.layouts import align_labels
from suites.harness.cohorts.near_copies import near_copies
from suites.harness.endpoints import get
from suites.harness.endpoints.external.hospitals import for_hospitals
from suites.harness.endpoints.measuring import endpoint_of
from suites.harness.errors import SubjectProblem, UsageProblem, one_line
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN, Condition, parse
from suites.harness.predictions.dispatching import Workers
from suites.harness.predictions.evidence import Evidence, gathered
from suites.harness.predictions.per_finding import JudgedOn, judged_on, of_subject, whole_of
from suites.harness.predictions.resolution import AS_STORED, Resolution
from suites.harness.predictions.subject_checks import SubjectCheck, barred, refuse, subject_checks
from suites.harness.predictions.table import predict
from suites.harness.predictions.tolerance import kept_others, told_of_others, within
from suites.harness.predictions.workers import checked, workers_of
from suites.harness.process import give_back
from suites.harness.progress import Progress
from suites.harness.record import PAGE
from suites.harness.stress_grid.whole import preset_conditions
from suites.harness.subjects.finding import own_finding
from suites.harness.subjects.subject import Subject


def _asked_of(subjects: Sequence[Subject], claims: Sequence[Claim]) -> Sequence[Claim]:
    """Return the claims as these subjects are asked them; each finding's own words come with its measure."""
    classes = [subject.classes for subject in subjects if subject.whole is None]
    return for_classes(claims, classes) if classes else for_findings(claims)


Profile = Literal["quick", "standard", "full"]
SEVERITIES: Mapping[str, tuple[int, ...]] = {"quick": (1, 3, 5), "standard": (1, 2, 3, 4, 5), "full": (1, 2, 3, 4, 5)}


@dataclass(kw_only=True)
class PredictedRun:
    """Subjects, films and claims, and the answers that these claims need.

    Attributes:
        subjects: the classifiers, one that answers several findings as a subject for each of them (see `judged_on`);
            `cohort` the films; `claims` the whole table, so that Holm's correction never depends
            on which tests were selected.
        probes: further cohorts by role (`lateral`, `adult`, `unseen`; `external`, `external-2` of other hospitals).
        profile: how much is run; see `SEVERITIES`.
        preset: a whole grid of perturbations that is run beside what the claims need (`robustness.presets`).
        resolution: `working`: films are perturbed at what their subjects can tell from more (see `Resolution`), or
            `native`: as they are stored.
        blocks_at: address that finished blocks are kept at (`s3://...`), where that is not the cache.
        workers: processes that predict, `ray` or `ray://HOST:PORT`; they decide no number.
        tolerance: how far logits may lie apart on workers of other hardware; `None`: they are the same bits.
        finding_names: finding of a subject -> that of the films (see `cohorts.finding_names`), where the names do not
            tell; empty for none.
        selected: ids of the claims this run is about, the others of their sections only share Holm's correction with
            them (see `running`); empty: all of the table. Set by `select`, with `chosen_by`: how they were chosen.
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
    blocks_at: Root | None = None
    workers: int | str = 1
    tolerance: float | None = None
    finding_names: Mapping[str, str] = field(default_factory=dict)
    selected: frozenset[str] = frozenset()
    chosen_by: str = ""
    progress: Progress = field(default_factory=Progress, repr=False)
    judged_on: Sequence[JudgedOn] = field(default=(), init=False, repr=False)
    _answers: dict[tuple[str, str], Answers] = field(default_factory=dict, repr=False)

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
        self.subjects, self.judged_on = judged_on(self.subjects, self.cohort, self.finding_names)
        self.claims = _asked_of(self.subjects, self.claims)
        self.claims = for_hospitals(self.claims, self.probes)
        self.conditions(self.claims)  # every parameter of every claim is read: a mistake ends the run here
        self._check_classes()
        preset_conditions(self.preset)
        checked(self.workers)
        if self.tolerance is not None:
            self.subjects = within(self.subjects, self.tolerance)

    def _check_classes(self) -> None:
        """Refuse a class that no subject of the run has and that is spelt almost like one they have.

        The project's own table names the published classes: a subject that spells them otherwise is for its claims to
        say, one by one.
        """
        published = {claim.id: claim.parameters for claim in load_claims()}
        published |= {name: published[own] for name, own in table_ids().items()}
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

    def select(self, ids: Iterable[str], chosen_by: str = "") -> None:
        """Say which claims this run is about, and how they were chosen, before anything is predicted.

        Raises:
            ValueError: the conditions of this run have been planned; another selection needs another run.
        """
        if "plan" in self.__dict__:
            raise ValueError("this run has planned its conditions already; select its claims before it predicts")
        self.selected, self.chosen_by = frozenset(ids), chosen_by

    @cached_property
    def plan(self) -> Mapping[str, Sequence[Condition]]:
        """Role of a cohort (`main`, a probe's) -> what it is predicted under.

        Made once, before the first prediction, from all claims that are measured: what a claim needs never depends on
        which of them is judged first. Nothing is predicted that no such claim looks at.
        """
        wanted = [claim for claim in self.running if get(claim.endpoint).about == "subject"]
        plan = {"main": self._asked(wanted)} if wanted or self.preset else {}
        for role in self.probes:
            looking = [claim for claim in wanted if role in self.roles(claim)]
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
        """The claims that are measured in this run.

        Those that are selected, whole; and the others of their sections, for the p values that Holm's correction takes,
        without what only stands beside their verdicts (controls, remedies, other severities, probes for a table).
        """
        sections = {other.section for other in self.claims if self.is_selected(other)}
        return [
            claim if self.is_selected(claim) else get(claim.endpoint).for_verdict(claim)
            for claim in self.claims
            if claim.section in sections
        ]

    def is_selected(self, claim: Claim) -> bool:
        """Return whether this run is about a claim."""
        return not self.selected or claim.id in self.selected

    def roles(self, claim: Claim) -> list[str]:
        """Return the probes that one of the running claims looks at."""
        return get(claim.endpoint).roles(claim, self.probes, for_verdict=not self.is_selected(claim))

    def evidence(self, name: str, looked: set[str] | None = None, without: Collection[str] = ()) -> Evidence:
        """Return the answers of one subject, predicting what is missing; on a probe when somebody looks at it.

        Args:
            name: of the subject.
            looked: takes the roles that somebody has looked at.
            without: roles of probes that are not to be had.

        Raises:
            NotEvaluable: the subject is no function of the film (see `checks`).
        """
        subject = self._named(name)
        refuse(subject, self.checks[name])
        cohorts = {"main": self.cohort, **self.probes}
        return gathered(
            name, lambda other, role: self.answers(self._named(other), cohorts[role], role), roles=list(self.probes),
            without=without, peers=self.peers(subject), looked=set() if looked is None else looked,
            profile=self.profile, seed=self.seed, cache=self.cache, severities=SEVERITIES[self.profile],
        )  # fmt: skip

    def peers(self, subject: Subject) -> list[str]:
        """Return the names of the run's other subjects of the same classes that can be judged."""
        return [one.name for one in self.judged if one.name != subject.name and one.classes == subject.classes]

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

    @property
    def wholes(self) -> Sequence[Subject]:
        """The subjects whose networks are asked: that of several findings once for all of them."""
        return list({whole.name: whole for whole in map(whole_of, self.subjects)}.values())

    @cached_property
    def checks(self) -> Mapping[str, Sequence[SubjectCheck]]:
        """Name of a subject -> what a few films show about it, found out before the first prediction."""
        found = {}
        for subject in self.wholes:
            with self.progress.doing("checking", f"{subject.name} on {one_line(self.cohort.name, 30)}"):
                found[subject.name] = subject_checks(subject, self.cohort, self.cache)
                self.progress.done(len(self.cohort))
        return {subject.name: found[whole_of(subject).name] for subject in self.subjects}

    @property
    def judged(self) -> Sequence[Subject]:
        """The subjects that claims can be judged on: those whose answer is a function of the film."""
        return [subject for subject in self.subjects if not barred(self.checks[subject.name])]

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
            wholes = {whole.name: whole for whole in map(whole_of, self.judged)}
            asked = {name: (whole, self.available(whole, planned)) for name, whole in wholes.items()}
            # Before anything is predicted: labels that do not fit end the run.
            aligned = self._aligned[role]
            found = predict(
                asked, cohort, seed=self.seed, cache=self.cache, quiet=self.quiet, resolution=self.working,
                progress=self.progress, workers=self._workers, blocks_at=self.blocks_at,
            )  # fmt: skip
            check_exclusions(found[whole_of(subject).name].excluded, len(cohort))
            if is_external(role):
                home, there = self.answers(subject, self.cohort, "main").predictions, found[whole_of(subject).name]
                refuse_shared_films(home.contents, there.contents, cohort.name, films=len(cohort))
                with self.progress.doing("predicting", f"are {one_line(cohort.name, 30)} other films"):
                    same = near_copies(self.cohort, cohort, home.contents, there.contents, self.cache)
                refuse_shared_films({film: film for film in same.values()}, same, cohort.name, films=len(cohort))
            for other in self.judged:
                answered = Answers.of(
                    other, aligned[other.name], of_subject(other, found[whole_of(other).name]),
                    offset=0.0 if other.whole is None else own_finding(other)[1], seed=self.seed, cache=self.cache,
                    resolution=self.working, progress=self.progress, workers=self._workers, blocks_at=self.blocks_at,
                )  # fmt: skip
                if other.whole is not None:
                    answered = replace(answered, siblings=partial(self._siblings, other.whole, role))
                self._answers[other.name, role] = answered
            del found
            give_back()  # of many films: what it took to put their answers together
        return self._answers[subject.name, role]

    def _siblings(self, whole: Subject, role: str) -> list[Answers]:
        """Return what was answered about every finding of a subject."""
        return [self._answers[one.name, role] for one in self.judged if one.whole is whole]

    @property
    def block_root(self) -> Root:
        """Where finished blocks are kept."""
        return self.cache if self.blocks_at is None else self.blocks_at

    def hardware(self) -> list[str]:
        """Return what must be known of the machines that answered, a sentence where a tolerance was given."""
        if self.tolerance is None:
            return []
        return [told_of_others(self.tolerance, kept_others(self.block_root, self.judged))]

    @cached_property
    def _workers(self) -> Workers:
        return workers_of(self.workers, list({one.name: one for one in map(whole_of, self.judged)}.values()))

    @cached_property
    def _aligned(self) -> Mapping[str, Mapping[str, Cohort]]:
        """Role -> subject -> its films with the classes as the subject spells them; all before the first prediction."""
        cohorts = {"main": self.cohort, **self.probes}
        return {
            role: {one.name: self.aligned(one, cohort, probe=role != "main") for one in self.judged}
            for role, cohort in cohorts.items()
        }

    def aligned(self, subject: Subject, cohort: Cohort, *, probe: bool) -> Cohort:
        """Return films with their labels as a subject spells its classes; of one finding, without those left out.

        Raises:
            CohortProblem: the labels do not fit.
        """
        if subject.whole is None:
            return align_labels(cohort, subject.classes, probe=probe)
        without, name = subject.classes
        return labelled(cohort, name, (without, name), probe=probe)
