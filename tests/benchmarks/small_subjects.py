"""Eight small subjects that learn the same films by different recipes: whose stress says what about another hospital?

    CHEST_XRAY_SHARED=... uv run python -m tests.benchmarks.small_subjects OUT      # half a minute each, on one core
    CHEST_XRAY_SHARED=... uv run python -m tests.benchmarks.small_subjects OUT 600  # from so many films only

Each recipe is an architecture of timm from random weights, how a film becomes square, and what is done to a film while
it learns. They are small on purpose: a study of many subjects needs many of them, not good ones. Films, split and
classes are those of `shared/data/kermany`; nothing of its test split is looked at.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

CLASSES = ("bacterial_pneumonia", "normal", "viral_pneumonia")
SIDE, LARGER = 48, 54
"""Pixels of the network's input, and of the short side before the crop."""
BATCH, FILMS = 64, 1500
"""Films of a step, and films that are learned from, drawn once for all subjects."""


@dataclass(frozen=True)
class Recipe:
    """How one subject learns.

    Attributes:
        network: name of a timm model.
        geometry: `keep`: short side to 54, centre crop; `squeeze`: straight to the square.
        crop: smallest share of a film's area that a random crop keeps; 1 for none.
        tone: largest change of log gamma, of contrast and of brightness, each drawn anew for every film.
        noise: largest standard deviation of added noise.
        blur: whether half of the films are blurred.
        flip: whether half of the films are mirrored.
        rate: learning rate; `epochs`, `seed`: of the run.
    """

    network: str
    geometry: str = "keep"
    crop: float = 1.0
    tone: float = 0.0
    noise: float = 0.0
    blur: bool = False
    flip: bool = False
    rate: float = 2e-3
    epochs: int = 6
    seed: int = 0

    def spec(self, checkpoint: Path) -> str:
        """Return how `--weights` names the subject."""
        side = "squeeze" if self.geometry == "squeeze" else LARGER
        return (
            f"timm:{self.network}?checkpoint={checkpoint}&classes={','.join(CLASSES)}&size={SIDE}&channels=1"
            f"&mean=0.5&std=0.25&short_side={side}&interpolation=bilinear"
        )


RECIPES: Mapping[str, Recipe] = {
    "resnet-plain": Recipe("test_resnet", flip=True),
    "resnet-tone": Recipe("test_resnet", tone=0.4, noise=0.05, flip=True, seed=1),
    "convnext-crops": Recipe("test_convnext2", crop=0.5, flip=True, epochs=8, seed=2),
    "convnext-squeeze": Recipe("test_convnext2", geometry="squeeze", crop=0.8, epochs=8, seed=3),
    "efficientnet-blur": Recipe("test_efficientnet", crop=0.6, blur=True, flip=True, seed=4),
    "mobilenet-squeeze": Recipe("mobilenetv3_small_050", geometry="squeeze", tone=0.2, flip=True, seed=5),
    "mobilenet-noise": Recipe("mobilenetv3_small_050", crop=0.7, noise=0.15, flip=True, epochs=14, seed=6),
    "resnet-everything": Recipe("test_resnet", crop=0.5, tone=0.5, noise=0.1, blur=True, flip=True, epochs=8, seed=7),
}


def films(folder: Path, splits: tuple[str, ...], most: int = FILMS) -> tuple[Tensor, Tensor, list[str]]:
    """Return films (N, 54, 54) as bytes, labels (N,), and patients, of some splits."""
    table = pd.read_csv(folder / "metadata.csv")
    table = table[table["split"].isin(splits)]
    table = table.sample(min(most, len(table)), random_state=0)
    pixels = np.stack(
        [
            np.asarray(Image.open(folder / file).convert("L").resize((LARGER, LARGER), Image.Resampling.BILINEAR))
            for file in table["file"]
        ]
    )
    names = [str(label).lower().replace(" ", "_") for label in table["label"]]
    labels = [CLASSES.index(next(known for known in CLASSES if known.startswith(name.split("_")[0]))) for name in names]
    return torch.from_numpy(pixels), torch.tensor(labels), table["patient"].astype(str).tolist()


def seen(batch: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Return network input (B, 1, 48, 48), changed at random as the recipe says."""
    n = len(batch)

    def drawn(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, 1, 1, 1, generator=generator)

    pixels = batch[:, None].float() / 255
    area = drawn(recipe.crop, 1.0) if recipe.crop < 1 else torch.ones(n, 1, 1, 1)
    whole = 1.0 if recipe.geometry == "squeeze" else SIDE / LARGER
    half = (area.sqrt() * whole).flatten()
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = half * (torch.where(drawn(0, 1).flatten() < 0.5, -1.0, 1.0) if recipe.flip else 1.0)
    theta[:, 1, 1] = half
    theta[:, :, 2] = (2 * torch.rand(n, 2, generator=generator) - 1) * (1 - half)[:, None]
    grid = F.affine_grid(theta, [n, 1, SIDE, SIDE], align_corners=False)
    pixels = F.grid_sample(pixels, grid, align_corners=False, padding_mode="border")
    if recipe.tone:
        pixels = pixels.clamp(1e-3, 1) ** torch.exp(drawn(-recipe.tone, recipe.tone))
        middle = pixels.mean(dim=(2, 3), keepdim=True)
        pixels = middle + (pixels - middle) * torch.exp(drawn(-recipe.tone, recipe.tone))
        pixels = pixels + drawn(-recipe.tone, recipe.tone) / 3
    if recipe.blur:
        soft = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, 1)
        pixels = torch.where(drawn(0, 1) < 0.5, soft, pixels)
    if recipe.noise:
        pixels = pixels + drawn(0, recipe.noise) * torch.randn(pixels.shape, generator=generator)
    return (pixels.clamp(0, 1) - 0.5) / 0.25


def learn(recipe: Recipe, pixels: Tensor, labels: Tensor) -> tuple[torch.nn.Module, list[float]]:
    """Train a network from random weights; returns it in eval mode and the loss of every epoch."""
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    network = timm.create_model(recipe.network, in_chans=1, num_classes=len(CLASSES))
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=0.05)
    steps = math.ceil(len(pixels) / BATCH) * recipe.epochs
    rate: Callable[[int], float] = lambda step: min((step + 1) / 30, 0.5 * (1 + math.cos(math.pi * step / steps)))  # noqa: E731
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    told = []
    for _ in range(recipe.epochs):
        network.train()
        total = 0.0
        for index in torch.randperm(len(pixels), generator=generator).split(BATCH):
            loss = F.cross_entropy(network(seen(pixels[index], recipe, generator)), labels[index], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(index)
        told.append(total / len(pixels))
    return network.eval(), told


def specs(out: Path) -> dict[str, str]:
    """Return name -> `--weights` of the subjects that a folder holds."""
    return {name: recipe.spec(out / f"{name}.pt") for name, recipe in RECIPES.items() if (out / f"{name}.pt").is_file()}


def main() -> None:
    """Train every subject that the folder does not hold yet."""
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    most = int(sys.argv[2]) if len(sys.argv) > 2 else FILMS
    pixels, labels, _ = films(Path(os.environ["CHEST_XRAY_SHARED"]) / "data" / "kermany", ("train", "val"), most)
    for name, recipe in RECIPES.items():
        if (out / f"{name}.pt").is_file():
            continue
        network, losses = learn(recipe, pixels, labels)
        torch.save(network.state_dict(), out / f"{name}.part")
        (out / f"{name}.part").rename(out / f"{name}.pt")
        (out / f"{name}.json").write_text(json.dumps({"losses": losses}), encoding="utf-8")
        print(name, [f"{loss:.3f}" for loss in losses], flush=True)


if __name__ == "__main__":
    main()
