"""What must a reader know within one minute? The worst harms, what was measured to help, strengths, and what is open.

Chosen from the judgements of one subject alone, by rules that are printed beside the choice. A harm is what a claim
settled: a requirement violated, or a limitation confirmed. Harms compare on one scale, further errors among 100 of a
kind (`endpoints.toll`), by the lower end of their interval, so that no harm leads for being uncertain.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from robustness import perturbation
from suites.harness.claims import Help, Judgement, Measure, Verdict
from suites.harness.cohorts.cohort import Cohort
from suites.harness.counts import counted
from suites.harness.endpoints.toll import CALLED_ILL, MISSED, MISSED_MORE, SAID_MORE
from suites.harness.formatting import wording
from suites.harness.record import Record
from suites.harness.verdicts import needed

HARMFUL = (Verdict.VIOLATED, Verdict.SUPPORTED)
GOOD = (Verdict.MET, Verdict.NOT_SUPPORTED)
COSTLY = 0.05
"""Further errors of one side beyond which nothing is called a strength: the five points that count as a loss."""
MOST = 3
OF_WHITE_OUTS = frozenset({"diffuse_dose_matched", "sham_opacity"})
"""Controls that add the water of a white-out elsewhere: with the white-outs they tell one kind of harm."""
WHITE_OUT = "white-out"
ATTACKED = "robust_accuracy"
"""What claims about attacks measure."""


OF_A_HUNDRED = {
    MISSED: ("ill {}", "missed"),
    CALLED_ILL: ("healthy {}", "called ill"),
    MISSED_MORE: ("{} with the finding", "missed"),
    SAID_MORE: ("{} without the finding", "said to show it"),
}
"""A toll -> the people it counts, and what becomes of them."""


@dataclass(frozen=True, kw_only=True)
class Harm:
    """One harm of a subject.

    Attributes:
        judgement: that settled it, or left it open.
        sentence: what was found.
        scale: the same in further errors among 100 of a kind; empty where they were not measured.
        settled: False for one that these films leave open.
    """

    judgement: Judgement
    sentence: str
    scale: str
    settled: bool


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the first screen says of one subject.

    Attributes:
        harms: the worst; `helps`: what was measured to help, `advice`: what the claims of the harms advise.
        strengths: what holds, with its sentence and its place on the one scale.
        on_purpose: the gravest of what was settled of attacks. Nobody counts such films among a hundred patients, so it
            stands beside the harms.
        violated: every requirement that is, which decides how a run ends, the gravest first.
    """

    harms: Sequence[Harm]
    helps: Sequence[tuple[Judgement, Help]]
    advice: Sequence[tuple[Judgement, str]]
    strengths: Sequence[tuple[Judgement, str, str]]
    on_purpose: Judgement | None = None
    violated: Sequence[Judgement] = ()


def findings(judgements: Iterable[Judgement], subject: str, who: str = "patients") -> Findings:
    """Return what the first screen says of a subject.

    Args:
        judgements: of the run.
        subject: its name.
        who: whose films they are, for the one scale.
    """
    own = [judgement for judgement in judgements if judgement.subject == subject]
    harmful = harms(own, who)
    helped = helps(own)
    return Findings(
        harms=harmful,
        helps=helped,
        advice=advice(harmful) if len(helped) < MOST else (),
        strengths=strengths(own, who),
        on_purpose=attacked(own),
        violated=sorted((one for one in own if one.verdict is Verdict.VIOLATED), key=_graver),
    )


def harms(judgements: Sequence[Judgement], who: str = "patients", most: int = MOST) -> list[Harm]:
    """Return the worst harms, one per section and none of what another one tells, those that are settled first.

    Within both, harms on the one scale come by the lower end of the larger of their two intervals; behind them those
    that were not measured on it, a limitation beyond its documented size and a violated requirement first.
    """
    candidates = [one for one in judgements if _settled(one) or (_open(one) and toll_low(one) > 0)]
    by_section: dict[str, Judgement] = {}
    told: set[str] = set()
    for judgement in sorted(candidates, key=_graver):
        what = stresses(judgement)
        if judgement.claim.section not in by_section and told.isdisjoint(what):
            by_section[judgement.claim.section] = judgement
            told |= what
    return [
        Harm(
            judgement=judgement,
            sentence=wording.headline(judgement),
            scale=per_hundred(judgement, who),
            settled=_settled(judgement),
        )
        for judgement in list(by_section.values())[:most]
    ]


def stresses(judgement: Judgement) -> frozenset[str]:
    """Return what was done to the films of a finding: perturbations or the role of a probe; empty for clean films.

    White-outs, whatever made them, and the controls of equal water are one thing that is done; so is every attack.

    A finding under several of them (the calls that change under any low contrast) is one of each: beside a finding
    under one of these it would tell the same harm twice.
    """
    parameters, result = judgement.claim.parameters, judgement.result
    if result and result.effect.name == ATTACKED:
        return frozenset({ATTACKED})
    texts = result.effect.condition.split(" - ") if result else []
    if not any("@" in text for text in texts):
        listed = parameters.get("conditions", ())
        texts = [str(text) for text in listed] if isinstance(listed, list | tuple) else []
    under = {_kind(text.partition("@")[0]) for text in texts if "@" in text}
    return frozenset(under | ({str(parameters["role"])} if parameters.get("role") else set()))


def _kind(name: str) -> str:
    return WHITE_OUT if name in OF_WHITE_OUTS or name in perturbation.names("opacity") else name


def made_white(judgement: Judgement) -> bool:
    """Return whether a finding is about films made white by a white-out itself, for which no class is right."""
    under = perturbation.names("opacity")
    effect = judgement.result.effect.condition if judgement.result else ""
    listed = judgement.claim.parameters.get("conditions", ())
    told = [effect] if "@" in effect else list(listed) if isinstance(listed, list | tuple) else []
    return bool(told) and all(str(text).partition("@")[0] in under for text in told)


def attacked(judgements: Sequence[Judgement]) -> Judgement | None:
    """Return the claim about attacks, settled as a harm, that leaves fewest films right."""
    found = [one for one in judgements if _settled(one) and one.result and one.result.effect.name == ATTACKED]
    return min(found, key=lambda one: one.result.effect.estimate if one.result else math.inf, default=None)


def helps(judgements: Sequence[Judgement], most: int = MOST) -> list[tuple[Judgement, Help]]:
    """Return what was measured to help, the largest gains first, one per claim."""
    found = [(one, max(one.result.helps, key=_gain)) for one in judgements if one.result and one.result.helps]
    return sorted(found, key=lambda pair: -_gain(pair[1]))[:most]


def advice(harmful: Sequence[Harm]) -> list[tuple[Judgement, str]]:
    """Return what the claims of the worst harms advise, each once: nobody measured here whether it helps."""
    told = {one.judgement.claim.remedy: one.judgement for one in harmful if one.judgement.claim.remedy}
    return [(judgement, text) for text, judgement in told.items()]


def strengths(
    judgements: Sequence[Judgement], who: str = "patients", most: int = MOST
) -> list[tuple[Judgement, str, str]]:
    """Return what holds, one per section without a harm, with its place on the one scale: on many films first."""

    def rank(judgement: Judgement) -> tuple[bool, bool, float]:
        effect = judgement.result.effect if judgement.result else None
        few = effect is None or effect.exploratory
        return few, judgement.verdict is not Verdict.MET, -_beyond_margin(judgement)

    harmed = {one.claim.section for one in judgements if _settled(one)}
    found: dict[str, Judgement] = {}
    for judgement in sorted(
        (one for one in judgements if one.verdict in GOOD and one.claim.section not in harmed and not _costly(one)),
        key=rank,
    ):
        found.setdefault(judgement.claim.section, judgement)
    return [(one, wording.headline(one), per_hundred(one, who)) for one in list(found.values())[:most]]


def _costly(judgement: Judgement) -> bool:
    """Whether what holds costs one side more than five of a hundred: of rare ill films a mean over all shows little."""
    return max((one.estimate for one in toll_of(judgement).values()), default=0.0) > COSTLY


def toll_of(judgement: Judgement) -> dict[str, Measure]:
    """Return what a claim measured on the one scale, by name."""
    measures = judgement.result.measures if judgement.result else ()
    return {one.name: one for one in measures if one.name in OF_A_HUNDRED and math.isfinite(one.estimate)}


def toll_low(judgement: Judgement) -> float:
    """Return the lower end of the larger toll; minus infinity where none was measured."""
    return max((one.low for one in toll_of(judgement).values()), default=-math.inf)


def per_hundred(judgement: Judgement, who: str = "patients") -> str:
    """Return the toll in whole people of a hundred: `Of 100 ill children, 12 more are missed (8 to 16); ...`.

    Of films made white it is the calls that are counted so: no class is right for them, which is said.
    """
    told = toll_of(judgement)
    sides = [
        f"of 100 {kind.format(who)}, {_people(told[name])} {what} ({_range(told[name])})"
        for name, (kind, what) in OF_A_HUNDRED.items()
        if name in told
    ]
    caveat = ", although no class is right for a film made white" if made_white(judgement) else ""
    return wording.opened("; ".join(sides)) + f"{caveat}." if sides else ""


def shown(record: Record, subject: str) -> str:
    """Return in a sentence what the films of a run could settle of a subject."""
    own = [one for one in record.judgements if one.subject == subject]
    settled = [one for one in own if one.verdict in (*HARMFUL, *GOOD)]
    few = sum(1 for one in settled if one.result and one.result.effect.exploratory)
    films = record.films_of(subject)
    counts = Counter(label for label in films.table["label"].astype(str) if label)
    names = {name: wording.plain_name(name) for name in sorted(counts)}
    if (whose := next(one for one in record.subjects if one.name == subject)).whole is not None:
        names = dict(zip(reversed(whose.classes), ("with it", "without it"), strict=True))
    classes = ", ".join(f"{counts[name]:,} {told}" for name, told in names.items() if counts[name]) or "none labelled"
    return (
        f"{counted(len(films), 'film')} of {counted(films.patients, 'patient')} ({classes}) settle {len(settled)} of "
        f"{len(own)} questions{f', {_of(few, settled)} exploratory' if few else ''}."
    )


def _of(few: int, settled: Sequence[Judgement]) -> str:
    return "all" if few == len(settled) else f"{few} of them"


def unsettled(record: Record, subject: str) -> str:
    """Return in a sentence what they leave open, and about how many films it would take; empty if nothing."""
    own = [one for one in record.judgements if one.subject == subject]
    counts = Counter(one.verdict for one in own)
    left = [
        wording.VERDICTS[verdict].counted(counts[verdict])
        for verdict in (Verdict.INCONCLUSIVE, Verdict.NOT_EVALUABLE)
        if counts[verdict]
    ]
    if not left:
        return ""
    tests = Counter(one.claim.section for one in record.judgements if one.result)
    everyone = len(record.films_of(subject))
    wanted = []
    for one in own:
        if one.verdict is Verdict.INCONCLUSIVE and one.result:
            effect = one.result.effect
            films = one.result.needed or needed(effect, one.claim.margin, tests[one.claim.section]) or 0
            # What rests on some of the films (those with a finding) takes as many times more of all of them.
            wanted += [math.ceil(films * max(1.0, everyone / max(effect.n, 1)))] if films else []
    wanted.sort()
    text = f"They leave {' and '.join(left)}"
    if not wanted:
        return f"{text}."
    middle = wanted[(len(wanted) - 1) // 2]
    step = 10 ** max(0, len(str(middle)) - 2)
    return f"{text}: half of what is inconclusive would take about {math.ceil(middle / step) * step:,} films or more."


def whose(cohort: Cohort) -> str:
    """Return whose films they are: children where every film says so."""
    table = cohort.table
    return "children" if "age_group" in table and set(table["age_group"].astype(str)) == {"child"} else "patients"


def _settled(judgement: Judgement) -> bool:
    return judgement.verdict in HARMFUL or judgement.beyond_documented


def _open(judgement: Judgement) -> bool:
    return judgement.verdict is Verdict.INCONCLUSIVE


def _graver(judgement: Judgement) -> tuple[bool, bool, bool, float]:
    low, grave = toll_low(judgement), judgement.verdict is Verdict.VIOLATED or judgement.beyond_documented
    on_scale = low > 0
    size = low if on_scale else _beyond_margin(judgement)
    return not _settled(judgement), not on_scale, not on_scale and not grave, -size


def _beyond_margin(judgement: Judgement) -> float:
    """Return how far the estimate lies from the margin, where both are fractions; 0 in other units."""
    effect, claim = judgement.result.effect if judgement.result else None, judgement.claim
    if effect is None or not math.isfinite(effect.estimate) or max(abs(effect.estimate), abs(claim.margin)) > 1:
        return 0.0
    return abs(effect.estimate - claim.margin)


def _gain(one: Help) -> float:
    return one.gain.estimate


def _people(measure: Measure) -> str:
    count = _of_hundred(measure.estimate)
    return f"{abs(count)} {'fewer' if count < 0 else 'more'} {'is' if abs(count) == 1 else 'are'}"


def _range(measure: Measure) -> str:
    """Return an interval in people: `8 to 16` on the side of the estimate, else `from 14 more to 39 fewer`."""
    ends = _of_hundred(measure.low), _of_hundred(measure.high)
    fewer = _of_hundred(measure.estimate) < 0
    low, high = sorted((-end for end in ends) if fewer else ends)
    if low >= 0:
        return f"{low} to {high}"
    side, other = ("fewer", "more") if fewer else ("more", "fewer")
    return f"from {-low} {other} to {abs(high)} {side if high >= 0 else other}"


def _of_hundred(share: float) -> int:
    return int(wording.rounded(share, times=100))
