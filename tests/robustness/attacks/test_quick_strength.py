"""The quick protocol beside a plain margin PGD of 100 steps and 5 starts, on random networks where short runs fail."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robustness.attacks import PROTOCOLS, Protocol, attack_films
from robustness.attacks.loss import margin

FILMS, SIDE = 24, 8
GRID = tuple(level / 255 for level in (1, 2, 4, 8))
ALLOWED = 0.02


class Tangled(nn.Module):
    """A random ReLU network of two hidden layers: nothing smooths its margin, so that an ascent is slow."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        layers: list[nn.Module] = [nn.Flatten()]
        width = 3 * SIDE * SIDE
        for _ in range(2):
            layer = nn.Linear(width, 64)
            layer.weight.data = 1.5 * torch.randn(64, width, generator=generator) / width**0.5
            layer.bias.data = 0.3 * torch.randn(64, generator=generator)
            layers += [layer, nn.ReLU()]
            width = 64
        head = nn.Linear(width, classes)
        head.weight.data = torch.randn(classes, width, generator=generator) / width**0.5
        head.bias.data.zero_()
        self.layers = nn.Sequential(*layers, head)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers((x - 0.5) * 6.0)


def plain_pgd(network: nn.Module, pixels: Tensor, labels: Tensor, budget: float) -> tuple[Tensor, int]:
    """Which films stand after 100 steps from 5 starts, and its passes: a film leaves between starts, as in AutoAttack.

    Written without the package's machinery, so that a fault there cannot hide.
    """
    standing, passes = torch.ones(len(pixels), dtype=torch.bool), 0
    generator = torch.Generator().manual_seed(0)
    for start in range(5):
        index = standing.nonzero().flatten()
        if len(index) == 0:
            break
        films, own = pixels[index], labels[index]
        noise = (2 * torch.rand(films.shape, generator=generator) - 1) * budget
        moved = (films + noise * (start > 0)).clamp(0, 1)
        hit = torch.zeros(len(index), dtype=torch.bool)
        for _ in range(101):
            moved.requires_grad_()
            logits = network(moved.expand(-1, 3, -1, -1))
            hit |= logits.argmax(1) != own
            (slope,) = torch.autograd.grad(margin(logits, own).sum(), moved)
            ahead = moved.detach() + 0.1 * budget * slope.sign()
            moved = torch.maximum(torch.minimum(ahead, films + budget), films - budget).clamp(0, 1)
        passes += 2 * 101 * len(index)
        standing[index[hit]] = False
    return standing, passes


@pytest.fixture(scope="module")
def films() -> Tensor:
    return (torch.rand(FILMS, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 255).round() / 255


def gap(network: nn.Module, films: Tensor, labels: Tensor, profile: Protocol, seed: int = 0) -> tuple[float, float]:
    """By how much the protocol reports more robustness than plain PGD at its worst budget, and its share of passes."""
    ids = [f"f{i}" for i in range(FILMS)]
    found = attack_films(
        network, films, labels, ids, budgets=GRID, profile=profile, batch_size=FILMS, examples=False, seed=seed
    )
    worst, spent = -1.0, 0
    for budget in GRID:
        standing, passes = plain_pgd(network, films, labels, budget)
        worst, spent = max(worst, float(found.curve[budget]) - float(standing.double().mean())), spent + passes
    return worst, sum(result.forward + result.backward for result in found.results) / spent


@pytest.mark.parametrize("classes", [2, 3])
def test_quick_is_as_strong_as_plain_pgd_at_a_tenth_of_its_passes(films: Tensor, classes: int) -> None:
    network = Tangled(classes).eval().requires_grad_(requires_grad=False)
    labels = network(films.expand(-1, 3, -1, -1)).argmax(1)
    behind, share = gap(network, films, labels, PROTOCOLS["quick"])
    assert behind <= ALLOWED
    assert share <= 0.1


def test_without_its_long_search_quick_misses_a_film(films: Tensor) -> None:
    """The comparison catches a weak protocol: short runs alone leave a film standing that plain PGD flips."""
    network = Tangled(3).eval().requires_grad_(requires_grad=False)
    labels = network(films.expand(-1, 3, -1, -1)).argmax(1)
    quick = PROTOCOLS["quick"]
    short = Protocol("short", tuple(one for one in quick.attacks if getattr(one, "within", None) is None))
    assert len(short.attacks) == len(quick.attacks) - 1
    assert gap(network, films, labels, short, seed=4)[0] > ALLOWED, "one film of 24 in one of five draws"
