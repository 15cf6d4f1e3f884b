"""Specs, filters, recognition of layouts, and names nobody should trust."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.layouts import Spec, load_cohort, register, registry
from suites.harness.errors import CohortProblem, FilmUnreadable

Films = Callable[..., Path]


def test_three_folders_with_and_without_splits(films: Films) -> None:
    names = ["bacterial_pneumonia/a.png", "normal/b.png", "viral_pneumonia/person1_virus_2.png"]
    flat = load_cohort(str(films(*names, root="flat")))
    assert flat.table["label"].tolist() == ["bacterial_pneumonia", "normal", "viral_pneumonia"]
    assert flat.table["split"].tolist() == [""] * 3
    assert flat.table["patient"].tolist() == ["bacterial_pneumonia/a.png", "normal/b.png", "person1_virus"]
    assert flat.name == "flat"
    split = films(*(f"{split}/{name}" for split in ("training", "valid", "test") for name in names), root="split")
    assert len(load_cohort(str(split))) == 3
    assert set(load_cohort(str(split), split=None).table["split"]) == {"train", "val", "test"}


def test_any_class_names_will_do(films: Films) -> None:
    cohort = load_cohort(str(films("COVID-19/a.png", "Lung Opacity/b.png")))
    assert cohort.table["label"].tolist() == ["covid_19", "lung_opacity"]


def test_spelling_variants_are_one_label(films: Films) -> None:
    cohort = load_cohort(str(films("Bacteria/a.png", "Healthy/b.png", "PNEUMONIA-VIRAL/c.png")))
    assert cohort.table["label"].tolist() == ["bacterial_pneumonia", "normal", "viral_pneumonia"]


def test_a_name_that_contradicts_its_class_folder_is_refused(films: Films) -> None:
    with pytest.raises(CohortProblem, match="its name says viral_pneumonia"):
        load_cohort(str(films("bacterial_pneumonia/person1_virus_2.png", "normal/b.png")))


def test_the_subjects_classes_tell_class_folders_from_others(films: Films) -> None:
    root = films("x/deep/a.png", "y/deep/b.png")
    assert set(load_cohort(str(root)).table["label"]) == {""}
    assert set(load_cohort(str(root), classes=["x", "y"]).table["label"]) == {"x", "y"}


def test_folders_beside_a_manifest_are_not_taken_for_classes(films: Films) -> None:
    root = films("lateral/a.png", "frontal/b.png")
    (root / "metadata.csv").write_text("file,view,label\nlateral/a.png,L,normal\nfrontal/b.png,PA,normal\n")
    assert load_cohort(str(root)).table["label"].tolist() == ["normal", "normal"]


def test_a_folder_of_films_without_labels(films: Films) -> None:
    cohort = load_cohort(str(films("b.png", "a.png")))
    assert cohort.table["id"].tolist() == ["a.png", "b.png"]
    assert set(cohort.table["label"]) == {""}
    assert "no labels" in cohort.notes[0]
    assert len(load_cohort(str(films("b.png") / "b.png"))) == 1


def test_filters(films: Films) -> None:
    root = films("a.png", "b.png", "c.png")
    (root / "films.csv").write_text("file,view,finding\na.png,L,COVID-19\nb.png,AP Supine,R&D\nc.png,PA,COVID-19\n")
    spec = f"{root}/films.csv"
    for query, kept in {
        "view=L": ["a.png"],
        "view=lateral": ["a.png"],
        "view=pa": ["c.png"],
        "view=ap_supine": ["b.png"],
        "view=L&view=PA": ["a.png", "c.png"],
        "view!=L": ["b.png", "c.png"],
        "view=AP Supine": ["b.png"],
        "view=AP+Supine": ["b.png"],
        "finding=R%26D": ["b.png"],
        "finding=COVID-19&view!=L": ["c.png"],
    }.items():
        assert load_cohort(f"{spec}?{query}").table["id"].tolist() == kept, query
    assert load_cohort(f"{spec}?view=L").name.endswith("view=L")
    assert load_cohort(f"{spec}?view=L").spec == f"{spec}?view=L"
    for query, reason in {
        "view=LAO": "view is one of 'AP supine', 'PA', 'lateral'",
        "colour=red": "cannot filter by 'colour'; the columns are id, file",
        "view": "key=value",
        "split=test": "films carry no split",
        "layout=dvd": "no layout is called 'dvd'",
    }.items():
        with pytest.raises(CohortProblem, match=reason):
            load_cohort(f"{spec}?{query}")


def test_labels_are_filtered_in_any_spelling(films: Films) -> None:
    root = films("bacteria/a.png", "normal/b.png", "virus/c.png")
    assert load_cohort(f"{root}?label=NORMAL&label=Bacteria").table["id"].tolist() == ["bacteria/a.png", "normal/b.png"]


def test_a_question_mark_in_a_folder_name_is_no_filter(films: Films) -> None:
    assert len(load_cohort(str(films("a.png", root="films?split=x")))) == 1


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("no/such/folder", "no such file or folder.*`kaggle`"),
        ("a\0b", "null character"),
    ],
)
def test_a_spec_that_names_nothing(spec: str, reason: str) -> None:
    with pytest.raises(CohortProblem, match=reason):
        load_cohort(spec)


@pytest.mark.parametrize(
    ("suffixes", "remedy"),
    [
        (("xlsx", "XLS", "ods", "json", "txt"), "save it as CSV with the columns `file` and `label`"),
        (("zip", "tar", "tar.gz", "csv.gz", "7z"), "unpack it, and name what was in it"),
        (("pdf", "nii", "npy", "h5", "odd"), "save its films as PNG, TIFF or DICOM"),
    ],
)
def test_a_file_that_is_neither_table_nor_film(films: Films, suffixes: tuple[str, ...], remedy: str) -> None:
    folder = films("a.png")
    for suffix in suffixes:
        path = folder / f"films.{suffix}"
        path.write_bytes(b"PK\3\4 anything but a film")
        for classes in (None, ["normal", "virus"]):
            with pytest.raises(CohortProblem, match=rf"films\.{suffix}: is neither a table .* nor a film.*{remedy}"):
                load_cohort(str(path), classes=classes)
        path.write_bytes((folder / "a.png").read_bytes())
        assert len(load_cohort(str(path))) == 1  # a film is one whatever it is called
    (folder / "broken.png").write_bytes(b"nothing")
    assert len(load_cohort(f"{folder}/broken.png")) == 1  # and one that cannot be decoded is listed


def test_the_split_that_nobody_named_is_named(films: Films) -> None:
    root = films("train/normal/a.png", "train/virus/b.png", "val/normal/c.png", "val/virus/d.png")
    with pytest.raises(
        CohortProblem, match=r"the split 'test', which is taken where .* 'train', 'val': add \?split=val"
    ):
        load_cohort(str(root), classes=["normal", "virus"])
    with pytest.raises(CohortProblem, match="add &split=val"):
        load_cohort(f"{root}?label=normal")
    with pytest.raises(CohortProblem, match="no film is left by split=test; split is one of 'train', 'val'"):
        load_cohort(f"{root}?split=test")
    assert len(load_cohort(f"{root}?split=val")) == 2


def test_an_empty_folder_is_no_cohort(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("x")
    with pytest.raises(CohortProblem, match="holds nothing that is known as films"):
        load_cohort(str(tmp_path))


def test_a_forced_layout_that_does_not_fit_says_so(films: Films) -> None:
    for layout in ("kaggle_folders", "manifest", "three_folders", "dicom"):
        with pytest.raises(CohortProblem):
            load_cohort(f"{films('a.png')}?layout={layout}")


def test_a_layout_is_one_function(monkeypatch: pytest.MonkeyPatch, films: Films) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    template = load_cohort(str(films("a.png")))

    @register("mirror", recognises=lambda spec: spec.location == "mirror", precedence=5, options=("side",))
    def mirror(spec: Spec) -> Cohort:
        assert spec.option("side") == "left"
        return template

    assert load_cohort("mirror?side=left").table["id"].tolist() == ["a.png"]
    with pytest.raises(CohortProblem, match="two layouts are called 'mirror'"):
        register("mirror", recognises=lambda _: True)(mirror)


def test_a_cohort_made_in_python_passes_unchanged(films: Films) -> None:
    cohort = load_cohort(str(films("train/normal/a.png", "train/virus/b.png")), split="train")
    assert load_cohort(cohort) is cohort
    assert load_cohort(cohort, classes=["Viral", "Normal"]).table["label"].tolist() == ["Normal", "Viral"]


def test_hostile_names_are_printable_ids_and_still_open(films: Films) -> None:
    odd = [os.fsdecode(b"bad\xff.png"), "line\nbreak.png", "<script>alert(1)</script>.png".replace("/", ""), "ünï.png"]
    root = films(*odd, "plain.png")
    cohort = load_cohort(str(root))
    assert cohort.table["id"].is_monotonic_increasing
    assert all(name.isprintable() for name in cohort.table["id"])
    assert {"bad\\udcff.png", "line\\nbreak.png", "<script>alert(1)<script>.png", "ünï.png"} < set(cohort.table["id"])
    cohort.table.to_parquet(root / "table.parquet")
    again = pickle.loads(pickle.dumps(cohort.decode))
    for row in cohort.table.to_dict("records"):
        assert again(row).pixels.shape == (40, 48)


def test_two_files_of_one_printable_name_are_not_confused(films: Films) -> None:
    with pytest.raises(CohortProblem, match="more than once"):
        load_cohort(str(films("a\nb.png", "a\\nb.png")))


def test_broken_files_are_found_when_they_are_decoded(films: Films) -> None:
    root = films("normal/a.png", "virus/b.png")
    (root / "normal/notes.txt").write_text("not a film")
    (root / "normal/gone.png").symlink_to(root / "nowhere")
    cohort = load_cohort(str(root))
    reasons = {}
    for row in cohort.table.to_dict("records"):
        try:
            cohort.decode(row)
        except FilmUnreadable as problem:
            reasons[row["id"]] = problem.reason.split(" (")[0]
    assert reasons == {"normal/gone.png": "no such file", "normal/notes.txt": "is not an image"}


def test_the_order_does_not_depend_on_the_disk(films: Films, monkeypatch: pytest.MonkeyPatch) -> None:
    root = films(*(f"{kind}/{name}.png" for kind in ("normal", "virus") for name in "cab"))
    usual = load_cohort(str(root))
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda *a, **k: ((p, d, files[::-1]) for p, d, files in walk(*a, **k)))
    assert load_cohort(str(root)).table.equals(usual.table)
    assert load_cohort(str(root)).fingerprint == usual.fingerprint


def test_content_is_the_files_own(films: Films) -> None:
    root = films("a.png")
    Image.fromarray(np.asarray(Image.open(root / "a.png"))).save(root / "b.png")
    rows = load_cohort(str(root)).table.to_dict("records")
    decode = load_cohort(str(root)).decode
    assert decode(rows[0]).content == decode(rows[1]).content


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("x" * 5000, "File name too long"),
        ("x/" * 5000, "File name too long"),
        ("~nobody-of-this-name/films", "no user of this machine has that home"),
        ("phantom:n=0", "n is '0'; it must be a whole number from 1 to 100,000"),
        ("phantom:n=100000000", "n is '100000000'; it must be"),
        (f"phantom:n={2**63}", "it must be a whole number"),
        (f"phantom:n={'9' * 5000}", "it must be a whole number"),
        ("phantom:n=1e3", "n is '1e3'; it must be a whole number"),
        (f"phantom:seed={2**64}", "seed is '18446744073709551616'; it must be a whole number"),
        (f"phantom:view={'L' * 4000}", "known are"),
        (f"phantom:findings={'mass+' * 1000}", "unknown finding ''"),
        (f"phantom:{'k' * 4000}=1", "is not one of n=..."),
        (f"phantom?{'c' * 4000}=1", "cannot filter by"),
        (f"phantom:n=6?view={'L' * 4000}", "no film is left by view="),
        ("phantom:n=6?" + "&".join(f"view={at}" for at in range(1000)), "no film is left by view=0 or 1 or 2 or 3;"),
        (f"phantom:n=6?layout={'d' * 4000}", "no layout is called"),
        (f"phantom:n=6?{'&' * 2000}", "key=value"),
        ("\ud800", "holds half of a surrogate pair"),
        ("/dev/null", "is a device or a pipe"),
    ],
)
def test_specs_that_are_wrong_or_too_long_say_so_in_one_short_line(spec: str, reason: str) -> None:
    with pytest.raises(CohortProblem, match=reason) as caught:
        load_cohort(spec)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_a_filter_a_thousand_times_is_one_filter() -> None:
    cohort = load_cohort("phantom:n=6?" + "&".join(["view=AP"] * 1000))
    assert (len(cohort), cohort.name) == (6, "phantom n=6 view=AP test")
    many = load_cohort("phantom:n=6?" + "&".join(f"view={view}" for view in ["AP", *range(999)]))
    assert many.name == "phantom n=6 view=AP,0,1,2,and 996 more test"


@settings(max_examples=100)
@given(st.text(st.characters(), max_size=40), st.sampled_from(["", "phantom:", "phantom:n=", "phantom:n=3?", "~", "?"]))
def test_any_spec_is_a_cohort_or_one_short_line(text: str, before: str) -> None:
    try:
        cohort = load_cohort(before + text)
    except CohortProblem as problem:
        message = str(problem)
    else:
        message = cohort.name
    assert len(message) < 300
    assert message.isprintable()


def test_names_that_are_no_text_are_found_again_and_can_be_written(films: Films, tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"caf\xe9\n")
    films("normal/a.png", os.fsdecode(b"virus/b\xff.png"), root=root.name)
    for name in ("a.png", "b.png"):
        films(name, root=f"{root.name}/virus")
    (root / "virus/list.csv").write_text("file,lung_mask\na.png,b.png\nb.png,\n")
    for cohort in (load_cohort(str(root)), load_cohort(str(root / "virus/list.csv"))):
        cohort.table.to_parquet(tmp_path / "table.parquet")
        cohort.table.to_csv(tmp_path / "table.csv", encoding="utf-8")
        assert cohort.name.isprintable()
        shapes = {cohort.decode(row).pixels.shape for row in cohort.rows() if not row["id"].endswith("csv")}
        assert shapes == {(40, 48)}
    assert cohort.decode(cohort.rows()[0]).masks["lung"].any()
