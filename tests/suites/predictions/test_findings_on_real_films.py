"""Real films, a head fitted on frozen features: whoever reads the report's tables counts what the report says."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score
from torch import nn

from suites.harness.claims_table import load_claims
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.evaluation import Evaluation
from suites.harness.performance import clean_films
from suites.harness.report.finding_matrix import SCORES
from suites.harness.subjects.finding import NormalisedFindings
from suites.harness.subjects.formats import load_subject
from suites.harness.subjects.heads import log_odds

FINDINGS = ("Infiltration", "Pneumonia")
NAMED_BY_NIH = {
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia", "No Finding",
}  # fmt: skip
THRESHOLD = 0.4
"""Published, as it were, for the first finding; for the other none is."""


def labels_of(metadata: pd.DataFrame) -> dict[str, pd.Series]:
    """Return finding -> film -> 1, 0, or nothing where labels of another kind leave open what is not named."""
    parts = metadata.set_index("file")["finding"].str.split("|").map(lambda names: {name.strip() for name in names})
    closed = parts.map(lambda names: names <= NAMED_BY_NIH)
    found = {name: parts.map(lambda names, name=name: float(name in names)) for name in FINDINGS}
    return {name: there.where(closed | (there == 1)) for name, there in found.items()}


def two_findings(folder, cohort, truth):
    """Return the stand-in with a head of two findings, each a logistic regression on its frozen features."""
    plain = load_subject(str(folder))
    films = [plain.pixels(torch.from_numpy(cohort.decode(row).pixels)[None]) for row in cohort.rows()]
    features = torch.cat([plain.answer(torch.cat(films[at : at + 16]))[1] for at in range(0, len(films), 16)]).numpy()
    network, before = plain.network, plain.head
    head = nn.Linear(before.in_features, len(FINDINGS))
    ids = cohort.table["id"]
    for index, name in enumerate(FINDINGS):
        known = truth[name].reindex(ids).notna().to_numpy()
        # Half of the films teach it, so that it is no better than such heads are.
        taught = known & (np.arange(len(ids)) % 2 == 0)
        fitted = LogisticRegression(C=0.05, max_iter=2000).fit(features[taught], truth[name].loc[ids[taught]])
        head.weight.data[index] = torch.from_numpy(fitted.coef_[0]).float()
        head.bias.data[index] = float(fitted.intercept_[0])
    backbone = network.backbone
    where = next(name for name, module in backbone.named_modules() if module is before)
    backbone.set_submodule(where, head)
    answering = NormalisedFindings(
        backbone, mean=tuple(network.mean.flatten().tolist()), std=tuple(network.std.flatten().tolist())
    )
    return replace(
        plain, name="stand-in", classes=FINDINGS, network=answering, heads="sigmoid", thresholds=(THRESHOLD, math.nan)
    )


@pytest.mark.realdata
@pytest.mark.slow
def test_scores_are_those_that_scikit_learn_counts_from_the_reports_predictions(shared, tmp_path):
    external = shared / "data" / "external"
    truth = labels_of(pd.read_csv(external / "metadata.csv", dtype=str))
    cohort = load_cohort(f"{external}?layout=nih").limited(160, seed=0)
    subject = two_findings(shared / "weights" / "kermany-convnextv2-atto", cohort, truth)
    claims = [claim for claim in load_claims() if claim.id == "classes.viral_recall"]
    run = Evaluation(subjects=[subject], cohort=cohort, claims=claims, cache=tmp_path / "cache", quiet=True).run()
    run.report(tmp_path / "report")
    record = run.record()

    written = pd.read_parquet(tmp_path / "report" / "predictions.parquet")
    for finding, threshold in zip(FINDINGS, (THRESHOLD, 0.5), strict=True):
        own = written[(written["subject"] == f"stand-in: {finding}") & (written["condition"] == "clean")]
        known = truth[finding].reindex(own["image"])
        kept = known.notna().to_numpy()
        there, score = known[kept].to_numpy(), own["logit_1"].to_numpy(np.float64)[kept]
        assert 0 < (there == 0).sum() < len(cohort)
        point = own["logit_0"].to_numpy(np.float64)
        assert point == pytest.approx(log_odds(threshold), abs=1e-6)
        right = confusion_matrix(there, score > point[kept], normalize="true").diagonal()
        expected = {
            "auroc": roc_auc_score(there, score),
            "auprc": average_precision_score(there, score),
            "recall": right[1],
            "specificity": right[0],
        }
        judged = next(one for one in run.subjects if one.classes[1] == finding)
        measures = clean_films.per_class(clean_films.clean_answers(record, judged))[finding]
        found = {one.name.partition("_")[0]: one.estimate for one in measures}
        assert expected["auroc"] > 0.6
        for name in SCORES:
            assert found[name] == pytest.approx(expected[name], abs=1e-9), (finding, name)
        # The logits of the table are the network's own, beside the log-odds of the operating point.
        first = next(row for row in cohort.rows() if row["id"] == own["image"].iloc[0])
        pixels = subject.pixels(torch.from_numpy(cohort.decode(first).pixels)[None])
        stated = float(subject.network(pixels)[0, FINDINGS.index(finding)])
        assert own["logit_1"].iloc[0] == pytest.approx(stated, abs=1e-4)
    assert run.judged_on[0].note().startswith("stand-in is judged on 2 of its 2 findings: Infiltration, Pneumonia")
