"""Small subjects whose answers are known: linear ones exactly, a toy network, and several that hide their gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

SIDE = 16


class Linear(nn.Module):
    """Logits linear in the pixels; the smallest flipping change has a closed form."""

    def __init__(self, classes: int, scale: float = 1.0, seed: int = 0, side: int = 8) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(scale * torch.randn(classes, 3 * side * side, generator=generator))
        self.bias = nn.Parameter(-(self.weight.detach() @ torch.full((3 * side * side,), 0.5)))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T + self.bias


class Wrapped(nn.Module):
    """A network with a function behind or before it."""

    def __init__(self, network: nn.Module, before: Callable[[Tensor], Tensor] | None = None,
                 after: Callable[[Tensor], Tensor] | None = None) -> None:  # fmt: skip
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x) if self.before else x
        z = self.network(x)
        return self.after(z) if self.after else z


def toy_films(number: int, classes: int, seed: int = 0, side: int = SIDE) -> tuple[Tensor, Tensor]:
    """Grey noise films (number, 1, side, side) with a faint stripe pattern, one orientation and frequency per class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(number) % classes
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angle = torch.pi * labels / classes
    phase = 2 * torch.pi * torch.rand(number, generator=generator)
    wave = angle.cos().view(-1, 1, 1) * rows + angle.sin().view(-1, 1, 1) * columns
    films = (
        0.5
        + 0.15 * torch.sin(wave + phase.view(-1, 1, 1))
        + 0.08 * torch.randn(number, side, side, generator=generator)
    )
    return (films.clamp(0, 1) * 255).round()[:, None] / 255, labels


def toy_network(classes: int, outputs: int | None = None) -> nn.Module:
    """A small CNN trained for a second on toy films; `outputs=1` gives one sigmoid logit."""
    generator = torch.Generator().manual_seed(5)
    network = nn.Sequential(
        nn.Conv2d(3, 12, 5, stride=2), nn.SiLU(), nn.Conv2d(12, 24, 3), nn.SiLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(24, outputs or classes),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in network.parameters():
            bound = 1.0 / max(parameter[0].numel(), 1) ** 0.5
            parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) * bound)
    films, labels = toy_films(240, classes, seed=9)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for step in range(80):
        part = torch.arange(60) + 60 * (step % 4)
        z = network(films[part].expand(-1, 3, -1, -1))
        loss = (
            nn.functional.binary_cross_entropy_with_logits(z[:, 0], labels[part].float())
            if outputs == 1
            else nn.functional.cross_entropy(z, labels[part])
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="session")
def linear() -> type[Linear]:
    return Linear


@pytest.fixture(scope="session")
def wrapped() -> type[Wrapped]:
    return Wrapped


@pytest.fixture(scope="session")
def films() -> Callable[..., tuple[Tensor, Tensor]]:
    return toy_films


@pytest.fixture(scope="session")
def toys() -> dict[int, nn.Module]:
    """Toy networks by number of outputs: 1 (one sigmoid logit), 2, 3, 5."""
    return {1: toy_network(2, outputs=1), 2: toy_network(2), 3: toy_network(3), 5: toy_network(5)}
