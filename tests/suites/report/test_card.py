"""The card is what huggingface_hub accepts, and its Markdown says only what it should."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard, repocard
from huggingface_hub.repocard_data import model_index_to_eval_results

from suites.harness.errors import UsageProblem
from suites.harness.formatting import wording
from suites.harness.performance import clean_films
from suites.harness.record import PAGE
from suites.harness.report import model_card
from suites.harness.report.card import write_model_cards

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
    accuracy = clean_films.overall(clean_films.clean_answers(record, record.subjects[0]))[0]
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
        here = judgement.claim.statement.split("<")[0].strip()[:40] in body
        assert here == (judgement.subject != PAGE)
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


def test_only_the_published_model_answers_for_its_printed_numbers(record):
    """Another model's card must not carry the limitations of a page that is not its own."""
    subject = record.subjects[0]
    published = replace(subject.provenance, source="hf:kiselyovd/chest-xray-classifier")
    its_own = model_card(replace(record, subjects=[replace(subject, provenance=published)]))
    assert "### Published numbers" in its_own
    assert "### Published numbers" not in model_card(record)


def test_several_subjects_get_a_card_each(make_record, tmp_path):
    record = make_record(subjects=2, films=60, plain=True)
    files = write_model_cards(record, tmp_path / "card.md")
    assert len(set(files)) == 2
    for subject, file in zip(record.subjects, files, strict=True):
        assert file.name.startswith("card-")
        card = ModelCard.load(file)
        name, results = model_index_to_eval_results(card.data.to_dict()["model-index"])
        assert name == subject.name
        assert results
    assert not (tmp_path / "card.md").exists()


def test_one_subject_keeps_the_name_of_its_file(record, tmp_path):
    assert write_model_cards(record, tmp_path / "README.md") == [tmp_path / "README.md"]
    with pytest.raises(UsageProblem, match="cannot write the model card"):
        write_model_cards(record, tmp_path / "no" / "folder" / "README.md")


def test_no_card_is_written_unless_all_can_be(make_record, tmp_path):
    record = make_record(subjects=2, films=60, plain=True)
    first, second = record.subjects
    unasked = replace(record, subjects=[first, replace(second, name="never asked")])
    with pytest.raises(UsageProblem, match="never asked has no answers"):
        write_model_cards(unasked, tmp_path / "card.md")
    assert not list(tmp_path.iterdir())


def test_what_the_weights_record_of_themselves_is_repeated_and_nothing_is_invented(record, text):
    silent = ModelCard(text).data
    assert (silent.license, silent.library_name, silent.base_model) == (None, None, None)
    told = {"license": "apache-2.0", "library_name": "timm", "base_model": ["facebook/convnextv2-tiny-22k-224"]}
    subject = record.subjects[0]
    subject = replace(subject, provenance=replace(subject.provenance, metadata=told))
    data = ModelCard(model_card(replace(record, subjects=[subject]))).data.to_dict()
    assert {key: data[key] for key in told} == told


def test_numbers_of_simulated_films_say_so_in_their_own_entry(record, text):
    assert "simulated" not in text.split("\n---\n")[0]
    simulated = model_card(replace(record, cohort=replace(record.cohort, simulated=True)))
    _, results = model_index_to_eval_results(ModelCard(simulated).data.to_dict()["model-index"])
    assert results
    for result in results:
        assert result.dataset_name.endswith("(simulated films)")
        assert result.dataset_type.startswith("simulated-")
        assert result.dataset_args["simulated"] is True


def test_limitations_are_sentences_with_size_and_interval(record, text):
    said = text.split("## Limitations\n")[1].split("\n## ")[0]
    judgement = next(one for one in record.judgements if one.claim.id == "failure_modes.underexposed")
    (line,) = [line for line in said.splitlines() if line.startswith("- Underexposed films")]
    assert wording.estimate(judgement.result.effect) in line
    assert f"(95 % interval {wording.interval(judgement.result.effect)})" in line
    assert "624 films of 428 patients" in line
    assert "- Required and not met: A statement that goes on" in said
    assert "Balanced accuracy reaches" not in said, "what is met is no limitation"
    assert "## Intended use" in text
    assert "1 inconclusive" in said or "2 inconclusive" in said
