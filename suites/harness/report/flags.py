"""What does a warning of this report mean? Every check and warning: raised when, what it says, what to do about it.

The model is AutoAttack's page of flags (github.com/fra31/auto-attack, flags_doc.md): a check that fails is of use only
to a reader who knows what follows from it. A check that has no entry here is an error of the project, not of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from suites.harness.claims import Judgement, Result, Verdict
from suites.harness.counts import counted
from suites.harness.formatting.wording import TRUST
from suites.harness.predictions.subject_checks import SubjectCheck
from suites.harness.record import Record
from suites.harness.report.checklist import claim_anchor

GROUPS = {
    "subject": "Checked on a few films, before anything is predicted",
    "attack": 'Checked of every attack: may "robust" be said of a film that was not flipped?',
    "verdict": "Said beside verdicts",
    "run": "Said of the whole run",
}


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One check or warning.

    Attributes:
        name: of the check, as printed in tables, or of the warning.
        group: one of `GROUPS`.
        raised: when it is raised.
        meaning: what it means for the numbers of the report.
        advice: what to do.
        of: for a warning beside verdicts: whether a judgement carries it.
    """

    name: str
    group: str
    raised: str
    meaning: str
    advice: str
    of: Callable[[Judgement], bool] | None = None


@dataclass(frozen=True)
class Entry:
    """A flag of the page, with where this run raised it: (link target, what was found)."""

    flag: Flag
    raised: Sequence[tuple[str, str]]


def _of_result(test: Callable[[Result], object]) -> Callable[[Judgement], bool]:
    return lambda judgement: judgement.result is not None and bool(test(judgement.result))


def _of_subject(name: str, raised: str, meaning: str, advice: str) -> Flag:
    return Flag(name=name, group="subject", raised=raised, meaning=meaning, advice=advice)


def _of_attack(name: str, raised: str, meaning: str, advice: str) -> Flag:
    return Flag(name=name, group="attack", raised=raised, meaning=meaning, advice=advice)


FLAGS: tuple[Flag, ...] = (
    _of_subject(
        "in evaluation mode", "A module of the network answers in training mode.",
        "Dropout is on and batch norms use the films beside a film, so answers change from call to call. No "
        "claim about "
        "the subject is judged.",
        "Call `network.eval()` before the subject is made.",
    ),
    _of_subject(
        "the same answer twice", "Passes over the same films differ by more than rounding would make them.",
        "Noise, dropout or an unfinished race is inside the network. Where a call changes, or a probability by more "
        "than 1 point, no claim is judged; below that, numbers hold to about that much.",
        "Switch the noise off, or publish the mean of many passes as the subject.",
    ),
    _of_subject(
        "a film is answered alone", "The answer to a film changes when other films stand beside it, or none.",
        "A batch statistic (a batch norm in training mode, a scaling by the batch's range) decides the answer, so it "
        "depends on who else is examined that day. Where a call changes no claim is judged.",
        "Put batch norms into evaluation mode; scale a film by its own values or by fixed ones.",
    ),
    _of_subject(
        "not saturated", "In float32 the probability of the class called is exactly 1 on half of the films or more.",
        "Its confidence cannot tell films apart: selective prediction, calibration curves and every score built on "
        "the softmax are at their limit.",
        "Look for logits scaled up, or a temperature below 1; judge calibration on the logits in float64.",
    ),
    _of_subject(
        "gradients reach the film", "The gradient of the logits at the input is zero everywhere, or there is none.",
        "White-box attacks and maps made from gradients are not evaluable; searches by answers alone can show weakness "
        "and never robustness.",
        "Give the network before quantisation or detaching, where there is one.",
    ),
    _of_subject(
        "gradients follow the recipe",
        "Never a fault: the distance between the recipe's own 8-bit resize and the float one gradients flow through.",
        "Attacks and maps search along the float path; whether a film flipped is always read off the exact one.",
        "Nothing, unless calls differ on many films: then attack the network's input rather than the film.",
    ),
    _of_attack(
        "deterministic", "Two passes over the same film differ by 1e-4 of the logits' spread.",
        "Steps of a search follow noise; what stays right may only have been missed.",
        "Make the network deterministic, or attack the mean of many passes (expectation over transformation).",
    ),
    _of_attack(
        "outputs are logits", "All outputs lie in 0 to 1 and sum to 1.",
        "A softmax at the end flattens gradients to nothing where the network is sure (gradient masking).",
        "Return logits; a probability that reaches the suite at loading is turned back by itself.",
    ),
    _of_attack(
        "gradients exist", "The network, or the service, gives no gradient.",
        "White-box attacks are not evaluable. A search by answers alone can show weakness and never robustness.",
        "Give the weights instead of the service, or the network before quantisation.",
    ),
    _of_attack(
        "gradients present", "The gradient of the margin is exactly zero, or not finite, on some of the films probed.",
        "Gradient masking: a search has no direction to go, so robustness cannot be concluded.",
        "Look for rounding, thresholds or detached parts before the network; replace them by differentiable ones for "
        "the attack.",
    ),
    _of_attack(
        "gradients true", "A small step up the gradient does not raise the margin as the gradient promises.",
        "The gradient belongs to something else than the answer (a straight-through part, a broken backward pass).",
        "Correct the backward pass; until then only the attacks without gradients count.",
    ),
    _of_attack(
        "head not saturated", "The gradient of the cross-entropy vanishes on some of the films probed.",
        "Attacks on the cross-entropy are blind there; those on the margin of the logits are not, so the "
        "verdict stands.",
        "Nothing; do not compare with results of attacks on the cross-entropy alone.",
    ),
    _of_attack(
        "loss rises", "Ten steps uphill beat noise of the same size on fewer films than nearly all.",
        "The search does not find its way: masked gradients, or a loss that is flat or jagged.",
        "As for `gradients present`; try a longer profile, which restarts more often.",
    ),
    _of_attack(
        "a large budget reaches zero", "Films stay right although half of the grey scale may change.",
        "At such a budget every film can be made grey, so the search misses what is there.",
        "Do not read any budget of this run as robustness; look for a preprocessing that undoes changes.",
    ),
    _of_attack(
        "more steps are not weaker", "Thirty steps flip fewer films than five.",
        "Steps are lost on the way, as with masked or noisy gradients.",
        "As for `deterministic` and `gradients present`.",
    ),
    _of_attack(
        "accuracy falls with the budget", "A larger budget flips fewer films than a smaller one, which lies inside it.",
        "The search misses what it could have found.",
        "Take the smallest accuracy up to a budget, and a longer profile.",
    ),
    _of_attack(
        "white-box beats black-box", "Queries without gradients flip films that the search with gradients left "
        "standing.",
        "Gradients mislead (gradient masking): the film is weaker than the white-box search says.",
        "As for `gradients present`; count the flips of both.",
    ),
    _of_attack(
        "noise does not flip", "Random signs of the budget's size flip a quarter of the films or more.",
        "Not adversarial weakness alone: the subject does not stand noise of that size either.",
        "Read the robust accuracy beside that under noise; mend the noise first.",
    ),
    _of_attack(
        "no numerical faults", "A logit or a gradient was not a number, or every gradient of a film zero.",
        "Those films were not searched, so they may not be called robust.",
        "Look at the films named; run in float32 without autocast.",
    ),
    _of_attack(
        "white-box beats transfer", "Films made against another subject flip films that this search left standing.",
        "The search is weaker than an attack that never saw this network (gradient masking).",
        "As for `gradients present`; count the transferred flips.",
    ),
    Flag(
        name="exploratory", group="verdict", of=_of_result(lambda result: result.effect.exploratory),
        raised="The smallest class or kind of film that a number rests on has fewer films than its kind needs.",
        meaning="What is said holds for these films; another sample of that size may say otherwise.",
        advice="Collect films of the class named before the number is quoted.",
    ),
    Flag(
        name="too few patients", group="verdict", of=_of_result(lambda result: result.effect.too_few),
        raised="Fewer than ten patients are on the rarer side (a wrong call, say) that a number lives on.",
        meaning="Simulations show that no interval holds its promise there, so the verdict is inconclusive.",
        advice="Collect more patients; more films of the same patients do not help.",
    ),
    Flag(
        name="nothing to lose", group="verdict",
        of=lambda judgement: judgement.verdict is Verdict.NOT_EVALUABLE and "nothing to lose" in judgement.reason,
        raised="The headroom, the largest effect this subject could show on these films, is not surely beyond "
        "the margin.",
        meaning="A subject that always answers the same loses nothing under any change, and is neither robust "
        "nor safe.",
        advice="Mend its accuracy on clean films first; the claim can be judged then.",
    ),
    Flag(
        name="upper bound", group="verdict", of=_of_result(lambda result: "upper bound" in result.caveat),
        raised="Beside every robust accuracy.",
        meaning="A search shows films that fall; those that stand may fall to a longer one.",
        advice="Compare with the profile full, and with other people's attacks, before a robustness is published.",
    ),
    Flag(
        name="a search that may have missed", group="verdict", of=_of_result(lambda result: result.only_beyond),
        raised="A check of the attack failed, or many calls change without a loss (as many for the better as "
        "for worse).",
        meaning="Weakness can be concluded from such a result, robustness cannot.",
        advice="Follow the check that failed; look at the calls that change.",
    ),
    Flag(
        name="low before it was attacked", group="verdict", of=_of_result(lambda result: result.only_within),
        raised="The fall from clean films is not surely more than five points, or flips hide behind a small net "
        "change.",
        meaning="A low number under attack or stress is no success of it where it was as low without.",
        advice="Read the clean accuracy first.",
    ),
    Flag(
        name="a map that proves nothing", group="verdict", of=_of_result(lambda result: result.unproven),
        raised="The attribution method failed its sanity check on this network, or left it undecided.",
        meaning="Its maps hardly depend on what the network learned, so no verdict rests on where they lie.",
        advice="Use a method that passes; the table of methods says which.",
    ),
    Flag(
        name="beyond the documented size", group="verdict", of=lambda judgement: judgement.beyond_documented,
        raised="A limitation that the page admits is surely larger than the page says.",
        meaning="The run fails: a reader who trusts the page is misled.",
        advice="Mend the subject, or correct the page.",
    ),
    Flag(
        name="simulated films", group="run",
        raised="The films of the run come from the simulated thorax.",
        meaning="The run shows that the suite sees a failure that is there. It says nothing about real films.",
        advice="Pass --weights and --data with real films.",
    ),
    Flag(
        name="temperature fitted on these films", group="run",
        raised="Films that a subject's temperature was fitted on are among those it is judged on.",
        meaning="Calibration on them is not evaluable, and what rests on the size of its confidence is flattered.",
        advice="Judge it on other films.",
    ),
    Flag(
        name="films left out", group="run",
        raised="Some files could not be read as films.",
        meaning="Numbers are those of the rest; where what cannot be read is no random part, they are biased.",
        advice="Look at the list under Films; mend or replace the files.",
    ),
)  # fmt: skip


def entries(record: Record) -> dict[str, list[Entry]]:
    """Return heading -> every flag of that group, with what this run found.

    Args:
        record: the finished run.
    """
    found = _checked_first(record.checks.items()) | _checked_of_attacks(record.judgements) | _of_the_run(record)
    groups: dict[str, list[Entry]] = {heading: [] for heading in GROUPS.values()}
    for flag in FLAGS:
        raised = [*found.get((flag.group, flag.name), [])]
        if flag.of is not None:
            carrying = (judgement for judgement in record.judgements if flag.of(judgement))
            raised += [(_link(judgement), f"{judgement.claim.id} on {judgement.subject}") for judgement in carrying]
        groups[GROUPS[flag.group]].append(Entry(flag, raised))
    return groups


def raised(record: Record) -> dict[str, list[Entry]]:
    """Return the same of those flags only that this run raised, headings without any left out."""
    found = {heading: [entry for entry in group if entry.raised] for heading, group in entries(record).items()}
    return {heading: group for heading, group in found.items() if group}


Found = dict[tuple[str, str], list[tuple[str, str]]]


def _checked_first(checks: Iterable[tuple[str, Sequence[SubjectCheck]]]) -> Found:
    found: Found = {}
    for subject, done in checks:
        for check in done:
            if not check.passed:
                found.setdefault(("subject", check.name), []).append(("#provenance", f"{subject}: {check.detail}"))
    return found


def _checked_of_attacks(judgements: Iterable[Judgement]) -> Found:
    """Return the failed checks of the attacks, read off the table that claims print."""
    found: Found = {}
    for judgement in judgements:
        table = judgement.result.tables.get(TRUST) if judgement.result else None
        if table is None:
            continue
        for name, detail in table.loc[table["passed"] != "yes", ["check", "detail"]].itertuples(index=False):
            said = f"{judgement.claim.id} on {judgement.subject}: {detail}"
            found.setdefault(("attack", str(name)), []).append((_link(judgement), said))
    return found


def _of_the_run(record: Record) -> Found:
    told: Mapping[str, list[str]] = {
        "simulated films": ["this run"] if record.cohort.simulated else [],
        "temperature fitted on these films": [note for note in record.notes if "temperature was fitted" in note],
        "films left out": [counted(len(record.excluded), "file")] if len(record.excluded) else [],
    }
    return {("run", name): [("#flow", text) for text in texts] for name, texts in told.items() if texts}


def _link(judgement: Judgement) -> str:
    return f"#{claim_anchor(judgement.claim.id)}"
