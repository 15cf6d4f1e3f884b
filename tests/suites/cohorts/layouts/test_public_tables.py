"""The tables that chest films come with: small ones of the real form, read as their own pages describe them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.layouts import align_labels, load_cohort, registry
from suites.harness.cohorts.layouts.chexpert import OBSERVATIONS
from suites.harness.cohorts.probes import load_probes
from suites.harness.errors import CohortProblem

Films = Callable[..., Path]

CHEXPERT = f"Path,Sex,Age,Frontal/Lateral,AP/PA,{','.join(OBSERVATIONS)}\n"
SMALL = "CheXpert-v1.0-small"


def told(cohort: Cohort, column: str) -> list[object]:
    return cohort.table[column].tolist()


def refused(spec: str, *parts: str) -> None:
    with pytest.raises(CohortProblem) as caught:
        load_cohort(spec)
    message = str(caught.value)
    assert all(part in message for part in parts), message
    assert len(message) < 300
    assert message.isprintable()


@pytest.fixture
def chexpert(films: Films) -> Path:
    names = ("patient00001/study1/view1_frontal.jpg", "patient00002/study2/view1_frontal.jpg")
    root = films(*(f"train/{name}" for name in names), "train/patient00002/study2/view2_lateral.jpg", root=SMALL)
    films("valid/patient64541/study1/view1_frontal.jpg", root=SMALL)
    (root / "train.csv").write_text(
        CHEXPERT + f"{SMALL}/train/{names[0]},Female,68,Frontal,AP,1.0,,,,,,,,,0.0,,,,1.0\n"
        f"{SMALL}/train/{names[1]},Male,87,Frontal,PA,,,-1.0,1.0,,-1.0,-1.0,,-1.0,,-1.0,,1.0,\n"
        f"{SMALL}/train/patient00002/study2/view2_lateral.jpg,Male,87,Lateral,,,,-1.0,1.0,,-1.0,-1.0,,-1.0,,-1.0,,1.0,\n"
        f"{SMALL}/train/patient00003/study1/view1_frontal.jpg,Unknown,0,Frontal,AP,1.0,,,,,,,,,,,,,\n"
    )
    (root / "valid.csv").write_text(
        CHEXPERT + f"{SMALL}/valid/patient64541/study1/view1_frontal.jpg,Male,73,Frontal,AP,0.0,1.0,1.0,1.0,0.0,0.0,"
        "0.0,0.0,0.0,0.0,1.0,0.0,0.0,0.0\n"
    )
    return root


def test_chexpert(chexpert: Path) -> None:
    cohort = load_cohort(f"{chexpert}?split=train")
    assert cohort.findings == OBSERVATIONS
    assert told(cohort, "id") == [f"train/patient0000{n}/study{n}/view1_frontal.jpg" for n in (1, 2)]
    assert told(cohort, "patient") == ["patient00001", "patient00002"]
    assert told(cohort, "study") == ["patient00001/study1", "patient00002/study2"]
    assert told(cohort, "view") == ["AP", "PA"]
    assert told(cohort, "age") == [68.0, 87.0]
    assert told(cohort, "sex") == ["female", "male"]
    assert told(cohort, "age_group") == ["adult", "adult"]
    assert told(cohort, "label") == ["", ""]
    assert told(cohort, "finding:Pneumothorax") == ["negative", "not mentioned"]
    assert told(cohort, "finding:Edema") == ["not mentioned", "uncertain"]
    assert cohort.finding("Support Devices").tolist() == [1, -1]
    assert load_cohort(f"{chexpert}?split=train", uncertain="positive").finding("Edema").tolist() == [-1, 1]
    assert "CheXpert's labels: 1 positive, 0 negative, -1 uncertain, blank not mentioned" in cohort.notes
    lost = f"first {SMALL}/train/patient00003/study1/view1_frontal.jpg"
    assert f"1 of 5 films named in train.csv, valid.csv are not there and left out, {lost}" in cohort.notes
    assert cohort.decode(cohort.rows()[0]).pixels.shape == (40, 48)


def test_laterals_are_the_probe_of_a_frontal_cohort(chexpert: Path) -> None:
    cohort = load_cohort(f"{chexpert}?split=train")
    probe = load_probes(cohort, {})["lateral"]
    assert told(probe, "id") == ["train/patient00002/study2/view2_lateral.jpg"]
    assert told(probe, "view") == ["lateral"]
    assert probe.name != cohort.name
    assert cohort.limited(1, seed=0).laterals is not None
    other = load_cohort("phantom:n=2,view=lateral")
    assert load_probes(cohort, {"lateral": other})["lateral"].name == other.name
    # Whoever filters by view gets what they ask for.
    assert told(load_cohort(f"{chexpert}?split=train&view=lateral"), "view") == ["lateral"]
    everything = load_cohort(f"{chexpert}?split=all&view=all")
    assert (len(everything), everything.laterals) == (4, None)


def test_a_table_that_is_named_is_read_alone_and_whole(chexpert: Path) -> None:
    cohort = load_cohort(str(chexpert / "valid.csv"))
    assert (len(cohort), told(cohort, "split")) == (1, [""])
    assert cohort.finding("Pleural Effusion").tolist() == [1]


def test_a_subject_of_classes_is_told_why_it_meets_no_label(chexpert: Path) -> None:
    cohort = load_cohort(f"{chexpert}/valid.csv")
    with pytest.raises(CohortProblem, match=r"no label was found .* labelled with 14 findings .*, not with classes"):
        align_labels(cohort, ("normal", "pneumonia"), probe=False)


@pytest.mark.parametrize("column", ["Sex", "Age", "AP/PA", "Frontal/Lateral"])
def test_a_missing_column_leaves_its_values_unrecorded(chexpert: Path, column: str) -> None:
    table = pd.read_csv(chexpert / "train.csv", dtype=str, keep_default_na=False)
    table.drop(columns=column).to_csv(chexpert / "train.csv", index=False)
    cohort = load_cohort(f"{chexpert}?split=train")
    assert len(cohort) == 2  # the names of the films tell which is lateral
    expected = {"Sex": ("sex", ["", ""]), "AP/PA": ("view", ["frontal"] * 2), "Frontal/Lateral": ("view", ["AP", "PA"])}
    if column == "Age":
        assert cohort.table["age"].isna().all()
        assert told(cohort, "age_group") == ["", ""]
    else:
        name, values = expected[column]
        assert told(cohort, name) == values


def test_a_value_that_is_none_of_the_four_is_named_and_left_out(chexpert: Path) -> None:
    text = (chexpert / "train.csv").read_text()
    (chexpert / "train.csv").write_text(text.replace("Female,68,Frontal,AP,1.0,,,", "Female,68,Frontal,AP,1.0,,2,"))
    cohort = load_cohort(f"{chexpert}?split=train")
    assert told(cohort, "finding:Cardiomegaly") == ["not mentioned", "uncertain"]
    (note,) = [note for note in cohort.notes if "Cardiomegaly" in note and "cell" in note]
    assert note == (
        "train.csv, Cardiomegaly: 1 cell(s) hold '2', first in row 1; known are 1, 0, -1, blank, so these count as not "
        "mentioned"
    )


def test_a_finding_that_no_film_shows_is_noted(chexpert: Path) -> None:
    (note,) = [note for note in load_cohort(f"{chexpert}/valid.csv").notes if note.startswith("no film shows")]
    assert note.startswith("no film shows No Finding, Lung Lesion, Edema")


def test_a_table_of_another_release_is_named_with_its_columns(films: Films) -> None:
    root = films("train/a.png")
    (root / "train.csv").write_text("Image,Effusion\ntrain/a.png,1\n")
    refused(f"{root}?layout=chexpert", "lacks the column(s) Path of CheXpert-v1.0, and has Image, Effusion")
    (root / "train.csv").write_text("Path,effusion\ntrain/a.png,1\n")
    refused(f"{root}?layout=chexpert", "has none of CheXpert's 14 observations")
    refused(f"{root}?layout=nih", "holds no table Data_Entry_2017*.csv")
    refused(f"{root}?layout=rsna", "stage_2_train_labels.csv is missing")


@pytest.mark.parametrize(
    ("layout", "table", "column"),
    [
        ("chexpert", "train.csv", "Path"),
        ("mimic", "mimic-cxr-2.0.0-metadata.csv", "study_id"),
        ("nih", "Data_Entry_2017.csv", "Finding Labels"),
        ("nih", "Data_Entry_2017.csv", "Image Index"),
    ],
)
def test_a_renamed_column_is_named_and_the_folder_not_taken_for_another(
    request: pytest.FixtureRequest, layout: str, table: str, column: str
) -> None:
    root: Path = request.getfixturevalue(layout)
    path = root / table
    path.write_text(path.read_text().replace(column, "Renamed", 1))
    refused(str(root), f"{table}: lacks the column(s) {column} of ", "Renamed", "is it a table of another release?")


def test_tables_that_label_other_findings_are_one_cohort(chexpert: Path, films: Films) -> None:
    films("test/patient64741/study1/view1_frontal.jpg", root=SMALL)
    (chexpert / "test_labels.csv").write_text(
        f"Path,Cardiomegaly,Edema\n{SMALL}/test/patient64741/study1/view1_frontal.jpg,1,0\n"
    )
    cohort = load_cohort(str(chexpert))
    assert (told(cohort, "finding:Cardiomegaly"), told(cohort, "finding:Fracture")) == (["positive"], ["not mentioned"])
    assert told(cohort, "view") == ["frontal"]
    assert any(note.startswith("test_labels.csv: has no column for No Finding, ") for note in cohort.notes)


def test_films_that_are_all_elsewhere_are_refused(chexpert: Path, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text((chexpert / "train.csv").read_text())
    refused(f"{tmp_path / 'train.csv'}", "none of the 4 films of train.csv is there")


MIMIC = "files/p10/p10000032/s50414267/02aa804e.jpg", "files/p10/p10000032/s50414267/174413ec.jpg"


@pytest.fixture
def mimic(films: Films) -> Path:
    root = films(*MIMIC, "files/p11/p11000011/s51029426/68b5c4b1.jpg", "files/p11/p11000011/s51029427/aaaa.jpg")
    (root / "mimic-cxr-2.0.0-metadata.csv").write_text(
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,"
        "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning\n"
        '02aa804e,10000032,50414267,"CHEST (PA AND LAT)",PA,3056,2544,21800506,213014.531,X,postero-anterior,Erect\n'
        '174413ec,10000032,50414267,"CHEST (PA AND LAT)",LATERAL,3056,2544,21800506,213014.531,X,lateral,Erect\n'
        "68b5c4b1,11000011,51029426,CHEST (PORTABLE AP),,2544,3056,21480815,93225.25,X,antero-posterior,Recumbent\n"
        "aaaa,11000011,51029427,CHEST,LAO,2544,3056,21480815,93225.25,X,,\n"
        "bbbb,11000011,59999999,CHEST,AP,2544,3056,21480815,93225.25,X,,\n"
    )
    labels = (
        f"subject_id,study_id,{','.join(sorted(OBSERVATIONS))}\n10000032,50414267,,,,,,,,,1.0,,,,,\n"
        "11000011,51029426,1.0,0.0,,-1.0,,,,,,,,,,\n11000011,51029427,,,,,,,,,1.0,,,,,\n"
    )
    (root / "mimic-cxr-2.0.0-chexpert.csv.gz").write_bytes(gzip.compress(labels.encode()))
    with gzip.open(root / "mimic-cxr-2.0.0-split.csv.gz", "wt") as stream:
        stream.write("dicom_id,study_id,subject_id,split\n02aa804e,50414267,10000032,test\n")
        stream.write("174413ec,50414267,10000032,test\n68b5c4b1,51029426,11000011,validate\n")
    return root


def test_mimic_is_read_from_its_three_tables(mimic: Path) -> None:
    cohort = load_cohort(str(mimic))
    assert set(cohort.findings) == set(OBSERVATIONS)
    assert told(cohort, "id") == [MIMIC[0]]
    assert cohort.laterals is not None
    assert told(cohort.laterals, "id") == [MIMIC[1]]
    assert cohort.finding("No Finding").tolist() == [1]
    assert "1 film of a study without labels is left out" in cohort.notes
    other = load_cohort(f"{mimic}?split=val")
    assert (told(other, "view"), told(other, "patient")) == (["AP supine"], ["11000011"])
    values = [told(other, f"finding:{name}")[0] for name in ("Atelectasis", "Cardiomegaly", "Edema", "Fracture")]
    assert values == ["positive", "negative", "uncertain", "not mentioned"]
    assert "age" not in other.table or other.table["age"].isna().all()
    everything = load_cohort(f"{mimic}?split=all")
    assert "1 film of neither frontal nor lateral view is left out (LAO)" in everything.notes


def test_mimic_ages_come_from_the_patients_of_mimic_iv(mimic: Path) -> None:
    (mimic / "patients.csv").write_text(
        "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod\n10000032,F,52,2180,2014 - 2016,\n"
        "11000011,M,60,2150,2014 - 2016,\n"
    )
    cohort = load_cohort(f"{mimic}?split=all")
    assert (told(cohort, "age"), told(cohort, "sex")) == ([52.0, 58.0], ["female", "male"])


def test_mimic_without_a_table_says_which(mimic: Path) -> None:
    refused(f"{mimic}?labels=negbio", "mimic-cxr-2.0.0-negbio.csv(.gz), the table of labels is missing")
    refused(f"{mimic}?labels=both", "labels=both; known are chexpert, negbio")
    (mimic / "mimic-cxr-2.0.0-chexpert.csv.gz").write_bytes(b"\x1f\x8b and then no gzip")
    refused(str(mimic), "is no gzip file, or a damaged one")


def test_a_gzip_file_is_read_to_its_end_or_refused(mimic: Path) -> None:
    path = mimic / "mimic-cxr-2.0.0-chexpert.csv.gz"
    text = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(text[:200]) + gzip.compress(text[200:]))  # members, as block compressors write them
    assert load_cohort(str(mimic)).finding("No Finding").tolist() == [1]
    path.with_suffix("").write_bytes(text)  # unpacked beside it
    path.write_bytes(b"nonsense")
    assert load_cohort(str(mimic)).finding("No Finding").tolist() == [1]
    path.with_suffix("").unlink()
    path.write_bytes(gzip.compress(text)[:-20])
    refused(str(mimic), "ends before its compressed text does")


NIH = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
    "00000001_000.png,Cardiomegaly,0,1,058Y,M,PA,2682,2749,0.143,0.143,\n"
    "00000001_001.png,Cardiomegaly|Emphysema,1,1,058Y,M,PA,2894,2729,0.143,0.143,\n"
    "00000002_000.png,No Finding,0,2,411Y,F,AP,2500,2048,0.171,0.171,\n"
    "00000003_000.png,Hernia,0,3,081Y,F,PA,2500,2048,0.171,0.171,\n"
)


@pytest.fixture
def nih(films: Films) -> Path:
    root = films("images_001/images/00000001_000.png", "images_001/images/00000001_001.png")
    films("images_002/images/00000002_000.png")
    (root / "Data_Entry_2017.csv").write_text(NIH)
    (root / "test_list.txt").write_text("00000001_000.png\n00000001_001.png\n")
    (root / "train_val_list.txt").write_text("00000002_000.png\n")
    return root


def test_nih_labels_are_complete_so_what_is_not_named_is_negative(nih: Path) -> None:
    cohort = load_cohort(str(nih))
    assert len(cohort.findings) == 14
    assert told(cohort, "id") == ["images_001/images/00000001_000.png", "images_001/images/00000001_001.png"]
    assert cohort.finding("Emphysema").tolist() == [0, 1]
    assert cohort.finding("Cardiomegaly").tolist() == [1, 1]
    assert told(cohort, "study") == ["1/0", "1/1"]
    assert told(cohort, "age") == [58.0, 58.0]
    train = load_cohort(f"{nih}?split=train")
    assert (np.isnan(train.table["age"][0]), told(train, "sex")) == (True, ["female"])
    assert not any(train.finding(name).any() for name in train.findings)
    assert "1 of 4 films named in Data_Entry_2017.csv are not there and left out, first 00000003_000.png" in train.notes


def test_two_films_of_one_name_need_a_folder(nih: Path, films: Films) -> None:
    films("images-224/00000001_000.png")
    refused(str(nih), "of one name; say images=FOLDER")
    assert len(load_cohort(f"{nih}?images=images-224&split=all")) == 1
    refused(f"{nih}?images=nowhere", "images=nowhere names no folder there")


def test_a_film_labelled_by_another_rule_tells_only_what_it_names(films: Films) -> None:
    root = films("a.png", "b.png", "c.png", "d.png")
    (root / "metadata.csv").write_text(
        "file,finding,view\na.png,Pneumonia|Edema,PA\nb.png,COVID-19|Pneumonia,AP\nc.png,,AP Supine\nd.png,Mass,L\n"
    )
    cohort = load_cohort(f"{root}?layout=nih")
    assert told(cohort, "view") == ["PA", "AP", "AP supine"]
    assert told(cohort, "finding:Pneumonia") == ["positive", "positive", "not mentioned"]
    assert told(cohort, "finding:Mass") == ["negative", "not mentioned", "not mentioned"]
    assert len(load_cohort(f"{root / 'metadata.csv'}?layout=nih")) == 3
    assert any(note.startswith("metadata.csv: 1 film carries labels that are none of its 14") for note in cohort.notes)
    assert cohort.laterals is not None


PADCHEST = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,Projection,"
    "Manufacturer_DICOM,Report,MethodLabel,Labels\n"
    "0,a.png,0,20140915,s1,p1,1930.0,F,POSTEROANTERIOR,PA,Philips,texto,RNN_model,\"['normal']\"\n"
    "1,b.png,0,20140915,s2,p2,1930.0,M,LATERAL,L,Philips,texto,RNN_model,\"['pleural effusion', 'pneumonia']\"\n"
    "2,c.png,1,20140915,s3,p3,,O,ANTEROPOSTERIOR,AP_horizontal,IDC,texto,Physician,"
    "\"['pleural effusion', 'suboptimal study']\"\n"
    "3,d.png,1,20140915,s4,p4,2000,M,,PA,IDC,texto,Physician,\"['pneumonia', 'aortic elongation']\"\n"
    "4,e.png,1,20140915,s5,p5,2000,M,,COSTAL,IDC,,Physician,\n"
)


def test_padchest(films: Films) -> None:
    root = films("0/a.png", "0/b.png", "1/c.png", "1/d.png", "1/e.png")
    (root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv").write_text(PADCHEST)
    cohort = load_cohort(str(root))
    assert cohort.findings == ("pleural effusion", "pneumonia", "aortic elongation")
    assert told(cohort, "id") == ["0/a.png", "1/c.png", "1/d.png"]
    assert told(cohort, "view") == ["PA", "AP supine", "PA"]
    assert told(cohort, "sex") == ["female", "other", "male"]
    assert cohort.table["age"].fillna(-1).tolist() == [84.0, -1.0, 14.0]
    assert told(cohort, "age_group") == ["adult", "", "child"]
    assert told(cohort, "scanner") == ["Philips", "IDC", "IDC"]
    assert told(cohort, "finding:pleural effusion") == ["negative", "positive", "negative"]
    assert told(cohort, "finding:pneumonia") == ["negative", "not mentioned", "positive"]
    assert load_cohort(f"{root}?findings=pneumonia").findings == ("pneumonia",)
    refused(f"{root}?findings=mass", "no film has the label 'mass'")


def test_covidx(films: Films) -> None:
    root = films("train/a.png", "train/b c.png", "test/d.png", "test/e.png")
    (root / "train.txt").write_text("1 a.png positive cohen\n2 b c.png negative rsna\n")
    (root / "test.txt").write_text("3 d.png positive ricord\nnonsense\n4 e.png negative bimcv\n")
    cohort = load_cohort(str(root))
    assert (told(cohort, "label"), told(cohort, "site")) == (["covid_19", "negative"], ["ricord", "bimcv"])
    assert (cohort.findings, cohort.finding("COVID-19").tolist()) == (("COVID-19",), [1, 0])
    assert "test.txt: 1 lines are not of patient, file, class and source, first line 2" in cohort.notes
    assert told(load_cohort(f"{root}?split=train"), "id") == ["train/a.png", "train/b c.png"]
    (root / "test_COVIDx9A.txt").write_text("3 d.png COVID-19 ricord\n4 e.png pneumonia bimcv\n")
    refused(str(root), "name one of each split")
    three = load_cohort(str(root / "test_COVIDx9A.txt"))
    assert told(three, "label") == ["covid_19", "pneumonia"]
    assert three.finding("Pneumonia").tolist() == [-1, 1]


def test_each_layout_is_recognised_by_what_lies_there(chexpert: Path) -> None:
    known = registry.names()
    for name in ("chexpert", "mimic-cxr-jpg", "nih", "rsna", "vindr", "padchest", "covidx", "medmnist"):
        assert known.index(name) < known.index("kaggle_folders")
    spec = registry.Spec.parse(str(chexpert))
    assert [name for name in known[: known.index("manifest")] if registry.get(name).recognises(spec)][:1] == [
        "chexpert"
    ]


def test_a_manifest_carries_findings_in_columns_or_lists(films: Films) -> None:
    root = films("a.png", "b.png", "c.png", "d.png")
    (root / "metadata.csv").write_text(
        "file,Finding:Pleural Effusion,finding:edema,labels\na.png,1,positive,Mass|Pleural Effusion\n"
        "b.png,0,uncertain,No Finding\nc.png,-1,,not labelled\nd.png,,not mentioned,\n"
    )
    cohort = load_cohort(str(root))
    assert cohort.findings == ("Pleural Effusion", "edema")
    known = cohort.table[["finding:Pleural Effusion", "finding:edema"]].to_numpy().tolist()
    nothing = "not mentioned"
    assert known == [["positive"] * 2, ["negative", "uncertain"], ["uncertain", nothing], [nothing] * 2]
    asked = load_cohort(f"{root}?findings=Mass")
    assert asked.finding("Mass").tolist() == [1, 0, -1, -1]
    refused(f"{root}?findings=mass", "no film's labels names 'mass'; it has Mass, No Finding, Pleural Effusion")


def test_findings_of_a_manifest_beside_class_folders_are_read(films: Films) -> None:
    root = films("normal/a.png", "pneumonia/b.png", "pneumonia/c.png")
    (root / "metadata.csv").write_text("file,finding:Mass\nnormal/a.png,0\npneumonia/b.png,2\n")
    cohort = load_cohort(str(root))
    assert cohort.table["finding:Mass"].tolist() == ["negative", "not mentioned", "not mentioned"]
    assert any("Mass: 1 cell(s) hold '2', first in row 2" in note for note in cohort.notes)
