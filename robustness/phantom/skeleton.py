"""Bones, added to the soft tissue they lie in: the extra optical depth of a bone is (mu_bone - mu_soft) times its chord.

Ribs are bands of an ellipsoidal shell between two parallel planes, as in the stylised phantoms of Oak Ridge; everything
else is made of capped quadrics.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .anatomy import SIDES, Frame, cage
from .geometry import Body, ConeBeam, ellipsoid, tube, turn
from .patient import Patient

VERTEBRAE = 15


def vertebra_levels(f: Frame) -> np.ndarray:
    """Return the heights (cm) of the middles of the vertebral bodies from the lower neck downwards."""
    return (0.66 - 0.104 * np.arange(VERTEBRAE)) * f.height


def spine_at(f: Frame, patient: Patient, z: float) -> tuple[float, float]:
    """Return (x, y) of the spine's axis at a height: a little scoliosis, a thoracic kyphosis."""
    t = z / f.height
    return patient.scoliosis * f.width * np.sin(3.3 * t + 0.4), f.depth * (0.80 - 0.33 * (t + 0.1) ** 2)


def ribs(beam: ConeBeam, f: Frame, patient: Patient) -> Tensor:
    """Return the chord (H, W; cm of bone, marrow counted half) through all ribs."""
    adult = patient.age_group == "adult"
    thick = (0.42 if adult else 0.26) * patient.rib_size * f.width / (14.0 if adult else 8.2)
    tall = (1.15 if adult else 0.60) * patient.rib_size * f.height / (25.0 if adult else 13.0)
    total = torch.zeros(beam.size, beam.size, device=beam.device)
    surfaces = [cage(f, thick), cage(f)]
    levels = vertebra_levels(f)
    for s in SIDES.values():
        # The bony rib ends before the breastbone, higher ribs nearer to it; cartilage is as dense as soft tissue.
        slant = np.array([s * 0.55 / f.width, 0.62 / f.depth, 0.42 / f.height])
        half = [body.cut([-s, 0, 0], -0.09 * f.width).cut(-slant, 0.36) for body in surfaces]
        edges = np.array([[x * s * f.width, y * f.depth, 0.0] for x in (0.05, 1.06) for y in (-1.0, 1.0)])
        columns = beam.project(edges)[0]
        across = slice(max(0, int(columns.min()) - 3), max(1, min(beam.size, int(columns.max()) + 4)))
        (outer, inner), (outer_end, inner_end) = beam.intervals(half, (slice(None), across))
        tilt = np.array([s * patient.rib_tilt, -patient.rib_slope, 1.0])
        start, rate = beam.plane(tilt)
        inverse = rate[:, across].reciprocal()
        middle, spread = start[:, across].mul(inverse).neg_(), inverse.abs()
        for k in range(2, 13):
            x, y = spine_at(f, patient, levels[k])
            foot = float(tilt @ [x, y, levels[k] + 0.02 * f.height])
            rows = _rows(beam, f, patient, foot, tall)
            if rows is None:
                continue
            grow = float(np.interp(k, (2, 4, 9, 12), (0.75, 1.0, 1.0, 0.8)))
            centre = torch.add(middle[rows], inverse[rows], alpha=foot)
            # Less in the middle than at both borders, where the beam runs along the cortex.
            for share, weight in ((1.0, 1.0), (0.58, -0.5)):
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


def bones(f: Frame, patient: Patient, *, arms_up: bool) -> tuple[list[Body], list[float]]:
    """Return spine, clavicles, scapulae, breastbone and upper arms with their share of full bone."""
    bodies: list[Body] = []
    weights: list[float] = []

    def add(new: list[Body], weight: float) -> None:
        bodies.extend(new)
        weights.extend([weight] * len(new))

    w, d, h = f.width, f.depth, f.height
    for z in vertebra_levels(f):
        _add_vertebra(add, f, patient, float(z))
    add([ellipsoid([0, -0.97 * d, 0.06 * h], [0.13 * w, 0.055 * d, 0.27 * h], turn("x", -6))], 0.8)
    thin = (0.33 if patient.age_group == "adult" else 0.34) * w / 8.2
    for s in SIDES.values():
        add_tube = lambda points, r, hollow, weight=1.0: (  # noqa: E731
            add(tube(points, r), weight), add(tube(points, np.asarray(r) * hollow), -0.75 * weight))  # fmt: skip
        line = [(0.10, -0.80, 0.40), (0.24, -0.86, 0.425), (0.40, -0.80, 0.46), (0.58, -0.58, 0.485),
                (0.76, -0.30, 0.495), (0.92, -0.12, 0.49), (1.02, -0.05, 0.475)]  # fmt: skip
        clavicle = [f.at(s * x, y, z) for x, y, z in line]
        add_tube(clavicle, np.array([1.0, 0.8, 0.72, 0.72, 0.8, 0.95]) * thin, 0.55)
        if arms_up:
            blade = turn("x", 4)
            add([ellipsoid(f.at(s * 0.72, 1.12, 0.2), [0.34 * w, 0.045 * d, 0.25 * h], blade)], 0.45)
            continue
        blade = turn("y", s * 8) @ turn("z", s * 32)
        add([ellipsoid(f.at(s * 0.86, 0.92, 0.20), [0.30 * w, 0.05 * d, 0.26 * h], blade)], 0.40)
        add(tube([f.at(s * 0.72, 0.95, -0.03), f.at(s * 0.90, 0.85, 0.15), f.at(s * 1.06, 0.5, 0.34)], 0.055 * w), 0.6)
        add(tube([f.at(s * 0.62, 1.0, 0.38), f.at(s * 0.85, 0.85, 0.445), f.at(s * 1.12, 0.35, 0.49)], 0.05 * w), 0.6)
        add([ellipsoid(f.at(s * 1.07, 0.3, 0.375), [0.075 * w, 0.14 * d, 0.075 * h])], 0.6)
        direction = turn("y", -s * patient.exposure.arms) @ np.array([s, 0.0, 0.0])
        joint = np.array([s * 1.0 * patient.half_width, 0.12 * patient.half_depth, 0.39 * h])
        head = joint + direction * 0.1 * w
        add([ellipsoid(head, [0.155 * w] * 3)], 0.55)
        add_tube([head + direction * 0.17 * w, head + direction * 0.5 * w, head + direction * 2.2 * w], np.array([0.115, 0.095]) * w, 0.6)
    return bodies, weights


def _add_vertebra(put: Callable[[list[Body], float], None], f: Frame, patient: Patient, z: float) -> None:
    """Add one vertebra: body with denser end plates, pedicles, transverse and spinous processes."""
    w, d, h = f.width, f.depth, f.height
    x, y = spine_at(f, patient, z)
    adult = patient.age_group == "adult"
    a = (0.125 if adult else 0.135) * w * np.interp(z / h, (-0.7, 0.7), (1.15, 0.85))
    body = ellipsoid([x, y, z], [a, 0.155 * d, 0.12 * h])
    up = np.array([0.0, 0.0, 1.0])
    body = body.cut(up, z + 0.040 * h).cut(-up, 0.040 * h - z)
    core = ellipsoid([x, y, z], [0.86 * a, 0.135 * d, 0.12 * h]).cut(up, z + 0.030 * h).cut(-up, 0.030 * h - z)
    put([body], 0.75)
    put([core], -0.35)
    put([ellipsoid([x, y + 0.28 * d, z - 0.035 * h], [0.10 * a + 0.05, 0.11 * d, 0.036 * h], turn("x", -25))], 0.9)
    for s in SIDES.values():
        put([ellipsoid([x + s * 0.62 * a, y + 0.16 * d, z + 0.012 * h], [0.19 * a, 0.08 * d, 0.021 * h])], 0.9)
        if z > -0.45 * h:
            put([ellipsoid([x + s * 1.25 * a, y + 0.2 * d, z + 0.008 * h], [0.6 * a, 0.055 * d, 0.014 * h], turn("y", -s * 12))], 0.7)
