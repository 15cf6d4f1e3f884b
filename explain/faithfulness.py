"""Does the map name what the network uses? Deletion and insertion, infidelity and maximal sensitivity.

Deletion (Petsiuk et al. 2018, arXiv:1806.07421) replaces the film cell by cell, most important first, by its blurred
self: a film with black holes would be a new finding, a blurred one keeps exposure and outline. Insertion runs the other
way. A curve alone says little, since every film falls when it is erased; each is printed beside the same curve for
cells in random order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import sensitivity_max as captum_sensitivity_max
from torch import Tensor

from explain.attribution import Attribution, AttributionMap
from explain.network import F64, Network, borrowed, generator_for, probabilities_of
from explain.reference import reference_film

Direction = Literal["deletion", "insertion"]


@dataclass(frozen=True)
class ErasureCurve:
    """Target probability while a film is erased or revealed.

    Attributes:
        method: whose map set the order.
        direction: "deletion" or "insertion".
        fraction: (steps + 1,) share of the film replaced, 0 to 1.
        probability: (B, steps + 1) of the target class, in the map's order; NaN for films whose map is not finite.
        control: (B, steps + 1) in random order.
        area: (B,) area under the curve; small is good for deletion, large for insertion.
        control_area: (B,) of the control.
        advantage: (B,) how much better than the control the map is, positive is good in both directions.
    """

    method: str
    direction: Direction
    fraction: F64
    probability: F64
    control: F64
    area: F64
    control_area: F64
    advantage: F64


def cell_order(one: Tensor, cell: int) -> Tensor:
    """Return cell indices (n,) of a map (S, S), highest mean value first, ties by position."""
    side = one.shape[-1]
    index = cell_index(side, cell)
    count = int(index.max()) + 1
    total = torch.zeros(count, dtype=torch.float64).scatter_add_(0, index.flatten(), one.double().flatten())
    size = torch.bincount(index.flatten(), minlength=count)
    return torch.argsort(total / size, descending=True, stable=True)


def cell_index(side: int, cell: int) -> Tensor:
    """Return (S, S) int64: which cell each pixel belongs to, row by row."""
    along = torch.arange(side) // cell
    return along[:, None] * (int(along[-1]) + 1) + along[None, :]


def erasure(
    predict: Network,
    pixels: Tensor,
    maps: AttributionMap,
    direction: Direction = "deletion",
    *,
    steps: int = 20,
    cell: int = 8,
    reference: str = "blurred",
    seed: int = 0,
    batch: int = 32,
) -> ErasureCurve:
    """Erase (or reveal) each film in the order of its signed map and follow the target's softmax probability.

    Args:
        predict: network or any callable to logits.
        pixels: (B, C, S, S), the films the maps belong to.
        maps: their attributions; the targets are taken from here.
        direction: "deletion" from the film to its reference, "insertion" from the reference to the film.
        steps: points after the first.
        cell: side in pixels of what is replaced at once; single pixels would make noise the network never saw.
        reference: see `explain.reference`.
        seed: of the control's order.
        batch: films per network pass.
    """
    if direction not in {"deletion", "insertion"} or steps < 1 or cell < 1:
        raise ValueError(f"unknown erasure: {direction!r}, steps {steps}, cell {cell}")
    pixels = pixels.detach().float()
    empty = reference_film(pixels, reference)
    before, after = (pixels, empty) if direction == "deletion" else (empty, pixels)
    fraction = np.linspace(0, 1, steps + 1)
    index = cell_index(pixels.shape[-1], cell).flatten()
    curves = []
    for film, (name, target, usable) in enumerate(zip(maps.image_ids, maps.targets, maps.usable, strict=True)):
        count = int(index.max()) + 1
        orders = [torch.randperm(count, generator=generator_for(name, direction, seed))]
        orders += [cell_order(torch.from_numpy(maps.maps[film]), cell)] if usable else []
        stack = torch.cat([_stack(before[film], after[film], order, fraction, index) for order in orders])
        curve = probabilities_of(predict, stack, batch)[:, target].reshape(len(orders), -1)
        curves.append((curve[0], curve[1] if usable else np.full(steps + 1, np.nan)))
    control, probability = (np.stack([pair[k] for pair in curves]) for k in (0, 1))
    area, control_area = np.trapezoid(probability, fraction, axis=1), np.trapezoid(control, fraction, axis=1)
    advantage = control_area - area if direction == "deletion" else area - control_area
    return ErasureCurve(maps.method, direction, fraction, probability, control, area, control_area, advantage)


def _stack(before: Tensor, after: Tensor, order: Tensor, fraction: F64, index: Tensor) -> Tensor:
    """Return (steps + 1, C, S, S): the film with the first share of `order` replaced."""
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    turn = place[index].reshape(before.shape[-2:])
    counts = torch.from_numpy(np.round(fraction * len(order))).to(before.device)
    replaced = turn.to(before.device) < counts[:, None, None]
    return torch.where(replaced[:, None], after, before)


def _uniform_like(part: Tensor, image_ids: Sequence[str], purpose: str, seed: int, radius: float) -> Tensor:
    """Return grey noise U(-radius, radius) for films repeated n times each, (B * n, 1, S, S)."""
    each = len(part) // len(image_ids)
    draws = [torch.rand(each, 1, *part.shape[2:], generator=generator_for(name, purpose, seed)) for name in image_ids]
    return (2 * radius * torch.cat(draws) - radius).to(part.device)


def infidelity(
    network: Network, pixels: Tensor, maps: AttributionMap, *, radius: float = 0.1, samples: int = 10, seed: int = 0
) -> F64:
    """Return Captum's infidelity (B,): how badly a map predicts the logit's change under grey noise; 0 is best.

    `normalize=True` fits the one factor a map's unit leaves open, so that methods can be compared. NaN for maps that
    are not finite. Source: Yeh et al. 2019, arXiv:1901.09392.
    """
    pixels = pixels.detach().float()
    # Noise is the same in all channels, so spreading a summed map evenly over them leaves noise times map unchanged.
    spread = torch.from_numpy(maps.maps)[:, None].expand_as(pixels.cpu()).to(pixels.device) / pixels.shape[1]
    result = np.full(len(pixels), np.nan)
    with borrowed(network), torch.no_grad():
        for film in np.flatnonzero(maps.usable).tolist():
            name = [maps.image_ids[film]]

            def perturb(part: Tensor, name: list[str] = name) -> tuple[Tensor, Tensor]:
                noise = _uniform_like(part, name, "infidelity", seed, radius)
                return noise.expand_as(part), part - noise

            score = captum_infidelity(
                network,
                perturb,
                pixels[film : film + 1],
                spread[film : film + 1],
                target=maps.targets[film],
                n_perturb_samples=samples,
                normalize=True,
            )
            result[film] = float(score)
    return result


def sensitivity_max(
    method: Attribution,
    network: Network,
    pixels: Tensor,
    targets: Tensor | Sequence[int],
    image_ids: Sequence[str],
    *,
    radius: float = 0.02,
    samples: int = 5,
    seed: int = 0,
) -> F64:
    """Return Captum's maximal sensitivity (B,): a map's largest relative change under faint grey noise; 0 is best.

    The method's own random choices are held fixed, so that only the film changes. Source: Yeh et al. 2019,
    arXiv:1901.09392. NaN for films whose map is not finite or all zero.
    """
    chosen = torch.as_tensor(targets).long()
    result = np.full(len(pixels), np.nan)
    original = method(network, pixels, targets, image_ids, seed)
    for film in np.flatnonzero(original.usable & original.magnitude.any(axis=(1, 2))).tolist():
        name = image_ids[film]

        def explain(part: Tensor | tuple[Tensor, ...], film: int = film, name: str = name) -> Tensor:
            rows = [
                torch.from_numpy(method(network, one[None], chosen[film : film + 1], [name], seed).maps)
                for one in _only(part)
            ]
            return torch.stack(rows)

        def perturb(part: Tensor | tuple[Tensor, ...], _: float, name: str = name) -> Tensor:
            return (_only(part) + _uniform_like(_only(part), [name], "sensitivity", seed, radius)).clamp(0, 1)

        first = pixels[film : film + 1].detach().float()
        score = captum_sensitivity_max(
            explain, first, perturb_func=perturb, perturb_radius=radius, n_perturb_samples=samples
        )
        result[film] = float(score) if torch.isfinite(score).all() else np.nan
    return result


def _only(part: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Return the one tensor that Captum hands over, bare or in a tuple."""
    return part[0] if isinstance(part, tuple) else part
