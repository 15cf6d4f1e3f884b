"""A card written from the folder of a report is the one that the run itself would have written."""

from __future__ import annotations

import pytest

from suites.harness.errors import FilmUnreadable, UsageProblem
from suites.harness.report import write_report
from suites.harness.report.card import model_card
from suites.harness.report.stored_record import record_of


def test_the_card_of_a_folder_is_that_of_the_run(make_record, tmp_path):
    record = make_record(films=60, plain=True)
    write_report(record, tmp_path / "out")
    again = record_of(tmp_path / "out")
    for subject in record.subjects:
        assert model_card(again, subject.name) == model_card(record, subject.name)
    assert [one.verdict for one in again.judgements] == [one.verdict for one in record.judgements]
    with pytest.raises(FilmUnreadable, match="keeps no films"):
        again.cohort.opened(again.cohort.rows([0])[0])[1]()


def test_a_folder_without_what_belongs_to_it_is_told_what_is_missing(make_record, tmp_path):
    write_report(make_record(films=60, plain=True), tmp_path / "out")
    for file in ("films.csv", "predictions.parquet"):
        (tmp_path / "out" / file).unlink()
        with pytest.raises(UsageProblem, match=rf"{file} is not beside results\.json; give the whole folder"):
            record_of(tmp_path / "out")


@pytest.mark.parametrize("junk", [b"", b"this is no table of anything"])
def test_predictions_that_are_none_are_said_to_be_and_results_alone_are_of_no_use_here(make_record, tmp_path, junk):
    write_report(make_record(films=60, plain=True), tmp_path / "out")
    (tmp_path / "out" / "predictions.parquet").write_bytes(junk)
    with pytest.raises(UsageProblem) as caught:
        record_of(tmp_path / "out")
    assert str(caught.value).endswith(
        "its predictions cannot be read (predictions.parquet is no Parquet file, or a damaged one); write that report "
        "again"
    )
