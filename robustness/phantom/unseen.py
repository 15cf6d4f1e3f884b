"""Findings outside the three classes: effusion, pneumothorax, mass."""

from __future__ import annotations

import numpy as np
import torch

from .anatomy import SIDES
from .finding import Effect, Finding, finding
from .geometry import ellipsoid
from .opacities import fluid, lump, push
from .projection import Scene


@finding("effusion", extent=(0.1, 0.9), change=lambda found: push(found, 0.16 * max(0.0, found.extent - 0.4)))
def _effusion(scene: Scene, found: Finding, rng: np.random.Generator) -> Effect:
    return fluid(scene, found, 0.05 + 0.78 * found.extent, rng)


@finding("pneumothorax", extent=(0.15, 1.0), change=lambda found: push(found, 0.22 * max(0.0, found.extent - 0.6)))
def _pneumothorax(scene: Scene, found: Finding, _rng: np.random.Generator) -> Effect:
    f, t = scene.frame, scene.tissue
    s, rays = SIDES[found.side], scene.lungs[found.side]
    scale = 0.97 - 0.45 * found.extent
    centre = np.array([s * (0.46 - 0.14 * found.extent) * f.width, 0.05 * f.depth, f.base - 0.02 * f.height])
    size = np.array([0.53 * f.width, 0.97 * f.depth, 0.82 * f.height]) * scale
    lean = -s * scene.patient.apex_lean * f.width / (0.85 * f.height)
    wall = 0.012 * f.width
    inner, outer = (
        rays.within(ellipsoid(centre, size, shear=lean)),
        rays.within(ellipsoid(centre, size + wall, shear=lean)),
    )
    air = rays.free - outer
    added = (t.soft - t.lung) * (outer - inner) - (t.lung - t.air) * air + 0.35 * found.extent * t.lung * inner
    depth, vessels = scene.blank(), torch.ones_like(scene.blank())
    rays.paste(added, depth)
    vessels[rays.window] = inner / (rays.free + 1e-3)
    return Effect(depth, vessels)


@finding("mass", extent=(0.1, 1.0))
def _mass(scene: Scene, found: Finding, rng: np.random.Generator) -> Effect:
    f = scene.frame
    place = np.array(
        f.at(SIDES[found.side] * rng.uniform(0.35, 0.68), rng.uniform(-0.4, 0.4), rng.uniform(-0.15, 0.28))
    )
    return lump(scene, found, rng, place, (0.10 + 0.20 * found.extent) * f.width)
