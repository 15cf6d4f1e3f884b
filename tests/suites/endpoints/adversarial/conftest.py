"""Evidence on drawn films, with networks and with subjects that only answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from suites.harness.claims import Claim, Judgement
from suites.harness.claims_table import load_claims
from suites.harness.evaluation import Evaluation
from suites.harness.predictions.evidence import Evidence
from suites.harness.subjects.preprocessing import Untouched
from suites.harness.subjects.subject import Provenance, Subject
from tests.controls.films import CLASSES, cohort_of


class Answering:
    """A subject without gradients: a network behind a wall, with a book of what it was asked."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.network, self.asked = network.eval(), []

    def __call__(self, films):
        self.asked += [film.clone() for film in films]
        with torch.no_grad():
            return torch.cat([self.network(film[None, None].expand(1, 3, -1, -1)) for film in films])

    def subject(self, name: str = "remote") -> Subject:
        return Subject(
            name=name,
            classes=CLASSES,
            respond=self,
            preprocessing=Untouched(),
            provenance=Provenance(
                spec=name, format="service", source="test", sha256=name.encode().hex().ljust(64, "0")
            ),
        )


def claim_of(name: str, **changes: Any) -> Claim:
    found = next(claim for claim in load_claims() if claim.id == name)
    return replace(found, parameters={**found.parameters, **changes})


def evidence_kept_in(cache: Path) -> Callable[..., Evidence]:
    """Return a function that gives the evidence on the first of some subjects, with the others as peers."""

    def made(*subjects: Subject, films: int = 30, seed: int = 0, cohort=None) -> Evidence:
        run = Evaluation(
            subjects=subjects, cohort=cohort or cohort_of(films), claims=[claim_of("classes.balanced_accuracy")],
            seed=seed, cache=cache, quiet=True,
        )  # fmt: skip
        return run.evidence(subjects[0].name)

    return made


@pytest.fixture
def evidence(tmp_path) -> Callable[..., Evidence]:
    return evidence_kept_in(tmp_path / "cache")


@pytest.fixture
def judged(tmp_path) -> Callable[..., Judgement]:
    """Return a function that judges one claim alone on the first of some subjects."""

    def judge(name: str, *subjects: Subject, films: int = 30, cohort=None, margin=None, **changes: Any) -> Judgement:
        claim = claim_of(name, **changes)
        claim = claim if margin is None else replace(claim, margin=margin)
        run = Evaluation(
            subjects=subjects, cohort=cohort or cohort_of(films), claims=[claim], cache=tmp_path / "cache", quiet=True
        )
        return run.judgement(claim, subjects[0].name)

    return judge
