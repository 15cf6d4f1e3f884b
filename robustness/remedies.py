"""What might help? Preprocessing to be measured beside the harm, on perturbed and on clean films alike.

A remedy turns a batch of films into one or more views of each; a classifier's probabilities are averaged over the
views. Whether the classifier's own resize is antialiased is a matter of its preprocessing and is switched there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustness.filters import coordinates, gaussian_blur, percentiles, stored, warp
from robustness.perturbation import check_films
from robustness.primitives.equalisation import equalised as tiles_equalised
from robustness.primitives.ordering import dilated, places, taken
from robustness.raw_beam import raw_beam

PEAK = 8.0
"""A spectral line counts as a grid line when it exceeds its surroundings by this factor."""
LOWEST = 0.03
"""Cycles per pixel below which stripes cannot be told from anatomy."""
NOTCH = 1.5
"""Half width of a notch, in frequency bins."""


@dataclass(frozen=True)
class Remedy:
    """A treatment of films before the classifier.

    Attributes:
        name: for the report.
        against: families of perturbations it is meant for.
        source: where it comes from.
        views: (B, H, W) films in [0, 1] to (V, B, H, W).
    """

    name: str
    against: tuple[str, ...]
    source: str
    views: Callable[[Tensor], Tensor]

    def __call__(self, films: Tensor) -> Tensor:
        """Treat a batch of films (B, H, W) float32 in [0, 1]; returns (V, B, H, W).

        Raises:
            PerturbationError: invalid films.
        """
        check_films(films)
        return self.views(films).clamp(0.0, 1.0)


def equalised(film: Tensor) -> Tensor:
    """CLAHE, clip limit 2, 8 x 8 tiles."""
    return tiles_equalised(stored(film), 2.0).to(torch.float32).div_(255.0)


def rewindowed(film: Tensor) -> Tensor:
    """Grey values stretched so that the 1st and 99th percentile of what is not raw beam come to 0.02 and 0.98."""
    # The edge of the body passes over into the beam; its grey values belong to neither.
    tissue = taken(film, places(dilated(raw_beam(film).view(torch.uint8), 9) == 0))
    low, high = percentiles(tissue, 1.0, 99.0) if len(tissue) else (0.0, 1.0)
    return film if high - low < 1e-3 else 0.02 + 0.96 * (film - low) / (high - low)


def without_lines(film: Tensor) -> Tensor:
    """Remove vertical and horizontal stripes: narrow peaks of the spectrum next to its axes.

    The spectrum of anatomy falls off smoothly; a grid stands out of it in a narrow band (Lin et al. 2006). A peak is
    brought down to its surroundings, everything else is left as it is. Without a peak the film comes back unchanged.
    """
    height, width = film.shape
    spectrum = torch.fft.fft2(film - film.mean())
    # Peaks are looked for in fine detail only, faded out toward the border: its jump would spread along both axes.
    fade = (
        torch.hann_window(height, device=film.device)[:, None] * torch.hann_window(width, device=film.device)[None, :]
    )
    power = torch.fft.fft2((film - gaussian_blur(film, 4.0)) * fade).abs()
    gain = torch.ones_like(power)
    for along, across, length in ((0, 1, width), (1, 0, height)):
        # Stripes across this axis lie within a few bins of it: tilt and curvature smear them a little.
        near = torch.cat([power.narrow(along, 0, 4), power.narrow(along, power.shape[along] - 3, 3)], dim=along)
        profile = near.max(dim=along).values[: length // 2]
        for peak in _peaks(profile, length):
            bins = torch.arange(length, device=film.device)
            distance = torch.minimum((bins - peak).abs(), (bins - (length - peak)).abs())
            notch = 1.0 - (-0.5 * (distance / NOTCH).square()).exp()
            other = torch.arange(power.shape[along], device=film.device)
            off_axis = torch.minimum(other, power.shape[along] - other)
            beside = (-0.5 * (off_axis / 3.0).square()).exp()
            notch, beside = notch.unsqueeze(along), beside.unsqueeze(across)
            gain = gain * (1.0 - beside * (1.0 - notch))
    if bool((gain == 1.0).all()):
        return film
    cleaned: Tensor = torch.fft.ifft2(spectrum * gain).real + film.mean()
    return cleaned


def _peaks(profile: Tensor, length: int) -> list[int]:
    """Frequency bins, at most four, that exceed the median of their neighbourhood by PEAK."""
    first = max(6, math.ceil(LOWEST * length))
    reach = 8
    if len(profile) <= first + 2 * reach:
        return []
    windows = profile.unfold(0, 2 * reach + 1, 1).median(dim=1).values
    ratio = torch.zeros_like(profile)
    ratio[reach : reach + len(windows)] = profile[reach : reach + len(windows)] / windows.clamp_min(1e-6)
    ratio[:first] = 0.0
    strongest = [int(place) for place in torch.argsort(ratio, descending=True)[:4]]
    return [place for place in strongest if float(ratio[place]) > PEAK]


def shifted_views(films: Tensor) -> Tensor:
    """Five views: the film, moved by 3 % up, down, left, right. Not mirrored: the heart has a side."""
    rows, columns = coordinates(films[0])
    step = 0.03 * min(films.shape[1:])
    moves = ((0.0, 0.0), (step, 0.0), (-step, 0.0), (0.0, step), (0.0, -step))
    return torch.stack(
        [torch.stack([warp(film, rows + down, columns + right) for film in films]) for down, right in moves]
    )


def _each(treat: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A treatment of one film as one of a batch with a single view."""
    return lambda films: torch.stack([treat(film) for film in films])[None]


REMEDIES: dict[str, Remedy] = {
    remedy.name: remedy
    for remedy in (
        Remedy("clahe", ("contrast", "exposure"), "Zuiderveld 1994, Graphics Gems IV", _each(equalised)),
        Remedy("rewindow", ("contrast", "exposure"), "percentile window, DICOM PS3.3 C.11.2", _each(rewindowed)),
        Remedy("notch", ("grid",), "Lin et al. 2006 (PMC3045157)", _each(without_lines)),
        Remedy(
            "shifts",
            ("exposure", "contrast", "grid", "bedside", "institution"),
            "test-time augmentation",
            shifted_views,
        ),
    )
}
"""Remedies by name."""
