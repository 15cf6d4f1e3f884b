"""Of a subject of several findings every sentence speaks of findings: with it, without it, said to show it or not."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from suites.harness.claims_table import load_claims
from suites.harness.cohorts.class_roles import for_finding, for_findings, parameters_of_findings
from suites.harness.endpoints import get
from suites.harness.errors import NotEvaluable
from suites.harness.verdicts import judge_section
from tests.controls.of_findings import of_one
from tests.controls.planted import RIGHT, planted
from tests.controls.simulated import simulated_answers, simulated_evidence

CLAIMS = {claim.id: claim for claim in load_claims()}
FINDING = "viral_pneumonia"
OF_CLASSES = re.compile(r"\b(class(es)?|normal|confusion|ill|healthy|bacterial)\b", re.IGNORECASE)
"""Words that a sentence about a finding has no use for."""
SHAM = "sham_opacity@4"
NORMAL, VIRAL = 1, 2
ASKED = [
    name
    for name, claim in CLAIMS.items()
    if name.startswith(("classes.", "contrast.gamma", "grid.", "whiteout.", "flips.grid", "abstention.missed"))
    or name in ("abstention.sensitivity", "subgroup.underdiagnosis", "subgroup.auroc", "subgroup.stress")
    if "not_evaluable" not in claim.finding
]


def judged(name, answers, folder):
    """The judgement of a claim on the films of one finding, and its result."""
    one = of_one(answers, FINDING)
    claim = for_finding(CLAIMS[name], one.subject.classes)
    result = get(claim.endpoint)(simulated_evidence(one, folder), claim)
    return judge_section([claim], "s", {claim.id: result})[0], result


@pytest.fixture(scope="module")
def answers():
    conditions = {"clean"}
    for name in ASKED:
        claim = for_finding(CLAIMS[name], ("no x", "x"))
        conditions |= {one.text for one in get(claim.endpoint).conditions(claim, (1, 3, 5), thorough=False)}
    made = simulated_answers({one: 1.0 + len(one) % 3 for one in sorted(conditions)}, films=240, spread=2.5)
    views = np.where(np.arange(240) % 4 < 2, "PA", "AP")
    return replace(made, cohort=replace(made.cohort, table=made.cohort.table.assign(view=views)))


@pytest.mark.parametrize("name", ASKED)
def test_no_sentence_speaks_of_classes(name, answers, tmp_path):
    judgement, result = judged(name, answers, tmp_path)
    texts = [judgement.reason, result.summary, result.finding, result.caveat, result.films, result.effect.name]
    texts += [one.measure.name.replace("_", " ") for one in result.headroom]
    texts += [one.name for one in result.measures if one.name.endswith("_more")]
    texts += [*map(str, result.tables), *(one.sentence for one in result.helps)]
    for text in texts:
        assert not OF_CLASSES.search(text.replace("_", " ")), text
    assert "viral pneumonia" in " ".join(texts) or result.films in ("films", "films of the group")


def test_what_the_page_calls_the_claims_speaks_of_no_class():
    for claim in for_findings(load_claims()):
        if get(claim.endpoint).about == "subject" and "not_evaluable" not in claim.finding:
            for text in (claim.section, claim.statement, claim.remedy):
                assert not OF_CLASSES.search(text), (claim.id, text)


def test_what_a_claim_asks_of_a_finding_is_printed_in_its_words():
    asked = parameters_of_findings(CLAIMS["whiteout.bacterial"])
    assert (asked["class"], asked["truth"]) == ("the finding", "without it")
    assert asked["conditions"] == CLAIMS["whiteout.bacterial"].parameters["conditions"]
    assert set(asked) <= set(CLAIMS["whiteout.bacterial"].parameters), "and nothing else of the table, such as `short`"


def test_each_kind_of_sentence(tmp_path, answers):
    _, said = judged("classes.normal_called_viral", answers, tmp_path)
    assert said.effect.name == "false_positive_rate"
    assert said.films == "films without viral pneumonia"
    assert said.summary.endswith(" films without viral pneumonia are said to show viral pneumonia.")
    assert {one.name for one in said.measures} == {"false_negative_rate", "wrong_rate_asymmetry"}
    _, gap = judged("classes.recall_gap", answers, tmp_path)
    assert gap.films == "films with and without viral pneumonia"
    lost, result = judged("whiteout.ill_called_normal", answers, tmp_path)
    assert result.summary.startswith("Films with viral pneumonia made white are said not to show viral pneumonia in ")
    assert "All calls" not in result.summary
    assert set(result.tables["What it says to them"]["film before"]) == {"with viral pneumonia"}
    assert result.effect.name == "called_no viral_pneumonia" in lost.result.effect.name


def test_what_a_sham_costs_is_told_by_the_films_that_lose_most(tmp_path):
    calls = np.where(np.arange(240) % 6 == VIRAL, NORMAL, RIGHT)
    now, result = judged("whiteout.sham", planted({SHAM: calls}, films=240), tmp_path)
    assert "most is lost on films with viral pneumonia" in now.reason
    assert "recall of films with viral pneumonia, which lose most, falls from 100.0 % to 50.0 %" in result.finding
    assert "the larger of films with and without viral pneumonia" in result.summary
    assert list(result.tables["With and without viral pneumonia"]["whose"]) == [
        "films without viral pneumonia", "films with viral pneumonia"
    ]  # fmt: skip
    spared, result = judged("whiteout.sham", planted({SHAM: np.full(240, RIGHT)}, films=240), tmp_path)
    assert "nothing is lost on either" in spared.reason
    assert result.finding.endswith("neither films with viral pneumonia nor films without lose recall.")
    with pytest.raises(NotEvaluable, match="neither films with viral pneumonia nor films without are of 10 patients"):
        judged("whiteout.sham", planted({SHAM: np.full(6, RIGHT)}, films=6), tmp_path)


def test_probes_that_were_not_given_are_named_as_the_plan_names_them(tmp_path, answers):
    evidence = simulated_evidence(of_one(answers, FINDING), tmp_path)
    with pytest.raises(NotEvaluable, match="no findings that the subject does not answer were given"):
        evidence.probe("unseen")
    with pytest.raises(NotEvaluable, match="no findings the subject has no class for were given"):
        simulated_evidence(answers, tmp_path).probe("unseen")
