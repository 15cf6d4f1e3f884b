"""The controls of three classes as controls of findings: their subjects answer two, each with a sigmoid of its own.

They are judged on the one that the films tell of; what its sigmoid says is what the softmax said of that class.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.special import logsumexp
from torch import Tensor, nn

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.finding_names import labelled
from suites.harness.cohorts.findings import NEGATIVE, POSITIVE, PREFIX
from suites.harness.predictions.answers import Answers
from suites.harness.subjects.finding import for_finding
from suites.harness.subjects.subject import Subject
from tests.controls.films import CLASSES

FINDINGS = ("bacterial_pneumonia", "viral_pneumonia")


def log_odds_of(logits: np.ndarray, own: int) -> np.ndarray:
    """(N,) log-odds of one class of (N, K) logits against all others."""
    return np.asarray(logits[:, own] - logsumexp(np.delete(logits, own, axis=1), axis=1))


class OfFindings(nn.Module):
    """A network of three classes as one of the two findings among them: its logits are the log-odds of each class."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        logits = self.network(pixels)
        own = [CLASSES.index(name) for name in FINDINGS]
        others = [[k for k in range(len(CLASSES)) if k != index] for index in own]
        return logits[:, own] - torch.stack([logits[:, rest].logsumexp(dim=1) for rest in others], dim=1)


def of_findings(subject: Subject) -> Subject:
    return replace(subject, classes=FINDINGS, heads="sigmoid", network=OfFindings(subject.network))


def telling(cohort: Cohort, finding: str) -> Cohort:
    """Films that tell of one finding alone, and are drawn as before, whatever they are then called."""
    drawn = cohort.table["label"].astype(str)
    if not (drawn != "").any():
        return cohort
    said = np.where(drawn == finding, POSITIVE, NEGATIVE)
    table = cohort.table.assign(drawn=drawn, label="", **{PREFIX + finding: said})
    return replace(cohort, table=table, decode=lambda row: cohort.decode({**row, "label": row["drawn"]}))


def of_one(answers: Answers, finding: str) -> Answers:
    """Answers about three classes, as those of a subject of findings about one of them."""
    subject, table = for_finding(of_findings(answers.subject), finding), answers.predictions.table
    logits = table[[f"logit_{k}" for k in range(len(CLASSES))]].to_numpy(float)
    there = log_odds_of(logits, CLASSES.index(finding))
    shown = table.drop(columns="logit_2").assign(logit_0=np.where(np.isnan(there), np.nan, 0.0), logit_1=there)
    return replace(
        answers,
        subject=subject,
        cohort=labelled(telling(answers.cohort, finding), finding, subject.classes, probe=False),
        predictions=replace(answers.predictions, table=shown),
    )
