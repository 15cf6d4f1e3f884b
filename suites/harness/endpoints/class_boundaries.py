"""How well is each class recognised on clean films, and which classes are taken for each other?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from suites.harness.claims import Claim, Draw, Help, Measure, Result
from suites.harness.counts import counted
from suites.harness.endpoints import headroom
from suites.harness.endpoints.parameters import ClassName, ConditionName, Score
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.endpoints.spoken import both, films_of_class, finding, said_of
from suites.harness.endpoints.toll import toll
from suites.harness.errors import NotEvaluable
from suites.harness.formatting import figures
from suites.harness.formatting.cells import percent, points
from suites.harness.formatting.severities import in_words
from suites.harness.formatting.wording import plain_name, spanned
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN, parse
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import Integers, difference

WRONG = ("false_positive_rate", "false_negative_rate", "wrong_rate_asymmetry")
"""What the rates of confusion are called of a finding, which is there or not."""


def confusion(answers: Answers, condition: str = "clean") -> Integers:
    """Return the (K, K) confusion matrix, rows = truth."""
    keep = answers.shared(condition)
    size = len(answers.subject.classes)
    flat = answers.labels[keep] * size + answers.called(condition)[keep].astype(np.int64)
    return np.bincount(flat, minlength=size * size).reshape(size, size).astype(np.int64)


@endpoint("score", parameters={"measure": Score("accuracy"), "condition": ConditionName(CLEAN)})
def score(evidence: Evidence, claim: Claim) -> Result:
    """A plain score on films as they came: `measure` is accuracy, balanced_accuracy or recall_<class>."""
    answers, name, condition = evidence.main, claim.parameters["measure"], claim.parameters["condition"]
    value = answers.score(name, condition)
    keep, spoken, films = answers.shared(condition), plain_name(name).capitalize(), "films"
    rooms = [headroom.skill(answers)]
    if name.startswith("recall_"):
        own = name.removeprefix("recall_")
        keep = keep & (answers.labels == answers.class_index(own))
        spoken, films = f"Recall of {plain_name(own)}", films_of_class(answers, own)
        rooms = [headroom.class_skill(answers, own), headroom.recall_without_looking(answers, own, claim.margin)]
    rarest = int(np.unique(answers.labels[keep], return_counts=True)[1].min(initial=len(keep)))
    effect = measured(name, condition, value, int(keep.sum()), unit="share", smallest=rarest)
    recalls = answers.recalls(condition)
    sizes = {
        label: int((answers.labels[answers.shared(condition)] == index).sum())
        for index, label in enumerate(answers.subject.classes)
    }
    measures = [
        measured(f"recall_{label}", condition, part, sizes[label], unit="share") for label, part in recalls.items()
    ]
    total, smallest = sum(sizes.values()), min(size for size in sizes.values() if size)
    measures += [
        measured(other, condition, answers.score(other, condition), total, unit="share", smallest=smallest)
        for other in ("accuracy", "balanced_accuracy")
        if other != name
    ]
    return Result(
        effect=effect,
        p_beyond=beyond(value, claim),
        p_within=within(value, claim),
        headroom=rooms,
        films=films,
        measures=measures,
        summary=(
            f"{spoken} is {spanned(effect.estimate, effect.low, effect.high, 'share')} on {counted(effect.n, 'film')}."
        ),
        figures=_drawn(answers, condition),
    )


def _drawn(answers: Answers, condition: str) -> dict[str, Draw]:
    """Return the confusion matrix under a condition; that of clean films stands in the page's own section on them."""
    if condition == CLEAN:
        return {}
    return {"confusion": lambda: figures.confusion_matrix(confusion(answers, condition), answers.subject.classes)}


@endpoint("confusion_rate", parameters={"from": ClassName(), "towards": ClassName()})
def confusion_rate(evidence: Evidence, claim: Claim) -> Result:
    """P(called `towards` | truth `from`), and how much more often than the reverse."""
    answers = evidence.main
    start, end = (answers.class_index(claim.parameters[key]) for key in ("from", "towards"))
    called, keep = answers.called(), answers.shared("clean")
    there = answers.rate(called == end, keep & (answers.labels == start))
    names = answers.subject.classes
    asked = int((keep & (answers.labels == start)).sum())
    wrong = "confusion_rate", "confusion_rate_reverse", "confusion_asymmetry"
    if finding(answers):
        wrong = WRONG if end == len(names) - 1 else (WRONG[1], WRONG[0], WRONG[2])
    effect = measured(wrong[0], "clean", there, asked, unit="share")
    measures = []
    if (keep & (answers.labels == end)).any():
        back = answers.rate(called == start, keep & (answers.labels == end))
        either = keep & np.isin(answers.labels, [start, end])
        reverse = int((keep & (answers.labels == end)).sum())
        measures = [
            measured(wrong[1], "clean", back, reverse, unit="share"),
            measured(
                wrong[2],
                "clean",
                difference(there, back, answers.resamples.subset(either).patients),
                asked + reverse,
                unit="points",
                smallest=min(asked, reverse),
            ),
        ]
    return Result(
        effect=effect,
        p_beyond=beyond(there, claim),
        p_within=within(there, claim),
        headroom=[headroom.share_called(answers, names[end], claim.margin)],
        measures=measures,
        films=films_of_class(answers, names[start]),
        summary=(
            f"{percent(effect.estimate)} of {asked} {films_of_class(answers, names[start], asked)} "
            f"{'is' if asked == 1 else 'are'} {said_of(answers, names[end])}."
        ),
    )


@endpoint("recall_gap", parameters={"better": ClassName(), "worse": ClassName()})
def recall_gap(evidence: Evidence, claim: Claim) -> Result:
    """Recall of class `better` minus recall of class `worse`, on the same resamples."""
    answers = evidence.main
    names = answers.subject.classes
    better, worse = (names[answers.class_index(claim.parameters[key])] for key in ("better", "worse"))
    recalls = answers.recalls("clean")
    if better not in recalls or worse not in recalls:
        raise NotEvaluable(f"{answers.cohort.name} has no films of {plain_name(better)} or {plain_name(worse)}")
    films = {name: answers.shared("clean") & (answers.labels == answers.class_index(name)) for name in (better, worse)}
    sizes = {name: int(keep.sum()) for name, keep in films.items()}
    gap = difference(recalls[better], recalls[worse], answers.resamples.subset(films[better] | films[worse]).patients)
    effect = measured("recall_gap", "clean", gap, sum(sizes.values()), unit="points", smallest=min(sizes.values()))
    blindly = headroom.gap_at_chance(answers, better, worse, claim.margin)
    return Result(
        effect=effect,
        p_beyond=beyond(gap, claim),
        p_within=within(gap, claim),
        headroom=[blindly],
        measures=[
            measured(f"recall_{name}", "clean", recalls[name], sizes[name], unit="share") for name in (better, worse)
        ],
        films=both(answers, better, worse),
        summary=(
            f"Recall of {films_of_class(answers, better)} minus that of {films_of_class(answers, worse)} is "
            f"{points(effect.estimate)} points ({points(effect.low)} to {points(effect.high)})."
        ),
    )


def _better(second: str, moved: Measure) -> Help:
    return Help(
        sentence=f"{in_words(second)} raises accuracy by {points(moved.estimate, signed=False)} points "
        f"({points(moved.low, signed=False)} to {points(moved.high, signed=False)}): publish the recipe that fits.",
        gain=moved,
    )


@endpoint("disagreement", parameters={"first": ConditionName(CLEAN), "second": ConditionName()})
def disagreement(evidence: Evidence, claim: Claim) -> Result:
    """Share of films whose call changes between two conditions (`first`, default clean, and `second`)."""
    answers = evidence.main
    first, second = claim.parameters["first"], claim.parameters["second"]
    subject, recipe = answers.subject, parse(second).preprocessing
    if recipe not in {None, subject.preprocessing.name, *subject.preprocessings}:
        raise NotEvaluable(f"{subject.name} has no preprocessing {recipe}, only {subject.preprocessing.name}")
    asked = [(tuple(one.steps), one.preprocessing or subject.preprocessing.name) for one in map(parse, (first, second))]
    if asked[0] == asked[1]:
        raise NotEvaluable(f"{subject.name} is asked the same under {first} and {second}: there is nothing to compare")
    calls = answers.called(first), answers.called(second)
    keep = np.isfinite(calls[0]) & np.isfinite(calls[1])
    changed = answers.rate(calls[0] != calls[1], keep)
    measures, note, helps = [], "", []
    labelled = keep & (answers.labels >= 0)
    sizes = np.bincount(answers.labels[labelled])
    smallest = int(sizes[sizes > 0].min(initial=int(keep.sum())))
    effect = measured("flip_rate", f"{second} - {first}", changed, int(keep.sum()), unit="share", smallest=smallest)
    if labelled.any():
        change = difference(answers.score("accuracy", second, labelled), answers.score("accuracy", first, labelled))
        moved = measured(
            "accuracy_change", f"{second} - {first}", change, int(labelled.sum()), unit="points", smallest=smallest
        )
        measures, note = [moved], f", and accuracy changes by {points(moved.estimate)} points"
        measures += toll(answers, [second], labelled, f"{second} - {first}") if first == CLEAN else []
        helps = [_better(second, moved)] if moved.low > 0 else []
    names, size = list(answers.subject.classes), len(answers.subject.classes)
    pairs = calls[0][keep].astype(np.int64) * size + calls[1][keep].astype(np.int64)
    counts = pd.DataFrame(np.bincount(pairs, minlength=size * size).reshape(size, size), index=names, columns=names)
    counts = counts.rename_axis(index="call").reset_index()
    return Result(
        effect=effect,
        p_beyond=beyond(changed, claim),
        p_within=within(changed, claim),
        headroom=[headroom.skill(answers, max(headroom.SKILL, claim.margin))],
        measures=measures,
        summary=f"{percent(effect.estimate)} of {counted(effect.n, 'film is', 'films are')} called differently{note}.",
        finding=f"{in_words(second)} calls {percent(effect.estimate)} of the films differently.",
        helps=helps,
        tables={f"Calls under {first} (rows) and {second} (columns)": counts},
    )
