"""The checklist answers an item by what was measured, and says what is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from suites.harness.claims import Judgement, Verdict
from suites.harness.endpoints import registry
from suites.harness.report import checklist


def asked(record, number: int, *judgements: Judgement, grid: bool = False) -> checklist.Answer:
    return checklist.answers(replace(record, judgements=list(judgements)), grid=grid)[number - 1]


def test_an_item_is_answered_by_what_was_measured_not_by_a_name(make_record):
    record = make_record(films=30, plain=True, subjects=1)
    some = next(judgement for judgement in record.judgements if judgement.claim.id == "failure_modes.underexposed")

    def of(claim_id: str, endpoint: str, **more) -> Judgement:
        return replace(some, claim=replace(some.claim, id=claim_id, endpoint=endpoint), **more)

    looks_like_it = of("explanations.shortcut", "border_flips")
    refused = of("dataset.duplicates", "duplicate_share", verdict=Verdict.NOT_EVALUABLE, result=None, reason="no files")
    answer = asked(record, 3, looks_like_it, refused)
    assert [text for _, text in answer.links] == ["Films", "Exclusions"]
    assert answer.absent
    assert [(text, why) for _, text, why in answer.not_evaluable] == [("dataset.duplicates", "no files")]
    measured = of("dataset.duplicates", "duplicate_share")
    answer = asked(record, 3, refused, measured)
    assert ("dataset.duplicates", answer.absent, answer.not_evaluable) == (answer.links[-1][1], "", ())
    assert not asked(record, 10, of("abstention.conformal", "conformal_coverage")).links
    assert asked(record, 10, of("abstention.coverage", "selective")).links


def test_a_severity_curve_has_several_severities_and_the_grid_is_one(make_record):
    record = make_record(films=30, plain=True, subjects=1)
    curve = next(judgement for judgement in record.judgements if judgement.claim.id == "failure_modes.underexposed")
    curve = replace(curve, claim=replace(curve.claim, endpoint="stress"))
    point = replace(curve, result=replace(curve.result, measures=curve.result.measures[:1]))
    assert asked(record, 8, curve).links
    assert not asked(record, 8, point).links
    assert [text for _, text in asked(record, 8, point, grid=True).links] == ["Stress grid"]


def test_pictures_of_what_did_no_harm_are_no_gallery_of_failures(make_record):
    record = make_record(films=30, subjects=1)
    shown = next(judgement for judgement in record.judgements if judgement.result and judgement.result.galleries)
    assert asked(record, 16, shown).links
    assert not asked(record, 16, replace(shown, verdict=Verdict.MET)).links
    assert not asked(record, 16, replace(shown, verdict=Verdict.NOT_SUPPORTED)).links


def test_the_page_does_not_claim_evidence_of_realism(make_record, report: Path):
    absent = asked(make_record(films=30, plain=True), 15).absent
    assert absent
    assert absent in report.read_text(encoding="utf-8")


def test_every_endpoint_of_the_checklist_exists():
    for item in checklist.ITEMS:
        for name in item.endpoints:
            registry.get(name)


def test_there_are_eighteen_items():
    assert [item.number for item in checklist.ITEMS] == list(range(1, 19))
