"""Every claim of the table catches what has the failure by construction, and clears what has not."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from suites.harness.claims_table import load_claims
from tests.controls.registry import expected, find, without_control

for pairs in sorted(Path(__file__).parent.glob("*_pairs.py")):
    import_module(f"tests.controls.{pairs.stem}")  # registers its controls
CLAIMS = load_claims()


@pytest.mark.parametrize("claim", CLAIMS, ids=[claim.id for claim in CLAIMS])
def test_what_fails_is_caught_and_what_does_not_is_cleared(claim, judge, tmp_path):
    caught, cleared = find(claim)(claim, judge, tmp_path)
    for judgement in (caught, cleared):
        assert (judgement.claim.id, judgement.claim.margin) == (claim.id, claim.margin)
    assert caught.verdict is expected(claim).caught, caught.reason
    assert cleared.verdict is expected(claim).cleared, cleared.reason


def test_every_claim_has_a_control():
    assert without_control(CLAIMS) == []


def test_a_claim_that_nobody_wrote_a_control_for_is_named():
    stranger = replace(CLAIMS[0], id="contrast.stranger", endpoint="never_heard_of")
    assert without_control([CLAIMS[0], stranger]) == ["contrast.stranger"]
    with pytest.raises(LookupError, match=r"contrast\.stranger has no control.*'never_heard_of'"):
        find(stranger)


def test_a_verdict_swapped_for_its_opposite_would_fail():
    """The four verdicts asked for are four different ones: no control can pass by one verdict given to all."""
    limitation, requirement = (
        next(claim for claim in CLAIMS if claim.kind == kind) for kind in ("limitation", "requirement")
    )
    assert len({*expected(limitation), *expected(requirement)}) == 4
