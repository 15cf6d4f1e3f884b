"""Where does a lung fill first, and how sharp is the border of what is full?

Fluid gathers beside heart and dome, and air is left at apex and flank: so a white lung loses the outlines of both.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from robustness.draws import Draws
from robustness.facts import fact
from robustness.filters import coordinates, smoothstep
from robustness.thorax import Thorax, opacified_by, outward, random_field

NARROW = 0.035
"""Half the width of what is too narrow to be heart or dome, in heights of the lungs."""
RAMP = 0.6
"""Share of a lung over which it turns from filled to aerated, where heart and dome are reached first."""


def cloudy(
    order: Tensor, thorax: Thorax, side: str, extent: float, draws: Draws, *, edge_px: tuple[float, float]
) -> Tensor:
    """(H, W) share as of `opacified`, with a border that is sharper here and softer there.

    Args:
        order: (H, W), what is filled first is largest.
        thorax: the geometry.
        side: "left", "right" or "both".
        extent: share of the side.
        draws: where the softness comes from, the same for every extent.
        edge_px: least and largest sigma, in pixels.
    """
    sharp, vague = opacified_by(order, thorax, side, extent, *edge_px)
    if sharp is vague:
        return sharp
    return sharp + smoothstep(0.4 + 0.35 * random_field(draws, "softness", order.shape, beta=2.2)) * (vague - sharp)


@fact(2, "ranks of a whole lung, once per film")
def beside_first(thorax: Thorax, side: str, name: str, image_id: str, seed: int) -> Tensor:
    """(H, W) share of the lung of a side that fills later than a place: 1 along heart and dome, 0 at apex and flank."""
    clouds = random_field(Draws(image_id, name, seed), "clouds", thorax.depth.shape, beta=3.5)
    rows, _ = coordinates(thorax.depth)
    down = (rows - thorax.top + (thorax.depth.shape[0] - 1) / 2.0) / thorax.height
    order = -distance_to_organs(thorax, side) + 0.25 * down - 0.15 * outward(thorax, side) + 0.05 * clouds
    ranked = order[thorax.side(side)].sort().values.numpy()
    ranks = np.linspace(0.0, 1.0, 257)
    later = np.interp(order.numpy(), ranked[np.round(ranks * (len(ranked) - 1)).astype(int)], ranks)
    return torch.from_numpy(later.astype(np.float32))


@fact(2, "distances to the edge of a mask")
def distance_to_organs(thorax: Thorax, side: str) -> Tensor:
    """(H, W) distance to what of a hemithorax lies behind heart and dome, in heights of the lungs, at most 1."""
    hidden = (thorax.hemithorax(side) & ~thorax.side(side)).numpy().view(np.uint8)
    # What is narrower lies between the ribs at the chest wall.
    narrow = NARROW * thorax.height
    core = (cv2.distanceTransform(hidden, cv2.DIST_L2, 3) <= narrow).view(np.uint8)
    distance = torch.from_numpy(cv2.distanceTransform(core, cv2.DIST_L2, 3)) - narrow
    return (distance / thorax.height).clamp(0.0, 1.0)


def spread(later: Tensor, extent: float, veil: float) -> Tensor:
    """(H, W) shares with a mean of `extent` over a lung: a veil everywhere, the rest where a place fills early.

    Every place rises with extent, and from the veil to 1 over RAMP of the lung.

    Args:
        later: (H, W) share of the lung that fills later than a place, 0 to 1.
        extent: mean share, 0 to 1.
        veil: share of the extent that is the same everywhere.
    """
    least = veil * extent
    beyond = (extent - least) / (1.0 - least) if least < 1.0 else 1.0
    width = min(RAMP, 2.0 * beyond, 2.0 * (1.0 - beyond))
    if beyond >= 1.0:
        return torch.ones_like(later)
    return least + (1.0 - least) * (0.5 + (later - (1.0 - beyond)) / max(width, 1e-6)).clamp(0.0, 1.0)
