"""Controls by endpoint: how to make a subject, a cohort or a page that has a claim's failure, and one that has not.

A control is written for an endpoint and takes the claim, so a new claim of a known endpoint is controlled from the day
it stands in the table. `test_every_claim.py` runs them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from suites.harness.claims import Claim, Judgement, Verdict


class Pair(NamedTuple):
    """The judgements of one claim on what has the failure, and on what has not."""

    caught: Judgement
    cleared: Judgement


class Expected(NamedTuple):
    """The verdicts that a sound endpoint must give."""

    caught: Verdict
    cleared: Verdict


Control = Callable[[Claim, Callable[..., Judgement], Path], Pair]
"""From a claim, the `judge` fixture and an empty folder."""

_CONTROLS: dict[str, Control] = {}


def control(*endpoints: str) -> Callable[[Control], Control]:
    """Register the decorated function as the control of endpoints."""

    def register(function: Control) -> Control:
        for name in endpoints:
            if name in _CONTROLS:
                raise ValueError(f"endpoint {name!r} has two controls")
            _CONTROLS[name] = function
        return function

    return register


def find(claim: Claim) -> Control:
    """Return the control of a claim's endpoint.

    Raises:
        LookupError: there is none; a claim that nothing shows to be judged rightly must not stand in the table.
    """
    if claim.endpoint not in _CONTROLS:
        raise LookupError(
            f"claim {claim.id} has no control: write one for its endpoint {claim.endpoint!r} beside those in "
            "tests/controls/*_pairs.py (a subject that has the failure, and one that has not)"
        )
    return _CONTROLS[claim.endpoint]


def without_control(claims: Iterable[Claim]) -> list[str]:
    """Return the ids of the claims that no control covers."""
    return [claim.id for claim in claims if claim.endpoint not in _CONTROLS]


def expected(claim: Claim) -> Expected:
    """Return what the failing and the sound one must be told."""
    if claim.kind == "limitation":
        return Expected(Verdict.SUPPORTED, Verdict.NOT_SUPPORTED)
    return Expected(Verdict.VIOLATED, Verdict.MET)
