"""The plan of a subject of several findings counts films with and without each, and speaks of findings."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from suites.harness.claims_table import load_claims
from suites.harness.cohorts.layouts.boxes import Box, as_text
from suites.harness.evaluation import Evaluation
from suites.harness.plan import Plan, planned, stored
from suites.harness.plan.speed import Speed, measure
from suites.harness.predictions.resolution import AS_STORED
from tests.controls.films import cohort_of
from tests.controls.subjects import Reader, subject_of

FINDINGS = ("Effusion", "Mass", "Edema")
SPEED = Speed({"of three": 0.01}, {"of three": 0.02}, {"main": 0.1}, 0.002, frozenset({"lung"}), (64, 64))
CLAIMS = load_claims()
WITH = {"Effusion": 12, "Mass": 3}


@pytest.fixture
def made(tmp_path) -> Plan:
    cohort = cohort_of(24)
    known = {f"finding:{name}": np.where(np.arange(24) < films, "positive", "negative") for name, films in WITH.items()}
    known["finding:Edema"] = np.array(["positive", "negative", "uncertain", "not mentioned"] * 6)
    cohort = replace(cohort, table=cohort.table.assign(label="", **known))
    whole = replace(subject_of(Reader(), "of three"), classes=FINDINGS, heads="sigmoid")
    run = Evaluation(subjects=[whole], cohort=cohort, claims=CLAIMS, cache=tmp_path)
    return planned(run, SPEED, stored(run))


def test_films_with_and_without_each_finding_are_counted(made):
    assert made.findings == {
        "Effusion": {"no Effusion": (12, 12), "Effusion": (12, 12)},
        "Mass": {"no Mass": (21, 21), "Mass": (3, 3)},
        "Edema": {"no Edema": (6, 6), "Edema": (6, 6)},
    }
    assert made.classes == {}
    first, second, *_ = made.lines()
    assert first.startswith(
        "plan: films: 24, with and without Mass 3 / 21, Edema 6 / 6 (12 left out), Effusion 12 / 12"
    )
    assert f"{len(made.open)} of {made.judgements} judgements ({made.claims} claims, 3 findings) can be " in second
    assert "(only 3 films with Mass)" in second
    document = json.loads(json.dumps(made.document()))
    assert document["findings"]["Mass"] == {"no Mass": [21, 21], "Mass": [3, 3]}


def test_a_claim_is_open_for_a_finding_by_its_own_films_and_said_to_be(made):
    recall = {one.finding: one for one in made.open if one.claim == "classes.finding_recall"}
    assert {name: one.patients for name, one in recall.items()} == {"Effusion": 12, "Mass": 3, "Edema": 6}
    assert all(one.wanted is not None for one in recall.values())
    called = {one.finding: one.patients for one in made.open if one.claim == "grid.stripes"}
    assert called == {"Effusion": 12, "Mass": 21, "Edema": 6}, "of films without the finding"
    (line,) = [line for line in made.lines(every_claim=True) if "classes.finding_recall" in line]
    assert "classes.finding_recall (all 3 findings): 3 to 12 patients; for an effect of twice its margin about " in line
    assert not any("0 patients" in line for line in made.lines(every_claim=True))


def test_what_cannot_be_asked_of_a_finding_is_not_evaluable_and_counted_nowhere(made):
    (ids,) = [ids for reason, ids in made.missing.items() if "findings do not exclude one another" in reason]
    assert "classes.finding_for_another" in ids
    assert "abstention.missed" not in {name for ids in made.missing.values() for name in ids}
    assert "abstention.missed" in {one.claim for one in made.open}
    unseen = made.missing["no findings that the subject does not answer were given, pass --probe-unseen SPEC"]
    assert set(unseen) == {"probes.unseen", "doubt.unseen"}
    assert not {one.claim for one in made.open} & {name for ids in made.missing.values() for name in ids}
    assert not any("the classes are" in reason for reason in made.missing)


def test_films_of_which_any_has_boxes_carry_lesion_masks_though_the_first_has_none():
    cohort = cohort_of(6)
    plain = replace(cohort, decode=lambda row: replace(cohort.decode(row), masks={}))
    boxed = replace(plain, table=plain.table.assign(boxes=["", "", "", as_text([Box("Mass", 1, 1, 9, 9)]), "", ""]))
    unboxed = replace(plain, table=plain.table.assign(boxes="", lung_mask=["", "", "", "", "", "one.png"]))
    asked = {
        name: measure([], {"main": films}, [], AS_STORED, seed=0).masks
        for name, films in {"plain": plain, "boxed": boxed, "unboxed": unboxed}.items()
    }
    assert asked == {"plain": frozenset(), "boxed": {"lesion"}, "unboxed": {"lung"}}
