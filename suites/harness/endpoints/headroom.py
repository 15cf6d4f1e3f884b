"""What does a subject have to lose on clean films? The headroom that every endpoint states beside its effect.

The largest harm a change can do is that nothing the subject knows is left. So the headroom of an accuracy is how far it
lies above chance, that of a rate of one class how far it lies above the rate of the same call on other films (Youden
1950), and that of a requirement what the subject would reach without looking. All rest on the same resamples as the
effects.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from suites.harness.claims import Headroom, Measure
from suites.harness.endpoints.registry import measured
from suites.harness.endpoints.spoken import called_name, films_of_class
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN
from suites.harness.statistics import difference

Films = npt.NDArray[np.bool_]

SKILL = 0.05
"""Balanced accuracy above chance that counts as telling classes apart: the five points that claims count as a loss."""


def skill(answers: Answers, bar: float = SKILL, *, among: Films | None = None, alarms: bool = False) -> Headroom:
    """Return how far balanced accuracy on clean films lies above chance, one over the classes that have films.

    Args:
        answers: of the subject.
        bar: what it must surely exceed; the margin, where the effect is a loss of that size.
        among: (N,) the films to count; all by default.
        alarms: see `Headroom`.
    """
    name = "balanced_accuracy_above_chance"
    keep = answers.shared(CLEAN) if among is None else among & answers.shared(CLEAN)
    sizes = np.bincount(answers.labels[keep])
    sizes = sizes[sizes > 0]
    if not len(sizes):
        return Headroom(measure=_unknown(name), bar=bar, alarms=alarms)
    score, chance = answers.score("balanced_accuracy", CLEAN, keep), 1 / len(sizes)
    above = replace(
        score,
        estimate=score.estimate - chance,
        replicates=score.replicates - chance,
        bounds=(score.bounds[0] - chance, score.bounds[1] - chance),
    )
    n, smallest = int(sizes.sum()), int(sizes.min())
    return Headroom(measure=measured(name, CLEAN, above, n, unit="points", smallest=smallest), bar=bar, alarms=alarms)


def class_skill(answers: Answers, name: str, bar: float = SKILL, *, beside: str = "") -> Headroom:
    """Return how much more often films of a class are called so than other films are, or than films of one other class.

    Args:
        answers: of the subject.
        name: of the class.
        bar: what it must surely exceed.
        beside: the other class; all others by default.

    Raises:
        NotEvaluable: the subject has no such class.
    """
    printed = f"recall_{called_name(answers, name)}_above_chance"
    inside = answers.shared(CLEAN) & (answers.labels == answers.class_index(name))
    outside = _others(answers, name, beside)
    if not (inside.any() and outside.any()):
        return Headroom(measure=_unknown(printed), bar=bar)
    rates = [answers.score(f"called_{name}", CLEAN, films) for films in (inside, outside)]
    above = difference(rates[0], rates[1], answers.resamples.subset(inside | outside).patients)
    sizes = int(inside.sum()), int(outside.sum())
    condition = f"{CLEAN}, beside {films_of_class(answers, beside)}" if beside else CLEAN
    return Headroom(
        measure=measured(printed, condition, above, sum(sizes), unit="points", smallest=min(sizes)), bar=bar
    )


def of_measure(answers: Answers, measure: str, bar: float, among: Films, truth: str = "") -> Headroom:
    """Return the headroom of the harm to a measure (see `Answers.score`): what can be lost of it on `among`.

    A rise of `called_<class>` among films of the class `truth` goes, at most, to what films of the class itself show.
    """
    if measure == "false_positive_rate":
        return class_skill(answers, "normal", bar)
    for start in ("recall_", "called_"):
        if measure.startswith(start):
            return class_skill(answers, measure.removeprefix(start), bar, beside=truth if start == "called_" else "")
    return skill(answers, bar, among=among)


def share_called(answers: Answers, name: str, bar: float) -> Headroom:
    """Return the share of the films of a class that are called so: the most that films which resemble it would show."""
    printed = f"recall_{called_name(answers, name)}"
    inside = answers.shared(CLEAN) & (answers.labels == answers.class_index(name))
    if not inside.any():
        return Headroom(measure=_unknown(printed), bar=bar)
    value = answers.score(f"called_{name}", CLEAN, inside)
    return Headroom(measure=measured(printed, CLEAN, value, int(inside.sum()), unit="share"), bar=bar)


def recall_without_looking(answers: Answers, name: str, bar: float) -> Headroom:
    """Return the recall of a class that the subject owes to how often it calls it anyway: the share of other films."""
    calls = answers.called() == answers.class_index(name)
    return rate_without_looking(f"recall_{name}", calls, answers, _others(answers, name), bar)


def rate_without_looking(name: str, calls: npt.ArrayLike, answers: Answers, among: Films, bar: float) -> Headroom:
    """Return how often (N,) `calls` are made `among` films where they are wrong: a rate that takes no skill."""
    printed, n = f"{name}_without_looking", int(among.sum())
    found = measured(printed, CLEAN, answers.rate(calls, among), n, unit="share") if n else _unknown(printed)
    return Headroom(measure=found, bar=bar, side="below")


def gap_at_chance(answers: Answers, better: str, worse: str, bar: float) -> Headroom:
    """Return the gap in recall of two classes if the second were called on its own films no more than on others."""
    inside, outside = answers.shared(CLEAN) & (answers.labels == answers.class_index(better)), _others(answers, worse)
    if not (inside.any() and outside.any()):
        return Headroom(measure=_unknown("recall_gap_at_chance"), bar=bar)
    recall, anyway = answers.score(f"called_{better}", CLEAN, inside), answers.score(f"called_{worse}", CLEAN, outside)
    gap = difference(recall, anyway, answers.resamples.subset(inside | outside).patients)
    sizes = int(inside.sum()), int((inside | outside).sum())
    return Headroom(
        measure=measured("recall_gap_at_chance", CLEAN, gap, sizes[1], unit="points", smallest=sizes[0]), bar=bar
    )


def coverage_without_looking(size: Measure, classes: int, bar: float) -> Headroom:
    """Return how often sets of this mean `size` would hold the truth if they were dealt out at random."""
    share = {key: getattr(size, key) / classes for key in ("estimate", "low", "high")}
    return Headroom(
        measure=replace(size, name="coverage_without_looking", unit="share", **share), bar=bar, side="below"
    )


def _others(answers: Answers, name: str, beside: str = "") -> Films:
    """Return (N,) the labelled films of other classes, or of one other class."""
    mine = answers.class_index(name)
    other = (answers.labels == answers.class_index(beside)) if beside and beside != name else answers.labels != mine
    return np.asarray(answers.shared(CLEAN) & other, dtype=bool)


def _unknown(name: str) -> Measure:
    """Return the measure that no film can tell."""
    return Measure(
        name=name, condition=CLEAN, unit="plain", estimate=math.nan, low=math.nan, high=math.nan, n=0, patients=0,
        estimator="no film tells it",
    )  # fmt: skip
