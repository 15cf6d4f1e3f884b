"""What follows from a result? Margins, intervals, and Holm over the claims of one section.

A claim is settled only when its whole interval lies on one side of its margin and the one-sided p on that side survives
Holm's correction among the claims judged on the same subject in the same section. Everything else is inconclusive,
with the number of films that would settle an effect of this size.

A verdict that a reader would take for robustness or safety (a limitation not found, a requirement met) also needs a
subject with something to lose: where its headroom is not surely large enough, the claim is not evaluable, unless the
effect lies on the harmful side of the margin all the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

from scipy.stats import norm

from suites.harness import statistics
from suites.harness.claims import Claim, Judgement, Measure, Result, Verdict
from suites.harness.counts import counted
from suites.harness.formatting import wording

ALPHA = (1 - statistics.LEVEL) / 2
"""One-sided level that goes with a two-sided interval."""


def judge_section(claims: Sequence[Claim], subject: str, results: Mapping[str, Result | str]) -> list[Judgement]:
    """Return one judgement per claim of a section.

    Args:
        claims: the claims of one section.
        subject: what they were judged on.
        results: claim id -> result, or the reason why it is not evaluable.
    """
    together = judge_together({subject: claims}, {(subject, name): found for name, found in results.items()})
    return together[subject]


def judge_together(
    claims: Mapping[str, Sequence[Claim]], results: Mapping[tuple[str, str], Result | str]
) -> dict[str, list[Judgement]]:
    """Return the judgements of several subjects that share Holm's correction: the findings of one network.

    Args:
        claims: what is judged -> the claims of one section about it.
        results: (what is judged, claim id) -> result, or the reason why it is not evaluable.
    """
    judged = {key: value for key, value in results.items() if isinstance(value, Result)}
    beyond = _adjusted({key: value.p_beyond for key, value in judged.items()})
    within = _adjusted({key: value.p_within for key, value in judged.items()})
    tests = max(1, sum(value.p_beyond is not None for value in judged.values()))
    judgements: dict[str, list[Judgement]] = {subject: [] for subject in claims}
    for subject, asked in claims.items():
        for claim in asked:
            key = subject, claim.id
            found = results[key]
            judgements[subject].append(
                Judgement(claim=claim, subject=subject, verdict=Verdict.NOT_EVALUABLE, reason=found)
                if isinstance(found, str)
                else _judge(claim, subject, found, (beyond[key], within[key]), tests)
            )
    return judgements


Key = TypeVar("Key")


def _adjusted(p_values: Mapping[Key, float | None]) -> dict[Key, float]:
    """Return Holm-adjusted p values; exact counts carry none and count as certain."""
    tested = {key: value for key, value in p_values.items() if value is not None}
    corrected = dict(zip(tested, statistics.holm(list(tested.values())), strict=True))
    return {key: float(corrected.get(key, 0.0)) for key in p_values}


def _judge(claim: Claim, subject: str, result: Result, adjusted: tuple[float, float], tests: int) -> Judgement:
    """Return the judgement of one claim; `adjusted` are its p beyond and within after Holm over so many `tests`."""
    effect, margin = result.effect, claim.margin
    size, bar = wording.with_name(effect), wording.margin(claim, effect)
    if not all(math.isfinite(value) for value in (effect.estimate, effect.low, effect.high)):
        known = "" if effect.patients is None else f", {counted(effect.patients, 'patient')}"
        reason = f"{wording.plain_name(effect.name)} could not be computed ({effect.n} {result.films}{known})"
        return Judgement(
            claim=claim, subject=subject, verdict=Verdict.NOT_EVALUABLE, reason=reason, result=result,
            because="could not be computed",
        )  # fmt: skip
    above, limitation = claim.direction == "above", claim.kind == "limitation"
    word = "above" if effect.low > margin else "below" if effect.high < margin else ""
    is_beyond = word == claim.direction
    if idle := _nothing_to_lose(claim, result, word):
        reason = f"it has nothing to lose: {idle}. {wording.opened(size)} speaks neither for nor against it"
        return Judgement(
            claim=claim, subject=subject, verdict=Verdict.NOT_EVALUABLE, reason=reason, result=result,
            because=f"nothing to lose: {idle}",
        )  # fmt: skip
    barred = result.unproven or effect.too_few or (result.only_within if is_beyond else result.only_beyond)
    if is_beyond:
        alone, p_value, corrected = Verdict.SUPPORTED if limitation else Verdict.MET, result.p_beyond, adjusted[0]
    else:
        alone, p_value, corrected = (
            Verdict.NOT_SUPPORTED if limitation else Verdict.VIOLATED, result.p_within, adjusted[1]
        )  # fmt: skip
    verdict, because = Verdict.INCONCLUSIVE, ""
    if not word:
        reason = f"{size} spans the margin {bar} at n = {effect.n} {result.films}"
        reason += _wanted(result, margin, tests, f"the strictest step of Holm's correction over {tests} claims")
    elif barred:
        reason = f"{size} clears the margin {bar}, but {barred}"
        because = str(barred)
    elif corrected <= ALPHA:
        verdict, reason = alone, f"{size} lies {word} the margin {bar}"
    else:
        reason = f"{size} lies {word} the margin {bar}"
        if p_value is not None and p_value > ALPHA:
            because = f"its test does not settle it (one-sided {wording.p_equals(p_value)}, level {ALPHA:g})"
            reason += f", but {because}"
        else:
            named = wording.VERDICTS[alone].word.lower()
            because = f"not after Holm's correction over the {tests} claims of this section"
            reason += f": alone it would be '{named}', but {because}"
        reason += _wanted(result, margin, tests, "its strictest step")
    documented = claim.documented
    overshoot = documented is not None and (effect.low > documented if above else effect.high < documented)
    if overshoot and documented is not None:
        reason += f", and surely beyond the documented size {wording.margin(claim, effect, documented)}"
    reason += _remarks(result)
    return Judgement(
        claim=claim, subject=subject, verdict=verdict, reason=reason, result=result,
        beyond_documented=limitation and overshoot, because=because,
    )  # fmt: skip


def _nothing_to_lose(claim: Claim, result: Result, word: str) -> str:
    """Return which headroom is not surely enough for what an effect lies `word` the margin would say; empty if all are.

    An effect surely on the harmful side is held against those headrooms only that alarms need, too.
    """
    alarm = word == ("above" if wording.harm(claim) > 0 else "below")
    return "; ".join(
        f"{wording.with_name(room.measure)} is not surely {room.side} {wording.margin(claim, room.measure, room.bar)}"
        for room in result.headroom
        if not room.sure and (room.alarms or not alarm)
    )


def _remarks(result: Result) -> str:
    """Return what every verdict on a result must say as well."""
    effect, told = result.effect, f"; {result.caveat}" if result.caveat else ""
    if effect.exploratory:
        count = effect.smallest or effect.n
        there = f"there {'is' if count == 1 else 'are'}"
        if effect.smallest:
            few = f"of the rarest kind {there} {counted(count, 'film')}"
        else:
            few = f"of {result.films} {there} 1" if count == 1 else f"{there} {count} {result.films}"
        told += f"; exploratory: {few}"
    return told


def _wanted(result: Result, margin: float, tests: int, strictest: str) -> str:
    """Return how many films would settle it, in two digits: more would claim to know the spread that well."""
    wanted = result.needed or needed(result.effect, margin, tests)
    if not wanted:
        return ""
    step = 10 ** max(0, len(str(wanted)) - 2)
    level = f" at {strictest}" if tests > 1 else ""
    return f"; about {math.ceil(wanted / step) * step:,} {result.films} would settle an effect of this size{level}"


def needed(effect: Measure, margin: float, tests: int = 1) -> int | None:
    """Return the films that would settle an effect of this size with 80 % power, from its interval.

    Of a skewed interval the end that faces the margin counts; with several tests the level is Holm's strictest.
    """
    distance = abs(effect.estimate - margin)
    facing = effect.estimate - effect.low if effect.estimate > margin else effect.high - effect.estimate
    if not distance > 0 or not facing > 0 or not math.isfinite(facing):
        return None
    deviation = facing / float(norm.ppf(1 - ALPHA)) * math.sqrt(effect.n)
    quantiles = float(norm.ppf(1 - ALPHA / tests)) + float(norm.ppf(0.8))
    return math.ceil((quantiles * deviation / distance) ** 2)
