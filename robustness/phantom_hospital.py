"""What does another hospital change about simulated films? Its scanner, its processing and its patients, in numbers.

A hospital takes a patient and an exposure as the phantom draws them and changes them by known factors; who is ill, and
how, stays as drawn. Nothing here changes what the phantom itself draws. `twin` changes nothing: other patients, their
films taken alike, so whatever a subject loses there is chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from robustness.phantom import Patient, PhantomFilm, render, sample_patient
from robustness.phantom.patient import stream


@dataclass(frozen=True, kw_only=True)
class Hospital:
    """How films are taken elsewhere, each number over that of the phantom's own hospital unless it says otherwise.

    Attributes:
        gamma: of the scanner's response curve as displayed.
        photons: that reach a pixel; `scatter`: of the beam that arrives scattered; `blur`: of detector and motion.
        detail: strength of the edge enhancement; `window`: percentiles of the patient cut off at both ends, added.
        black, white: grey levels at the ends of the window, added.
        heavy: share of the patients who are heavier; `width`, `depth`, `fat` of these, over as drawn.
    """

    gamma: float = 1.0
    photons: float = 1.0
    scatter: float = 1.0
    blur: float = 1.0
    detail: float = 1.0
    window: float = 0.0
    black: float = 0.0
    white: float = 0.0
    heavy: float = 0.0
    width: float = 1.0
    depth: float = 1.0
    fat: float = 1.0

    @property
    def told(self) -> str:
        """Return every number that is not the home hospital's, in words."""
        words = {
            "gamma": "display gamma x {:g}", "photons": "photons x {:g}", "scatter": "scatter x {:g}",
            "blur": "blur x {:g}", "detail": "edge enhancement x {:g}", "window": "{:g} percentiles more cut off",
            "black": "black {:+g}", "white": "white {:+g}", "heavy": "{:g} of the patients heavier",
            "width": "their trunk x {:g} as wide", "depth": "x {:g} as deep", "fat": "fat under the skin x {:g}",
        }  # fmt: skip
        own = Hospital()
        told = [
            text.format(value) for name, text in words.items() if (value := getattr(self, name)) != getattr(own, name)
        ]
        return ", ".join(told) or "nothing but the patients differs"


HOSPITALS: Mapping[str, Hospital] = {
    "twin": Hospital(),
    "other": Hospital(
        gamma=1.35, photons=0.3, scatter=1.8, blur=1.4, detail=0.4, window=1.2, black=-0.04, white=0.02,
        heavy=0.5, width=1.08, depth=1.15, fat=1.8,
    ),
}  # fmt: skip
"""By name: `twin` as at home, `other` with another scanner, another processing, and another mix of habitus."""

_LIMITS = {"gamma": (0.2, 5.0), "scatter": (0.0, 5.0), "blur": (0.05, 5.0), "detail": (0.0, 3.0), "black": (0.0, 0.5),
           "white": (0.5, 1.0), "window_low": (0.0, 30.0), "window_high": (70.0, 100.0), "fat": (0.0, 5.0)}  # fmt: skip


def treated(patient: Patient, hospital: Hospital) -> Patient:
    """Return a patient as the hospital has and films them."""
    e, limited = patient.exposure, _limited
    exposure = replace(
        e,
        gamma=limited("gamma", e.gamma * hospital.gamma),
        photons=e.photons * hospital.photons,
        scatter=limited("scatter", e.scatter * hospital.scatter),
        blur=limited("blur", e.blur * hospital.blur),
        detail=limited("detail", e.detail * hospital.detail),
        window_low=limited("window_low", e.window_low + hospital.window),
        window_high=limited("window_high", e.window_high - hospital.window),
        black=limited("black", e.black + hospital.black),
        white=limited("white", e.white + hospital.white),
    )
    drawn = stream(patient.identity, patient.seed, patient.age_group, "hospital").random()
    if drawn >= hospital.heavy:
        return replace(patient, exposure=exposure)
    return replace(
        patient,
        exposure=exposure,
        half_width=patient.half_width * hospital.width,
        half_depth=patient.half_depth * hospital.depth,
        fat=limited("fat", patient.fat * hospital.fat),
    )


def render_there(row: Mapping[Any, Any], hospital: Hospital, *, size: int = 256) -> PhantomFilm:
    """Render the film of one row of `cohort_table` as the hospital takes it."""
    patient = sample_patient(str(row["patient"]), int(row["seed"]), str(row["age_group"]), film=int(row["film"]))
    return render(treated(patient, hospital), str(row["finding"]), str(row["view"]), size)


def numbers(hospital: Hospital) -> dict[str, float]:
    """Return every number of a hospital, by name."""
    return asdict(hospital)


def _limited(name: str, value: float) -> float:
    low, high = _LIMITS[name]
    return min(max(value, low), high)
