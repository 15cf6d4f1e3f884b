"""No claim calls a subject robust or safe that has nothing to lose; the oracle, judged beside them, is called so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suites.harness.verdicts import judge_section
from tests.controls.nothing_to_lose import IDLE, ORACLE, REASSURING, evaluated, markdown, table

pytestmark = [
    pytest.mark.slow,
    # The slope of a subject that gives all films one confidence is undefined, and its fit runs away.
    pytest.mark.filterwarnings("ignore:invalid value encountered in matmul:RuntimeWarning"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return evaluated(tmp_path_factory.mktemp("idle"))


def reassured(judgements) -> set[tuple[str, str]]:
    return {(judged.claim.id, judged.subject) for judged in judgements if judged.verdict in REASSURING}


def test_the_table_has_every_claim_about_a_subject_and_every_subject(run):
    verdicts = table(run)
    assert list(verdicts.index) == [claim.id for claim in run.claims]
    assert list(verdicts.columns) == [*IDLE, ORACLE]
    assert verdicts.notna().all(axis=None)
    assert len(markdown(verdicts).splitlines()) == 2 + len(run.claims)


def test_every_endpoint_states_what_there_is_to_lose(run):
    results = {judged.claim.id: judged.result for judged in run.judgements if judged.subject == "reads brightness"}
    assert [claim for claim, result in results.items() if result is not None and not result.headroom] == []
    assert sum(result is not None for result in results.values()) >= len(results) - 2


def test_nothing_to_lose_is_never_called_robust_or_safe(run):
    assert {pair for pair in reassured(run.judgements) if pair[1] != ORACLE} == set()


def test_the_oracle_is_called_so_by_claims_of_every_kind_of_harm(run):
    found = {claim for claim, _ in reassured(run.judgements)}
    assert found >= {
        "classes.balanced_accuracy", "classes.viral_recall", "contrast.gamma", "flips.contrast", "whiteout.sham",
        "institution.jpeg", "abstention.conformal", "abstention.sensitivity", "adversarial.one_level",
        "preprocessing.disagreement",
    }  # fmt: skip


def test_without_headroom_the_same_results_would_reassure_about_every_one_of_them(run):
    """The table could be clean because nothing is ever reassuring; it is clean because of the headroom."""
    sections: dict[tuple[str, str], dict[str, object]] = {}
    for judged in run.judgements:
        found = judged.result and replace(judged.result, headroom=())
        sections.setdefault((judged.claim.section, judged.subject), {})[judged.claim.id] = found or judged.reason
    again = [
        one
        for (section, subject), results in sections.items()
        for one in judge_section([claim for claim in run.claims if claim.section == section], subject, results)
    ]
    # A coin thrown anew at every call is barred before anything is measured.
    assert {subject for _, subject in reassured(again)} == {*IDLE, ORACLE} - {"coin anew"}


def test_why_is_said_with_the_numbers(run):
    told = {(judged.claim.id, judged.subject): judged.reason for judged in run.judgements}
    assert told["contrast.scatter", "always normal"].startswith(
        "it has nothing to lose: balanced accuracy above chance 0.0 pp ("
    )
    assert "is not surely above 5.0 pp. Balanced accuracy harm 0.0 pp" in told["contrast.scatter", "always normal"]
    assert "recall viral pneumonia without looking 100.0 %" in told["classes.viral_recall", "always viral"]
    assert "coverage without looking" in told["abstention.conformal", "always normal"]
