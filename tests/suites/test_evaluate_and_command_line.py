"""`evaluate(...)` is the run of the command line: every judgement of the whole table, two subjects, three probes."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from suites.harness import evaluate, load_claims
from suites.harness.evaluation import Evaluation
from tests.controls.films import CLASSES, cohort_of, draw, inverted
from tests.controls.subjects import Calm, subject_of
from tests.suites.test_suites_run import run

FACTORY = """
from tests.controls.subjects import Mistaken, Reader, subject_of

def reader():
    return subject_of(Reader(), "reader")

def mistaken():
    return subject_of(Mistaken(0.3), "mistaken")
"""
NUMBERS = {"estimate": "estimate", "low": "low", "high": "high", "n": "n", "patients": "patients"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("both")
    (folder / "drawn_models.py").write_text(FACTORY)
    for name, films, decode in (
        ("films", 24, draw),
        ("lateral", 9, inverted),
        ("adult", 9, inverted),
        ("unseen", 9, inverted),
    ):
        rows = []
        for number in range(films):
            label = CLASSES[number % 3]
            row = {"number": number + 100 * len(name), "label": label, "finding": label}
            file = folder / name / f"{name}{number}.png"
            file.parent.mkdir(exist_ok=True)
            Image.fromarray(np.round(decode(row).pixels * 255).astype(np.uint8)).save(file)
            told = (label, "") if name == "films" else ("", "mass")
            rows.append({"file": file, "label": told[0], "patient": f"{name}{number // 2}", "finding": told[1]})
        pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False)
    return folder


@pytest.mark.slow
def test_every_judgement_is_the_same(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", [*sys.path, str(place)])
    probes = {role: str(place / f"{role}.csv") for role in ("lateral", "adult", "unseen")}
    python = evaluate(
        ["drawn_models:reader", "drawn_models:mistaken"], str(place / "films.csv"), probes=probes, cache=place / "cache"
    )
    options = [f"--probe-{role}={spec}" for role, spec in probes.items()]
    done = run(place, "--weights=drawn_models:mistaken", *options, "--report", "out", data="films.csv",
               weights="drawn_models:reader", claims=None)  # fmt: skip
    results = json.loads((place / "out" / "results.json").read_text())["claims"]
    table = python.to_pandas()
    assert len(table) == len(results) > 100, done.stdout + done.stderr
    assert not table["reason"].str.contains("was not run").any()
    for (_, ours), theirs in zip(table.iterrows(), results, strict=True):
        assert (ours["claim"], ours["subject"]) == (theirs["id"], theirs["subject"])
        assert (ours["verdict"], ours["reason"]) == (theirs["verdict"], theirs["reason"])
        effect = theirs["effect"] or dict.fromkeys(NUMBERS)
        for mine, other in NUMBERS.items():
            assert (pd.isna(ours[mine]) and effect[other] is None) or ours[mine] == effect[other], (ours, theirs)


def test_claims_are_selected_before_anything_is_predicted():
    claims = load_claims()
    run = Evaluation(subjects=[subject_of(Calm(), "calm")], cohort=cohort_of(9), claims=claims)
    run.select({"grid.stripes"})
    texts = {condition.text for condition in run.plan["main"]}
    assert "grid_stripes@3" in texts or any(text.startswith("grid_stripes") for text in texts)
    assert not any(text.startswith("scatter") for text in texts)
    with pytest.raises(ValueError, match="planned its conditions already"):
        run.select({"contrast.scatter"})
