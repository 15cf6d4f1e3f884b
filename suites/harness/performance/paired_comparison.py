"""Do two subjects differ on the same films? Paired differences on one set of resamples, and chance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from suites.harness import statistics
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN
from suites.harness.statistics import difference

COLUMNS = ["measure", "first", "second", "difference", "low", "high", "films"]


def compare(answers: Sequence[Answers]) -> dict[str, pd.DataFrame]:
    """Return title -> table for every pair of subjects with the same classes.

    The difference is first minus second, on the films both answered; patients are resampled once for both. McNemar's
    test takes films as independent, the sign-flip test takes patients.
    """
    tables = {}
    for first, second in combinations(answers, 2):
        if first.subject.classes != second.subject.classes or first.images != second.images:
            continue
        title = f"{first.subject.name} against {second.subject.name}, paired on the same films"
        tables[title] = pd.DataFrame(_rows(first, second), columns=COLUMNS)
    return tables


def _rows(first: Answers, second: Answers) -> list[tuple[object, ...]]:
    both = first.shared(CLEAN) & second.shared(CLEAN)
    if not both.any():
        return []
    rows: list[tuple[object, ...]] = []
    for measure in ("accuracy", "balanced_accuracy", *(f"recall_{name}" for name in first.subject.classes)):
        try:
            one, other = (answers.score(measure, CLEAN, both) for answers in (first, second))
        except NotEvaluable:
            continue
        gap = difference(one, other).interval()
        films = int(both.sum())
        if measure.startswith("recall_"):
            films = int((both & (first.labels == first.class_index(measure.removeprefix("recall_")))).sum())
        rows.append((measure, one.estimate, other.estimate, gap.estimate, gap.low, gap.high, films))
    right = [answers.correct(CLEAN)[both] for answers in (first, second)]
    exact = statistics.mcnemar_test(right[0], right[1])
    flips = statistics.sign_flip_test(right[0] - right[1], first.patients[both], seed=first.seed)
    rows.append(("McNemar exact p", np.nan, np.nan, exact, np.nan, np.nan, int(both.sum())))
    rows.append(("sign-flip p over patients", np.nan, np.nan, flips, np.nan, np.nan, int(both.sum())))
    return rows
