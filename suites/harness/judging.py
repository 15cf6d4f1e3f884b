"""From results to verdicts: margins, intervals, and Holm over the claims of one section.

A claim is settled only when its whole interval lies on one side of its margin and the one-sided p on that side survives
Holm's correction among the claims judged on the same subject in the same section. Everything else is inconclusive,
with the number of films that would settle an effect of this size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from scipy.stats import norm

from suites.harness import statistics
from suites.harness.claims import Claim, Judgement, Measure, Result, Verdict

ALPHA = (1 - statistics.LEVEL) / 2
"""One-sided level that goes with a two-sided interval."""


def judge_section(claims: Sequence[Claim], subject: str, results: Mapping[str, Result | str]) -> list[Judgement]:
    """Return one judgement per claim of a section.

    Args:
        claims: the claims of one section.
        subject: what they were judged on.
        results: claim id -> result, or the reason why it is not evaluable.
    """
    judged = {key: value for key, value in results.items() if isinstance(value, Result)}
    beyond = _adjusted({key: value.p_beyond for key, value in judged.items()})
    within = _adjusted({key: value.p_within for key, value in judged.items()})
    judgements = []
    for claim in claims:
        found = results[claim.id]
        if isinstance(found, str):
            judgements.append(Judgement(claim=claim, subject=subject, verdict=Verdict.NOT_EVALUABLE, reason=found))
        else:
            judgements.append(_judge(claim, subject, found, beyond[claim.id], within[claim.id]))
    return judgements


def _adjusted(p_values: Mapping[str, float | None]) -> dict[str, float]:
    """Return Holm-adjusted p values; exact counts carry none and count as certain."""
    tested = {key: value for key, value in p_values.items() if value is not None}
    corrected = dict(zip(tested, statistics.holm(list(tested.values())), strict=True))
    return {key: float(corrected.get(key, 0.0)) for key in p_values}


def _judge(claim: Claim, subject: str, result: Result, p_beyond: float, p_within: float) -> Judgement:
    effect, margin = result.effect, claim.margin
    if not all(math.isfinite(value) for value in (effect.estimate, effect.low, effect.high)):
        reason = f"{effect.name} could not be computed ({effect.n} films, {effect.patients} patients)"
        return Judgement(claim=claim, subject=subject, verdict=Verdict.NOT_EVALUABLE, reason=reason, result=result)
    above = claim.direction == "above"
    side_beyond = effect.low > margin if above else effect.high < margin
    side_within = effect.high < margin if above else effect.low > margin
    barred = result.only_beyond if side_within else ""
    limitation = claim.kind == "limitation"
    if side_beyond and p_beyond <= ALPHA:
        verdict, word = (Verdict.SUPPORTED if limitation else Verdict.MET), "above" if above else "below"
    elif side_within and p_within <= ALPHA and not barred:
        verdict, word = (Verdict.NOT_SUPPORTED if limitation else Verdict.VIOLATED), "below" if above else "above"
    else:
        verdict, word = Verdict.INCONCLUSIVE, ""
    if verdict is Verdict.INCONCLUSIVE and barred:
        reason = f"{_size(effect)} clears the margin {margin:g}, but {barred}"
    elif verdict is Verdict.INCONCLUSIVE:
        reason = _inconclusive(
            effect, margin, settled=side_beyond or side_within, needed=result.needed or needed(effect, margin)
        )
    else:
        reason = f"{_size(effect)} lies {word} the margin {margin:g}"
    documented = claim.documented
    overshoot = documented is not None and (effect.low > documented if above else effect.high < documented)
    if overshoot:
        reason += f", and surely beyond the documented size {documented:g}"
    if effect.exploratory:
        reason += "; exploratory, the smallest cell is small"
    return Judgement(
        claim=claim, subject=subject, verdict=verdict, reason=reason, result=result,
        beyond_documented=limitation and overshoot,
    )  # fmt: skip


def _size(effect: Measure) -> str:
    return f"{effect.name} {effect.estimate:.3g} ({effect.low:.3g} to {effect.high:.3g})"


def _inconclusive(effect: Measure, margin: float, *, settled: bool, needed: int | None) -> str:
    if settled:
        return f"{_size(effect)} clears the margin {margin:g} alone, but not after Holm's correction over its section"
    wanted = f"; about {needed} films would settle an effect of this size" if needed else ""
    return f"{_size(effect)} spans the margin {margin:g} at n = {effect.n}{wanted}"


def needed(effect: Measure, margin: float) -> int | None:
    """Return the films that would settle an effect of this size with 80 % power, from the width of its interval."""
    distance, width = abs(effect.estimate - margin), effect.high - effect.low
    if distance == 0 or width == 0:
        return None
    quantile = float(norm.ppf(1 - ALPHA))
    deviation = width / (2 * quantile) * math.sqrt(effect.n)
    return math.ceil(((quantile + float(norm.ppf(0.8))) * deviation / distance) ** 2)
