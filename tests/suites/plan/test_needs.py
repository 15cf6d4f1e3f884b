"""What is predicted for a few claims: what they need and what Holm's correction takes, and the verdicts of a whole run.

The endpoints are held to what they declare: whatever one reads beyond that would depend on who else is selected.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from suites.harness import evaluation
from suites.harness.claims_table import load_claims
from suites.harness.cohorts.cohort import Film
from suites.harness.endpoints import get, measuring
from suites.harness.endpoints.parameters import ConditionName
from suites.harness.endpoints.registry import endpoint
from suites.harness.evaluation import Evaluation
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN
from suites.harness.verdicts import judge_section
from tests.controls.films import CLASSES, boned, cohort_of, inverted
from tests.controls.simulated import simulated_answers, simulated_evidence
from tests.controls.subjects import Reader, subject_of

CLAIMS = {claim.id: claim for claim in load_claims()}
PROBES = {"lateral": 24, "adult": 18, "unseen": 20}
TABLE = (
    "contrast.window", "contrast.scatter", "contrast.fixed_window", "whiteout.sham", "whiteout.bacterial",
    "whiteout.normal", "whiteout.confident", "calibration.error", "calibration.temperature", "abstention.coverage",
    "abstention.conformal", "doubt.lateral", "doubt.adult",
)  # fmt: skip
"""Claims that have controls, remedies, severities or probes beside their verdicts, or stand among such in a section."""
ALONE = ("contrast.scatter", "contrast.fixed_window", "whiteout.sham", "whiteout.bacterial", "whiteout.confident",
         "calibration.temperature", "doubt.adult")  # fmt: skip


def found(row) -> Film:
    """A film that shows its finding, whatever its label says."""
    return boned({**row, "label": ""})


def run_of(cache, *selected: str, table: Iterable[str] = tuple(CLAIMS)) -> Evaluation:
    films = cohort_of(60, decode=found)
    mistaken = films.table["label"].where(films.table["number"] % 10 != 4, CLASSES[1])  # so that calls are wrong
    made = Evaluation(
        subjects=[subject_of(Reader(), "reader")], cohort=replace(films, table=films.table.assign(label=mistaken)),
        cache=cache,
        claims=[CLAIMS[name] for name in table],
        probes={role: cohort_of(films, name=f"{role}s", decode=inverted) for role, films in PROBES.items()},
    )  # fmt: skip
    made.select(selected)
    return made


def planned(run: Evaluation) -> dict[str, set[str]]:
    return {role: {condition.text for condition in conditions} for role, conditions in run.plan.items()}


def test_a_whole_run_is_predicted_whatever_any_claim_names(tmp_path):
    run = run_of(tmp_path)
    named = [
        condition.text
        for claim in CLAIMS.values()
        for condition in get(claim.endpoint).conditions(claim, (1, 3, 5), thorough=False)
    ]
    texts = [condition.text for condition in run.plan["main"]]
    assert texts == list(dict.fromkeys([CLEAN, *named]))
    assert set(run.plan) == {"main", *PROBES}
    assert planned(run_of(tmp_path, *CLAIMS)) == planned(run)
    assert run.running == run.claims


def test_of_the_other_claims_of_a_section_only_that_is_predicted_which_their_p_values_rest_on(tmp_path):
    others = {f"{name}@3" for name in ("window_widening", "gamma_high", "underexposure", "underexposure_stress",
                                       "underexposure_fixed_window")}  # fmt: skip
    assert planned(run_of(tmp_path, "contrast.scatter")) == {
        "main": {CLEAN, "scatter@1", "scatter@3", "scatter@5", *others}
    }
    assert planned(run_of(tmp_path, "explanations.grid")) == {
        "main": {CLEAN, "grid_stripes@3", "window_widening@3"},
        "lateral": {CLEAN},  # Holm takes the p value of explanations.lateral
    }
    whole = planned(run_of(tmp_path, "explanations.believable"))
    assert {"main", *PROBES} == set(whole)
    assert "whiteout_mass@4" in whole["main"]


class Reading:
    """Notes what an endpoint reads: claim -> (name of a cohort, condition)."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.read: Mapping[str, set[tuple[str, str]]] = defaultdict(set)
        self._claim, measured, logits = "", measuring.measured_alone, Answers.logits

        def noting(measure, evidence, claim):
            self._claim = claim.id
            return measured(measure, evidence, claim)

        def noted(answers, condition=CLEAN):
            self.read[self._claim].add((answers.cohort.name, condition))
            return logits(answers, condition)

        patch.setattr(measuring, "measured_alone", noting)
        patch.setattr(Answers, "logits", noted)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of all these claims, what their endpoints read, and where the answers are kept."""
    cache = tmp_path_factory.mktemp("needs")
    with pytest.MonkeyPatch.context() as patch:
        reading = Reading(patch)
        run = run_of(cache, table=TABLE).run()
    return run, reading.read, cache


def test_an_endpoint_reads_only_what_it_declares(whole):
    run, read, _ = whole
    names = {run.cohort.name: "main"} | {cohort.name: role for role, cohort in run.probes.items()}
    assert len(read) == len(TABLE)
    for claim in run.claims:
        measure = get(claim.endpoint)
        declared = {("main", one.text) for one in run.conditions([claim])}
        declared |= {(role, CLEAN) for role in measure.roles(claim, run.probes)}
        assert {(names[cohort], text) for cohort, text in read[claim.id]} <= declared, claim.id


@pytest.mark.parametrize("name", ALONE)
def test_a_claim_is_judged_alone_as_among_all(whole, name):
    run, _, cache = whole
    alone = run_of(cache, name, table=TABLE)
    (mine,) = alone.run().judgements
    theirs = next(one for one in run.judgements if one.claim.id == name)
    assert (mine.claim, mine.verdict, mine.reason) == (theirs.claim, theirs.verdict, theirs.reason)
    assert mine.result is not None
    assert (mine.result.effect, mine.result.measures) == (theirs.result.effect, theirs.result.measures)
    assert (mine.result.summary, list(mine.result.tables)) == (theirs.result.summary, list(theirs.result.tables))
    # What only stands beside a verdict moves no p value, so Holm's correction takes the same.
    section = {one.claim.id: one.result for one in run.judgements if one.claim.section == CLAIMS[name].section}
    others = {one.claim.id: one.result for one in alone._judged[CLAIMS[name].section, "reader"]}
    assert set(section) == set(others)
    for other, result in others.items():
        assert (result is None) == (section[other] is None), other
        if result is not None:
            pair = result, section[other]
            assert len({(one.effect, one.p_beyond, one.p_within) for one in pair}) == 1, other


def test_the_grid_of_a_part_shows_what_was_asked_and_not_what_holm_took(whole, monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(evaluation, "write_report", lambda *_, grid, **__: drawn.append(grid))
    run = run_of(whole[2], "contrast.scatter", table=TABLE).run()
    run.report(tmp_path)
    assert [row.name for row in drawn[0].subjects[0].rows] == ["scatter"]
    assert {"window_widening@3", "scatter@3"} <= set(run.record().predictions["condition"])


def test_a_claim_that_was_not_selected_is_not_judged(whole):
    run = run_of(whole[2], "contrast.scatter")
    with pytest.raises(ValueError, match=r"contrast\.gamma is none of the claims that were selected"):
        run.judgement(CLAIMS["contrast.gamma"], "reader")


@pytest.mark.parametrize(
    ("name", "failing"),
    [
        ("contrast.fixed_window", "brightness_shift@3"),
        ("contrast.fixed_window", "underexposure_fixed_window@3 | rewindow"),
        ("whiteout.normal", "sham_opacity@4"),
        ("abstention.conformal", "scatter@3"),
        ("abstention.coverage", "whiteout_bilateral@4"),
    ],
)
def test_what_stands_beside_a_verdict_takes_nothing_from_it_where_it_fails(name, failing, tmp_path):
    claim = CLAIMS[name]
    measure = get(claim.endpoint)
    named = [one.text for one in measure.conditions(claim, (3,), thorough=False)]
    answers = simulated_answers(dict.fromkeys([CLEAN, *named], 0.8), films=120)
    rows = answers.predictions.table["condition"] != failing
    broken = replace(
        answers,
        predictions=replace(
            answers.predictions, table=answers.predictions.table[rows], failed={failing: "its code failed"}
        ),
    )
    results = {}
    for how, one in (("whole", answers), ("broken", broken)):
        result = measure(simulated_evidence(one, tmp_path), claim)
        results[how] = result.effect, result.p_beyond, result.p_within
        (judged,) = judge_section([claim], "simulated", {claim.id: result})
        assert judged.reason
    assert results["whole"] == results["broken"]


def test_what_a_claim_must_name_cannot_stand_beside_its_verdict():
    with pytest.raises(ValueError, match="condition stands beside the verdict and needs a default"):
        endpoint("crooked", parameters={"condition": ConditionName(beside_verdict=True)})
