"""Bones, added to the soft tissue they lie in: the extra optical depth of a bone is (mu_bone - mu_soft) times chord.

Ribs are bands of an ellipsoidal shell between two parallel planes, as in the stylised phantoms of Oak Ridge; everything
else is made of capped quadrics.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from .anatomy import SIDES, Frame, cage
from .beam import ConeBeam
from .geometry import Array, Bodies, ellipsoid, join, tube, turn
from .patient import Patient

VERTEBRAE = 15


def vertebra_levels(f: Frame) -> Array:
    """Return the heights (cm) of the middles of the vertebral bodies from the lower neck downwards."""
    return np.asarray((0.66 - 0.104 * np.arange(VERTEBRAE)) * f.height, np.float64)


def spine_at(f: Frame, patient: Patient, z: Array) -> tuple[Array, Array]:
    """Return x and y of the spine's axis at heights: a little scoliosis, a thoracic kyphosis."""
    t = z / f.height
    return patient.scoliosis * f.width * np.sin(3.3 * t + 0.4), f.depth * (0.76 - 0.42 * (t + 0.1) ** 2)


def ribs(beam: ConeBeam, f: Frame, patient: Patient) -> Tensor:
    """Return the chord (H, W; cm of full bone) through all ribs.

    On one side the ribs are parallel bands of the shell. Along a ray, the band coordinate is linear in depth; so the
    integral of any bone profile across the bands is the profile's antiderivative taken where the ray enters and leaves.
    """
    adult = patient.age_group == "adult"
    thick = (0.80 if adult else 0.46) * patient.rib_size * f.width / (14.0 if adult else 8.2)
    total = beam.blank()
    shell = join(cage(f, thick), cage(f))
    for side, s in SIDES.items():
        edges = np.array([[x * s * f.width, y * f.depth, 0.0] for x in (0.05, 1.06) for y in (-1.0, 1.0)])
        columns = beam.project(edges)[0]
        across = slice(max(0, int(columns.min()) - 3), max(1, min(beam.size, int(columns.max()) + 4)))
        enter, leave = beam.intervals(shell, (slice(None), across))
        # A rib starts beside the spine and ends before the breastbone (higher ribs nearer to it); cartilage is soft.
        slant = np.array([s * 0.55 / f.width, 0.62 / f.depth, 0.42 / f.height])
        for normal, offset in ((np.array([-s, 0.0, 0.0]), -0.09 * f.width), (-slant, 0.36)):
            low, high = beam.half_space(normal, offset, across)
            enter, leave = torch.maximum(enter, low), torch.minimum(leave, high)
        leave = torch.maximum(leave, enter)
        steeper = f.crowding[side]
        tilt = np.array([s * (patient.rib_tilt + steeper), -patient.rib_slope - 0.5 * steeper, 1.0])
        start, rate = beam.plane(tilt)
        # Rays along the bands see a slightly tilted band instead of dividing by zero.
        start, rate = start[:, across], torch.sign(rate[:, across]) * rate[:, across].abs().clamp(min=0.02)
        first, step, table = _band_table(f, patient, tilt, beam.device)
        ends = [_lookup(torch.addcmul(start, rate, at), first, step, table) for at in (*leave, *enter)]
        bone = ends[0] - ends[1] - ends[2] + ends[3]
        total[:, across] += bone.div_(rate)
    return total.mul_(beam.oblique)


def _band_table(f: Frame, patient: Patient, tilt: Array, device: str | torch.device) -> tuple[float, float, Tensor]:
    """Return first place, step (cm) and antiderivative of the bone profile across all ribs of one side."""
    adult = patient.age_group == "adult"
    tall = (1.30 if adult else 0.70) * patient.rib_size * f.height / (25.0 if adult else 13.0)
    levels = vertebra_levels(f)
    xs, ys = spine_at(f, patient, levels)
    feet = tilt[0] * xs + tilt[1] * ys + tilt[2] * (levels + 0.02 * f.height)
    step = tall / 40.0
    place = np.arange(feet[2:13].min() - tall, feet[2:13].max() + tall, step)
    half = 0.5 * tall * np.interp(np.arange(2, 13), (2, 4, 9, 12), (0.75, 1.0, 1.0, 0.8))
    t = np.abs(place - feet[2:13, None]) / half[:, None]
    # Marrow in the middle, cortex at both borders, where the rounded rib is also thinner.
    profile = (np.clip((1.06 - t) / 0.12, 0.0, 1.0) * np.interp(t, (0.0, 0.5, 0.8, 1.0), (0.55, 0.62, 1.0, 0.85))).sum(
        0
    )
    table = np.concatenate([[0.0], np.cumsum(profile) * step])
    return float(place[0] - step / 2), step, torch.from_numpy(table.astype(np.float32)).to(device)


def _lookup(at: Tensor, first: float, step: float, table: Tensor) -> Tensor:
    """Return a table's value at places, linear between its entries, constant beyond its ends."""
    place = at.sub_(first).div_(step).clamp_(0.0, float(len(table) - 1) - 1e-3)
    index = place.to(torch.int32)
    place.sub_(index)
    below, above = table.index_select(0, index.view(-1)), table[1:].index_select(0, index.view(-1))
    return torch.lerp(below, above, place.view(-1)).view(at.shape)


def bones(f: Frame, patient: Patient, *, arms_up: bool) -> tuple[Bodies, Array]:
    """Return spine, clavicles, scapulae, breastbone and upper arms with their shares (n,) of full bone."""
    parts: list[tuple[Bodies, float]] = _spine(f, patient)
    w, d, h = f.width, f.depth, f.height
    parts.append((ellipsoid([0, -0.97 * d, 0.06 * h], [0.13 * w, 0.055 * d, 0.27 * h], turn("x", -6)), 0.8))
    left = _hollow(np.array(_CLAVICLE) * [w, d, h], np.array([1.0, 0.8, 0.72, 0.72, 0.8, 0.95]) * 0.0405 * w, 0.55)
    if arms_up:
        left.append((ellipsoid(f.at(0.72, 0.80, 0.22), [0.28 * w, 0.04 * d, 0.20 * h], turn("x", 20)), 0.3))
    else:
        left += _shoulder(f, patient)
    parts += left + [(bodies.mirrored(), share) for bodies, share in left]
    return join(*(body for body, _ in parts)), np.concatenate([np.full(len(body), share) for body, share in parts])


def _shoulder(f: Frame, patient: Patient) -> list[tuple[Bodies, float]]:
    """Return the left shoulder blade and upper arm."""
    w, d, h = f.width, f.depth, f.height
    border = [f.at(0.72, 0.95, -0.03), f.at(0.90, 0.85, 0.15), f.at(1.06, 0.5, 0.34)]
    ridge = [f.at(0.62, 1.0, 0.38), f.at(0.85, 0.85, 0.445), f.at(1.12, 0.35, 0.49)]
    direction = turn("y", -patient.exposure.arms) @ np.array([1.0, 0.0, 0.0])
    head = np.array([0.98 * patient.half_width, 0.12 * patient.half_depth, 0.37 * h]) + direction * 0.1 * w
    # Short pieces, because each is evaluated in a square window.
    shaft = head + direction * np.array([[0.11], [0.45], [0.75], [1.05], [1.4], [1.8], [2.2]]) * w
    return [
        (ellipsoid(f.at(0.86, 0.92, 0.20), [0.30 * w, 0.05 * d, 0.26 * h], turn("y", 8) @ turn("z", 32)), 0.40),
        (tube(border, 0.04 * w), 0.6),
        (tube(ridge, 0.04 * w), 0.6),
        (ellipsoid(f.at(1.07, 0.3, 0.375), [0.075 * w, 0.14 * d, 0.075 * h]), 0.6),
        (ellipsoid(head, [0.155 * w] * 3), 0.8),
        *_hollow(shaft, np.array([0.12, 0.095, 0.085, 0.08, 0.08, 0.085]) * w, 0.62, 0.75),
    ]


_CLAVICLE = (
    (0.10, -0.70, 0.40), (0.24, -0.74, 0.425), (0.40, -0.68, 0.46), (0.58, -0.50, 0.485),
    (0.76, -0.30, 0.495), (0.92, -0.12, 0.49), (1.02, -0.05, 0.475),
)  # fmt: skip


def _hollow(points: Array, radii: Array, marrow: float, share: float = 1.5) -> list[tuple[Bodies, float]]:
    whole = tube(points, radii)
    return [(whole, share), (whole.shrunk(marrow), -0.8 * share)]


def _spine(f: Frame, patient: Patient) -> list[tuple[Bodies, float]]:
    """Return vertebrae: bodies with denser end plates, pedicles, transverse and spinous processes."""
    w, d, h = f.width, f.depth, f.height
    z = vertebra_levels(f)
    n = len(z)
    x, y = spine_at(f, patient, z)
    a = (0.125 if patient.age_group == "adult" else 0.135) * w * np.interp(z / h, (-0.7, 0.7), (1.15, 0.85))
    up, one = np.array([0.0, 0.0, 1.0]), np.ones(n)

    def at(dx: Array | float, dy: Array | float, dz: float) -> Array:
        return np.stack([x + dx, y + dy * d, z + dz * h], 1)

    def block(across: float, deep: float, tall: float) -> Bodies:
        body = ellipsoid(at(0.0, 0.0, 0.0), np.stack([across * a, deep * d * one, 0.12 * h * one], 1))
        reaches = body.reaches * [1.0, 1.0, tall / 0.12]
        return replace(body, reaches=reaches).cut(up, z + tall * h).cut(-up, tall * h - z)

    small = np.interp(z / h, (0.1, 0.4), (1.0, 0.5))  # short in the neck
    spinous = np.stack([0.10 * a + 0.05, 0.09 * d * small, 0.036 * h * one], 1)
    parts = [(block(1.0, 0.155, 0.040), 0.62), (block(0.86, 0.135, 0.031), -0.34),
             (ellipsoid(at(0.0, 0.25 * small, -0.035), spinous, turn("x", -25)), 0.9)]  # fmt: skip
    pedicle = np.stack([0.19 * a, 0.08 * d * one, 0.021 * h * one], 1)
    transverse = np.stack([0.6 * a, 0.055 * d * one, 0.014 * h * one], 1)
    for s in SIDES.values():
        parts.append((ellipsoid(at(s * 0.62 * a, 0.16, 0.012), pedicle), 0.9))
        parts.append((ellipsoid(at(s * 1.25 * a, 0.2, 0.008), transverse, turn("y", -s * 12))[z > -0.45 * h], 0.7))
    return parts
