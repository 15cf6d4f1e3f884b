"""Labels meet the subject's classes, or the run stops with their names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites.harness.cohorts.cohort import COLUMNS, Cohort
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
        ("Pneumonia (viral)", "viral_pneumonia"),
        ("Viral – Pneumonia", "viral_pneumonia"),
        ("COVID-19", "covid_19"),
        ("TB +", "tb+"),
        ("TB-", "tb-"),
        ("\N{MINUS SIGN}1", "-1"),
        ("grade -1", "grade_-1"),
        ("> 50", ">50"),
        ("C++", "c++"),
        ("pneumonia?", "pneumonia?"),
        ("0.5", "0.5"),
        ("cafe\u0301\u200b", "caf\xe9"),
    ],
)
def test_spellings(text: str, label: str) -> None:
    assert normalise_label(text) == label


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise_label(normalise_label(text)) == normalise_label(text)


WORDS = st.lists(st.sampled_from(["tb", "covid", "19", "lung", "é", "C"]), min_size=1, max_size=3)
SIGNS = st.sampled_from(["+", "-", "<", ">", "?", "#", "++", "--", "=", "~", "%", "/", "*", "+/-"])


@given(WORDS, SIGNS, st.sampled_from([" ", "_", "-", "  ", " - "]), st.sampled_from(["", " ", "_"]), st.booleans())
def test_a_sign_is_a_part_of_a_label_and_what_joins_words_is_not(
    words: list[str], sign: str, joint: str, blank: str, behind: bool
) -> None:
    plain, joined = "_".join(words), joint.join(words).upper()
    assert normalise_label(joined) == normalise_label(plain) == plain.lower()
    signed = f"{joined}{blank}{sign}" if behind else f"{sign}{blank}{joined}"
    assert normalise_label(signed) == (plain.lower() + sign if behind else sign + plain.lower())


@given(st.lists(SIGNS, min_size=2, max_size=2, unique=True), WORDS)
def test_folders_that_differ_in_a_sign_are_two_classes(signs: list[str], words: list[str]) -> None:
    classes = ["_".join(words) + sign.replace("/", "!") for sign in signs]
    films = pd.DataFrame([dict.fromkeys(COLUMNS, "") | {"id": name, "label": name} for name in classes])
    aligned = align_labels(
        Cohort(name="c", spec="c", table=films, decode=lambda _: pytest.fail("not looked at")), classes
    )
    assert aligned.table["label"].tolist() == classes
    assert aligned.notes == ()


def test_class_folders_and_tables_of_signs_meet_the_subjects_classes(films: Films) -> None:
    root = films("TB+/a.png", "TB-/b.png")
    cohort = load_cohort(str(root), classes=["TB-", "TB+"])
    assert cohort.table["label"].tolist() == ["TB+", "TB-"]
    for query in ("label=TB+", "label=TB%2B", "label!=tb-", "label=TB+&label=TB +"):
        assert load_cohort(f"{root}?{query}").table["id"].tolist() == ["TB+/a.png"], query


def test_a_third_label_is_not_counted_among_the_classes_of_two(films: Films) -> None:
    names = [f"{at}.png" for at in range(6)]
    root = films(*names)
    rows = (f"{name},{label}" for name, label in zip(names, ("1", "0", "-1") * 2, strict=True))
    (root / "list.csv").write_text("file,label\n" + "\n".join(rows))
    with pytest.raises(
        CohortProblem, match=r"label '-1' \(first at 2\.png\) not among the subject's classes: 0, 1\. Ren"
    ):
        load_cohort(f"{root}/list.csv", classes=["0", "1"])
    assert load_cohort(f"{root}/list.csv?label!=-1", classes=["0", "1"]).table["label"].tolist() == ["1", "0"] * 2
    assert len(load_cohort(f"{root}/list.csv", classes=["0", "1", "-1"])) == 6


def test_texts_that_become_one_label_by_more_than_blanks_are_named(films: Films) -> None:
    root = films("Normal/a.png", "normal./b.png", "normal_/c.png", "virus/d.png")
    note = "labels 'Normal', 'normal.' are read as one, normal"
    assert note in load_cohort(str(root)).notes
    (root / "list.csv").write_text("file,label\nNormal/a.png,Normal\nnormal./b.png,normal.\nvirus/d.png,Virus\n")
    assert note in load_cohort(f"{root}/list.csv").notes
    assert not [told for told in load_cohort(f"{root}/list.csv?label=virus").notes if "Virus" in told]


def test_a_dash_for_an_unknown_label_is_none_unless_a_class_is_called_so(films: Films) -> None:
    root = films("a.png", "b.png", "c.png")
    (root / "list.csv").write_text("file,label\na.png,+\nb.png,-\nc.png,?\n")
    assert load_cohort(f"{root}/list.csv", classes=["-", "+"]).table["label"].tolist() == ["+", "-"]
    assert load_cohort(f"{root}/list.csv", classes=["+"]).notes[-1] == (
        "2 of 3 films have no label and are left out, first b.png"
    )


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
