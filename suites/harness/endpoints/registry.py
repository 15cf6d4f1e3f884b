"""How is a claim measured? By an endpoint: one function from evidence and claim to a `Result`, found by name.

To add one, write a function in a file of this folder (or below it)::

    from suites.harness.claims import Claim, Result
    from suites.harness.endpoints.parameters import Number
    from suites.harness.endpoints.registry import beyond, endpoint, measured, within
    from suites.harness.predictions.evidence import Evidence

    @endpoint("confident_share", parameters={"above": Number(0.9, low=0.0, high=1.0)})
    def confident_share(evidence: Evidence, claim: Claim) -> Result:
        '''Share of films called with more than `above` confidence.'''
        answers, above = evidence.main, claim.parameters["above"]
        share = answers.rate(answers.probabilities().max(axis=1) > above, answers.shared("clean"))
        effect = measured("confident_share", "clean", share, len(answers.cohort), unit="share")
        return Result(effect=effect, p_beyond=beyond(share, claim), p_within=within(share, claim))

and name it in the claims table. An endpoint finds every parameter it declares in `claim.parameters`, typed, defaults
filled in (see `parameters.py`), and whatever conditions they name have been predicted before it runs; it reads no
others, for these are there or not as other claims are selected. A parameter that moves neither effect nor p values is
declared so (`Conditions(beside_verdict=True)`), and where it fails the verdict stands. What the subject has to lose
goes into `Result.headroom` (see `headroom.py`): without it, one that always answers the same would be called robust.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from robustness.registration import taken, unknown_name
from suites.harness.claims import Claim, Measure, Result, Unit
from suites.harness.cohorts.external import is_external
from suites.harness.endpoints.parameters import ClassName, Hospital, Parameter, Role, read_all
from suites.harness.errors import UsageProblem
from suites.harness.predictions.conditions import Condition, expand
from suites.harness.progress import Stage
from suites.harness.statistics import Largest, Sampled

About = Literal["page", "cohort", "subject"]
Measuring = Callable[[Any, Claim], Result]


@dataclass(frozen=True)
class Endpoint:
    """A way to measure claims.

    Attributes:
        name: as written in the claims table.
        measure: the function.
        about: what it looks at: `page` (published numbers, receives `None`), `cohort` (files, receives the `Cohort`)
            or `subject` (predictions, receives the `Evidence`).
        parameters: what a claim may ask of it, by name.
        every_probe: whether it looks at all probes (external cohorts are none); else at those that its parameters name.
            One that looks at others all the same has them predicted when it does, which no plan knew of.
        probes_beside_verdict: whether those of all probes that no parameter names only stand beside the verdict (see
            `Parameter.beside_verdict`).
        stage: what it does beside the predictions: cheap claims are judged before those that attack or explain.
    """

    name: str
    measure: Measuring
    about: About = "subject"
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    every_probe: bool = False
    stage: Stage = "measuring"
    probes_beside_verdict: bool = False

    def __call__(self, evidence: Any, claim: Claim) -> Result:  # noqa: ANN401 - what it is about decides the type
        """Measure a claim, its parameters typed and complete."""
        return self.measure(evidence, replace(claim, parameters=self.asked(claim)))

    def asked(self, claim: Claim) -> dict[str, Any]:
        """Return every parameter by name, typed, defaults filled in.

        Raises:
            UsageProblem: one is missing, unknown or of another type; one line with what is known.
        """
        where = f"claim {claim.id}: endpoint {self.name!r}"
        own = (one.name for one in fields(Claim) if one.name not in ("parameters", "two_classes", "finding", "per"))
        return read_all(self.parameters, claim.parameters, where=where, beside=own)

    def conditions(self, claim: Claim, severities: Sequence[int], *, thorough: bool) -> list[Condition]:
        """Return the conditions a claim needs the cohort's films answered under, besides as they came."""
        asked = self.asked(claim)
        texts = (one.conditions(asked[name], asked) for name, one in self._named(thorough=thorough))
        return expand((text for named in texts for text in named), severities)

    def probe_conditions(self, claim: Claim, *, thorough: bool) -> list[Condition]:
        """Return the conditions a claim needs the probes' films answered under, besides as they came."""
        asked = self.asked(claim)
        texts = (one.probe_conditions(asked[name]) for name, one in self._named(thorough=thorough))
        return expand(text for named in texts for text in named)

    def roles(self, claim: Claim, given: Iterable[str], *, for_verdict: bool = False) -> list[str]:
        """Return the probes a claim looks at, of those that were given; if asked, those that its verdict rests on."""
        asked = self.asked(claim)
        named = {asked[name] for name, one in self.parameters.items() if isinstance(one, Role)}
        every = self.every_probe and not (for_verdict and self.probes_beside_verdict)
        return [role for role in given if role in named or (every and not is_external(role))]

    @property
    def hospital(self) -> str:
        """The parameter that names an external cohort; empty where there is none."""
        return next((name for name, one in self.parameters.items() if isinstance(one, Hospital)), "")

    def for_verdict(self, claim: Claim) -> Claim:
        """Return the claim without what only stands beside its verdict: the same effect and p values, for less."""
        beside = {name for name, one in self.parameters.items() if one.beside_verdict}
        return replace(
            claim, parameters={name: value for name, value in claim.parameters.items() if name not in beside}
        )

    def classes_named(self, claim: Claim) -> dict[str, str]:
        """Return the classes that a claim names, by parameter."""
        asked, named = self.asked(claim), self.parameters.items()
        return {name: asked[name] for name, one in named if isinstance(one, ClassName) and asked[name]}

    def _named(self, *, thorough: bool) -> Iterator[tuple[str, Parameter]]:
        return ((name, one) for name, one in self.parameters.items() if thorough or not one.thorough_only)

    def described(self) -> Iterator[str]:
        """Yield the lines of the list of endpoints: name and first line of its docstring, then its parameters."""
        about = "" if self.about == "subject" else f" (about the {self.about})"
        yield f"{self.name}{about}: {(self.measure.__doc__ or '').strip().splitlines()[0]}"
        for name, one in self.parameters.items():
            shown = "required" if one.required else f"default {one.default!r}"
            yield f"    {name}: {one.expected}; {shown}"


_REGISTRY: dict[str, Endpoint] = {}


def endpoint(
    name: str,
    *,
    about: About = "subject",
    parameters: Mapping[str, Parameter] | None = None,
    every_probe: bool = False,
    stage: Stage = "measuring",
    probes_beside_verdict: bool = False,
) -> Callable[[Measuring], Measuring]:
    """Register a function as an endpoint; see `Endpoint` for the arguments.

    Raises:
        ValueError: another function is registered under that name, or a parameter beside the verdict has no default.
    """
    if needed := [key for key, one in (parameters or {}).items() if one.beside_verdict and one.required]:
        raise ValueError(f"endpoint {name!r}: {needed[0]} stands beside the verdict and needs a default to go without")

    def register(function: Measuring) -> Measuring:
        known = _REGISTRY[name].measure if name in _REGISTRY else function
        if (known.__module__, known.__qualname__) != (function.__module__, function.__qualname__):
            raise ValueError(taken("endpoint", name, known, function))
        _REGISTRY[name] = Endpoint(name, function, about, parameters or {}, every_probe, stage, probes_beside_verdict)
        return function

    return register


def get(name: str) -> Endpoint:
    """Return an endpoint.

    Raises:
        UsageProblem: there is none of that name; the nearest are listed.
    """
    if name not in _REGISTRY:
        raise UsageProblem(unknown_name("endpoint", name, sorted(_REGISTRY)))
    return _REGISTRY[name]


def names() -> list[str]:
    """Return the names of all endpoints, in order of registration."""
    return list(_REGISTRY)


def measured(
    name: str, condition: str, sampled: Sampled | Largest, n: int, *, unit: Unit, smallest: int = 0, needed: int = 100
) -> Measure:
    """Return the measure of a resampled statistic.

    Args:
        name: snake_case name of the measure.
        condition: condition, or `after - before` for a difference.
        sampled: estimate and replicates.
        n: films it rests on.
        unit: in which it is printed.
        smallest: films of the smallest class involved (0: as `n`); below `needed` the cell is exploratory.
        needed: 100 for rates, 200 for calibration curves, 50 per kind of out-of-distribution film.
    """
    interval = sampled.interval()
    return Measure(
        name=name,
        condition=condition,
        unit=unit,
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


def beyond(sampled: Sampled | Largest, claim: Claim) -> float:
    """Return the one-sided p that the effect does not lie beyond the claim's margin, in the claim's direction."""
    if sampled.too_few:
        return 1.0
    return sampled.p_above(claim.margin) if claim.direction == "above" else sampled.p_below(claim.margin)


def within(sampled: Sampled | Largest, claim: Claim) -> float:
    """Return the one-sided p that the effect does not lie within the claim's margin."""
    if sampled.too_few:
        return 1.0
    return sampled.p_below(claim.margin) if claim.direction == "above" else sampled.p_above(claim.margin)
