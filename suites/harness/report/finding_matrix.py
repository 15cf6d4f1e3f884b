"""What does a subject of several findings look like at a glance? Every finding beside every condition, in one table.

Columns are the findings and their mean, rows how well they are found on clean films, then what each claim measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from suites.harness.claims import Claim, Judgement, Measure, Result
from suites.harness.cohorts.findings import LEAVE_OUT, NOT_MENTIONED, UNCERTAIN
from suites.harness.endpoints import get
from suites.harness.endpoints.failure_modes.white_films import cause, truly_shows
from suites.harness.formatting import wording
from suites.harness.performance import clean_films
from suites.harness.predictions.conditions import parse
from suites.harness.record import Record
from suites.harness.report.finding_means import mean_harm, mean_scores
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

    @property
    def several(self) -> bool:
        """Whether there is a mean over findings to tell: that of one would be its own number with another interval."""
        return len(self.findings) > 1


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
        row = _row(record, claim, {one.name: (one, judged.get((claim.id, one.name))) for one in subjects})
        if any(cell.size for cell in row.cells):
            groups.setdefault(claim.section, []).append(row)
            groups[claim.section] += _by_cause(claim, [judged.get((claim.id, one.name)) for one in subjects])
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
    titles = ["showing it", "not showing it", "left out (uncertain, not mentioned, unread)"]
    rows = [
        Row(title=title, cells=[Cell(size=f"{one[place]:,}") for one in counts], mean=Cell(size=""))
        for place, title in enumerate(titles)
    ]
    if record.cohort.findings:
        uncertain = record.cohort.uncertain
        counted = "left out" if uncertain == LEAVE_OUT else f"counted as {uncertain}"
        told = record.cohort.finding_counts().set_index("finding")
        for value, title in {
            UNCERTAIN: f"labelled uncertain ({counted})",
            NOT_MENTIONED: "not mentioned (left out)",
        }.items():
            cells = [Cell(size=f"{int(told[value][subject.classes[1]]):,}") for subject in subjects]
            rows.append(Row(title=title, cells=cells, mean=Cell(size="")))
    points = [operating_point(one.whole.thresholds, own_finding(one)[0]) for one in subjects if one.whole]
    thresholds = [
        Cell(size=f"{threshold:.3g}", interval="" if published else "none published") for threshold, published in points
    ]
    return [*rows, Row(title="operating point (a probability)", cells=thresholds, mean=Cell(size=""))]


def _scores(record: Record, subjects: Sequence[Subject]) -> list[Row]:
    """Return how well each finding is found on clean films; empty where they were not answered."""
    found = []
    for subject in subjects:
        answers = clean_films.clean_answers(record, subject)
        own = clean_films.per_class(answers).get(subject.classes[1], []) if answers else []
        found.append({measure.name.partition("_")[0]: measure for measure in own})
    if not any(found):
        return []
    means = mean_scores(record, subjects) if len(subjects) > 1 else {}
    return [
        Row(title=title, cells=[_measured(one.get(name)) for one in found], mean=_measured(means.get(name)))
        for name, title in SCORES.items()
    ]


def _measured(measure: Measure | None) -> Cell:
    if measure is None or not np.isfinite(measure.estimate):
        return Cell(size="")
    return Cell(size=wording.estimate(measure), interval=wording.interval(measure))


def _row(record: Record, claim: Claim, judgements: Mapping[str, tuple[Subject, Judgement | None]]) -> Row:
    """Return what a claim measured of each finding, and the plain mean of those that have a number."""
    cells = [_judged(judgement) for _, judgement in judgements.values()]
    effects = {
        name: one.result.effect
        for name, (_, one) in judgements.items()
        if one is not None and one.result is not None and np.isfinite(one.result.effect.estimate)
    }
    mean = Cell(size="")
    if len(effects) > 1:
        told = f"plain mean over {len(effects)} findings"
        first = next(iter(effects.values()))
        middle = replace(first, estimate=float(np.mean([effect.estimate for effect in effects.values()])))
        sampled = mean_harm(record, [judgements[name][0] for name in effects], claim)
        mean = Cell(
            size=wording.estimate(middle), interval=wording.interval(sampled) if sampled is not None else "", told=told
        )
    return Row(title=_title(claim), cells=cells, mean=mean, anchor=claim.id)


def _by_cause(claim: Claim, judgements: Sequence[Judgement | None]) -> list[Row]:
    """Return how often each finding is claimed of films made white, a row per cause; none of any other claim."""
    if claim.endpoint != "called_whatever_the_cause" or claim.finding.get("class") != "{ill}":
        return []
    results = [one.result if one is not None else None for one in judgements]
    return [
        Row(
            title=f"white from {cause(condition)}",
            cells=[_claimed(result, condition) for result in results],
            mean=Cell(size=""),
            anchor=claim.id,
        )
        for condition in (parse(str(text)).text for text in claim.parameters["conditions"])
    ]


def _claimed(result: Result | None, condition: str) -> Cell:
    """Return how often a finding is claimed of films that a condition made white."""
    shares = [] if result is None else [one for one in result.measures if one.condition == condition]
    name = "" if result is None else result.effect.name
    if not (share := next((one for one in shares if one.name == name), None)):
        return Cell(size="")
    right = truly_shows(condition, name.removeprefix("called_"))
    told = "may truly show it, and is not counted above" if right else ""
    return Cell(size=wording.estimate(share), interval="may be right" if right else wording.interval(share), told=told)


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
