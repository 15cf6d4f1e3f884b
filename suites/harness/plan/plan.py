"""What will a run do, what can its films not tell, what is missing, and what will it cost? Said before the work.

from suites.harness.plan import plan
plan(evaluation).lines()
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import pandas as pd

from suites.harness.claims import Claim
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.external import ROLE as EXTERNAL
from suites.harness.cohorts.external import is_external
from suites.harness.cohorts.layouts import check_exclusions
from suites.harness.cohorts.probes import ROLES
from suites.harness.endpoints import get
from suites.harness.endpoints.adversarial.runs import protocols
from suites.harness.endpoints.explanations import border_occlusion
from suites.harness.endpoints.external.foreseen import why_not
from suites.harness.errors import CohortProblem
from suites.harness.evaluation import Evaluation
from suites.harness.formatting.wording import plain_name
from suites.harness.plan.cost import WORKERS, Cost, cost
from suites.harness.plan.precision import Group, Precision, precision
from suites.harness.plan.readable import Tried, tried
from suites.harness.plan.speed import Speed, measure
from suites.harness.plan.stored import Stored, stored
from suites.harness.progress import Progress
from suites.harness.subjects.subject import Subject

NAMED = 3
"""Claims that a short line names."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is known of a run before it.

    Attributes:
        classes: class -> films and patients, as the first subject spells it.
        probes: role -> films and patients.
        claims: that will be judged, each counted once whatever the number of subjects.
        open: what to expect of those that these films cannot settle, the fewest wanted first.
        missing: why claims will not be evaluable -> their ids.
        cost: film-conditions, seconds by stage, bytes.
        simulated: whether the films are phantoms.
        refused: why the run would be refused and what to do, empty where it would not be; `strange` then counts the
            films of no class that the first subject has.
        tried: role of a cohort -> which of its films cannot be read, as far as they were tried; `classes` and `probes`
            leave them out.
    """

    classes: Mapping[str, tuple[int, int]]
    probes: Mapping[str, tuple[int, int]]
    claims: int
    open: Sequence[Precision]
    missing: Mapping[str, Sequence[str]]
    cost: Cost
    simulated: bool = False
    refused: str = ""
    strange: int = 0
    tried: Mapping[str, Tried] = field(default_factory=dict)

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
            "probes": {name: list(pair) for name, pair in self.probes.items()},
            "claims": self.claims,
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
        told = [self._films()]
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

    def _films(self) -> str:
        films = ", ".join(_counted(plain_name(name), *pair) for name, pair in self.classes.items())
        strange = f", {self.strange:,} of no such class" if self.strange else ""
        probes = [_counted(role if is_external(role) else f"{role} probe", *pair) for role, pair in self.probes.items()]
        broken = sum(len(one.unreadable) for one in self.tried.values())
        groups = [
            f"{films or 'none of a class'}{strange}",
            ", ".join(probes),
            f"{broken:,} unreadable" if broken else "",
        ]
        return f"films: {'; '.join(filter(None, groups))}"

    def _unsettled(self, *, every_claim: bool) -> Iterator[str]:
        """Yield what is to be expected of the claims, as the expectation it is: a larger effect settles more."""
        if not self.open:
            return
        name, (films, patients) = min(self.classes.items(), key=lambda item: item[1][1], default=("", (0, 0)))
        only = f" (only {_counted(f'{plain_name(name)} films', films, patients)})" if patients < FEW else ""
        yield (
            f"{len(self.open)} of {self.claims} {'claim' if self.claims == 1 else 'claims'} can be settled by these "
            f"films only where the effect is more than twice its margin{only}"
        )
        known = [one for one in self.open if one.wanted is not None]
        if every_claim:
            for one in self.open:
                wanted = f"about {one.wanted:,}" if one.wanted else "more of each class"
                yield f"  {one.claim}: {_patients(one.patients)}; for an effect of twice its margin {wanted}"
        elif known:
            shown = ", ".join(f"{one.claim} (about {one.wanted:,} patients)" for one in known[:NAMED])
            more = f" and {len(self.open) - NAMED} more" if len(self.open) > NAMED else ""
            yield f"  the nearest, for an effect of twice its margin: {shown}{more}"


FEW = 50
"""Patients of the smallest class below which the plan names it."""


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
    subject = evaluation.subjects[0]
    claims = [claim for claim in evaluation.claims if not evaluation.selected or claim.id in evaluation.selected]
    about = [claim for claim in claims if get(claim.endpoint).about == "subject"]
    main, refused = _aligned(evaluation)
    refused = refused or _broken(seen)
    cohorts = {"main": main} | {role: cohort for role, cohort in evaluation.probes.items() if role in evaluation.plan}
    films = {role: _readable(cohort.table, seen.get(role)) for role, cohort in cohorts.items()}
    groups = {role: _group(table, subject) for role, table in films.items()}
    if refused:  # a class without films counts: no score of all classes can be had
        known = groups["main"].patients
        groups["main"] = replace(groups["main"], patients={name: known.get(name, 0) for name in subject.classes})
    missing = dict(_missing(about, evaluation, speed))
    barred = {name for ids in missing.values() for name in ids}
    limits = {
        "robust_accuracy": protocols.FILMS[evaluation.profile],
        "universal_pattern": protocols.PATTERN_FILMS[evaluation.profile],
        "border_flips": border_occlusion.FILMS[evaluation.profile],
    }
    found = [
        precision(claim, get(claim.endpoint).asked(claim), groups, limits) for claim in about if claim.id not in barred
    ]
    still = sorted((one for one in found if one is not None and one.open), key=lambda one: one.wanted or 10**9)
    labels = films["main"]["label"]
    classes = {name: (int((labels == name).sum()), groups["main"].patients.get(name, 0)) for name in subject.classes}
    return Plan(
        classes={name: pair for name, pair in classes.items() if pair[0] or refused},
        probes={role: (group.films, group.everyone) for role, group in groups.items() if role != "main"},
        claims=len(claims),
        open=still,
        missing=missing,
        cost=cost(evaluation, speed, there, report=report),
        simulated=evaluation.cohort.simulated,
        refused=refused,
        strange=int((~labels.isin(subject.classes)).sum()) if refused else 0,
        tried=seen,
    )


def _broken(seen: Mapping[str, Tried]) -> str:
    """Return why a run is refused in which so many films cannot be read, else ''."""
    for one in seen.values():
        try:
            check_exclusions(list(one.unreadable.values()), one.films)
        except CohortProblem as problem:
            return str(problem)
    return ""


def _readable(table: pd.DataFrame, seen: Tried | None) -> pd.DataFrame:
    return table[~table["id"].astype(str).isin(seen.unreadable)] if seen else table


def _aligned(evaluation: Evaluation) -> tuple[Cohort, str]:
    """Return the films as the first subject spells their labels, and why a run that asks a subject is refused, else ''.

    Films that no run can be judged on can be counted all the same.
    """
    cohort, refused = evaluation.cohort, ""
    for subject in evaluation.subjects if "main" in evaluation.plan else ():
        try:
            evaluation.aligned(subject, cohort, probe=False)
        except CohortProblem as problem:
            refused = refused or str(problem)
    probe = bool(refused) or "main" not in evaluation.plan
    return evaluation.aligned(evaluation.subjects[0], cohort, probe=probe), refused


def _group(table: pd.DataFrame, subject: Subject) -> Group:
    known = table[table["label"].isin(subject.classes)]
    patients = {str(name): int(rows["patient"].nunique()) for name, rows in known.groupby("label", sort=True)}
    return Group(patients, int(table["patient"].nunique()), len(table))


def _missing(claims: Sequence[Claim], evaluation: Evaluation, speed: Speed) -> Iterator[tuple[str, list[str]]]:
    """Yield why claims will not be evaluable, and which; what shows only later is not known here."""
    subjects = evaluation.subjects
    for role, films in ROLES.items():
        ids = [claim.id for claim in claims if role in get(claim.endpoint).roles(claim, [role])]
        ids = [name for name in ids if not _any_probe(name, claims)]
        if ids and role not in evaluation.probes:
            yield f"no {films} were given, pass --probe-{role} SPEC", ids
    ids = [claim.id for claim in claims if get(claim.endpoint).hospital]
    if ids and EXTERNAL not in evaluation.probes:
        yield "no films of another hospital were given, pass --external SPEC", ids
    elif ids:
        yield from _of_hospitals([claim for claim in claims if claim.id in ids], evaluation)
    if speed.film:
        for mask, endpoint in (("lesion", "looks_at_lesion"), ("lung", "looks_off_the_lung")):
            ids = [claim.id for claim in claims if claim.endpoint == endpoint]
            if ids and mask not in speed.masks:
                yield f"the films carry no {mask} masks", ids
    known = {name for subject in subjects for name in subject.classes}
    strange = [
        claim.id
        for claim in claims
        if any(name not in known for name in get(claim.endpoint).classes_named(claim).values())
    ]
    if strange:
        yield f"the classes are {', '.join(sorted(known))[:80]}", strange
    if all(subject.network is None for subject in subjects):
        ids = [claim.id for claim in claims if get(claim.endpoint).stage == "explaining"]
        ids += [claim.id for claim in claims if claim.endpoint == "universal_pattern"]
        if ids:
            yield "without gradients there are no maps and no common pattern", ids


def _of_hospitals(claims: Sequence[Claim], evaluation: Evaluation) -> Iterator[tuple[str, list[str]]]:
    """Yield why the labels of another hospital cannot settle claims about it, and which."""
    subject = evaluation.subjects[0]
    try:
        home = evaluation.aligned(subject, evaluation.cohort, probe=True).table["label"]
    except CohortProblem:
        return
    found: dict[str, list[str]] = {}
    for claim in claims:
        measure = get(claim.endpoint)
        away = evaluation.probes.get(str(measure.asked(claim)[measure.hospital]))
        if away is None:
            continue
        there = [name for name in subject.classes if (home == name).any()]
        if why := why_not(claim.endpoint, subject.classes, there, away, seed=evaluation.seed):
            found.setdefault(f"{away.name}: {why}", []).append(claim.id)
    yield from found.items()


def _any_probe(name: str, claims: Sequence[Claim]) -> bool:
    """Whether a claim looks at whatever probes there are, and can be judged without any."""
    return next(get(claim.endpoint).every_probe for claim in claims if claim.id == name)


def _counted(what: str, films: int, patients: int) -> str:
    return f"{films:,} {what}" + (f" ({_patients(patients)})" if patients != films else "")


def _patients(count: int) -> str:
    return f"{count:,} patient{'' if count == 1 else 's'}"


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:NAMED]) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")
