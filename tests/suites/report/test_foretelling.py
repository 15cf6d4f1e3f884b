"""What studies found of a stress stands beside the claims that rest on it, and that nobody looked is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from robustness import perturbation, validation
from suites.harness.claims_table import load_claims
from suites.harness.report.foretelling import evidence_of

CLAIMS = {claim.id: claim for claim in load_claims()}
HEAD = "hospital,condition,subjects,version,rank,rank_low,rank_high,rank_no_stress,p_holm,reading\n"


@pytest.fixture
def studied(tmp_path, monkeypatch):
    version = perturbation.get("scatter").version
    rows = f"""north,scatter@3,8,{version},-0.2,-0.5,0.3,0.4,1.0,predicts little
north,scatter@5,8,{version},0.9,0.5,1.0,0.4,0.01,ranks subjects as the hospital does
north,window_widening@3,8,0,0.9,0.5,1.0,0.4,0.01,of a version that is no more
"""
    (tmp_path / "predictive.csv").write_text(HEAD + rows, encoding="utf-8")
    monkeypatch.setattr(validation, "PREDICTIVE", tmp_path / "predictive.csv")
    validation._predictive.cache_clear()
    yield
    validation._predictive.cache_clear()


def test_a_claim_tells_of_the_severity_that_its_verdict_rests_on(studied):
    told = (
        "Scatter, severity 3: rank correlation −0.200 (−0.500 to 0.300) with the drop at north, over 8 subjects; "
        "without any stress their accuracy at home has 0.400. Predicts little."
    )
    assert evidence_of(CLAIMS["contrast.scatter"]) == [told]
    assert "0.900" in evidence_of(replace(CLAIMS["contrast.scatter"], parameters={"condition": "scatter@5"}))[0]


def test_what_was_not_studied_as_it_is_now_is_said_and_no_stress_is_no_row(studied):
    assert evidence_of(CLAIMS["contrast.window"]) == [
        "Not studied: nobody has held it against the drop at another hospital (window widening)."
    ]
    told = evidence_of(CLAIMS["flips.contrast"])
    assert told[0].startswith("Scatter, severity 3")
    assert told[-1].startswith("Not studied")
    assert evidence_of(CLAIMS["classes.balanced_accuracy"]) == []
