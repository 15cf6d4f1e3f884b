"""From the grey values of a film back to transmitted X-ray intensity, and forward again.

Display is modelled as ``g = ((t - T0) / DT) ** gamma`` with ``t = -ln(I / I0)`` the attenuation along the ray and
white = dense. A child's lung has t about 0.9, the mediastinum about 3.5 to 3.9, hence T0 = 0.9 and DT = 3.0 (an
adult: 1.5 and 4.0). The tone curve of a film is unknown; its exponent is drawn once per film from U(0.8, 1.25), the
same for every perturbation.

Pixels that saw the unattenuated beam, or none at all behind a collimator, are black and connected to the border of
the film. No tissue is there, so they stay as they are.

Sources: Beer-Lambert; IEC 62494-1 (exposure index); IEC 62220-1 (fluence at RQA5: 30 174 photons / mm^2 / uGy).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from robustness.draws import Draws
from robustness.filters import gaussian_blur, percentiles, resize
from robustness.perturbation import PerturbationUndefined

T0 = 0.9
DT = 3.0
GAMMA = (0.8, 1.25)
RAW_BEAM = 0.02
"""Grey value below which a pixel connected to the border counts as raw beam."""
SPECK = 0.02
"""Islands in the raw beam smaller than this share of the film are no tissue."""

FLUENCE = 30_174.0
"""Photons per mm^2 and uGy of air kerma at RQA5."""
DQE = 0.6
KERMA_UGY = 2.5
"""Air kerma behind the lung at the exposure index a chest film aims at (EI 250)."""


@dataclass(frozen=True)
class Radiograph:
    """A film with its attenuation, as the physics of exposure needs it.

    Attributes:
        film: (H, W) float32 in [0, 1], as displayed.
        attenuation: (H, W) float32, t = -ln(I / I0), T0 to T0 + DT.
        beam: (H, W) bool, raw beam or collimated, left alone.
        gamma: exponent of the tone curve.
        weight: (H, W) float32, 0 in the raw beam, 1 in tissue a few pixels off it; None where there is no raw beam.
    """

    film: Tensor
    attenuation: Tensor
    beam: Tensor
    gamma: float
    weight: Tensor | None = None

    @classmethod
    def of(cls, film: Tensor, draws: Draws) -> Radiograph:
        """Take a film back to attenuation.

        Raises:
            PerturbationUndefined: less than a tenth of the film is tissue, or it shows no contrast at all.
        """
        beam = raw_beam(film)
        if bool(beam.float().mean() > 0.9):
            raise PerturbationUndefined("more than nine tenths of the film are unexposed or raw beam")
        gamma = draws.twin("radiograph").uniform("gamma", *GAMMA)
        weight = None
        if bool(beam.any()):
            height, width = film.shape
            half = gaussian_blur(resize((~beam).to(film.dtype), (height + 1) // 2, (width + 1) // 2), 0.7)
            weight = resize((2.0 * half - 1.0).clamp_min_(0.0), height, width)
        return cls(film, T0 + DT * film.pow(1.0 / gamma), beam, gamma, weight)

    @property
    def intensity(self) -> Tensor:
        """(H, W), I / I0, primary and scatter together as recorded."""
        return torch.exp(-self.attenuation)

    def typical(self, image: Tensor) -> float:
        """Median of (H, W) over the central 60 % x 60 % of the film without raw beam: what exposure control sees."""
        height, width = image.shape
        rows, columns = slice(height // 5, height - height // 5, 2), slice(width // 5, width - width // 5, 2)
        inside = image[rows, columns][~self.beam[rows, columns]]
        return float(inside.median()) if inside.numel() else float(image[~self.beam].median())

    def display(self, attenuation: Tensor) -> Tensor:
        """Attenuation to film through the film's own window and tone curve; raw beam as it was."""
        return self.on_tissue(((attenuation - T0) / DT).clamp(0.0, 1.0).pow(self.gamma))

    def on_tissue(self, changed: Tensor) -> Tensor:
        """The changed film (H, W) where there is tissue, the old one in the raw beam; they merge over three pixels."""
        return changed if self.weight is None else torch.lerp(self.film, changed, self.weight)

    def display_auto(self, intensity: Tensor) -> Tensor:
        """Display as a digital system does: its window is fitted to the histogram, whatever the exposure was.

        The fit maps the 1st and 99th percentile of the attenuation (of a binned image, as the exposure analysis of a
        detector does) to where they were on the film, so that nothing changes when nothing was changed.
        """
        size = 4 if min(intensity.shape) >= 64 else 2
        tissue = binned(self.beam.to(intensity.dtype), size) == 0.0
        if int(tissue.sum()) < 16:
            raise PerturbationUndefined("too little of the film is tissue, a window cannot be fitted")
        before = percentiles(-binned(self.intensity, size)[tissue].log(), 1.0, 99.0)
        after = percentiles(-binned(intensity, size)[tissue].clamp_min(1e-6).log(), 1.0, 99.0)
        if min(before[1] - before[0], after[1] - after[0]) < 1e-3:
            raise PerturbationUndefined("the film shows no contrast, a window cannot be fitted")
        slope = (before[1] - before[0]) / (after[1] - after[0])
        return self.display(before[0] + slope * (attenuation_of(intensity) - after[0]))

    def display_shifted(self, intensity: Tensor) -> Tensor:
        """Display with a window of the film's own width, moved so that the typical attenuation stays where it was."""
        attenuation = attenuation_of(intensity)
        return self.display(attenuation + (self.typical(self.attenuation) - self.typical(attenuation)))

    def counts(self, pitch_mm: float) -> float:
        """Detected photons per film pixel where the intensity is typical, at the exposure a chest film aims at."""
        return FLUENCE * DQE * KERMA_UGY * pitch_mm**2


def binned(image: Tensor, size: int) -> Tensor:
    """Means of (H, W) over blocks of size x size pixels."""
    return F.avg_pool2d(image[None, None], size)[0, 0]


def raw_beam(film: Tensor) -> Tensor:
    """(H, W) bool: pixels darker than RAW_BEAM and connected to the border of the film, and specks among them."""
    height, width = film.shape
    # Found on blocks of 2 x 2 pixels: a block is dark when all of it is.
    blocks = F.max_pool2d(film[None, None], 2, ceil_mode=True)[0, 0] < RAW_BEAM
    if not bool(torch.cat([blocks[0], blocks[-1], blocks[:, 0], blocks[:, -1]]).any()):
        return torch.zeros_like(film, dtype=torch.bool)
    labels, count = ndimage.label(blocks.cpu().numpy())
    touching = np.zeros(count + 1, dtype=bool)
    touching[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
    touching[0] = False
    beam = touching[labels]
    pieces, count = ndimage.label(~beam)
    if count > 1:  # compression noise and lead letters in the raw beam are no tissue either
        tissue = np.bincount(pieces.reshape(-1)) >= SPECK * beam.size
        beam |= ~tissue[pieces]
    full = np.repeat(np.repeat(beam, 2, axis=0), 2, axis=1)[:height, :width]
    return torch.from_numpy(full.copy()).to(film.device)


def attenuation_of(intensity: Tensor) -> Tensor:
    """-ln(I / I0), with the intensity held above one part in a million."""
    return -intensity.clamp_min(1e-6).log()


def local_mean(radiograph: Radiograph, intensity: Tensor, sigma: float) -> Tensor:
    """Broad blur of the intensity over tissue only (normalised convolution): the shape of the scattered radiation."""
    tissue = (~radiograph.beam).to(intensity.dtype)
    weight = gaussian_blur(tissue, sigma) if bool(radiograph.beam.any()) else tissue
    return gaussian_blur(intensity * tissue, sigma) / weight.clamp_min(1e-3)


def scatter(radiograph: Radiograph, intensity: Tensor, ratio: float, sigma: float) -> Tensor:
    """Add scattered radiation, and let exposure control keep the typical intensity.

    ``I' = I + ratio * blur(I)``: where the film is uniform the scatter-to-primary ratio is `ratio`, and contrast
    falls to 1 / (1 + ratio); behind the mediastinum it falls further.
    """
    scattered = intensity + ratio * local_mean(radiograph, intensity, sigma)
    return scattered * (radiograph.typical(intensity) / radiograph.typical(scattered))


def added_quantum_noise(intensity: Tensor, typical: float, counts: float, dose: float, noise: Tensor) -> Tensor:
    """Gaussian noise that a film gains when taken with `dose` (0..1) of its exposure; its own noise it has already.

    Variance of the result: ``I * typical / counts * (1 / dose - 1)``, proportional to the mean.

    Args:
        intensity: (H, W) I / I0.
        typical: intensity at which a pixel detects `counts` photons at full dose.
        counts: photons per pixel.
        dose: fraction of the exposure.
        noise: (H, W) standard normal.
    """
    scale = math.sqrt(typical / counts * (1.0 / dose - 1.0))
    return intensity + scale * intensity.sqrt() * noise


def poisson(mean: Tensor, noise: Tensor) -> Tensor:
    """Poisson counts by their Cornish-Fisher expansion: ``m + sqrt(m) z + (z^2 - 1) / 6``, not below zero.

    Mean exact and skewness right to first order, variance m + 1/18; good from about five counts on. Unlike a sampler it
    turns the same normal numbers into paired counts for every mean, so severities of one film share their noise.
    """
    return (mean + mean.sqrt() * noise + (noise.square() - 1.0) / 6.0).clamp_min(0.0)
