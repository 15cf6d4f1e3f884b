"""From a patient's numbers to convex bodies: trunk, lungs with all that carves them, bones, airways, gas.

The patient's coordinates in cm: x to the patient's left, y backwards, z up; the origin lies in the middle of the chest.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .geometry import Bodies, ellipsoid, join, tube, turn
from .patient import Patient, stream

DOME = 0.36  # height of a dome above its widest level, fraction of the lung height
SIDES = {"right": -1.0, "left": 1.0}


@dataclass(frozen=True)
class Change:
    """How a finding moves healthy anatomy, as fractions of the inner half width (x) or of the lung height (z)."""

    mediastinum: float = 0.0  # to the patient's left
    dome: dict[str, float] = field(default_factory=lambda: {"right": 0.0, "left": 0.0})  # upwards


@dataclass(frozen=True)
class Frame:
    """The few lengths everything else is placed by."""

    width: float  # inner half width
    depth: float  # inner half depth
    height: float  # lungs
    base: float  # z of the plane where the rib cage is widest
    shift: float  # of the mediastinum, cm to the left
    dome: dict[str, float]  # z of the top of each half of the diaphragm

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
    )


def cage(f: Frame, thickness: float = 0.0) -> Bodies:
    """Return the inner surface of the rib cage, moved outwards by `thickness` cm."""
    return ellipsoid([0, 0, f.base], [f.width + thickness, f.depth + thickness, 1.0 * f.height + thickness])


def lung(f: Frame, patient: Patient, side: str) -> Bodies:
    """Return the bodies whose common part one lung would fill if nothing carved it."""
    s = SIDES[side]
    lean = -s * patient.apex_lean * f.width / (0.85 * f.height)
    own = ellipsoid([s * 0.51 * f.width, 0.02 * f.depth, f.base], [0.53 * f.width, 0.97 * f.depth, 0.85 * f.height], shear=lean)
    # Below the dome's widest level there is belly only.
    own = own.cut([-s, 0, 0], -0.04 * f.width).cut([0, 0, -1], DOME * f.height - f.dome[side])
    return join(own, cage(f))


def heart(f: Frame, patient: Patient) -> Bodies:
    """Return ventricles and right atrium."""
    scale = patient.cardiothoracic_ratio / 0.52
    floor = 0.5 * (f.dome["right"] + f.dome["left"])
    x = f.shift
    return join(
        ellipsoid(
            [x + 0.22 * scale * f.width, -0.38 * f.depth, floor + 0.135 * f.height],
            [0.50 * scale * f.width, 0.50 * f.depth, 0.205 * f.height * scale],
            turn("y", patient.heart_axis * 0.8) @ turn("z", 14),
        ),
        ellipsoid(
            [x - 0.10 * f.width * scale, -0.12 * f.depth, floor + 0.16 * f.height],
            [0.235 * scale * f.width, 0.40 * f.depth, 0.20 * f.height * scale],
            turn("y", -12),
        ),
    )


def carvers(f: Frame, patient: Patient, side: str) -> Bodies:
    """Return what takes room from one lung beside the heart: mediastinum, spine, vessels, diaphragm, thymus."""
    s, x = SIDES[side], f.shift
    adult = patient.age_group == "adult"
    top = f.dome[side]
    bodies = [
        ellipsoid([x * 0.8, 0.10 * f.depth, 0.10 * f.height], [0.18 * patient.mediastinum * f.width, 0.72 * f.depth, 0.80 * f.height]),
        ellipsoid([0, 0.84 * f.depth, -0.1 * f.height], [0.20 * f.width, 0.36 * f.depth, 1.3 * f.height]),
        ellipsoid([s * 0.49 * f.width, -0.06 * f.depth, top - DOME * f.height], [0.56 * f.width, 1.02 * f.depth, DOME * f.height]),
    ]
    if side == "left":
        knob = 0.105 if adult else 0.075
        bodies += [
            ellipsoid([x + 0.13 * f.width, 0.22 * f.depth, 0.235 * f.height], [knob * f.width, 0.3 * f.depth, 0.062 * f.height]),
            ellipsoid([x + 0.09 * f.width, -0.2 * f.depth, 0.08 * f.height], [0.175 * patient.mediastinum * f.width, 0.34 * f.depth, 0.16 * f.height], turn("y", 14)),
            ellipsoid([x * 0.7 + 0.13 * f.width, 0.52 * f.depth, -0.1 * f.height], [0.085 * f.width, 0.13 * f.depth, 0.42 * f.height]),
        ]
    else:
        bodies.append(ellipsoid([x - 0.11 * f.width, -0.1 * f.depth, 0.22 * f.height], [0.13 * patient.mediastinum * f.width, 0.2 * f.depth, 0.26 * f.height]))
    if patient.thymus > 0.15:
        t = patient.thymus
        bodies.append(
            ellipsoid([x + 0.03 * f.width, -0.6 * f.depth, 0.2 * f.height],
                      [0.30 * t**0.5 * f.width, 0.3 * f.depth, 0.15 * t**0.3 * f.height])
        )  # fmt: skip
    return join(*bodies)


def trunk(f: Frame, patient: Patient, *, arms_up: bool) -> Bodies:
    """Return the overlapping bodies that make the outer shape of trunk, neck, head, shoulders and arms."""
    a, b, h = patient.half_width, patient.half_depth, f.height
    child = patient.age_group == "child"
    bodies = [
        ellipsoid([0, 0, f.base], [a, b, 1.04 * h + patient.wall]),
        ellipsoid([0, -0.03 * b, -1.0 * h], [0.985 * a, 0.99 * b, 1.1 * h]),
        ellipsoid([0, 0.12 * b, 0.85 * h], [(0.34 if child else 0.33) * a, 0.58 * b, 0.6 * h]),
        ellipsoid([0, -0.10 * b, (1.13 if child else 1.25) * h], [(0.60 if child else 0.42) * a, 0.95 * b, 0.36 * h]),
        ellipsoid([0, 0.24 * b, 0.36 * h], [0.98 * a, 0.50 * b, 0.22 * h]),
    ]
    for s in (-1.0, 1.0):
        bodies.append(ellipsoid([s * 0.50 * a, 0.18 * b, 0.52 * h], [0.66 * a, 0.40 * b, 0.13 * h], turn("y", s * 20)))
        joint = np.array([s * 0.98 * a, 0.12 * b, 0.36 * h])
        if arms_up:
            bodies.append(ellipsoid([s * 0.80 * a, 0.05 * b, 0.74 * h], [0.25 * a, 0.46 * b, 0.42 * h], turn("x", 14)))
        else:
            angle = patient.exposure.arms
            direction = turn("y", -s * angle) @ np.array([s, 0, 0])
            bodies.append(ellipsoid(joint + 0.80 * a * direction, [1.25 * a, 0.33 * a, 0.27 * a], turn("y", -s * angle)))
            bodies.append(ellipsoid(joint - [s * 0.10 * a, 0, 0.02 * h], [0.36 * a, 0.5 * b, 0.18 * h]))
            # Muscles that close the armpit in front and behind.
            bodies.append(ellipsoid([s * 0.90 * a, 0.20 * b, 0.16 * h], [0.20 * a, 0.52 * b, 0.34 * h], turn("y", s * 8)))
        if patient.breast > 0.2:
            w = patient.breast
            bodies.append(
                ellipsoid([s * 0.50 * a, -0.60 * b, -0.22 * h], [0.44 * a, (0.38 + 0.12 * w) * b, (0.17 + 0.05 * w) * h], turn("x", -12))
            )
    return join(*bodies)


def airways(f: Frame, patient: Patient) -> Bodies:
    """Return trachea and main bronchi (they replace soft tissue of the mediastinum)."""
    radius = np.interp(patient.age, (1, 3, 5, 18), (0.32, 0.40, 0.45, 0.85))
    x = f.shift
    carina = [x - 0.015 * f.width, 0.12 * f.depth, 0.15 * f.height]
    trachea = tube([[0, -0.12 * f.depth, 0.85 * f.height], [x * 0.6 - 0.01 * f.width, 0.02 * f.depth, 0.45 * f.height], carina], radius)
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
