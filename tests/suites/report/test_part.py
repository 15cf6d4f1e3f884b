"""A report or card of part of the claims says so in each of its files, and is told from that of a whole run."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from huggingface_hub import ModelCard

from suites.harness.errors import UsageProblem
from suites.harness.record import Part
from suites.harness.report import compare_with_baseline, load_results, write_report
from suites.harness.report.card import write_model_cards
from suites.harness.report.page import render_cards
from suites.harness.report.part import (
    WHOLE,
    card_place,
    judged_in_card,
    judged_in_report,
    refuse_to_replace,
    report_place,
)  # fmt: skip
from suites.harness.report.results import part_of

PART = Part(judged=3, of=9, why="-k 'x'")


@pytest.fixture(scope="module")
def whole(make_record):
    return make_record(subjects=1, films=120, plain=True)


@pytest.fixture(scope="module")
def partial(whole):
    return replace(whole, judgements=whole.judgements[:3], part=PART)


def test_every_file_says_that_it_is_of_a_part(partial, tmp_path):
    page = write_report(partial, tmp_path / "part").read_text()
    assert '<p class="incomplete"' in page
    assert "Incomplete: 3 of 9 claims (-k &#39;x&#39;)." in page
    for name in ("films.html", "checks.html"):
        assert "Incomplete: 3 of 9 claims (-k &#39;x&#39;)." in (tmp_path / "part" / name).read_text(), name
    assert "Incomplete: 3 of 9 claims" in render_cards(partial, [])
    assert part_of(load_results(tmp_path / "part")) == PART
    assert set(pd.read_csv(tmp_path / "part" / "results.csv")["incomplete"]) == {str(PART)}
    (card,) = write_model_cards(partial, tmp_path / "card.md")
    assert "incomplete-run" in ModelCard.load(card).data.tags
    assert "**Incomplete: 3 of 9 claims" in card.read_text()


def test_a_whole_run_says_nothing_of_the_kind(whole, tmp_path):
    page = write_report(whole, tmp_path / "whole").read_text()
    assert 'class="incomplete"' not in page
    assert pd.read_csv(tmp_path / "whole" / "results.csv")["incomplete"].isna().all()
    (card,) = write_model_cards(whole, tmp_path / "card.md")
    assert "ncomplete" not in card.read_text()


def test_a_part_may_replace_a_part_and_goes_beside_what_is_whole(whole, partial, tmp_path):
    report, card = tmp_path / "report.v1", tmp_path / "card.md"
    refuse_to_replace(PART, report, [card])
    assert (report_place(PART, report), card_place(PART, card)) == (report, card)
    assert (judged_in_report(report), judged_in_card(card)) == (0, 0)
    write_report(partial, report)
    write_model_cards(partial, card)
    assert (judged_in_report(report), judged_in_card(card)) == (3, 3)
    refuse_to_replace(PART, report, [card])
    write_report(whole, report)
    write_model_cards(whole, card)
    assert report_place(PART, report) == tmp_path / "report.v1.incomplete"
    assert card_place(PART, card) == tmp_path / "card.incomplete.md"
    for named in ((report, []), (None, [card])):
        with pytest.raises(UsageProblem, match=r"incomplete: 3 of 9 claims .*--force"):
            refuse_to_replace(PART, *named)


def test_a_part_never_replaces_a_larger_one_wherever_that_lies(partial, whole, tmp_path):
    fewer, report, card = Part(judged=2, of=9), tmp_path / "report", tmp_path / "card.md"
    write_report(partial, report)
    write_model_cards(partial, card)
    for named in ((report, []), (None, [card])):
        with pytest.raises(UsageProblem, match=r"incomplete: 2 of 9 .* of more of them \(3\).*--force"):
            refuse_to_replace(fewer, *named)
    assert report_place(fewer, report) == tmp_path / "report.incomplete"
    assert card_place(fewer, card) == tmp_path / "card.incomplete.md"
    # What lies beside from an earlier run may be the larger, too.
    write_report(partial, tmp_path / "report.incomplete")
    write_model_cards(partial, tmp_path / "card.incomplete.md")
    assert report_place(fewer, report) == tmp_path / "report.incomplete-2"
    assert card_place(fewer, card) == tmp_path / "card.incomplete-2.md"
    assert report_place(Part(judged=4, of=9), report) == report


def test_what_does_not_say_that_it_is_a_part_is_taken_for_whole(whole, tmp_path):
    folder = write_report(whole, tmp_path / "old").parent
    (folder / "results.json").write_text("damaged")
    assert judged_in_report(folder) == WHOLE
    (tmp_path / "README.md").write_text("a card of somebody's\n- incomplete-run\n")
    assert judged_in_card(tmp_path / "README.md") == WHOLE
    assert judged_in_card(tmp_path) == 0


def test_a_gate_over_a_part_compares_the_part_and_says_so(whole, partial, tmp_path):
    before = write_report(whole, tmp_path / "before").parent
    outcome = compare_with_baseline(partial, before)
    assert outcome.passed
    assert outcome.lost == []
    text = "\n".join(outcome.lines())
    assert "release gate passed on part of the claims" in text
    assert "this run is incomplete: 3 of 9 claims" in text
    assert "that the baseline judged are not compared" in text
    # A claim that is gone from a whole run is lost, whatever was asked for.
    assert compare_with_baseline(replace(partial, part=None), before).lost
    after = write_report(partial, tmp_path / "after").parent
    assert "the baseline is incomplete" in "\n".join(compare_with_baseline(whole, after).lines())
