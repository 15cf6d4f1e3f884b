"""Which claims ask for a class that a subject does not have? Said before anything is predicted."""

from __future__ import annotations

from collections.abc import Iterable

from suites.harness.claims import Claim
from suites.harness.cohorts.class_roles import for_finding, own_name
from suites.harness.cohorts.quoting import listed
from suites.harness.endpoints.parameters import Score
from suites.harness.endpoints.registry import get
from suites.harness.errors import NotEvaluable
from suites.harness.subjects.subject import Subject


def without_their_classes(claims: Iterable[Claim], subject: Subject) -> str:
    """Return a sentence naming the claims that cannot be judged on a subject for want of a class; empty without any."""
    lost: dict[str, str] = {}
    for given in claims:
        try:
            claim = given if subject.whole is None else for_finding(given, subject.classes)
        except NotEvaluable:
            continue  # it says why itself
        for name in _named(claim):
            if own_name(name, subject.classes) not in subject.classes:
                lost.setdefault(claim.id, name)
    if not lost:
        return ""
    missing = " and ".join(sorted(set(lost.values())))
    if subject.whole is not None:
        return (
            f"{subject.whole.name} answers findings, each there or not, and no classes such as {missing}; not "
            f"evaluable on it: {', '.join(lost)}."
        )
    return (
        f"{subject.name} tells {listed(subject.classes)} apart, and not {missing}; not evaluable on it: "
        f"{', '.join(lost)}."
    )


def _named(claim: Claim) -> list[str]:
    """Return the classes a claim names, be it in the name of a score (`recall_viral_pneumonia`)."""
    endpoint = get(claim.endpoint)
    if endpoint.about != "subject":
        return []
    asked = endpoint.asked(claim)
    scores = [str(asked[name]) for name, one in endpoint.parameters.items() if isinstance(one, Score)]
    of_scores = [score.removeprefix(start) for score in scores for start in Score.OF_A_CLASS if score.startswith(start)]
    return [*endpoint.classes_named(claim).values(), *of_scores]
