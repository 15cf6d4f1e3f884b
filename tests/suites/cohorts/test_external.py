"""Films of another hospital: whose labels they carry, and that they are others."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from suites.harness.cohorts import external, file_stamps
from suites.harness.cohorts.common_labels import common_classes, with_truth
from suites.harness.cohorts.external import load_external
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.errors import CohortProblem, NotEvaluable

PAGE = ("bacterial_pneumonia", "normal", "viral_pneumonia")


@pytest.mark.parametrize(
    ("classes", "home", "away", "names", "of_class", "left_out"),
    [
        (PAGE, PAGE, {"normal": 3, "bacterial_pneumonia": 2, "viral_pneumonia": 2}, PAGE, (0, 1, 2), 0),
        (PAGE, PAGE, {"normal": 3, "pneumonia": 2}, ("normal", "ill"), (1, 0, 1), 0),
        (PAGE, PAGE, {"normal": 3, "abnormal": 2, "": 4}, ("normal", "ill"), (1, 0, 1), 4),
        (PAGE, PAGE, {"normal": 3, "viral_pneumonia": 2}, ("normal", "ill"), (1, 0, 1), 0),
        (PAGE, PAGE, {"no_pneumonia": 3, "pneumonia": 2, "effusion": 5}, ("normal", "ill"), (1, 0, 1), 5),
        (("normal", "pneumonia"), ("normal", "pneumonia"), {"normal": 1, "pneumonia": 1}, ("normal", "pneumonia"),
         (0, 1), 0),
        (("No Finding", "TB", "Mass"), ("No Finding", "TB", "Mass"), {"tb": 3, "no_finding": 1}, ("normal", "ill"),
         (0, 1, 1), 0),
        (("a", "b", "c"), ("a", "b", "c"), {"a": 3, "b": 1, "d": 2}, ("a", "b"), (0, 1, -1), 2),
    ],
)  # fmt: skip
def test_labels_meet_where_both_can_say_it(classes, home, away, names, of_class, left_out):
    found = common_classes(classes, home, away)
    assert found.names == names
    assert found.of_class == of_class
    assert sum(films for label, films in away.items() if label not in found.of_label) == left_out
    assert (f"{left_out:,} films that neither set can say are left out" in found.sentence) == bool(left_out)


def test_labels_that_cannot_meet_are_named():
    with pytest.raises(NotEvaluable, match="'effusion', 'mass'"):
        common_classes(PAGE, PAGE, {"effusion": 2, "mass": 1})
    with pytest.raises(NotEvaluable, match="no two classes in common"):
        common_classes(PAGE, PAGE, {"pneumonia": 2})
    with pytest.raises(NotEvaluable, match="all labelled 'normal'"):
        common_classes(PAGE, PAGE, {"normal": 2})


def write_films(folder: Path, names: list[str], *, seed: int = 0) -> Path:
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for name in names:
        Image.fromarray(generator.integers(0, 255, (40, 40), dtype=np.uint8)).save(folder / f"{name}.png")
    return folder


def manifest(folder: Path, rows: list[tuple[str, str, str]], **columns: list[str]) -> str:
    table = pd.DataFrame(rows, columns=["file", "label", "patient"]).assign(**columns)
    table.to_csv(folder / "films.csv", index=False)
    return str(folder / "films.csv")


@pytest.fixture
def home(tmp_path):
    folder = write_films(tmp_path / "home", ["a", "b", "c"])
    return load_cohort(manifest(folder, [("a.png", "normal", "anna"), ("b.png", "ill", "bob"), ("c.png", "ill", "7")]))


def test_other_films_are_taken_and_patients_that_are_only_counted_may_coincide(tmp_path, home):
    folder = write_films(tmp_path / "there", ["a", "x"], seed=1)
    spec = manifest(folder, [("a.png", "normal", ""), ("x.png", "ill", "7")])
    (tmp_path / "more").mkdir()
    more = write_films(tmp_path / "more" / "there", ["p", "q"], seed=2)
    found = load_external(home, [spec, manifest(more, [("p.png", "normal", ""), ("q.png", "ill", "7")])])
    assert list(found) == ["external", "external-2"]
    assert found["external"].name != found["external-2"].name
    assert list(found["external"].table["truth"]) == ["normal", "ill"]


def test_a_film_of_the_home_cohort_is_found_by_its_content_whatever_it_is_called(tmp_path, home):
    folder = write_films(tmp_path / "there", ["x"], seed=1)
    Image.new("L", (8, 8), 9).save(folder / "small.png")  # no file of home has as many bytes, so it is not even read
    shutil.copy(tmp_path / "home" / "b.png", folder / "other.png")
    spec = manifest(folder, [("x.png", "normal", "carl"), ("other.png", "ill", "dora"), ("small.png", "ill", "emil")])
    with pytest.raises(CohortProblem, match=r"1 of its 3 films are home films, too, first other.png \(b.png at home\)"):
        load_external(home, [spec])


def test_files_are_read_once_and_again_only_where_they_changed(tmp_path, home, monkeypatch):
    monkeypatch.setattr(file_stamps, "SETTLED_SECONDS", 0.0)
    folder = write_films(tmp_path / "there", ["x", "y"], seed=1)
    for name in ("x", "y"):  # the size of the films at home, so that only their bytes tell them apart
        path, size = folder / f"{name}.png", (tmp_path / "home" / "a.png").stat().st_size
        path.write_bytes(path.read_bytes()[:size].ljust(size, b"-"))
    spec = manifest(folder, [("x.png", "normal", "carl"), ("y.png", "ill", "dora")])
    read, digest = [], external._sha256
    monkeypatch.setattr(external, "_sha256", lambda path: read.append(path.name) or digest(path))
    assert load_external(home, [spec, "phantom:n=3"], cache=tmp_path / "cache")
    assert {"x.png", "y.png", "a.png"} <= set(read)
    assert len(read) == len(set(read)), "each once, whoever asks"
    read.clear()
    load_external(home, [spec], cache=tmp_path / "cache")
    assert read == []
    shutil.copy(tmp_path / "home" / "a.png", folder / "y.png")
    with pytest.raises(CohortProblem, match=r"first y.png \(a.png at home\)"):
        load_external(home, [spec], cache=tmp_path / "cache")
    assert read == ["y.png"]


def test_a_patient_of_the_home_cohort_is_found(tmp_path, home):
    folder = write_films(tmp_path / "there", ["x", "y"], seed=1)
    spec = manifest(folder, [("x.png", "normal", "carl"), ("y.png", "ill", "anna")])
    with pytest.raises(CohortProblem, match=r"1 of its patients are patients of .*, first anna"):
        load_external(home, [spec])


def test_simulated_films_of_home_are_found_and_those_of_a_hospital_are_others():
    home = load_cohort("phantom:n=6")
    with pytest.raises(CohortProblem, match="patients are patients of"):
        load_external(home, ["phantom:n=3"])
    for hospital in ("twin", "other"):
        there = load_external(home, [f"phantom:n=3,hospital={hospital}"])["external"]
        assert set(there.table["label"]) <= set(home.table["label"])
    assert "display gamma x 1.35" in there.notes[0]
    with pytest.raises(CohortProblem, match="known are twin, other"):
        load_cohort("phantom:hospital=elsewhere")


def test_the_other_hospital_films_other_patients_otherwise():
    row = load_cohort("phantom:n=1,hospital=other").rows()[0]
    twin = load_cohort("phantom:n=1,hospital=twin").rows()[0]
    there, alike = load_cohort("phantom:hospital=other"), load_cohort("phantom:hospital=twin")
    as_twin = row | {"patient": twin["patient"]}
    assert there.content(as_twin) != alike.content(twin)
    assert not np.array_equal(there.decode(as_twin).pixels, alike.decode(twin).pixels)


def test_findings_are_read_where_there_are_no_labels_and_it_is_said(tmp_path):
    folder = write_films(tmp_path / "there", list("abcde"), seed=1)
    findings = ["No Finding", "Effusion|Pneumonia", "Mass", "COVID-19, ARDS", ""]
    spec = manifest(folder, [(f"{name}.png", "", name * 3) for name in "abcde"], finding=findings)
    found = with_truth(load_cohort(spec))
    assert list(found.table["truth"]) == ["normal", "pneumonia", "", "pneumonia", ""]
    assert "so findings are read as: 1 normal, 2 pneumonia, 2 neither" in found.notes[-1]
