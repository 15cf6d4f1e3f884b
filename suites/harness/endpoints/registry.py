"""Endpoints: how a claim is measured. Each is one function from evidence and claim to a `Result`, found by name.

To add one, write a function in a file of this folder::

    @endpoint("confident_share")
    def confident_share(evidence: Evidence, claim: Claim) -> Result:
        '''Share of films called with more than `confidence`.'''
        ...

and name it in the claims table. Conditions that a claim lists under `conditions` have been predicted before it runs.
What the subject has to lose goes into `Result.headroom` (see `headroom.py`): without it, one that always answers the
same would be called robust.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Literal

from suites.harness.claims import Claim, Measure, Result
from suites.harness.errors import UsageProblem
from suites.harness.statistics import Sampled

About = Literal["page", "cohort", "subject"]
Endpoint = Callable[[Any, Claim], Result]

_REGISTRY: dict[str, tuple[Endpoint, About]] = {}


def endpoint(name: str, *, about: About = "subject") -> Callable[[Endpoint], Endpoint]:
    """Register an endpoint.

    Args:
        name: as written in the claims table.
        about: what it looks at: `page` (published numbers, receives `None`), `cohort` (files, receives the `Cohort`)
            or `subject` (predictions, receives the `Evidence`).
    """

    def keep(function: Endpoint) -> Endpoint:
        if name in _REGISTRY and _REGISTRY[name][0].__qualname__ != function.__qualname__:
            raise ValueError(f"two endpoints are called {name!r}")
        _REGISTRY[name] = function, about
        return function

    return keep


def find(name: str) -> tuple[Endpoint, About]:
    """Return an endpoint and what it is about.

    Raises:
        UsageProblem: there is none of that name; the nearest are listed.
    """
    if name not in _REGISTRY:
        near = ", ".join(get_close_matches(name, _REGISTRY, n=3, cutoff=0.4)) or ", ".join(sorted(_REGISTRY))
        raise UsageProblem(f"no endpoint is called {name!r}; there are: {near}")
    return _REGISTRY[name]


def measured(name: str, condition: str, sampled: Sampled, n: int, *, smallest: int = 0, needed: int = 100) -> Measure:
    """Return the measure of a resampled statistic.

    Args:
        name: snake_case name of the measure.
        condition: condition, or `after - before` for a difference.
        sampled: estimate and replicates.
        n: films it rests on.
        smallest: films of the smallest class involved (0: as `n`); below `needed` the cell is exploratory.
        needed: 100 for rates, 200 for calibration curves, 50 per kind of out-of-distribution film.
    """
    interval = sampled.interval()
    return Measure(
        name=name,
        condition=condition,
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        n=n,
        patients=sampled.patients,
        estimator=sampled.estimator,
        exploratory=(smallest or n) < needed,
        smallest=smallest if smallest < n else 0,
        too_few=sampled.too_few,
    )


def beyond(sampled: Sampled, claim: Claim) -> float:
    """Return the one-sided p that the effect does not lie beyond the claim's margin, in the claim's direction."""
    if sampled.too_few:
        return 1.0
    return sampled.p_above(claim.margin) if claim.direction == "above" else sampled.p_below(claim.margin)


def within(sampled: Sampled, claim: Claim) -> float:
    """Return the one-sided p that the effect does not lie within the claim's margin."""
    if sampled.too_few:
        return 1.0
    return sampled.p_below(claim.margin) if claim.direction == "above" else sampled.p_above(claim.margin)
