"""Subjects of several findings go through the suites: what they are asked is judged, or a sentence says why not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit, logit

from suites.harness.claims import Verdict
from suites.harness.claims_table import load_claims
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.evaluation import Evaluation
from suites.harness.subjects.formats import load_subject, xrv
from suites.harness.subjects.heads import operating_point

CLAIMS = {claim.id: claim for claim in load_claims()}
ASKED = (
    "classes.balanced_accuracy", "classes.viral_called_bacterial", "contrast.gamma", "probes.lateral",
    "calibration.error", "abstention.missed", "subgroup.auroc", "external.drop",
)  # fmt: skip
"""One or two of each suite that asks for no gradients, so that a large network takes seconds, too."""


def judged(subject, folder: Path, films: int) -> Evaluation:
    """Judge claims on simulated films of several findings and write the report."""
    run = Evaluation(
        subjects=[subject], cohort=load_cohort(f"phantom:n={films},findings=several"),
        claims=[CLAIMS[name] for name in ASKED], cache=folder / "cache", quiet=True,
        probes={"lateral": load_cohort("phantom:n=3,view=lateral")},
    )  # fmt: skip
    run.run().report(folder / "report")
    return run


def check(run: Evaluation, folder: Path) -> None:
    """Each claim has a verdict or a sentence about each finding, and numbers are those of the network's own logits."""
    document = json.loads((folder / "report" / "results.json").read_text())
    entries = {(entry["id"], entry["subject"]): entry for entry in document["claims"]}
    called = [CLAIMS[name].finding.get("id", name) for name in ASKED]
    assert entries.keys() == {(name, one.name) for name in called for one in run.subjects}
    for (name, _), entry in entries.items():
        assert entry["reason"], name
        assert entry["effect"] or entry["verdict"] == Verdict.NOT_EVALUABLE.value, name
    (whole,) = run.wholes
    films = torch.stack([torch.from_numpy(run.cohort.decode(row).pixels) for row in run.cohort.rows()])
    logits = whole.answer(whole.pixels(films))[0].double().cpu().numpy()
    table = pd.read_parquet(folder / "report" / "predictions.parquet").query("condition == 'clean'")
    for one in run.subjects:
        index = whole.classes.index(one.answers)
        point = operating_point(whole.thresholds, index)[0]
        own = table[(table["subject"] == one.name) & (table["cohort"] == run.cohort.name)].set_index("image")
        own = own.loc[run.cohort.table["id"].astype(str)]
        np.testing.assert_allclose(own["logit_1"], logits[:, index], atol=1e-4)
        np.testing.assert_allclose(expit(own["logit_0"].to_numpy(float)), point, atol=1e-6)
        truth, called = run.cohort.finding(one.classes[1]) == 1, logits[:, index] > logit(point)
        balanced = ((called[truth]).mean() + (~called[~truth]).mean()) / 2
        effect = entries["classes.balanced_accuracy", one.name]["effect"]
        assert effect["estimate"] == pytest.approx(balanced, abs=1e-9)


def test_the_bundled_one(tmp_path):
    run = judged(load_subject("bundled:findings"), tmp_path, films=16)
    assert len(run.subjects) == 5
    check(run, tmp_path)


def test_a_densenet_of_torchxrayvision_with_random_weights(tmp_path):
    """Four of its eighteen findings are ones that the films tell of; nothing is judged or printed of the others."""
    torch.manual_seed(0)
    path = tmp_path / "random.pt"
    torch.save(xrv._densenet121(18).state_dict(), path)
    run = judged(load_subject(f"xrv:{path}?weights=densenet121-res224-all"), tmp_path, films=8)
    assert [one.answers for one in run.subjects] == ["Consolidation", "Pneumothorax", "Effusion", "Mass"]
    check(run, tmp_path)
    answered = pd.read_parquet(tmp_path / "report" / "predictions.parquet")
    assert {name.partition(": ")[2] for name in answered["subject"].unique()} == {
        "consolidation", "pneumothorax", "effusion", "mass"
    }  # fmt: skip
