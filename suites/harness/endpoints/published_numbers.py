"""What does a printed confusion matrix say, and how surely? The published numbers audited, no image needed."""

from __future__ import annotations

import numpy as np

from suites.harness import statistics
from suites.harness.claims import Claim, Measure, Result, Unit
from suites.harness.endpoints.parameters import ClassName, ClassNames, Counts, Number
from suites.harness.endpoints.registry import endpoint
from suites.harness.errors import UsageProblem
from suites.harness.formatting import figures
from suites.harness.formatting.cells import percent, points
from suites.harness.formatting.wording import ends, plain_name
from suites.harness.statistics import Integers, Interval

PUBLISHED = {"classes": ClassNames(), "confusion": Counts()}
"""Parameters of every claim about the page: the published confusion matrix, rows the truth."""
WILSON = "Wilson score interval 95 %, films taken as independent"
NEWCOMBE = "Newcombe hybrid score interval 95 %, films taken as independent"


def _matrix(claim: Claim) -> tuple[Integers, list[str]]:
    counts, classes = np.asarray(claim.parameters["confusion"], dtype=np.int64), claim.parameters["classes"]
    if len(counts) != len(classes):
        raise UsageProblem(f"claim {claim.id}: `confusion` has {len(counts)} rows for {len(classes)} `classes`")
    return counts, classes


def _of(claim: Claim, name: str) -> int:
    """Return the row of the class that a parameter names."""
    classes, wanted = claim.parameters["classes"], claim.parameters[name]
    if wanted not in classes:
        raise UsageProblem(f"claim {claim.id}: `{name}` is {wanted!r}, none of its `classes`: {', '.join(classes)}")
    return int(classes.index(wanted))


def _measure(name: str, interval: Interval, n: int, estimator: str = WILSON, *, unit: Unit = "share") -> Measure:
    return Measure(
        name=name,
        condition="clean",
        unit=unit,
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        n=n,
        patients=None,  # the page counts films
        estimator=estimator,
    )


def _newcombe(first: tuple[int, int], second: tuple[int, int]) -> Interval:
    """Return the interval of the difference of two independent proportions (Newcombe 1998, method 10)."""
    a, b = statistics.wilson(*first), statistics.wilson(*second)
    gap = a.estimate - b.estimate
    low = gap - float(np.hypot(a.estimate - a.low, b.high - b.estimate))
    return Interval(gap, low, gap + float(np.hypot(a.high - a.estimate, b.estimate - b.low)))


def _measures(counts: Integers, classes: list[str]) -> list[Measure]:
    total, right = int(counts.sum()), int(np.trace(counts))
    rows = counts.sum(axis=1)
    measures = [_measure("accuracy", statistics.wilson(right, total), total)]
    for index, name in enumerate(classes):
        measures.append(
            _measure(f"recall_{name}", statistics.wilson(int(counts[index, index]), int(rows[index])), int(rows[index]))
        )
    return measures


@endpoint("published_half_width", about="page", parameters=PUBLISHED)
def published_half_width(_: None, claim: Claim) -> Result:
    """Half the width of the interval that the published accuracy really has, in accuracy units."""
    counts, classes = _matrix(claim)
    total, right = int(counts.sum()), int(np.trace(counts))
    accuracy = statistics.wilson(right, total)
    half = (accuracy.high - accuracy.low) / 2
    stated = float(claim.margin)
    return Result(
        effect=_measure("accuracy_half_width", Interval(half, half, half), total, unit="width"),
        measures=_measures(counts, classes),
        summary=(
            f"{right} of {total} films right is {percent(accuracy.estimate)} with an interval from "
            f"{ends(accuracy.low, accuracy.high, 'share')}: ±{points(half, signed=False)} points where "
            f"the page says ±{points(stated, signed=False)}, and wider still once films of one patient are not "
            "counted as independent."
        ),
        figures={"confusion": lambda: figures.confusion_matrix(counts, classes, title="Published, rows are the truth")},
    )


@endpoint(
    "published_recall_gap",
    about="page",
    parameters={**PUBLISHED, "better": ClassName(), "worse": ClassName(), "printed": Number(low=0.0, high=1.0)},
)
def published_recall_gap(_: None, claim: Claim) -> Result:
    """How far the printed recall gap is from the one its own confusion matrix shows; a matter of counting."""
    counts, classes = _matrix(claim)
    first, second = _of(claim, "better"), _of(claim, "worse")
    printed, names = claim.parameters["printed"], [plain_name(classes[index]) for index in (first, second)]
    rows = counts.sum(axis=1)
    n = int(rows[first] + rows[second])
    gap = _newcombe((int(counts[first, first]), int(rows[first])), (int(counts[second, second]), int(rows[second])))
    error = abs(gap.estimate - printed)
    size, span = points(gap.estimate, signed=False), ends(gap.low, gap.high, "points").replace("+", "")
    counting = "exact count of the published films"
    return Result(
        effect=_measure("recall_gap_error", Interval(error, error, error), n, counting, unit="width"),
        measures=[_measure("recall_gap", gap, n, NEWCOMBE, unit="points"), *_measures(counts, classes)],
        summary=(
            f"Recall of {names[0]} is {percent(counts[first, first] / rows[first])}, of {names[1]} "
            f"{percent(counts[second, second] / rows[second])}: a gap of {size} points (95 % interval "
            f"{span}) where the page prints about {100 * printed:.0f}."
        ),
    )


@endpoint("published_recall", about="page", parameters={**PUBLISHED, "class": ClassName()})
def published_recall(_: None, claim: Claim) -> Result:
    """Recall of one class from the published confusion matrix."""
    counts, classes = _matrix(claim)
    index = _of(claim, "class")
    total = int(counts[index].sum())
    recall = statistics.wilson(int(counts[index, index]), total)
    return Result(
        effect=_measure(f"recall_{classes[index]}", recall, total),
        measures=_measures(counts, classes),
        summary=(
            f"{counts[index, index]} of {total} {plain_name(classes[index])} films are called right: "
            f"{percent(recall.estimate)}."
        ),
    )


@endpoint(
    "published_confusion_asymmetry",
    about="page",
    parameters={**PUBLISHED, "from": ClassName(), "towards": ClassName()},
)
def published_confusion_asymmetry(_: None, claim: Claim) -> Result:
    """P(called `towards` | `from`) minus P(called `from` | `towards`), from the published confusion matrix."""
    counts, classes = _matrix(claim)
    start, end = _of(claim, "from"), _of(claim, "towards")
    rows = counts.sum(axis=1)
    gap = _newcombe((int(counts[start, end]), int(rows[start])), (int(counts[end, start]), int(rows[end])))
    return Result(
        effect=_measure("confusion_asymmetry", gap, int(rows[start] + rows[end]), NEWCOMBE, unit="points"),
        measures=_measures(counts, classes),
        summary=(
            f"{counts[start, end]} of {rows[start]} {plain_name(classes[start])} films are called "
            f"{plain_name(classes[end])}, but only {counts[end, start]} of {rows[end]} the other way."
        ),
    )
