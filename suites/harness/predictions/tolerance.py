"""May machines answer whose logits are not the same bits? If somebody says how far apart, and the report names them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from suites.harness.cache.places import Place, Root, place_of
from suites.harness.errors import UsageProblem, one_line
from suites.harness.subjects.subject import Subject

MOST = 1.0
_MOST_BYTES = 2**16


def within(subjects: Sequence[Subject], tolerance: float) -> list[Subject]:
    """Return subjects whose answers may come from any machine that agrees within a tolerance.

    Args:
        subjects: the classifiers.
        tolerance: largest difference of a logit for the test films that every worker answers before it begins.

    Raises:
        UsageProblem: that is no such difference.
    """
    number = isinstance(tolerance, int | float) and not isinstance(tolerance, bool)
    if not number or not math.isfinite(tolerance) or not 0 < tolerance <= MOST:
        raise UsageProblem(
            f"tolerance is {one_line(repr(tolerance), 40)}; expected how far logits may lie apart, above 0 and at most "
            f"{MOST:g}, for example 1e-4"
        )
    return [replace(subject, tolerance=float(tolerance)) for subject in subjects]


def keep_others(root: Root, subjects: Sequence[Subject], others: Mapping[str, float]) -> None:
    """Keep what other hardware answers for these subjects, before it does, so that whoever finds its answers knows.

    Args:
        root: where finished blocks are kept.
        subjects: of the run, within a tolerance.
        others: hardware -> how far apart its logits for the test films were.
    """
    for kind, apart in others.items():
        told = json.dumps([kind, apart])
        name = f"{_prefix(subjects)}-{hashlib.sha256(told.encode()).hexdigest()[:16]}.json"
        place_of(root).write(name, told.encode())


def kept_others(root: Root, subjects: Sequence[Subject]) -> dict[str, float]:
    """Return what other hardware has answered for these subjects, in this run or before: see `keep_others`."""
    place = place_of(root)
    found: dict[str, float] = {}
    for name in place.names(f"{_prefix(subjects)}-*.json"):
        kind, apart = _read(place, name)
        found[kind] = max(apart, found.get(kind, 0.0))
    return found


def _prefix(subjects: Sequence[Subject]) -> str:
    key = json.dumps([subject.cache_key for subject in subjects], sort_keys=True)
    return f"hardware-{hashlib.sha256(key.encode()).hexdigest()[:24]}"


def told_of_others(tolerance: float, others: Mapping[str, float]) -> str:
    """Return the sentence on other hardware for a report."""
    if not others:
        return f"Workers of other hardware were allowed (tolerance {tolerance:g} of a logit); there was none."
    kinds = "; ".join(f"{one_line(kind, 200)} (up to {apart:.2g} apart)" for kind, apart in sorted(others.items()))
    return (
        f"Not all answers come from the same hardware: logits for test films were compared and may lie {tolerance:g} "
        f"apart. Others than the first process: {kinds}."
    )


def _read(place: Place, name: str) -> tuple[str, float]:
    """Return a kind of hardware and how far apart it was.

    Raises:
        UsageProblem: what is written there is none: nobody can say what answered.
    """
    try:
        kind, apart = json.loads(place.read(name, _MOST_BYTES))
        return str(kind), float(apart)
    except (OSError, ValueError, TypeError) as problem:
        raise UsageProblem(
            f"{one_line(str(place), 100)}/{name} does not say which hardware answered; remove it with the predictions "
            "beside it, or name another --cache"
        ) from problem
