"""What do a subject's logits decide: one class among several (softmax), or each finding for itself (sigmoid)?

Thresholds of sigmoid heads are the operating points that were published with the weights: a film shows a finding where
its probability exceeds the finding's own. Where none was published (`NaN`, or no thresholds at all) it is .5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from suites.harness.errors import SubjectProblem, one_line

Heads = Literal["softmax", "sigmoid"]
HEADS: tuple[Heads, ...] = ("softmax", "sigmoid")
UNPUBLISHED = 0.5
"""The operating point of a finding for which none is published."""


def refuse_unfit(name: str, classes: Sequence[str], heads: str, thresholds: Sequence[float] | None) -> None:
    """Refuse heads of another kind, and thresholds that are none or do not fit the findings.

    Raises:
        SubjectProblem: with one line.
    """
    if heads not in HEADS:
        raise SubjectProblem(f"{name}: heads is {one_line(repr(heads), 40)}; known are {', '.join(HEADS)}")
    if heads == "sigmoid" and not classes:
        raise SubjectProblem(f"{name}: sigmoid heads need the findings they answer, in the order of the logits")
    different = dict.fromkeys(classes)  # that one name stands there twice is said of every subject
    if heads == "sigmoid" and len(spelt := list(map(spelling, different))) > len(set(spelt)):
        both = [name for name in different if spelt.count(spelling(name)) > 1]
        raise SubjectProblem(f"{name}: {one_line(', '.join(both), 80)} are one finding, written twice")
    if thresholds is None:
        return
    if heads == "softmax":
        raise SubjectProblem(f'{name}: thresholds belong to findings; leave them out, or say heads="sigmoid"')
    if not isinstance(thresholds, tuple) or not all(type(one) in (int, float) for one in thresholds):
        raise SubjectProblem(f"{name}: thresholds is {one_line(repr(thresholds), 60)}; expected a tuple of numbers")
    if len(thresholds) != len(classes):
        raise SubjectProblem(f"{name}: {len(thresholds)} thresholds for {len(classes)} findings; give one for each")
    for finding, threshold in zip(classes, thresholds, strict=True):
        if not math.isnan(threshold) and not 0 < threshold < 1:
            raise SubjectProblem(
                f"{name}: the threshold of {one_line(str(finding), 60)} is {threshold:.4g}; it is a probability, "
                "above 0 and below 1 (NaN where none is published)"
            )


def spelling(name: str) -> str:
    """Return a finding's name without what does not tell it from others: case, blanks, underscores and hyphens."""
    return " ".join(name.replace("_", " ").replace("-", " ").split()).casefold()


def operating_point(thresholds: Sequence[float] | None, index: int) -> tuple[float, bool]:
    """Return the threshold of one finding, and whether it was published."""
    threshold = math.nan if thresholds is None else float(thresholds[index])
    return (UNPUBLISHED, False) if math.isnan(threshold) else (threshold, True)


def log_odds(probability: float) -> float:
    """Return ln(p / (1 - p)), 0 for one half."""
    return math.log(probability) - math.log1p(-probability)


def read_thresholds(text: str | None, spec: str) -> tuple[float, ...] | None:
    """Return the thresholds that a spec names, `0.3,,0.5` where the second finding has none; `None` for `None`.

    Raises:
        SubjectProblem: one is no number.
    """
    if text is None:
        return None
    try:
        return tuple(float(part) if part.strip() else math.nan for part in text.split(","))
    except ValueError as error:
        raise SubjectProblem(
            f"{one_line(spec, 80)}: thresholds should be probabilities such as 0.3,0.5, not {one_line(repr(text), 60)}"
        ) from error
