"""Findings: what a disease adds to or takes from the optical depth of the lungs, and how it moves the chest.

A new finding is one function with the decorator `finding`; it receives the scene and returns what it did to every ray.
Radiographic signs after Swischuk and Hayden (1986) and Virkki (2002): lobar consolidation is focal, fills one lobe up to its fissure,
keeps its air-filled bronchi and wipes out the border of the heart or dome it touches; the interstitial pattern is
bilateral, perihilar, linear, and goes with hyperinflation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .anatomy import SIDES, Change, Frame
from .geometry import Array, Bodies, ellipsoid, turn
from .patient import Patient, stream
from .projection import LungRays, Scene
from .texture import Lines, draw, grain, joined, tree

LOBES = {
    "right": ("upper", "middle", "lower"),
    "left": ("upper", "lingula", "lower"),
}


@dataclass(frozen=True)
class Finding:
    """One finding with its numbers.

    Attributes:
        name: one of `FINDINGS`.
        side: "right", "left" or "both".
        extent: 0 to 1, from barely there to all of its region.
        density: 0 to 1, share of the air that is replaced.
        lobe: for consolidations, see `LOBES`; otherwise "".
    """

    name: str
    side: str = "right"
    extent: float = 0.5
    density: float = 0.8
    lobe: str = ""

    def __post_init__(self) -> None:
        if self.name not in _KINDS:
            raise ValueError(f"unknown finding {self.name!r}; known: {', '.join(FINDINGS)}")
        if self.side not in {"right", "left", "both"}:
            raise ValueError(f"side={self.side!r} must be 'right', 'left' or 'both'")
        for name in ("extent", "density"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name}={value!r} must lie between 0 and 1")
        if self.lobe and self.lobe not in LOBES.get(self.side, ()):
            raise ValueError(f"unknown lobe {self.lobe!r} of side {self.side!r}; known: {LOBES.get(self.side, ())}")


@dataclass(frozen=True)
class Effect:
    """What a finding did on a film: optical depth added (H, W), and the share of lung vessels still seen (H, W) or all."""

    depth: Tensor
    vessels: Tensor | None = None


@dataclass(frozen=True)
class _Kind:
    effect: Callable[[Scene, Finding, np.random.Generator], Effect]
    extent: tuple[float, float]
    density: tuple[float, float]
    change: Callable[[Finding], Change]


_KINDS: dict[str, _Kind] = {}


def _unchanged(_: Finding) -> Change:
    return Change()


def finding(
    name: str, *, extent: tuple[float, float] = (0.0, 1.0), density: tuple[float, float] = (1.0, 1.0),
    change: Callable[[Finding], Change] = _unchanged,
) -> Callable[[Callable[[Scene, Finding, np.random.Generator], Effect]], Callable[[Scene, Finding, np.random.Generator], Effect]]:  # fmt: skip
    """Register a finding: its name, the ranges its numbers are drawn from, and how it moves the chest."""

    def register(effect: Callable[[Scene, Finding, np.random.Generator], Effect]) -> Callable[[Scene, Finding, np.random.Generator], Effect]:
        _KINDS[name] = _Kind(effect, extent, density, change)
        return effect

    return register


def draw_finding(patient: Patient, name: str) -> Finding:
    """Draw side, lobe, extent and density of a finding for one film of a patient, always the same for the same film.

    Raises:
        ValueError: for an unknown finding, naming the known ones.
    """
    if name not in _KINDS:
        raise ValueError(f"unknown finding {name!r}; known: {', '.join(FINDINGS)}")
    kind = _KINDS[name]
    rng = stream(patient.identity, patient.seed, patient.film, name, "finding")
    both = name in {"normal", "interstitial", "whiteout_bilateral"}
    side = str(rng.choice(["right", "left"], p=[0.58, 0.42]))
    lobe = str(rng.choice(LOBES[side], p=[0.34, 0.26, 0.40])) if name == "lobar" else ""
    return Finding(name, "both" if both else side, float(rng.uniform(*kind.extent)), float(rng.uniform(*kind.density)), lobe)


def change_of(found: Finding) -> Change:
    """Return how a finding moves mediastinum and diaphragm."""
    return _KINDS[found.name].change(found)


def effect_of(scene: Scene, found: Finding) -> Effect:
    """Return what a finding does to the rays of a scene."""
    p = scene.patient
    return _KINDS[found.name].effect(scene, found, stream(p.identity, p.seed, p.film, found.name, "shape"))


def _sides(found: Finding) -> tuple[str, ...]:
    return tuple(SIDES) if found.side == "both" else (found.side,)


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


_LOBE_MIDDLES = {"upper": (0.46, -0.05, 0.26), "middle": (0.40, -0.50, -0.16), "lingula": (0.52, -0.50, -0.14), "lower": (0.50, 0.40, -0.12)}


def _lobe_bodies(f: Frame, side: str, lobe: str, extent: float, rng: np.random.Generator) -> list[Bodies]:
    """Return overlapping lumps in one lobe, all cut by its fissures; where more of them overlap, the lobe is denser."""
    s = SIDES[side]
    middle = np.array(_LOBE_MIDDLES[lobe]) + rng.normal(0.0, 0.10 * (1.0 - 0.6 * extent), 3) * [0.7, 1.0, 0.7]
    size = (0.22 + 0.60 * extent) * np.array([0.66, 0.85, 0.36])
    unit = np.array([f.width, f.depth, f.height])
    lumps = []
    for _ in range(5):
        x, y, z = middle + rng.normal(0.0, 0.36, 3) * size
        stretch = np.exp(rng.normal(-0.1, 0.22, 3))
        lump = ellipsoid(f.at(s * x, y, z), unit * size * stretch, turn("y", rng.uniform(-50, 50)))
        for normal, offset in lobe_planes(f, lobe):
            lump = lump.cut(normal, offset)
        lumps.append(lump)
    return lumps


def _bronchi(scene: Scene, side: str, rng: np.random.Generator, target: Array, inside: Bodies, radius: float = 0.022) -> Tensor:
    """Return cm of air-filled bronchi (H, W) running from the hilum into a body."""
    f = scene.frame
    root = hilum(f, side)
    heading = (target - root)[None] + rng.normal(0.0, 0.22 * f.width, (3, 3))
    lines = tree(rng, root, heading, length=0.30 * f.width, radius=radius * f.width, step=scene.beam.pixel * 0.6, generations=5, spread=0.4)
    return draw(scene.beam, lines.keep(inside.hold(lines.places)[0] & scene.lungs[side].holds(lines.places)))


def _airless(scene: Scene, rays: LungRays, added: Tensor) -> Tensor:
    """Return the share (h, w) of vessels that still stand out where `added` optical depth replaced air."""
    full = (scene.tissue.consolidated - scene.tissue.lung) * rays.free + 1e-3
    return (1.0 - added.abs() / full).clamp_(0.0, 1.0)


def _consolidate(scene: Scene, side: str, soft: list[Bodies], density: float, rng: np.random.Generator, gain: float = 1.0) -> Tensor:
    """Return added depth (h, w): the mean of several bodies has a soft margin, grain makes it patchy, fissures stay sharp."""
    rays = scene.lungs[side]
    path = torch.stack([rays.within(body) for body in soft]).mean(0).mul_(gain).minimum(rays.free)
    patchy = grain(rng, scene.beam.size, scene.beam.device, (10, 24, 56), 0.5)[rays.window]
    share = (density * (1.0 + 0.24 * patchy)).clamp_(0.0, 1.0)
    return (scene.tissue.consolidated - scene.tissue.lung) * share * path


@finding("normal")
def _normal(scene: Scene, _found: Finding, _rng: np.random.Generator) -> Effect:
    return Effect(scene.blank())


@finding("lobar", extent=(0.04, 1.0), density=(0.30, 1.0))
def _lobar(scene: Scene, found: Finding, rng: np.random.Generator) -> Effect:
    depth, vessels = scene.blank(), torch.ones_like(scene.blank())
    f, t = scene.frame, scene.tissue
    rays = scene.lungs[found.side]
    bodies = _lobe_bodies(f, found.side, found.lobe or "lower", found.extent, rng)
    added = _consolidate(scene, found.side, bodies, found.density, rng, gain=1.5)
    vessels[rays.window] = _airless(scene, rays, added)
    air = _bronchi(scene, found.side, rng, bodies[0].centres[0], bodies[0])
    rays.paste(added, depth)
    depth -= (found.density * (t.consolidated - t.air)) * air
    return Effect(depth, vessels)


@finding("interstitial", extent=(0.15, 1.0), density=(0.12, 1.0),
         change=lambda found: Change(dome={s: -0.05 * found.density for s in SIDES}))  # fmt: skip
def _interstitial(scene: Scene, found: Finding, rng: np.random.Generator) -> Effect:
    depth = scene.blank()
    f, t, beam = scene.frame, scene.tissue, scene.beam
    texture = grain(rng, beam.size, beam.device, (20, 44, 90), 0.25)
    lines: list[Lines] = []
    for side in SIDES:
        rays, root = scene.lungs[side], hilum(f, side)
        reach = (0.42 + 0.42 * found.extent) * np.exp(rng.normal(0.0, 0.10))
        size = np.array([0.95 * f.width, 1.0 * f.depth, 0.52 * f.height]) * reach
        path = sum(rays.within(ellipsoid(root + [SIDES[side] * 0.12 * f.width, 0, -0.03 * f.height], size * c)) for c in (1.0, 0.75, 0.5)) / 3
        uneven = np.exp(rng.normal(0.0, 0.15))
        share = (0.12 * found.density * uneven * (1.0 + 0.75 * texture[rays.window])).clamp_(min=0.0)
        rays.paste((t.consolidated - t.lung) * share * path, depth)
        heading = _outward(rng, side, 12)
        streaks = tree(rng, root, heading, length=0.24 * f.width * (0.7 + 0.6 * found.extent), radius=0.0085 * f.width,
                       step=beam.pixel * 0.6, generations=5, spread=0.75)  # fmt: skip
        both = joined(streaks, _rings(rng, root, f, 9, beam.pixel))
        lines.append(both.keep(rays.holds(both.places)))
    depth += (t.soft - t.lung) * (0.4 + 2.4 * found.density) * draw(beam, joined(*lines))
    return Effect(depth)


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


def _fluid(scene: Scene, found: Finding, level: float, *, shade: float = 1.0) -> Effect:
    """Return fluid around a floating lung whose rounded lower end makes the meniscus."""
    f, t = scene.frame, scene.tissue
    s, rays = SIDES[found.side], scene.lungs[found.side]
    bottom = (-0.56 + level) * f.height
    floating = ellipsoid(
        [s * 0.42 * f.width, -0.05 * f.depth, bottom + 0.9 * f.height],
        [(0.62 - 0.10 * level) * f.width, (1.02 - 0.1 * level) * f.depth, 0.9 * f.height],
    )
    fluid = (rays.free - rays.within(floating)).clamp_(min=0.0)
    depth, vessels = scene.blank(), torch.ones_like(scene.blank())
    rays.paste(shade * (t.water - t.lung) * fluid, depth)
    vessels[rays.window] = 1.0 - fluid / (rays.free + 1e-3)
    return Effect(depth, vessels)


def _push(found: Finding, amount: float) -> Change:
    """Return a shift of the mediastinum away from the finding's side."""
    return Change(mediastinum=-SIDES.get(found.side, 0.0) * amount)


@finding("effusion", extent=(0.1, 0.9), change=lambda found: _push(found, 0.16 * max(0.0, found.extent - 0.4)))
def _effusion(scene: Scene, found: Finding, _rng: np.random.Generator) -> Effect:
    return _fluid(scene, found, 0.12 + 0.48 * found.extent)


@finding("pneumothorax", extent=(0.15, 1.0), change=lambda found: _push(found, 0.22 * max(0.0, found.extent - 0.6)))
def _pneumothorax(scene: Scene, found: Finding, _rng: np.random.Generator) -> Effect:
    f, t = scene.frame, scene.tissue
    s, rays = SIDES[found.side], scene.lungs[found.side]
    scale = 0.97 - 0.45 * found.extent
    centre = np.array([s * (0.46 - 0.14 * found.extent) * f.width, 0.05 * f.depth, f.base - 0.02 * f.height])
    size = np.array([0.53 * f.width, 0.97 * f.depth, 0.82 * f.height]) * scale
    lean = -s * scene.patient.apex_lean * f.width / (0.85 * f.height)
    wall = 0.012 * f.width
    inner, outer = rays.within(ellipsoid(centre, size, shear=lean)), rays.within(ellipsoid(centre, size + wall, shear=lean))
    air = rays.free - outer
    added = (t.soft - t.lung) * (outer - inner) - (t.lung - t.air) * air + 0.35 * found.extent * t.lung * inner
    depth, vessels = scene.blank(), torch.ones_like(scene.blank())
    rays.paste(added, depth)
    vessels[rays.window] = inner / (rays.free + 1e-3)
    return Effect(depth, vessels)


@finding("mass", extent=(0.1, 1.0))
def _mass(scene: Scene, found: Finding, rng: np.random.Generator) -> Effect:
    f = scene.frame
    place = np.array(f.at(SIDES[found.side] * rng.uniform(0.35, 0.68), rng.uniform(-0.4, 0.4), rng.uniform(-0.15, 0.28)))
    return _lump(scene, found, rng, place, (0.10 + 0.20 * found.extent) * f.width)


def _lump(scene: Scene, found: Finding, rng: np.random.Generator, place: Array, radius: float) -> Effect:
    rays, t = scene.lungs[found.side], scene.tissue
    bumps = ellipsoid(place + rng.normal(0.0, 0.22 * radius, (4, 3)), radius * rng.uniform(0.75, 1.0, (4, 3)))
    added = (t.soft - t.lung) * rays.filled(bumps)
    depth, vessels = scene.blank(), torch.ones_like(scene.blank())
    rays.paste(added, depth)
    vessels[rays.window] = _airless(scene, rays, added)
    return Effect(depth, vessels)


@finding("whiteout_lobar", extent=(0.2, 1.0), density=(0.85, 1.0))
def _whiteout_lobar(scene: Scene, found: Finding, rng: np.random.Generator) -> Effect:
    f, t = scene.frame, scene.tissue
    rays = scene.lungs[found.side]
    z = (-0.5 + 1.04 * found.extent) * f.height
    whole = ellipsoid(f.at(SIDES[found.side] * 0.5, 0.0, 0.0), [2 * f.width, 2 * f.depth, 2 * f.height])
    bodies = [whole.cut([0.0, -0.15, 1.0], z + c * f.height) for c in (-0.03, 0.0, 0.03)]
    added = _consolidate(scene, found.side, bodies, found.density, rng)
    depth, vessels = scene.blank(), torch.ones_like(scene.blank())
    vessels[rays.window] = _airless(scene, rays, added)
    target = hilum(f, found.side) + np.array([SIDES[found.side] * 0.3 * f.width, 0.0, 0.0])
    rays.paste(added, depth)
    depth -= found.density * (t.consolidated - t.air) * _bronchi(scene, found.side, rng, target, bodies[1], 0.028)
    return Effect(depth, vessels)


@finding("whiteout_effusion", extent=(0.2, 1.0), change=lambda found: _push(found, 0.30 * found.extent))
def _whiteout_effusion(scene: Scene, found: Finding, _rng: np.random.Generator) -> Effect:
    return _fluid(scene, found, 0.16 + 1.0 * found.extent)


def _collapse(found: Finding) -> Change:
    return Change(mediastinum=SIDES.get(found.side, 0.0) * 0.34 * found.extent, dome={s: 0.16 * found.extent * (s == found.side) for s in SIDES})


@finding("whiteout_collapse", extent=(0.2, 1.0), density=(0.7, 0.95), change=_collapse)
def _whiteout_collapse(scene: Scene, found: Finding, rng: np.random.Generator) -> Effect:
    f = scene.frame
    rays = scene.lungs[found.side]
    middle = hilum(f, found.side)
    e = 0.45 + 1.4 * found.extent
    bodies = [ellipsoid(middle - [0, 0, 0.15 * f.height], np.array([0.75 * f.width, 1.2 * f.depth, 0.55 * f.height]) * e * c) for c in (1.0, 0.93)]
    added = _consolidate(scene, found.side, bodies, found.density, rng)
    depth, vessels = scene.blank(), torch.ones_like(scene.blank())
    rays.paste(added, depth)
    vessels[rays.window] = _airless(scene, rays, added)
    return Effect(depth, vessels)


@finding("whiteout_mass", extent=(0.2, 1.0), change=lambda found: _push(found, 0.2 * found.extent))
def _whiteout_mass(scene: Scene, found: Finding, rng: np.random.Generator) -> Effect:
    f = scene.frame
    place = np.array(f.at(SIDES[found.side] * 0.55, 0.0, 0.02))
    return _lump(scene, found, rng, place, (0.30 + 0.75 * found.extent) * f.width)


@finding("whiteout_bilateral", extent=(0.2, 1.0), density=(0.45, 0.9))
def _whiteout_bilateral(scene: Scene, found: Finding, rng: np.random.Generator) -> Effect:
    f = scene.frame
    depth, vessels = scene.blank(), torch.ones_like(scene.blank())
    for side in _sides(found):
        rays = scene.lungs[side]
        middle = f.at(SIDES[side] * 0.42, 0.0, 0.30 - 0.22 * found.extent)
        spared = ellipsoid(middle, np.array([0.75 * f.width, 1.2 * f.depth, 0.75 * f.height]) * (1.03 - found.extent))
        cloud = grain(rng, scene.beam.size, scene.beam.device, (6, 12, 26, 60), 0.6)[rays.window]
        share = (found.density * (0.9 + 0.3 * cloud)).clamp_(0.0, 1.0)
        added = (scene.tissue.consolidated - scene.tissue.lung) * share * (rays.free - 0.9 * rays.within(spared))
        rays.paste(added, depth)
        vessels[rays.window] *= _airless(scene, rays, added)
    return Effect(depth, vessels)


FINDINGS: tuple[str, ...] = tuple(_KINDS)
