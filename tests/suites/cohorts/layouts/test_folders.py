"""Folders as people have them: patients from headers, masks that are no films, links, labels that are not there."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.layouts import align_labels, load_cohort
from suites.harness.errors import CohortProblem

Films = Callable[..., Path]
TWO = ("normal", "pneumonia")


def dicom(path: Path, **tags: object) -> None:
    """Write the header of a film; its pixels are not asked for here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for name, value in {"Modality": "DX", "BitsStored": 12, **tags}.items():
        setattr(film, name, value)
    film.save_as(path)


def groups(cohort: Cohort) -> set[frozenset[str]]:
    """Which films are of one patient."""
    return {frozenset(rows["id"]) for _, rows in cohort.table.groupby("patient")}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Eight films of two adults, PA, in two class folders."""
    for number in range(8):
        label = TWO[number % 2]
        tags = {"PatientID": f"P{number // 4}", "PatientAge": "058Y", "ViewPosition": "PA"}
        dicom(tmp_path / "films" / label / f"f{number}.dcm", **tags)
    return tmp_path / "films"


@pytest.mark.parametrize("way", ["class folders", "manifest", "manifest beside"])
def test_headers_tell_patient_view_and_age_however_films_are_named(archive: Path, way: str) -> None:
    rows = "".join(f"{path.relative_to(archive)},{path.parent.name}\n" for path in sorted(archive.rglob("*.dcm")))
    if way != "class folders":
        (archive / ("films.csv" if way == "manifest" else "labels.csv")).write_text(f"file,label\n{rows}")
    cohort = load_cohort(str(archive / "films.csv" if way == "manifest" else archive))
    assert (len(cohort), cohort.patients) == (8, 2)
    assert set(cohort.table["view"]) == {"PA"}
    assert set(cohort.table["age_group"]) == {"adult"}
    assert cohort.table["label"].tolist() == ["normal"] * 4 + ["pneumonia"] * 4
    assert cohort.notes == ("DICOM films are displayed by their percentiles 0.5 to 99.5 (8)",)


def test_a_manifest_goes_before_headers_and_its_contradictions_are_named(archive: Path) -> None:
    files = sorted(path.relative_to(archive).as_posix() for path in archive.rglob("*.dcm"))
    rows = "".join(f"{name},{name[:6]},p{at},{'AP Supine' if at else 'PA'},3\n" for at, name in enumerate(files))
    (archive / "metadata.csv").write_text(f"file,site,patient,view,age\n{rows}")
    cohort = load_cohort(str(archive))
    assert cohort.patients == 8
    assert cohort.table["view"].tolist() == ["PA"] + ["AP Supine"] * 7
    assert set(cohort.table["age_group"]) == {"child"}
    views, ages, patients = cohort.notes[1:4]
    assert views.startswith("views of 7 films are taken from metadata.csv; their DICOM headers say otherwise, first f2")
    assert views.endswith(" (AP Supine, header: PA)")
    assert ages.startswith("age groups of 8 films are taken from metadata.csv; their DICOM headers say otherwise")
    assert patients.startswith("patients are taken from metadata.csv: 8, where the DICOM headers of these films tell 2")
    agreeing = "".join(f"{name},{'ab'[int(name[-5]) // 4]},LATERAL\n" for name in files)
    (archive / "metadata.csv").write_text(f"file,patient,view\n{agreeing}")
    assert not any("patients are taken" in note for note in load_cohort(str(archive)).notes)


def test_rows_that_contradict_each_other_are_named_with_their_film(archive: Path) -> None:
    (archive / "labels.csv").write_text(
        f"file,label\nnormal/f0.dcm,normal\n{archive}/pneumonia/../normal/f0.dcm,pneumonia\n"
    )
    with pytest.raises(CohortProblem, match=r"rows 1 and 2 name \S*f0\.dcm more than once and contradict each other in "
                                            r"label \(normal, pneumonia\)"):  # fmt: skip
        load_cohort(str(archive))


def test_of_two_tables_beside_films_the_one_that_is_not_read_is_named(films: Films) -> None:
    root = films("normal/a.png", "virus/b.png")
    for name in ("metadata.csv", "labels.csv"):
        (root / name).write_text("file,view\nnormal/a.png,PA\nvirus/b.png,PA\n")
    assert any("metadata.csv is read, labels.csv beside it not" in note for note in load_cohort(str(root)).notes)


def test_the_numbering_of_a_viewer_is_no_patient(films: Films) -> None:
    names = [f"{TWO[at % 2]}/patient{at}/IM-0001-0001.jpg" for at in range(6)]
    cohort = load_cohort(str(films(*names)), classes=TWO)
    assert cohort.patients == 6
    assert "6 films are named as viewers number their exports" in cohort.notes[0]
    flat = films(*(f"test/NORMAL/IM-0001-{at:04d}.jpg" for at in range(9)), "test/PNEUMONIA/x.jpg", root="flat")
    table = load_cohort(str(flat)).table
    assert table["patient"].nunique() == 10
    assert set(table["view"]) == set(table["age_group"]) == {""}
    dates = films(*(f"normal/NORMAL-2021-{at:04d}.png" for at in range(61)), "virus/x.png", root="dates")
    assert load_cohort(str(dates)).patients == 62
    one_dicom = films("NORMAL/a.png", "PNEUMONIA/person1_virus_1.jpeg", root="test")
    dicom(one_dicom / "NORMAL/IM-0001-0001.dcm", PatientID="A", ViewPosition="PA", PatientAge="070Y")
    row = load_cohort(str(one_dicom)).table.set_index("id").loc["NORMAL/IM-0001-0001.dcm"]
    assert (row["view"], row["age_group"], "IM" in row["patient"]) == ("PA", "adult", False)


def test_masks_beside_films_are_no_films(films: Films) -> None:
    names = [f"{kind}/{place}/{kind}-{at}.png" for kind in ("COVID", "Normal", "Viral Pneumonia")
             for place in ("images", "masks") for at in range(3)]  # fmt: skip
    cohort = load_cohort(str(films(*names)))
    assert cohort.table["label"].value_counts().to_dict() == {"covid": 3, "normal": 3, "viral_pneumonia": 3}
    assert cohort.notes[0] == "9 files are masks beside films and left out, first COVID/masks/COVID-0.png"
    beside = films("normal/a.png", "normal/a_mask.png", "virus/b.png", "Lung Masks/a.png", root="beside")
    assert load_cohort(str(beside)).table["id"].tolist() == ["normal/a.png", "virus/b.png"]
    assert "2 files are masks" in load_cohort(str(beside)).notes[0]
    assert len(load_cohort(str(films("x/masks/a.png", "b_mask.png", root="alone")))) == 2
    assert len(load_cohort(str(films("masks/a.png", "masks/b.png", root="only") / "masks"))) == 2


def test_links_to_folders_are_followed_once(films: Films) -> None:
    root = films("p1/a.png", "p1/b.png")
    elsewhere = films("deep/c.png", "d.png", root="elsewhere")
    (root / "p2").symlink_to(elsewhere)
    (root / "again").symlink_to(elsewhere / "deep")
    (root / "p1/back").symlink_to(root)
    (root / "up").symlink_to(root.parent)
    (elsewhere / "round").symlink_to(root / "p1")
    (root / "gone").symlink_to(root / "nowhere")
    found = load_cohort(str(root)).table["id"].tolist()
    assert found == ["again/c.png", "gone", "p1/a.png", "p1/b.png", "p2/d.png"]


def test_one_file_by_several_names_counts_once(films: Films) -> None:
    root = films("normal/a.png", "virus/b.png")
    (root / "normal/0.png").symlink_to(root / "normal/a.png")
    (root / "virus/z.png").symlink_to(root / "virus/b.png")
    cohort = load_cohort(str(root))
    assert cohort.table["id"].tolist() == ["normal/a.png", "virus/b.png"]
    assert cohort.notes[0] == "2 files are named again through links; each counts once"
    (root / "normal/c.png").symlink_to(root / "virus/b.png")
    with pytest.raises(
        CohortProblem, match=r"normal/c\.png and virus/b\.png are one file, through a link, in the fold"
    ):
        load_cohort(str(root))
    (root / "normal/c.png").unlink()
    (root / "labels.csv").write_text(f"file,view\n{root}/normal/../normal/0.png,PA\nvirus/./b.png,AP\n")
    assert load_cohort(str(root)).table["view"].tolist() == ["PA", "AP"]


@pytest.mark.parametrize(
    ("names", "table", "reason"),
    [
        (["a/a/test/NORMAL/x.png", "a/a/test/PNEUMONIA/y.png"], "", r"deeper: pass --data \S*/films/a/a$"),
        (["NORMAL/x.png"], "", r"there is one folder of a class \(normal\)"),
        (["train/NORMAL/x.png", "test/NORMAL/y.png"], "", "there is one folder of a class"),
        (["x.png"], "", "put them into one folder per class"),
        (["x.png"], "file,Class\nx.png,normal\n", "no column `label`; if its column 'class' holds the classes, rename"),
        (["x.png"], "file,Finding\nx.png,normal\n", "if its column 'finding' holds the classes"),
        (["x.png"], "file,view\nx.png,PA\n", "no column `label`; add one with the class of each film"),
        (["x.png"], "file,label\nx.png,\n", "the column `label` of metadata.csv is empty"),
    ],
)
def test_films_without_any_label_say_why_and_what_to_do(
    films: Films, names: list[str], table: str, reason: str
) -> None:
    root = films(*names)
    if table:
        (root / "metadata.csv").write_text(table)
    with pytest.raises(CohortProblem, match=f"no label was found for any of its . films; .*{reason}") as caught:
        align_labels(load_cohort(str(root)), TWO, probe=False)
    assert len(str(caught.value)) < 300 or str(root) in str(caught.value)
    assert len(align_labels(load_cohort(str(root)), TWO, probe=True)) == len(names)


def test_a_table_of_another_name_beside_the_films_is_pointed_at(films: Films) -> None:
    root = films("x.png")
    (root / "chexpert.csv").write_text("file,label\nx.png,normal\n")
    with pytest.raises(CohortProblem, match=r"if chexpert\.csv there tells file and label of each, name that table"):
        align_labels(load_cohort(str(root)), TWO, probe=False)


def test_the_folder_of_one_class_says_so(films: Films) -> None:
    root = films("PNEUMONIA/x.png")
    with pytest.raises(CohortProblem, match="PNEUMONIA is the folder of one class; name the folder that holds one per"):
        align_labels(load_cohort(str(root / "PNEUMONIA")), TWO, probe=False)


FILM = st.fixed_dictionaries(
    {
        "label": st.sampled_from(TWO),
        "place": st.sampled_from(["", "images", "p1", "p2/deep"]),
        "kind": st.sampled_from(["png", "dicom", "dicom without suffix"]),
        "header": st.sampled_from(["", "A", "B", "C"]),
        "told": st.sampled_from(["", "", "007", "008"]),
        "linked": st.sampled_from(["", "", "film", "folder"]),
        "mask": st.booleans(),
    }
)


@settings(max_examples=30)
@given(
    trees=st.lists(FILM, min_size=2, max_size=9), table=st.sampled_from(["", "csv", "parquet"]), splits=st.booleans()
)
def test_any_tree_gives_its_films_patients_and_labels(trees: list[dict[str, str]], table: str, *, splits: bool) -> None:
    with tempfile.TemporaryDirectory() as folder_of_this_tree:
        outer = Path(folder_of_this_tree)
        root, expected = outer / "films", {}
        told = []
        headers: dict[str, str] = {}
        for label in TWO:  # a film that is in every tree, so that both classes are there
            trees = [*trees, dict.fromkeys(FILM_KEYS, "") | {"label": label, "kind": "png"}]
        for at, film in enumerate(trees):
            folder = Path("test" if splits else "", film["label"], film["place"])
            name = (
                folder / f"f{at}{'.png' if film['kind'] == 'png' else '.dcm' * (film['kind'] == 'dicom')}"
            ).as_posix()
            path = root / name
            if film["kind"] == "png":
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(name)
            else:
                dicom(path, PatientID=film["header"])
            if film["mask"]:
                _touch(root / folder / "masks" / f"f{at}.png")
            if film["linked"] == "film":
                path.with_name(f"again{at}.png").symlink_to(path)
            elif film["linked"] == "folder":
                (root / folder / f"round{at}").symlink_to(root if at % 2 else path.parent)
                _touch(outer / f"more{at}" / "x.png")
                (root / folder / f"more{at}").symlink_to(outer / f"more{at}")
                expected[(folder / f"more{at}/x.png").as_posix()] = (film["label"], "")
            patient = film["told"] if table else ""
            if film["kind"] != "png" and film["header"]:
                headers[name] = film["header"]
                patient = patient or f"header {film['header']}"
            expected[name] = (film["label"], patient)
            told += [f"{name},{film['told']}"]
        if table == "csv":
            (root / "metadata.csv").write_text("\n".join(["file,patient", *told]))
        elif table:
            pd.DataFrame([row.split(",") for row in told], columns=["file", "patient"]).to_parquet(
                root / "metadata.parquet"
            )
        cohort = load_cohort(str(root), classes=TWO)
        assert dict(zip(cohort.table["id"], cohort.table["label"], strict=True)) == {
            name: label for name, (label, _) in expected.items()
        }
        keys = {name: patient or name for name, (_, patient) in expected.items()}
        for name, key in keys.items():  # where a manifest names one patient for a header, its other films are theirs
            same = {keys[other] for other, header in headers.items() if header and f"header {header}" == key}
            if len(named := same - {key}) == 1:
                keys = {**keys, name: named.pop()}
        wanted = {frozenset(name for name in keys if keys[name] == key) for key in set(keys.values())}
        assert groups(cohort) == wanted
        assert all(len(note) < 300 and note.isprintable() for note in cohort.notes)


FILM_KEYS = ("label", "place", "kind", "header", "told", "linked", "mask")


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.name)
