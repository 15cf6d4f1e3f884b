"""Judging one claim of the project's own table on one control subject."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from suites.harness.claims import Judgement, load_claims
from suites.harness.evaluation import Evaluation
from suites.harness.subject import Subject
from tests.controls.subjects import cohort_of


@pytest.fixture
def judge(tmp_path) -> Callable[..., Judgement]:
    """Return a function that judges one claim of the project's own table, alone, on a control subject."""

    def judged(claim_id: str, subject: Subject, *, films: int = 90, seed: int = 0, probes=None, **changes) -> Judgement:
        claim = next(item for item in load_claims() if item.id == claim_id)
        alone = replace(claim, parameters={**claim.parameters, **changes})
        run = Evaluation(
            subjects=[subject],
            cohort=cohort_of(films),
            claims=[alone],
            probes=probes or {},
            seed=seed,
            cache=tmp_path / "cache",
            quiet=True,
        )
        return run.judgement(alone, subject.name)

    return judged
