"""A drop that is known is found at its size, one that is none is called none, and sight is told from threshold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from suites.harness.claims import Judgement, Verdict
from suites.harness.claims_table import load_claims
from suites.harness.endpoints import get
from suites.harness.endpoints.external.hospitals import for_hospitals
from suites.harness.endpoints.external.threshold import threshold
from suites.harness.endpoints.external.two_hospitals import TwoHospitals
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.answers import Answers
from tests.controls.hospital_pairs import judged_there
from tests.controls.hospitals import answered, right_on, scored
from tests.controls.simulated import simulated_evidence

CLAIMS = {claim.id: claim for claim in load_claims() if claim.id.startswith("external.")}


def judged(name: str, home: Answers, away: Answers, folder: Path) -> Judgement:
    return judged_there(CLAIMS[name], home, away, folder)


def test_a_drop_of_fifteen_points_and_one_of_none(tmp_path):
    home = right_on(0.85, "home", each=400)
    lost = judged("external.drop", home, right_on(0.70, "there", each=400), tmp_path)
    assert lost.result.effect.estimate == pytest.approx(0.15)
    assert lost.verdict is Verdict.SUPPORTED, lost.reason
    kept = judged("external.drop", home, right_on(0.85, "twin", each=400), tmp_path)
    assert kept.result.effect.estimate == pytest.approx(0.0)
    assert kept.verdict is Verdict.NOT_SUPPORTED, kept.reason
    assert "subject's own classes" in kept.result.summary
    # Two binomials of 1,200 films with shares 0.85 and 0.70: 1.96 sqrt(.85 x .15 / 1200 + .7 x .3 / 1200).
    assert lost.result.effect.high - lost.result.effect.low == pytest.approx(2 * 0.0329, rel=0.1)


def test_patients_and_not_films_are_counted_at_both_hospitals(tmp_path):
    home, away = right_on(0.85, "home"), right_on(0.70, "there")
    crowded = right_on(0.70, "there", films_per_patient=10)
    ends = [judged("external.drop", home, one, tmp_path).result.effect for one in (away, crowded)]
    assert ends[1].high - ends[1].low > 1.3 * (ends[0].high - ends[0].low)


def test_a_moved_threshold_is_told_from_lost_sight(tmp_path):
    home = scored("home", apart=3.0)
    moved, blind = scored("moved", apart=3.0, moved=1.6), scored("blind", apart=1.0)
    sight = {
        name: {claim: judged(claim, home, away, tmp_path).verdict for claim in ("external.auroc", "external.threshold")}
        for name, away in (("moved", moved), ("blind", blind))
    }
    assert sight["moved"] == {
        "external.auroc": Verdict.NOT_SUPPORTED, "external.threshold": Verdict.SUPPORTED,
    }  # fmt: skip
    assert sight["blind"]["external.auroc"] is Verdict.SUPPORTED
    assert sight["blind"]["external.threshold"] is not Verdict.SUPPORTED
    told = [judged("external.drop", home, away, tmp_path).result.summary for away in (moved, blind)]
    assert "what moved is the threshold, not the sight" in told[0]
    assert "it tells ill films from healthy films less well" in told[1]


def test_numbers_are_those_of_scikit_learn_from_the_prediction_table_alone(tmp_path):
    """Three classes against normal and pneumonia, recomputed with pandas and scikit-learn."""
    home = right_on(0.8, "home", sure=2.0)
    generator = np.random.default_rng(3)
    away = answered(generator.normal(0, 2, (300, 3)), ["normal", "pneumonia", "pneumonia"] * 100, "there")
    found = judged("external.drop", home, away, tmp_path).result
    expected = {}
    for answers in (home, away):
        table = answers.predictions.table.merge(answers.cohort.table[["id", "truth"]], left_on="image", right_on="id")
        logits = table[["logit_0", "logit_1", "logit_2"]].to_numpy()
        truth, called = table["truth"] != "normal", logits.argmax(axis=1) != 1
        odds = np.log(np.exp(logits[:, 0]) + np.exp(logits[:, 2])) - logits[:, 1]
        where = "clean" if answers is home else "there"
        expected["balanced_accuracy", where] = balanced_accuracy_score(truth, called)
        expected["auroc", where] = roc_auc_score(truth, odds)
    shown = {(one.name, one.condition): one.estimate for one in found.measures}
    for key, value in expected.items():
        assert shown[key] == pytest.approx(value), key
    fall = expected["balanced_accuracy", "clean"] - expected["balanced_accuracy", "there"]
    assert found.effect.estimate == pytest.approx(fall)
    assert "viral pneumonia count as ill" in found.summary


def test_a_perfect_auroc_has_an_interval_that_says_how_few_patients_showed_it(tmp_path):
    home, away = scored("home", apart=3.0), scored("clear", apart=60.0, each=20)
    there = judged("external.auroc", home, away, tmp_path).result.measures[1]
    assert there.estimate == 1.0
    assert there.low == pytest.approx(0.025 ** (1 / 20), abs=0.01)


def test_the_threshold_is_that_of_the_best_balanced_accuracy():
    generator = np.random.default_rng(0)
    scores = np.round(generator.normal(size=80), 1)
    ill = generator.random(80) < 0.4
    best = max(balanced_accuracy_score(ill, scores > cut) for cut in [*np.unique(scores) - 0.05, 9])
    assert balanced_accuracy_score(ill, scores > threshold(scores, ill)) == pytest.approx(best)


def test_confidence_beyond_what_is_right_is_measured_there(tmp_path):
    home = right_on(0.95, "home", sure=3.8)
    found = judged("external.confidence", home, right_on(0.75, "there", sure=3.8), tmp_path)
    top = np.exp(3.8) / (np.exp(3.8) + 2)
    assert found.result.effect.estimate == pytest.approx(top - 0.75)
    assert found.verdict is Verdict.SUPPORTED
    assert judged("external.confidence", home, right_on(top, "twin", sure=3.8), tmp_path).verdict is (
        Verdict.NOT_SUPPORTED
    )


def test_a_hospital_may_be_called_as_a_condition_is(tmp_path):
    home, there = right_on(0.95, "home", sure=3.8), right_on(0.75, "clean", sure=3.8)
    found = judged("external.confidence", home, there, tmp_path)
    assert found.result.effect.estimate == pytest.approx(np.exp(3.8) / (np.exp(3.8) + 2) - 0.75)


def test_a_drop_that_is_all_mix_is_gone_when_weighed_alike_and_what_is_unrecorded_is_said(tmp_path):
    """PA films are called right, AP films half of the time; the hospitals differ in how many they have of each."""

    def films(name: str, share_pa: float) -> Answers:
        each = 240
        truth = np.repeat(np.arange(3), each)
        place = np.tile(np.arange(each), 3)
        pa = place < share_pa * each
        wrong = ~pa & (place % 2 == 0)
        labels = ["bacterial_pneumonia", "normal", "viral_pneumonia"]
        return answered(
            3 * np.eye(3)[(truth + wrong) % 3], [labels[code] for code in truth], name, view=np.where(pa, "PA", "AP")
        )

    found = judged("external.standardised", films("home", 0.75), films("there", 0.25), tmp_path)
    raw = next(one for one in found.result.measures if one.name == "accuracy_drop")
    assert raw.estimate == pytest.approx(0.25)
    assert found.result.effect.estimate == pytest.approx(0.0, abs=1e-9)
    assert found.verdict is Verdict.NOT_SUPPORTED
    assert "class, view weighed as at home" in found.result.summary
    assert "age (unrecorded in home and there)" in found.result.summary


def test_a_class_that_one_hospital_lacks_patients_of_is_said_and_not_weighed_away(tmp_path):
    home = right_on(0.9, "home")
    few = answered(3 * np.eye(3)[[0] * 50 + [1] * 3], ["pneumonia"] * 50 + ["normal"] * 3, "there")
    with pytest.raises(NotEvaluable, match="normal films come from fewer than 5 patients"):
        judged("external.standardised", home, few, tmp_path)


def test_two_hospitals_of_as_many_patients_are_not_resampled_alike():
    both = TwoHospitals.of(right_on(0.8, "home"), right_on(0.8, "there"))
    assert not np.array_equal(both.home.resamples.weights, both.away.resamples.weights)


def test_without_the_films_a_claim_says_what_to_pass(tmp_path):
    claim = CLAIMS["external.drop"]
    with pytest.raises(NotEvaluable, match="--external SPEC"):
        get(claim.endpoint)(simulated_evidence(right_on(0.9, "home"), tmp_path), claim)


def test_labelled_films_of_adults_say_what_is_lost_on_them_and_unlabelled_ones_do_not(tmp_path):
    claim = next(claim for claim in load_claims() if claim.id == "probes.adult")
    home, generator = right_on(0.9, "home"), np.random.default_rng(0)
    told = {}
    for labels in (["normal", "pneumonia"] * 60, [""] * 120):
        adults = answered(generator.normal(0, 2, (120, 3)), labels, "adults")
        result = get(claim.endpoint)(simulated_evidence(home, tmp_path, probes={"adult": adults}), claim)
        told[labels[0]] = result.summary, {one.name for one in result.measures}
    assert "balanced_accuracy_drop" in told["normal"][1]
    assert "there pneumonia as ill and normal as healthy" in told["normal"][0]
    assert "balanced_accuracy_drop" not in told[""][1]
    assert "points lost" not in told[""][0]


def test_of_several_hospitals_each_has_its_claim_under_its_name():
    cohorts = {"lateral": right_on(0.9, "side").cohort, "external": right_on(0.9, "north").cohort}
    claims = [claim for claim in load_claims() if claim.id in ("external.drop", "probes.lateral")]
    assert {claim.id for claim in for_hospitals(claims, cohorts)} == {"external.drop", "probes.lateral"}
    several = for_hospitals(claims, cohorts | {"external-2": right_on(0.9, "south").cohort})
    assert {claim.id: claim.parameters.get("hospital") for claim in several} == {
        "probes.lateral": None, "external.drop.north": "external", "external.drop.south": "external-2",
    }  # fmt: skip
