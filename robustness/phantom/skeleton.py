"""Bones, added to the soft tissue they lie in: the extra optical depth of a bone is (mu_bone - mu_soft) times its chord.

Ribs are bands of an ellipsoidal shell between two parallel planes, as in the stylised phantoms of Oak Ridge; everything
else is made of capped quadrics.
"""

from __future__ import annotations

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
    return (0.66 - 0.104 * np.arange(VERTEBRAE)) * f.height


def spine_at(f: Frame, patient: Patient, z: Array) -> tuple[Array, Array]:
    """Return x and y of the spine's axis at heights: a little scoliosis, a thoracic kyphosis."""
    t = z / f.height
    return patient.scoliosis * f.width * np.sin(3.3 * t + 0.4), f.depth * (0.76 - 0.33 * (t + 0.1) ** 2)


def ribs(beam: ConeBeam, f: Frame, patient: Patient) -> Tensor:
    """Return the chord (H, W; cm of bone, marrow counted half) through all ribs."""
    adult = patient.age_group == "adult"
    thick = (0.80 if adult else 0.46) * patient.rib_size * f.width / (14.0 if adult else 8.2)
    tall = (1.30 if adult else 0.70) * patient.rib_size * f.height / (25.0 if adult else 13.0)
    total = torch.zeros(beam.size, beam.size, device=beam.device)
    surfaces = join(cage(f, thick), cage(f))
    levels = vertebra_levels(f)
    xs, ys = spine_at(f, patient, levels)
    for s in SIDES.values():
        # A rib starts beside the spine and ends before the breastbone, higher ribs nearer to it; cartilage is as dense as soft tissue.
        slant = np.array([s * 0.55 / f.width, 0.62 / f.depth, 0.42 / f.height])
        edges = np.array([[x * s * f.width, y * f.depth, 0.0] for x in (0.05, 1.06) for y in (-1.0, 1.0)])
        columns = beam.project(edges)[0]
        across = slice(max(0, int(columns.min()) - 3), max(1, min(beam.size, int(columns.max()) + 4)))
        (outer, inner), (outer_end, inner_end) = beam.intervals(surfaces, (slice(None), across))
        for normal, offset in ((np.array([-s, 0.0, 0.0]), -0.09 * f.width), (-slant, 0.36)):
            low, high = beam.half_space(normal, offset, across)
            outer, inner = torch.maximum(outer, low), torch.maximum(inner, low)
            outer_end, inner_end = torch.minimum(outer_end, high), torch.minimum(inner_end, high)
        tilt = np.array([s * patient.rib_tilt, -patient.rib_slope, 1.0])
        start, rate = beam.plane(tilt)
        inverse = rate[:, across].reciprocal()
        middle, spread = start[:, across].mul(inverse).neg_(), inverse.abs()
        for k in range(2, 13):
            foot = float(tilt @ [xs[k], ys[k], levels[k] + 0.02 * f.height])
            rows = _rows(beam, f, patient, foot, tall)
            if rows is None:
                continue
            grow = float(np.interp(k, (2, 4, 9, 12), (0.75, 1.0, 1.0, 0.8)))
            centre = torch.add(middle[rows], inverse[rows], alpha=foot)
            # Less in the middle than at both borders, where the beam runs along the cortex.
            for share, weight in ((1.0, 1.0), (0.6, -0.4)):
                reach = spread[rows] * (0.5 * share * grow * tall)
                low, high = centre - reach, centre + reach
                chord = _overlap(low, high, outer[rows], outer_end[rows])
                chord -= _overlap(low, high, inner[rows], inner_end[rows])
                total[rows, across].add_(chord, alpha=weight)
    return total.mul_(beam.oblique)


def _overlap(low: Tensor, high: Tensor, enter: Tensor, leave: Tensor) -> Tensor:
    return torch.minimum(high, leave).sub_(torch.maximum(low, enter)).clamp_(min=0.0)


def _rows(beam: ConeBeam, f: Frame, patient: Patient, foot: float, tall: float) -> slice | None:
    """Return the rows of the film that a rib can reach."""
    corners = np.array([
        [x, y, foot + patient.rib_slope * y - patient.rib_tilt * abs(x) + dz]
        for x in (-1.05 * f.width, 0.0, 1.05 * f.width) for y in (-1.06 * f.depth, 1.06 * f.depth) for dz in (-tall, tall)
    ])  # fmt: skip
    _, rows = beam.project(corners)
    first, last = max(0, int(rows.min()) - 1), min(beam.size, int(rows.max()) + 2)
    return slice(first, last) if first < last else None


def bones(f: Frame, patient: Patient, *, arms_up: bool) -> tuple[Bodies, Array]:
    """Return spine, clavicles, scapulae, breastbone and upper arms with their shares (n,) of full bone."""
    parts: list[tuple[Bodies, float]] = _spine(f, patient)
    w, d, h = f.width, f.depth, f.height
    parts.append((ellipsoid([0, -0.97 * d, 0.06 * h], [0.13 * w, 0.055 * d, 0.27 * h], turn("x", -6)), 0.8))
    for s in SIDES.values():
        clavicle = np.array(_CLAVICLE) * [s * w, d, h]
        parts += _hollow(clavicle, np.array([1.0, 0.8, 0.72, 0.72, 0.8, 0.95]) * 0.0405 * w, 0.55)
        if arms_up:
            parts.append((ellipsoid(f.at(s * 0.72, 0.80, 0.22), [0.28 * w, 0.04 * d, 0.20 * h], turn("x", 20)), 0.3))
            continue
        blade = turn("y", s * 8) @ turn("z", s * 32)
        parts.append((ellipsoid(f.at(s * 0.86, 0.92, 0.20), [0.30 * w, 0.05 * d, 0.26 * h], blade), 0.40))
        border = [f.at(s * 0.72, 0.95, -0.03), f.at(s * 0.90, 0.85, 0.15), f.at(s * 1.06, 0.5, 0.34)]
        ridge = [f.at(s * 0.62, 1.0, 0.38), f.at(s * 0.85, 0.85, 0.445), f.at(s * 1.12, 0.35, 0.49)]
        parts += [(tube(border, 0.04 * w), 0.6), (tube(ridge, 0.04 * w), 0.6)]
        parts.append((ellipsoid(f.at(s * 1.07, 0.3, 0.375), [0.075 * w, 0.14 * d, 0.075 * h]), 0.6))
        direction = turn("y", -s * patient.exposure.arms) @ np.array([s, 0.0, 0.0])
        head = np.array([s * 0.98 * patient.half_width, 0.12 * patient.half_depth, 0.37 * h]) + direction * 0.1 * w
        parts.append((ellipsoid(head, [0.155 * w] * 3), 0.8))
        shaft = head + direction * np.array([[0.17], [0.5], [2.2]]) * w
        parts += _hollow(shaft, np.array([0.115, 0.095]) * w, 0.6)
    return join(*(body for body, _ in parts)), np.concatenate([np.full(len(body), share) for body, share in parts])


_CLAVICLE = (
    (0.10, -0.80, 0.40), (0.24, -0.86, 0.425), (0.40, -0.80, 0.46), (0.58, -0.58, 0.485),
    (0.76, -0.30, 0.495), (0.92, -0.12, 0.49), (1.02, -0.05, 0.475),
)  # fmt: skip


def _hollow(points: Array | list[list[float]], radii: Array, marrow: float) -> list[tuple[Bodies, float]]:
    return [(tube(points, radii), 1.5), (tube(points, radii * marrow), -1.2)]


def _spine(f: Frame, patient: Patient) -> list[tuple[Bodies, float]]:
    """Return vertebrae: bodies with denser end plates, pedicles, transverse and spinous processes."""
    w, d, h = f.width, f.depth, f.height
    z = vertebra_levels(f)
    n = len(z)
    x, y = spine_at(f, patient, z)
    a = (0.125 if patient.age_group == "adult" else 0.135) * w * np.interp(z / h, (-0.7, 0.7), (1.15, 0.85))
    up, one = np.array([0.0, 0.0, 1.0]), np.ones(n)

    def at(dx: Array | float, dy: float, dz: float) -> Array:
        return np.stack([x + dx, y + dy * d, z + dz * h], 1)

    def block(across: float, deep: float, tall: float) -> Bodies:
        body = ellipsoid(at(0.0, 0.0, 0.0), np.stack([across * a, deep * d * one, 0.12 * h * one], 1))
        return body.cut(up, z + tall * h).cut(-up, tall * h - z)

    spinous = np.stack([0.10 * a + 0.05, 0.09 * d * one, 0.036 * h * one], 1)
    parts = [(block(1.0, 0.155, 0.040), 0.62), (block(0.86, 0.135, 0.031), -0.34),
             (ellipsoid(at(0.0, 0.25, -0.035), spinous, turn("x", -25)), 0.9)]  # fmt: skip
    chest = z > -0.45 * h
    for s in SIDES.values():
        pedicle = np.stack([0.19 * a, 0.08 * d * one, 0.021 * h * one], 1)
        transverse = np.stack([0.6 * a, 0.055 * d * one, 0.014 * h * one], 1)
        parts.append((ellipsoid(at(s * 0.62 * a, 0.16, 0.012), pedicle), 0.9))
        parts.append((ellipsoid(at(s * 1.25 * a, 0.2, 0.008), transverse, turn("y", -s * 12))[chest], 0.7))
    return parts
