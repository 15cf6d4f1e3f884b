"""Cohort tables: clusters, labels, laziness."""

import gc
import weakref

import pandas as pd
import pytest
import torch

from robustness.phantom import FINDINGS, cohort_table, films, render_row
from robustness.phantom.contact_sheet import contact_sheet


def test_columns_labels_and_clusters():
    table = cohort_table(300, seed=1)
    assert list(table.columns[:7]) == ["id", "patient", "label", "view", "age_group", "finding", "split"]
    assert table.id.is_unique
    assert set(table.split) == {"test"}
    names = {"lobar": "bacterial_pneumonia", "normal": "normal", "interstitial": "viral_pneumonia"}
    assert (table.label == table.finding.map(names)).all()
    assert (table.finding.value_counts() > 75).all()
    sizes = table.groupby("patient").size()
    assert 1.2 < sizes.mean() < 1.6
    assert sizes.max() > 1
    assert len(table.groupby(["patient", "finding"])) == table.patient.nunique(), "one finding for each patient"


def test_a_longer_cohort_starts_with_the_shorter_one():
    pd.testing.assert_frame_equal(cohort_table(200).head(37), cohort_table(37))


def test_splits_and_seeds_share_no_patient():
    test, train = cohort_table(50), cohort_table(50, split="train")
    other = cohort_table(50, seed=1)
    assert not set(test.patient) & set(train.patient)
    assert not set(test.patient) & set(other.patient)


def test_findings_outside_the_classes_have_no_label():
    table = cohort_table(30, findings="unseen", age="adult", view="PA")
    assert set(table.finding) == {"effusion", "pneumothorax", "mass"}
    assert (table.label == "").all()
    assert set(cohort_table(40, findings="whiteout").finding) == {f for f in FINDINGS if f.startswith("whiteout")}
    assert set(cohort_table(4, findings=("mass",)).finding) == {"mass"}


def test_films_come_one_at_a_time_and_are_let_go():
    alive = []
    for name, film in films(cohort_table(5), size=32):
        assert name.startswith("phantom-")
        gc.collect()
        assert sum(one() is not None for one in alive) <= 1
        alive.append(weakref.ref(film))
        del film


def test_a_row_renders_alone_as_in_its_cohort():
    table = cohort_table(4, seed=3)
    in_turn = [film.film for _, film in films(table, size=40)]
    assert torch.equal(render_row(table.iloc[2], size=40).film, in_turn[2])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n": 0}, "n=0"),
        ({"n": 3, "view": "X"}, "PA, AP, LATERAL"),
        ({"n": 3, "age": "old"}, "child, adult"),
        ({"n": 3, "findings": "flu"}, "known: normal"),
        ({"n": 3, "findings": ()}, "unknown finding"),
        ({"n": 3, "films_per_patient": 9.0}, "films_per_patient"),
    ],
)
def test_bad_input_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        cohort_table(**kwargs)


def test_the_contact_sheet_is_a_picture(tmp_path):
    out = contact_sheet(tmp_path / "sheet.png", findings=("normal", "lobar"), size=32)
    assert out.read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match="unknown finding"):
        contact_sheet(tmp_path / "x.png", findings=("flu",))
