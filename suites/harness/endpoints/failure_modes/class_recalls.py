"""Does a change spare every class? A control that looks at one class only passes what harms another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from suites.harness.claims import Claim, Measure, Result
from suites.harness.counts import counted
from suites.harness.endpoints import headroom
from suites.harness.endpoints.failure_modes.refused_films import Refused
from suites.harness.endpoints.failure_modes.stress import base_of, gallery, harm, hidden_flips
from suites.harness.endpoints.parameters import REQUIRED, ConditionName
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.endpoints.spoken import films_of_class, finding
from suites.harness.endpoints.toll import toll
from suites.harness.errors import NotEvaluable
from suites.harness.formatting.cells import percent, points
from suites.harness.formatting.severities import in_units, in_words
from suites.harness.formatting.wording import plain_name
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import EVENTS, Largest


@endpoint("recall_of_every_class", parameters={"condition": ConditionName(REQUIRED)})
def recall_of_every_class(evidence: Evidence, claim: Claim) -> Result:
    """Harm to the recall of the class that loses most under `condition`, among all classes of the subject.

    Paired with the same films untouched. A class of fewer than ten patients is named and not judged.
    """
    answers, condition = evidence.main, claim.parameters["condition"]
    refused = Refused.of(answers, [condition], np.asarray(answers.labels >= 0, dtype=bool))
    sizes = {name: _size(answers, name, refused) for name in answers.subject.classes}
    judged = [name for name, (_, patients) in sizes.items() if patients >= EVENTS]
    few = [name for name in sizes if name not in judged]
    if not judged:
        kinds = (
            f"neither films with {asked} nor films without are" if (asked := finding(answers)) else "no class has films"
        )
        raise NotEvaluable(f"{kinds} of {EVENTS} patients, which a recall needs to be judged")
    harms = {name: harm(answers, f"recall_{name}", condition, refused.films)[0] for name in judged}
    largest = Largest(harms)
    worst, difference = largest.name, f"{condition} - clean"
    smallest = min(sizes[name][0] for name in judged)
    effect = measured("worst_recall_harm", difference, largest, sizes[worst][0], unit="points", smallest=smallest)
    each = {
        name: measured(f"recall_{name}_harm", difference, part, sizes[name][0], unit="points")
        for name, part in harms.items()
    }
    recalls = {
        name: [
            measured(f"recall_{name}", at, answers.score(f"recall_{name}", at, refused.films), size, unit="share")
            for at in (CLEAN, condition)
        ]
        for name, (size, _) in sizes.items()
        if name in judged
    }
    changed = answers.called(condition) != answers.called(CLEAN)
    flips = measured(
        "flip_rate", difference, answers.rate(changed, refused.films), int(refused.films.sum()), unit="share"
    )
    hidden = next(
        filter(None, (
            hidden_flips(answers, claim, changed, refused.films & (answers.labels == answers.class_index(name)), part)
            for name, part in harms.items()
        )), "",
    )  # fmt: skip
    labelled = np.isfinite(answers.called()) & (answers.labels == answers.class_index(worst))
    base = base_of(sizes[worst][0], int(labelled.sum()))
    few_told = ", ".join(
        f"{films_of_class(answers, name)} ({sizes[name][0]})"
        if finding(answers)
        else f"{plain_name(name)} ({counted(sizes[name][0], 'film')})"
        for name in few
    )
    title = f"With and without {asked}" if (asked := finding(answers)) else "Every class"
    # No class may be cleared by the others: one that has films and cannot be judged leaves the question open.
    open_question = hidden or (f"too few films to judge: {few_told}" if any(sizes[name][0] for name in few) else "")
    return Result(
        effect=effect,
        p_beyond=beyond(largest, claim),
        p_within=within(largest, claim),
        headroom=[headroom.class_skill(answers, name, max(headroom.SKILL, claim.margin)) for name in judged],
        only_beyond=open_question if claim.kind == "limitation" else "",
        only_within=open_question if claim.kind == "requirement" else "",
        caveat=_caveat(answers, worst, effect),
        films=films_of_class(answers, worst),
        measures=[*each.values(), *(value for pair in recalls.values() for value in pair), flips,
                  *toll(answers, [condition], refused.films)],
        summary=(
            f"{_sentence(answers, worst, effect, condition, recalls[worst], classes=len(judged), base=base)} "
            f"{percent(flips.estimate)} of calls change. "
            f"{f'Too few films to judge: {few_told}. ' if few else ''}{refused.sentence}"
        ).strip(),
        finding=_finding(answers, worst, condition, (effect, *recalls[worst]), base),
        tables={title: _table(answers, condition, refused, each, recalls), **refused.tables},
        galleries=gallery(answers, condition, refused.films),
    )  # fmt: skip


def _caveat(answers: Answers, worst: str, effect: Measure) -> str:
    """Return on which films most is lost."""
    if finding(answers):
        return (
            f"most is lost on {films_of_class(answers, worst)}" if effect.estimate > 0 else "nothing is lost on either"
        )
    return f"the class that loses most is {plain_name(worst)}" if effect.estimate > 0 else "no class loses recall"


def _sentence(
    answers: Answers, name: str, effect: Measure, condition: str, recalls: list[Measure], *, classes: int, base: str
) -> str:
    """Return what the class that loses most loses."""
    before, after = (percent(value.estimate) for value in recalls)
    asked = finding(answers)
    whose = films_of_class(answers, name) if asked else plain_name(name)
    rest = "" if effect.estimate > 0 else f"That of {whose} goes from {before} to {after}. "
    several = f", the larger of films with and without {asked}" if asked else f", the largest of {classes} classes"
    told, found = in_units(condition), _finding(answers, name, condition, (effect, *recalls), base)
    return (
        f"{found} {rest}That is {points(effect.estimate)} points "
        f"of harm ({points(effect.low)} to {points(effect.high)}{several if classes > 1 else ''})"
        f"{f', at {told}' if told else ''}."
    )


def _finding(answers: Answers, name: str, condition: str, lost: Sequence[Measure], base: str) -> str:
    """Return what the class that loses most loses, in one sentence, from the loss and its recall before and after."""
    effect, before, after = lost[0], percent(lost[1].estimate), percent(lost[2].estimate)
    asked = finding(answers)
    if not effect.estimate > 0:
        nobody = f"neither films with {asked} nor films without lose" if asked else "no class loses"
        return f"{in_words(condition)}: {nobody} recall."
    whose, loses = (films_of_class(answers, name), "lose") if asked else (plain_name(name), "loses")
    return f"{in_words(condition)}: recall of {whose}, which {loses} most, falls from {before} to {after}{base}."


def _size(answers: Answers, name: str, refused: Refused) -> tuple[int, int]:
    """Return (films, patients) of a class that are answered."""
    mine = refused.films & (answers.labels == answers.class_index(name))
    return int(mine.sum()), len(np.unique(answers.patients[mine]))


def _table(
    answers: Answers, condition: str, refused: Refused, harms: dict[str, Measure], recalls: dict[str, list[Measure]]
) -> pd.DataFrame:
    """Return a row per class that is judged: its own films, and how often it is called on any film."""
    rows, column = [], "whose" if finding(answers) else "class"
    for name, harmed in harms.items():
        called = [answers.score(f"called_{name}", at, refused.films).estimate for at in (CLEAN, condition)]
        before, after = (percent(value.estimate) for value in recalls[name])
        interval = f"{points(harmed.estimate)} ({points(harmed.low)} to {points(harmed.high)})"
        shown = films_of_class(answers, name) if finding(answers) else plain_name(name)
        rows.append({
            column: shown, "films": harmed.n, "patients": harmed.patients, "recall, clean": before,
            "recall, changed": after, "points lost (95 %)": interval,
            "called so of all films, clean": percent(called[0]), "changed": percent(called[1]),
        })  # fmt: skip
    return pd.DataFrame(rows)
