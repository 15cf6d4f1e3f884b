"""Subjects whose evidence is known by construction: class 1 if, and only if, vertical stripes lie on the film.

Every film also holds patches of horizontal and slanted stripes of the same grey values, so that brightness, contrast,
edges or the centre point nowhere in particular. One subject is written down by hand. One was trained for a few seconds
and is kept as a file: trained anew, rounding on another processor would make another network of it.
`uv run python tests/explain/conftest.py` trains it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

SIDE, CELL = 48, 16
TRANSFORMER = Path(__file__).with_name("vision_transformer.safetensors")


@dataclass(frozen=True)
class Films:
    """Films (B, 3, 48, 48), class per film, exact evidence (B, 48, 48), names."""

    pixels: Tensor
    truth: Tensor
    evidence: np.ndarray
    image_ids: list[str]


def stripes(kind: str) -> Tensor:
    """Return a patch (16, 16) of grey values -0.25 and 0.25 in equal parts."""
    y, x = torch.meshgrid(torch.arange(CELL), torch.arange(CELL), indexing="ij")
    phase = {"vertical": x, "horizontal": y, "slanted": x + y, "counter-slanted": x - y}[kind]
    return torch.where(phase % 4 < 2, 0.25, -0.25)


def make_films(count: int, seed: int, *, positive: bool | None = None) -> Films:
    draw = torch.Generator().manual_seed(seed)
    pixels = 0.5 + 0.05 * torch.randn(count, 1, SIDE, SIDE, generator=draw)
    evidence, truth = np.zeros((count, SIDE, SIDE), dtype=bool), torch.zeros(count, dtype=torch.long)
    others = ["horizontal", "horizontal", "slanted", "counter-slanted"]
    for film in range(count):
        truth[film] = int(torch.rand(1, generator=draw) < 0.5) if positive is None else int(positive)
        kinds = ["vertical" if truth[film] else others[int(torch.randint(4, (1,), generator=draw))], *others]
        for kind, cell in zip(kinds, torch.randperm((SIDE // CELL) ** 2, generator=draw).tolist(), strict=False):
            top, left = cell // (SIDE // CELL) * CELL, cell % (SIDE // CELL) * CELL
            pixels[film, 0, top : top + CELL, left : left + CELL] += stripes(kind)
            evidence[film, top : top + CELL, left : left + CELL] |= kind == "vertical"
    names = [f"film-{seed}-{film}" for film in range(count)]
    return Films(pixels.clamp(0, 1).expand(count, 3, SIDE, SIDE).contiguous(), truth, evidence, names)


class Normalised(nn.Module):
    """A network with its normalisation inside, as every subject is."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, pixels: Tensor) -> Tensor:
        return self.inner((pixels - 0.5) / 0.2)


class StripeReader(nn.Module):
    """Oriented filters, rectifier, local energy, threshold, mean: vertical speaks for class 1, horizontal against."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv2d(3, 8, 8, padding=4)
        self.first_rectifier = nn.ReLU()
        self.energy = nn.AvgPool2d(7, stride=2, padding=3)
        self.features = nn.Conv2d(8, 2, 1)
        self.second_rectifier = nn.ReLU()
        self.head = nn.Linear(2, 2)
        x = torch.arange(8)
        waves = [torch.where((x + shift) % 4 < 2, 1.0, -1.0).expand(8, 8) / 64 for shift in range(4)]
        with torch.no_grad():
            kernels = torch.stack(waves + [wave.T for wave in waves])
            self.filters.weight.copy_(kernels[:, None].expand(8, 3, 8, 8) / 3)
            self.filters.bias.fill_(-0.05)
            self.features.weight.copy_(torch.block_diag(torch.ones(1, 4), torch.ones(1, 4))[:, :, None, None])
            self.features.bias.fill_(-0.05)
            self.head.weight.copy_(torch.tensor([[-20.0, 6.0], [20.0, -6.0]]))
            self.head.bias.copy_(torch.tensor([0.1, -0.1]))

    def forward(self, pixels: Tensor) -> Tensor:
        energy = self.energy(self.first_rectifier(self.filters(pixels)))
        return self.head(self.second_rectifier(self.features(energy)).mean(dim=(2, 3)))


def trained(inner: nn.Module, *, steps: int, rate: float) -> Normalised:
    films = make_films(512, seed=1)
    network = Normalised(inner)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.05)
    draw = torch.Generator().manual_seed(0)
    for _ in range(steps):
        rows = torch.randint(len(films.pixels), (32,), generator=draw)
        loss = nn.functional.cross_entropy(network(films.pixels[rows]), films.truth[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


@pytest.fixture(scope="session")
def films() -> Films:
    """Twenty-four films of class 1."""
    return make_films(24, seed=2, positive=True)


@pytest.fixture(scope="session")
def film_maker() -> Callable[..., Films]:
    return make_films


@pytest.fixture(scope="session")
def stripe_reader() -> nn.Module:
    return Normalised(StripeReader()).eval()


def untrained_transformer() -> nn.Module:
    torch.manual_seed(0)
    return VisionTransformer(img_size=SIDE, patch_size=8, embed_dim=48, depth=2, num_heads=3, num_classes=2)


@pytest.fixture(scope="session")
def vision_transformer() -> nn.Module:
    inner = untrained_transformer()
    inner.load_state_dict({key: weight.float() for key, weight in load_file(TRANSFORMER).items()})
    return Normalised(inner).eval()


if __name__ == "__main__":
    torch.set_num_threads(1)
    weights = trained(untrained_transformer(), steps=120, rate=2e-3).inner.state_dict()
    save_file({key: weight.half() for key, weight in weights.items()}, TRANSFORMER)
