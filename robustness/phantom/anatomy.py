"""From a patient's numbers to convex bodies: trunk, lungs with all that carves them, bones, airways, gas.

The patient's coordinates in cm: x to the patient's left, y backwards, z up; the origin lies in the middle of the chest.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .geometry import Array, Bodies, ellipsoid, join, tube, turn
from .patient import Patient, stream

DOME = 0.36  # height of a dome above its widest level, fraction of the lung height
SIDES = {"right": -1.0, "left": 1.0}


@dataclass(frozen=True)
class Change:
    """How a finding moves healthy anatomy, as fractions of the inner half width (x) or of the lung height (z)."""

    mediastinum: float = 0.0  # to the patient's left
    dome: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SIDES, 0.0))  # upwards
    crowding: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SIDES, 0.0))  # of ribs, fall per cm added


@dataclass(frozen=True)
class Frame:
    """The few lengths everything else is placed by."""

    width: float  # inner half width
    depth: float  # inner half depth
    height: float  # lungs
    base: float  # z of the plane where the rib cage is widest
    shift: float  # of the mediastinum, cm to the left
    dome: dict[str, float]  # z of the top of each half of the diaphragm
    crowding: dict[str, float]  # by how much steeper than the patient's the ribs of a side fall, per cm

    def at(self, x: float, y: float, z: float) -> list[float]:
        """Return the point at these fractions of inner half width, inner half depth and lung height."""
        return [x * self.width, y * self.depth, z * self.height]


def frame(patient: Patient, change: Change) -> Frame:
    """Return the reference lengths of a patient."""
    h = patient.lung_height
    top = (-0.5 + patient.dome_height - patient.exposure.inspiration) * h
    return Frame(
        width=patient.inner_width,
        depth=patient.inner_depth,
        height=h,
        base=-0.35 * h,
        shift=change.mediastinum * patient.inner_width,
        dome={"right": top + change.dome["right"] * h, "left": top + (change.dome["left"] - patient.dome_drop) * h},
        crowding=change.crowding,
    )


def cage(f: Frame, thickness: float = 0.0) -> Bodies:
    """Return the inner surface of the rib cage, moved outwards by `thickness` cm."""
    return ellipsoid([0, 0, f.base], [f.width + thickness, f.depth + thickness, 1.0 * f.height + thickness])


def room(f: Frame, side: str) -> float:
    """Return how far (cm) a lung follows a mediastinum that moves away from it, across the midline."""
    return max(0.0, -SIDES[side] * f.shift)


def lung(f: Frame, patient: Patient, side: str) -> Bodies:
    """Return the bodies whose common part one lung would fill if nothing carved it."""
    s = SIDES[side]
    lean = -s * patient.apex_lean * f.width / (0.85 * f.height)
    grown = room(f, side)
    own = ellipsoid(
        [s * (0.51 * f.width - grown / 2), 0.02 * f.depth, f.base],
        [0.53 * f.width + grown / 2, 0.97 * f.depth, 0.85 * f.height], shear=lean,
    )  # fmt: skip
    # Below the dome's widest level there is belly only.
    # The lungs part in a plane that a shift turns, most in front, so that no ray runs along it.
    own = own.cut([-s, -0.7 * s * f.shift / f.depth, 0], -0.04 * f.width - 0.5 * s * f.shift).cut(
        [0, 0, -1], DOME * f.height - f.dome[side]
    )
    return join(own, cage(f))


def heart(f: Frame, patient: Patient) -> Bodies:
    """Return ventricles and right atrium."""
    scale = patient.cardiothoracic_ratio / 0.52
    floor = 0.5 * (f.dome["right"] + f.dome["left"])
    x = f.shift
    return _ellipsoids([
        ([x + 0.22 * scale * f.width, -0.38 * f.depth, floor + 0.135 * f.height],
         f.at(0.50 * scale, 0.50, 0.205 * scale), turn("y", patient.heart_axis * 0.8) @ turn("z", 14)),
        ([x - 0.10 * scale * f.width, -0.12 * f.depth, floor + 0.16 * f.height],
         f.at(0.235 * scale, 0.40, 0.20 * scale), turn("y", -12)),
    ])  # fmt: skip


def carvers(f: Frame, patient: Patient, side: str) -> Bodies:
    """Return what takes room from one lung beside the heart: mediastinum, spine, vessels, diaphragm, thymus."""
    s, x, at = SIDES[side], f.shift / f.width, f.at
    grown = room(f, side) / f.width
    m, one = patient.mediastinum, np.eye(3)
    rows: list[tuple[list[float], list[float], Array]] = [
        (at(0.8 * x, 0.10, 0.10), at(0.18 * m, 0.72, 0.80), one),  # mediastinum
        (at(0.0, 0.84, -0.1), at(0.20, 0.36, 1.3), one),  # spine and its muscles
        (
            [s * (0.49 - grown / 2) * f.width, -0.06 * f.depth, f.dome[side] - DOME * f.height],
            at(0.56 + grown / 2, 1.02, DOME),
            one,
        ),
    ]
    if side == "left":
        knob = 0.105 if patient.age_group == "adult" else 0.075
        rows += [
            (at(x + 0.13, 0.22, 0.235), at(knob, 0.3, 0.062), one),  # aortic arch
            (at(x + 0.09, -0.2, 0.08), at(0.175 * m, 0.34, 0.16), turn("y", 14)),  # pulmonary trunk
            (at(0.7 * x + 0.13, 0.52, -0.1), at(0.085, 0.13, 0.42), one),  # descending aorta
        ]
    else:
        rows.append((at(x - 0.11, -0.1, 0.22), at(0.13 * m, 0.2, 0.26), one))  # superior vena cava
    if patient.thymus > 0.15:
        t = patient.thymus
        rows.append((at(x + 0.03, -0.6, 0.2), at(0.30 * t**0.5, 0.3, 0.15 * t**0.3), one))
    return _ellipsoids(rows)


def trunk(f: Frame, patient: Patient, *, arms_up: bool) -> Bodies:
    """Return the overlapping bodies that make the outer shape of trunk, neck, head, shoulders and arms."""
    a, b, h = patient.half_width, patient.half_depth, f.height
    child = patient.age_group == "child"
    wide = 0.60 if child else 0.42
    one = np.eye(3)
    middle: list[tuple[list[float], list[float], Array]] = [
        ([0, 0, f.base], [a, b, 1.04 * h + patient.wall], one),
        ([0, -0.03 * b, -1.0 * h], [0.985 * a, 0.99 * b, 1.1 * h], one),  # belly
        ([0, 0.12 * b, 0.85 * h], [0.34 * a, 0.58 * b, 0.6 * h], one),  # neck
        ([0, -0.10 * b, (1.13 if child else 1.25) * h], [wide * a, 0.95 * b, 0.36 * h], one),  # jaw
        ([0, 0.24 * b, 0.36 * h], [0.98 * a, 0.50 * b, 0.24 * h], one),  # shoulder girdle
    ]
    left: list[tuple[list[float], list[float], Array]] = [
        ([0.50 * a, 0.18 * b, 0.52 * h], [0.66 * a, 0.40 * b, 0.13 * h], turn("y", 20)),  # trapezius
    ]
    if arms_up:
        left.append(([0.80 * a, 0.05 * b, 0.74 * h], [0.25 * a, 0.46 * b, 0.42 * h], turn("x", 14)))
    else:
        lifted = turn("y", -patient.exposure.arms)
        x, y, z = 0.80 * a * lifted[:, 0]
        left += [
            ([0.98 * a + x, 0.12 * b + y, 0.36 * h + z], [1.25 * a, 0.33 * a, 0.27 * a], lifted),  # upper arm
            ([0.88 * a, 0.12 * b, 0.34 * h], [0.36 * a, 0.5 * b, 0.18 * h], one),  # shoulder
            ([0.90 * a, 0.20 * b, 0.16 * h], [0.20 * a, 0.52 * b, 0.34 * h], turn("y", 8)),  # armpit
        ]
    if patient.breast > 0.35:
        w = patient.breast
        size = [0.33 * a, (0.42 + 0.12 * w) * b, (0.17 + 0.05 * w) * h]
        left.append(([0.42 * a, -0.58 * b, -0.24 * h], size, turn("x", -12)))
    side = _ellipsoids(left)
    return join(_ellipsoids(middle), side, side.mirrored())


def _ellipsoids(rows: list[tuple[list[float], list[float], Array]]) -> Bodies:
    """Return ellipsoids from rows of centre, semi-axes and rotation."""
    centres, axes, rotations = zip(*rows, strict=True)
    return ellipsoid(np.array(centres), np.array(axes), np.stack(rotations))


def airways(f: Frame, patient: Patient) -> Bodies:
    """Return trachea and main bronchi (they replace soft tissue of the mediastinum)."""
    radius = np.interp(patient.age, (1, 3, 5, 18), (0.32, 0.40, 0.45, 0.85))
    x = f.shift
    carina = [x - 0.015 * f.width, 0.12 * f.depth, 0.15 * f.height]
    trachea = tube(
        [[0, -0.12 * f.depth, 0.85 * f.height], [x * 0.6 - 0.01 * f.width, 0.02 * f.depth, 0.45 * f.height], carina],
        radius,
    )
    right = tube([carina, [x - 0.17 * f.width, 0.16 * f.depth, 0.045 * f.height]], radius * 0.72)
    left = tube([carina, [x + 0.22 * f.width, 0.18 * f.depth, 0.06 * f.height]], radius * 0.66)
    return join(trachea, right, left)


def gas(f: Frame, patient: Patient) -> Bodies | None:
    """Return gas in stomach and colon, below the left dome, if there is any."""
    size = patient.stomach_gas
    if size < 0.15:
        return None
    rng = stream(patient.identity, patient.seed, patient.film, "gas")
    stomach = ellipsoid(
        [0.42 * f.width, -0.25 * f.depth, f.dome["left"] - (0.10 + 0.05 * size) * f.height],
        [0.23 * size * f.width, 0.30 * size * f.depth, 0.065 * size * f.height], turn("y", -10),
    )  # fmt: skip
    n = int(3 + 4 * size)
    unit = np.array([f.width, f.depth, f.height])
    places = rng.uniform([-0.75, -0.6, -0.80], [0.75, -0.1, -0.55], (n, 3))
    return join(stomach, ellipsoid(places * unit, np.abs(rng.normal([0.09, 0.12, 0.04], 0.02, (n, 3))) * unit))
