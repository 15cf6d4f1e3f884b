"""Numbers in their units, names that are safe, rules in words."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suites.harness.claims import Claim, Judgement, Measure, Result, Verdict
from suites.harness.formatting import wording
from suites.harness.formatting.cells import cell, percent, whole_percent
from suites.harness.report.bars import WIDTH, bars
from suites.harness.statistics import Interval


def measure(
    name: str, estimate: float, low: float, high: float, condition: str = "clean", unit: str = "share"
) -> Measure:
    return Measure(
        name=name,
        condition=condition,
        unit=unit,
        estimate=estimate,
        low=low,
        high=high,
        n=624,
        patients=428,
        estimator="e",
    )


def claim(**more) -> Claim:
    facts = {"id": "a.b", "section": "A", "statement": "S", "kind": "limitation", "endpoint": "e", "margin": 0.05}
    return Claim(**(facts | more))


def test_halves_are_rounded_away_from_zero_by_the_decimals_they_are_written_with():
    told = [wording.rounded(value, times=100) for value in (0.125, 0.135, 0.145, -0.125, -0.004, 0.5)]
    assert told == ["13", "14", "15", "-13", "0", "50"]
    assert whole_percent(0.125) == "13 %"


def test_a_perturbation_is_called_by_its_display_name_wherever_it_is_spoken_of():
    assert wording.spoken("under gamma_low@3 | clahe.") == "under brightened mid-greys (gamma), severity 3, then CLAHE."
    assert wording.condition_words("whiteout_lobar@4 - clean") == "lobar white-out, severity 4 − clean"
    assert wording.stress("scatter") == "scatter"
    assert wording.stress("medmnistc_gaussian_noise") == "MedMNIST-C Gaussian noise"
    assert wording.stress("none_of_that_name") == "none of that name"


@pytest.mark.parametrize(
    ("value", "how", "text"),
    [
        (0.8243, "share", "82.4 %"),
        (-0.0731, "points", "−7.3 pp"),
        (0.0731, "points", "+7.3 pp"),
        (0.0221, "width", "2.2 pp"),
        (0.0, "points", "0.0 pp"),
        (-6.47e-7, "points", "0.0 pp"),
        (-0.0001, "share", "0.0 %"),
        (-1e-17, "plain", "0.000"),
        (0.04821, "plain", "0.048"),
        (12345.0, "plain", "12,345"),
        (math.nan, "share", "—"),
        (math.inf, "plain", "—"),
        (12.0, "count", "12"),
        (0.0625, "share", "6.3 %"),
        (-0.0625, "points", "−6.3 pp"),
        (2.5, "count", "3"),
        (1e300, "count", f"{1e300:,.0f}"),
        (12345.0, "count", "12,345"),
        (1.5, "levels", "1.500 levels"),
        (-0.0213, "nats", "−0.021 nats"),
        (math.nan, "nats", "—"),
        (0.9996, "share", ">99.9 %"),
        (0.0002, "share", "<0.1 %"),
        (1 - 1e-12, "share", "100.0 %"),
        (0.9951, "plain", "0.995"),
        (0.99962, "plain", ">0.999"),
    ],
)
def test_numbers_are_printed_with_their_units(value: float, how: str, text: str):
    assert wording.number(value, how) == text


def test_a_number_with_its_interval_is_written_one_way_in_sentences_and_tables():
    assert wording.spanned(0.824, 0.791, 0.85, "share") == "82.4 % (79.1 to 85.0)"
    assert wording.spanned(-0.0731, -0.1, 0.004, "points") == "−7.3 pp (−10.0 to +0.4)"
    assert wording.spanned(1.4193, 1.1806, 1.714) == cell(Interval(1.4193, 1.1806, 1.714)) == "1.419 (1.181 to 1.714)"
    assert wording.spanned(0.5, math.nan, math.nan, "share") == "50.0 %"
    assert cell(None) == "—"
    assert wording.with_name(measure("flip_rate", 0.171, 0.156, 0.19)) == "flip rate 17.1 % (15.6 to 19.0)"
    assert percent(0.824) == wording.number(0.824, "share")


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.95, "95 %"), (0.5, "50 %"), (1.0, "100 %"), (0.994, "99.4 %"), (0.9996, ">99.9 %"), (0.0, "0 %"),
     (0.004, "0.4 %"), (0.0004, "<0.1 %")],
)  # fmt: skip
def test_a_setting_and_how_sure_one_film_was_called_are_whole_percents(share: float, text: str):
    assert whole_percent(share) == text


@pytest.mark.parametrize(
    ("p", "told", "inside"),
    [(0.0432, "0.043", "p = 0.043"), (2e-5, "<0.001", "p < 0.001"), (1.0, "1.000", "p = 1.000")],
)
def test_a_p_value_has_three_digits_wherever_it_stands(p: float, told: str, inside: str):
    assert (wording.p_value(p), wording.p_equals(p)) == (told, inside)
    assert wording.p_value(math.nan) == ""


def test_signs_of_numbers_in_a_text_are_minus_signs_and_hyphens_stay():
    text = "0.5 of the exposure (DI -3.0, +19 to -4; grey levels=-.5), max-softmax, 1-5, phantom-0-test, e-3, [-1, 2]"
    assert wording.signs(text) == (
        "0.5 of the exposure (DI −3.0, +19 to −4; grey levels=−.5), max-softmax, 1-5, phantom-0-test, e-3, [−1, 2]"
    )


def test_conditions_in_a_text_are_told_in_words_and_names_of_films_stay():
    assert wording.spoken("grid_stripes@3 is undefined for my_scan@2.png") == (
        "grid stripes, severity 3 is undefined for my_scan@2.png"
    )
    assert wording.spoken("scatter@1-5 and scatter@3 | clahe") == (
        "scatter, severities 1 to 5 and scatter, severity 3, then CLAHE"
    )
    assert wording.condition_words("scatter@3 | rewindow - scatter@3") == (
        "scatter, severity 3, then rewindow − scatter, severity 3"
    )
    assert wording.condition_words("preprocessing:hub - clean") == "the recipe hub − clean"
    assert wording.condition_words("lateral, max-softmax") == "lateral, max-softmax"
    assert wording.condition_words("notch_filter") == "notch filter"


def test_the_reason_of_a_verdict_does_not_repeat_the_size_beside_it():
    effect = measure("accuracy", 0.9, 0.8, 0.95)

    def told(reason: str) -> str:
        return wording.beyond_its_size(
            Judgement(claim=claim(margin=0.5), subject="s", verdict=Verdict.SUPPORTED, reason=reason,
                      result=Result(effect=effect))
        )  # fmt: skip

    size = "accuracy 90.0 % (80.0 to 95.0)"
    assert told(f"{size} lies above the margin 50.0 %") == ""
    assert told(f"{size} spans the margin 50.0 % at n = 624 films") == "Spans the margin 50.0 % at n = 624 films"
    assert told("it has nothing to lose under scatter@3") == "It has nothing to lose under scatter, severity 3"


def test_intervals_say_when_there_is_none():
    assert wording.interval(measure("accuracy", 0.9, 0.875, 0.925)) == "87.5 to 92.5"
    assert wording.interval(measure("accuracy", 0.9, 0.9, 0.9)) == "exact"
    assert wording.interval(measure("accuracy", 0.9, math.nan, 0.9)) == "no interval"


def test_the_rule_is_a_sentence_with_the_margin_in_its_unit():
    gap = measure("recall_gap", 0.07, 0.05, 0.09, unit="points")
    text = wording.rule(claim(documented=0.1), gap)
    assert text == "Counts as a limitation when the effect lies above 5.0 pp; documented up to 10.0 pp."
    required = wording.rule(claim(kind="requirement", margin=0.85), measure("accuracy", 0.9, 0.9, 0.9))
    assert required == "Required: the effect lies above 85.0 %."


def test_initials_are_written_as_such():
    assert wording.plain_name("macro_f1") == "macro F1"
    assert wording.plain_name("smooth_ece") == "smooth ECE"
    assert wording.plain_name("recall_viral_pneumonia") == "recall viral pneumonia"


@pytest.mark.parametrize(
    ("cell", "whole"),
    [
        ("0.412 (0.361 to 0.450)", True),
        ("+5.4 pp (−2.6 to 8.5)", True),
        ("31 % (15-46)", True),
        ("42.2 %", True),
        ("−2.0 pp", True),
        ("window_widening@3", False),
        ("roll (control)", False),
        ("a sentence that names 123 films (and more)", False),
        ("–", False),
    ],
)
def test_a_number_with_its_interval_is_kept_in_one_piece(cell: str, whole: bool):
    assert wording.in_one_piece(cell) == whole


def test_an_inconclusive_verdict_is_explained_by_each_of_its_causes():
    meaning = wording.VERDICTS[Verdict.INCONCLUSIVE].meaning
    assert "crosses the margin" in meaning
    assert "only before the correction for several claims" in meaning
    assert "a search or a saliency method" in meaning


def test_no_verdict_says_that_the_page_documents_every_limitation():
    assert not any("ocumented" in words.meaning for words in wording.VERDICTS.values())


def test_every_verdict_has_words():
    assert set(wording.VERDICTS) == set(Verdict)
    assert len({words.word for words in wording.VERDICTS.values()}) == len(Verdict)
    assert len({words.tone for words in wording.VERDICTS.values()}) == len(Verdict)


@pytest.mark.parametrize(
    ("kind", "direction", "sign"),
    [
        ("limitation", "above", 1),
        ("limitation", "below", -1),
        ("requirement", "above", -1),
        ("requirement", "below", 1),
    ],
)
def test_harm_has_a_direction(kind: str, direction: str, sign: int):
    assert wording.harm(claim(kind=kind, direction=direction)) == sign


@given(st.text(min_size=0, max_size=80))
def test_slugs_are_safe_everywhere(text: str):
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,60}", wording.slug(text))


@given(st.text(max_size=60), st.text(max_size=60))
def test_different_texts_have_different_slugs(first: str, second: str):
    assert (wording.slug(first) == wording.slug(second)) == (first == second)


def test_a_finding_without_a_summary_still_has_numbers():
    effect = measure("balanced_accuracy_harm", 0.21, 0.174, 0.246, "underexposure@3 - clean", "points")
    found = Judgement(claim=claim(), subject="s", verdict=Verdict.SUPPORTED, reason="r", result=Result(effect=effect))
    assert wording.finding(found) == (
        "Balanced accuracy harm (underexposure, severity 3 − clean): +21.0 pp, 95 % interval +17.4 to +24.6."
    )


@example(0.0, 0.0, 0.0, 1e-308, "above", None)
@given(
    st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(-1, 1), st.sampled_from(["above", "below"]),
    st.one_of(st.none(), st.floats(-1, 1)),
)  # fmt: skip
def test_bars_keep_the_order_of_the_numbers(middle, down, up, margin, direction, documented):
    effect = measure("accuracy", middle, middle - down, middle + up)
    bar = bars(claim(margin=margin, direction=direction, documented=documented), [effect])[0]
    assert 0 <= bar.low <= bar.middle <= bar.high <= WIDTH
    assert 0 <= bar.margin <= WIDTH
    if abs(middle - margin) > 0.02:
        assert (bar.middle > bar.margin) == (middle > margin)
    start, width = bar.beyond
    assert (start == 0) == (direction == "below")
    assert start + width == pytest.approx(WIDTH if direction == "above" else bar.margin)


def test_bars_of_one_claim_share_a_scale():
    first, second, missing = bars(
        claim(), [measure("accuracy", 0.1, 0.05, 0.2), measure("accuracy", 0.4, 0.3, 0.5), measure("a", math.nan, 0, 0)]
    )
    assert first.margin == second.margin
    assert first.middle < second.middle
    assert missing is None


@pytest.mark.parametrize(
    ("name", "sides", "words"),
    [
        ("recall_no mass", ("no mass", "mass"), "specificity"),
        ("recall_mass", ("no mass", "mass"), "sensitivity"),
        ("recall_no mass_harm", ("no mass", "mass"), "specificity harm"),
        ("called_mass", ("no mass", "mass"), "said to show it"),
        ("called_no mass", ("no mass", "mass"), "said not to show it"),
        ("recall_massive", ("no mass", "mass"), "recall massive"),
        ("recall_no mass", (), "recall no mass"),
        ("auroc", ("no mass", "mass"), "AUROC"),
    ],
)
def test_of_a_finding_recall_is_sensitivity_and_specificity(name, sides, words):
    assert wording.measure_words(name, sides) == words
