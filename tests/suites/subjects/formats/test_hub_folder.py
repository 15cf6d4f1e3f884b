"""Folders in the Hub's layout: what is read from them, and one clear line for each thing that can be wrong."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats import load_subject
from suites.harness.subjects.formats.hub import PUBLISHED_CLASSES, _default
from suites.harness.subjects.formats.processor import FILTERS, hub_recipe, repository_recipe
from suites.harness.subjects.preprocessing import REPOSITORY, Preprocessing


def edit(file: Path, **changes) -> None:
    content = json.loads(file.read_text())
    content.update(changes)
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))


def refused(folder: Path) -> str:
    with pytest.raises(SubjectProblem) as caught:
        load_subject(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_everything_is_recorded(hub_folder):
    subject = load_subject(str(hub_folder))
    weights = (hub_folder / "model.safetensors").read_bytes()
    assert subject.provenance.sha256 == hashlib.sha256(weights).hexdigest()
    assert subject.provenance.format == "hub"
    assert subject.provenance.architecture == "convnextv2 (blocks 1-2-3-1, channels 8-16-24-32)"
    assert subject.name == hub_folder.name
    assert subject.classes == ("bacterial_pneumonia", "normal", "viral_pneumonia")
    assert not subject.network.training
    assert not any(parameter.requires_grad for parameter in subject.network.parameters())


def test_both_published_recipes_are_there_and_the_repositorys_is_the_default(hub_folder):
    subject = load_subject(str(hub_folder))
    assert subject.preprocessing == REPOSITORY
    assert subject.preprocessing.kernel == "torchvision"
    hub = Preprocessing(
        name="hub", short_side=256, size=224, interpolation="bicubic", kernel="pillow", odd_margin="down"
    )
    assert load_subject(str(hub_folder), preprocessing="hub").preprocessing == hub
    with pytest.raises(SubjectProblem, match="no preprocessing called 'other'; known are hub, repository"):
        load_subject(str(hub_folder), preprocessing="other")


@pytest.mark.parametrize("resample", [0, 1, 2])
def test_a_folder_with_another_recipe_than_the_published_is_judged_with_its_own(hub_folder, resample):
    edit(hub_folder / "preprocessor_config.json", resample=resample)
    subject = load_subject(str(hub_folder))
    assert subject.preprocessing.name == "hub"
    assert subject.preprocessing.interpolation == FILTERS[resample]
    assert any("hub unless chosen" in note for note in subject.provenance.notes)
    assert load_subject(str(hub_folder), preprocessing="repository").preprocessing == REPOSITORY


@settings(max_examples=100)
@given(
    resample=st.sampled_from([0, 1, 2, 3]),
    crop_pct=st.sampled_from([0.8, 0.875, 0.95, 1.0]),
    side=st.sampled_from([32, 64, 128, 224]),
    classes=st.permutations(PUBLISHED_CLASSES) | st.just(["normal", "pneumonia", "effusion"]),
    is_published=st.booleans(),
)
def test_what_the_file_states_decides_except_for_the_published_kind(resample, crop_pct, side, classes, is_published):
    stated = {"resample": resample, "crop_pct": crop_pct, "size": {"shortest_edge": side}}
    recipes = {"hub": hub_recipe(stated, 3, "file"), "repository": repository_recipe(side)}
    used, notes = _default(recipes, tuple(classes), is_published=is_published)
    if is_published:
        assert (used.name, notes) == ("repository", [])
    elif "effusion" not in classes and (resample, crop_pct) == (3, 0.875):
        assert used.name == "repository"
        assert notes[0].endswith("which --preprocessing hub takes")
    else:
        assert (used.interpolation, used.short_side, used.size) == (FILTERS[resample], int(side / crop_pct), side)
        assert "hub unless chosen" in notes[0]


@pytest.mark.parametrize("kind", ["regression", 7])
def test_outputs_that_are_neither_classes_nor_findings_are_not_judged(hub_folder, kind):
    edit(hub_folder / "config.json", problem_type="single_label_classification")
    load_subject(str(hub_folder))
    edit(hub_folder / "config.json", problem_type=kind)
    assert "problem_type is " in (message := refused(hub_folder))
    assert "not judged here" in message


def test_the_published_size_has_its_name(published):
    folder, _ = published(depths=[2, 2, 6, 2], hidden_sizes=[40, 80, 160, 320])
    assert load_subject(str(folder)).provenance.architecture == "convnextv2_atto"


def test_classes_follow_the_weights_whatever_their_order(published):
    folder, _ = published(classes=("viral_pneumonia", "bacterial_pneumonia", "normal"))
    assert load_subject(str(folder)).classes == ("viral_pneumonia", "bacterial_pneumonia", "normal")
    edit(folder / "config.json", id2label={"2": "normal", "0": "viral_pneumonia", "1": "bacterial_pneumonia"})
    assert load_subject(str(folder)).classes == ("viral_pneumonia", "bacterial_pneumonia", "normal")


def test_one_grey_channel(published, pixels):
    folder, network = published(num_channels=1)
    edit(folder / "preprocessor_config.json", image_mean=[0.5], image_std=[0.25])
    subject = load_subject(str(folder))
    assert subject.preprocessing.channels == 1
    with torch.inference_mode():
        expected = network((pixels[:, :1] - 0.5) / 0.25).logits
    torch.testing.assert_close(subject.answer(pixels[:, :1])[0], expected, atol=1e-5, rtol=0)


def test_another_size_carries_the_repositorys_recipe_along(hub_folder):
    edit(hub_folder / "preprocessor_config.json", size={"shortest_edge": 64})
    subject = load_subject(str(hub_folder))
    assert (subject.preprocessing.short_side, subject.preprocessing.size) == (72, 64)
    assert (subject.preprocessings["hub"].short_side, subject.preprocessings["hub"].size) == (73, 64)


def test_without_a_processor_there_is_no_hub_recipe_and_a_note_says_so(hub_folder):
    (hub_folder / "preprocessor_config.json").unlink()
    subject = load_subject(str(hub_folder))
    assert set(subject.preprocessings) == {"repository"}
    assert any("no preprocessor_config.json" in note for note in subject.provenance.notes)


def test_the_training_record_is_kept_when_there_is_one(hub_folder):
    (hub_folder / "training.json").write_text('{"seed": 42}')
    assert load_subject(str(hub_folder)).provenance.training == {"seed": 42}


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_files_are_named_with_what_is_there(hub_folder, name):
    (hub_folder / name).rename(hub_folder / "elsewhere")
    message = refused(hub_folder)
    assert f"{name} is missing" in message
    assert "elsewhere" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id2label": ...}, "has no id2label"),
        ({"id2label": {}}, "has no id2label"),
        ({"id2label": {"0": "a", "2": "b"}}, "number its classes 0 to 1"),
        ({"id2label": {"0": "a", "1": 5}}, "number its classes 0 to 1"),
        ({"id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}}, "placeholders"),
        ({"label2id": {"normal": 0, "bacterial_pneumonia": 1, "viral_pneumonia": 2}}, "contradict each other"),
        ({"id2label": {"0": "a", "1": "b"}, "label2id": ...}, r"head\.fc\.weight is \(3, 32\) and should be \(2, 32\)"),
        ({"id2label": {"0": "a"}, "label2id": ...}, "head.fc.weight|at least two class names"),
        ({"id2label": {"0": "a", "1": "a", "2": "b"}, "label2id": ...}, "class names repeat"),
        ({"model_type": "resnet"}, "model_type 'resnet' is not read"),
        ({"model_type": ...}, "model_type None is not read"),
        ({"depths": [1, 2, 3]}, r"`depths` is \[1, 2, 3\], expected four whole numbers"),
        ({"depths": "many"}, '`depths` is "many", expected four whole numbers'),
        ({"depths": [1, 2, 4, 1]}, r"missing: stages\.2\.blocks\.3"),
        ({"depths": [1, 2, 2, 1]}, r"unexpected: stages\.2\.blocks\.2"),
        ({"hidden_sizes": [8, 16, 24, 48]}, "of another shape"),
        ({"hidden_act": "mystery"}, "hidden_act 'mystery' is none of"),
        ({"patch_size": 2}, "`patch_size` is 2, expected 4"),
        ({"num_channels": "three"}, '`num_channels` is "three", expected 1 or 3'),
        ({"layer_norm_eps": "small"}, '`layer_norm_eps` is "small", expected a number'),
    ],
)
def test_a_config_that_cannot_be_right_is_refused(hub_folder, changes, message):
    edit(hub_folder / "config.json", **changes)
    with pytest.raises(SubjectProblem, match=message) as caught:
        load_subject(str(hub_folder))
    assert "\n" not in str(caught.value)


def test_missing_and_unexpected_weights_are_named_and_counted(hub_folder):
    state = load_file(hub_folder / "model.safetensors")
    for key in [key for key in state if ".grn." in key]:
        del state[key]
    state["stranger"] = torch.ones(1)
    save_file(state, hub_folder / "model.safetensors")
    message = refused(hub_folder)
    assert "14 missing: stages.0.blocks.0.mlp.grn.weight" in message
    assert "1 unexpected: stranger" in message


def test_truncated_weights_are_named(hub_folder):
    weights = hub_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "model.safetensors: truncated" in refused(hub_folder)


def test_truncated_json_is_named(hub_folder):
    config = hub_folder / "config.json"
    config.write_text(config.read_text()[:-5])
    assert "config.json: is not valid JSON" in refused(hub_folder)


def test_pickled_weights_are_not_looked_at(hub_folder):
    shutil.move(hub_folder / "model.safetensors", hub_folder / "pytorch_model.bin")
    assert "save pickled weights (.bin) as safetensors" in refused(hub_folder)
