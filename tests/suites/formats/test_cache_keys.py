"""For every field a loader reads: change it, and the key of cached predictions changes or the logits do not.

The fields are not listed here but recorded while the loader reads them, so that one added later is covered, or fails
here until somebody says how to change it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from transformers import Dinov2Config, Dinov2ForImageClassification

from suites.harness import FittedTemperature, load_subject, with_temperature
from suites.harness.engine import _key
from suites.harness.errors import SubjectProblem
from suites.harness.formats import hub
from tests.suites.formats.test_timm_model import spec_of

FILM = torch.rand(1, 260, 300, generator=torch.Generator().manual_seed(3))
CONFIG = {  # another valid value of each field; what cannot be another value with the same weights is refused
    "id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {}, "model_type": "dinov2", "hidden_act": "relu",
    "depths": [2, 2, 3, 1], "hidden_sizes": [8, 16, 24, 40], "layer_norm_eps": 1e-3, "num_channels": 1, "patch_size": 2,
    "image_size": 112, "use_swiglu_ffn": True, "hidden_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4,
    "mlp_ratio": 2,
}  # fmt: skip
PROCESSOR = {
    "image_mean": [0.4, 0.5, 0.5], "image_std": [0.3, 0.2, 0.2], "do_normalize": False, "do_rescale": False,
    "rescale_factor": 1.0, "do_resize": False, "resample": 2, "crop_pct": 0.8, "size": {"shortest_edge": 196},
    "image_processor_type": "ViTImageProcessor", "feature_extractor_type": "ViTFeatureExtractor",
    "do_center_crop": False, "crop_size": {"height": 210, "width": 210},
}  # fmt: skip


class Recording(dict):
    """A JSON object that remembers which of its fields were read."""

    def __init__(self, content, read: set[str]) -> None:
        super().__init__(content)
        self.read = read

    def get(self, key, default=None):
        self.read.add(key)
        return super().get(key, default)

    def __getitem__(self, key):
        self.read.add(key)
        return super().__getitem__(key)

    def __contains__(self, key):
        self.read.add(key)
        return super().__contains__(key)


def key_and_logits(spec: str, recipe: str | None = None) -> tuple[str, torch.Tensor, tuple[str, ...]]:
    subject = load_subject(spec, preprocessing=recipe)
    return json.dumps(_key(subject, 0), sort_keys=True), subject.answer(subject.pixels(FILM))[0], subject.classes


def hold(spec: str, fields: Mapping[str, dict], recipe: str | None) -> int:
    """Change each field alone; return how many changes moved the logits."""
    key, logits, classes = key_and_logits(spec, recipe)
    moved = 0
    for name, write in fields.items():
        write["change"]()
        try:
            other, changed, named = key_and_logits(spec, recipe)
        except SubjectProblem:
            continue  # refused: no number at all
        finally:
            write["back"]()
        same = changed.shape == logits.shape and torch.equal(changed, logits) and named == classes
        assert other != key or same, f"{name} decides the logits and is not in the key"
        moved += not same
    assert key_and_logits(spec, recipe)[0] == key, "the same folder again has the same key"
    return moved


def recorded(folder: Path, monkeypatch) -> dict[str, set[str]]:
    """Return file name -> the fields that were read of it."""
    read: dict[str, set[str]] = {}
    original = hub.read_json

    def reading(path: Path):
        return Recording(original(path), read.setdefault(path.name, set()))

    with monkeypatch.context() as patch:
        patch.setattr(hub, "read_json", reading)
        load_subject(str(folder))
    return read


def changes(folder: Path, read: Mapping[str, set[str]]) -> dict[str, dict]:
    found = {}
    for file, known in (("config.json", CONFIG), ("preprocessor_config.json", PROCESSOR)):
        path = folder / file
        before = path.read_text()
        for field in sorted(read[file]):
            assert field in known, f"{file}: say in this test how {field!r} can be changed"
            after = json.dumps(json.loads(before) | {field: known[field]})
            found[f"{file}: {field}"] = {
                "change": lambda path=path, after=after: path.write_text(after),
                "back": lambda path=path, before=before: path.write_text(before),
            }
    return found


@pytest.mark.parametrize("recipe", ["repository", "hub"])
def test_every_field_of_a_hub_folder(hub_folder, recipe, monkeypatch):
    read = recorded(hub_folder, monkeypatch)
    assert {"hidden_act", "layer_norm_eps"} <= read["config.json"]
    assert {"image_mean", "do_normalize", "size"} <= read["preprocessor_config.json"]
    assert hold(str(hub_folder), changes(hub_folder, read), recipe) >= 4


def test_every_field_of_a_dinov2_folder(hub_folder, tmp_path, randomise, monkeypatch):
    config = Dinov2Config(hidden_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=224, patch_size=14,
                          id2label={0: "x", 1: "y", 2: "z"}, label2id={"x": 0, "y": 1, "z": 2})  # fmt: skip
    folder = tmp_path / "dinov2"
    randomise(Dinov2ForImageClassification(config)).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text((hub_folder / "preprocessor_config.json").read_text())
    read = recorded(folder, monkeypatch)
    assert hold(str(folder), changes(folder, read), "repository") >= 3


def test_the_weights_themselves(hub_folder):
    key, _, _ = key_and_logits(str(hub_folder))
    path = hub_folder / "model.safetensors"
    state = load_file(path)
    name = next(iter(sorted(state)))
    state[name] = state[name] + 1e-3
    save_file(state, path, metadata={"format": "pt"})
    assert key_and_logits(str(hub_folder))[0] != key


def test_every_option_of_timm(tmp_path, randomise):
    network = randomise(timm.create_model("test_convnext2", num_classes=3))
    path = tmp_path / "lungs.safetensors"
    save_file(network.state_dict(), path)
    key, logits, _ = key_and_logits(spec_of(path))
    options = {"size": "96", "mean": "0.4", "std": "0.3", "short_side": "squeeze", "interpolation": "bilinear"}
    for name, value in options.items():
        other, changed, _ = key_and_logits(spec_of(path, **{name: value}))
        assert other != key, name
        assert not torch.equal(changed, logits), name
    assert key_and_logits(spec_of(path, classes="a,b,x"))[0] != key


def test_temperature_of_other_settings_is_refused(hub_folder):
    subject = load_subject(str(hub_folder))
    fitted = FittedTemperature(
        temperature=2.0, low=1.5, high=2.5, subject="one", sha256=subject.provenance.sha256, classes=subject.classes,
        preprocessing="repository", cohort="films", fingerprint="f", films=9, patients=9, nll_before=1.0, nll_after=0.9,
        seen=(), network=subject.network_identity,
    )  # fmt: skip
    assert with_temperature(subject, fitted).temperature is fitted
    assert with_temperature(subject, replace(fitted, network="")).temperature is not None, "files of earlier versions"
    path = hub_folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_mean": [0.1, 0.1, 0.1]}))
    with pytest.raises(SubjectProblem, match="same weights, but with another normalisation"):
        with_temperature(load_subject(str(hub_folder)), fitted)
