"""Controls of claims about confidence: subjects too sure by a known factor, sets that promise, and abstention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from suites.harness.claims import Claim, Judgement
from suites.harness.endpoints import get
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN
from suites.harness.verdicts import judge_section
from tests.controls.registry import Pair, control
from tests.controls.simulated import simulated_answers, simulated_evidence
from tests.controls.subjects import Mistaken, subject_of


def judged(claim: Claim, answers: Answers, folder: Path) -> Judgement:
    """Judge a claim on answers made of numbers, under the conditions it was made for alone."""
    alone = replace(claim, parameters={key: value for key, value in claim.parameters.items() if key != "conditions"})
    result = get(alone.endpoint)(simulated_evidence(answers, folder), alone)
    return judge_section([alone], "s", {alone.id: result})[0]


def simulated(claim: Claim, folder: Path, temperatures: Mapping[str, float], **how) -> Judgement:
    return judged(claim, simulated_answers(temperatures, **how), folder)


@control("calibration_error")
def calibration_error(claim, _, folder) -> Pair:
    """Too sure by a temperature of 2.5; or calibrated, on films so clear that 1200 pin the error down."""
    return Pair(
        caught=simulated(claim, folder, {CLEAN: 2.5}),
        cleared=simulated(claim, folder, {CLEAN: 1.0}, films=1200, spread=30),
    )


@control("temperature")
def temperature(claim, _, folder) -> Pair:
    """Too sure by a temperature of 2.5; or not sure enough."""
    return Pair(
        caught=simulated(claim, folder, {CLEAN: 2.5}),
        cleared=simulated(claim, folder, {CLEAN: 0.7}),
    )


def one_patient_a_crowd(seed: int = 0, *, crowd: int = 40, others: int = 400) -> Answers:
    """Answers that break the promise of conformal sets without any shift.

    The sets count each patient once. Here every twentieth patient has forty films (`crowd`), all called wrong and
    surely, the `others` one film each, called right: few patients, but most of the films.
    """
    answers = simulated_answers({CLEAN: 1.0}, films=800 + others, seed=seed, spread=6)
    table = answers.cohort.table.copy()
    crowded = np.arange(len(table)) < 800
    table["patient"] = [f"crowd{number // crowd}" if many else f"p{number}" for number, many in enumerate(crowded)]
    shown = answers.predictions.table.copy()
    logits = [f"logit_{index}" for index in range(3)]
    values = shown[logits].to_numpy(copy=True)
    classes = np.array([answers.subject.classes.index(label) for label in table["label"]])
    called = np.where(crowded, (classes + 1) % 3, classes)
    values[np.arange(len(values)), called] = values.max(axis=1) + 6
    shown[logits] = values
    return replace(
        answers, cohort=replace(answers.cohort, table=table), predictions=replace(answers.predictions, table=shown)
    )


@control("conformal_coverage")
def conformal_coverage(claim, _, folder) -> Pair:
    """Under a shift: six times as sure as on the clean films the sets were fitted on, or as sure as there.

    Without a shift the promise is for a new patient, so the failure is a few patients with most of the films.
    """
    condition = str(claim.parameters.get("condition", CLEAN))
    if condition == CLEAN:
        return Pair(judged(claim, one_patient_a_crowd(), folder), simulated(claim, folder, {CLEAN: 1.0}, films=1500))
    return Pair(
        caught=simulated(claim, folder, {CLEAN: 1.0, condition: 6.0}, films=1500),
        cleared=simulated(claim, folder, {CLEAN: 1.0, condition: 1.0}, films=1500),
    )


@control("missed_findings")
def missed_findings(claim, _, folder) -> Pair:
    """Under a shift: scores turned upside down, or as on the clean films; without one, as for conformal sets."""
    condition = str(claim.parameters.get("condition", CLEAN))
    shifted = CLEAN if condition == CLEAN else condition
    cleared = simulated(claim, folder, {CLEAN: 1.0, shifted: 1.0}, films=1500)
    if condition == CLEAN:
        return Pair(judged(claim, one_patient_a_crowd(crowd=50, others=700), folder), cleared)
    return Pair(simulated(claim, folder, {CLEAN: 1.0, condition: -1.0}, films=1500), cleared)


@control("selective")
def selective(claim, judge, _) -> Pair:
    """One is wrong on every fifth film, as surely as ever; one on every eleventh, and just there least sure."""
    alone = {"whiteout": None, "views": None}
    return Pair(
        caught=judge(claim, subject_of(Mistaken(1 / 5), "sure"), films=330, **alone),
        cleared=judge(claim, subject_of(Mistaken(1 / 11, sure=0.01), "unsure"), films=660, **alone),
    )
