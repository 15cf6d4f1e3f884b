"""Which perturbations and severities make a named grid, and which control stands beside which?

Severities were fixed before any result was seen; a preset names what is run and nothing else. A perturbation says which
presets it belongs to (see `perturbation`). To add a preset::

    from robustness.presets import Preset, register

    register(Preset("extremes", "the faintest and the strongest severity", (1, 5)))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from robustness import perturbation
from robustness.registration import taken, unknown_name

ALL: tuple[int, ...] = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Preset:
    """A grid.

    Attributes:
        name: for the command line.
        about: one sentence for the report.
        severities: of every perturbation that belongs to it; of a constant one, the last.
        by_name: whether it is sorted by name, as published benchmarks are listed.
    """

    name: str
    about: str
    severities: tuple[int, ...] = ALL
    by_name: bool = False

    @property
    def grid(self) -> dict[str, tuple[int, ...]]:
        """Severities by name of the perturbation, in the order of the registry."""
        everyone = [perturbation.get(name) for name in perturbation.names()]
        mine = [one for one in everyone if self.name in one.presets]
        if self.by_name:
            mine.sort(key=lambda one: one.name)
        return {one.name: self.severities[-1:] if one.constant else self.severities for one in mine}

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Pairs of perturbation and severity, in a fixed order."""
        for name, severities in self.grid.items():
            for severity in severities:
                yield name, severity

    def __len__(self) -> int:
        return sum(len(severities) for severities in self.grid.values())


CONTROLS: Mapping[str, tuple[str, ...]] = {
    "grid_stripes": ("stripes_as_white_noise", "stripes_as_band_noise"),
    "underexposure_fixed_window": ("brightness_shift",),
    "jpeg_quality": ("resave",),
    **{
        f"whiteout_{cause}": ("sham_opacity", "diffuse_dose_matched")
        for cause in ("lobar", "effusion", "collapse", "mass", "bilateral", "total")
    },
}
"""Controls by the perturbation they stand beside."""


_REGISTRY: dict[str, Preset] = {}


def register(preset: Preset) -> Preset:
    """Make a preset known by its name.

    Raises:
        ValueError: the name is taken.
    """
    if preset.name in _REGISTRY:
        raise ValueError(taken("preset", preset.name, _REGISTRY[preset.name], preset))
    _REGISTRY[preset.name] = preset
    return preset


def get(name: str) -> Preset:
    """Return the preset of that name.

    Raises:
        ValueError: unknown name, asked for here or by a perturbation; the message lists the nearest ones.
    """
    if name not in _REGISTRY:
        raise ValueError(unknown_name("preset", name, names()))
    for member in perturbation.names():
        for claimed in perturbation.get(member).presets:
            if claimed not in _REGISTRY:
                raise ValueError(f"perturbation {member}: {unknown_name('preset', claimed, names())}")
    return _REGISTRY[name]


def names() -> list[str]:
    """Names of the registered presets, in the order they were registered in."""
    return list(_REGISTRY)


register(Preset("standard", "every failure mode with its controls, five severities"))
register(Preset("quick", "one perturbation per failure mode, three severities", (1, 3, 5)))
register(Preset("medmnist-c", "the 13 corruptions of MedMNIST-C for pneumonia films", by_name=True))
