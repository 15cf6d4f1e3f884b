"""The Kaggle layout: labels and patients from file names, contradictions refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites.harness.cohorts.layouts import kaggle_download, load_cohort
from suites.harness.cohorts.layouts.kermany_names import bare_number, read_name
from suites.harness.errors import CohortProblem

Films = Callable[..., Path]

NAMES = (
    "test/NORMAL/IM-0001-0001.jpeg",
    "test/NORMAL/NORMAL2-IM-0372-0001.jpeg",
    "test/NORMAL/NORMAL2-IM-0372-0001-0002.jpeg",
    "test/PNEUMONIA/person1_virus_6.jpeg",
    "test/PNEUMONIA/person1_virus_7.jpeg",
    "test/PNEUMONIA/person100_bacteria_475.jpeg",
    "train/NORMAL/IM-0115-0001.jpeg",
    "train/PNEUMONIA/person1_bacteria_1.jpeg",
)


def test_third_class_and_patients_come_from_the_file_names(films: Films) -> None:
    cohort = load_cohort(str(films(*NAMES)))
    assert cohort.table["id"].tolist() == sorted(NAMES[:6])
    assert dict(zip(cohort.table["id"], cohort.table["label"], strict=True)) == {
        NAMES[0]: "normal",
        NAMES[1]: "normal",
        NAMES[2]: "normal",
        NAMES[3]: "viral_pneumonia",
        NAMES[4]: "viral_pneumonia",
        NAMES[5]: "bacterial_pneumonia",
    }
    assert set(cohort.table["patient"]) == {"IM-0001", "NORMAL2-IM-0372", "person1_virus", "person100_bacteria"}
    assert set(cohort.table["view"]) == {"AP"}
    assert set(cohort.table["age_group"]) == {"child"}
    assert cohort.name.endswith(" test")
    assert not cohort.notes


def test_splits_and_the_archives_own_folder(films: Films) -> None:
    root = films(*(f"chest_xray/{name}" for name in NAMES), "__MACOSX/x.jpeg", "chest_xray/.DS_Store")
    assert len(load_cohort(str(root), split="train")) == 2
    assert len(load_cohort(f"{root}?split=train")) == 2
    assert len(load_cohort(str(root), split=None)) == 8
    assert len(load_cohort(f"{root}?split=all")) == 8
    assert len(load_cohort(f"{root}?split=train&split=test")) == 8
    with pytest.raises(CohortProblem, match="split is one of 'test', 'train'"):
        load_cohort(str(root), split="val")


def test_person_numbers_of_two_kinds_are_two_patients(films: Films) -> None:
    table = load_cohort(str(films(*NAMES)), split=None).table
    ones = table[table["patient"].map(bare_number) == "1"]
    assert set(ones["patient"]) == {"person1_virus", "person1_bacteria"}


@given(number=st.integers(0, 9999), image=st.integers(0, 9999), kind=st.sampled_from(["bacteria", "virus"]))
def test_every_person_name_is_read(number: int, image: int, kind: str) -> None:
    named = read_name(f"person{number}_{kind}_{image}.jpeg")
    assert named == ({"bacteria": "bacterial_pneumonia", "virus": "viral_pneumonia"}[kind], f"person{number}_{kind}")


def test_names_of_the_mendeley_release() -> None:
    assert read_name("BACTERIA-1008087-0001.jpeg") == ("bacterial_pneumonia", "patient1008087")
    assert read_name("NORMAL-28501-0001.jpeg") == ("normal", "patient28501")


@pytest.mark.parametrize("name", ["film.png", "personal_bacteria_1.png", "IM0001.dcm", "SIM-0001-1.png"])
def test_names_of_other_sources_tell_nothing(name: str) -> None:
    assert read_name(name) is None


def test_unknown_names_in_the_pneumonia_folder_stay_pneumonia(films: Films) -> None:
    root = films("test/NORMAL/a.png", "test/PNEUMONIA/b.png")
    cohort = load_cohort(str(root))
    assert set(cohort.table["label"]) == {"normal", "pneumonia"}
    assert cohort.notes == ("2 of 2 films have no patient key; each counts as a patient of its own",)
    assert set(cohort.table["view"]) == {""}
    with pytest.raises(CohortProblem, match="Say which pneumonia it is"):
        load_cohort(str(root), classes=["bacterial_pneumonia", "normal", "viral_pneumonia"])


def test_a_pneumonia_among_the_normals_is_refused(films: Films) -> None:
    with pytest.raises(CohortProblem, match="lies in NORMAL, but its name says bacterial_pneumonia"):
        load_cohort(str(films("test/NORMAL/person1_bacteria_1.jpeg", "test/PNEUMONIA/person2_virus_1.jpeg")))
    with pytest.raises(CohortProblem, match="lies in PNEUMONIA, but its name says normal"):
        load_cohort(str(films("test/PNEUMONIA/NORMAL-12-1.jpeg", "test/NORMAL/a.png", root="second")))


def test_metadata_beside_it_is_used_when_it_agrees(films: Films) -> None:
    root = films(*NAMES)
    (root / "metadata.csv").write_text(
        "file,split,label,patient,scanner\n"
        f"{NAMES[0]},test,normal,child-7,A\n{NAMES[3]},test,virus,person1_virus,B\nnowhere.jpeg,test,normal,x,C\n"
    )
    cohort = load_cohort(str(root))
    rows = cohort.table.set_index("id")
    assert rows.loc[NAMES[0], "patient"] == "child-7"
    assert rows.loc[NAMES[3], "scanner"] == "B"
    assert rows.loc[NAMES[4], "scanner"] == ""
    assert cohort.notes == (
        "6 of 8 films are not in metadata.csv",
        "patients of 1 film are taken from metadata.csv, not from their names",
        "metadata.csv names 1 file that is not in the folder, first nowhere.jpeg",
    )
    assert len(load_cohort(f"{root}?scanner=B")) == 1


def test_metadata_that_contradicts_the_folders_is_refused(films: Films) -> None:
    root = films(*NAMES)
    (root / "metadata.csv").write_text(f"file,label\n{NAMES[3]},normal\n")
    with pytest.raises(CohortProblem, match=r"folder says label 'viral_pneumonia', metadata\.csv says 'normal'"):
        load_cohort(str(root))


def test_the_download_is_loaded_from_where_kagglehub_put_it(films: Films, monkeypatch: pytest.MonkeyPatch) -> None:
    root = films(*(f"chest_xray/{name}" for name in NAMES), *(f"chest_xray/chest_xray/{name}" for name in NAMES))
    asked: list[str] = []
    hub = ModuleType("kagglehub")
    hub.dataset_download = lambda name: asked.append(name) or str(root)
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    cohort = load_cohort("kaggle")
    assert asked == [kaggle_download.DATASET] == ["paultimothymooney/chest-xray-pneumonia"]
    assert (cohort.name, cohort.spec, len(cohort)) == ("kaggle test", "kaggle", 6)
    assert len(load_cohort("kaggle?split=train")) == 2


def test_a_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> str:
        raise ConnectionError(f"no route to {name}")

    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(CohortProblem, match="uv sync --extra kaggle"):
        load_cohort("kaggle")
    hub = ModuleType("kagglehub")
    hub.dataset_download = refuse
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    with pytest.raises(CohortProblem, match=r"did not deliver .*no route.*download it by hand"):
        load_cohort("kaggle")
    hub.dataset_download = lambda _: str(tmp_path)
    with pytest.raises(CohortProblem, match="holds no"):
        load_cohort("kaggle")
