"""Labels meet the subject's classes, or the run stops with their names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites.harness.cohorts.layouts import align_labels, load_cohort, normalise_label
from suites.harness.errors import CohortProblem

Films = Callable[..., Path]
THREE = ("bacterial_pneumonia", "normal", "viral_pneumonia")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("NORMAL", "normal"),
        ("bacteria", "bacterial_pneumonia"),
        ("Viral Pneumonia", "viral_pneumonia"),
        ("pneumonia-virus", "viral_pneumonia"),
        (" PNEUMONIA ", "pneumonia"),
        ("Lung Opacity", "lung_opacity"),
        ("", ""),
    ],
)
def test_spellings(text: str, label: str) -> None:
    assert normalise_label(text) == label


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise_label(normalise_label(text)) == normalise_label(text)


def test_three_classes_meet_three_classes_in_the_subjects_spelling(films: Films) -> None:
    cohort = load_cohort(str(films("bacteria/a.png", "normal/b.png", "virus/c.png")))
    aligned = align_labels(cohort, ("Virus", "NORMAL", "Bacteria"))
    assert aligned.table["label"].tolist() == ["Bacteria", "NORMAL", "Virus"]
    assert aligned.notes == cohort.notes


def test_a_binary_subject_gets_both_pneumonias_as_one_and_says_so(films: Films) -> None:
    cohort = load_cohort(str(films("bacteria/a.png", "normal/b.png", "virus/c.png")))
    aligned = align_labels(cohort, ("Pneumonia", "Normal"))
    assert aligned.table["label"].tolist() == ["Pneumonia", "Normal", "Pneumonia"]
    assert aligned.notes[-1] == (
        "bacterial_pneumonia and viral_pneumonia are judged as Pneumonia, the only pneumonia the subject knows"
    )


def test_a_subject_that_tells_one_kind_does_not_get_the_other(films: Films) -> None:
    root = films("bacteria/a.png", "normal/b.png", "virus/c.png")
    with pytest.raises(CohortProblem, match=r"label 'viral_pneumonia' \(first at virus/c\.png\) not among"):
        load_cohort(str(root), classes=["normal", "bacterial_pneumonia"])
    assert len(load_cohort(f"{root}?label!=virus", classes=["normal", "bacterial_pneumonia"])) == 2


def test_numbers_are_no_labels(films: Films) -> None:
    root = films("a.png", "b.png")
    (root / "list.csv").write_text("file,label\na.png,0\nb.png,1\n")
    with pytest.raises(CohortProblem, match="Write class names, not numbers"):
        load_cohort(f"{root}/list.csv", classes=THREE)


def test_an_empty_class_stops_the_run(films: Films) -> None:
    with pytest.raises(CohortProblem, match="no film of class 'viral_pneumonia'"):
        load_cohort(str(films("bacteria/a.png", "normal/b.png")), classes=THREE)


def test_films_without_label_are_left_out_of_a_labelled_cohort(films: Films) -> None:
    root = films("a.png", "b.png", "c.png")
    (root / "list.csv").write_text("file,label\na.png,normal\nb.png,\nc.png,pneumonia\n")
    aligned = load_cohort(f"{root}/list.csv", classes=["normal", "pneumonia"])
    assert aligned.table["id"].tolist() == ["a.png", "c.png"]
    assert aligned.notes[-1] == "1 of 3 films have no label and are left out, first b.png"


def test_a_probe_needs_no_labels_and_no_full_classes(films: Films) -> None:
    root = films("a.png", "b.png", "c.png")
    assert len(load_cohort(str(root), classes=THREE)) == 3
    (root / "list.csv").write_text("file,label,finding\na.png,normal,\nb.png,effusion,\nc.png,mass,known\n")
    cohort = load_cohort(f"{root}/list.csv")
    with pytest.raises(CohortProblem, match="'effusion', 'mass'"):
        align_labels(cohort, THREE)
    probe = align_labels(cohort, THREE, probe=True)
    assert probe.table["label"].tolist() == ["normal", "", ""]
    assert probe.table["finding"].tolist() == ["", "effusion", "known"]
    assert probe.notes[-1] == "labels unknown to the subject are read as findings: effusion, mass"


def test_two_spellings_of_one_class_are_a_faulty_subject(films: Films) -> None:
    with pytest.raises(CohortProblem, match="two spellings"):
        align_labels(load_cohort(str(films("a.png"))), ("virus", "viral"))
