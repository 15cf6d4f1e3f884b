"""The card is what huggingface_hub accepts, and its Markdown says only what it should."""

from __future__ import annotations

import re

import pytest
from huggingface_hub import ModelCard, repocard
from huggingface_hub.repocard_data import model_index_to_eval_results

from suites.harness.errors import UsageProblem
from suites.harness.report import model_card, performance

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def record(make_record):
    return make_record(subjects=1, films=120, plain=True)


@pytest.fixture(scope="module")
def text(record) -> str:
    return model_card(record)


def test_the_hub_reads_the_metadata(record, text):
    card = ModelCard(text)
    name, results = model_index_to_eval_results(card.data.to_dict()["model-index"])
    assert name == record.subjects[0].name
    found = {result.metric_type: result for result in results}
    accuracy = performance.overall(performance.clean_answers(record, record.subjects[0]))[0]
    assert found["accuracy"].metric_value == pytest.approx(accuracy.estimate, abs=1e-6)
    assert found["accuracy"].metric_args["low"] == pytest.approx(accuracy.low, abs=1e-6)
    assert {"balanced_accuracy", "recall_viral_pneumonia"} <= set(found)
    assert found["accuracy"].dataset_name == record.cohort.name
    assert found["accuracy"].dataset_args == {"films": 120, "patients": record.cohort.patients}
    assert all(result.metric_value >= 0 for result in results)
    assert "not-a-medical-device" in card.data.tags


def test_the_hub_validates_it_without_a_network(text, monkeypatch):
    sent = {}

    class Answer:
        status_code = 200

        def raise_for_status(self) -> None:
            return None

    class Session:
        def post(self, url, **more):
            sent.update(more["json"])
            return Answer()

    monkeypatch.setattr(repocard, "get_session", Session)
    ModelCard(text).validate()
    assert sent["repoType"] == "model"
    assert sent["content"].startswith("---")


def test_every_claim_stands_in_the_limitations(record, text):
    body = text.split("## Limitations, measured")[1]
    for judgement in record.judgements:
        assert judgement.claim.statement.split("<")[0].strip()[:40] in body
    assert "Not a medical device" in text
    assert "95 % intervals" in body
    assert "+21.0 pp (+17.4 to +24.6)" in body.replace("\\", "")


def test_nothing_becomes_markup(text):
    body = text.split("\n---\n", 1)[1]
    assert EVIL not in body
    assert not re.search(r"(?<!\\)<", body.split("```")[0])


def test_tables_keep_their_columns(text):
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


def test_one_subject_is_chosen_by_name(make_record):
    record = make_record(subjects=2, films=60, plain=True)
    with pytest.raises(UsageProblem, match="name one"):
        model_card(record)
    with pytest.raises(UsageProblem, match="no subject 'other'"):
        model_card(record, "other")
    card = ModelCard(model_card(record, record.subjects[1].name))
    assert card.data.model_name == record.subjects[1].name
