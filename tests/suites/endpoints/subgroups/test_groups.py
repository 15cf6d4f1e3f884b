"""Which groups are compared, which are not shown, and what is said of those."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from calibration.error import debiased_l2
from suites.harness import statistics
from suites.harness.claims import Verdict
from suites.harness.claims_table import load_claims
from suites.harness.endpoints.subgroups.comparing import p_above
from suites.harness.endpoints.subgroups.groups import groups_of, one_mix, recorded
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.answers import Answers
from suites.harness.statistics import Sampled
from tests.controls.group_pairs import NORMAL, judged, missing
from tests.controls.group_pairs import recorded as with_columns
from tests.controls.planted import RIGHT, planted

CLAIMS = {claim.id: claim for claim in load_claims() if claim.id.startswith("subgroup.")}
UNDERDIAGNOSIS = CLAIMS["subgroup.underdiagnosis"]


def everyone(answers: Answers) -> np.ndarray:
    return np.ones(len(answers.cohort), dtype=bool)


def names(answers: Answers) -> list[str]:
    return [group.name for group in groups_of(answers, everyone(answers)).shown]


def test_groups_spelt_five_ways_are_one_and_unrecorded_films_are_in_none():
    spellings = np.array(["M", "male", "1", "Mann", "männlich", "F", "female", "2", "frau", ""])
    answers = with_columns(planted({}, films=240), sex=spellings[np.arange(240) % 10])
    groups = groups_of(answers, everyone(answers))
    assert {group.name: int(group.inside.sum()) for group in groups.shown} == {"sex female": 96, "sex male": 120}
    for group in groups.shown:
        assert not (group.inside & group.outside).any()
        assert (group.inside | group.outside).sum() == 216


def test_views_and_scanners_differ_by_more_than_case_and_every_lateral_view_is_one():
    answers = with_columns(
        planted({}, films=240), view=np.array(["PA", "pa", "LL", "Lateral"])[np.arange(240) % 4],
        scanner=np.array(["GE", "ge", "GE", "Philips"])[np.arange(240) // 60],
    )  # fmt: skip
    found = recorded(answers.cohort.table)
    assert set(found["view"]) == {"PA", "LL"}
    assert set(found["scanner"]) == {"GE", "Philips"}


def test_ages_are_compared_by_band_and_impossible_ones_by_none():
    ages = np.array(["058Y", "58.0", "-1", "999", "70"])[np.arange(240) % 5]
    assert names(with_columns(planted({}, films=240), age=ages)) == ["age 18-64", "age 65 and over"]


def test_pairs_are_compared_and_one_that_is_a_group_once_more_is_not():
    number = np.arange(240)
    sex, view = np.where(number % 2, "F", "M"), np.where(number % 4 < 2, "PA", "AP")
    answers = with_columns(planted({}, films=240), sex=sex, view=view)
    assert names(answers)[4:] == [f"view {v}, sex {s}" for v in ("AP", "PA") for s in ("female", "male")]
    assert len(names(with_columns(answers, view=np.where(sex == "F", "PA", "AP")))) == 2


def test_groups_of_fewer_than_ten_patients_are_counted_and_not_shown():
    sex = np.where(np.arange(240) < 9, "O", np.where(np.arange(240) % 2, "F", "M"))
    groups = groups_of(with_columns(planted({}, films=240), sex=sex), np.ones(240, dtype=bool))
    assert [group.name for group in groups.shown] == ["sex female", "sex male"]
    assert "other" not in groups.sentence
    assert groups.sentence.startswith("Not shown: 1 group of fewer than 10 patients (9 films)")


def test_where_nothing_is_recorded_one_line_says_so(tmp_path):
    answers = planted({"scatter@3": [RIGHT] * 240}, films=240)
    for claim in CLAIMS.values():
        found = judged(claim, answers, tmp_path)
        assert found.verdict is Verdict.NOT_EVALUABLE
        assert len(found.reason) < 300
        assert "\n" not in found.reason
        assert "recorded" in found.reason


def test_one_kind_of_everything_tells_no_groups_apart():
    with pytest.raises(NotEvaluable, match=r"no age, sex, scanner or site is recorded, and all films are of one view$"):
        groups_of(with_columns(planted({}, films=240), view="AP"), np.ones(240, dtype=bool))


def test_a_group_in_one_class_only_is_not_evaluable_and_said(tmp_path):
    truth, number = np.arange(240) % 3, np.arange(240)
    sex = np.where((truth == NORMAL) & (number % 2 == 0), "O", np.where(number % 4 < 2, "F", "M"))
    found = judged(UNDERDIAGNOSIS, with_columns(planted({}, films=240), sex=sex), tmp_path)
    assert "Not evaluable: sex other (no ill patients)" in found.result.summary
    table = found.result.tables["Every group against all others"]
    assert table.iloc[-1]["group"] == "sex other"
    assert table.iloc[-1]["ill called healthy"] == "not evaluable: no ill patients"
    only = judged(
        CLAIMS["subgroup.auroc"], with_columns(planted({}, films=240), sex=np.where(truth == 1, "M", "F")), tmp_path
    )
    assert only.verdict is Verdict.NOT_EVALUABLE
    assert only.reason == "no group can be compared: sex female has no healthy patients, 2 groups in all"


def test_no_difference_shown_is_never_told_as_fairness(tmp_path):
    few = judged(UNDERDIAGNOSIS, missing((0.1, 0.1), films=150), tmp_path)
    assert few.verdict is Verdict.INCONCLUSIVE
    assert "no difference is shown, which does not mean that there is none" in few.result.finding
    many = judged(UNDERDIAGNOSIS, missing((0.1, 0.1)), tmp_path)
    assert many.verdict is Verdict.MET
    assert "gaps above 10.0 points are excluded for every group compared" in many.result.finding
    for found in (few, many):
        told = f"{found.reason} {found.result.summary}".lower()
        assert "Four of five such cohorts would show a gap of".lower() in told
        assert "nothing is said of groups that nobody recorded" in told
        assert not any(word in told for word in ("fair", "equal", "no gap", "unbiased"))


def test_the_smallest_gap_that_would_show_shrinks_with_the_films(tmp_path):
    def detectable(films: int) -> float:
        result = judged(UNDERDIAGNOSIS, missing((0.1, 0.1), films=films), tmp_path).result
        return float(result.tables["Every group against all others"]["gap these films would show"][0].split()[0])

    small, large = detectable(300), detectable(1200)
    assert 1.6 < small / large < 2.6


def test_a_gap_that_is_none_but_of_mix_vanishes_with_both_sides_of_one_mix(tmp_path):
    """Women are filmed lying, and lying films are missed more, whoever is on them."""
    films = 1800
    generator = np.random.default_rng(5)
    women, lot = generator.random(films) < 0.5, generator.random(films)
    lying = generator.random(films) < np.where(women, 0.8, 0.2)
    truth = np.arange(films) % 3
    calls = np.where((truth != NORMAL) & (lot < np.where(lying, 0.4, 0.05)), NORMAL, RIGHT)
    answers = with_columns(
        planted({"clean": calls}, films=films), sex=np.where(women, "F", "M"), view=np.where(lying, "AP", "PA")
    )
    measures = {(one.name, one.condition): one for one in judged(UNDERDIAGNOSIS, answers, tmp_path).result.measures}
    raw = measures["underdiagnosis_gap", "clean, sex female"]
    even = measures["underdiagnosis_gap_standardised", "clean, sex female"]
    assert raw.low > 0.1
    assert even.low < 0 < even.high


def test_one_mix_weighs_both_sides_to_the_mix_of_both_and_leaves_out_what_one_side_lacks():
    kinds = np.array([0, 0, 0, 1, 0, 1, 1, 2])
    inside = np.arange(8) < 4
    weights, covered = one_mix(kinds, inside, ~inside)
    np.testing.assert_allclose(weights, [4 / 3] * 3 + [3] + [4, 1.5, 1.5, 0])
    assert covered == 7 / 8
    for side in (inside, ~inside):
        np.testing.assert_allclose(np.bincount(kinds[side], weights[side], minlength=3), [4, 3, 0])


def test_p_goes_on_below_one_over_the_number_of_resamples():
    """Times the number of groups it would settle nothing otherwise."""
    drawn = np.random.default_rng(0).normal(0.5, 0.05, 2000)
    sampled = Sampled(0.5, drawn, 400, (-1.0, 1.0))
    assert sampled.p_above(0.1) == pytest.approx(1 / 2001)
    assert p_above(sampled, 0.1) < p_above(sampled, 0.25) < p_above(sampled, 0.28) < 1 / 2001
    assert p_above(sampled, 0.45) == sampled.p_above(0.45)


def test_the_numbers_are_those_of_pandas_and_scikit_learn(tmp_path):
    """From the columns of a prediction table and a table of films alone."""
    answers = missing((0.1, 0.33), films=600, age=np.random.default_rng(3).uniform(10, 90, 600))
    frame = answers.predictions.table.rename(columns={"image": "id"}).merge(answers.cohort.table, on="id")
    logits = frame[["logit_0", "logit_1", "logit_2"]].to_numpy()
    healthy = np.exp(logits[:, 1]) / np.exp(logits).sum(axis=1)
    frame = frame.assign(ill=frame.label != "normal", risk=1 - healthy, sex=frame.sex.str[0].str.upper())
    women = frame.sex.isin(["F", "2"])
    missed = (frame.risk < 0.5)[frame.ill].groupby(women[frame.ill]).mean()
    found = {
        one.condition: one
        for one in judged(UNDERDIAGNOSIS, answers, tmp_path).result.measures
        if "stand" not in one.name
    }
    assert found["clean, sex female"].estimate == pytest.approx(missed[True] - missed[False])
    old = frame.age >= 65
    missed = (frame.risk < 0.5)[frame.ill].groupby(old[frame.ill]).mean()
    assert found["clean, age 65 and over"].estimate == pytest.approx(missed[True] - missed[False])
    area = [roc_auc_score(frame.ill[part], frame.risk[part]) for part in (women, ~women)]
    found = {
        one.condition: one
        for one in judged(CLAIMS["subgroup.auroc"], answers, tmp_path).result.measures
        if "stand" not in one.name
    }
    assert found["clean, sex female"].estimate == pytest.approx(area[1] - area[0])


def test_the_debiased_error_of_a_calibrated_group_does_not_grow_as_it_shrinks():
    """What a plug-in error does, so that small groups would seem worse off."""
    generator = np.random.default_rng(0)

    def errors(films: int) -> float:
        found = []
        for _ in range(300):
            p = generator.uniform(0.5, 1.0, films)
            labels = (generator.random(films) > p).astype(int)
            found.append(debiased_l2(np.stack([p, 1 - p], axis=1), labels, bins=5))
        return float(np.mean(found))

    assert abs(errors(40)) < 0.002
    assert abs(errors(200)) < 0.001


def test_every_group_is_corrected_for_how_many_there_are(tmp_path):
    """Twenty scanners that differ in nothing: the smallest p of many is no finding."""
    films = 600
    lot = np.random.default_rng(9)
    truth = np.arange(films) % 3
    calls = np.where((truth != NORMAL) & (lot.random(films) < 0.2), NORMAL, RIGHT)
    answers = with_columns(
        planted({"clean": calls}, films=films), scanner=[f"S{k}" for k in lot.integers(0, 20, films)]
    )
    found = judged(replace(UNDERDIAGNOSIS, margin=0.0), answers, tmp_path)
    assert found.verdict is not Verdict.VIOLATED
    assert found.result.effect.estimate > 0.08
    assert statistics.holm([0.01] * 5)[0] == pytest.approx(0.05)
