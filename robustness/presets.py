"""Named grids of perturbations and severities, and which control stands beside which perturbation.

Severities were fixed before any result was seen; a preset names what is run and nothing else.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from robustness.perturbation import get, list_perturbations

ALL: tuple[int, ...] = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Preset:
    """A grid.

    Attributes:
        name: for the command line.
        about: one sentence for the report.
        grid: severities by name of the perturbation.
    """

    name: str
    about: str
    grid: Mapping[str, tuple[int, ...]]

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Pairs of perturbation and severity, in a fixed order."""
        for perturbation, severities in self.grid.items():
            for severity in severities:
                yield perturbation, severity

    def __len__(self) -> int:
        return sum(len(severities) for severities in self.grid.values())


STANDARD = (
    "underexposure", "underexposure_stress", "underexposure_fixed_window", "overexposure_fixed_window", "tube_voltage",
    "electronic_noise", "bad_portable",
    "scatter", "window_widening", "gamma_low", "gamma_high",
    "grid_stripes", "grid_crossed", "grid_lines", "grid_cutoff", "grid_off_centre", "grid_tilt", "grid_off_focus",
    "grid_upside_down", "backscatter_ghost",
    "ecg_leads", "tubes", "collimation", "markers", "patient_rotation", "roll", "magnification", "low_inspiration",
    "jpeg_quality", "low_resolution", "aspect_squeeze", "aspect_stretch", "softening", "sharpening", "edge_enhancement",
    "clahe", "scan_border", "bit_depth",
    "whiteout_lobar", "whiteout_effusion", "whiteout_collapse", "whiteout_mass", "whiteout_bilateral",
    "sham_opacity", "diffuse_dose_matched", "stripes_as_white_noise", "stripes_as_band_noise", "brightness_shift",
)  # fmt: skip
QUICK = (
    "underexposure_stress", "underexposure_fixed_window", "scatter", "grid_stripes", "ecg_leads", "jpeg_quality",
    "softening", "whiteout_lobar",
)  # fmt: skip

CONTROLS: Mapping[str, tuple[str, ...]] = {
    "grid_stripes": ("stripes_as_white_noise", "stripes_as_band_noise"),
    "underexposure_fixed_window": ("brightness_shift",),
    "jpeg_quality": ("resave",),
    **{
        f"whiteout_{cause}": ("sham_opacity", "diffuse_dose_matched")
        for cause in ("lobar", "effusion", "collapse", "mass", "bilateral")
    },
}
"""Controls by the perturbation they stand beside."""


def _presets() -> dict[str, Preset]:
    standard = dict.fromkeys(STANDARD, ALL)
    # All severities of these are the same film, one of them is enough.
    standard["inversion"] = standard["resave"] = (5,)
    benchmark = dict.fromkeys(list_perturbations("benchmark"), ALL)
    return {
        preset.name: preset
        for preset in (
            Preset("standard", "every failure mode with its controls, five severities", standard),
            Preset("quick", "one perturbation per failure mode, three severities", dict.fromkeys(QUICK, (1, 3, 5))),
            Preset("medmnist-c", "the 13 corruptions of MedMNIST-C for pneumonia films", benchmark),
        )
    }


def preset(name: str) -> Preset:
    """Return the preset of that name.

    Raises:
        ValueError: unknown name.
    """
    presets = _presets()
    if name not in presets:
        near = difflib.get_close_matches(name, presets, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"no preset is called {name!r}, known are {', '.join(presets)}{hint}")
    for perturbation in presets[name].grid:
        get(perturbation)
    return presets[name]
