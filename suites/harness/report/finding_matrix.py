"""What does a subject of several findings look like at a glance? Every finding beside every condition, in one table.

Columns are the findings and their mean, rows how well they are found on clean films, then what each claim measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from calibration import ood
from suites.harness.claims import Claim, Judgement, Measure, Unit
from suites.harness.cohorts.finding_names import truths
from suites.harness.endpoints import get
from suites.harness.endpoints.registry import measured
from suites.harness.formatting import wording
from suites.harness.performance import clean_films
from suites.harness.record import Record
from suites.harness.statistics import Floats, Resamples, Sampled
from suites.harness.statistics.resamples import applied
from suites.harness.subjects.finding import own_finding
from suites.harness.subjects.heads import operating_point
from suites.harness.subjects.subject import Subject

SCORES: Mapping[str, str] = {
    "auroc": "AUROC",
    "auprc": "average precision",
    "recall": "sensitivity",
    "specificity": "specificity",
}
"""Measures of `clean_films.per_class`, and how the table calls them."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One finding under one condition: the size, its interval, and the verdict's tone; `told` is read where it is not.

    A claim that is not evaluable has no size.
    """

    size: str
    interval: str = ""
    tone: str = ""
    told: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One condition over all findings; `anchor` is that of its claim, `mean` stands behind them."""

    title: str
    cells: Sequence[Cell]
    mean: Cell
    anchor: str = ""


@dataclass(frozen=True, kw_only=True)
class FindingMatrix:
    """One subject: its findings, as the films and as the subject calls them, and the rows under their headings."""

    name: str
    findings: Sequence[str]
    anchors: Sequence[str]
    groups: Mapping[str, Sequence[Row]]


def finding_matrices(record: Record) -> list[FindingMatrix]:
    """Return a table for each subject of several findings, in the order of the run."""
    wholes = {subject.whole.name: subject.whole for subject in record.subjects if subject.whole is not None}
    return [_matrix(record, whole) for whole in wholes.values()]


def anchor(subject: str) -> str:
    """Return where the story of a finding stands on the page."""
    return f"finding-{wording.slug(subject)}"


def _matrix(record: Record, whole: Subject) -> FindingMatrix:
    subjects = [one for one in record.subjects if one.whole is not None and one.whole.name == whole.name]
    groups: dict[str, list[Row]] = {"Films": _films(record, subjects)}
    if scores := _scores(record, subjects):
        groups["On clean films"] = scores
    judged = {(one.claim.id, one.subject): one for one in record.judgements}
    names = {subject.name for subject in subjects}
    claims = {one.claim.id: one.claim for one in record.judgements if one.subject in names}
    for claim in claims.values():
        row = _row(claim, [judged.get((claim.id, subject.name)) for subject in subjects])
        if any(cell.size for cell in row.cells):
            groups.setdefault(claim.section, []).append(row)
    return FindingMatrix(
        name=whole.name,
        findings=[wording.opened(wording.plain_name(subject.classes[1])) for subject in subjects],
        anchors=[anchor(subject.name) for subject in subjects],
        groups=groups,
    )


def _films(record: Record, subjects: Sequence[Subject]) -> list[Row]:
    """Return how many films show each finding, how many do not and how many are left out, and its operating point."""
    counts = []
    for subject in subjects:
        labels = record.films_of(subject.name).table["label"].astype(str)
        there, absent = (int((labels == name).sum()) for name in reversed(subject.classes))
        counts.append((there, absent, len(record.cohort) - there - absent))
    rows = [
        Row(title=title, cells=[Cell(size=f"{one[place]:,}") for one in counts], mean=Cell(size=""))
        for place, title in enumerate(("showing it", "not showing it", "left out (uncertain, not mentioned, unread)"))
    ]
    points = [operating_point(one.whole.thresholds, own_finding(one)[0]) for one in subjects if one.whole]
    told = [
        Cell(size=f"{threshold:.3g}", interval="" if published else "none published") for threshold, published in points
    ]
    return [*rows, Row(title="operating point (a probability)", cells=told, mean=Cell(size=""))]


def _scores(record: Record, subjects: Sequence[Subject]) -> list[Row]:
    """Return how well each finding is found on clean films; empty where they were not answered."""
    found = []
    for subject in subjects:
        answers = clean_films.clean_answers(record, subject)
        own = clean_films.per_class(answers).get(subject.classes[1], []) if answers else []
        found.append({measure.name.partition("_")[0]: measure for measure in own})
    if not any(found):
        return []
    means = _means(record, subjects)
    return [
        Row(title=title, cells=[_measured(one.get(name)) for one in found], mean=_measured(means.get(name)))
        for name, title in SCORES.items()
    ]


def _measured(measure: Measure | None) -> Cell:
    if measure is None or not np.isfinite(measure.estimate):
        return Cell(size="")
    return Cell(size=wording.estimate(measure), interval=wording.interval(measure))


def _means(record: Record, subjects: Sequence[Subject]) -> dict[str, Measure]:
    """Return the plain means over the findings, on resamples of the patients that all findings share."""
    films, table = record.cohort.table, record.predictions
    ids = films["id"].astype(str)
    resamples = Resamples.draw(films["patient"].astype(str), np.zeros(len(films)), seed=record.seed)
    known = truths(record.cohort)
    parts: list[tuple[Floats, Floats]] = []
    for subject in subjects:
        own = (table["subject"] == subject.name) & (table["cohort"] == record.cohort.name)
        clean = table[own & (table["condition"] == "clean")].set_index("image")
        logits = clean["logit_1"].reindex(ids).to_numpy(np.float64)
        truth = known[subject.classes[1]].astype(np.float64)
        parts.append((logits, np.where(np.isfinite(logits), truth, -1.0)))

    def mean(statistic: Callable[[Floats, Floats, Floats], Floats], weights: Floats) -> Floats:
        keep = [truth >= 0 for _, truth in parts]
        each = [
            statistic(logits[inside], truth[inside], weights[:, inside])
            for (logits, truth), inside in zip(parts, keep, strict=True)
        ]
        return np.asarray(np.mean(each, axis=0), dtype=np.float64)

    smallest = min(int((truth == value).sum()) for _, truth in parts for value in (0, 1))
    found = {}
    for name, statistic in _STATISTICS.items():
        value = float(mean(statistic, np.ones((1, len(films))))[0])
        drawn, left_out = (applied(partial(mean, statistic), rows) for rows in (resamples.weights, resamples.left_out))
        sampled = Sampled(value, drawn, resamples.patients, left_out=left_out)
        unit: Unit = "plain" if name.startswith("au") else "share"
        found[name] = measured(f"macro_{name}", "clean", sampled, len(films), unit=unit, smallest=smallest)
    return found


def _share(right: NDArray[np.bool_], among: NDArray[np.bool_], weights: Floats) -> Floats:
    """Return (B,) the share of some films that is right under (B, N) weights; NaN for a resample without them."""
    with np.errstate(invalid="ignore"):
        return np.asarray((weights @ (right * among)) / (weights @ among), dtype=np.float64)


_STATISTICS: Mapping[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "auroc": lambda z, truth, weights: np.asarray(ood.auroc(z, truth == 1, weights=weights)),
    "auprc": lambda z, truth, weights: np.asarray(ood.aupr(z, truth == 1, weights=weights)),
    "recall": lambda z, truth, weights: _share(z > 0, truth == 1, weights),
    "specificity": lambda z, truth, weights: _share(z <= 0, truth == 0, weights),
}


def _row(claim: Claim, judgements: Sequence[Judgement | None]) -> Row:
    """Return what a claim measured of each finding, and the plain mean of those that have a number."""
    cells = [_judged(judgement) for judgement in judgements]
    effects = [one.result.effect for one in judgements if one is not None and one.result is not None]
    finite = [effect for effect in effects if np.isfinite(effect.estimate)]
    mean = Cell(size="")
    if len(finite) > 1:
        middle = float(np.mean([effect.estimate for effect in finite]))
        mean = Cell(
            size=wording.estimate(replace(finite[0], estimate=middle)), told=f"plain mean over {len(finite)} findings"
        )
    return Row(title=_title(claim), cells=cells, mean=mean, anchor=claim.id)


def _judged(judgement: Judgement | None) -> Cell:
    if judgement is None:
        return Cell(size="")
    words = wording.VERDICTS[judgement.verdict]
    if judgement.result is None or not np.isfinite(judgement.result.effect.estimate):
        return Cell(size="", tone=words.tone, told=f"{words.word}: {judgement.reason}")
    effect = judgement.result.effect
    return Cell(
        size=wording.estimate(effect), interval=wording.interval(effect), tone=words.tone,
        told=f"{words.word}: {judgement.reason}",
    )  # fmt: skip


def _title(claim: Claim) -> str:
    """Return what the claims table calls it of findings, else the condition that it is about, else its own name."""
    if short := claim.finding.get("short"):
        return str(short)
    asked = get(claim.endpoint).asked(claim)
    condition = asked.get("condition")
    if condition and condition != "clean":
        return wording.condition_words(str(condition))
    return wording.plain_name(claim.id.partition(".")[2])
