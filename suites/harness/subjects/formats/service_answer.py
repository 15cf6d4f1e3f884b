"""What does a service answer to one film? The probabilities of its classes, or one line about what else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats.wording import in_short

SUM_TOLERANCE = 0.02
"""Probabilities rounded to two decimals miss a sum of 1 by at most 0.005 per class; more is another kind of number."""
ROUNDING = 0.01
"""By how much rounding to two decimals may lift another class above the one that is called."""
LONGEST = 100
"""Characters of a class name."""
Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reading:
    """One answer.

    Attributes:
        names: class names in the order of the answer, or `None` where it only lists numbers.
        probabilities: (K,) in [0, 1], of sum 1 up to rounding, in the order of the answer.
        called: name or index of the class that the service itself calls.
    """

    names: tuple[str, ...] | None
    probabilities: Probabilities
    called: str | int


def read(answer: object, address: str) -> Reading:
    """Return one answer of `POST /predict`, parsed from JSON.

    Raises:
        SubjectProblem: it is not of the form {"pred": ..., "probs": ...}, or `probs` are no probabilities.
    """
    if not isinstance(answer, Mapping) or not {"pred", "probs"} <= set(answer):
        raise SubjectProblem(
            f'{address}: /predict should answer {{"pred": name, "probs": {{name: p, ...}}}}, not {in_short(answer)}'
        )
    called, probs = answer["pred"], answer["probs"]
    names = tuple(str(name) for name in probs) if isinstance(probs, Mapping) else None
    if unfit := [name for name in names or () if not name.isprintable() or not 0 < len(name) <= LONGEST]:
        raise SubjectProblem(
            f"{address}: the class name {in_short(unfit[0], 60)} cannot be printed; names have 1 to {LONGEST} "
            "printable characters"
        )
    values = list(probs.values()) if isinstance(probs, Mapping) else probs
    if not isinstance(values, list) or len(values) < 2 or not all(_is_number(value) for value in values):
        raise SubjectProblem(f"{address}: probs should be two numbers or more, not {in_short(probs)}")
    if not all(0 <= value <= 1 + ROUNDING for value in values):  # no comparison holds for NaN
        raise SubjectProblem(f"{address}: probs {in_short(probs)} are no probabilities: each should lie in 0..1")
    if abs(sum(values) - 1) > SUM_TOLERANCE:
        raise SubjectProblem(
            f"{address}: probs {in_short(probs)} sum to {sum(values):.4g}, not to 1: send the softmax of the logits"
        )
    if isinstance(called, bool) or not isinstance(called, str | int):
        raise SubjectProblem(f"{address}: pred should be the name or the index of a class, not {in_short(called)}")
    return Reading(names, np.array(values, dtype=np.float64), called)


def in_order(reading: Reading, classes: Sequence[str], address: str) -> Probabilities:
    """Return (K,) probabilities in the order of the subject's classes.

    Raises:
        SubjectProblem: the answer is about other classes, or calls a class that is not the most probable one, so that
            the calls judged here would not be the service's own.
    """
    names = reading.names or tuple(classes)
    if set(names) != set(classes) or len(reading.probabilities) != len(classes):
        found = in_short(list(reading.names)) if reading.names else f"{len(reading.probabilities)} numbers"
        raise SubjectProblem(
            f"{address}: an answer is about {found}, but the classes are {', '.join(classes)}; was it redeployed?"
        )
    called = reading.called
    if isinstance(called, str) and called in names:
        called = names.index(called)
    if isinstance(called, str) or not 0 <= called < len(names):
        raise SubjectProblem(f"{address}: pred is {in_short(reading.called)}, which is none of {', '.join(names)}")
    most = int(reading.probabilities.argmax())
    if reading.probabilities[called] < reading.probabilities[most] - ROUNDING:
        raise SubjectProblem(
            f"{address}: pred is {names[called]}, but {names[most]} is the most probable one "
            f"({reading.probabilities[most]:.3g} against {reading.probabilities[called]:.3g})"
        )
    return reading.probabilities[[names.index(name) for name in classes]]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
