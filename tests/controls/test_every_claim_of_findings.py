"""Every claim that is asked of findings catches a subject of them that fails and clears one that does not.

The controls of the three classes serve again (see `of_findings`); where these do not fail, or do not hold, for a
finding, those of `finding_pairs` do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from suites.harness.claims import Claim, Judgement
from suites.harness.claims_table import load_claims, table_ids
from suites.harness.cohorts.class_roles import for_finding
from suites.harness.cohorts.cohort import Cohort
from suites.harness.endpoints import get
from suites.harness.errors import NotEvaluable
from suites.harness.evaluation import Evaluation
from suites.harness.subjects.subject import Subject
from tests.controls import confidence_pairs, group_pairs, hospital_pairs
from tests.controls.films import cohort_of
from tests.controls.finding_pairs import HEALTHY, JUDGED, OF_FINDINGS
from tests.controls.of_findings import of_findings, of_one, telling
from tests.controls.registry import expected, find
from tests.controls.subjects import Calm, subject_of

for pairs in sorted(Path(__file__).parent.glob("*_pairs.py")):
    import_module(f"tests.controls.{pairs.stem}")  # registers its controls
CLAIMS = {claim.id: claim for claim in load_claims()}
ABOUT_SUBJECTS = {name: claim for name, claim in CLAIMS.items() if get(claim.endpoint).about == "subject"}
UNASKED = {name: claim for name, claim in ABOUT_SUBJECTS.items() if "not_evaluable" in claim.finding}
ASKED = {name: claim for name, claim in ABOUT_SUBJECTS.items() if name not in UNASKED}
BACTERIAL = "bacterial_pneumonia"
OF_NUMBERS = (confidence_pairs, group_pairs)
"""Modules whose controls are made of numbers, not of films; of two hospitals there are those of `hospital_pairs`."""


def judged_finding(claim: Claim) -> str:
    """The finding that the failing control of a claim is wrong about."""
    about_bacterial = (
        "grid.", "preprocessing.disagreement", "whiteout.bacterial", "external.auroc", "external.threshold",
    )  # fmt: skip
    return BACTERIAL if claim.id.startswith(about_bacterial) else JUDGED


@pytest.fixture
def judge(tmp_path) -> Callable[..., Judgement]:
    """Return a function that judges one claim, alone, on the finding that the films tell of."""

    def judged(
        claim: Claim, subject: Subject | None = None, *, films: int = 90, cohort: Cohort | None = None, seed: int = 0,
        probes=None, **changes,
    ) -> Judgement:  # fmt: skip
        found = CLAIMS[table_ids().get(claim.id, claim.id)]
        parameters = {key: value for key, value in {**found.parameters, **changes}.items() if value is not None}
        run = Evaluation(
            subjects=[of_findings(subject or subject_of(Calm(), "calm"))],
            cohort=telling(cohort or cohort_of(films), judged_finding(found)),
            claims=[replace(found, parameters=parameters)],
            probes=probes or {},
            seed=seed,
            cache=tmp_path / "cache",
            quiet=True,
        )
        (one,) = run.subjects
        return run.judgement(run.claims[0], one.name)

    return judged


@pytest.mark.parametrize("name", ASKED)
def test_what_fails_is_caught_and_what_does_not_is_cleared(name, judge, tmp_path, monkeypatch):
    claim = CLAIMS[name]
    finding = judged_finding(claim)
    for module in OF_NUMBERS:
        made = module.simulated_evidence
        monkeypatch.setattr(
            module,
            "simulated_evidence",
            lambda main, cache, made=made, **how: made(of_one(main, finding), cache, **how),
        )
    there = hospital_pairs.judged_there
    monkeypatch.setattr(
        hospital_pairs,
        "judged_there",
        lambda asked, home, away, folder: there(asked, of_one(home, finding), of_one(away, finding), folder),
    )
    control = OF_FINDINGS.get(claim.endpoint) or find(claim)  # which calls films without the finding normal
    caught, cleared = control(for_finding(claim, (HEALTHY, finding)), judge, tmp_path)
    for judgement in (caught, cleared):
        assert table_ids().get(judgement.claim.id, judgement.claim.id) == name
        assert judgement.claim.margin == claim.margin
    assert caught.verdict is expected(claim).caught, caught.reason
    assert cleared.verdict is expected(claim).cleared, cleared.reason


@pytest.mark.parametrize("name", UNASKED)
def test_what_no_finding_is_asked_says_why(name):
    with pytest.raises(NotEvaluable, match=r"finding|set") as reason:
        for_finding(CLAIMS[name], ("normal", JUDGED))
    assert str(reason.value) == CLAIMS[name].finding["not_evaluable"]
