"""The networks read into timm answer as the reference implementations do, to 1e-5, and the comparison can fail."""

from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import nn
from torchvision.models import resnet50
from transformers import ConvNextV2Config, ConvNextV2ForImageClassification, Dinov2Config, Dinov2Model

from suites.harness.subjects.formats import keys, load_subject, networks
from suites.harness.subjects.formats.processor import HUB

TOLERANCE = 1e-5


class Probe(nn.Module):
    """The published linear probe: a Transformers DINOv2 and a linear layer on its class token."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        self.backbone = Dinov2Model(Dinov2Config(hidden_size=384, num_attention_heads=6, image_size=518, patch_size=14))
        self.head = nn.Linear(384, num_classes)

    def forward(self, normalised: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(pixel_values=normalised).last_hidden_state[:, 0])


@pytest.fixture(scope="module")
def probe(randomise):
    """Return a random probe whose position table is large enough to matter."""
    network = randomise(Probe(), seed=3)
    with torch.no_grad():
        network.backbone.embeddings.position_embeddings.normal_(generator=torch.Generator().manual_seed(5))
    return network


@pytest.fixture(scope="module")
def tiny(randomise):
    """Return a random ConvNeXt-V2-Tiny of Transformers with three classes."""
    config = ConvNextV2Config(depths=[3, 3, 9, 3], hidden_sizes=[96, 192, 384, 768], num_labels=3)
    return randomise(ConvNextV2ForImageClassification(config))


def reference(network: nn.Module, normalised: torch.Tensor) -> torch.Tensor:
    """Return the reference logits, and make sure that they depend on the image enough to compare."""
    with torch.inference_mode():
        answer = network(normalised)
    logits = getattr(answer, "logits", answer)
    assert logits.std(dim=0).min() > 1e-3, "the reference hardly looks at the image, so agreement would mean nothing"
    return logits


def answered(spec, pixels: torch.Tensor) -> torch.Tensor:
    logits, features = load_subject(str(spec)).answer(pixels)
    assert features is not None
    return logits


@pytest.mark.parametrize(
    "settings",
    [
        {"depths": [2, 2, 6, 2], "hidden_sizes": [40, 80, 160, 320]},
        {"depths": [1, 2, 3, 1], "hidden_sizes": [8, 24, 16, 48]},
        {"hidden_act": "relu", "layer_norm_eps": 0.1},
        {"classes": tuple("abcdefghij")},
    ],
    ids=["atto", "odd size", "odd settings", "ten classes"],
)
def test_convnextv2_folder_answers_as_transformers(published, settings, pixels, normalised):
    folder, network = published(**settings)
    torch.testing.assert_close(answered(folder, pixels), reference(network, normalised), atol=TOLERANCE, rtol=0)


def test_half_precision_weights_are_read_in_full_precision(published, pixels, normalised):
    folder, network = published()
    network.half().save_pretrained(folder)
    assert load_file(folder / "model.safetensors")["classifier.weight"].dtype == torch.float16
    torch.testing.assert_close(answered(folder, pixels), reference(network.float(), normalised), atol=TOLERANCE, rtol=0)


def test_convnextv2_checkpoint_answers_as_transformers(tiny, checkpoint, pixels, normalised):
    path = checkpoint(tiny, "convnextv2_tiny")
    torch.testing.assert_close(answered(path, pixels[:2]), reference(tiny, normalised[:2]), atol=TOLERANCE, rtol=0)


def test_convnextv2_checkpoint_in_timms_names_is_read_too(randomise, checkpoint, pixels, normalised):
    network = randomise(timm.create_model("convnextv2_tiny", num_classes=3))
    path = checkpoint(network, "convnextv2_tiny")
    torch.testing.assert_close(answered(path, pixels[:2]), reference(network, normalised[:2]), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("names", ["new", "old"])
def test_dinov2_probe_answers_as_transformers(probe, checkpoint, pixels, normalised, names):
    state = {f"model.{key}": tensor for key, tensor in probe.state_dict().items()}
    if names == "old":
        state = {_old_name(key): tensor for key, tensor in state.items()}
    assert any((".attention.attention.query." if names == "old" else ".attention.q_proj.") in key for key in state)
    path = checkpoint(probe, "dinov2_linear_probe", state_dict=state)
    subject = load_subject(str(path), preprocessing="hub")
    assert subject.preprocessing == HUB
    assert any("position table resampled" in note for note in subject.provenance.notes)
    torch.testing.assert_close(subject.answer(pixels[:2])[0], reference(probe, normalised[:2]), atol=TOLERANCE, rtol=0)


def test_the_position_table_must_be_resampled_without_antialiasing(probe, pixels, normalised, monkeypatch):
    """The other resampling, timm's own, gives other logits: this is what the parity test above is able to see."""
    monkeypatch.setattr(
        keys, "resample_abs_pos_embed", lambda table, size, **others: resample_abs_pos_embed(table, size)
    )
    network = networks.dinov2_small(3, 224).eval()
    network.load_state_dict(keys.dinov2_probe_to_timm(probe.state_dict(), grid=16))
    with torch.inference_mode():
        difference = (network(normalised[:2]) - reference(probe, normalised[:2])).abs().max()
    assert difference > 100 * TOLERANCE


def test_resnet50_checkpoint_answers_as_torchvision(randomise, checkpoint, pixels, normalised):
    network = randomise(resnet50(num_classes=3))
    expected = reference(network, normalised[:2])
    path = checkpoint(network, "resnet50")
    torch.testing.assert_close(answered(path, pixels[:2]), expected, atol=TOLERANCE, rtol=1e-6)


def _old_name(key: str) -> str:
    for new, old in (
        (".attention.q_proj.", ".attention.attention.query."),
        (".attention.k_proj.", ".attention.attention.key."),
        (".attention.v_proj.", ".attention.attention.value."),
        (".attention.o_proj.", ".attention.output.dense."),
    ):
        key = key.replace(new, old)
    return key
