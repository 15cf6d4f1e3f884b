"""A side measure that has no value leaves the claim standing, with its own reason in the table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.error import ece
from calibration.scaling import temperature
from calibration.validation import softmax
from suites.harness.claims_table import load_claims
from suites.harness.endpoints import get
from suites.harness.endpoints.uncertainty.labelled_films import LabelledFilms
from suites.harness.errors import NotEvaluable
from suites.harness.verdicts import judge_section
from tests.controls.simulated import simulated_answers, simulated_evidence

NAMES = "Calibration measures by their full names"


def answered(change, films=600):
    """Answers whose logits (n, 3) and labels (n,) are changed by a function into other logits."""
    answers = simulated_answers({"clean": 1.0}, films=films)
    shown = answers.predictions.table.copy()
    columns = [f"logit_{k}" for k in range(3)]
    shown[columns] = change(shown[columns].to_numpy(copy=True), answers.labels)
    return replace(answers, predictions=replace(answers.predictions, table=shown))


def result_of(endpoint, answers, folder):
    claim = next(item for item in load_claims() if item.endpoint == endpoint)
    claim = replace(claim, parameters={k: v for k, v in claim.parameters.items() if k != "conditions"})
    return get(endpoint)(simulated_evidence(answers, folder), claim)


ALL_RIGHT = {"slope/top-label": "all 600", "intercept/top-label": "all 600"}
SUBJECTS = {
    "constant": (lambda z, y: np.tile(np.log([0.99, 0.005, 0.005]), (len(z), 1)), {"slope/top-label": "the same"}),
    "logits x 1000": (lambda z, y: 1000 * z, {}),
    "logits x 1000 in float32": (lambda z, y: (1000 * z).astype(np.float32), {}),
    "no mistake": (lambda z, y: z + 20 * np.eye(3)[y], ALL_RIGHT),
    "no mistake, probability 1": (lambda z, y: 800 * np.eye(3)[y], ALL_RIGHT),  # its ECE is exactly 0
    "ordinary": (lambda z, y: z, {}),
}


@pytest.mark.parametrize("name", SUBJECTS)
def test_calibration_is_judged_on_its_ece(name, tmp_path):
    change, missing = SUBJECTS[name]
    answers = answered(change)
    films = LabelledFilms.of(answers, "clean")
    result = result_of("calibration_error", answers, tmp_path)
    assert result.effect.estimate == pytest.approx(ece(softmax(films.logits), films.labels), abs=1e-12)
    assert result.effect.low <= result.effect.estimate <= result.effect.high
    assert result.effect.low < result.effect.high
    table = result.tables[NAMES].set_index("measure")
    without = table.index[table["estimate"].isna()]
    assert set(without) == set(missing)
    for measure, reason in missing.items():
        assert reason in table.loc[measure, "no value"]
    assert all(np.isfinite(measure.estimate) for measure in result.measures)


def test_temperature_of_a_saturated_subject_is_found(tmp_path):
    answers = answered(lambda z, y: 1000 * z)
    films = LabelledFilms.of(answers, "clean")
    result = result_of("temperature", answers, tmp_path)
    assert result.effect.estimate == pytest.approx(1000 * temperature(films.logits / 1000, films.labels), rel=1e-6)
    assert 800 < result.effect.low < result.effect.estimate < result.effect.high < 1250
    assert "Fitted on other patients" in result.summary


def test_temperature_stands_where_the_recalibration_cannot_be_cross_fitted(tmp_path):
    answers = simulated_answers({"clean": 2.0}, films=44)
    assert "has no value: 44 films in 2 folds" in (result := result_of("temperature", answers, tmp_path)).summary
    assert result.effect.estimate > 0
    assert result.p_beyond is not None


def test_temperature_without_a_mistake_says_why(tmp_path):
    with pytest.raises(NotEvaluable, match="all 600 films are called right"):
        result_of("temperature", answered(lambda z, y: z + 20 * np.eye(3)[y]), tmp_path)


def test_one_confidence_on_every_film_does_not_settle_the_claim(tmp_path):
    """Ranks for logits: 48 of 72 right at .6652 on each. An ECE of .001 there may be one of .1."""

    def ranks(z, y):
        call = (y + (np.arange(len(y)) % 3 == 2)) % 3
        return (np.arange(3) - call[:, None]) % 3 * -1.0 + 2

    answers = answered(ranks, films=72)
    result = result_of("calibration_error", answers, tmp_path)
    assert result.effect.estimate == pytest.approx(0.0014, abs=1e-4)
    assert result.effect.low == 0
    assert result.effect.high > 0.1
    claim = next(item for item in load_claims() if item.endpoint == "calibration_error")
    (judged,) = judge_section([claim], "s", {claim.id: result})
    assert judged.verdict.value == "inconclusive"
