"""The two bundled subjects are controls themselves: what they lose under stress means something if they start high."""

from __future__ import annotations

import hashlib
import json

import pytest

from suites.harness.claims_table import load_claims
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.evaluation import Evaluation
from suites.harness.subjects.bundled.cohorts import phantom_sha256
from suites.harness.subjects.formats import load_subject
from suites.harness.subjects.formats.bundled import FOLDER

NAMES = ("fragile", "hardened")


PLANTED = ("gamma_high@3", "underexposure_fixed_window@3", "scatter@3")
"""Display and exposure as *fragile* never saw them and *hardened* did, as the claims of the page ask for them."""


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    """Answers of both subjects on 90 simulated films and on probes, as the main job gets them."""
    claims = [item for item in load_claims() if item.section == "Low contrast and underexposure"]
    subjects = [load_subject(f"bundled:{name}") for name in NAMES]
    probes = {"lateral": "phantom:n=30,view=LATERAL", "adult": "phantom:n=30,age=adult"}
    run = Evaluation(
        subjects=subjects, cohort=load_cohort("phantom:n=90"), claims=claims, quiet=True,
        probes={role: load_cohort(spec) for role, spec in probes.items()}, cache=tmp_path_factory.mktemp("bundled"),
    )  # fmt: skip
    return {name: run.evidence(name) for name in NAMES}


@pytest.fixture(scope="module")
def answers(evidence):
    return {name: found.main for name, found in evidence.items()}


@pytest.mark.parametrize("name", NAMES)
def test_clean_films_are_called_right(answers, name):
    found = answers[name]
    assert found.score("accuracy", "clean").estimate >= 0.85
    # A subject that answers without looking would do as well on the labels of other films.
    assert (found.called() == (found.labels + 1) % 3).mean() < 0.15


@pytest.mark.parametrize("condition", PLANTED)
def test_what_was_planted_in_fragile_is_smaller_in_hardened(answers, condition):
    lost = {
        name: found.score("balanced_accuracy", "clean").estimate - found.score("balanced_accuracy", condition).estimate
        for name, found in answers.items()
    }
    assert lost["fragile"] > 0.05, "planted, so it must be there"
    assert lost["hardened"] < lost["fragile"] / 2


@pytest.mark.parametrize("role", ["lateral", "adult"])
def test_hardened_doubts_what_it_was_shown_as_unanswerable(evidence, role):
    sure = {name: found.probe(role).score("confident_share", "clean").estimate for name, found in evidence.items()}
    assert sure["fragile"] > 0.6
    assert sure["hardened"] < 0.3


@pytest.mark.parametrize("name", NAMES)
def test_record_is_of_these_weights_and_of_these_phantoms(name):
    weights = (FOLDER / name / "model.safetensors").read_bytes()
    record = json.loads((FOLDER / name / "training.json").read_text(encoding="utf-8"))
    assert record["held_out"]["films"] >= 300
    assert record["held_out"]["accuracy"] >= 0.90
    assert record["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert record["phantom_sha256"] == phantom_sha256(), (
        "the phantoms have changed since the subjects learned from them: "
        "uv run python -m suites.harness.subjects.bundled.train"
    )
    assert len(weights) < 2_000_000
