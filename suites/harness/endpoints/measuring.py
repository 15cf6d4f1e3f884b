"""What does the endpoint of a claim find, and whose fault is it where it fails? Between a run and its endpoints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from calibration import recalibrator, scores
from robustness import perturbation
from suites import import_names
from suites.harness.claims import Claim, Measure, Result
from suites.harness.endpoints.registry import Endpoint, get
from suites.harness.endpoints.uncertainty import scores as of_features
from suites.harness.errors import NotEvaluable, PredictionProblem, UsageProblem
from suites.harness.foreign_code import defined_in, foreign
from suites.harness.predictions.evidence import Evidence


def measured_alone(measure: Endpoint, evidence: object, claim: Claim) -> Result:
    """Return what an endpoint finds; where code of a user's fails in it, this claim is lost and no other.

    Raises:
        NotEvaluable: that code raised something (a score, a perturbation, an attack, the subject itself), or a user's
            endpoint returned no result.
    """
    what = f"its endpoint {measure.name!r} failed"
    try:
        with foreign(NotEvaluable, what, at=measure.measure, only_theirs=is_ours(claim)):
            found: object = measure(evidence, claim)
    except PredictionProblem as problem:
        raise NotEvaluable(str(problem)) from problem
    if not isinstance(found, Result) or not isinstance(found.effect, Measure):
        given = f"a Result whose effect is {type(found.effect).__name__}" if isinstance(found, Result) else type(found)
        told = given if isinstance(given, str) else given.__name__
        raise NotEvaluable(
            f"its endpoint {measure.name!r} returned {told}; expected a Result with a Measure as its effect "
            f"({defined_in(measure.measure)})"
        )
    return found


def measured_on(evidence: Evidence, claim: Claim, looked: set[str], roles: Iterable[str]) -> Result:
    """Return what a claim's endpoint finds about a subject; settled only where it looked at nothing unannounced.

    Args:
        evidence: of the subject.
        claim: whose endpoint it is.
        looked: roles that were looked at; the evidence adds to them.
        roles: those that the claim's parameters name, which have been predicted.

    Raises:
        NotEvaluable: as `measured_alone`.
    """
    result = measured_alone(get(claim.endpoint), evidence, claim)
    # Answers on a probe that no parameter names are in no key.
    return replace(result, settled=result.settled and looked <= {"main", *roles})


def endpoint_of(claim: Claim) -> Endpoint:
    """Return the endpoint of a claim.

    Raises:
        UsageProblem: there is none of that name; the claim is named.
    """
    try:
        return get(claim.endpoint)
    except UsageProblem as problem:
        raise UsageProblem(f"claim {claim.id}: {problem}") from problem


def is_ours(claim: Claim) -> bool:
    """Whether the digest of our code covers a claim's endpoint; what a user's own finds or draws is not kept."""
    return import_names.is_ours(get(claim.endpoint).measure.__module__)


def all_is_ours() -> bool:
    """Whether every perturbation, recalibration and score is ours; those of a user's another process need not have."""
    homes = [
        *(type(perturbation.get(name)).__module__ for name in perturbation.names()),
        *(recalibrator.get(name).__module__ for name in recalibrator.names()),
        *(scores.get(name).__module__ for name in scores.names()),
        *(of_features.get(name).__module__ for name in of_features.names()),
    ]
    return all(map(import_names.is_ours, homes))
