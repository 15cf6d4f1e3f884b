"""What does a measure lose from the clean film to the changed one, film by film?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from suites.harness.claims import Claim, GalleryItem, Help, Measure, Result
from suites.harness.endpoints import headroom
from suites.harness.endpoints.failure_modes.refused_films import Refused
from suites.harness.endpoints.parameters import ClassName, ConditionName, Conditions, Remedies, Score
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.endpoints.spoken import films_of_class
from suites.harness.endpoints.toll import toll
from suites.harness.errors import NotEvaluable
from suites.harness.formatting import figures, film_figures
from suites.harness.formatting.cells import percent, points, whole_percent
from suites.harness.formatting.severities import in_units, in_words
from suites.harness.formatting.wording import opened, plain_name
from suites.harness.formatting.wording import stress as stress_name
from suites.harness.predictions.answers import RISING, Answers
from suites.harness.predictions.conditions import CLEAN, expand, parse
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import Sampled, difference

Films = npt.NDArray[np.bool_]


def harm(answers: Answers, measure: str, condition: str, among: Films, reference: str = CLEAN) -> tuple[Sampled, Films]:
    """Return how much worse a measure gets from `reference` to `condition`, and the films it rests on.

    Positive is worse: a fall of accuracies and recalls, a rise of false positives and confidence. Only films for
    which both conditions are defined count, so the comparison is paired.
    """
    both = among & np.isfinite(answers.called(condition)) & np.isfinite(answers.called(reference))
    after, before = answers.score(measure, condition, both), answers.score(measure, reference, both)
    return (difference(after, before) if measure.startswith(RISING) else difference(before, after)), both


def counted(answers: Answers, measure: str, films: Films) -> tuple[int, int]:
    """Return (films, films of the smallest class) that a measure rests on."""
    if measure == "false_positive_rate":
        size = int((films & (answers.labels == answers.class_index("normal"))).sum())
        return size, size
    if measure.startswith("recall_"):
        size = int((films & (answers.labels == answers.class_index(measure.removeprefix("recall_")))).sum())
        return size, size
    if measure.startswith(("called_", "confident", "mean")):
        return int(films.sum()), int(films.sum())
    labels = answers.labels[films & (answers.labels >= 0)]
    sizes = np.bincount(labels, minlength=1)
    return int(sizes.sum()), int(sizes[sizes > 0].min(initial=0))


def films_of(answers: Answers, claim: Claim) -> Films:
    """Return the films a claim is about: all, or those whose truth is the parameter `truth`."""
    if not claim.parameters["truth"]:
        return np.ones(len(answers.cohort), dtype=bool)
    return np.asarray(answers.labels == answers.class_index(claim.parameters["truth"]), dtype=bool)


@endpoint(
    "stress",
    parameters={
        "measure": Score("balanced_accuracy"),
        "truth": ClassName(""),
        "condition": ConditionName(),
        "control": ConditionName("", beside_verdict=True),
        "conditions": Conditions(beside_verdict=True),
        "remedies": Remedies(of="condition", beside_verdict=True),
    },
)
def stress(evidence: Evidence, claim: Claim) -> Result:
    """Harm to `measure` under `condition`, with the severity curve, the `control` of equal size, and the `remedies`."""
    answers = evidence.main
    measure, condition = claim.parameters["measure"], claim.parameters["condition"]
    among = films_of(answers, claim)
    refused = Refused.of(answers, [condition], among)
    primary, both = harm(answers, measure, condition, among)
    n, smallest = counted(answers, measure, both)
    base = base_of(n, counted(answers, measure, among & np.isfinite(answers.called()))[0])
    effect = measured(f"{measure}_harm", f"{condition} - clean", primary, n, unit="points", smallest=smallest)
    measures = [
        measured(measure, name, answers.score(measure, name, both), n, unit="share", smallest=smallest)
        for name in (CLEAN, condition)
    ]
    flipped = answers.called(condition) != answers.called(CLEAN)
    flips, of_any_class = answers.rate(flipped, both), counted(answers, "accuracy", both)[1]
    measures.append(
        measured("flip_rate", f"{condition} - clean", flips, int(both.sum()), unit="share", smallest=of_any_class)
    )
    hidden = hidden_flips(answers, claim, flipped, both & _of_measure(answers, measure), primary)
    extra, sentences, helps = _beside(answers, claim, among, effect)
    series = _curve(evidence, claim, measure, among)
    sentences += filter(None, [refused.sentence])
    return Result(
        effect=effect,
        p_beyond=beyond(primary, claim),
        p_within=within(primary, claim),
        headroom=[headroom.of_measure(answers, measure, claim.margin, both, claim.parameters["truth"])],
        only_beyond=hidden if claim.kind == "limitation" else "",
        only_within=hidden if claim.kind == "requirement" else "",
        films=_whose(answers, measure, claim),
        measures=[*measures, *toll(answers, [condition], both), *extra, *series[1]],
        summary=" ".join([_sentence(measure, condition, measures, effect, base), *sentences]),
        finding=_finding(measure, condition, measures, base),
        helps=[*([_helped_by_it(measure, condition, measures, effect, base)] if gained(primary) else []), *helps],
        figures={"severity": series[0]} if series[0] else {},
        tables=refused.tables,
        galleries=gallery(answers, condition, both),
    )


def _of_measure(answers: Answers, measure: str) -> Films:
    """Return (N,) the films whose calls a measure counts."""
    if measure == "false_positive_rate":
        return np.asarray(answers.labels == answers.class_index("normal"), dtype=bool)
    if measure.startswith("recall_"):
        return np.asarray(answers.labels == answers.class_index(measure.removeprefix("recall_")), dtype=bool)
    return np.ones(len(answers.cohort), dtype=bool)


def hidden_flips(answers: Answers, claim: Claim, flipped: Films, films: Films, harmed: Sampled) -> str:
    """Return why a small harm must not be taken for robustness: many calls change, as many for the better; or nothing.

    Of a net change of that size so many flips are part; of flips beyond it up to half may be losses that as many gains
    hide. So twice the margin is the bound: beyond it more than the margin may be lost.
    """
    flips = answers.rate(flipped, films)
    net = harmed if harmed.estimate >= 0 else replace(harmed, estimate=-harmed.estimate, replicates=-harmed.replicates)
    unexplained = difference(flips, net).interval()
    if not unexplained.low > 2 * abs(claim.margin):
        return ""
    return (
        f"{percent(flips.estimate)} of calls change, {points(unexplained.estimate, signed=False)} points more than "
        f"that explains ({points(unexplained.low, signed=False)} to {points(unexplained.high, signed=False)}): losses "
        "and gains cancel, which is not robustness"
    )


def base_of(n: int, of: int) -> str:
    """Return on how many films a change was measured, for a sentence; empty where those are all that are answered.

    What a measure is on these need not be what it is on all of them.
    """
    return f" (on the {n:,} of {of:,} films on which it can be made)" if n != of else ""


def _sentence(measure: str, condition: str, measures: Sequence[Measure], effect: Measure, base: str) -> str:
    told = in_units(condition)
    return (
        f"{_finding(measure, condition, measures, base)} That is {points(effect.estimate)} points of harm "
        f"({points(effect.low)} to {points(effect.high)}){f', at {told}' if told else ''}."
    )


def _finding(measure: str, condition: str, measures: Sequence[Measure], base: str) -> str:
    """Return what became of the measure under the condition, on the films that `base` names."""
    before, after = (percent(value.estimate) for value in measures[:2])
    moved = measures[1].estimate - measures[0].estimate
    how = "stays at" if before == after else "rises to" if moved > 0 else "falls to"
    start = "" if before == after else f" from {before}"
    return f"{in_words(condition)}: {_spoken(measure, inside=True)} {how.replace(' to', f'{start} to')} {after}{base}."


def gained(harmed: Sampled) -> bool:
    """Whether a change helps, so surely that of twenty pages of fifty stresses one shows such a thing by chance."""
    return not harmed.too_few and harmed.interval().high < 0 and harmed.p_below(0.0) <= 0.001


def _helped_by_it(measure: str, condition: str, measures: Sequence[Measure], effect: Measure, base: str) -> Help:
    """Return that the change itself helps: the films then come otherwise than those the subject learned on."""
    gain = replace(effect, name=f"{measure}_gain", estimate=-effect.estimate, low=-effect.high, high=-effect.low)
    sentence = (
        f"{_finding(measure, condition, measures, base).removesuffix('.')} ({points(gain.estimate)} points, "
        f"{points(gain.low)} to {points(gain.high)}). A change that helps points to preprocessing that does not match "
        "what the subject was trained on: compare the two first."
    )
    return Help(sentence=sentence, gain=gain)


def _spoken(measure: str, *, inside: bool = False) -> str:
    """Return a measure as the start of a sentence, or as it stands inside one."""
    for start, words in (("recall_", "recall of"), ("called_", "the share called")):
        if measure.startswith(start):
            spoken = f"{words} {plain_name(measure.removeprefix(start))}"
            return spoken if inside else opened(spoken)
    return plain_name(measure) if inside else opened(plain_name(measure))


def _whose(answers: Answers, measure: str, claim: Claim) -> str:
    """Return in words which films a measure counts."""
    name = claim.parameters["truth"]
    if measure == "false_positive_rate":
        name = "normal"
    if measure.startswith("recall_"):
        name = measure.removeprefix("recall_")
    return films_of_class(answers, name) if name else "films"


def _beside(
    answers: Answers, claim: Claim, among: Films, effect: Measure
) -> tuple[list[Measure], list[str], list[Help]]:
    """Return the measures and sentences for the control and the remedies a claim names, and which of these help.

    `effect` is the harm that the remedies meet.
    """
    measures, sentences, helps = [], [], []
    # What cannot be had of these is said, and takes nothing from the verdict.
    if control := claim.parameters["control"]:
        try:
            found, told = _against_control(answers, claim, among)
        except NotEvaluable as reason:
            found, told = [], f"The control, {in_words(control, inside=True)}, is not evaluable: {reason}."
        measures += found
        sentences.append(told)
    for name in claim.parameters["remedies"]:
        try:
            found, told, helped = _with_remedy(answers, claim, name, among, effect)
        except NotEvaluable as reason:
            found, told, helped = [], f"{opened(plain_name(name))} is not evaluable: {reason}.", None
        measures += found
        sentences.append(told)
        helps += [helped] if helped else []
    return measures, sentences, helps


def _against_control(answers: Answers, claim: Claim, among: Films) -> tuple[list[Measure], str]:
    """Return the harm of the control and what the condition does beyond it, and both in a sentence."""
    measure, condition, control = (claim.parameters[name] for name in ("measure", "condition", "control"))
    alone, films = harm(answers, measure, control, among)
    n, smallest = counted(answers, measure, films)
    cost = measured(f"{measure}_harm", f"{control} - clean", alone, n, unit="points", smallest=smallest)
    excess, films = harm(answers, measure, condition, among, reference=control)
    n, smallest = counted(answers, measure, films)
    more = measured(f"{measure}_harm", f"{condition} - {control}", excess, n, unit="points", smallest=smallest)
    return [cost, more], (
        f"The control, {in_words(control, inside=True)}, costs {_cost(cost)} points, so "
        f"{points(more.estimate)} ({points(more.low)} to {points(more.high)}) belong to the kind of change itself."
    )


def _with_remedy(
    answers: Answers, claim: Claim, name: str, among: Films, effect: Measure
) -> tuple[list[Measure], str, Help | None]:
    """Return the harm that a remedy leaves, its price and its gain; the first two in a sentence; and if it helps."""
    measure, condition = claim.parameters["measure"], claim.parameters["condition"]
    measures = []
    for text in (f"{condition} | {name}", name):
        remedied, films = harm(answers, measure, parse(text).text, among)
        n, smallest = counted(answers, measure, films)
        measures.append(
            measured(f"{measure}_harm", f"{parse(text).text} - clean", remedied, n, unit="points", smallest=smallest)
        )
    left, cost = measures
    change = round(1000 * left.estimate) - round(1000 * effect.estimate)
    worse = " (worse than without)" if change > 0 else " (as without)" if change == 0 else ""
    told = (
        f"With {plain_name(name)} the harm is {_cost(left)} points{worse}; on clean films {plain_name(name)} costs "
        f"{_cost(cost)}."
    )
    gain = _gain(answers, measure, condition, name, among)
    # What costs healthy films as much as it gives back, or costs them something for sure, is no help.
    useful = gain.low > 0 and not cost.low > 0 and cost.estimate < gain.estimate / 2
    helped = Help(sentence=_help(condition, name, effect, gain, cost), gain=gain) if useful else None
    return [left, cost, gain], told, helped


def _gain(answers: Answers, measure: str, condition: str, remedy: str, among: Films) -> Measure:
    """Return what a remedy gives back of a harm, paired on the films that are answered with and without it."""
    remedied = parse(f"{condition} | {remedy}").text
    gained, films = harm(answers, measure, condition, among, reference=remedied)
    n, smallest = counted(answers, measure, films)
    return measured(f"{measure}_gain", f"{remedied} - {condition}", gained, n, unit="points", smallest=smallest)


def _help(condition: str, remedy: str, effect: Measure, gain: Measure, cost: Measure) -> str:
    """Return what a remedy gives back, and its price."""
    return (
        f"{opened(plain_name(remedy))} before the network gives back {points(gain.estimate, signed=False)} points "
        f"({points(gain.low, signed=False)} to {points(gain.high, signed=False)}) of the "
        f"{points(effect.estimate, signed=False)} lost to {stress_name(parse(condition).perturbation)}; on clean films "
        f"it costs {_cost(cost)}."
    )


def _cost(harmed: Measure) -> str:
    """Return a loss in points; a gain keeps its minus."""
    return points(harmed.estimate, signed=False)


def _curve(
    evidence: Evidence, claim: Claim, measure: str, among: Films
) -> tuple[Callable[[], Figure] | None, list[Measure]]:
    """Return a function that draws the measure against severity, and its points."""
    answers = evidence.main
    names: dict[str, list[tuple[int, str]]] = {}
    for item in expand(claim.parameters["conditions"], evidence.severities):
        chain = item.text.replace(f"@{item.severity}", "")
        names.setdefault(chain, []).append((item.severity, item.text))
    clean, points = answers.score(measure, CLEAN, among), []
    rows: dict[str, tuple[list[float], list[float], list[float]]] = {}
    start = clean.interval()
    severities = sorted({0, *(level for chain in names.values() for level, _ in chain)})
    for chain, levels in names.items():
        middle, low, high = ([float("nan")] * len(severities) for _ in range(3))
        middle[0], low[0], high[0] = start.estimate, start.low, start.high
        for level, text in levels:
            try:
                value = answers.score(measure, text, among)
            except NotEvaluable:
                continue
            n, smallest = counted(answers, measure, among & np.isfinite(answers.called(text)))
            points.append(measured(measure, text, value, n, unit="share", smallest=smallest))
            place = severities.index(level)
            middle[place], low[place], high[place] = points[-1].estimate, points[-1].low, points[-1].high
        rows[chain] = middle, low, high
    if len(severities) < 3:
        return None, points
    label = measure.replace("_", " ")
    return partial(figures.severity_curve, severities, rows, ylabel=label, title=f"{label} by severity"), points


def gallery(answers: Answers, condition: str, films: Films, how_many: int = 4) -> dict[str, list[GalleryItem]]:
    """Return the films whose call changed most confidently, clean and changed side by side."""
    flipped = films & (answers.called(condition) != answers.called(CLEAN))
    confidence = np.where(flipped, np.nan_to_num(answers.probabilities(condition).max(axis=1)), -1)
    order = [index for index in np.argsort(-confidence, kind="stable")[:how_many] if flipped[index]]
    items = []
    for index in order:
        image = answers.images[index]
        (before, sure_before), (after, sure_after) = (
            film_figures.called(answers, image, name) for name in (CLEAN, condition)
        )
        truth = film_figures.truth_of(answers, image)
        calls = f"{before} ({whole_percent(sure_before)}) becomes {after} ({whole_percent(sure_after)})"
        draw = partial(film_figures.film_by_film, answers, image, [CLEAN, condition])
        items.append(
            GalleryItem(
                caption=image if truth in (before, after) else f"{image}; truth {truth}",
                draw=draw,
                facts={"calls": calls, "condition": condition},
            )
        )
    return {f"Most confident changes under {in_words(condition, inside=True)}": items} if items else {}
