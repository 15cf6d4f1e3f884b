"""Building blocks of opacities: fissures and lobes, how far a disease has come, fluid, open bronchi, masses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from .anatomy import SIDES, Change, Frame
from .finding import Effect, Finding
from .geometry import Array, Bodies, ellipsoid
from .projection import Border, Field, LungRays, Region, Scene
from .texture import draw, tree


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


def lobe_region(f: Frame, side: str, lobe: str) -> Region:
    """Return a lobe: its fissures are a millimetre thick; the lingula has none above it and is soft there."""
    region: list[Border] = []
    for i, (normal, offset) in enumerate(lobe_planes(f, lobe)):
        soft = i == 1 and side == "left"
        size = float(np.linalg.norm(normal))
        region.append((along(np.array(normal)), offset / size, (0.12 if soft else 0.012) * f.width))
    return region


def along(way: Array) -> Field:
    """Return how far (cm) places lie from the patient's origin in a direction."""
    parts = (way / np.linalg.norm(way)).tolist()
    return lambda x, y, z: _sum_of(parts, (x, y, z))


def below_surface(bodies: Bodies) -> Field:
    """Return how deep (cm) places lie within the common part of ellipsoids; exact at the surface, near enough below."""
    # |A v| is 1 on the surface, and falls inwards by |A'A v| / |A v| for each cm.
    forms = [(shape.T @ shape).tolist() for shape in bodies.shapes]
    centres = bodies.centres.tolist()

    def deep(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        depths: list[Tensor] = []
        for form, (a, b, c) in zip(forms, centres, strict=True):
            away = (x - a, y - b, z - c)
            slopes = [_sum_of(row, away) for row in form]
            level = (away[0] * slopes[0]).addcmul_(away[1], slopes[1]).addcmul_(away[2], slopes[2])
            level.clamp_(min=1e-6).sqrt_()
            steep = (slopes[0].square_() + slopes[1].square_()).add_(slopes[2].square_()).clamp_(min=1e-8).sqrt_()
            depths.append((level - level.square()).div_(steep))
        return torch.stack(depths).amin(0) if len(depths) > 1 else depths[0]

    return deep


def _sum_of(weights: list[float], parts: tuple[Tensor, ...]) -> Tensor:
    """Return the weighted sum of tensors, without what has no weight."""
    first, *others = [(part, weight) for part, weight in zip(parts, weights, strict=True) if weight]
    total = first[0] * first[1]
    for part, weight in others:
        total.add_(part, alpha=weight)
    return total


def waves(rng: np.random.Generator, longest: float, n: int = 3) -> Field:
    """Return an unevenness of mean 0 and standard deviation 1: a few waves, the longest of `longest` cm."""
    ways = rng.normal(size=(n, 3))
    ways *= (2 * np.pi / longest * np.linspace(1.0, 2.4, n) / np.linalg.norm(ways, axis=1))[:, None]
    phases, size = rng.uniform(0.0, 2 * np.pi, n), (2.0 / n) ** 0.5

    def uneven(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for (a, b, c), phase in zip(ways.tolist(), phases.tolist(), strict=True):
            total += torch.cos(a * x + b * y + (c * z + phase))
        return total.mul_(size)

    return uneven


def places_in(scene: Scene, side: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return x, y, z (n,) of points that fill a lung evenly, the same for every view and size."""
    f, rays = scene.frame, scene.lungs[side]
    axes = [
        np.linspace(-1.2, 1.2, 25) * f.width,
        np.linspace(-1.0, 1.0, 15) * f.depth,
        np.linspace(-1, 0.6, 33) * f.height,
    ]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    inside = points[rays.holds(points)]
    inside = inside if len(inside) else hilum(f, side)[None]
    x, y, z = torch.from_numpy(inside.T.astype(np.float32))
    return x, y, z


def advanced(f: Frame, order: Field, extent: float, soft: float, places: tuple[Tensor, Tensor, Tensor]) -> Border:
    """Return the border of a disease that has taken the share `extent` of some places, those of least `order` first.

    It fades over the fraction `soft` of the inner half width. Nothing is taken at 0, and at 1 all of it, also what lies
    between the places, to the last of its fading border.
    """
    level, width = float(torch.quantile(order(*places), extent)), soft * f.width
    return order, level + 0.5 * (width + _SPACING * f.width) * (2.0 * extent - 1.0) ** 3, width


_SPACING = 0.15  # of places, fraction of the inner half width


def filled(scene: Scene, shares: Mapping[str, Tensor], material: float) -> Effect:
    """Return a material (1/cm) in place of shares (h, w) of the lungs; as much of their vessels drowns in it."""
    depth, vessels = scene.blank(), torch.ones_like(scene.blank())
    for side, share in shares.items():
        rays = scene.lungs[side]
        rays.paste((material - scene.tissue.lung) * share * rays.free, depth)
        vessels[rays.window] *= 1.0 - share
    return Effect(depth, vessels)


def bronchi(
    scene: Scene,
    side: str,
    rng: np.random.Generator,
    *,
    target: Array,
    regions: Sequence[Region],
    radius: float = 0.022,
) -> Tensor:
    """Return cm of air-filled bronchi (H, W) running from the hilum towards a place, where regions are solid."""
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
    x, y, z = torch.from_numpy(lines.places.T.astype(np.float32))
    solid = torch.zeros_like(x, dtype=torch.bool)
    for region in regions:
        inside = torch.ones_like(solid)
        for field, level, width in region:
            inside &= field(x, y, z) < level - 0.25 * width
        solid |= inside
    return draw(scene.beam, lines.keep(solid.numpy() & scene.lungs[side].holds(lines.places)))


def vessels_left(scene: Scene, rays: LungRays, added: Tensor) -> Tensor:
    """Return the share (h, w) of vessels that still stand out where `added` optical depth replaced air."""
    full = (scene.tissue.consolidated - scene.tissue.lung) * rays.free + 1e-3
    return (1.0 - added.abs() / full).clamp_(0.0, 1.0)


def lobe_places(scene: Scene, side: str, lobe: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return x, y, z (n,) of points that fill a lobe evenly."""
    x, y, z = places_in(scene, side)
    inside = torch.ones_like(x, dtype=torch.bool)
    for field, level, _ in lobe_region(scene.frame, side, lobe):
        inside &= field(x, y, z) <= level
    if not inside.any():  # a chest at the edge of what is possible may have no such lobe
        return x, y, z
    return x[inside], y[inside], z[inside]


def fluid(scene: Scene, found: Finding, extent: float, rng: np.random.Generator) -> Effect:
    """Return fluid between chest wall and lung, as much as the share `extent` of the hemithorax.

    Upright its surface climbs along the whole wall: seen from the front the sheets before and behind the lung thin out
    upwards, and the one beside it, seen along its length, reaches 2.5 to 4 cm higher (in an adult, where half of a path
    is fluid). On an AP film taken lying down, it lies behind the lung, deeper towards the base.
    """
    f, side = scene.frame, found.side
    rays = scene.lungs[side]
    wall = below_surface(rays.bodies)
    climb, reach = rng.uniform(0.50, 0.80) * f.width, rng.uniform(0.05, 0.08) * f.width
    if found.posture == "supine" and scene.view == "AP":

        def order(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
            return 0.30 * z - y - 0.5 * climb * torch.exp(wall(x, y, z).clamp_(min=0.0) / -reach)
    else:

        def order(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
            near = torch.exp(wall(x, y, z).clamp_(min=0.0) / (-5.0 * reach))
            return z - climb * (0.45 * near + 0.55 * near**5)

    border = advanced(f, order, extent, 0.13, places_in(scene, side))
    return filled(scene, {side: rays.share([border])}, scene.tissue.water)


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
