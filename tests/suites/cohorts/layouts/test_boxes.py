"""Boxes around findings become masks at the film's size; several readers are heard by majority."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from suites.harness.cohorts.cohort import Film
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.cohorts.layouts.boxes import Box, BoxedFilms, as_text, read_boxes
from suites.harness.endpoints.dataset_scope.file_properties import file_contents
from suites.harness.errors import CohortProblem

from .test_dicom import write

Films = Callable[..., Path]


def boxed(*boxes: Box, note: str = "", drawn_on: tuple[int, int] | None = None, always: bool = False) -> Film:
    film = Film(pixels=np.zeros((20, 30), np.float32), content="c", note=note)
    return BoxedFilms(lambda _: film, drawn_on, always=always)({"boxes": as_text(boxes)})


def test_a_box_is_a_mask_of_its_finding_and_part_of_the_lesion() -> None:
    film = boxed(Box("Mass", 2, 3, 6, 5), Box("Nodule", 10, 10, 12, 12))
    assert set(film.masks) == {"lesion", "lesion:Mass", "lesion:Nodule"}
    assert {mask.shape for mask in film.masks.values()} == {(20, 30)}
    rows, columns = np.nonzero(film.masks["lesion:Mass"])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 4, 2, 5)
    assert film.masks["lesion"].sum() == 4 * 2 + 2 * 2
    assert film.content != "c"
    assert film.content != boxed(Box("Mass", 2, 3, 6, 6)).content


def test_boxes_of_another_size_of_the_film_are_scaled() -> None:
    film = boxed(Box("Mass", 512, 0, 1024, 512), drawn_on=(1024, 1024))
    assert film.masks["lesion"][:10, 15:].all()
    assert film.masks["lesion"].sum() == 150


@pytest.mark.parametrize(("always", "masks"), [(False, set()), (True, {"lesion"})])
def test_without_a_box_only_films_that_were_searched_have_an_empty_mask(always: bool, masks: set[str]) -> None:
    film = boxed(always=always)
    assert set(film.masks) == masks
    assert not any(mask.any() for mask in film.masks.values())


def test_a_box_outside_the_film_is_refused_and_the_film_kept() -> None:
    film = boxed(Box("Mass", 2, 3, 6, 5), Box("Nodule", 10, 10, 60, 12), note="as before")
    assert set(film.masks) == {"lesion", "lesion:Mass"}
    assert film.note == (
        "as before; 1 box(es) do not lie on the film of 30 x 20 and are not used, first of Nodule (10, 10, 60, 12)"
    )
    assert boxed(Box("Mass", 0, 0, 30.2, 20.1)).masks["lesion"].all()  # readers draw to the edge


def test_a_pixel_belongs_to_a_finding_where_half_of_those_who_drew_it_did() -> None:
    first, second, third = (Box("Mass", left, 0, 20, 20, reader) for reader, left in (("R1", 0), ("R2", 5), ("R3", 10)))
    assert boxed(first, second).masks["lesion"].sum() == 400
    assert boxed(first, second, third).masks["lesion"].sum() == 300
    assert boxed(first, first._replace(left=0, right=3)).masks["lesion"].sum() == 400  # one reader, two boxes


def test_rows_that_are_no_rectangles_are_counted() -> None:
    rows = [
        ("a", "Mass", "", "1", "2", "3", "4"),
        ("b", "Mass", "", "1", "", "3", "4"),
        ("c", "x", "", "1", "2", "0", "4"),
    ]
    found, notes = read_boxes(rows, "boxes.csv", sized=True)
    assert found == {"a": [Box("Mass", 1, 2, 4, 6)]}
    assert notes == ('boxes.csv: 2 boxes are no rectangles and are not used, first of "b (1, , 3, 4)"',)


def test_nih_boxes_have_the_spelling_of_its_labels(films: Films) -> None:
    root = films("images/00013118_008.png")
    (root / "Data_Entry_2017_v2020.csv").write_text(
        "Image Index,Finding Labels,Patient ID,View Position\n00013118_008.png,Infiltration,13118,PA\n"
    )
    (root / "BBox_List_2017.csv").write_text(
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
        "00013118_008.png,Infiltrate,256.0,512.0,512.0,256.0,,,\n00013118_008.png,Infiltrate,900,900,500,10,,,\n"
    )
    cohort = load_cohort(str(root))
    film = cohort.decode(cohort.rows()[0])
    assert set(film.masks) == {"lesion", "lesion:Infiltration"}
    assert film.masks["lesion"][20:30, 12:36].all()
    assert film.masks["lesion"].sum() == 240
    assert "1 box(es) do not lie on the film of 1024 x 1024" in film.note


def test_rsna_rows_of_a_patient_become_one_film(tmp_path: Path) -> None:
    for name, tags in {
        "aaaa": {"PatientAge": "058Y", "PatientSex": "F", "ViewPosition": "PA", "Manufacturer": "Acme"},
        "bbbb": {"ViewPosition": "AP", "PatientSex": "M"},
        "cccc": {"ViewPosition": "AP"},
    }.items():
        write(tmp_path / "stage_2_train_images" / f"{name}.dcm", PatientID=name, **tags)
    (tmp_path / "stage_2_train_labels.csv").write_text(
        "patientId,x,y,width,height,Target\naaaa,0.0,0.0,512.0,1024.0,1\naaaa,512.0,0.0,512.0,512.0,1\n"
        "bbbb,,,,,0\ncccc,,,,,0\ndddd,,,,,0\n"
    )
    (tmp_path / "stage_2_detailed_class_info.csv").write_text(
        "patientId,class\naaaa,Lung Opacity\naaaa,Lung Opacity\nbbbb,Normal\ncccc,No Lung Opacity / Not Normal\n"
    )
    cohort = load_cohort(str(tmp_path))
    assert cohort.table["patient"].tolist() == ["aaaa", "bbbb", "cccc"]
    assert cohort.table["label"].tolist() == ["pneumonia", "normal", ""]
    assert cohort.table["sex"].tolist() == ["female", "male", ""]
    assert cohort.table["age"].fillna(-1).tolist() == [58.0, -1.0, -1.0]
    assert cohort.table["scanner"].tolist() == ["Acme", "", ""]
    assert cohort.finding("Lung Opacity").tolist() == [1, 0, 0]
    opaque, normal, _ = (cohort.decode(row) for row in cohort.rows())
    assert opaque.masks["lesion:Lung Opacity"].mean() == pytest.approx(0.75)
    assert not normal.masks["lesion"].any()
    assert "1 of 4 films named in stage_2_train_labels.csv are not there and left out, first dddd" in cohort.notes


VINDR = "image_id,rad_id,Aortic enlargement,Nodule/Mass,No finding\n"


@pytest.fixture
def vindr(tmp_path: Path) -> Path:
    for name in ("train/one.dicom", "train/two.dicom", "test/three.dicom"):
        write(tmp_path / name)
    tables = tmp_path / "annotations"
    tables.mkdir()
    (tables / "image_labels_train.csv").write_text(
        VINDR + "one,R1,1,1,0\none,R2,1,0,0\none,R3,1,0,0\ntwo,R1,0,1,0\ntwo,R4,0,0,1\n"
    )
    (tables / "image_labels_test.csv").write_text("image_id,Aortic enlargement,Nodule/Mass,No finding\nthree,0,1,0\n")
    (tables / "annotations_train.csv").write_text(
        "image_id,rad_id,class_name,x_min,y_min,x_max,y_max\none,R1,Aortic enlargement,0,0,10,10\n"
        "one,R2,Aortic enlargement,5,0,10,10\none,R3,Aortic enlargement,5,0,10,10\none,R1,Nodule/Mass,20,10,25,15\n"
        "two,R4,No finding,,,,\n"
    )
    return tmp_path


def test_films_with_boxes_are_files_all_the_same(vindr: Path) -> None:
    contents = file_contents(load_cohort(f"{vindr}?split=train"))
    assert len(contents) == 2
    assert contents["content"].str.fullmatch(r"(\d+ bytes, )?[0-9a-f]{64}").all()
    assert contents["content"].nunique() == 2


def test_a_table_of_boxes_of_another_release_is_named(vindr: Path) -> None:
    for path in vindr.rglob("annotations_*.csv"):
        path.write_text(path.read_text().replace("x_min", "x1", 1))
    with pytest.raises(CohortProblem, match=r"lacks the column\(s\) x_min of VinDr-CXR 1.0.0, and has image_id"):
        load_cohort(f"{vindr}?split=all")


def test_vindr_readers_are_heard_by_majority_and_their_disagreement_is_told(vindr: Path) -> None:
    cohort = load_cohort(f"{vindr}?split=train")
    assert cohort.table["finding:Aortic enlargement"].tolist() == ["positive", "negative"]
    assert cohort.table["finding:Nodule/Mass"].tolist() == ["negative", "uncertain"]
    assert cohort.table["readers"].tolist() == [3, 2]
    assert cohort.table["disagreed"].tolist() == ["Nodule/Mass", "Nodule/Mass|No finding"]
    assert "readers disagree on 3 findings of 2 of 2 films" in cohort.notes
    assert not any("disagree" in note for note in load_cohort(f"{vindr}?split=test").notes)
    assert set(cohort.table["view"]) == {"PA"}
    film = cohort.decode(cohort.rows()[0])
    assert set(film.masks) == {"lesion", "lesion:Aortic enlargement"}  # the majority denies the mass
    assert film.masks["lesion"].sum() == 50
    assert not cohort.decode(cohort.rows()[1]).masks["lesion"].any()
    assert load_cohort(str(vindr)).finding("Nodule/Mass").tolist() == [1]


def test_vindr_as_kaggle_has_it_is_read_from_the_boxes(vindr: Path) -> None:
    (vindr / "annotations" / "annotations_train.csv").rename(vindr / "train.csv")
    for table in (vindr / "annotations").iterdir():
        table.unlink()
    cohort = load_cohort(f"{vindr}?split=train")
    assert cohort.table["finding:Aortic enlargement"].tolist() == ["positive", "negative"]
    assert cohort.table["finding:Nodule/Mass"].tolist() == ["negative", "negative"]
    assert cohort.table["disagreed"].tolist() == ["Nodule/Mass", ""]
    assert json.loads(cohort.table["boxes"][0])[0] == ["Aortic enlargement", 0.0, 0.0, 10.0, 10.0, "R1"]
