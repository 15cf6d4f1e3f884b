"""Naming the layer of Grad-CAM in a spec, and what steps in for a subject that has none."""

import json
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import ConvNextV2Config, ConvNextV2ForImageClassification

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.attribution_layer import described, method_for, method_of
from suites.harness.subjects.formats import load_subject


@pytest.mark.parametrize("name", ["fragile", "hardened"])
def test_a_trained_network_that_mixes_all_places_is_looked_at_in_its_last_stage(name):
    assert described(load_subject(f"bundled:{name}"), "grad-cam") == "grad-cam (layer backbone.stages.3, 4 x 4)"


def test_a_spec_names_the_layer_and_no_logit_changes():
    plain, named = load_subject("bundled:fragile"), load_subject("bundled:fragile?layer=stages.2")
    assert described(named, "grad-cam") == "grad-cam (layer backbone.stages.2, 8 x 8)"
    assert (named.fingerprint, named.provenance.spec) == (plain.fingerprint, "bundled:fragile?layer=stages.2")


@pytest.mark.parametrize(
    ("layer", "reason"),
    [("stages.9", "no layer 'stages.9'"), ("head", r"layer 'head' gave \(1, 3\)"), ("", "name one layer")],
)
def test_a_layer_that_cannot_be_used_is_refused_when_the_subject_is_loaded(layer, reason):
    with pytest.raises(SubjectProblem, match=reason):
        load_subject(f"bundled:fragile?layer={layer}")


class Flat(nn.Module):
    """Pixels straight into linear layers; detached, if asked."""

    def __init__(self, side, *, cut):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.cut = nn.Linear(side * side, 3), cut

    def forward(self, pixels):
        logits = self.layer(pixels.mean(1).flatten(1))
        return logits.detach() if self.cut else logits


@pytest.mark.parametrize(("cut", "instead"), [(False, "integrated gradients"), (True, "occlusion")])
def test_methods_without_a_layer_step_in_and_say_why(cut, instead):
    subject = load_subject("bundled:fragile")
    other = replace(subject, network=Flat(subject.preprocessing.size, cut=cut))
    method, why = method_for(other, "grad-cam")
    assert method == instead
    assert why.startswith(f"{instead} is used in place of grad-cam, which cannot be had: ")
    assert method_for(subject, "grad-cam") == ("grad-cam", "")


FACTORY = """
import torch
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Provenance, Subject

def small():
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(4, 8, 3, 2, 1), torch.nn.ReLU()]
    head = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 3)]
    recipe = Preprocessing(name="own", short_side=32, size=32)
    origin = Provenance(spec="", format="user", source="here", sha256="", architecture="small")
    network = torch.nn.Sequential(*layers, *head).eval()
    return Subject(name="small", classes=("a", "b", "c"), network=network, preprocessing=recipe, provenance=origin)
"""


def timm_spec(folder, _):
    network = timm.create_model("test_resnet", num_classes=3)
    save_file(network.state_dict(), folder / "random.safetensors")
    return f"timm:test_resnet?checkpoint={folder / 'random.safetensors'}&classes=a,b,c&size=64"


def factory_spec(folder, monkeypatch):
    (folder / "layered_factory.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(folder)
    return "layered_factory:small"


def hub_spec(folder, _):
    size = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 8, 8]}
    config = ConvNextV2Config(
        id2label=dict(enumerate("abc")), label2id={name: k for k, name in enumerate("abc")}, **size
    )
    ConvNextV2ForImageClassification(config).save_pretrained(folder)
    processor = {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 224}, "crop_pct": 0.875}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return str(folder)


FORMATS = [
    (timm_spec, "layer2", "grad-cam (layer backbone.layer2, 8 x 8)", "layer9", "backbone.layer"),
    (factory_spec, "1", "grad-cam (layer 1, 16 x 16)", "11", "near: 1"),
    (hub_spec, "stages.2", "grad-cam (layer backbone.stages.2, 14 x 14)", "stages.7", "backbone.stages"),
]


@pytest.mark.parametrize(
    ("spec", "named", "printed", "unknown", "near"), FORMATS, ids=["timm", "factory", "hub folder"]
)
def test_every_format_takes_a_layer(spec, named, printed, unknown, near, tmp_path, monkeypatch):
    plain = spec(tmp_path, monkeypatch)
    mark = "&" if "?" in plain else "?"
    subject = load_subject(f"{plain}{mark}layer={named}")
    assert described(subject, "grad-cam") == printed
    pixels = torch.rand(1, 3, subject.preprocessing.size, subject.preprocessing.size)
    used, last = (
        method_of(one, "grad-cam")(one.network, pixels, 1, ["a"]).maps for one in (subject, load_subject(plain))
    )
    assert not np.array_equal(used, last)
    with pytest.raises(
        SubjectProblem, match=rf"no layer '{unknown}'.*near: .*{near.removeprefix('near: ')}"
    ) as refused:
        load_subject(f"{plain}{mark}layer={unknown}")
    assert "\n" not in str(refused.value)
