"""How well does a subject do on all of its findings together? Plain means over findings, with intervals over patients.

Every finding has films and resamples of its own; a mean over them has an interval only where all are drawn together:
the same patients, each finding counted on those of their films of which the labels tell it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from calibration import ood
from suites.harness.claims import Claim, Measure, Unit
from suites.harness.cohorts.class_roles import for_finding
from suites.harness.cohorts.finding_names import truths
from suites.harness.endpoints import get
from suites.harness.endpoints.registry import measured
from suites.harness.errors import NotEvaluable
from suites.harness.record import Record
from suites.harness.statistics import Floats, Resamples, Sampled
from suites.harness.statistics.resamples import applied
from suites.harness.subjects.subject import Subject

Statistic = Callable[["Part", Floats], Floats]


@dataclass(frozen=True)
class Part:
    """One finding on the films of which the labels tell it and that were answered.

    Attributes:
        inside: (N,) which of all films.
        truth: (M,) 1 where it is there, else 0.
        logits: (M,) on clean films, and `changed` under a condition; called above 0.
    """

    inside: NDArray[np.bool_]
    truth: Floats
    logits: Floats
    changed: Floats


def mean_scores(record: Record, subjects: Sequence[Subject]) -> dict[str, Measure]:
    """Return the plain means over findings of AUROC, average precision, sensitivity and specificity on clean films."""
    parts = [_part(record, subject, "clean") for subject in subjects]
    return {
        name: _mean(record, parts, f"macro_{name}", statistic, unit="plain" if name.startswith("au") else "share")
        for name, statistic in _SCORES.items()
    }


def mean_harm(record: Record, subjects: Sequence[Subject], claim: Claim) -> Measure | None:
    """Return the plain mean over findings of the harm that a claim measures; None of a claim about anything else."""
    if claim.endpoint != "stress":
        return None
    try:
        asked = [get(claim.endpoint).asked(for_finding(claim, subject.classes)) for subject in subjects]
    except NotEvaluable:
        return None
    if any(one["measure"] != "balanced_accuracy" or one["truth"] for one in asked):
        return None
    condition = str(asked[0]["condition"])
    parts = [_part(record, subject, condition) for subject in subjects]
    if not all(len(part.truth) for part in parts):
        return None
    return _mean(record, parts, "macro_harm", _harm, unit="points", bounds=(-1.0, 1.0))


def _part(record: Record, subject: Subject, condition: str) -> Part:
    table = record.predictions
    own = table[(table["subject"] == subject.name) & (table["cohort"] == record.cohort.name)]
    ids = record.cohort.table["id"].astype(str)
    logits, changed = (
        own[own["condition"] == name]
        .astype({"image": "str"})
        .set_index("image")["logit_1"]
        .reindex(ids)
        .to_numpy(np.float64)
        for name in ("clean", condition)
    )
    truth = truths(record.cohort)[subject.classes[1]].astype(np.float64)
    inside = np.isfinite(logits) & np.isfinite(changed) & (truth >= 0)
    return Part(inside, truth[inside], logits[inside], changed[inside])


def _mean(
    record: Record, parts: Sequence[Part], name: str, statistic: Statistic, *, unit: Unit,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Measure:  # fmt: skip
    films = record.cohort.table
    resamples = Resamples.draw(films["patient"].astype(str), np.zeros(len(films)), seed=record.seed)

    def mean(weights: Floats) -> Floats:
        each = [statistic(part, weights[:, part.inside]) for part in parts]
        return np.asarray(np.mean(each, axis=0), dtype=np.float64)

    value = float(mean(np.ones((1, len(films))))[0])
    drawn, left_out = (applied(mean, rows) for rows in (resamples.weights, resamples.left_out))
    whose = films["patient"].astype(str).to_numpy()
    fewest = min(len(set(whose[part.inside][part.truth == side])) for part in parts for side in (0, 1))
    strata = (1,) if fewest == 1 else ()  # of a single patient nothing tells how another would be
    sampled = Sampled(value, drawn, resamples.patients, bounds=bounds, strata=strata, left_out=left_out)
    smallest = min(int((part.truth == side).sum()) for part in parts for side in (0, 1))
    return measured(name, "clean", sampled, len(films), unit=unit, smallest=smallest)


def _share(right: NDArray[np.bool_], among: NDArray[np.bool_], weights: Floats) -> Floats:
    """Return (B,) the share of some films that is right under (B, N) weights; NaN for a resample without them."""
    with np.errstate(invalid="ignore"):
        return np.asarray((weights @ (right * among)) / (weights @ among), dtype=np.float64)


def _balanced(logits: Floats, truth: Floats, weights: Floats) -> Floats:
    return (_share(logits > 0, truth == 1, weights) + _share(logits <= 0, truth == 0, weights)) / 2


def _harm(part: Part, weights: Floats) -> Floats:
    return _balanced(part.logits, part.truth, weights) - _balanced(part.changed, part.truth, weights)


def _side(part: Part, weights: Floats, *, there: bool) -> Floats:
    return _share((part.logits > 0) == there, part.truth == float(there), weights)


_SCORES: Mapping[str, Statistic] = {
    "auroc": lambda part, weights: np.asarray(ood.auroc(part.logits, part.truth == 1, weights=weights)),
    "auprc": lambda part, weights: np.asarray(ood.aupr(part.logits, part.truth == 1, weights=weights)),
    "recall": partial(_side, there=True),
    "specificity": partial(_side, there=False),
}
