"""How is the probe made? A ViT learns anatomy from simulated films, a linear layer reads the classes off it.

The backbone is asked how much of each of its patches is lung, heart and opacity (the phantom knows exactly) and never
sees a class. What the linear layer then finds in the frozen tokens is what such a backbone offers.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suites.harness.subjects.bundled.cohorts import CLASSES, Films, batch_of
from suites.harness.subjects.bundled.learning import descend
from suites.harness.subjects.bundled.recipes import Recipe
from suites.harness.subjects.formats.networks import Dinov2
from suites.harness.subjects.subject import Normalised

RIDGE = 3e-3
"""Penalty on the squared weights of the linear layer, on standardised features."""


def learn_regions(network: Normalised, films: Films, recipe: Recipe) -> None:
    """Train the backbone to tell, patch by patch, the share of lung, heart and opacity, in place.

    The class token tells the mean and the largest share over all patches. Films are shifted by up to one patch and
    change in brightness and contrast, so that tokens cannot live on position and grey level alone.

    Args:
        network: around a `Dinov2`.
        films: with `regions` (N, 3, rows, columns) on the same patches as the network's.
        recipe: seed, epochs and rate.
    """
    vit = cast("Dinov2", network.backbone)
    generator = torch.Generator().manual_seed(recipe.seed)
    pixels, regions = batch_of(films), films.regions
    both = nn.ModuleDict({"vit": vit, "patches": nn.Linear(vit.embed_dim, 3), "whole": nn.Linear(vit.embed_dim, 6)})
    patch = pixels.shape[-1] // regions.shape[-1]

    def loss_of(index: Tensor) -> Tensor:
        down, right = (patch * torch.randint(-1, 2, (2,), generator=generator)).tolist()
        shown = torch.roll(pixels[index], (down, right), (2, 3))
        answer = torch.roll(regions[index], (down // patch, right // patch), (2, 3)).flatten(2).transpose(1, 2)
        gain, lift = 0.8 + 0.4 * torch.rand(2, len(index), 1, 1, 1, generator=generator)
        shown = (shown * gain + 0.5 * (lift - 1)).clamp(0, 1).expand(-1, 3, -1, -1)
        tokens = vit.forward_features((shown - network.mean) / network.std)
        local = F.binary_cross_entropy_with_logits(both["patches"](tokens[:, 1:]), answer)
        whole = torch.cat([answer.mean(1), answer.amax(1)], 1)
        return local + F.binary_cross_entropy_with_logits(both["whole"](tokens[:, 0]), whole)

    descend(both, loss_of, len(films), recipe, generator)


def fit_head(network: Normalised, films: Films) -> None:
    """Fit the linear head on frozen features: multinomial logistic regression with a ridge, by L-BFGS in float64."""
    vit = cast("Dinov2", network.backbone)
    with torch.inference_mode():
        parts = [
            ((part.expand(-1, 3, -1, -1) - network.mean) / network.std) for part in torch.split(batch_of(films), 64)
        ]
        features = torch.cat([vit.forward_head(vit.forward_features(part), pre_logits=True) for part in parts])
    features = features.clone().double()
    mean, spread = features.mean(0), features.std(0) + 1e-6
    standard = (features - mean) / spread
    weight = torch.zeros(len(CLASSES), standard.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(CLASSES), dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = F.cross_entropy(standard @ weight.T + bias, films.labels) + RIDGE * weight.square().sum()
        torch.autograd.backward(loss)
        return loss

    solver.step(closure)  # type: ignore[no-untyped-call]
    head = cast("nn.Linear", vit.head)
    with torch.no_grad():
        head.weight.copy_(weight / spread)
        head.bias.copy_(bias - (weight / spread) @ mean)
