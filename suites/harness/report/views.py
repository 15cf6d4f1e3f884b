"""What does the page show? Plain values for the templates, prepared from the record, no HTML."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from suites.harness.claims import Claim, Judgement, Measure, Verdict
from suites.harness.formatting import wording
from suites.harness.record import PAGE, Record
from suites.harness.report import parameters
from suites.harness.report.bars import Bar, bars
from suites.harness.report.checklist import claim_anchor
from suites.harness.report.foretelling import evidence_of
from suites.harness.report.pictures import Picture
from suites.harness.report.repetition import Printed
from suites.harness.report.results import all_measures
from suites.harness.report.table import Table
from suites.harness.statistics import EXACT, OF_ONE, THIN, WIDENED
from suites.harness.subjects.formats.hub import PUBLISHED

MODELS, FILM_FACTS, PAGE_FACTS = "Found on the model", "Facts about these films", "Facts about a published page"
"""What sections are about, as their headings say it."""
FILTERS = ("class", "method", "condition")
"""Facts of a picture that a reader can filter a gallery by."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One picture of a gallery with its caption, its facts, and the file that holds what it shows as numbers."""

    picture: Picture
    caption: str
    facts: Mapping[str, str]
    sidecar: str = ""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a judgement brought to look at: its figures and, by title, its galleries.

    Attributes:
        elsewhere: ids of claims that show the same of its pictures already, so that each stands on the page once.
    """

    figures: Sequence[Picture] = ()
    galleries: Mapping[str, Sequence[Shot]] | None = None
    elsewhere: Sequence[str] = ()

    @property
    def filters(self) -> dict[str, list[str]]:
        """What the pictures can be filtered by: fact -> its values, where there are several."""
        shots = [shot for gallery in (self.galleries or {}).values() for shot in gallery]
        values = {name: sorted({shot.facts[name] for shot in shots if name in shot.facts}) for name in FILTERS}
        return {name: known for name, known in values.items() if len(known) > 1}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One subject's answer to one claim.

    Attributes:
        headline: what was found, which stands in the claim's row; `sentence` what is to be said beyond it.
        reason: of the verdict, beyond the size, which stands in the row as well.
        measures: that are printed with it, the effect first; `further`, how many more the files beside have.
        tables: that are printed with it; `elsewhere`, title -> id of the claim that shows the same.
    """

    judgement: Judgement
    words: wording.VerdictWords
    headline: str
    marks: Mapping[str, str]
    effect: Measure | None
    bar: Bar | None
    sentence: str
    reason: str
    measures: Sequence[Measure]
    further: int
    tables: Mapping[str, Table]
    elsewhere: Mapping[str, str]
    evidence: Evidence


@dataclass(frozen=True, kw_only=True)
class ClaimView:
    """One claim with what every subject answered.

    Attributes:
        foretells: what is known of how its stress foretells drops at other hospitals, sentences.
    """

    claim: Claim
    anchor: str
    rule: str
    parameters: Mapping[str, str]
    findings: Sequence[Finding]
    command: str
    foretells: Sequence[str] = ()

    def of(self, subject: str) -> Finding | None:
        """Return the finding on one subject."""
        return next((finding for finding in self.findings if finding.judgement.subject == subject), None)

    def others(self, subjects: Sequence[str]) -> list[Finding]:
        """Return the findings on anything but these subjects (a published table, a data set)."""
        return [finding for finding in self.findings if finding.judgement.subject not in subjects]


@dataclass(frozen=True, kw_only=True)
class SectionView:
    """One section of the limitations page.

    Attributes:
        about: what its claims judge, in words; those on the subjects of the run come first.
        counts: (verdict in words, how many judgements reached it), in reading order.
    """

    title: str
    anchor: str
    claims: Sequence[ClaimView]
    about: str
    counts: Sequence[tuple[wording.VerdictWords, int]]


def sections(record: Record, evidence: Mapping[tuple[str, str], Evidence]) -> list[SectionView]:
    """Return the claims by section, in the order in which they were judged.

    Facts about the films and about a published page stand behind what was found on the subjects, unless that page is
    the one of a subject of the run: then they come first, to be read against what was measured.
    """
    by_claim: dict[str, list[Judgement]] = {}
    for judgement in record.judgements:
        by_claim.setdefault(judgement.claim.id, []).append(judgement)
    by_section: dict[str, list[ClaimView]] = {}
    classes = {name for subject in record.subjects for name in subject.classes}
    by_subject: dict[str, list[Judgement]] = {}
    for judgement in record.judgements:
        by_subject.setdefault(judgement.subject, []).append(judgement)
    printed = {name: Printed(own, classes) for name, own in by_subject.items()}
    for judgements in by_claim.values():
        claim = judgements[0].claim
        by_section.setdefault(claim.section, []).append(_claim(claim, judgements, record, evidence, printed))
    found = [
        SectionView(
            title=title,
            anchor=f"section-{wording.slug(title)}",
            claims=claims,
            about=_about(claims, record),
            counts=_counts(finding.judgement.verdict for view in claims for finding in view.findings),
        )
        for title, claims in by_section.items()
    ]
    own_page = any(PUBLISHED in subject.provenance.source for subject in record.subjects)
    order = [*([PAGE_FACTS] if own_page else []), MODELS, FILM_FACTS, PAGE_FACTS]
    return sorted(found, key=lambda section: order.index(section.about))


def _about(claims: Sequence[ClaimView], record: Record) -> str:
    judged = {finding.judgement.subject for view in claims for finding in view.findings}
    if judged == {PAGE}:
        return PAGE_FACTS
    return FILM_FACTS if judged.isdisjoint(subject.name for subject in record.subjects) else MODELS


def _counts(verdicts: Iterable[Verdict]) -> list[tuple[wording.VerdictWords, int]]:
    found = Counter(verdicts)
    return [(words, found[verdict]) for verdict, words in wording.VERDICTS.items() if found[verdict]]


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How many judgements of one subject reached a verdict, and how many of these are exploratory."""

    verdict: Verdict
    words: wording.VerdictWords
    count: int
    exploratory: int


def tallies(record: Record) -> dict[str, list[Tally]]:
    """Return, by what was judged, how many judgements reached each verdict: the subjects of the run first.

    What is said of the published page or of the films is no finding on a subject, so it is never added to one.
    Verdicts come in reading order, those that occur only.
    """
    names = [*(subject.name for subject in record.subjects), *(judgement.subject for judgement in record.judgements)]
    by_subject = {}
    for name in dict.fromkeys(names):
        own = [judgement for judgement in record.judgements if judgement.subject == name]
        found = Counter(judgement.verdict for judgement in own)
        few = Counter(j.verdict for j in own if j.result is not None and j.result.effect.exploratory)
        by_subject[name] = [
            Tally(verdict=verdict, words=words, count=found[verdict], exploratory=few[verdict])
            for verdict, words in wording.VERDICTS.items()
            if found[verdict]
        ]
    return {name: items for name, items in by_subject.items() if items}


def beside(record: Record) -> str:
    """Return in one sentence the verdicts on anything but the subjects of the run; empty where there are none."""
    names = [subject.name for subject in record.subjects]
    told = [
        f"on {name} " + ", ".join(item.words.counted(item.count) for item in items)
        for name, items in tallies(record).items()
        if name not in names
    ]
    return f"Counted apart, as they judge printed numbers and films, not answers: {'; '.join(told)}." if told else ""


def claim_counts(parts: Sequence[SectionView]) -> list[tuple[Verdict, wording.VerdictWords, int]]:
    """Return how many claims have each verdict on anything, in reading order, verdicts that occur only."""
    found = Counter(
        verdict
        for part in parts
        for view in part.claims
        for verdict in {finding.judgement.verdict for finding in view.findings}
    )
    return [(verdict, words, found[verdict]) for verdict, words in wording.VERDICTS.items() if found[verdict]]


def reproduce(command: str, claim: Claim) -> str:
    """Return what judges one claim again and prints it.

    Args:
        command: of a run; it names nothing that is written, so a part of it overwrites nothing of the whole.
        claim: one of it.
    """
    if command.startswith("evaluate("):
        return f"{command}.to_pandas().query({f'claim == {claim.id!r}'!r})"
    return f"{command} -k {shlex.quote(claim.id)}"


def ranks(record: Record) -> pd.DataFrame:
    """Return, per subject of the run, how many verdicts of each kind it got and its mean rank over the shared claims.

    Rank 1 is the subject least harmed by a claim's estimate; ties share the mean rank. Ranks speak of estimates only,
    whether a difference is real is for the paired intervals to say.
    """
    names = [subject.name for subject in record.subjects]
    effects = pd.DataFrame(
        [
            {"claim": j.claim.id, "subject": j.subject, "harm": wording.harm(j.claim) * j.result.effect.estimate}
            for j in record.judgements
            if j.result is not None and j.subject in names and math.isfinite(j.result.effect.estimate)
        ],
        columns=["claim", "subject", "harm"],
    )
    wide = effects.pivot_table(index="claim", columns="subject", values="harm").reindex(columns=names).dropna()
    mean = wide.rank(axis=1).mean()
    rows = []
    for name in names:
        found = Counter(j.verdict for j in record.judgements if j.subject == name)
        rows.append(
            {"subject": name, **{words.word: found[v] for v, words in wording.VERDICTS.items()}}
            | {"mean rank": float(mean[name]) if len(wide) else math.nan, "claims ranked": len(wide)}
        )
    return pd.DataFrame(rows).sort_values("mean rank", kind="stable")


def _marks(effect: Measure) -> dict[str, str]:
    """Return what a reader must know of an interval before reading it: mark -> what it means."""
    marks = {"exploratory": "Few films: the verdict holds for these only"} if effect.exploratory else {}
    if effect.too_few:
        marks["too few patients"] = effect.too_few
    elif effect.estimator in (EXACT, WIDENED):
        marks["rare events"] = "So few patients show it that the interval is at least the exact bound of none at all"
    elif effect.estimator in (THIN, OF_ONE):
        marks["few patients"] = "A class or side has so few patients that the interval is what these leave open"
    return marks


def _claim(
    claim: Claim,
    judgements: Sequence[Judgement],
    record: Record,
    evidence: Mapping[tuple[str, str], Evidence],
    printed: Mapping[str, Printed],
) -> ClaimView:
    effects = [judgement.result.effect for judgement in judgements if judgement.result]
    drawn = iter(bars(claim, effects))
    findings = []
    for judgement in judgements:
        result, before = judgement.result, printed[judgement.subject]
        measures, further = before.numbers(all_measures(judgement))
        tables, elsewhere = before.tables(claim.id)
        headline = wording.headline(judgement)
        findings.append(
            Finding(
                judgement=judgement,
                words=wording.VERDICTS[judgement.verdict],
                effect=result.effect if result else None,
                headline=headline,
                marks=_marks(result.effect) if result else {},
                bar=next(drawn) if result else None,
                sentence=wording.finding(judgement).removeprefix(headline.rstrip(".")).removeprefix(".").strip(),
                reason=wording.beyond_its_size(judgement),
                measures=measures,
                further=further,
                tables=tables,
                elsewhere=elsewhere,
                evidence=evidence.get((claim.id, judgement.subject), Evidence()),
            )
        )
    return ClaimView(
        claim=claim,
        anchor=claim_anchor(claim.id),
        rule=wording.rule(claim, effects[0] if effects else None),
        parameters=parameters.printed(judgements, record),
        findings=findings,
        command=reproduce(record.command, claim),
        foretells=evidence_of(claim),
    )
