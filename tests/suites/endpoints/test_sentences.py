"""Sentences and counts of endpoints: true of the very films they speak of."""

from __future__ import annotations

from dataclasses import make_dataclass, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from explain import AttributionMap
from robustness.attacks.masking_checks import SanityCheck
from suites.harness.claims import Verdict
from suites.harness.claims_table import load_claims
from suites.harness.endpoints import get
from suites.harness.endpoints.adversarial import robust_accuracy, tables
from suites.harness.endpoints.explanations import attribution, border_occlusion
from suites.harness.endpoints.explanations.attribution import Checked
from suites.harness.endpoints.two_cohorts import smallest_kind
from suites.harness.errors import NotEvaluable
from suites.harness.formatting.cells import percent, points
from suites.harness.formatting.wording import number
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.verdicts import judge_section
from tests.controls.simulated import simulated_answers, simulated_evidence

CLAIMS = {claim.id: claim for claim in load_claims()}


def with_table(answers, **columns):
    """The same answers on films of which other things are known."""
    return replace(answers, cohort=replace(answers.cohort, table=answers.cohort.table.assign(**columns)))


def result_of(name, main, folder, **probes):
    claim = CLAIMS[name]
    return get(claim.endpoint)(simulated_evidence(main, folder, probes=probes), claim)


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
    unlabelled = result_of("probes.lateral", main, tmp_path, lateral=with_table(strange, label="")).summary
    assert "which answer is right is not known" in unlabelled, "a lateral film has a class, somebody only has to say it"
    assert "can be right" not in unlabelled


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
    result = result_of("doubt.adult", main, tmp_path, adult=strange)
    told = result.summary
    drawn = result.figures["scores"]().axes[0].get_title(loc="left")
    assert drawn == f"adult: AUROC {result.effect.estimate:.3f} of max-softmax", (
        "the score that is judged, not the best"
    )
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


def test_predictive_values_are_known_as_far_as_sensitivity_and_specificity_are(main, tmp_path):
    """Two healthy films that are called right say little of a specificity of 1, and less of a predictive value."""
    label = np.where(np.arange(len(main.labels)) < len(main.labels) - 2, "viral_pneumonia", "normal")
    labels = [main.subject.classes.index(name) for name in label]
    logits = 20.0 * np.eye(3)[labels]
    table = main.predictions.table.copy()
    table[[f"logit_{index}" for index in range(3)]] = logits
    perfect = replace(with_table(main, label=label), predictions=replace(main.predictions, table=table))
    result = result_of("abstention.sensitivity", perfect, tmp_path)
    (values,) = (result.tables[name] for name in result.tables if name.startswith("Predictive values"))
    first = values.set_index("prevalence").loc["5 %"]
    low = float(first["PPV"].split("(")[1].split(" ")[0])
    assert first["PPV"].startswith("100.0 % (")
    assert first["PPV"].endswith("to 100.0)")
    assert low < 10, first["PPV"]
    assert first["PPV"] in result.summary


def test_tables_hold_numbers_as_they_were_measured(main, tmp_path):
    """0.10254 rounded to four digits and then to three would be printed as 0.102 in one place, 0.103 in another."""
    result = result_of("calibration.error", main, tmp_path)
    (table,) = (result.tables[name] for name in result.tables if name.startswith("Calibration measures"))
    written = table.set_index("measure")["estimate"].to_dict()
    measured = {measure.estimator.split(",")[0]: measure.estimate for measure in (result.effect, *result.measures)}
    assert len(measured) >= 8
    assert {name: written[name] for name in measured} == measured
    assert any(value != round(value, 4) for value in measured.values())


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
            result = get(claim.endpoint)(None, claim)
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
    assert [number(x) for x in (1.0, 0.999, 0.99962, 0.25)] == ["1.000", "0.999", ">0.999", "0.250"]
    assert [percent(x) for x in (0.0, 1.0, 0.996, 0.9997, 0.98)] == ["0.0 %", "100.0 %", "99.6 %", ">99.9 %", "98.0 %"]
    assert [points(x) for x in (-4e-9, 0.0, 0.416, -0.0087)] == ["0.0", "0.0", "+41.6", "\N{MINUS SIGN}0.9"]


def saliency_of(answers, folder, outcome, monkeypatch):
    """Judge whether maps point at lesions, with a sanity check of this outcome; the lesion is the right edge.

    It is a tenth of the film. Nobody hits it at the centre, so a point anywhere, right in a tenth, is the better guess.
    """
    lesion = np.zeros((20, 20), dtype=bool)
    lesion[:, 18:] = True
    maps = np.zeros((24, 20, 20), dtype=np.float32)
    maps[:2, 5, 19] = maps[2:, 5, 5] = 1.0
    index = np.flatnonzero((answers.correct() == 1) & (answers.labels != answers.class_index("normal")))[:24]
    ids = tuple(answers.images[at] for at in index)
    found = AttributionMap("grad-cam", maps, ids, (0,) * 24, ("ok",) * 24)
    checked = Checked(outcome, "why", index[:8], np.repeat([0.2, 0.5], [3, 5]), np.full(8, 0.3))
    monkeypatch.setattr(attribution, "chosen", lambda *_: index)
    monkeypatch.setattr(attribution, "masks", lambda *_: (dict.fromkeys(ids, lesion), np.ones(24)))
    monkeypatch.setattr(attribution, "attribute", lambda *_: attribution.Maps(index, found, lambda: None))
    monkeypatch.setattr(attribution, "sanity", lambda *_: checked)
    return result_of("explanations.lesion", answers, folder)


def test_a_map_must_beat_the_better_of_two_guesses(main, tmp_path, monkeypatch):
    result = saliency_of(main, tmp_path, "passed", monkeypatch)
    assert result.effect.estimate == pytest.approx(2 / 24 - 0.1), "below chance, though the centre never hits"
    assert result.effect.low < result.effect.estimate < 0
    assert "a point anywhere in 10.0 %" in result.summary
    assert "100.0 % of the lesion lies inside the crop" in result.summary


@pytest.mark.parametrize("outcome", ["undecided", "failed"])
def test_no_verdict_rests_on_a_map_that_may_show_nothing_learned(main, tmp_path, monkeypatch, outcome):
    claim = CLAIMS["explanations.lesion"]
    result = saliency_of(main, tmp_path, outcome, monkeypatch)
    result = replace(result, effect=replace(result.effect, low=-0.2, estimate=-0.1, high=-0.05))
    (judged,) = judge_section([claim], "s", {claim.id: result})
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert f"but the sanity check of grad-cam is {outcome} (3 of 8 maps lost)" in judged.reason
    assert f"Sanity check {outcome} (3 of 8 maps lost)" in result.summary
    passed = saliency_of(main, tmp_path, "passed", monkeypatch)
    assert passed.unproven == ""


def test_saliency_is_exploratory_by_its_smallest_class(main, tmp_path, monkeypatch):
    effect = saliency_of(main, tmp_path, "passed", monkeypatch).effect
    assert effect.exploratory
    assert 0 < effect.smallest < 24


def test_covering_the_edges_is_not_named_like_covering_the_border(main, tmp_path, monkeypatch):
    index = np.flatnonzero(main.shared("clean"))[:120]
    rows = [
        {"image_id": main.images[at], "cover": cover, "control": control, "area": 0.1, "logit_shift": 0.0,
         "predicted_after": int(main.called()[at]),
         "flipped": (cover, control, row) in {("border", False, 0), ("corners", False, 1)}}
        for row, at in enumerate(index) for cover in ("border", "corners") for control in (False, True)
    ]  # fmt: skip
    monkeypatch.setattr(attribution, "chosen", lambda *_: index)
    monkeypatch.setattr(border_occlusion, "_probed", lambda *_: pd.DataFrame(rows))
    result = result_of("explanations.shortcut", main, tmp_path)
    found = {measure.name: measure.estimate for measure in (result.effect, *result.measures)}
    assert result.effect.name == "flips_when_edges_covered"
    assert found["flips_when_edges_covered"] == pytest.approx(2 / 120)
    assert found["flips_when_border_covered"] == found["flips_when_corners_covered"] == pytest.approx(1 / 120)
    assert result.finding == "Covering only the border or the corners changes 1.7 % of the calls."
    assert result.effect.exploratory, "120 films, but the smallest class has fewer than 100"


def remedied(answers, folder, **parameters):
    claim = CLAIMS["contrast.window"]
    claim = replace(claim, parameters={**claim.parameters, "conditions": [], **parameters})
    return get("stress")(simulated_evidence(answers, folder), claim)


def test_a_remedy_that_harms_is_not_said_to_leave_something(tmp_path):
    answers = simulated_answers(
        {"clean": 1.0, "window_widening@3": 0.5, "clahe": 1.0, "window_widening@3 | clahe": -1.0}
    )
    told = remedied(answers, tmp_path, remedies=["clahe"]).summary
    assert "+0.0 points of harm" not in told
    assert "0.0 points of harm (" in told
    worse = answers.score("balanced_accuracy", "clean", answers.shared("clean")).estimate
    worse -= answers.score("balanced_accuracy", "window_widening@3 | clahe", answers.shared("clean")).estimate
    assert (
        f"With CLAHE the harm is {100 * worse:.1f} points (worse than without); on clean films CLAHE costs 0.0." in told
    )


def test_sizes_in_points_are_not_printed_as_percent(main):
    size = get("test_set_half_width")(main.cohort, CLAIMS["dataset.size"]).summary
    assert "%" not in size.replace("90 %", "")
    assert "one call of ten" in size
    printed = CLAIMS["published.accuracy_interval"]
    told = get(printed.endpoint)(None, printed).summary
    assert "±2.2 points where the page says ±1.5" in told


def test_statements_name_the_one_direction_that_is_judged():
    gamma = CLAIMS["contrast.gamma"]
    assert gamma.parameters["condition"] == "gamma_high@3"
    assert "lighter" not in gamma.statement


def test_checks_of_another_attack_say_so(tmp_path, monkeypatch):
    made = make_dataclass("Attack", ["checks", "found"])
    asked = {"linf/grey": "gradients present", "linf/film": "no numerical faults"}

    def attacked(_answers, _profile, _cache, threat="linf/grey", protocol="search"):
        return made(checks=(SanityCheck(asked[threat], passed=True, detail="all of 8"),), found=None)

    monkeypatch.setattr(robust_accuracy, "attack", attacked)
    monkeypatch.setattr(
        robust_accuracy, "no_faults", lambda _: SanityCheck("no numerical faults", passed=True, detail="none")
    )
    main = simulated_answers({"clean": 1.0})
    found, _ = robust_accuracy._attacks(simulated_evidence(main, tmp_path), "linf/film")
    table = tables.trust(found.checks).set_index("check")["detail"]
    assert table["gradients present"] == "checked in the attack on the network's input: all of 8"
    assert table["no numerical faults"] == "none"


def test_the_median_flip_rests_on_patients(main):
    index = np.flatnonzero(main.shared("clean"))[:60]
    attack = SimpleNamespace(index=index, distances=np.linspace(0.5, 4, 60), threat="linf/grey")
    for measure in tables.flip_sizes(main, attack):
        mine = index[main.labels[index] == main.class_index(measure.name.removeprefix("median_flip_levels_"))]
        assert (measure.n, measure.patients) == (len(mine), len(set(main.patients[mine])))


def test_a_recipe_is_not_compared_with_itself(tmp_path):
    main = simulated_answers({"clean": 3.0, "preprocessing:hub": 3.0}, films=60)
    for own in ("repository", "hub"):
        recipes = {name: Preprocessing(name=name) for name in ("repository", "hub")}
        subject = replace(main.subject, preprocessing=recipes[own], preprocessings=recipes)
        judged = replace(main, subject=subject)
        if own == "repository":
            assert result_of("preprocessing.disagreement", judged, tmp_path / own).effect.n == 60
            continue
        with pytest.raises(NotEvaluable, match="there is nothing to compare"):
            result_of("preprocessing.disagreement", judged, tmp_path / own)
