"""Verdicts: every branch of the rules, and that each can be reached only by the evidence it names."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites.harness.claims import Claim, Headroom, Measure, Result, Verdict
from suites.harness.terminal_summary import size
from suites.harness.verdicts import judge_section, needed


def claim_of(**changes) -> Claim:
    return Claim(
        **(
            {
                "id": "suite.name",
                "section": "S",
                "statement": "s",
                "kind": "limitation",
                "endpoint": "score",
                "margin": 0.05,
            }
            | changes
        )
    )


def result_of(low, estimate, high, p_beyond=None, p_within=None, n=200) -> Result:
    effect = Measure(
        name="accuracy_harm",
        condition="c",
        unit="points",
        estimate=estimate,
        low=low,
        high=high,
        n=n,
        patients=n,
        estimator="e",
    )
    return Result(effect=effect, p_beyond=p_beyond, p_within=p_within)


def verdict_of(claim, result) -> Verdict:
    return judge_section([claim], "subject", {claim.id: result})[0].verdict


@pytest.mark.parametrize(
    ("kind", "direction", "interval", "expected"),
    [
        ("limitation", "above", (0.06, 0.10, 0.14), Verdict.SUPPORTED),
        ("limitation", "above", (0.00, 0.02, 0.04), Verdict.NOT_SUPPORTED),
        ("limitation", "above", (0.04, 0.10, 0.14), Verdict.INCONCLUSIVE),
        ("limitation", "below", (0.00, 0.02, 0.04), Verdict.SUPPORTED),
        ("limitation", "below", (0.06, 0.10, 0.14), Verdict.NOT_SUPPORTED),
        ("requirement", "above", (0.06, 0.10, 0.14), Verdict.MET),
        ("requirement", "above", (0.00, 0.02, 0.04), Verdict.VIOLATED),
        ("requirement", "below", (0.00, 0.02, 0.04), Verdict.MET),
        ("requirement", "below", (0.06, 0.10, 0.14), Verdict.VIOLATED),
        ("requirement", "above", (0.05, 0.10, 0.14), Verdict.INCONCLUSIVE),
    ],
)
def test_the_interval_against_the_margin(kind, direction, interval, expected):
    assert verdict_of(claim_of(kind=kind, direction=direction), result_of(*interval)) is expected


def test_holm_over_the_section_takes_back_what_one_test_alone_would_claim():
    alone = result_of(0.06, 0.10, 0.14, p_beyond=0.02, p_within=0.99)
    assert verdict_of(claim_of(), alone) is Verdict.SUPPORTED
    claims = [claim_of(id=f"suite.{index}") for index in range(3)]
    judged = judge_section(claims, "subject", {claim.id: alone for claim in claims})
    assert {judgement.verdict for judgement in judged} == {Verdict.INCONCLUSIVE}
    told = (
        "above the margin 5.0 pp: alone it would be 'limitation confirmed', but not after Holm's correction over the 3 "
    )
    assert told in judged[0].reason
    assert judged[0].because == "not after Holm's correction over the 3 claims of this section"


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({}, ""),
        ({"unproven": "the map is not to be trusted"}, "the map is not to be trusted"),
        ({"only_within": "the search was too short"}, "the search was too short"),
        ({"p_beyond": 0.2}, "its test does not settle it (one-sided p = 0.200, level 0.025)"),
    ],
)
def test_why_a_verdict_does_not_follow_from_its_interval_is_said_in_a_few_words(changes, because):
    found = replace(result_of(0.06, 0.10, 0.14, p_beyond=0.001, p_within=0.99), **changes)
    (judged,) = judge_section([claim_of()], "subject", {"suite.name": found})
    assert (judged.verdict is Verdict.SUPPORTED) == (because == "")
    assert judged.because == because
    told = size(judged)
    assert told.partition("; ")[2] == because
    assert told.startswith("+10.0 pp (+6.0 to +14.0), margin 5.0 pp")


@pytest.mark.parametrize("p_within", [0.0, 1.0])
def test_a_search_that_may_have_missed_speaks_for_a_weakness_only(p_within):
    barred = {"only_beyond": "nothing can be concluded from a search"}
    weak = replace(result_of(0.06, 0.10, 0.14, p_beyond=0.0, p_within=1.0), **barred)
    assert verdict_of(claim_of(), weak) is Verdict.SUPPORTED
    strong = replace(result_of(0.00, 0.02, 0.04, p_beyond=1.0, p_within=p_within), **barred)
    judged = judge_section([claim_of()], "s", {"suite.name": strong})[0]
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert judged.reason.endswith("clears the margin 5.0 pp, but nothing can be concluded from a search")
    between = replace(result_of(0.02, 0.05, 0.08, p_beyond=0.5, p_within=0.5), **barred)
    assert "spans the margin" in judge_section([claim_of()], "s", {"suite.name": between})[0].reason


def test_beyond_the_documented_size_is_marked():
    judged = judge_section([claim_of(documented=0.2)], "s", {"suite.name": result_of(0.25, 0.3, 0.35)})[0]
    assert judged.beyond_documented
    within = judge_section([claim_of(documented=0.2)], "s", {"suite.name": result_of(0.15, 0.3, 0.35)})[0]
    assert not within.beyond_documented


def test_reasons_and_nan_are_not_evaluable():
    assert judge_section([claim_of()], "s", {"suite.name": "no lateral films"})[0].reason == "no lateral films"
    assert verdict_of(claim_of(), result_of(math.nan, math.nan, math.nan)) is Verdict.NOT_EVALUABLE


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_verdict_never_contradicts_its_interval(estimate, below, above):
    claim, result = claim_of(margin=0.1), result_of(estimate - below, estimate, estimate + above)
    verdict = verdict_of(claim, result)
    if verdict is Verdict.SUPPORTED:
        assert estimate - below > 0.1
    elif verdict is Verdict.NOT_SUPPORTED:
        assert estimate + above < 0.1
    else:
        assert estimate - below <= 0.1 <= estimate + above


def test_needed_films_settle_an_effect_of_this_size():
    """Four times the films halve the interval, so an effect half an interval away needs about eight times as many."""
    effect = result_of(0.0, 0.10, 0.20, n=100).effect
    assert needed(effect, 0.05) == pytest.approx(100 * ((1.96 + 0.8416) / 1.96 * 0.1 / 0.05) ** 2, rel=0.01)
    assert needed(effect, 0.10) is None


def test_the_end_that_faces_the_margin_says_how_many_films_are_needed():
    """98.9 % (85.6 to 100) against 90 %: half the whole width would promise that 490 films settle it."""
    effect = result_of(0.856, 0.989, 1.0, n=360).effect
    assert needed(effect, 0.90) == pytest.approx(1650, rel=0.01)
    assert needed(effect, 0.999) == pytest.approx(360 * (1.4294 * 0.011 / 0.010) ** 2, rel=0.01)
    assert needed(effect, 0.90, 7) > 1.3 * needed(effect, 0.90)


def test_films_needed_are_counted_in_two_digits_and_named():
    result = replace(result_of(0.04, 0.0538, 0.085, p_beyond=0.4, p_within=0.6), films="viral pneumonia films")
    (judged,) = judge_section([claim_of()], "s", {"suite.name": result})
    wanted = needed(result.effect, 0.05)
    assert str(wanted) not in judged.reason
    assert f"n = 200 viral pneumonia films; about {math.ceil(wanted / 100) * 100:,} viral pneumonia" in judged.reason
    assert "Holm" not in judged.reason, "there is one claim"


@pytest.mark.parametrize(
    ("kind", "low", "high", "word"),
    [("requirement", 0.0563, 0.165, "requirement violated"), ("limitation", -0.0435, 0.0435, "limitation not found")],
)
def test_what_holm_takes_back_names_its_side_and_the_films_it_would_take(kind, low, high, word):
    direction = "below" if kind == "requirement" else "above"
    claims = [claim_of(id=f"suite.{index}", kind=kind, direction=direction) for index in range(7)]
    result = result_of(low, (low + high) / 2, high, p_beyond=0.99, p_within=0.02)
    reason = judge_section(claims, "s", {claim.id: result for claim in claims})[0].reason
    assert f"alone it would be '{word}', but not after Holm's correction over the 7 claims" in reason
    assert "; about " in reason
    assert reason.endswith("at its strictest step")
    assert "clears" not in reason


def test_a_test_that_disagrees_with_its_interval_is_not_blamed_on_holm():
    (judged,) = judge_section([claim_of()], "s", {"suite.name": result_of(0.051, 0.1, 0.2, p_beyond=0.03)})
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "Holm" not in judged.reason
    assert "one-sided p = 0.030" in judged.reason


@pytest.mark.parametrize("interval", [(0.06, 0.10, 0.14), (0.0, 0.02, 0.04)])
def test_what_is_unproven_speaks_for_neither_side(interval):
    result = replace(result_of(*interval, p_beyond=1.0, p_within=1.0), unproven="the sanity check is undecided")
    (judged,) = judge_section([claim_of()], "s", {"suite.name": result})
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert judged.reason.endswith("clears the margin 5.0 pp, but the sanity check is undecided")


def test_a_reason_has_the_units_of_the_tables_and_the_cell_that_makes_it_exploratory():
    effect = replace(result_of(-6.47e-7, 0.0168, 0.0347, n=120).effect, exploratory=True, smallest=19)
    reason = judge_section([claim_of()], "s", {"suite.name": Result(effect=effect)})[0].reason
    assert reason.startswith("accuracy harm +1.7 pp (0.0 to +3.5) lies below the margin 5.0 pp")
    assert reason.endswith("; exploratory: of the rarest kind there are 19 films")
    for one, told in ((replace(effect, smallest=1), "of the rarest kind there is 1 film"),
                      (replace(effect, smallest=0, n=1), "of films there is 1")):  # fmt: skip
        reason = judge_section([claim_of()], "s", {"suite.name": Result(effect=one)})[0].reason
        assert reason.endswith(f"; exploratory: {told}")
    few = replace(effect, smallest=0, n=33, low=-0.02)
    reason = judge_section([claim_of()], "s", {"suite.name": Result(effect=few, films="normal films")})[0].reason
    assert "(\N{MINUS SIGN}2.0 to" in reason
    assert reason.endswith("; exploratory: there are 33 normal films")


def room_of(low, high, bar=0.05, **how) -> Headroom:
    measure = Measure(
        name="balanced_accuracy_above_chance", condition="clean", unit="points", estimate=(low + high) / 2, low=low,
        high=high, n=200, patients=200, estimator="e",
    )  # fmt: skip
    return Headroom(measure=measure, bar=bar, **how)


@pytest.mark.parametrize(
    ("kind", "direction", "interval", "expected"),
    [
        ("limitation", "above", (0.00, 0.02, 0.04), Verdict.NOT_EVALUABLE),
        ("limitation", "above", (0.04, 0.10, 0.14), Verdict.NOT_EVALUABLE),
        ("limitation", "above", (0.06, 0.10, 0.14), Verdict.SUPPORTED),
        ("limitation", "below", (0.06, 0.10, 0.14), Verdict.NOT_EVALUABLE),
        ("limitation", "below", (0.00, 0.02, 0.04), Verdict.SUPPORTED),
        ("requirement", "above", (0.06, 0.10, 0.14), Verdict.NOT_EVALUABLE),
        ("requirement", "above", (0.00, 0.02, 0.04), Verdict.VIOLATED),
        ("requirement", "below", (0.00, 0.02, 0.04), Verdict.NOT_EVALUABLE),
        ("requirement", "below", (0.06, 0.10, 0.14), Verdict.VIOLATED),
    ],
)
def test_without_anything_to_lose_only_harm_is_judged(kind, direction, interval, expected):
    result = replace(result_of(*interval), headroom=[room_of(0.01, 0.2)])
    assert verdict_of(claim_of(kind=kind, direction=direction), result) is expected


def test_headroom_that_is_surely_enough_bars_nothing_and_every_one_of_several_must_be():
    within, enough = result_of(0.00, 0.02, 0.04), room_of(0.06, 0.2)
    assert verdict_of(claim_of(), replace(within, headroom=[enough])) is Verdict.NOT_SUPPORTED
    low = room_of(0.7, 0.8, bar=0.85, side="below")
    assert verdict_of(claim_of(), replace(within, headroom=[enough, low])) is Verdict.NOT_SUPPORTED
    short = room_of(0.7, 0.86, bar=0.85, side="below")
    (judged,) = judge_section([claim_of()], "s", {"suite.name": replace(within, headroom=[enough, short])})
    assert judged.verdict is Verdict.NOT_EVALUABLE
    assert judged.result is not None, "its numbers are still shown"
    assert judged.reason == (
        "it has nothing to lose: balanced accuracy above chance +78.0 pp (+70.0 to +86.0) is not surely below 85.0 pp. "
        "Accuracy harm +2.0 pp (0.0 to +4.0) speaks neither for nor against it"
    )
    assert "nothing to lose: balanced accuracy above chance +78.0 pp (+70.0 to +86.0) is not surely" in size(judged)


def test_a_headroom_that_no_film_tells_is_not_enough():
    result = replace(result_of(0.00, 0.02, 0.04), headroom=[room_of(math.nan, math.nan)])
    assert verdict_of(claim_of(), result) is Verdict.NOT_EVALUABLE


def test_an_alarm_can_need_something_to_lose_too():
    """A robust accuracy below the margin, of a subject whose clean one is no better than chance."""
    low = replace(result_of(0.00, 0.02, 0.04), headroom=[room_of(-0.1, 0.1, alarms=True)])
    assert verdict_of(claim_of(direction="below"), low) is Verdict.NOT_EVALUABLE


@pytest.mark.parametrize(("direction", "expected"), [("below", Verdict.INCONCLUSIVE), ("above", Verdict.NOT_SUPPORTED)])
def test_what_speaks_against_one_side_only_leaves_the_other(direction, expected):
    told = "what is low was low before"
    result = replace(result_of(0.00, 0.02, 0.04), only_within=told)
    (judged,) = judge_section([claim_of(direction=direction)], "s", {"suite.name": result})
    assert judged.verdict is expected
    assert judged.reason.endswith(told) == (expected is Verdict.INCONCLUSIVE)
