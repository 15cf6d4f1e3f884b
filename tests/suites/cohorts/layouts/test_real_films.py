"""The real films: what is known about them is found in them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from suites.harness.cohorts.layouts import load_cohort
from suites.harness.cohorts.layouts.kermany_names import bare_number
from suites.harness.endpoints.dataset_scope.file_properties import (
    audit_files,
    class_mix,
    duplicate_groups,
    file_contents,
    patient_overlap,
)
from suites.harness.endpoints.dataset_scope.shortcut_baselines import single_cue_auroc

THREE = ("bacterial_pneumonia", "normal", "viral_pneumonia")
pytestmark = pytest.mark.realdata


@pytest.mark.parametrize(
    ("folder", "counts"), [("kermany", (182, 175, 111)), ("kermany_native", (5, 8, 64))], ids=["squeezed", "native"]
)
def test_both_geometries_load_as_test_cohorts(shared: Path, folder: str, counts: tuple[int, ...]) -> None:
    cohort = load_cohort(str(shared / "data" / folder), classes=THREE)
    assert tuple((cohort.table["label"] == label).sum() for label in THREE) == counts
    assert cohort.notes == ()


def test_names_and_metadata_tell_the_same_patients(shared: Path) -> None:
    root = shared / "data" / "kermany"
    cohort = load_cohort(f"{root}?split=all")
    told = pd.read_csv(root / "metadata.csv").set_index("file").loc[cohort.table["id"]]
    assert len(cohort) == 5700
    assert cohort.notes == ()  # a note would tell of patients that differ from those of the names
    assert cohort.table["patient"].tolist() == told["patient"].tolist()
    assert cohort.table["label"].tolist() == told["label"].tolist()


def test_a_binary_subject(shared: Path) -> None:
    cohort = load_cohort(str(shared / "data" / "kermany"), classes=("NORMAL", "PNEUMONIA"))
    assert cohort.table["label"].value_counts().to_dict() == {"PNEUMONIA": 293, "NORMAL": 175}


def test_known_duplicates_and_no_patient_in_two_splits(shared: Path) -> None:
    cohort = load_cohort(str(shared / "data" / "kermany"), split=None)
    groups = duplicate_groups(file_contents(cohort))
    per_group = groups.groupby("group")
    assert groups.drop_duplicates("group")["split"].value_counts().to_dict() == {"train": 24, "test": 3}
    assert per_group["label"].nunique().max() == 1
    assert per_group["split"].nunique().max() == 1
    sizes = groups[groups["split"] == "train"].groupby("group").size()
    assert (sizes * (sizes - 1) // 2).sum() == 28
    overlap = patient_overlap(cohort.table).set_index(["split_a", "split_b"])
    assert (overlap["shared"] == 0).all()
    # Of the 202 person numbers in the full test set 170 recur in train; 151 of the 202 are in these films.
    assert overlap.loc[("train", "test"), ["numbers_b", "shared_numbers"]].tolist() == [151, 125]
    table = cohort.table.assign(number=cohort.table["patient"].map(bare_number))
    kinds = table[table["number"] != ""].groupby("number")["patient"].nunique()
    assert kinds.max() == 2
    mix = class_mix(cohort.table).set_index(["split", "label"])["share"]
    assert mix["test", "normal"] - mix["train", "normal"] > 0.1


def test_shape_and_sharpness_betray_the_class_in_native_geometry(shared: Path) -> None:
    cohort = load_cohort(f"{shared}/data/kermany_native?split=train").limited(240, seed=0)
    single = single_cue_auroc(audit_files(cohort).properties).set_index(["cue", "label"])["auroc"]
    assert single["aspect", "normal"] < 0.25
    assert single["sharpness", "normal"] > 0.88


def test_probe_cohorts_are_filters_of_one_manifest(shared: Path) -> None:
    external = shared / "data" / "external"
    lateral = load_cohort(f"{external}?view=L", classes=THREE)
    assert (len(lateral), lateral.patients) == (32, 30)
    frontal = load_cohort(f"{external}?view!=L")
    assert len(frontal) == 831
    assert set(frontal.table["age_group"]) == {"adult"}
    assert len(load_cohort(f"{external}?finding=No Finding&view=AP")) > 200
    for row in lateral.table.to_dict("records"):
        assert min(lateral.decode(row).pixels.shape) >= 200


@pytest.mark.parametrize(
    ("query", "counts"),
    [
        ("layout=nih", {"Pneumonia": (376, 315, 140), "Effusion": (76, 615, 140), "Hernia": (0, 691, 140)}),
        ("layout=nih&site=NIH ChestX-ray14 (Wang et al. 2017)", {"Pneumonia": (368, 311, 0), "Edema": (75, 604, 0)}),
        ("findings=Pneumonia|Effusion&view!=L", {"Pneumonia": (376, 437, 18), "Effusion": (76, 737, 18)}),
    ],
    ids=["as NIH", "films of NIH alone", "as a manifest"],
)
def test_labels_joined_in_one_column_are_findings(
    shared: Path, query: str, counts: dict[str, tuple[int, int, int]]
) -> None:
    cohort = load_cohort(f"{shared}/data/external?{query}")
    found = cohort.finding_counts().set_index("finding")
    told = {name: tuple(found.loc[name, ["positive", "negative", "not mentioned"]]) for name in counts}
    assert told == counts
    assert set(cohort.table["view"]) <= {"PA", "AP", "AP supine", "AP Supine"}
