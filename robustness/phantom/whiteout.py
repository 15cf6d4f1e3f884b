"""White-out of a hemithorax by cause: to be read from shift, border, bronchi and volume, or not at all.

The extent is the share of the lung's volume that is opaque, behind heart and dome too. Each cause is an order in which
the lung is taken, so that a larger extent contains a smaller one, and a border as sharp as what bounds it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .anatomy import SIDES, Change
from .finding import LOBES, Effect, Finding, finding
from .opacities import advanced, along, bronchi, filled, fluid, hilum, lobe_places, lobe_region, places_in, push, waves
from .projection import Field, Region, Scene
from .texture import grain


@finding("whiteout_lobar", extent=(0.2, 1.0), density=(0.92, 1.0))
def _whiteout_lobar(scene: Scene, found: Finding, rng: np.random.Generator) -> Effect:
    """One lobe, then its neighbours: ill-defined where the disease advances, sharp at the fissures it has reached."""
    f, t, side = scene.frame, scene.tissue, found.side
    rays = scene.lungs[side]
    first = found.lobe or str(rng.choice(["lower", "upper"], p=[0.6, 0.4]))
    onward = LOBES[side] if first == "upper" else LOBES[side][::-1]
    lobes = [first, *(lobe for lobe in onward if lobe != first)]
    uneven, s = waves(rng, 0.9 * f.width), SIDES[side]

    def rising(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        return z + 0.30 * s * x - 0.25 * y + 0.07 * f.width * uneven(x, y, z)

    def falling(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        return rising(x, y, -z)

    places = [lobe_places(scene, side, lobe) for lobe in lobes]
    sizes = np.array([len(x) for x, _, _ in places], float)
    taken = np.cumsum(sizes) - sizes
    regions: list[Region] = []
    for lobe, within, size, before in zip(lobes, places, sizes, taken, strict=True):
        part = float(np.clip((found.extent * sizes.sum() - before) / size, 0.0, 1.0))
        if part > 0.0:
            # An upper lobe is left through the fissure below it; no air stays between it and the next.
            order = falling if first == "upper" and lobe != first else rising
            regions.append([*lobe_region(f, side, lobe), advanced(f, order, part, 0.09, within)])
    effect = filled(scene, {side: found.density * rays.share(*regions)}, t.consolidated)
    target = hilum(f, side) + np.array(
        [s * 0.3 * f.width, 0.0, -0.25 * f.height if first == "lower" else 0.2 * f.height]
    )
    air = bronchi(scene, side, rng, target=target, regions=regions)
    return Effect(effect.depth - found.density * (t.consolidated - t.air) * air, effect.vessels)


def _pushed(found: Finding) -> Change:
    moved = push(found, 0.24 * found.extent)
    return Change(moved.mediastinum, dome={s: -0.06 * found.extent * (s == found.side) for s in SIDES})


@finding("whiteout_effusion", extent=(0.2, 1.0), change=_pushed)
def _whiteout_effusion(scene: Scene, found: Finding, rng: np.random.Generator) -> Effect:
    return fluid(scene, found, found.extent, rng)


def _collapse(found: Finding) -> Change:
    return Change(
        mediastinum=SIDES.get(found.side, 0.0) * 0.30 * found.extent,
        dome={s: 0.14 * found.extent * (s == found.side) for s in SIDES},
        crowding={s: 0.22 * found.extent * (s == found.side) for s in SIDES},
    )


@finding("whiteout_collapse", extent=(0.2, 1.0), density=(0.85, 1.0), change=_collapse)
def _whiteout_collapse(scene: Scene, found: Finding, rng: np.random.Generator) -> Effect:
    """A lobe folded against the mediastinum: its border is the fissure that has come along, bowed, from the hilum down.

    Or, in a third, from the hilum up.
    """
    f, side = scene.frame, found.side
    s, rays, root = SIDES[side], scene.lungs[side], hilum(scene.frame, side)
    down = -1.0 if rng.random() < 0.35 else 1.0
    normal = np.array([s * 0.80, -0.22, down * 0.55])
    fissure, uneven = along(normal), waves(rng, 1.2 * f.width)

    def order(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        bow = (y - float(root[1])).square() + (z - float(root[2])).square()
        return fissure(x, y, z) - bow * (0.16 / f.width) + 0.015 * f.width * uneven(x, y, z)

    border = advanced(f, order, found.extent, 0.04, places_in(scene, side))
    return filled(scene, {side: found.density * rays.share([border])}, scene.tissue.consolidated)


@finding("whiteout_mass", extent=(0.2, 1.0), change=lambda found: push(found, 0.2 * found.extent))
def _whiteout_mass(scene: Scene, found: Finding, rng: np.random.Generator) -> Effect:
    """A ball with a lobed outline, that grows until it fills the hemithorax."""
    f, side = scene.frame, found.side
    x0, y0, z0 = f.at(SIDES[side] * rng.uniform(0.48, 0.60), rng.uniform(-0.15, 0.15), rng.uniform(-0.16, 0.06))
    outline = waves(rng, 0.8 * f.width, 5)

    def order(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        far = ((x - x0).square() + (y - y0).square() + (z - z0).square()).sqrt_()
        return far * (1.0 + 0.08 * outline(x, y, z))

    border = advanced(f, order, found.extent, 0.015, places_in(scene, side))
    return filled(scene, {side: scene.lungs[side].share([border])}, scene.tissue.soft)


@finding("whiteout_bilateral", extent=(0.2, 1.0), density=(0.55, 0.95))
def _whiteout_bilateral(scene: Scene, found: Finding, rng: np.random.Generator) -> Effect:
    """As in oedema: from the hila and the bases outwards, without borders."""
    f = scene.frame
    cloud = grain(rng, scene.beam.size, scene.beam.device, (8, 16, 32, 64), 0.8)
    shares: dict[str, Tensor] = {}
    for side in SIDES if found.side == "both" else (found.side,):
        order = _from_hilum(scene, side, waves(rng, 0.8 * f.width))
        border = advanced(f, order, found.extent, 0.6, places_in(scene, side))
        dense = found.density * (1.0 + 0.14 * cloud[scene.lungs[side].window])
        shares[side] = (dense * scene.lungs[side].share([border])).clamp_(0.0, 1.0)
    return filled(scene, shares, scene.tissue.consolidated)


def _from_hilum(scene: Scene, side: str, uneven: Field) -> Field:
    """Return the order of a disease that comes from the hilum, less far up and down than sideways, and from below."""
    width = scene.frame.width
    a, b, c = hilum(scene.frame, side).tolist()

    def order(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        far = (x - a).square_().add_((y - b).square_(), alpha=0.5).add_((z - c).square_(), alpha=0.64).sqrt_()
        return torch.add(far, z, alpha=0.35).add_(uneven(x, y, z), alpha=0.11 * width)

    return order
