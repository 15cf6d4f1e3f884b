"""The two bundled subjects are controls themselves: what they lose under stress means something if they start high."""

from __future__ import annotations

import hashlib
import json

import pytest

from suites.harness.bundled import FOLDER
from suites.harness.bundled.cohorts import phantom_sha256
from suites.harness.claims import load_claims
from suites.harness.evaluation import Evaluation
from suites.harness.formats import load_subject
from suites.harness.layouts import load_cohort

NAMES = ("fragile", "hardened")


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Clean answers of both subjects on 90 simulated films, as the main job gets them."""
    claim = next(item for item in load_claims() if item.id == "classes.balanced_accuracy")
    subjects = [load_subject(f"bundled:{name}") for name in NAMES]
    run = Evaluation(
        subjects=subjects, cohort=load_cohort("phantom:n=90"), claims=[claim], quiet=True,
        cache=tmp_path_factory.mktemp("bundled"),
    )  # fmt: skip
    return {name: run.evidence(name).main for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_clean_films_are_called_right(answers, name):
    found = answers[name]
    assert found.score("accuracy", "clean").estimate >= 0.85
    # A subject that answers without looking would do as well on the labels of other films.
    assert (found.called() == (found.labels + 1) % 3).mean() < 0.15


@pytest.mark.parametrize("name", NAMES)
def test_record_is_of_these_weights_and_of_these_phantoms(name):
    weights = (FOLDER / name / "model.safetensors").read_bytes()
    record = json.loads((FOLDER / name / "training.json").read_text(encoding="utf-8"))
    assert record["held_out"]["films"] >= 300
    assert record["held_out"]["accuracy"] >= 0.90
    assert record["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert record["phantom_sha256"] == phantom_sha256(), (
        "the phantoms have changed since the subjects learned from them: uv run python -m suites.harness.bundled.train"
    )
    assert len(weights) < 2_000_000
