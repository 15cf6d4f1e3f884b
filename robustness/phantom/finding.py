"""The contract and the registry of findings: what a disease does to the optical depth of the lungs, and to the chest.

A new finding is one function with the decorator `finding`; it receives the scene and returns what it did to every ray.
Import the module it lives in from findings.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .anatomy import Change
from .patient import Patient, stream
from .projection import Scene

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
        posture: "upright" or "supine"; only an AP film is taken lying down, and only fluid shows it.
    """

    name: str
    side: str = "right"
    extent: float = 0.5
    density: float = 0.8
    lobe: str = ""
    posture: str = "upright"

    def __post_init__(self) -> None:
        if self.name not in _KINDS:
            raise ValueError(f"unknown finding {self.name!r}; known: {', '.join(_KINDS)}")
        if self.side not in {"right", "left", "both"}:
            raise ValueError(f"side={self.side!r} must be 'right', 'left' or 'both'")
        if self.posture not in {"upright", "supine"}:
            raise ValueError(f"posture={self.posture!r} must be 'upright' or 'supine'")
        for name in ("extent", "density"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name}={value!r} must lie between 0 and 1")
        if self.lobe and self.lobe not in LOBES.get(self.side, ()):
            raise ValueError(f"unknown lobe {self.lobe!r} of side {self.side!r}; known: {LOBES.get(self.side, ())}")


@dataclass(frozen=True)
class Effect:
    """What a finding did on a film.

    Attributes:
        depth: (H, W) optical depth added (negative where tissue was lost).
        vessels: (H, W) share of the lung vessels that can still be seen, or None for all.
    """

    depth: Tensor
    vessels: Tensor | None = None


Act = Callable[[Scene, Finding, np.random.Generator], Effect]


@dataclass(frozen=True)
class _Kind:
    effect: Act
    extent: tuple[float, float]
    density: tuple[float, float]
    change: Callable[[Finding], Change]


_KINDS: dict[str, _Kind] = {}


def _unchanged(_: Finding) -> Change:
    return Change()


def finding(
    name: str,
    *,
    extent: tuple[float, float] = (0.0, 1.0),
    density: tuple[float, float] = (1.0, 1.0),
    change: Callable[[Finding], Change] = _unchanged,
) -> Callable[[Act], Act]:
    """Register a finding: its name, the ranges its numbers are drawn from, and how it moves the chest."""

    def register(effect: Act) -> Act:
        _KINDS[name] = _Kind(effect, extent, density, change)
        return effect

    return register


def known() -> tuple[str, ...]:
    """Return the names of all registered findings."""
    return tuple(_KINDS)


def draw_finding(patient: Patient, name: str) -> Finding:
    """Draw side, lobe, extent and density of a finding for one film of a patient, always the same for the same film.

    Raises:
        ValueError: for an unknown finding, naming the known ones.
    """
    if name not in _KINDS:
        raise ValueError(f"unknown finding {name!r}; known: {', '.join(_KINDS)}")
    kind = _KINDS[name]
    rng = stream(patient.identity, patient.seed, patient.film, name, "finding")
    both = name in {"normal", "interstitial", "whiteout_bilateral"}
    side = str(rng.choice(["right", "left"], p=[0.58, 0.42]))
    lobe = str(rng.choice(LOBES[side], p=[0.34, 0.26, 0.40])) if name == "lobar" else ""
    extent, density = float(rng.uniform(*kind.extent)), float(rng.uniform(*kind.density))
    posture = str(rng.choice(["upright", "supine"], p=[0.6, 0.4])) if name.endswith("effusion") else "upright"
    return Finding(name, "both" if both else side, extent, density, lobe, posture)


def change_of(found: Finding) -> Change:
    """Return how a finding moves mediastinum and diaphragm."""
    return _KINDS[found.name].change(found)


def effect_of(scene: Scene, found: Finding) -> Effect:
    """Return what a finding does to the rays of a scene."""
    p = scene.patient
    return _KINDS[found.name].effect(scene, found, stream(p.identity, p.seed, p.film, found.name, "shape"))
