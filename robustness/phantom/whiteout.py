"""White-out of a hemithorax by cause: to be read from shift, bronchi and volume, or not at all."""

from __future__ import annotations

import numpy as np
import torch

from .anatomy import SIDES, Change
from .finding import Effect, Finding, finding
from .geometry import ellipsoid, join
from .opacities import bronchi, consolidate, fluid, hilum, lump, push, vessels_left
from .projection import Scene
from .texture import grain


@finding("whiteout_lobar", extent=(0.2, 1.0), density=(0.85, 1.0))
def _whiteout_lobar(scene: Scene, found: Finding, rng: np.random.Generator) -> Effect:
    f, t = scene.frame, scene.tissue
    rays = scene.lungs[found.side]
    z = (-0.5 + 1.04 * found.extent) * f.height
    whole = ellipsoid(f.at(SIDES[found.side] * 0.5, 0.0, 0.0), [2 * f.width, 2 * f.depth, 2 * f.height])
    bodies = join(*(whole.cut([0.0, -0.15, 1.0], z + c * f.height) for c in (-0.03, 0.0, 0.03)))
    added = consolidate(scene, found.side, bodies, found.density, rng=rng)
    depth, vessels = scene.blank(), torch.ones_like(scene.blank())
    vessels[rays.window] = vessels_left(scene, rays, added)
    target = hilum(f, found.side) + np.array([SIDES[found.side] * 0.3 * f.width, 0.0, 0.0])
    rays.paste(added, depth)
    depth -= (
        found.density
        * (t.consolidated - t.air)
        * bronchi(scene, found.side, rng, target=target, inside=bodies[1:2], radius=0.028)
    )
    return Effect(depth, vessels)


@finding("whiteout_effusion", extent=(0.2, 1.0), change=lambda found: push(found, 0.30 * found.extent))
def _whiteout_effusion(scene: Scene, found: Finding, _rng: np.random.Generator) -> Effect:
    return fluid(scene, found, 0.16 + 1.0 * found.extent)


def _collapse(found: Finding) -> Change:
    return Change(
        mediastinum=SIDES.get(found.side, 0.0) * 0.34 * found.extent,
        dome={s: 0.16 * found.extent * (s == found.side) for s in SIDES},
    )


@finding("whiteout_collapse", extent=(0.2, 1.0), density=(0.7, 0.95), change=_collapse)
def _whiteout_collapse(scene: Scene, found: Finding, rng: np.random.Generator) -> Effect:
    f = scene.frame
    rays = scene.lungs[found.side]
    middle = hilum(f, found.side)
    e = 0.45 + 1.4 * found.extent
    size = np.array([0.75 * f.width, 1.2 * f.depth, 0.55 * f.height]) * e
    bodies = ellipsoid(np.tile(middle - [0, 0, 0.15 * f.height], (2, 1)), size * [[1.0], [0.93]])
    added = consolidate(scene, found.side, bodies, found.density, rng=rng)
    depth, vessels = scene.blank(), torch.ones_like(scene.blank())
    rays.paste(added, depth)
    vessels[rays.window] = vessels_left(scene, rays, added)
    return Effect(depth, vessels)


@finding("whiteout_mass", extent=(0.2, 1.0), change=lambda found: push(found, 0.2 * found.extent))
def _whiteout_mass(scene: Scene, found: Finding, rng: np.random.Generator) -> Effect:
    f = scene.frame
    place = np.array(f.at(SIDES[found.side] * 0.55, 0.0, 0.02))
    return lump(scene, found, rng, place, (0.30 + 0.75 * found.extent) * f.width)


@finding("whiteout_bilateral", extent=(0.2, 1.0), density=(0.45, 0.9))
def _whiteout_bilateral(scene: Scene, found: Finding, rng: np.random.Generator) -> Effect:
    f = scene.frame
    depth, vessels = scene.blank(), torch.ones_like(scene.blank())
    for side in SIDES if found.side == "both" else (found.side,):
        rays = scene.lungs[side]
        middle = f.at(SIDES[side] * 0.42, 0.0, 0.30 - 0.22 * found.extent)
        spared = ellipsoid(middle, np.array([0.75 * f.width, 1.2 * f.depth, 0.75 * f.height]) * (1.03 - found.extent))
        cloud = grain(rng, scene.beam.size, scene.beam.device, (6, 12, 26, 60), 0.6)[rays.window]
        share = (found.density * (0.9 + 0.3 * cloud)).clamp_(0.0, 1.0)
        added = (scene.tissue.consolidated - scene.tissue.lung) * share * (rays.free - 0.9 * rays.within(spared))
        rays.paste(added, depth)
        vessels[rays.window] *= vessels_left(scene, rays, added)
    return Effect(depth, vessels)
