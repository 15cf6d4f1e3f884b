"""A control is met only if no class pays for it: what harms one class is found, whichever it is, and named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suites.harness.claims import Claim, Verdict
from suites.harness.claims_table import load_claims
from suites.harness.endpoints import get
from suites.harness.errors import NotEvaluable
from suites.harness.verdicts import judge_section
from tests.controls.planted import RIGHT, planted
from tests.controls.simulated import simulated_evidence

CLAIMS = {claim.id: claim for claim in load_claims()}
SHAM = "sham_opacity@4"
BACTERIAL, NORMAL, VIRAL = range(3)
FORMER = Claim(
    id="whiteout.former", section="s", statement="s", kind="requirement", endpoint="stress", margin=0.10,
    direction="below", parameters={"measure": "called_bacterial_pneumonia", "truth": "normal", "condition": SHAM},
)  # fmt: skip
"""How the sham was judged before: by the normal films called bacterial alone."""


def judged(claim, answers, folder):
    result = get(claim.endpoint)(simulated_evidence(answers, folder), claim)
    return judge_section([claim], "s", {claim.id: result})[0], result


def losing(name, share, towards, films=240):
    """Answers that are right, except that a share of the films of one class is called another under the sham."""
    labels = np.arange(films) % 3
    mine = np.flatnonzero(labels == name)
    calls = np.full(films, RIGHT)
    calls[mine[: round(share * len(mine))]] = towards
    return planted({SHAM: calls}, films=films)


def test_a_sham_that_costs_viral_recall_only_was_met_and_is_not(tmp_path):
    answers = losing(VIRAL, 0.32, NORMAL)
    before, _ = judged(FORMER, answers, tmp_path)
    now, result = judged(CLAIMS["whiteout.sham"], answers, tmp_path)
    assert before.verdict is Verdict.MET, before.reason
    assert now.verdict is Verdict.VIOLATED, now.reason
    assert result.effect.estimate == pytest.approx(26 / 80)
    assert "the class that loses most is viral pneumonia" in now.reason
    assert result.summary.startswith(
        "Water of a lobar white-out outside the lungs, severity 4: recall of viral pneumonia, which loses most, "
        "falls from 100.0 % to 67.5 %. "
        "That is +32.5 "
    )
    assert "at sum of a lobar opacity of 0.8" in result.summary
    assert result.finding.startswith(
        "Water of a lobar white-out outside the lungs, severity 4: recall of viral pneumonia, which loses most, falls"
    )
    assert list(result.tables["Every class"]["class"]) == ["bacterial pneumonia", "normal", "viral pneumonia"]


def test_a_fall_on_some_of_the_films_says_on_how_many(tmp_path):
    whole = losing(VIRAL, 0.32, NORMAL)
    _, result = judged(CLAIMS["whiteout.sham"], whole, tmp_path)
    assert result.finding.endswith("falls from 100.0 % to 67.5 %.")
    refused = dict.fromkeys(range(VIRAL, 60, 3), "sham_opacity is undefined: there is less room")
    calls = np.where(np.arange(240) % 6 == VIRAL, NORMAL, RIGHT)
    part = planted({SHAM: calls}, films=240, undefined={SHAM: refused})
    _, result = judged(CLAIMS["whiteout.sham"], part, tmp_path)
    assert result.finding.endswith("falls from 100.0 % to 50.0 % (on the 60 of 80 films on which it can be made).")


def test_a_sham_that_costs_nothing_is_met(tmp_path):
    now, _ = judged(CLAIMS["whiteout.sham"], losing(VIRAL, 0.0, NORMAL), tmp_path)
    assert now.verdict is Verdict.MET, now.reason
    assert "no class loses recall" in now.reason


@given(st.sampled_from([BACTERIAL, NORMAL, VIRAL]), st.integers(1, 2), st.floats(0.3, 1.0))
@settings(max_examples=8, deadline=None)
def test_whichever_class_loses_is_found_and_named(tmp_path_factory, name, further, share):
    answers = losing(name, share, (name + further) % 3, films=180)
    now, _ = judged(CLAIMS["whiteout.sham"], answers, tmp_path_factory.mktemp("losing"))
    assert now.verdict is Verdict.VIOLATED
    assert answers.subject.classes[name].replace("_", " ") in now.reason


def test_a_class_with_too_few_patients_is_named_and_not_cleared_by_the_others(tmp_path):
    labels = np.where(np.arange(200) < 194, np.arange(200) % 2, VIRAL)
    answers = planted({SHAM: np.full(200, RIGHT)}, films=200, labels=labels)
    now, result = judged(CLAIMS["whiteout.sham"], answers, tmp_path)
    assert now.verdict is Verdict.INCONCLUSIVE
    assert "too few films to judge: viral pneumonia (6 films)" in now.reason
    assert "Too few films to judge: viral pneumonia (6 films)" in result.summary


def test_a_class_without_films_is_not_asked_for(tmp_path):
    answers = planted({SHAM: np.full(200, RIGHT)}, films=200, labels=np.arange(200) % 2)
    now, _ = judged(CLAIMS["whiteout.sham"], answers, tmp_path)
    assert now.verdict is Verdict.MET, now.reason


def test_losses_that_gains_hide_are_not_met(tmp_path):
    """Half of the viral films are called wrong untouched, the other half under the sham: recall stays as it was."""
    labels = np.arange(240) % 3
    viral = np.flatnonzero(labels == VIRAL)
    clean, sham = np.full(240, RIGHT), np.full(240, RIGHT)
    clean[viral[: len(viral) // 2]], sham[viral[len(viral) // 2 :]] = NORMAL, NORMAL
    now, result = judged(CLAIMS["whiteout.sham"], planted({"clean": clean, SHAM: sham}), tmp_path)
    assert now.verdict is not Verdict.MET
    assert "losses and gains cancel" in result.only_within


def test_two_classes_of_any_name_are_judged(tmp_path):
    calls = np.where(np.arange(160) % 4 == 1, 0, RIGHT)
    answers = planted({SHAM: calls}, films=160, classes=("tb-", "tb+"))
    now, _ = judged(CLAIMS["whiteout.sham"], answers, tmp_path)
    assert now.verdict is Verdict.VIOLATED
    assert "the class that loses most is tb+" in now.reason


def test_no_class_with_enough_patients_cannot_be_judged(tmp_path):
    with pytest.raises(NotEvaluable, match="no class has films of 10 patients"):
        judged(CLAIMS["whiteout.sham"], planted({SHAM: np.full(12, RIGHT)}, films=12), tmp_path)
