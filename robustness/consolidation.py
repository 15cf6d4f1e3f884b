"""Which part of a lung is consolidated first, and what of it holds air yet?

Where an opacity begins and how it grows is the same for every extent: it is found once per film.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustness.content_cache import remembered
from robustness.curves import Point, chords
from robustness.draws import Draws
from robustness.filling import cloudy, distance_to_organs
from robustness.filters import coordinates, gaussian_blur, smoothstep
from robustness.pointwise import exp
from robustness.thorax import Thorax, opacified, outward, random_field

BESIDE = 0.12
"""Distance from heart and dome, in heights of the lungs, over which a consolidation gets places that hold air."""
SPARED = 0.6
"""Share of the air that is left in the airiest places of a lung of which next to nothing is consolidated."""
TOWARD_ORGANS, SMALL, HALFWAY = 0.35, 0.3, 0.5
"""By how much sooner heart and dome are reached by a large opacity: a mass of more than such a radius (half widths), or
a consolidation that is on its way from base to apex beyond such a height (heights of the lungs)."""
LOBAR = "whiteout_lobar"
"""Name of the perturbation whose draws these are."""


def side_of(draws: Draws) -> str:
    """Side of the film ("left", "right") on which a film gets its opacity, whatever the cause."""
    return draws.twin("whiteout").choice("side", ("left", "right"))


@remembered(2)
def near_organs(thorax: Thorax, side: str) -> Tensor:
    """(H, W), 1 along heart and dome, falling away from them."""
    return exp(-distance_to_organs(thorax, side) / BESIDE)


@remembered(5)
def consolidated(thorax: Thorax, extent: float, image_id: str, seed: int, pitch_mm: float) -> Tensor:
    """(H, W) share of whiteout_lobar, which its controls ask for too."""
    draws, lobe = (
        Draws(image_id, LOBAR, seed, device=thorax.depth.device),
        _lobe(thorax, image_id, seed, pitch_mm),
    )
    side = side_of(draws)
    opaque = cloudy(lobe.ragged, thorax, side, extent, draws, edge_px=(4.0 / pitch_mm, 14.0 / pitch_mm))
    if lobe.fissure is not None:
        sharp = opacified(lobe.order, thorax, side, extent, lobe.fissure_mm / pitch_mm)
        opaque = opaque + lobe.fissure * (sharp - opaque)
    # Until all of a lung is full, some of it holds air yet.
    texture = lobe.texture * (1.0 - SPARED * (1.0 - extent) * lobe.spared)
    texture = texture + lobe.beside * (1.0 - texture)
    return opaque * (texture - lobe.bronchi).clamp_min(0.0)


@dataclass(frozen=True, eq=False)
class _Lobe:
    """What is the same for every extent of whiteout_lobar.

    Attributes:
        order: (H, W), what is filled first is largest.
        ragged: (H, W) the same with a ragged border.
        fissure: (H, W) share of the sharp border where a fissure lies along the beam, None where none does.
        fissure_mm: sigma of that border.
        texture: (H, W) share of a path that is water where a lung is full.
        spared: (H, W) 1 in the airiest places.
        beside: (H, W) 1 along heart and dome, falling away from them.
        bronchi: (H, W) share of a path that lies in bronchi.
    """

    order: Tensor
    ragged: Tensor
    fissure: Tensor | None
    fissure_mm: float
    texture: Tensor
    spared: Tensor
    beside: Tensor
    bronchi: Tensor


@remembered(1, "cause")
def _lobe(thorax: Thorax, image_id: str, seed: int, pitch_mm: float) -> _Lobe:
    draws = Draws(image_id, LOBAR, seed, device=thorax.depth.device)
    side = side_of(draws)
    rows, _ = coordinates(thorax.depth)
    shape = thorax.depth.shape
    clouds = random_field(draws, "clouds", shape, beta=4.0)
    away = outward(thorax, side)
    down = (rows - thorax.top + (shape[0] - 1) / 2.0) / thorax.height
    lower = draws.choice("lobe", ("lower", "upper"), (0.65, 0.35)) == "lower"
    beside, fissure = near_organs(thorax, side), None
    if lower:
        # The oblique fissure lies en face: the lower lobe has no border above, and reaches higher toward the spine.
        order = down - 0.25 * away + 0.09 * clouds
        # Once it is large it climbs along the mediastinum first.
        order = order + TOWARD_ORGANS * beside * (HALFWAY - order).clamp_min(0.0)
    else:
        # Up from its lower end, then on into the lung below, beside the mediastinum first.
        bow = draws.uniform("bow", 0.15, 0.45) * draws.choice("bowed", (-1.0, 1.0), (0.35, 0.65))
        end = draws.uniform("end of the lobe", 0.42, 0.5) + 0.02 * clouds + bow * (0.25 - (away - 0.5).square())
        end = end - 0.25 * bow - 0.04 * away
        above, below = end - down, (0.35 * (down - end) + 0.45 * away + 0.12 * clouds).clamp_min(0.0)
        order = torch.where(above >= 0.0, 1.0 - above, -below)
        if side == "left":
            # The right lung, in the usual display: its horizontal fissure is seen where it lies along the beam.
            seen = smoothstep(0.7 + 0.6 * random_field(draws, "seen", shape, beta=4.0))
            fissure = seen * exp(-0.5 * ((down - end) / 0.04).square())
    air = gaussian_blur(chords(shape, bronchi(thorax, side, draws, pitch_mm), thorax.depth.device), 0.6 / pitch_mm)
    return _Lobe(
        order=order,
        ragged=order + 0.05 * random_field(draws, "ragged", shape, beta=2.5),
        fissure=fissure,
        fissure_mm=draws.uniform("fissure in mm", 1.2, 2.5),
        texture=(0.93 + 0.07 * random_field(draws, "texture", shape, beta=2.0)).clamp(0.7, 1.0),
        spared=smoothstep(random_field(draws, "pockets", shape, beta=3.0) - 0.3),
        beside=beside,
        bronchi=0.9 * air * (pitch_mm / 10.0) / thorax.depth.clamp_min(3.0),
    )


def bronchi(thorax: Thorax, side: str, draws: Draws, pitch_mm: float) -> list[tuple[list[Point], float]]:
    """Branching air-filled tubes from the hilum, radius 1.5 to 0.5 mm, as polylines with radii in pixels."""
    row, column = thorax.hilum(side)
    outward = -1.0 if side == "left" else 1.0
    tubes: list[tuple[list[Point], float]] = []
    ends = [(row, column, angle) for angle in (-0.9, -0.2, 0.5, 1.1)]
    for generation, radius in enumerate((1.5, 1.1, 0.8)):
        following = []
        for index, (y, x, angle) in enumerate(ends):
            label = f"bronchus {generation} {index}"
            length = thorax.height * draws.uniform(label + " length", 0.09, 0.15)
            bent = angle + draws.uniform(label + " bend", -0.25, 0.25)
            end = (y + length * math.sin(bent), x + outward * length * math.cos(bent))
            tubes.append(([(y, x), end], radius / pitch_mm))
            following += [(*end, bent - 0.35), (*end, bent + 0.35)]
        ends = following
    return tubes
