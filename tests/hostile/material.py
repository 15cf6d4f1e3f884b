"""What do many hostile cases start from? Small good inputs, made once, all by code."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn

from suites.harness import Evaluation, Subject, evaluate, load_subject
from suites.harness.subjects.formats import networks
from tests.controls.films import cohort_of
from tests.controls.subjects import Reader, subject_of

CLASSES = ("bacterial_pneumonia", "normal", "viral_pneumonia")
SIDE = 32
CONFIG: dict[str, Any] = {
    "model_type": "convnextv2", "depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 8, 8], "hidden_act": "gelu",
    "image_size": SIDE, "num_channels": 3, "patch_size": 4, "layer_norm_eps": 1e-12,
    "id2label": {str(index): name for index, name in enumerate(CLASSES)},
    "label2id": {name: index for index, name in enumerate(CLASSES)},
    "transformers_version": "4.57.0", "torch_dtype": "float32", "_name_or_path": "here", "drop_path_rate": 0.0,
}  # fmt: skip
PROCESSOR: dict[str, Any] = {
    "image_processor_type": "ConvNextImageProcessor", "crop_pct": 0.875, "do_normalize": True, "do_rescale": True,
    "do_resize": True, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3,
    "rescale_factor": 1 / 255, "size": {"shortest_edge": SIDE},
}  # fmt: skip
TIMM = "test_resnet"
TWO = ("normal", "pneumonia")
CLAIMS = """
[[claim]]
id = "classes.good"
section = "Classes"
statement = "Most films are answered right."
kind = "requirement"
endpoint = "score"
measure = "accuracy"
margin = 0.5

[[claim]]
id = "contrast.gamma"
section = "Contrast"
statement = "A dark film changes calls."
kind = "limitation"
endpoint = "stress"
condition = "gamma_low@3"
margin = 0.05
"""


def prepare() -> None:
    """Make everything below before workers are forked; a run starts threads, so it has a fork of its own."""
    _ = expected_logits(), timm_logits(), films_folder(), load_subject("bundled:fragile")
    child = os.fork()
    if not child:
        code = 1
        try:
            judged(finished() / "cache").report(finished() / "report")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0, "no run could be finished"


def films() -> Tensor:
    """Return (3, 48, 40) films in [0, 1]."""
    return torch.from_numpy(np.random.default_rng(0).random((3, 48, 40), dtype=np.float32))


@cache
def network() -> nn.Module:
    """Return a ConvNeXt-V2 so small that it is read in milliseconds, no parameter like another."""
    torch.manual_seed(0)
    made = networks.convnextv2(CONFIG["depths"], CONFIG["hidden_sizes"], len(CLASSES))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return made.eval()


@cache
def safetensors() -> bytes:
    return bytes(save(dict(network().state_dict())))


def hub_folder(place: Path, **written: str) -> str:
    """Write a folder in the Hub's layout, some of its files as they are given, and return it as a spec."""
    folder = place / "weights"
    folder.mkdir()
    (folder / "config.json").write_text(written.get("config", json.dumps(CONFIG)), errors="surrogatepass")
    (folder / "preprocessor_config.json").write_text(written.get("processor", json.dumps(PROCESSOR)))
    (folder / "model.safetensors").write_bytes(safetensors())
    return str(folder)


def logits_of(subject: Subject, recipe: str | None = None) -> Tensor:
    """Return what a subject answers to the films."""
    if recipe:
        subject = subject.with_preprocessing(recipe)
    return subject.answer(subject.pixels(films()))[0]


@cache
def expected_logits() -> Mapping[str, Tensor]:
    """Return what the folder's network answers, by recipe."""
    with tempfile.TemporaryDirectory() as folder:
        subject = load_subject(hub_folder(Path(folder)))
        return {recipe: logits_of(subject, recipe) for recipe in ("repository", "hub")}


def same_hub_subject(subject: Subject) -> object:
    """Judge whether a subject is the one of the unchanged folder."""
    if subject.classes != CLASSES:
        return f"classes {subject.classes}"
    for recipe, expected in expected_logits().items():
        if not torch.equal(found := logits_of(subject, recipe), expected):
            return f"other logits under {recipe}: {found[0].tolist()}, not {expected[0].tolist()}"
    return True


@cache
def timm_state() -> Mapping[str, Tensor]:
    """Return the weights of a small timm network for two classes."""
    torch.manual_seed(1)
    made = timm.create_model(TIMM, num_classes=2)
    return {
        key: (0.5 + torch.rand(value.shape)) if "running_var" in key else value + 0.1 * torch.randn(value.shape)
        if value.is_floating_point() else value
        for key, value in made.state_dict().items()
    }  # fmt: skip


def timm_network(outputs: int = 2, **changes: Tensor) -> nn.Module:
    made = timm.create_model(TIMM, num_classes=outputs)
    made.load_state_dict({**timm_state(), **changes})
    return made.eval()


def timm_spec(file: Path, classes: Sequence[str] = TWO, name: str = TIMM) -> str:
    return f"timm:{name}?checkpoint={file}&classes={','.join(classes)}&size={SIDE}"


@cache
def timm_logits() -> Tensor:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "good.pth"
        torch.save(dict(timm_state()), file)
        return logits_of(load_subject(timm_spec(file)))


def same_timm_subject(subject: Subject, within: float = 0.0) -> object:
    """Judge whether a subject answers as the timm network does, up to the rounding of its weights."""
    found, expected = logits_of(subject), timm_logits()
    far = float((found - expected).abs().max())
    return far <= within or f"logits differ by {far:.3g}: {found[0].tolist()}, not {expected[0].tolist()}"


def png(path: Path, seed: int, side: int = 64) -> None:
    """Write a small grey film, no two of them alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)).save(path)


@cache
def _home() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="material")


@cache
def films_folder() -> Path:
    """Return a folder of nine small films, three of a class."""
    folder = Path(_home().name) / "films"
    for number in range(9):
        png(folder / CLASSES[number % 3] / f"{number}.png", number)
    return folder


def claims_file() -> Path:
    file = Path(_home().name) / "claims.toml"
    if not file.exists():
        file.write_text(CLAIMS)
    return file


def judged(cache_folder: Path, **options: Any) -> Evaluation:
    """Return a small finished run."""
    options = {"claims": claims_file(), "cache": cache_folder} | options
    return evaluate(options.pop("subject", None) or subject_of(Reader(), "reader"), cohort_of(24), **options)


def finished() -> Path:
    """Return a folder with the `cache` and the `report` of a small finished run."""
    return Path(_home().name)
