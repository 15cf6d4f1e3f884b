"""The subjects in the package: they load, are what their records say, and know a lung when they see one."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from sklearn.metrics import roc_auc_score
from transformers import AutoModelForImageClassification

from robustness.phantom.several import SEVERAL
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.errors import SubjectProblem
from suites.harness.subjects import formats
from suites.harness.subjects.bundled.cohorts import (
    CLASSES,
    HELD_OUT,
    OUTLIERS,
    SEVERAL_HELD_OUT,
    SEVERAL_TRAIN,
    SEVERAL_VALIDATION,
    TRAIN,
    VALIDATION,
)
from suites.harness.subjects.bundled.recipes import RECIPES
from suites.harness.subjects.formats import load_subject
from suites.harness.subjects.formats.bundled import FOLDER, NAMES


def record_of(name: str) -> dict[str, object]:
    content: dict[str, object] = json.loads((FOLDER / name / "training.json").read_text())
    return content


@pytest.mark.parametrize("name", NAMES)
class TestEach:
    def test_loads_by_its_spec_in_the_published_order_of_classes(self, name):
        subject = load_subject(f"bundled:{name}")
        assert subject.name == name
        assert CLASSES == ("bacterial_pneumonia", "normal", "viral_pneumonia")
        assert subject.classes == (SEVERAL if name == "findings" else CLASSES)
        assert subject.heads == ("sigmoid" if name == "findings" else "softmax")
        assert subject.provenance.format == "bundled"
        assert set(subject.preprocessings) == {"repository", "hub"}
        assert subject.preprocessing.short_side == 145
        assert subject.preprocessings["hub"].interpolation == "bicubic"

    def test_is_small_and_stored_in_half_precision(self, name):
        files = list((FOLDER / name).iterdir())
        assert {file.name for file in files} == {
            "config.json", "preprocessor_config.json", "model.safetensors", "training.json"
        }  # fmt: skip
        assert sum(file.stat().st_size for file in files) < 2_000_000

    def test_record_belongs_to_the_weights_and_to_the_recipe(self, name):
        record, weights = record_of(name), (FOLDER / name / "model.safetensors").read_bytes()
        assert record["weights_sha256"] == hashlib.sha256(weights).hexdigest()
        assert record["weights_sha256"] == load_subject(f"bundled:{name}").provenance.sha256
        assert record["recipe"] == json.loads(json.dumps(RECIPES[name].__dict__))
        assert "not for medical use" in str(record["use"])
        assert record["licence"] == "MIT"

    def test_transformers_reads_the_folder_and_gives_the_same_logits(self, name):
        pixels = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(3))
        subject = load_subject(f"bundled:{name}")
        theirs = AutoModelForImageClassification.from_pretrained(FOLDER / name, dtype=torch.float32).eval()
        normalised = (pixels - subject.network.mean) / subject.network.std
        with torch.inference_mode():
            torch.testing.assert_close(subject.network(pixels), theirs(normalised).logits, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["fragile", "hardened"])
def test_held_out_films_are_mostly_called_right(name):
    subject, cohort = load_subject(f"bundled:{name}"), load_cohort("phantom:n=90,seed=77")
    films = torch.stack([torch.from_numpy(cohort.decode(row).pixels) for row in cohort.table.to_dict("records")])
    with torch.inference_mode():
        called = subject.network(subject.pixels(films)).argmax(1)
    truth = torch.tensor([CLASSES.index(label) for label in cohort.table.label])
    right = float((called == truth).double().mean())
    # 90 films: four standard errors of a subject that is right on 90 of 100.
    assert right >= 0.9 - 4 * (0.9 * 0.1 / 90) ** 0.5
    assert abs(right - record_of(name)["held_out"]["accuracy"]) < 0.1
    # A subject that answers without looking would do as well on shuffled films.
    assert float((called == truth.roll(1)).double().mean()) < 0.6


def test_findings_are_told_apart_on_held_out_films_one_by_one():
    subject, cohort = load_subject("bundled:findings"), load_cohort("phantom:n=60,findings=several,seed=77")
    films = torch.stack([torch.from_numpy(cohort.decode(row).pixels) for row in cohort.table.to_dict("records")])
    with torch.inference_mode():
        logits = subject.network(subject.pixels(films)).double().numpy()
    record = record_of("findings")["held_out"]
    found = {name: roc_auc_score(cohort.finding(name) == 1, logits[:, k]) for k, name in enumerate(SEVERAL)}
    for name, auroc in found.items():
        # About 17 films with and 43 without: the standard error of an AUROC is at most .5 / sqrt(17) / sqrt(3).
        assert auroc == pytest.approx(record["findings"][name]["auroc"], abs=0.2), name
    assert sum(found.values()) / len(found) > 0.75
    # Each logit speaks of its own finding: of another it tells less, though films of few patients show some together.
    others = [roc_auc_score(cohort.finding(SEVERAL[k - 1]) == 1, logits[:, k]) for k in range(len(SEVERAL))]
    assert (sum(found.values()) - sum(others)) / len(others) > 0.15


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(
        SubjectProblem, match=r"'bundled:strong'.*bundled:fragile, bundled:hardened, bundled:probe, bundled:findings"
    ):
        load_subject("bundled:strong")
    assert any(form.startswith("bundled:") for form in formats.names())


def test_no_patient_stands_in_two_splits():
    splits = (TRAIN, VALIDATION, HELD_OUT, *OUTLIERS, SEVERAL_TRAIN, SEVERAL_VALIDATION, SEVERAL_HELD_OUT)
    patients = [set(split.table().patient) for split in splits]
    default = set(load_cohort("phantom").table.patient) | set(load_cohort("phantom:findings=several").table.patient)
    for i, some in enumerate(patients):
        assert not some & default
        for others in patients[:i]:
            assert not some & others
    assert all(split.seed != 0 for split in splits)
