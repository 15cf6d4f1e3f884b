"""Calibration claims catch a subject that is too sure by a known temperature, and stay quiet on a calibrated one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from scipy.stats import binom

from suites.harness.claims import Verdict
from suites.harness.claims_table import load_claims
from suites.harness.cohorts.cohort import Cohort
from suites.harness.endpoints import get
from suites.harness.formatting import wording
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.evidence import Evidence
from suites.harness.predictions.table import Predictions
from suites.harness.verdicts import judge_section
from tests.controls.films import CLASSES, draw
from tests.controls.subjects import Reader, subject_of


def evidence_of(temperature: float, seed: int, tmp_path, films: int = 600) -> Evidence:
    """Labels drawn from softmax(z), logits reported as temperature x z: overconfident by exactly that temperature."""
    generator = np.random.default_rng(seed)
    true = generator.normal(0, 1.6, (films, 3))
    labels = (generator.random((films, 1)) > np.cumsum(softmax(true, axis=1), axis=1)).sum(axis=1)
    ids = [f"f{number}" for number in range(films)]
    table = pd.DataFrame(
        {
            "id": ids,
            "file": "",
            "label": [CLASSES[k] for k in labels],
            "patient": [f"p{number // 2}" for number in range(films)],
        }
    )
    table = table.assign(view="", age_group="", finding="", split="")
    shown = pd.DataFrame(temperature * true, columns=[f"logit_{k}" for k in range(3)])
    shown = shown.assign(subject="s", cohort="c", image=ids, condition="clean", severity=0, undefined="")
    empty = pd.DataFrame(columns=["cohort", "file", "reason"])
    answers = Answers(
        subject=subject_of(Reader(), "s"), cohort=Cohort(name="c", spec="c", table=table, decode=draw),
        predictions=Predictions(shown, None, empty, 0), seed=seed,
    )  # fmt: skip
    return Evidence(main=answers, profile="quick", seed=seed, cache=tmp_path, probes={})


def verdict(claim_id: str, evidence: Evidence) -> Verdict:
    claim = next(item for item in load_claims() if item.id == claim_id)
    claim = replace(claim, parameters={})
    result = get(claim.endpoint)(evidence, claim)
    return judge_section([claim], "s", {claim.id: result})[0].verdict


def test_overconfidence_of_a_known_temperature_is_caught(tmp_path):
    evidence = evidence_of(2.5, 0, tmp_path)
    assert verdict("calibration.error", evidence) is Verdict.SUPPORTED
    assert verdict("calibration.temperature", evidence) is Verdict.SUPPORTED
    claim = next(item for item in load_claims() if item.id == "calibration.temperature")
    effect = get("temperature")(evidence, replace(claim, parameters={})).effect
    assert effect.low < 2.5 < effect.high


@pytest.mark.slow
def test_a_calibrated_subject_is_accused_no_more_often_than_the_level_allows(tmp_path):
    seeds = range(20)  # as many cohorts as the nominal rate is checked on
    accused = [
        verdict("calibration.error", evidence_of(1.0, seed, tmp_path, films=240)) is Verdict.SUPPORTED for seed in seeds
    ]
    assert sum(accused) <= binom.ppf(0.999, len(seeds), 0.025)
    cold = [
        verdict("calibration.temperature", evidence_of(1.0, seed, tmp_path, films=240)) is Verdict.SUPPORTED
        for seed in seeds
    ]
    assert sum(cold) <= binom.ppf(0.999, len(seeds), 0.025)


def test_conformal_sets_hold_on_exchangeable_films(tmp_path):
    assert verdict("abstention.conformal", evidence_of(1.0, 1, tmp_path)) is Verdict.MET


def test_a_measure_without_an_interval_is_not_called_exact(tmp_path):
    """The maximum over bins has no interval that covers; one of no width would be read as certainty."""
    claim = next(item for item in load_claims() if item.id == "calibration.error")
    result = get(claim.endpoint)(evidence_of(2.0, 0, tmp_path), replace(claim, parameters={}))
    printed = {measure.name: wording.interval(measure) for measure in result.measures}
    assert printed["mce"] == "no interval"
    assert "to" in printed["brier"]
