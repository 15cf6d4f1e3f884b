"""Who is filmed and how: the numbers of one patient's anatomy and of one exposure, drawn reproducibly.

Lengths in cm. Sizes follow the stylised phantoms of Cristy and Eckerman (ORNL/TM-8381), heart sizes Simon (1972) and
Chia (2022); how much they vary from patient to patient is an engineering choice.
How a film was taken is drawn without knowing the finding, so that brightness, sharpness and borders tell nothing of it.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields

import numpy as np

AGE_GROUPS = ("child", "adult")


def stream(*key: object) -> np.random.Generator:
    """Return a random generator that depends on the key alone (identity, seed, purpose), never on global state."""
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return np.random.Generator(np.random.Philox(int.from_bytes(digest[:16], "little")))


def _check(owner: object, ranges: dict[str, tuple[float, float]]) -> None:
    for name, (low, high) in ranges.items():
        value = getattr(owner, name)
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(f"{name}={value!r} is impossible; it must lie between {low:g} and {high:g}")


_EXPOSURE_RANGES = {
    "rotation": (-30.0, 30.0), "roll": (-30.0, 30.0), "tilt": (-20.0, 20.0), "inspiration": (-0.5, 0.5),
    "zoom": (0.5, 2.0), "shift_right": (-0.4, 0.4), "shift_up": (-0.4, 0.4), "energy_kev": (45.0, 80.0),
    "photons": (1.0, 1e9), "scatter": (0.0, 5.0), "blur": (0.05, 5.0), "detail": (0.0, 3.0), "gamma": (0.2, 5.0),
    "black": (0.0, 0.5), "white": (0.5, 1.0), "window_low": (0.0, 30.0), "window_high": (70.0, 100.0),
    "collimation_left": (0.0, 0.4), "collimation_right": (0.0, 0.4), "collimation_top": (0.0, 0.4),
    "collimation_bottom": (0.0, 0.4), "marker_size": (0.0, 0.2), "arms": (-80.0, 80.0),
}  # fmt: skip


@dataclass(frozen=True)
class Exposure:
    """How one film was taken; every number is independent of the finding."""

    rotation: float  # degrees about the long axis
    roll: float  # degrees in the plane of the film
    tilt: float  # degrees of lordosis
    inspiration: float  # fraction of the lung height by which the domes sink
    zoom: float  # field over the standard field
    shift_right: float  # of the beam, fraction of the field
    shift_up: float
    arms: float  # degrees above the horizontal
    energy_kev: float  # effective
    photons: float  # per pixel where the patient is thinnest, at 256 px
    scatter: float  # strength of the scatter kernel
    blur: float  # detector and motion, sigma in pixels at 256 px
    detail: float  # strength of the edge enhancement of the display
    gamma: float
    black: float  # display levels at both ends of the window
    white: float
    window_low: float  # percentiles of the exposed patient at both ends of the window
    window_high: float
    collimation_left: float  # black border, fraction of the side
    collimation_right: float
    collimation_top: float
    collimation_bottom: float
    marker: str  # "L", "R" or ""
    marker_size: float  # fraction of the side
    marker_up: float  # place along its edge, 0 bottom to 1 top

    def __post_init__(self) -> None:
        _check(self, _EXPOSURE_RANGES)
        if self.marker not in {"L", "R", ""}:
            raise ValueError(f"marker={self.marker!r} must be 'L', 'R' or '' (none)")


_PATIENT_RANGES = {
    "age": (0.5, 100.0), "half_width": (5.0, 30.0), "half_depth": (3.5, 22.0), "wall": (0.4, 6.0),
    "lung_height": (6.0, 40.0), "cardiothoracic_ratio": (0.3, 0.8), "heart_axis": (0.0, 80.0), "rib_slope": (0.15, 0.9),
    "rib_tilt": (0.0, 0.8), "rib_size": (0.3, 2.0), "mineral": (0.05, 0.9), "thymus": (0.0, 2.0), "fat": (0.0, 5.0),
    "scoliosis": (-0.2, 0.2), "dome_height": (0.05, 0.5), "dome_drop": (-0.1, 0.2), "mediastinum": (0.3, 2.5),
    "apex_lean": (0.0, 0.4), "vascularity": (0.0, 4.0),
    "stomach_gas": (0.0, 1.5), "breast": (0.0, 2.0), "film": (0, 10**9), "seed": (-(2**63), 2**63),
}  # fmt: skip


@dataclass(frozen=True)
class Patient:
    """One patient before one exposure. `film` counts the exposures: same anatomy, another `Exposure`."""

    identity: str
    seed: int
    film: int
    age_group: str
    age: float  # years
    half_width: float  # of the trunk
    half_depth: float
    wall: float  # skin to lung
    lung_height: float
    cardiothoracic_ratio: float
    heart_axis: float  # degrees below the horizontal
    rib_slope: float  # fall per cm towards the front
    rib_tilt: float  # fall per cm towards the side
    rib_size: float  # over the standard size
    mineral: float  # volume fraction of cortical bone
    thymus: float  # over the standard size at one year
    fat: float  # thickness under the skin
    scoliosis: float  # fraction of the inner half width
    dome_height: float  # of the diaphragm, fraction of the lung height
    dome_drop: float  # left below right, fraction of the lung height
    mediastinum: float  # width over the standard width
    apex_lean: float  # inwards, fraction of the inner half width
    vascularity: float
    stomach_gas: float
    breast: float
    exposure: Exposure

    def __post_init__(self) -> None:
        if self.age_group not in AGE_GROUPS:
            raise ValueError(f"unknown age group {self.age_group!r}; known: {', '.join(AGE_GROUPS)}")
        _check(self, _PATIENT_RANGES)
        if self.wall >= 0.4 * self.half_depth:
            raise ValueError(
                f"wall={self.wall!r} leaves no room for lungs; it must be below {0.4 * self.half_depth:g} cm"
            )

    @property
    def inner_width(self) -> float:
        """Return the half width of the rib cage in cm."""
        return self.half_width - self.wall

    @property
    def inner_depth(self) -> float:
        """Return the half depth of the rib cage in cm."""
        return self.half_depth - self.wall

    def numbers(self) -> dict[str, float | str]:
        """Return every parameter by name, those of the exposure included."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "exposure"}
        return {**own, **{f.name: getattr(self.exposure, f.name) for f in fields(self.exposure)}}


def sample_patient(identity: str, seed: int, age_group: str = "child", *, film: int = 0) -> Patient:
    """Draw a patient and one exposure, always the same for the same arguments.

    Args:
        identity: who; two identities are two different patients.
        seed: of the whole cohort.
        age_group: "child" (1 to 5 years) or "adult".
        film: 0 for the first film of this patient, 1 for the next ...; the anatomy stays.

    Raises:
        ValueError: for an unknown age group.
    """
    if age_group not in AGE_GROUPS:
        raise ValueError(f"unknown age group {age_group!r}; known: {', '.join(AGE_GROUPS)}")
    rng = stream(identity, seed, age_group, "anatomy")
    child = age_group == "child"
    age = _age(rng, age_group)

    def grown(*values: float) -> float:
        return float(np.interp(age, (1.0, 3.0, 5.0, 18.0), values))

    habitus = float(rng.normal(0.0, 0.06))
    body = float(rng.normal(1.0, 0.04))

    def near(centre: float, spread: float, low: float, high: float) -> float:
        return float(np.clip(rng.normal(centre, spread), low, high))

    anatomy = {
        "age": age,
        "half_width": grown(8.4, 9.3, 10.2, 16.0) * body * (1 + habitus),
        "half_depth": grown(6.2, 6.7, 7.4, 11.3) * body * (1 + 1.5 * habitus) * near(1.0, 0.03, 0.9, 1.1),
        "wall": grown(1.0, 1.1, 1.2, 2.0) * (1 + 2.5 * max(habitus, -0.1)) * near(1.0, 0.08, 0.8, 1.2),
        "lung_height": grown(11.0, 13.0, 15.0, 25.0) * body * near(1.0, 0.05, 0.87, 1.13),
        "cardiothoracic_ratio": near(grown(0.55, 0.52, 0.50, 0.46), 0.035, 0.4, 0.64),
        "heart_axis": near(32.0 if child else 40.0, 6.0, 15.0, 60.0),
        "rib_slope": near(grown(0.24, 0.28, 0.32, 0.48), 0.035, 0.17, 0.65),
        "rib_tilt": near(grown(0.22, 0.25, 0.28, 0.36), 0.05, 0.06, 0.55),
        "rib_size": near(1.0, 0.08, 0.8, 1.25),
        "mineral": near(grown(0.30, 0.35, 0.38, 0.47), 0.035, 0.2, 0.6),
        "thymus": near(grown(1.0, 0.75, 0.4, 0.0), 0.22, 0.0, 1.6) if child else 0.0,
        "fat": grown(0.35, 0.4, 0.4, 0.9) * (1 + 3 * max(habitus, -0.1)) * near(1.0, 0.15, 0.6, 1.5),
        "scoliosis": near(0.0, 0.022, -0.06, 0.06),
        "dome_height": near(0.22, 0.025, 0.15, 0.30),
        "dome_drop": near(0.03, 0.018, -0.02, 0.08),
        "mediastinum": near(1.0, 0.14, 0.7, 1.4),
        "apex_lean": near(0.15, 0.03, 0.06, 0.25),
        "vascularity": near(1.0, 0.15, 0.6, 1.5),
        "stomach_gas": near(0.55, 0.35, 0.0, 1.3),
        "breast": 0.0 if child else max(0.0, near(0.25, 0.5, -1.0, 1.4)),
    }
    return Patient(
        identity=identity, seed=seed, film=film, age_group=age_group, **anatomy,
        exposure=_sample_exposure(identity, seed, age_group, film),
    )  # fmt: skip


def age_of(identity: str, seed: int, age_group: str = "child") -> float:
    """Return the age in years that `sample_patient` gives a patient, without the rest of their anatomy."""
    return _age(stream(identity, seed, age_group, "anatomy"), age_group)


def _age(rng: np.random.Generator, age_group: str) -> float:
    return float(rng.uniform(1.0, 5.99) if age_group == "child" else np.clip(rng.normal(55, 17), 18, 92))


def _sample_exposure(identity: str, seed: int, age_group: str, film: int) -> Exposure:
    rng = stream(identity, seed, age_group, "exposure", film)
    child = age_group == "child"

    def near(centre: float, spread: float, low: float, high: float) -> float:
        return float(np.clip(rng.normal(centre, spread), low, high))

    def ratio(centre: float, spread: float, low: float, high: float) -> float:
        return float(np.clip(centre * np.exp(rng.normal(0.0, spread)), low, high))

    collimated = rng.random(4) < (0.3 if child else 0.2)
    border = np.where(collimated, rng.uniform(0.0, 0.09, 4), 0.0)
    return Exposure(
        rotation=near(0.0, 4.0 if child else 2.5, -12.0, 12.0),
        roll=near(0.0, 2.5 if child else 1.2, -8.0, 8.0),
        tilt=near(2.0, 3.0, -8.0, 10.0),
        inspiration=near(0.0, 0.035, -0.10, 0.07),
        zoom=near(1.0, 0.07, 0.85, 1.25),
        shift_right=near(0.0, 0.02, -0.06, 0.06),
        shift_up=near(0.0, 0.025, -0.07, 0.07),
        arms=near(-25.0, 30.0, -65.0, 60.0) if child else near(-62.0, 8.0, -75.0, -40.0),
        energy_kev=near(47.0, 1.5, 45.0, 52.0) if child else near(64.0, 4.0, 55.0, 75.0),
        photons=ratio(60_000.0, 0.6, 8_000.0, 400_000.0),
        scatter=ratio(0.30, 0.45, 0.05, 1.2),
        blur=ratio(0.55, 0.3, 0.3, 1.4),
        detail=ratio(1.5, 0.45, 0.25, 3.0),
        gamma=ratio(0.82, 0.13, 0.6, 1.2),
        black=float(rng.uniform(0.05, 0.24)),
        white=float(rng.uniform(0.80, 0.97)),
        window_low=float(rng.uniform(0.1, 1.5)),
        window_high=float(rng.uniform(98.8, 99.9)),
        collimation_left=float(border[0]),
        collimation_right=float(border[1]),
        collimation_top=float(border[2]),
        collimation_bottom=float(border[3]),
        marker=str(rng.choice(["R", "L", ""], p=[0.55, 0.25, 0.20])),
        marker_size=float(rng.uniform(0.03, 0.06)),
        marker_up=float(rng.uniform(0.55, 0.93)),
    )
