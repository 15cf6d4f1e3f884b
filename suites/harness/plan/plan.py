"""What will a run do, what can its films not tell, what is missing, and what will it cost? Said before the work.

from suites.harness.plan import plan
plan(evaluation).lines()
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from suites.harness import counts
from suites.harness.claims import Claim
from suites.harness.cohorts.class_roles import for_finding
from suites.harness.cohorts.external import is_external
from suites.harness.cohorts.layouts import check_exclusions
from suites.harness.endpoints import get
from suites.harness.endpoints.adversarial.runs import protocols
from suites.harness.endpoints.explanations import border_occlusion
from suites.harness.errors import CohortProblem, NotEvaluable
from suites.harness.evaluation import Evaluation
from suites.harness.plan.cost import WORKERS, Cost, cost
from suites.harness.plan.films import (
    LabelledFilms,
    asked_first,
    counted,
    labelled_films,
    refusal,
    told_of_classes,
    told_of_findings,
    told_of_the_fewest,
)
from suites.harness.plan.missing import missing
from suites.harness.plan.precision import Precision, precision
from suites.harness.plan.readable import Tried, tried
from suites.harness.plan.speed import Speed, measure
from suites.harness.plan.stored import Stored, stored
from suites.harness.progress import Progress

NAMED = 3
"""Claims that a short line names."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is known of a run before it.

    Attributes:
        labelled: the films as the first subject, or each of its findings, is judged on them.
        films: of the cohort.
        probes: role -> films and patients.
        claims: that will be judged, each counted once whatever the number of subjects.
        judgements: the same, each counted once for every finding of the first subject.
        open: what to expect of those that these films cannot settle, the fewest wanted first.
        missing: why claims will not be evaluable -> their ids.
        cost: film-conditions, seconds by stage, bytes.
        simulated: whether the films are phantoms.
        refused: why the run would be refused and what to do, empty where it would not be.
        tried: role of a cohort -> which of its films cannot be read, as far as they were tried; `labelled` and `probes`
            leave them out.
    """

    labelled: Sequence[LabelledFilms]
    films: int
    probes: Mapping[str, tuple[int, int]]
    claims: int
    judgements: int
    open: Sequence[Precision]
    missing: Mapping[str, Sequence[str]]
    cost: Cost
    simulated: bool = False
    refused: str = ""
    tried: Mapping[str, Tried] = field(default_factory=dict)

    @property
    def of_findings(self) -> bool:
        """Whether the first subject answers several findings."""
        return self.labelled[0].subject.whole is not None

    @property
    def classes(self) -> Mapping[str, tuple[int, int]]:
        """Class -> films and patients, as the first subject spells it; none of a subject of several findings."""
        return {} if self.of_findings else self.labelled[0].classes

    @property
    def findings(self) -> Mapping[str, Mapping[str, tuple[int, int]]]:
        """Finding -> films and patients with and without it; none of a subject of classes."""
        if not self.of_findings:
            return {}
        return {one.subject.classes[1]: one.classes for one in self.labelled}

    def announce(self, progress: Progress) -> None:
        """Tell the progress of the run how much of every stage there will be."""
        seconds = self.cost.taking
        for stage, units in self.cost.units.items():
            if stage == "predicting":
                films, film = self.cost.films, self.cost.film
                progress.expect(stage, units=units, seconds=seconds[stage], films=films, film=film)
            else:
                worth = self.cost.passes if stage == "attacking" else None
                progress.expect(stage, units=units, seconds=seconds[stage], worth=worth)

    def document(self) -> dict[str, object]:
        """Return the plan as plain JSON values."""
        return {
            "classes": {name: list(pair) for name, pair in self.classes.items()},
            "findings": {
                finding: {name: list(pair) for name, pair in classes.items()}
                for finding, classes in self.findings.items()
            },
            "probes": {name: list(pair) for name, pair in self.probes.items()},
            "claims": self.claims,
            "judgements": self.judgements,
            "open": [asdict(one) | {"wanted_patients": one.wanted} for one in self.open],
            "missing": {reason: list(ids) for reason, ids in self.missing.items()},
            "refused": self.refused,
            "unreadable": {role: [list(pair) for pair in one.unreadable.values()] for role, one in self.tried.items()},
            "cost": asdict(self.cost)
            | {
                "seconds_in_all": self.cost.whole,
                "seconds_of_this_run": sum(self.cost.taking.values()),
                "seconds_with_workers": {str(count): self.cost.with_workers(count) for count in WORKERS},
            },
        }

    def lines(self, *, every_claim: bool = False, refusal: bool = True) -> list[str]:
        """Return at most 12 lines for a terminal, the films first and a refusal last.

        Args:
            every_claim: one line more for each open claim, unless the run would be refused.
            refusal: with the line that says so; without it where somebody says it after them.
        """
        told = [self._films(every_claim=every_claim)]
        if not self.refused:
            told += filter(None, (one.line() for one in self.tried.values()))
        told += self._unsettled(every_claim=every_claim and not self.refused)
        for reason, ids in list(self.missing.items())[:4]:
            told.append(f"not evaluable: {reason} ({_some(ids)})")
        if not self.refused:
            told += self.cost.lines()
        elif refusal:
            told.append(f"a run on these films is refused: {self.refused}")
        return [f"plan: {told[0]}", *(f"      {line}" for line in told[1:])]

    def _films(self, *, every_claim: bool) -> str:
        probes = [counted(role if is_external(role) else f"{role} probe", *pair) for role, pair in self.probes.items()]
        broken = sum(len(one.unreadable) for one in self.tried.values())
        films = (
            told_of_findings(self.labelled, self.films, every=every_claim)
            if self.of_findings
            else told_of_classes(self.labelled[0])
        )
        return f"films: {'; '.join(filter(None, (films, ', '.join(probes), f'{broken:,} unreadable' * bool(broken))))}"

    def _unsettled(self, *, every_claim: bool) -> Iterator[str]:
        """Yield what is to be expected of the claims, as the expectation it is: a larger effect settles more."""
        if not self.open:
            return
        few = told_of_the_fewest(self.labelled)
        of = f"{counts.counted(self.claims, 'claim')}"
        if self.of_findings:
            of = f"{self.judgements} judgements ({of}, {counts.counted(len(self.labelled), 'finding')})"
        yield (
            f"{len(self.open)} of {of} can be settled by these films only where the effect is more than twice its "
            f"margin{f' (only {few})' if few else ''}"
        )
        known = [one for one in self.open if one.wanted is not None]
        if every_claim:
            for claim in dict.fromkeys(one.claim for one in self.open):
                yield _of_claim(claim, [one for one in self.open if one.claim == claim], len(self.labelled))
        elif known:
            shown = ", ".join(f"{one.named} (about {one.wanted:,} patients)" for one in known[:NAMED])
            more = f" and {len(self.open) - NAMED} more" if len(self.open) > NAMED else ""
            yield f"  the nearest, for an effect of twice its margin: {shown}{more}"


def _of_claim(claim: str, found: Sequence[Precision], findings: int) -> str:
    """Return what a claim that is open on some of the findings rests on, and what it would take."""
    which = [one.finding for one in found if one.finding]
    of = ""
    if which:
        of = f" (all {findings} findings)" if len(which) == findings > 1 else f" ({_some(which)})"
    wanted = [one.wanted for one in found if one.wanted]
    more = "more with and without it" if which else "more of each class"
    told = f"about {_span(wanted)}" if wanted else more
    if wanted and len(wanted) < len(found):
        told += f" or {more}"
    few, most = min(one.patients for one in found), max(one.patients for one in found)
    patients = counts.counted(few, "patient") if few == most else f"{few:,} to {counts.counted(most, 'patient')}"
    return f"  {claim}{of}: {patients}; for an effect of twice its margin {told}"


def _span(counts: Sequence[int]) -> str:
    few, most = min(counts), max(counts)
    return f"{few:,}" if few == most else f"{few:,} to {most:,}"


def plan(evaluation: Evaluation, *, report: bool = False, seconds: float = 1.0) -> Plan:
    """Return what a run will do; nothing is predicted, and about a second of passes measured.

    Args:
        evaluation: the run, its claims selected.
        report: whether one will be written.
        seconds: of measuring.

    Raises:
        CohortProblem: two classes of a subject are spellings of one label.
    """
    there = stored(evaluation)
    asked_of = {"main": evaluation.cohort, **evaluation.probes}
    seen = tried((role, asked_of[role]) for role in evaluation.plan)
    asked = {claim.id for claim in evaluation.running if get(claim.endpoint).about == "subject"}
    if not there.changes and asked <= there.worked:
        return planned(evaluation, Speed({}, {}, {}, 0.0, frozenset(), ()), there, seen, report=report)
    speed = measure(
        evaluation.wholes, {role: asked_of[role] for role in evaluation.plan}, evaluation.plan.get("main", ()),
        evaluation.working,
        seed=evaluation.seed, seconds=seconds,
    )  # fmt: skip
    return planned(evaluation, speed, there, seen, report=report)


def planned(
    evaluation: Evaluation,
    speed: Speed,
    there: Stored,
    seen: Mapping[str, Tried] | None = None,
    *,
    report: bool = False,
) -> Plan:
    """Return the plan of a run on a machine of this speed; what depends on nothing but the run, that and its cache.

    Args:
        evaluation: the run, its claims selected.
        speed: of the machine.
        there: what the cache has.
        seen: role of a cohort -> which of its films cannot be read.
        report: whether one will be written.
    """
    seen = seen or {}
    claims = [claim for claim in evaluation.claims if not evaluation.selected or claim.id in evaluation.selected]
    about = [claim for claim in claims if get(claim.endpoint).about == "subject"]
    misfit = refusal(evaluation)
    refused = misfit or _broken(seen)
    probe = bool(misfit) or "main" not in evaluation.plan
    labelled = [
        labelled_films(evaluation, subject, seen, probe=probe, refused=bool(refused))
        for subject in asked_first(evaluation)
    ]
    without = dict(missing(about, evaluation, speed))
    barred = {name for ids in without.values() for name in ids}
    limits = {
        "robust_accuracy": protocols.FILMS[evaluation.profile],
        "universal_pattern": protocols.PATTERN_FILMS[evaluation.profile],
        "border_flips": border_occlusion.FILMS[evaluation.profile],
    }
    found = [one for films in labelled for one in _expected(about, films, limits) if one.claim not in barred]
    groups = labelled[0].groups
    return Plan(
        labelled=labelled,
        films=len(evaluation.cohort) - (len(seen["main"].unreadable) if "main" in seen else 0),
        probes={role: (group.films, group.everyone) for role, group in groups.items() if role != "main"},
        claims=len(claims),
        judgements=len(claims) + len(about) * (len(labelled) - 1),
        open=sorted((one for one in found if one.open), key=lambda one: one.wanted or 10**9),
        missing=without,
        cost=cost(evaluation, speed, there, report=report),
        simulated=evaluation.cohort.simulated,
        refused=refused,
        tried=seen,
    )


def _expected(claims: Sequence[Claim], films: LabelledFilms, limits: Mapping[str, int]) -> Iterator[Precision]:
    """Yield what to expect of those claims that a subject, or a finding of it, can be asked."""
    subject = films.subject
    for claim in claims:
        if subject.whole is not None:
            try:
                claim = for_finding(claim, subject.classes)  # noqa: PLW2901 - the same claim in the finding's words
            except NotEvaluable:
                continue
        one = precision(claim, get(claim.endpoint).asked(claim), films.groups, limits)
        if one is not None:
            yield one if subject.whole is None else replace(one, finding=subject.classes[1])


def _broken(seen: Mapping[str, Tried]) -> str:
    """Return why a run is refused in which so many films cannot be read, else ''."""
    for one in seen.values():
        try:
            check_exclusions(list(one.unreadable.values()), one.films)
        except CohortProblem as problem:
            return str(problem)
    return ""


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:NAMED]) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")
