"""Building blocks of opacities: fissures, lumps in a lobe, consolidation with its bronchi, fluid, masses."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .anatomy import SIDES, Change, Frame
from .finding import Effect, Finding
from .geometry import Array, Bodies, ellipsoid, turn
from .projection import LungRays, Scene
from .texture import draw, grain, tree


def hilum(f: Frame, side: str) -> Array:
    """Return where vessels and bronchi enter a lung."""
    s = SIDES[side]
    return np.array([0.75 * f.shift + s * 0.20 * f.width, 0.12 * f.depth, (0.03 if side == "left" else 0.0) * f.height])


def lobe_planes(f: Frame, lobe: str) -> list[tuple[list[float], float]]:
    """Return the fissures that bound a lobe, as (normal, offset) of half-spaces normal . p <= offset."""
    k = 0.554 * f.height / f.depth
    oblique = 0.142 * f.height
    if lobe == "lower":
        return [([0.0, -k, 1.0], -oblique)]
    planes = [([0.0, k, -1.0], oblique)]
    if lobe == "upper":
        planes.append(([0.0, 0.06, -1.0], -0.02 * f.height))
    if lobe in {"middle", "lingula"}:
        planes.append(([0.0, -0.06, 1.0], 0.02 * f.height))
    return planes


_LOBE_MIDDLES = {
    "upper": (0.46, -0.05, 0.26),
    "middle": (0.40, -0.50, -0.16),
    "lingula": (0.52, -0.50, -0.14),
    "lower": (0.50, 0.40, -0.12),
}


def lobe_bodies(f: Frame, side: str, lobe: str, extent: float, rng: np.random.Generator) -> Bodies:
    """Return overlapping lumps in one lobe, all cut by its fissures; where more of them overlap, the lobe is denser."""
    s = SIDES[side]
    middle = np.array(_LOBE_MIDDLES[lobe]) + rng.normal(0.0, 0.10 * (1.0 - 0.6 * extent), 3) * [0.7, 1.0, 0.7]
    size = (0.22 + 0.60 * extent) * np.array([0.66, 0.85, 0.36])
    unit = np.array([f.width, f.depth, f.height])
    places = (middle + rng.normal(0.0, 0.36, (5, 3)) * size) * [s, 1.0, 1.0]
    stretch = np.exp(rng.normal(-0.1, 0.22, (5, 3)))
    lumps = ellipsoid(
        places * unit, unit * size * stretch, np.stack([turn("y", angle) for angle in rng.uniform(-50, 50, 5)])
    )
    for normal, offset in lobe_planes(f, lobe):
        lumps = lumps.cut(normal, offset)
    return lumps


def bronchi(
    scene: Scene, side: str, rng: np.random.Generator, *, target: Array, inside: Bodies, radius: float = 0.022
) -> Tensor:
    """Return cm of air-filled bronchi (H, W) running from the hilum into a body."""
    f = scene.frame
    root = hilum(f, side)
    heading = (target - root)[None] + rng.normal(0.0, 0.22 * f.width, (3, 3))
    lines = tree(
        rng,
        root,
        heading,
        length=0.30 * f.width,
        radius=radius * f.width,
        step=scene.beam.pixel * 0.6,
        generations=5,
        spread=0.4,
    )
    return draw(scene.beam, lines.keep(inside.hold(lines.places).any(0) & scene.lungs[side].holds(lines.places)))


def vessels_left(scene: Scene, rays: LungRays, added: Tensor) -> Tensor:
    """Return the share (h, w) of vessels that still stand out where `added` optical depth replaced air."""
    full = (scene.tissue.consolidated - scene.tissue.lung) * rays.free + 1e-3
    return (1.0 - added.abs() / full).clamp_(0.0, 1.0)


def consolidate(
    scene: Scene, side: str, bodies: Bodies, density: float, *, rng: np.random.Generator, gain: float = 1.0
) -> Tensor:
    """Return added depth (h, w) of airless lung.

    The mean over several bodies has a soft margin, grain makes it patchy, fissures stay sharp.
    """
    rays = scene.lungs[side]
    path = rays.within(bodies).mul_(gain).minimum(rays.free)
    patchy = grain(rng, scene.beam.size, scene.beam.device, (10, 24, 56), 0.5)[rays.window]
    share = (density * (1.0 + 0.24 * patchy)).clamp_(0.0, 1.0)
    return (scene.tissue.consolidated - scene.tissue.lung) * share * path


def fluid(scene: Scene, found: Finding, level: float, *, shade: float = 1.0) -> Effect:
    """Return fluid around a floating lung whose rounded lower end makes the meniscus."""
    f, t = scene.frame, scene.tissue
    s, rays = SIDES[found.side], scene.lungs[found.side]
    bottom = (-0.56 + level) * f.height
    floating = ellipsoid(
        [s * 0.42 * f.width, -0.05 * f.depth, bottom + 0.9 * f.height],
        [(0.80 - 0.20 * level) * f.width, (1.30 - 0.3 * level) * f.depth, 0.9 * f.height],
    )
    liquid = (rays.free - rays.within(floating)).clamp_(min=0.0)
    depth, vessels = scene.blank(), torch.ones_like(scene.blank())
    rays.paste(shade * (t.water - t.lung) * liquid, depth)
    vessels[rays.window] = 1.0 - liquid / (rays.free + 1e-3)
    return Effect(depth, vessels)


def push(found: Finding, amount: float) -> Change:
    """Return a shift of the mediastinum away from the finding's side."""
    return Change(mediastinum=-SIDES.get(found.side, 0.0) * amount)


def lump(scene: Scene, found: Finding, rng: np.random.Generator, place: Array, radius: float) -> Effect:
    """Return a solid mass with a bumpy outline."""
    rays, t = scene.lungs[found.side], scene.tissue
    bumps = ellipsoid(place + rng.normal(0.0, 0.22 * radius, (4, 3)), radius * rng.uniform(0.75, 1.0, (4, 3)))
    added = (t.soft - t.lung) * rays.filled(bumps)
    depth, vessels = scene.blank(), torch.ones_like(scene.blank())
    rays.paste(added, depth)
    vessels[rays.window] = vessels_left(scene, rays, added)
    return Effect(depth, vessels)
