"""Judging one claim of the project's own table on one control subject."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from suites.harness.claims import Claim, Judgement
from suites.harness.claims_table import load_claims
from suites.harness.cohorts.cohort import Cohort
from suites.harness.evaluation import Evaluation
from suites.harness.subjects.subject import Subject
from tests.controls.films import cohort_of
from tests.controls.subjects import Calm, subject_of


@pytest.fixture
def judge(tmp_path) -> Callable[..., Judgement]:
    """Return a function that judges one claim of the project's own table, alone, on a control subject.

    What is passed beyond its named arguments replaces a parameter of the claim; `None` takes the parameter away. A
    claim about the page or the cohort needs no subject.
    """

    def judged(
        claim: str | Claim,
        subject: Subject | None = None,
        *,
        films: int = 90,
        cohort: Cohort | None = None,
        seed: int = 0,
        probes=None,
        **changes,
    ) -> Judgement:
        found = next(item for item in load_claims() if item.id == claim) if isinstance(claim, str) else claim
        parameters = {key: value for key, value in {**found.parameters, **changes}.items() if value is not None}
        alone = replace(found, parameters=parameters)
        run = Evaluation(
            subjects=[subject or subject_of(Calm(), "calm")],
            cohort=cohort or cohort_of(films),
            claims=[alone],
            probes=probes or {},
            seed=seed,
            cache=tmp_path / "cache",
            quiet=True,
        )
        return run.judgement(alone, run.about(alone)[0])

    return judged
