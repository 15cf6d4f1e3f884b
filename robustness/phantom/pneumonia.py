"""The three classes: a healthy chest, lobar consolidation (bacterial-like), the interstitial pattern (viral-like).

Signs after Swischuk and Hayden (1986) and Virkki (2002): lobar consolidation is focal, fills one lobe up to its
fissure, keeps its air-filled bronchi and wipes out the border of the heart or dome it touches; the interstitial
pattern is bilateral, perihilar, linear, and goes with hyperinflation.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .anatomy import SIDES, Change, Frame
from .finding import Effect, Finding, finding
from .geometry import Array, ellipsoid
from .opacities import advanced, bronchi, filled, hilum, lobe_places, lobe_region, waves
from .projection import Field, Scene
from .texture import Lines, draw, grain, joined, tree


@finding("normal")
def _normal(scene: Scene, _found: Finding, _rng: np.random.Generator) -> Effect:
    return Effect(scene.blank())


@finding("lobar", extent=(0.12, 1.0), density=(0.45, 1.0))
def _lobar(scene: Scene, found: Finding, rng: np.random.Generator) -> Effect:
    f, t, side = scene.frame, scene.tissue, found.side
    rays, lobe = scene.lungs[side], found.lobe or "lower"
    places = lobe_places(scene, side, lobe)
    order = _around(rng, places, f.width)
    # Small ones are the most frequent, none is too small to be seen.
    region = [*lobe_region(f, side, lobe), advanced(f, order, 0.10 + 0.90 * found.extent**1.5, 0.12, places)]
    patchy = grain(rng, scene.beam.size, scene.beam.device, (10, 24, 56), 0.5)[rays.window]
    share = (found.density * (1.0 + 0.06 * patchy) * rays.share(region)).clamp_(0.0, 1.0)
    effect = filled(scene, {side: share}, t.consolidated)
    target = torch.stack(places).mean(1).double().numpy()
    air = bronchi(scene, side, rng, target=target, regions=[region])
    return Effect(effect.depth - found.density * (t.consolidated - t.air) * air, effect.vessels)


def _around(rng: np.random.Generator, places: tuple[Tensor, Tensor, Tensor], width: float) -> Field:
    """Return the order of a disease that spreads unevenly from three foci among places."""
    foci = torch.stack(places)[:, rng.integers(0, len(places[0]), 3)].T.tolist()
    uneven = waves(rng, 0.7 * width)

    def order(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        near = torch.full_like(x, 1e-6)
        for a, b, c in foci:
            near += ((x - a).square_() + (y - b).square_() + (z - c).square_()).mul_(-2.0 / width**2).exp_()
        return near.log_().mul_(-0.25 * width).add_(uneven(x, y, z), alpha=0.06 * width)

    return order


@finding("interstitial", extent=(0.30, 1.0), density=(0.28, 1.0),
         change=lambda found: Change(dome=dict.fromkeys(SIDES, -0.05 * found.density)))  # fmt: skip
def _interstitial(scene: Scene, found: Finding, rng: np.random.Generator) -> Effect:
    depth = scene.blank()
    f, t, beam = scene.frame, scene.tissue, scene.beam
    texture = grain(rng, beam.size, beam.device, (20, 44, 90), 0.25)
    lines: list[Lines] = []
    for side in SIDES:
        rays, root = scene.lungs[side], hilum(f, side)
        reach = (0.42 + 0.42 * found.extent) * np.exp(rng.normal(0.0, 0.10))
        size = np.array([0.95 * f.width, 1.0 * f.depth, 0.52 * f.height]) * reach
        path = rays.within(
            ellipsoid(
                np.tile(root + np.array([SIDES[side] * 0.12 * f.width, 0, -0.03 * f.height]), (3, 1)), size * _SHELLS
            )
        )
        uneven = np.exp(rng.normal(0.0, 0.15))
        share = (0.15 * found.density * uneven * (1.0 + 0.75 * texture[rays.window])).clamp_(min=0.0)
        rays.paste((t.consolidated - t.lung) * share * path, depth)
        heading = _outward(rng, side, 12)
        streaks = tree(rng, root, heading, length=0.24 * f.width * (0.7 + 0.6 * found.extent), radius=0.0085 * f.width,
                       step=beam.pixel * 0.6, generations=5, spread=0.75)  # fmt: skip
        both = joined(streaks, _rings(rng, root, f, 9, beam.pixel))
        lines.append(both.keep(rays.holds(both.places)))
    depth += (t.soft - t.lung) * (0.4 + 2.4 * found.density) * draw(beam, joined(*lines))
    return Effect(depth)


_SHELLS = np.array([[1.0], [0.75], [0.5]])


def _outward(rng: np.random.Generator, side: str, n: int) -> Array:
    """Return n directions (n, 3) from a hilum into its lung."""
    angle = np.linspace(-1.75, 1.25, n) + rng.normal(0.0, 0.14, n)
    return np.stack([SIDES[side] * np.cos(angle) * 0.9, rng.normal(0.0, 0.6, n), np.sin(angle)], 1)


def _rings(rng: np.random.Generator, root: Array, f: Frame, n: int, pixel: float) -> Lines:
    """Return bronchi seen end on: thickened rings around a hilum."""
    middle = root + rng.normal(0.0, 1.0, (n, 3)) * [0.16 * f.width, 0.3 * f.depth, 0.10 * f.height]
    radius = rng.uniform(0.022, 0.040, n) * f.width
    m = max(12, int(2 * np.pi * radius.max() / (0.5 * pixel)))
    angle = np.linspace(0.0, 2 * np.pi, m, endpoint=False)
    ring = np.stack([np.cos(angle), rng.normal(0.0, 0.1, m), np.sin(angle)], 1)
    places = middle[:, None] + radius[:, None, None] * ring
    lengths = np.repeat(2 * np.pi * radius / m, m)
    return Lines(places.reshape(-1, 3), np.full(n * m, 0.009 * f.width), lengths)
