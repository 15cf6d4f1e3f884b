"""Weights in every published layout, random but complete: no parameter keeps an initial value that hides a swap."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import ConvNextV2Config, ConvNextV2ForImageClassification

CLASSES = ("bacterial_pneumonia", "normal", "viral_pneumonia")
PROCESSOR = {
    "crop_pct": 0.875,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "ConvNextImageProcessor",
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "rescale_factor": 1 / 255,
    "size": {"shortest_edge": 224},
}
SMALL = {"depths": [1, 2, 3, 1], "hidden_sizes": [8, 16, 24, 32]}


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter and every running statistic a value of its own."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("bias"):
                parameter.copy_(0.1 * noise)
            elif parameter.ndim == 1 or "grn" in name:
                parameter.copy_(1 + 0.3 * noise)
            else:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                buffer.copy_(0.3 + 0.4 * torch.rand(buffer.shape, generator=generator))
    return network.eval()


@pytest.fixture(scope="session")
def randomise() -> Callable[..., nn.Module]:
    """Return the function that gives a network random weights."""
    return randomised


@pytest.fixture(scope="session")
def pixels() -> torch.Tensor:
    """Return four images of 224 x 224 in [0, 1], coarse, fine, dark and bright, so that their logits differ."""
    generator = torch.Generator().manual_seed(7)
    images = []
    for cells, brightness in ((3, 0.3), (7, 1.0), (28, 0.6), (112, 0.9)):
        coarse = torch.rand(1, 3, cells, cells, generator=generator) * brightness
        images.append(torch.nn.functional.interpolate(coarse, size=(224, 224), mode="bilinear"))
    return torch.cat(images)


@pytest.fixture(scope="session")
def normalised(pixels: torch.Tensor) -> torch.Tensor:
    """Return the same images after ImageNet's normalisation, as a reference network takes them."""
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    return (pixels - mean) / std


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, nn.Module]]:
    """Return a function that writes a ConvNeXt-V2 as Transformers does, and gives folder and network."""

    def write(classes: tuple[str, ...] = CLASSES, **settings: Any) -> tuple[Path, nn.Module]:
        config = ConvNextV2Config(
            id2label=dict(enumerate(classes)),
            label2id={name: index for index, name in enumerate(classes)},
            **(SMALL | settings),
        )
        network = randomised(ConvNextV2ForImageClassification(config))
        folder = tmp_path_factory.mktemp("published")
        network.save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
        return folder, network

    return write


@pytest.fixture
def hub_folder(published: Callable[..., tuple[Path, nn.Module]]) -> Path:
    """Return a fresh folder in the Hub's layout with a very small network."""
    return published()[0]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that saves a network as the published training script's `best.ckpt` does."""

    def write(network: nn.Module, model_name: str, num_classes: int = 3, **changes: Any) -> Path:
        path = tmp_path_factory.mktemp("lightning") / "best.ckpt"
        content = {
            "epoch": 7,
            "global_step": 1304,
            "pytorch-lightning_version": "2.6.0",
            "state_dict": {f"model.{key}": tensor for key, tensor in network.state_dict().items()},
            "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 8}}}},
            "callbacks": {"ModelCheckpoint{'monitor': 'val/f1_macro'}": {"best_model_score": torch.tensor(0.9)}},
            "optimizer_states": [],
            "lr_schedulers": [],
            "hparams_name": "kwargs",
            "hyper_parameters": {"num_classes": num_classes, "lr": 1e-4, "model_name": model_name},
        }
        torch.save(content | changes, path)
        return path

    return write
