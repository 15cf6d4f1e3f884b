"""Which claims will not be evaluable, for want of films, masks, classes or gradients? Known before the work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from suites.harness.claims import Claim
from suites.harness.cohorts.class_roles import for_finding
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.external import ROLE as EXTERNAL
from suites.harness.cohorts.probes import ROLES, asked_for
from suites.harness.endpoints import get
from suites.harness.endpoints.external.foreseen import why_not
from suites.harness.endpoints.subgroups.foreseen import BETWEEN_GROUPS
from suites.harness.endpoints.subgroups.foreseen import why_not as why_no_groups
from suites.harness.errors import CohortProblem, NotEvaluable
from suites.harness.evaluation import Evaluation
from suites.harness.plan.films import asked_first
from suites.harness.plan.speed import Speed
from suites.harness.subjects.subject import Subject


def missing(claims: Sequence[Claim], evaluation: Evaluation, speed: Speed) -> Iterator[tuple[str, list[str]]]:
    """Yield why claims will not be evaluable, and which; what shows only later is not known here."""
    subjects = evaluation.subjects
    for role in ROLES:
        ids = [claim.id for claim in claims if role in get(claim.endpoint).roles(claim, [role])]
        ids = [name for name in ids if not _any_probe(name, claims)]
        if ids and role not in evaluation.probes:
            films = asked_for(role, of_findings=all(subject.whole is not None for subject in subjects))
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
    yield from _of_groups(claims, evaluation)
    yield from _of_no_class(claims, subjects)
    if all(subject.network is None for subject in subjects):
        ids = [claim.id for claim in claims if get(claim.endpoint).stage == "explaining"]
        ids += [claim.id for claim in claims if claim.endpoint == "universal_pattern"]
        if ids:
            yield "without gradients there are no maps and no common pattern", ids


def _of_no_class(claims: Sequence[Claim], subjects: Sequence[Subject]) -> Iterator[tuple[str, list[str]]]:
    """Yield why claims can be asked of no subject of the run, and which."""
    known = {name for subject in subjects if subject.whole is None for name in subject.classes}
    finding = next((subject for subject in subjects if subject.whole is not None), None)
    found: dict[str, list[str]] = {}
    for claim in claims:
        why = ""
        if any(name not in known for name in get(claim.endpoint).classes_named(claim).values()):
            why = f"the classes are {', '.join(sorted(known))[:80]}"
        if finding is not None and (why or not known):
            try:
                for_finding(claim, finding.classes)
                why = ""
            except NotEvaluable as reason:
                why = str(reason)
        if why:
            found.setdefault(why, []).append(claim.id)
    yield from found.items()


def _of_groups(claims: Sequence[Claim], evaluation: Evaluation) -> Iterator[tuple[str, list[str]]]:
    """Yield why no patients can be held against others, and which claims do."""
    ids = [claim.id for claim in claims if claim.endpoint in BETWEEN_GROUPS]
    if not ids:
        return
    try:
        reasons = [
            why_no_groups(evaluation.aligned(subject, evaluation.cohort, probe=False), subject.classes)
            for subject in asked_first(evaluation)
        ]
    except CohortProblem:  # which ends the run, and is said beside the plan
        return
    if all(reasons):
        yield reasons[0], ids


def _of_hospitals(claims: Sequence[Claim], evaluation: Evaluation) -> Iterator[tuple[str, list[str]]]:
    """Yield why the labels of another hospital cannot settle claims about it, and which."""
    found: dict[str, list[str]] = {}
    for claim in claims:
        measure = get(claim.endpoint)
        away = evaluation.probes.get(str(measure.asked(claim)[measure.hospital]))
        if away is None:
            continue
        reasons = [_of_hospital(claim, subject, away, evaluation) for subject in asked_first(evaluation)]
        if all(reasons):
            found.setdefault(f"{away.name}: {reasons[0]}", []).append(claim.id)
    yield from found.items()


def _of_hospital(claim: Claim, subject: Subject, away: Cohort, evaluation: Evaluation) -> str:
    """Return why a claim about a hospital cannot be settled of a subject, or of one finding of it, else ''."""
    try:
        home = evaluation.aligned(subject, evaluation.cohort, probe=True).table["label"]
    except CohortProblem:
        return ""
    if subject.whole is not None:
        away = evaluation.aligned(subject, away, probe=True)
    there = [name for name in subject.classes if (home == name).any()]
    return why_not(claim.endpoint, subject.classes, there, away, seed=evaluation.seed)


def _any_probe(name: str, claims: Sequence[Claim]) -> bool:
    """Whether a claim looks at whatever probes there are, and can be judged without any."""
    return next(get(claim.endpoint).every_probe for claim in claims if claim.id == name)
