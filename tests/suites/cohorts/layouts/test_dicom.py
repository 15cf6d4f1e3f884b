"""A folder of DICOM films as an archive exports it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from suites.harness.cohorts import file_stamps
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.cohorts.layouts.headers import Headers
from suites.harness.errors import FilmUnreadable


def write(path: Path, **tags: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    film.SOPClassUID, film.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    film.Modality, film.PhotometricInterpretation, film.SamplesPerPixel = "DX", "MONOCHROME2", 1
    film.Rows, film.Columns, film.BitsAllocated, film.BitsStored, film.HighBit = 20, 30, 16, 12, 11
    film.PixelRepresentation = 0
    film.PixelData = np.arange(600, dtype=np.uint16).tobytes()
    for name, value in tags.items():
        setattr(film, name, value)
    film.save_as(path)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write(tmp_path / "P1/S1/IM1", PatientID="Anna", PatientAge="003Y", ViewPosition="AP")
    write(tmp_path / "P1/S1/IM2", PatientID="Anna", PatientAge="003Y", ViewPosition="LL")
    write(tmp_path / "P2/S1/IM1", PatientID="Bert", PatientAge="061Y", WindowCenter=300, WindowWidth=500)
    write(tmp_path / "P3/S1/IM1.dcm")
    (tmp_path / "DICOMDIR").write_text("an index")
    (tmp_path / "README.txt").write_text("a note")
    return tmp_path


def test_headers_tell_view_age_and_patient_without_their_names(archive: Path) -> None:
    cohort = load_cohort(str(archive))
    assert cohort.table["id"].tolist() == ["P1/S1/IM1", "P1/S1/IM2", "P2/S1/IM1", "P3/S1/IM1.dcm"]
    assert cohort.table["view"].tolist() == ["AP", "LL", "", ""]
    assert cohort.table["age_group"].tolist() == ["child", "child", "adult", ""]
    patients = cohort.table["patient"].tolist()
    assert patients[0] == patients[1] != patients[2]
    assert patients[3] == "P3/S1/IM1.dcm"
    assert not cohort.table.astype(str).apply(lambda column: column.str.contains("Anna|Bert")).any(axis=None)
    assert cohort.notes == (
        "DICOM films are displayed by their percentiles 0.5 to 99.5 (3), window (1)",
        "1 file that is not DICOM is passed over, first README.txt",
        "1 of 4 films have no patient key; each counts as a patient of its own",
    )
    assert cohort.decode(cohort.table.iloc[0].to_dict()).pixels.shape == (20, 30)


def test_labels_come_from_a_manifest_beside_the_films(archive: Path) -> None:
    (archive / "labels.csv").write_text("file,label\nP1/S1/IM1,normal\nP2/S1/IM1,virus\n")
    cohort = load_cohort(str(archive))
    assert cohort.table["label"].tolist() == ["normal", "", "viral_pneumonia", ""]
    assert "2 of 4 films are not in labels.csv" in cohort.notes
    aligned = load_cohort(str(archive), classes=["normal", "viral_pneumonia"])
    assert len(aligned) == 2


def test_a_broken_header_is_found_when_it_is_decoded(archive: Path) -> None:
    (archive / "P4.dcm").write_bytes(b"nonsense")
    cohort = load_cohort(str(archive))
    row = cohort.table.set_index("id", drop=False).loc["P4.dcm"].to_dict()
    with pytest.raises(FilmUnreadable, match=r"P4\.dcm"):
        cohort.decode(row)


def test_one_identifier_for_everybody_is_said(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / f"{name}.dcm", PatientID="ANONYMOUS")
    assert any("same patient identifier" in note for note in load_cohort(str(tmp_path)).notes)


def test_dicom_in_class_folders_keeps_its_classes(tmp_path: Path) -> None:
    for label in ("normal", "bacterial_pneumonia"):
        write(tmp_path / label / "a.dcm")
    assert load_cohort(str(tmp_path)).table["label"].tolist() == ["bacterial_pneumonia", "normal"]


def test_headers_tell_sex_scanner_and_site(tmp_path: Path) -> None:
    made = {"Manufacturer": "SIEMENS", "ManufacturerModelName": "Ysio", "InstitutionName": "North"}
    write(tmp_path / "a.dcm", PatientID="Anna", PatientSex="F", PatientAge="006M", ViewPosition="AP", **made)
    write(tmp_path / "b.dcm", PatientID="Bert", PatientSex="O", PatientAge="999Y", Manufacturer="GE")
    write(tmp_path / "c.dcm")
    table = load_cohort(str(tmp_path)).table
    assert table["sex"].tolist() == ["female", "other", ""]
    assert table["scanner"].tolist() == ["SIEMENS Ysio", "GE", ""]
    assert table["site"].tolist() == ["North", "", ""]
    np.testing.assert_allclose(table["age"], [0.5, np.nan, np.nan])
    assert table["projection"].tolist() == ["frontal", "", ""]


def test_a_manifest_goes_before_a_header(tmp_path: Path) -> None:
    write(tmp_path / "a.dcm", PatientID="Anna", PatientSex="F", PatientAge="030Y")
    (tmp_path / "metadata.csv").write_text("file,label,sex,age\na.dcm,normal,male,40\n")
    table = load_cohort(str(tmp_path)).table
    assert (table["sex"][0], table["age"][0]) == ("male", 40)


def test_headers_are_not_read_again_while_their_files_do_not_change(
    archive: Path, tmp_path_factory, monkeypatch
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(file_stamps, "SETTLED_SECONDS", 0.0)
    paths = sorted(path for path in archive.rglob("*") if path.is_file())
    plain, first, again = Headers.read(paths), Headers.read(paths, cache), Headers.read(paths, cache)
    assert (first.read_now, again.read_now) == (len(paths), 0)
    for known in (first, again):
        assert (known.told, known.rules) == (plain.told, plain.rules)
    write(archive / "P2/S1/IM1", PatientID="Bert", PatientAge="009Y", WindowCenter=300, WindowWidth=500)
    changed = Headers.read(paths, cache)
    assert changed.read_now == 1
    assert changed.told[str(archive / "P2/S1/IM1")]["age"] == "009Y"
    monkeypatch.setattr(file_stamps, "SETTLED_SECONDS", 3600.0)
    assert Headers.read(paths, cache).read_now == len(paths), "a file that has just changed is not believed"


def test_a_cohort_is_the_same_whether_its_headers_are_kept(archive: Path, tmp_path_factory, monkeypatch) -> None:
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(file_stamps, "SETTLED_SECONDS", 0.0)
    plain = load_cohort(str(archive))
    for _ in range(2):
        kept = load_cohort(str(archive), cache=cache)
        assert kept.notes == plain.notes
        assert kept.table.equals(plain.table)
    (kept_in,) = (cache / "headers").rglob("shard-*.parquet")
    text = pd.read_parquet(kept_in)["told"].str.cat()
    assert "003Y" in text
    assert "Anna" not in text
