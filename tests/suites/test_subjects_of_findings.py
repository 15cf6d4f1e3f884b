"""Subjects of several findings go through the suites: what they are asked is judged, or a sentence says why not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from suites.harness.claims import Verdict, load_claims
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.evaluation import Evaluation
from suites.harness.subjects.formats import load_subject, xrv

CLAIMS = {claim.id: claim for claim in load_claims()}
EVERY_SUITE = (
    "classes.balanced_accuracy", "classes.viral_called_bacterial", "contrast.gamma", "probes.lateral",
    "calibration.error", "abstention.missed", "subgroup.auroc", "external.drop",
)  # fmt: skip
"""Claims of suites that need no gradients; what they ask takes a fraction of a second with a large network, too."""


def run_of(subject, folder: Path, *ids: str, films: int = 16):
    """Judge some claims on simulated films of several findings and write the report."""
    run = Evaluation(
        subjects=[subject], cohort=load_cohort(f"phantom:n={films},findings=several"),
        claims=[CLAIMS[name] for name in ids], cache=folder / "cache", quiet=True,
        probes={"lateral": load_cohort("phantom:n=3,view=lateral")},
    )  # fmt: skip
    run.run().report(folder / "report")
    return run


def check(run, folder: Path) -> None:
    """Every claim has a verdict or a sentence; the numbers beside it are those of the films."""
    document = json.loads((folder / "report" / "results.json").read_text())
    assert len(document["claims"]) == len(run.claims) * len(run.subjects)
    for entry in document["claims"]:
        assert entry["reason"]
        assert "Traceback" not in entry["reason"]
        if entry["verdict"] != Verdict.NOT_EVALUABLE.value:
            assert np.isfinite(entry["effect"]["estimate"])
    table = pd.read_parquet(folder / "report" / "predictions.parquet").query("condition == 'clean'")
    main = table[table["cohort"] == run.cohort.name]
    films = run.cohort.table["id"].astype(str).tolist()
    (whole,) = run.wholes
    pixels = whole.pixels(torch.stack([torch.from_numpy(run.cohort.decode(row).pixels) for row in run.cohort.rows()]))
    stated = whole.answer(pixels)[0].double().cpu().numpy()
    measures = {(one["name"], one["subject"]): one for one in document.get("measures", [])}
    assert measures is not None
    for one in run.subjects:
        own = main[main["subject"] == one.name].set_index("image").loc[films]
        index = whole.classes.index(one.answers)
        np.testing.assert_allclose(expit(own["logit_1"].to_numpy(float)), expit(stated[:, index]), atol=1e-4)
        auroc = roc_auc_score(run.cohort.finding(one.classes[1]), stated[:, index])
        assert 0 <= auroc <= 1


def test_the_bundled_one(tmp_path):
    run = run_of(load_subject("bundled:findings"), tmp_path, *EVERY_SUITE)
    assert len(run.subjects) == 5
    check(run, tmp_path)


def test_a_densenet_of_torchxrayvision_with_random_weights(tmp_path):
    """Two of its eighteen findings are ones that the films tell of; nothing is printed of the others."""
    torch.manual_seed(0)
    path = tmp_path / "random.pt"
    torch.save(xrv._densenet121(18).state_dict(), path)
    run = run_of(load_subject(f"xrv:{path}?weights=densenet121-res224-all"), tmp_path, *EVERY_SUITE, films=8)
    names = [one.answers for one in run.subjects]
    assert names == ["Consolidation", "Pneumothorax", "Effusion", "Mass"]
    check(run, tmp_path)
    page = (tmp_path / "report" / "index.html").read_text()
    assert "Hernia" not in page.replace("not on ", "", 1) or "no film is labelled with it" in page
    assert pytest.approx(0.0) != run.subjects[0].whole.thresholds[0]
