"""What does a change do to patients? How many more of the ill are missed, and of the healthy called ill.

The one scale on which harms of every kind compare: further errors among 100 of a kind. It needs a healthy class;
one kind of illness taken for another is on neither side, so it is told by the effects of its own claims.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from suites.harness import statistics
from suites.harness.claims import Measure
from suites.harness.cohorts.class_roles import own_name
from suites.harness.endpoints.registry import measured
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN
from suites.harness.statistics import Floats, Sampled, difference

NORMAL = "normal"
MISSED, CALLED_ILL = "ill_films_missed_more", "healthy_films_called_ill_more"
"""Names of the two measures, differences of shares paired on the same films."""
MISSED_MORE, SAID_MORE = "films_with_it_missed_more", "films_without_it_said_to_show_it_more"
"""The same of a finding."""


def toll(
    answers: Answers, conditions: Sequence[str], among: npt.NDArray[np.bool_] | None = None, named: str = ""
) -> list[Measure]:
    """Return how many more are missed and called ill under conditions than on the same films untouched.

    Args:
        answers: of the subject; none is told of one without a healthy class.
        conditions: of several, the mean.
        among: (N,) the films to count.
        named: condition of the measures; by default that of a single condition.
    """
    calls = [answers.called(condition) for condition in conditions]
    return of_calls(answers, answers.called(), calls, among, named or f"{conditions[0]} - {CLEAN}")


def of_calls(
    answers: Answers, before: Floats, after: Sequence[Floats], among: npt.NDArray[np.bool_] | None, named: str
) -> list[Measure]:
    """Return the same of calls, indices of classes: (N,) `before`, and (N,) each `after`; NaN where there is none."""
    if own_name(NORMAL, answers.subject.classes) not in answers.subject.classes:
        return []
    normal = answers.class_index(NORMAL)
    defined = np.logical_and.reduce([np.isfinite(calls) for calls in (before, *after)])
    keep = defined & (answers.labels >= 0) & (True if among is None else among)
    missed, called = (MISSED, CALLED_ILL) if answers.subject.whole is None else (MISSED_MORE, SAID_MORE)
    sides = {missed: keep & (answers.labels != normal), called: keep & (answers.labels == normal)}
    return [
        measured(name, named, _further(answers, before, after, films, normal), int(films.sum()), unit="points")
        for name, films in sides.items()
        if films.any()
    ]


def _further(
    answers: Answers, before: Floats, after: Sequence[Floats], films: npt.NDArray[np.bool_], normal: int
) -> Sampled:
    """Return the growth of the share of wrong calls across the line between ill and healthy, mean over `after`."""
    ill = answers.labels != normal
    first = answers.rate((before == normal) == ill, films)
    changes = [difference(answers.rate((calls == normal) == ill, films), first) for calls in after]
    return changes[0] if len(changes) == 1 else statistics.average(changes, answers.resamples.subset(films).patients)
