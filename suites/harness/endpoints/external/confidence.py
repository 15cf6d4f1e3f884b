"""Is the subject as sure at another hospital as it is right there, and does the temperature of home help?"""

from __future__ import annotations

from functools import partial

import numpy as np

from calibration import measures
from calibration.validation import CalibrationError
from suites.harness.claims import Claim, Measure, Result
from suites.harness.endpoints import headroom
from suites.harness.endpoints.external.two_hospitals import Hospital, TwoHospitals
from suites.harness.endpoints.parameters import Hospital as HospitalRole
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.endpoints.uncertainty.calibration import ECE
from suites.harness.endpoints.uncertainty.held_out import held_out
from suites.harness.endpoints.uncertainty.labelled_films import reasoned
from suites.harness.formatting.cells import percent, points
from suites.harness.formatting.wording import number, spanned
from suites.harness.predictions.conditions import CLEAN
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import Sampled

DEBIASED = "debiased-l2/top-label/15/equal-mass"


@endpoint("external_confidence", parameters={"hospital": HospitalRole()})
@reasoned
@held_out
def external_confidence(evidence: Evidence, claim: Claim) -> Result:
    """By how much confidence exceeds accuracy at another hospital; calibration error and home temperature beside it."""
    both = TwoHospitals.of(evidence.main, evidence.hospital(claim.parameters["hospital"]))
    sides = ((CLEAN, both.home), (both.away.name, both.away))  # a hospital may be called as a condition is
    gaps = [overconfidence(side) for _, side in sides]
    shown = [
        measured("overconfidence", where, gap, side.films, unit="points", smallest=side.smallest)
        for (where, side), gap in zip(sides, gaps, strict=True)
    ]
    errors = [one for where, side in sides for one in _errors(side, where)]
    tempered, told = _home_temperature(both)
    at_home, effect = shown
    eces = [one for one in errors if one.name == "ece"]
    return Result(
        effect=effect,
        p_beyond=beyond(gaps[1], claim),
        p_within=within(gaps[1], claim),
        headroom=[headroom.skill(evidence.main)],
        films=f"films of {both.away.name}",
        measures=[at_home, *errors, *tempered],
        summary=(
            f"On the films of {both.away.name} its confidence is {percent(float(_top(both.away).mean()))} on average "
            f"and {percent(float(both.away.right.mean()))} of its calls are right: {points(effect.estimate)} points "
            f"too sure ({points(effect.low)} to {points(effect.high)}), at home {points(at_home.estimate)}. ECE is "
            f"{' there, '.join(number(one.estimate) for one in reversed(eces))} at home. {told}"
        ),
    )


def overconfidence(side: Hospital) -> Sampled:
    """Return mean confidence less the share called right: above 0 where it is surer than it is right; unbiased."""
    return side.rate(_top(side) - side.right, bounds=(-1.0, 1.0))


def _top(side: Hospital) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return (n,) the confidence of the call; of a class that nothing there is labelled as, the rest of the mass."""
    p = side.probabilities
    return np.asarray(np.where(side.called >= 0, p[np.arange(side.films), side.called], p.max(axis=1)))


def _errors(side: Hospital, where: str) -> list[Measure]:
    """Return ECE with its interval, and the debiased squared error, which does not grow where films are few."""
    found = measures.measured(
        (ECE,), side.logits, side.truth, groups=side.patients, weights=side.resamples.weights,
        left_out=side.resamples.left_out, beside=(DEBIASED,),
    )  # fmt: skip
    told = []
    for name, value in found.items():
        ends = (value.interval.low, value.interval.high) if value.interval else (np.nan, np.nan)
        told.append(
            Measure(
                name=name.split("/", maxsplit=1)[0].replace("-", "_"), condition=where, unit="plain",
                estimate=value.estimate, low=ends[0], high=ends[1], n=side.films, patients=side.owners,
                estimator=name, exploratory=side.smallest < 200, smallest=side.smallest,
            )
        )  # fmt: skip
    return told


def _home_temperature(both: TwoHospitals) -> tuple[list[Measure], str]:
    """Return the temperatures fitted at home and there, and what the one of home does there."""
    try:
        fitted = float(np.asarray(measures.estimate("temperature", both.home.logits, both.home.truth)))
        own = _fitted(both.away)
    except CalibrationError as problem:
        return [], f"No temperature can be fitted: {problem}."
    away = both.away
    gain = away.sampled(partial(_gain, away, fitted), (-np.inf, np.inf), averaged=False)
    told = [
        measured("temperature", away.name, own, away.films, unit="plain", smallest=away.smallest),
        measured("log_loss_gain", f"{away.name}, temperature of home", gain, away.films, unit="nats",
                 smallest=away.smallest),
    ]  # fmt: skip
    helped = "helps" if told[1].low > 0 else "harms" if told[1].high < 0 else "neither surely helps nor harms"
    ends = spanned(told[0].estimate, told[0].low, told[0].high)
    return told, (
        f"The temperature fitted at home, {fitted:.2f}, {helped} there (log loss falls by "
        f"{spanned(told[1].estimate, told[1].low, told[1].high, 'nats')}); films of that hospital would want {ends}."
    )


def _fitted(side: Hospital) -> Sampled:
    fitted = partial(measures.estimate, "temperature", side.logits, side.truth)
    return side.sampled(fitted, (0.0, np.inf), averaged=False)


def _gain(side: Hospital, temperature: float, weights: object = None) -> object:
    before, after = (
        np.asarray(measures.estimate("nll", z, side.truth, weights=weights))  # type: ignore[arg-type]
        for z in (side.logits, side.logits / temperature)
    )
    return before - after
