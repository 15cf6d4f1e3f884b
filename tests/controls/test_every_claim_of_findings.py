"""Every claim that is asked of findings catches a subject of findings that fails, and clears one that does not.

The controls of the three classes serve again: their subjects answer two findings, each with a sigmoid of its own, and
are judged on one of them. What the sigmoid says is what the softmax said of that class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from suites.harness.claims import Claim, Judgement, load_claims
from suites.harness.cohorts.class_roles import for_finding
from suites.harness.cohorts.cohort import Cohort
from suites.harness.endpoints import get
from suites.harness.errors import NotEvaluable
from suites.harness.evaluation import Evaluation
from suites.harness.subjects.subject import Subject
from tests.controls.films import CLASSES, cohort_of
from tests.controls.registry import expected, find
from tests.controls.subjects import Calm, subject_of

for pairs in sorted(Path(__file__).parent.glob("*_pairs.py")):
    import_module(f"tests.controls.{pairs.stem}")  # registers its controls
FINDINGS = ("bacterial_pneumonia", "viral_pneumonia")


class OfFindings(nn.Module):
    """A network of three classes as one of the two findings among them: its logits are the log-odds of each class."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        logits = self.network(pixels)
        kept = [CLASSES.index(name) for name in FINDINGS]
        others = [[k for k in range(len(CLASSES)) if k != own] for own in kept]
        against = torch.stack([logits[:, rest].logsumexp(dim=1) for rest in others], dim=1)
        return logits[:, kept] - against


def of_findings(subject: Subject) -> Subject:
    return replace(subject, classes=FINDINGS, heads="sigmoid", network=OfFindings(subject.network))


def asked(claim: Claim) -> bool:
    if get(claim.endpoint).about != "subject":
        return False
    try:
        for_finding(claim, ("normal", FINDINGS[1]))
    except NotEvaluable:
        return False
    return True


CLAIMS = [claim for claim in load_claims() if asked(claim)]


@pytest.fixture
def judge(tmp_path) -> Callable[..., Judgement]:
    """Return a function that judges one claim, alone, on the second finding of a control subject."""

    def judged(
        claim: Claim, subject: Subject | None = None, *, films: int = 90, cohort: Cohort | None = None, seed: int = 0,
        probes=None, **changes,
    ) -> Judgement:  # fmt: skip
        (found,) = (item for item in CLAIMS if item.id == claim.id)
        parameters = {key: value for key, value in {**found.parameters, **changes}.items() if value is not None}
        alone = replace(found, parameters=parameters)
        run = Evaluation(
            subjects=[of_findings(subject or subject_of(Calm(), "calm"))],
            cohort=cohort or cohort_of(films),
            claims=[alone],
            probes=probes or {},
            seed=seed,
            cache=tmp_path / "cache",
            quiet=True,
        )
        (name,) = (one.name for one in run.subjects if one.answers == FINDINGS[1])
        return run.judgement(run.claims[0], name)

    return judged


@pytest.mark.parametrize("claim", CLAIMS, ids=[claim.id for claim in CLAIMS])
def test_what_fails_is_caught_and_what_does_not_is_cleared(claim, judge, tmp_path):
    caught, cleared = find(claim)(for_finding(claim, ("normal", FINDINGS[1])), judge, tmp_path)
    for judgement in (caught, cleared):
        assert (judgement.claim.id, judgement.claim.margin) == (claim.id, claim.margin)
    assert caught.verdict is expected(claim).caught, caught.reason
    assert cleared.verdict is expected(claim).cleared, cleared.reason
