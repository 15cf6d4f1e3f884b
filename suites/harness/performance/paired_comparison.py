"""Do two subjects differ on the same clean films? Paired differences on one set of resamples, and chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from suites.harness import statistics
from suites.harness.counts import counted
from suites.harness.errors import NotEvaluable
from suites.harness.formatting.wording import p_equals
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN
from suites.harness.statistics import LEVEL, difference


@dataclass(frozen=True, kw_only=True)
class PairedMeasure:
    """One measure of two subjects on the films both answered; the difference is first minus second."""

    measure: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    films: int
    patients: int

    @property
    def settled(self) -> bool:
        """Whether the interval leaves out no difference at all."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two subjects on the same clean films.

    Attributes:
        first, second: names of the subjects.
        measures: accuracy, balanced accuracy, and the recall of each class.
        films: both answered; `patients`: theirs.
        only_first, only_second: films that this subject alone calls right.
        mcnemar: exact two-sided p, films taken as independent (McNemar 1947).
        sign_flip: two-sided p over patients, its clustered counterpart.
    """

    first: str
    second: str
    measures: tuple[PairedMeasure, ...]
    films: int
    patients: int
    only_first: int
    only_second: int
    mcnemar: float
    sign_flip: float

    @property
    def accuracy(self) -> PairedMeasure | None:
        """The paired difference of the accuracy."""
        return next((measure for measure in self.measures if measure.measure == "accuracy"), None)

    @property
    def disagreement(self) -> str:
        """What to make of an interval and a test of the accuracy that say different things; empty where they agree."""
        found = self.accuracy
        if found is None or found.settled == (self.mcnemar < 1 - LEVEL):
            return ""
        says = ("leaves out 0", "does not show one") if found.settled else ("holds 0", "shows a difference")
        alone, patients = counted(self.only_first + self.only_second, "film"), counted(self.patients, "patient")
        return (
            f"The interval of the difference in accuracy {says[0]}, McNemar's test {says[1]} "
            f"({p_equals(self.mcnemar)}): the test counts the {alone} that one "
            "subject alone calls right as independent and in whole films, so it errs towards no difference; the "
            f"interval resamples the {patients}. Tested over patients, {p_equals(self.sign_flip)}. What "
            "only one of them shows is not settled."
        )


def compare(answers: Sequence[Answers]) -> list[Pair]:
    """Return every pair of subjects with the same classes and films; patients are resampled once for both."""
    return [
        pair
        for first, second in combinations(answers, 2)
        if first.subject.classes == second.subject.classes and first.images == second.images
        if (pair := _pair(first, second))
    ]


def _pair(first: Answers, second: Answers) -> Pair | None:
    both = first.shared(CLEAN) & second.shared(CLEAN)
    if not both.any():
        return None
    mine, yours = (answers.correct(CLEAN)[both] for answers in (first, second))
    patients = first.patients[both]
    return Pair(
        first=first.subject.name,
        second=second.subject.name,
        measures=tuple(_measures(first, second)),
        films=len(mine),
        patients=len(set(patients)),
        only_first=int(((mine == 1) & (yours == 0)).sum()),
        only_second=int(((mine == 0) & (yours == 1)).sum()),
        mcnemar=statistics.mcnemar_test(mine, yours),
        sign_flip=statistics.sign_flip_test(mine - yours, patients, seed=first.seed),
    )


def _measures(first: Answers, second: Answers) -> list[PairedMeasure]:
    both = first.shared(CLEAN) & second.shared(CLEAN)
    found = []
    for measure in ("accuracy", "balanced_accuracy", *(f"recall_{name}" for name in first.subject.classes)):
        try:
            one, other = (answers.score(measure, CLEAN, both) for answers in (first, second))
        except NotEvaluable:
            continue
        gap = difference(one, other).interval()
        among = both
        if measure.startswith("recall_"):
            among = both & (first.labels == first.class_index(measure.removeprefix("recall_")))
        if math.isfinite(gap.estimate):
            found.append(
                PairedMeasure(
                    measure=measure, first=one.estimate, second=other.estimate, difference=gap.estimate, low=gap.low,
                    high=gap.high, films=int(among.sum()), patients=len(set(first.patients[among])),
                )
            )  # fmt: skip
    return found
