"""Lightning checkpoints of the published script: what is recorded, and what is refused (parity is tested elsewhere)."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import nn
from torchvision.models import resnet50

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats import load_subject
from suites.harness.subjects.preprocessing import REPOSITORY


@pytest.fixture(scope="module")
def network(randomise) -> nn.Module:
    return randomise(resnet50(num_classes=3))


@pytest.fixture(scope="module")
def state(network) -> dict[str, torch.Tensor]:
    return {f"model.{key}": tensor for key, tensor in network.state_dict().items()}


def test_everything_is_recorded(checkpoint, network):
    path = checkpoint(network, "resnet50")
    subject = load_subject(str(path))
    assert subject.name == "resnet50"
    assert subject.classes == ("bacterial_pneumonia", "normal", "viral_pneumonia")
    assert subject.preprocessing == REPOSITORY
    assert set(subject.preprocessings) == {"repository"}
    assert subject.provenance.format == "lightning"
    assert subject.provenance.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert subject.provenance.architecture == "resnet50"
    assert any("no class names: the published alphabetical order" in note for note in subject.provenance.notes)
    hyper = subject.provenance.training["hyper_parameters"]
    assert hyper == {"num_classes": 3, "lr": 1e-4, "model_name": "resnet50"}
    assert subject.provenance.training["epoch"] == 7


def test_a_file_with_a_name_of_its_own_names_the_subject(checkpoint, network):
    path = checkpoint(network, "resnet50")
    assert load_subject(str(path.rename(path.with_name("fold3.ckpt")))).name == "fold3"


def test_class_names_in_the_checkpoint_come_before_the_published_order(checkpoint, network):
    hyper = {"num_classes": 3, "model_name": "resnet50", "classes": ["normal", "viral", "bacterial"]}
    subject = load_subject(str(checkpoint(network, "resnet50", hyper_parameters=hyper)))
    assert subject.classes == ("normal", "viral", "bacterial")


def test_loss_and_metrics_beside_the_network_are_left_out(checkpoint, network, state):
    extras = {"criterion.weight": torch.ones(3), "val_acc.tp": torch.ones(3), "train_acc.tp": torch.ones(3)}
    load_subject(str(checkpoint(network, "resnet50", state_dict=state | extras)))


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({}, "name the model None, which is none of convnextv2_tiny, dinov2_linear_probe, resnet50"),
        ({"model_name": "vgg16"}, "name the model 'vgg16', which is none of"),
        ({"model_name": ["resnet50"]}, "name the model"),
        ({"model_name": "resnet50", "num_classes": 5}, "wrong number of classes: num_classes is 5, but the head has 3"),
        ({"model_name": "resnet50", "classes": ["a", "b"]}, "the head has 3 outputs, the classes a, b are named"),
        ({"model_name": "convnextv2_tiny"}, r"the head model\.classifier\.weight is missing"),
    ],
)
def test_hyper_parameters_that_do_not_fit(checkpoint, network, hyper, message):
    path = checkpoint(network, "resnet50", hyper_parameters=hyper)
    with pytest.raises(SubjectProblem, match=message) as caught:
        load_subject(str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_four_classes_without_names_are_refused(checkpoint):
    path = checkpoint(resnet50(num_classes=4), "resnet50", num_classes=4)
    with pytest.raises(
        SubjectProblem, match=r"wrong number of classes: the head has 4 outputs.*hyper-parameter `classes`"
    ):
        load_subject(str(path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("model.layer1.0.conv1.weight"), r"1 missing: layer1\.0\.conv1\.weight"),
        (lambda state: state.update({"model.extra": torch.ones(1)}), "1 unexpected: extra"),
        (lambda state: state.update({"temperature": torch.ones(1)}), "1 weights outside `model.`.*temperature"),
        (lambda state: state.update({"model.fc.bias": torch.ones(4)}), r"fc\.bias is \(4,\) and should be \(3,\)"),
        (lambda state: state.clear(), "holds no weights"),
        (lambda state: state.update({"model.fc.bias": "text"}), r"no tensors: model\.fc\.bias"),
    ],
)
def test_weights_that_do_not_fit(checkpoint, network, state, change, message):
    changed = dict(state)
    change(changed)
    with pytest.raises(SubjectProblem, match=message):
        load_subject(str(checkpoint(network, "resnet50", state_dict=changed)))


def test_the_probe_without_its_backbone_is_refused(checkpoint):
    head = {"model.head.weight": torch.ones(3, 384), "model.head.bias": torch.ones(3)}
    with pytest.raises(SubjectProblem, match=r"174 missing: cls_token, pos_embed, "):
        load_subject(str(checkpoint(nn.Identity(), "dinov2_linear_probe", state_dict=head)))


def test_what_is_no_checkpoint(tmp_path):
    path = tmp_path / "best.ckpt"
    torch.save({"weight": torch.ones(1)}, path)
    with pytest.raises(SubjectProblem, match="is no Lightning checkpoint"):
        load_subject(str(path))
    with pytest.raises(SubjectProblem, match=r"nowhere\.ckpt: no such file"):
        load_subject(str(tmp_path / "nowhere.ckpt"))
