"""Sentences and counts of endpoints: true of the very films they speak of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suites.harness.claims import load_claims
from suites.harness.endpoints import find
from suites.harness.endpoints.cells import below_one, percent, points
from suites.harness.endpoints.two_cohorts import smallest_kind
from tests.controls.simulated import simulated_answers, simulated_evidence

CLAIMS = {claim.id: claim for claim in load_claims()}


def with_table(answers, **columns):
    """The same answers on films of which other things are known."""
    return replace(answers, cohort=replace(answers.cohort, table=answers.cohort.table.assign(**columns)))


def result_of(name, main, folder, **probes):
    claim = CLAIMS[name]
    return find(claim.endpoint)[0](simulated_evidence(main, folder, probes=probes), claim)


@pytest.fixture(scope="module")
def main():
    return simulated_answers({"clean": 3.0}, films=300)


@pytest.fixture(scope="module")
def strange():
    """120 films of 60 patients, sure of themselves and often right."""
    return simulated_answers({"clean": 6.0}, name="strange", films=120)


def test_films_with_a_class_may_be_called_right(main, strange, tmp_path):
    right = strange.correct().mean()
    told = result_of("probes.adult", main, tmp_path, adult=strange).summary
    assert "no answer can be right" not in told
    assert f"but only {percent(right)} of them are called right" in told
    assert "of 120 frontal films of adults are called" in told
    half = np.where(np.arange(120) < 40, strange.cohort.table["label"], "")
    told = result_of("probes.adult", main, tmp_path, adult=with_table(strange, label=half)).summary
    assert f"{percent(strange.correct()[:40].mean())} of the 40 that have a class are called right" in told


def test_of_films_without_a_class_no_answer_can_be_right(main, strange, tmp_path):
    told = result_of("probes.unseen", main, tmp_path, unseen=with_table(strange, label="")).summary
    assert "though no answer can be right" in told
    assert "called right" not in told


def test_a_comparison_of_two_cohorts_rests_on_both(main, strange, tmp_path):
    for name in ("probes.adult", "doubt.adult"):
        result = result_of(name, main, tmp_path, adult=strange)
        measures = [m for m in (result.effect, *result.measures) if m.name == "auroc"]
        assert measures
        assert {(m.n, m.patients) for m in measures} == {(420, 210)}


def test_the_rarest_unseen_finding_decides_whether_it_is_exploratory(main, strange, tmp_path):
    kinds = np.repeat(["mass", "effusion", "pneumothorax"], [38, 41, 41])
    unseen = with_table(strange, label="", finding=kinds)
    assert smallest_kind(unseen) == 38
    assert smallest_kind(strange) == 120
    for name in ("probes.unseen", "doubt.unseen"):
        effect = result_of(name, main, tmp_path, unseen=unseen).effect
        assert (effect.exploratory, effect.smallest) == (True, 38)
    plenty = with_table(strange, label="", finding=np.repeat(["mass", "effusion"], 60))
    assert not result_of("probes.unseen", main, tmp_path, unseen=plenty).effect.exploratory


def test_the_best_of_several_scores_is_said_to_be_chosen_and_not_called_perfect(main, strange, tmp_path):
    told = result_of("doubt.adult", main, tmp_path, adult=strange).summary
    assert "(chosen after looking)" in told
    assert "below chance (0.5)" in told, "it is surer of strange films"


def test_sensitivity_and_specificity_rest_on_their_own_patients(main, tmp_path):
    result = result_of("abstention.sensitivity", main, tmp_path)
    ill = main.labels != main.class_index("normal")
    found = {measure.name: measure for measure in (result.effect, *result.measures)}
    for name, films in {"sensitivity": ill, "specificity": ~ill}.items():
        assert (found[name].n, found[name].patients) == (films.sum(), len(set(main.patients[films])))
    right = (main.called() != main.class_index("normal"))[ill].mean()
    assert found["sensitivity"].estimate == pytest.approx(right)


def test_gaps_between_classes_rest_on_the_patients_of_both(main, tmp_path):
    two = np.isin(main.labels, [main.class_index("normal"), main.class_index("viral_pneumonia")])
    gap = result_of("classes.recall_gap", main, tmp_path).effect
    asymmetry = result_of("classes.normal_called_viral", main, tmp_path).measures[1]
    assert asymmetry.name == "confusion_asymmetry"
    for measure in (gap, asymmetry):
        assert (measure.n, measure.patients) == (two.sum(), len(set(main.patients[two])))


def test_nobody_knows_the_patients_of_a_published_table():
    for claim in CLAIMS.values():
        if claim.id.startswith("published."):
            result = find(claim.endpoint)[0](None, claim)
            assert {measure.patients for measure in (result.effect, *result.measures)} == {None}


def test_all_answers_are_not_called_these_calls(tmp_path):
    claim = CLAIMS["whiteout.bacterial"]
    causes = dict.fromkeys(claim.parameters["conditions"], 2.0)
    main = simulated_answers({"clean": 1.0, **causes, "sham_opacity@4": 1.0, "diffuse_dose_matched@4": 1.0})
    told = result_of("whiteout.bacterial", main, tmp_path).summary
    assert "of these calls" not in told
    normal = main.labels == main.class_index("normal")
    sure = np.mean([(main.probabilities(cause).max(axis=1) > 0.9)[normal].mean() for cause in causes])
    assert f"{percent(sure)} of all answers are above 90 % confidence" in told


def test_numbers_are_not_rounded_to_perfect_and_carry_no_dust():
    assert [below_one(x) for x in (1.0, 0.999, 0.9951, 0.25)] == ["1.00", "0.999", "0.995", "0.25"]
    assert [percent(x) for x in (0.0, 1.0, 0.996, 0.002, 0.98)] == ["0 %", "100 %", "99.6 %", "0.2 %", "98 %"]
    assert [points(x) for x in (-4e-9, 0.0, 0.416, -0.0087)] == ["0.0", "0.0", "+41.6", "\N{MINUS SIGN}0.9"]
