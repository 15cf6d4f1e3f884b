"""What is asked of findings catches a subject of them that fails and clears one that does not, endpoint by endpoint.

The controls of the three classes serve again: their subjects answer two findings, each with a sigmoid of its own, and
are judged on the one that the films tell of. What its sigmoid says is what the softmax said of that class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from torch import Tensor, nn

from suites.harness.claims import Claim, Judgement, load_claims
from suites.harness.cohorts.class_roles import for_finding
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.finding_names import labelled
from suites.harness.cohorts.findings import NEGATIVE, POSITIVE, PREFIX
from suites.harness.errors import NotEvaluable
from suites.harness.evaluation import Evaluation
from suites.harness.predictions.answers import Answers
from suites.harness.subjects.finding import for_finding as on_finding
from suites.harness.subjects.subject import Subject
from tests.controls import confidence_pairs, group_pairs
from tests.controls.films import CLASSES, cohort_of
from tests.controls.registry import expected, find
from tests.controls.subjects import Calm, subject_of

for pairs in sorted(Path(__file__).parent.glob("*_pairs.py")):
    import_module(f"tests.controls.{pairs.stem}")  # registers its controls
FINDINGS = ("bacterial_pneumonia", "viral_pneumonia")
JUDGED = FINDINGS[1]
CLAIMS = {claim.id: claim for claim in load_claims()}
OF_FILMS = (
    "classes.balanced_accuracy", "classes.normal_called_viral", "contrast.gamma", "flips.contrast",
    "probes.lateral", "doubt.lateral", "explanations.shortcut",
)  # fmt: skip
"""One claim for each endpoint whose controls answer drawn films."""
OF_NUMBERS = (
    "calibration.error", "abstention.missed", "abstention.missed_shifted", "subgroup.underdiagnosis",
)  # fmt: skip
"""One for each whose controls are made of numbers."""


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


def telling(cohort: Cohort) -> Cohort:
    """Films that tell of the one finding alone, and are drawn as before, whatever they are then called."""
    drawn = cohort.table["label"].astype(str)
    if not (drawn != "").any():
        return cohort
    said = np.where(drawn == JUDGED, POSITIVE, NEGATIVE)
    table = cohort.table.assign(drawn=drawn, label="", **{PREFIX + JUDGED: said})
    return replace(cohort, table=table, decode=lambda row: cohort.decode({**row, "label": row["drawn"]}))


def of_one(answers: Answers) -> Answers:
    """Answers about three classes, as those of a subject of findings about one of them."""
    subject, table = on_finding(of_findings(answers.subject), JUDGED), answers.predictions.table
    logits = table[[f"logit_{k}" for k in range(len(CLASSES))]].to_numpy(float)
    there = log_odds_of(logits, CLASSES.index(JUDGED))
    shown = table.drop(columns="logit_2").assign(logit_0=np.where(np.isnan(there), np.nan, 0.0), logit_1=there)
    return replace(
        answers,
        subject=subject,
        cohort=labelled(telling(answers.cohort), JUDGED, subject.classes, probe=False),
        predictions=replace(answers.predictions, table=shown),
    )


@pytest.fixture
def judge(tmp_path) -> Callable[..., Judgement]:
    """Return a function that judges one claim, alone, on the finding that the films tell of."""

    def judged(
        claim: Claim, subject: Subject | None = None, *, films: int = 90, cohort: Cohort | None = None, seed: int = 0,
        probes=None, **changes,
    ) -> Judgement:  # fmt: skip
        found = CLAIMS[claim.id]
        parameters = {key: value for key, value in {**found.parameters, **changes}.items() if value is not None}
        run = Evaluation(
            subjects=[of_findings(subject or subject_of(Calm(), "calm"))],
            cohort=telling(cohort or cohort_of(films)),
            claims=[replace(found, parameters=parameters)],
            probes=probes or {},
            seed=seed,
            cache=tmp_path / "cache",
            quiet=True,
        )
        (one,) = run.subjects
        return run.judgement(run.claims[0], one.name)

    return judged


def check(claim: Claim, caught: Judgement, cleared: Judgement) -> None:
    for judgement in (caught, cleared):
        assert (judgement.claim.id, judgement.claim.margin) == (claim.id, claim.margin)
    assert caught.verdict is expected(claim).caught, caught.reason
    assert cleared.verdict is expected(claim).cleared, cleared.reason


@pytest.mark.parametrize("name", OF_FILMS)
def test_what_fails_on_films_is_caught_and_what_does_not_is_cleared(name, judge, tmp_path):
    claim = CLAIMS[name]  # the controls call the finding by its class, and films without it normal
    check(claim, *find(claim)(for_finding(claim, ("normal", JUDGED)), judge, tmp_path))


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_what_fails_in_numbers_is_caught_and_what_does_not_is_cleared(name, judge, tmp_path, monkeypatch):
    claim = CLAIMS[name]
    for module in (confidence_pairs, group_pairs):
        made = module.simulated_evidence
        monkeypatch.setattr(
            module, "simulated_evidence", lambda main, cache, made=made, **how: made(of_one(main), cache, **how)
        )
    check(claim, *find(claim)(for_finding(claim, (f"no {JUDGED}", JUDGED)), judge, tmp_path))


def test_what_no_finding_is_asked_says_why():
    unasked = [claim for claim in CLAIMS.values() if "not_evaluable" in claim.finding]
    assert len(unasked) == 5
    for claim in unasked:
        with pytest.raises(NotEvaluable, match=r"finding|set"):
            for_finding(claim, ("normal", JUDGED))
