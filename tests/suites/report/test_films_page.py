"""Does the page of films tell, film by film, what the prediction table says, and stay small and safe?"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from robustness.perturbation import PerturbationUndefined
from suites.harness.record import Part
from suites.harness.report import films_page
from suites.harness.report.film_answers import NOT_ASKED, UNDEFINED, described, film_answers
from suites.harness.report.films_page import PICTURED, embedded, write_films

LOGITS = ["logit_0", "logit_1", "logit_2"]


@pytest.fixture(scope="module")
def record(make_record):
    made = make_record(films=120, plain=True)
    table = made.predictions.copy()
    gone = table.index[(table["condition"] == "underexposed@3") & (table["subject"] == table["subject"].iloc[0])][:7]
    table.loc[gone, LOGITS] = np.nan
    return replace(made, predictions=table)


@pytest.fixture(scope="module")
def page(record, tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    write_films(record, lambda image, condition: np.full((40, 60), 0.5, np.float32), folder)
    return folder


def data_of(folder):
    text = (folder / "films.html").read_text()
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_every_call_is_that_of_the_prediction_table(record, page):
    table = pd.read_parquet(page / "film-answers.parquet").set_index(["subject", "cohort", "film", "condition"])
    own = record.predictions[record.predictions["cohort"] == record.cohort.name]
    truth = record.cohort.table.set_index("id")["label"]
    clean = {}
    for row in own.itertuples():
        logits = np.array([row.logit_0, row.logit_1, row.logit_2], dtype=np.float64)
        found = table.loc[(row.subject, row.cohort, row.image, row.condition)]
        if np.isnan(logits).any():
            assert found["call"] == ""
            assert found["right"] is pd.NA
            assert found["changed"] is pd.NA, "of a film without a call nobody knows"
            continue
        call = record.subjects[0].classes[int(logits.argmax())]
        clean.setdefault((row.subject, row.image), call)
        assert found["call"] == call
        assert found["confidence"] == pytest.approx(softmax(logits).max())
        assert found["right"] == (call == truth[row.image])
        assert found["changed"] == (call != clean[row.subject, row.image])


def test_the_summary_counts_what_the_table_holds(page):
    long = pd.read_parquet(page / "film-answers.parquet")
    summary = pd.read_csv(page / "film-summary.csv").set_index(["subject", "cohort", "film"])
    asked = long[(long["condition"] != "clean") & (long["call"] != "")].groupby(["subject", "cohort", "film"])
    for key, part in asked:
        assert summary.loc[key, "conditions_asked"] == len(part)
        assert summary.loc[key, "conditions_that_change_the_call"] == part["changed"].sum()
    wrong = long[long["right"].fillna(value=True).eq(other=False)]
    surest = wrong.groupby(["subject", "cohort", "film"])["confidence"].max()
    held = summary["surest_wrong_confidence"].dropna()
    assert len(held) == len(surest)
    assert np.allclose(held.sort_index(), surest.sort_index())


def test_the_page_embeds_the_same(record, page):
    data = data_of(page)
    for packed, answers in zip(data["subjects"], film_answers(record), strict=True):
        calls = np.frombuffer(base64.b64decode(packed["calls"]), np.uint8).reshape(answers.calls.shape)
        steps = np.frombuffer(base64.b64decode(packed["confidence"]), np.uint8).reshape(answers.calls.shape)
        assert np.array_equal(calls, answers.calls)
        assert np.abs(steps / data["steps"] - answers.confidence)[answers.called].max() <= 0.5 / data["steps"] + 1e-9
    first = film_answers(record)[0]
    assert (first.calls == UNDEFINED).sum() == 7


def test_films_of_a_probe_are_listed_where_somebody_asked_about_them(record):
    subject, probe = record.subjects[0].name, record.probes["lateral"]
    alone = film_answers(record)[0]
    assert list(alone.films["id"]) == list(record.cohort.table["id"]), "nobody looked at the probe"
    clean = record.predictions[record.predictions["condition"] == "clean"].head(len(probe))
    asked = clean.assign(cohort=probe.name, subject=subject, image=probe.table["id"].to_numpy())
    more = replace(record, predictions=pd.concat([record.predictions, asked], ignore_index=True))
    both = film_answers(more)[0]
    assert len(both.films) == len(record.cohort) + len(probe)
    there = (both.films["cohort"] == probe.name).to_numpy()
    assert (both.calls[there, 0] < UNDEFINED).all()
    assert (both.calls[there, 1:] == NOT_ASKED).all(), "it is not asked about stress"


def test_the_worst_films_are_pictured_clean_and_stressed(record, page):
    data, answers = data_of(page), film_answers(record)
    assert 0 < len(data["pictures"]) <= PICTURED
    worst = {at for one in answers for at in one.worst(PICTURED)}
    assert set(map(int, data["pictures"])) <= worst
    for series in data["pictures"].values():
        for entry in series:
            assert entry["shots"][0]["severity"] == 0
            for shot in entry["shots"]:
                assert (page / shot["file"]).is_file()
                assert (shot["width"], shot["height"]) == (60, 40)


def test_a_page_of_many_films_lists_the_worst_and_a_sample(record, page, tmp_path, monkeypatch):
    assert "This page lists" not in (page / "films.html").read_text()
    answers = film_answers(record)
    everyone = len(answers[0].films)
    monkeypatch.setattr(films_page, "PAGE_BYTES", 60 * 110)
    write_films(record, lambda *_: np.zeros((20, 20), np.float32), tmp_path)
    data = data_of(tmp_path)
    ids = [(row[0], row[3]) for row in data["films"]]
    assert 24 <= len(ids) < everyone / 2
    known = list(answers[0].films[["id", "cohort"]].itertuples(index=False, name=None))
    places = np.array([known.index(one) for one in ids])
    assert (np.diff(places) > 0).all()
    for packed, one in zip(data["subjects"], answers, strict=True):
        calls = np.frombuffer(base64.b64decode(packed["calls"]), np.uint8).reshape(len(ids), -1)
        assert np.array_equal(calls, one.calls[places])
        assert set(one.worst(len(ids) // 4)[:3]) <= set(places.tolist())
    worst = {at for one in answers for at in one.worst(len(ids) // 2)}
    assert set(places.tolist()) - worst, "the others are there, too"
    text = (tmp_path / "films.html").read_text()
    assert f"{everyone:,} films" in text
    assert f"This page lists {len(ids)} of them" in text
    assert len(pd.read_csv(tmp_path / "film-summary.csv")) == everyone * len(answers)


def test_what_a_film_cannot_be_shown_under_is_left_out(record, tmp_path):
    def look(image, condition):
        if condition != "clean":
            raise PerturbationUndefined("no lung")
        return np.zeros((20, 20), np.float32)

    write_films(record, look, tmp_path)
    shots = [shot for series in data_of(tmp_path)["pictures"].values() for one in series for shot in one["shots"]]
    assert shots
    assert {shot["severity"] for shot in shots} == {0}


def test_conditions_are_told_in_words():
    told = described("window_widening@3 | clahe"), described("whiteout_bilateral@4"), described("preprocessing:hub")
    assert [one["words"] for one in told] == [
        "window widening, severity 3, then CLAHE", "white-out of both lungs, severity 4", "the recipe hub"
    ]  # fmt: skip
    assert told[1]["name"] == "white-out of both lungs"
    assert described("nobody_knows@3")["words"] == "nobody_knows@3"


def test_the_rule_of_the_pictures_is_stated_and_a_part_says_so(record, page, tmp_path):
    assert "those that most conditions turn from right to wrong" in (page / "films.html").read_text()
    assert "Incomplete" not in (page / "films.html").read_text()
    write_films(replace(record, part=Part(judged=3, of=17, what="judgements", why="-k x")), None, tmp_path)
    text = (tmp_path / "films.html").read_text()
    assert "Incomplete: 3 of 17 judgements" in text
    assert "have pictures" not in text


def test_nothing_in_the_data_ends_its_element():
    text = embedded({"name": "</script><script>alert(1)</script>&<!--"})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"name": "</script><script>alert(1)</script>&<!--"}


def test_five_thousand_films_are_a_few_megabytes(make_record, tmp_path):
    made = make_record(films=5000, plain=True)
    conditions = made.predictions["condition"].nunique()
    write_films(made, None, tmp_path)
    size = (tmp_path / "films.html").stat().st_size
    each = len(made.subjects) * conditions * 2 * 4 / 3
    assert size < 5000 * (each + 100) + 100_000
    assert 5000 * (2 * 60 * 2 * 4 / 3 + 100) < 4 * 1024**2  # two subjects under sixty conditions


def test_confidences_are_computed_as_they_are_asked_for_wherever_their_rows_lie(record):
    """Films in the order of their rows, rows in no order, and films and conditions that have none."""
    table = record.predictions
    shuffled = table.sample(frac=0.9, random_state=0)
    for predictions in (table, shuffled):
        answers = film_answers(replace(record, predictions=predictions))[0]
        own = predictions[predictions["subject"].astype(str) == answers.subject].astype(
            {"image": str, "condition": str}
        )
        logits = dict(zip(zip(own["image"], own["condition"], strict=True), own[LOGITS].to_numpy(float), strict=True))
        places = np.array([5, 2, 80])
        found = answers.sure(places)
        for row, place in zip(found, places, strict=True):
            for value, condition in zip(row, answers.conditions, strict=True):
                told = logits.get((answers.films["id"][place], condition), np.full(3, np.nan))
                expected = np.nan if np.isnan(told).any() else softmax(told).max()
                np.testing.assert_equal(value, expected)
        np.testing.assert_array_equal(answers.among(places).confidence, found)
