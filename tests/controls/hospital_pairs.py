"""Controls of claims about another hospital: a difference that is there by construction, and one that is not."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from suites.harness.claims import Claim, Judgement
from suites.harness.endpoints import get
from suites.harness.predictions.answers import Answers
from suites.harness.verdicts import judge_section
from tests.controls.group_pairs import WRONG
from tests.controls.hospitals import right_on, scored
from tests.controls.registry import Pair, control
from tests.controls.simulated import simulated_evidence


def judged_there(claim: Claim, home: Answers, away: Answers, folder: Path) -> Judgement:
    """Judge a claim on answers made of numbers, of two hospitals."""
    evidence = replace(simulated_evidence(home, folder), external={"external": away})
    return judge_section([claim], "s", {claim.id: get(claim.endpoint)(evidence, claim)})[0]


@control("external_drop", "external_standardised")
def drop(claim, _, folder) -> Pair:
    """Fifteen points are lost there, or none."""
    right = partial(right_on, each=400, wrong=WRONG)
    home = right(0.85, "home")
    return Pair(
        caught=judged_there(claim, home, right(0.70, "there"), folder),
        cleared=judged_there(claim, home, right(0.85, "twin"), folder),
    )


@control("external_auroc")
def auroc(claim, _, folder) -> Pair:
    """Ill and healthy films lie nearer to each other there; or as far apart, both moved alike."""
    home = scored("home", apart=3.0)
    return Pair(
        caught=judged_there(claim, home, scored("blind", apart=1.0), folder),
        cleared=judged_there(claim, home, scored("moved", apart=3.0, moved=1.6), folder),
    )


@control("external_threshold")
def threshold(claim, _, folder) -> Pair:
    """The odds of all films are moved there; or the films are as at home."""
    home = scored("home", apart=3.0)
    return Pair(
        caught=judged_there(claim, home, scored("moved", apart=3.0, moved=1.6), folder),
        cleared=judged_there(claim, home, scored("twin", apart=3.0), folder),
    )


@control("external_confidence")
def confidence(claim, _, folder) -> Pair:
    """As sure as at home, where 95 of 100 are right, of films of which 75 are; or of films of which 95 are."""
    right = partial(right_on, each=400, sure=3.7, wrong=WRONG)
    home = right(0.95, "home")
    return Pair(
        caught=judged_there(claim, home, right(0.75, "there"), folder),
        cleared=judged_there(claim, home, right(0.95, "twin"), folder),
    )
