"""What a subject has to lose is in results.json, in results.csv and on the page."""

from __future__ import annotations

from dataclasses import replace

import jsonschema
import pytest

from suites.harness.claims import Headroom, Judgement, Measure, Result, Verdict
from suites.harness.report import results
from tests.suites.test_verdicts import claim_of, result_of


def with_room() -> Judgement:
    measure = Measure(
        name="recall_normal_above_chance", condition="clean", unit="points", estimate=0.02, low=-0.01, high=0.05, n=200,
        patients=100, estimator="e",
    )  # fmt: skip
    result = replace(result_of(0.0, 0.02, 0.04), headroom=[Headroom(measure=measure, bar=0.05)])
    return Judgement(claim=claim_of(), subject="s", verdict=Verdict.NOT_EVALUABLE, reason="r", result=result)


def test_headroom_stands_among_the_measures_once_and_is_named_in_the_files():
    judged = with_room()
    room = judged.result.headroom[0]
    assert results.all_measures(judged) == [judged.result.effect, room.measure]
    again = replace(judged, result=replace(judged.result, measures=[room.measure]))
    assert results.all_measures(again) == results.all_measures(judged)
    document = {"schema": 1, "subjects": [{"name": "s", "sha256": "0", "classes": ["a", "b"]}],
                "cohort": {"name": "c", "n": 1, "patients": 1}, "claims": [results._claim(judged)]}  # fmt: skip
    results.validate(document)
    assert document["claims"][0]["headroom"][0]["sure"] is False
    assert list(results.measures_table(document)["role"]) == ["effect", "headroom"]
    document["claims"][0]["headroom"][0].pop("bar")
    with pytest.raises(jsonschema.ValidationError):
        results.validate(document)


def test_a_result_without_headroom_prints_as_before():
    judged = replace(with_room(), result=Result(effect=result_of(0.0, 0.02, 0.04).effect))
    assert results.all_measures(judged) == [judged.result.effect]
    assert results._claim(judged)["headroom"] == []
