"""The one scale: further films missed and called ill, paired, signed, and only across the line between the two."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suites.harness.claims_table import load_claims
from suites.harness.endpoints.failure_modes import stress
from suites.harness.endpoints.registry import get
from suites.harness.endpoints.toll import CALLED_ILL, MISSED, of_calls, toll
from tests.controls.simulated import simulated_answers, simulated_evidence

CLAIMS = {claim.id: claim for claim in load_claims()}


def answers_of(skills: dict[str, float], films: int = 300):
    """The same films answered as well under each condition as its skill says."""
    answers = simulated_answers(dict.fromkeys(skills, 1.0), films=films)
    table = answers.predictions.table.copy()
    for number, (condition, skill) in enumerate(skills.items()):
        noise = np.random.default_rng(number).normal(size=(films, 3))
        table.loc[table["condition"] == condition, [f"logit_{index}" for index in range(3)]] = (
            skill * np.eye(3)[answers.labels] + noise
        )
    return replace(answers, predictions=replace(answers.predictions, table=table))


@pytest.fixture(scope="module")
def main():
    return answers_of({"clean": 3.0, "scatter@3": 0.5, "scatter@4": 2.5})


def test_it_counts_what_the_films_say(main):
    normal, before, after = main.labels == main.class_index("normal"), main.called(), main.called("scatter@3")
    well = main.class_index("normal")
    found = {measure.name: measure for measure in toll(main, ["scatter@3"])}
    missed = ((after == well)[~normal].mean() - (before == well)[~normal].mean(), int((~normal).sum()))
    alarms = ((after != well)[normal].mean() - (before != well)[normal].mean(), int(normal.sum()))
    assert (found[MISSED].estimate, found[MISSED].n) == (pytest.approx(missed[0]), missed[1])
    assert (found[CALLED_ILL].estimate, found[CALLED_ILL].n) == (pytest.approx(alarms[0]), alarms[1])
    assert found[MISSED].low > 0.05
    assert {measure.unit for measure in found.values()} == {"points"}
    assert found[MISSED].low < found[MISSED].estimate < found[MISSED].high


def test_one_kind_of_illness_for_another_is_on_neither_side(main):
    ill = [main.class_index(name) for name in ("bacterial_pneumonia", "viral_pneumonia")]
    swapped = main.called().copy()
    swapped[main.called() == ill[0]], swapped[main.called() == ill[1]] = ill[1], ill[0]
    assert [measure.estimate for measure in of_calls(main, main.called(), [swapped], None, "x")] == [0.0, 0.0]


def test_of_several_conditions_it_is_the_mean_over_the_films_of_all(main):
    several = {measure.name: measure for measure in toll(main, ["scatter@3", "scatter@4"], None, "mean")}
    each = [{one.name: one.estimate for one in toll(main, [name])} for name in ("scatter@3", "scatter@4")]
    for name in (MISSED, CALLED_ILL):
        assert several[name].estimate == pytest.approx(np.mean([one[name] for one in each]))
        assert several[name].condition == "mean"


def test_without_a_healthy_class_there_is_no_such_scale(main):
    others = replace(main, subject=replace(main.subject, classes=("bacterial_pneumonia", "clear", "viral_pneumonia")))
    assert toll(others, ["scatter@3"]) == []


def test_films_without_an_answer_are_on_neither_side(main):
    calls = main.called("scatter@3").copy()
    calls[:50] = np.nan
    found = of_calls(main, main.called(), [calls], None, "x")
    assert sum(measure.n for measure in found) == int((main.labels[50:] >= 0).sum())


def stressed(answers, folder, name="contrast.scatter", **parameters):
    claim = CLAIMS[name]
    claim = replace(claim, parameters={**claim.parameters, "conditions": [], **parameters})
    return get("stress")(simulated_evidence(answers, folder), claim)


def test_a_stress_states_what_became_of_the_measure(main, tmp_path):
    result = stressed(main, tmp_path)
    before, after = (
        100 * main.score("balanced_accuracy", name, main.shared("clean")).estimate for name in ("clean", "scatter@3")
    )
    assert result.finding == (f"Scatter, severity 3: balanced accuracy falls from {before:.1f} % to {after:.1f} %.")
    assert stressed(answers_of({"clean": 50.0, "scatter@3": 50.0}), tmp_path).finding.endswith("stays at 100.0 %.")
    assert {MISSED, CALLED_ILL} <= {measure.name for measure in result.measures}


def test_a_stress_that_helps_is_told_as_what_to_fix(tmp_path):
    better = answers_of({"clean": 0.8, "scatter@3": 3.0}, films=300)
    (one,) = stressed(better, tmp_path).helps
    assert one.gain.estimate > 0.1
    assert "rises from" in one.sentence
    assert "preprocessing that does not match" in one.sentence
    alike = answers_of({"clean": 1.0, "scatter@3": 1.1}, films=60)
    assert stressed(alike, tmp_path).helps == []


def test_a_gain_by_chance_is_no_gain(main):
    clean = main.score("balanced_accuracy", "clean")
    barely = replace(
        clean, estimate=-0.02, replicates=np.random.default_rng(0).normal(-0.02, 0.009, 2000), left_out=None
    )
    assert barely.interval().high < 0
    assert not stress.gained(barely), "of fifty stresses one or two would do that by chance"


def test_a_remedy_that_helps_is_told_with_its_price(tmp_path):
    names = {"clean": 2.5, "window_widening@3": 0.3, "clahe": 2.5, "window_widening@3 | clahe": 2.4}
    answers = answers_of(names, films=300)
    result = stressed(answers, tmp_path, "contrast.window", remedies=["clahe"])
    (one,) = result.helps
    assert one.gain.low > 0
    assert one.sentence.startswith("CLAHE before the network gives back ")
    assert "lost to window widening; on clean films it costs" in one.sentence
    dear = answers_of({**names, "clahe": 0.5}, films=300)
    assert stressed(dear, tmp_path, "contrast.window", remedies=["clahe"]).helps == [], "it costs what it gives"
    useless = answers_of({**names, "window_widening@3 | clahe": 0.3}, films=300)
    assert stressed(useless, tmp_path, "contrast.window", remedies=["clahe"]).helps == []
