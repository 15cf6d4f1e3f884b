"""How much of a harm is the amount of change alone? The same amount without what a perturbation is about.

If noise of equal energy harms as much as stripes, it is not the stripes; if a brighter film harms as much as an
underexposed one, it is not the noise; if saving a film again without loss changes anything, the pipeline is broken.
Controls of opacity (`sham_opacity`, `diffuse_dose_matched`) stand beside it in `opacity`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import cv2
import numpy as np
import torch
from torch import Tensor

from robustness.antiscatter_grid import MODEL_SIDE, GridStripes, modulated
from robustness.content_cache import remembered
from robustness.draws import Draws, Source
from robustness.exposure import UnderexposureFixedWindow
from robustness.facts import by_way_of_cpu
from robustness.perturbation import Level, Perturbation, register
from robustness.pointwise import exp
from robustness.primitives.ordering import norm
from robustness.primitives.strips import strips
from robustness.radiograph import DT, Radiograph
from robustness.tone_curve import ToneCurve

BAND = 0.25
"""Width of a band of noise (sigma), as a share of its frequency."""


class _InsteadOfStripes(Perturbation):
    """Noise with the root mean square of the stripes the same film would get, faded by scatter in the same way.

    Formula: I' = I (1 + A 1.5 / (1 + s) n), n noise with the root mean square of the stripes on the same film.
    Kept: energy of the change, how it fades with scatter, mean intensity, window.
    Not modelled: anything of a hospital: it is a control.
    """

    family = "control"
    version = 4
    revision = 1
    levels = GridStripes.levels
    units: ClassVar = {
        "amplitude": "{} of the intensity",
        "period": "period {} pixels of a 255-pixel film",
        "crossed": "crossed with probability {}",
    }

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        noise = self.noise(film, level, draws)
        scale = _energy(draws.twin(GridStripes.name).source, film.shape, level) / max(norm(noise), 1e-6)
        radiograph, pitch = Radiograph.of(film, draws), self.pitch_mm(film)
        return modulated(radiograph, level["amplitude"], lambda rows: noise[rows] * scale, pitch)

    @abstractmethod
    def noise(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        """(H, W) noise of any scale; it is not changed in place."""


@remembered(5)
def _energy(source: Source, shape: torch.Size, level: Level) -> float:
    """Root of the sum of squares of the stripes of a film, which all that stand in their place ask for."""
    film = torch.empty((), device=source.device).expand(shape)
    stripes = GridStripes().pattern(film, level, source.draws)
    return math.hypot(*(norm(stripes(rows)) for rows in strips(film)))


@register
class StripesAsWhiteNoise(_InsteadOfStripes):
    """White noise with the energy of grid_stripes: is it the stripes, or just energy?

    amplitude, period, crossed: of the stripes it stands beside.
    """

    name = "stripes_as_white_noise"
    display = "white noise as strong as grid stripes"
    rank = 2
    source = "control of equal energy"

    def noise(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        return draws.remembered_normals("noise", *film.shape)


@register
class StripesAsBandNoise(_InsteadOfStripes):
    """Noise with energy and scale of grid_stripes, but no direction and no period: is it the regularity?

    amplitude, period, crossed: of the stripes it stands beside. The band is a quarter of its frequency wide (sigma).
    """

    name = "stripes_as_band_noise"
    display = "blotchy noise as strong as grid stripes"
    rank = 2
    source = "control of equal energy and spatial frequency"

    def noise(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        twin = draws.twin(GridStripes.name)
        frequency = MODEL_SIDE / min(film.shape) / twin.uniform("period", *level["period"])
        spectrum, radius = _spectrum(draws.source, film.shape)
        # Waves further off the ring than 13 sigmas, exp(-84), are no part of a last digit: mostly there are none left.
        height, width = film.shape
        reach = frequency * (1.0 + BAND * 13.0)
        rows, columns = (min(int(reach * side) + 2, most) for side, most in zip(film.shape, radius.shape, strict=True))
        kept = spectrum.new_zeros(height, columns)
        both = (slice(0, rows), slice(height - rows, height)) if 2 * rows < height else (slice(0, height),)
        for part in both:
            ring = (radius[part, :columns] - frequency).div_(BAND * frequency).square_().mul_(-0.5)
            torch.mul(spectrum[part, :columns], exp(ring, out=ring), out=kept[part])
        noise: Tensor = torch.fft.irfft(torch.fft.ifft(kept, dim=0), n=width, dim=1)
        return noise


@remembered(2, "drawn")
def _spectrum(source: Source, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Waves of white noise (H, W // 2 + 1), the same for every severity, and their frequencies per pixel."""
    spectrum = torch.fft.rfft2(source.draws.normals("noise", *shape))
    rows = torch.fft.fftfreq(shape[0], device=source.device)[:, None]
    columns = torch.fft.rfftfreq(shape[1], device=source.device)[None, :]
    return spectrum, (rows.square() + columns.square()).sqrt_()


@register
class BrightnessShift(ToneCurve):
    """Grey values lifted by what underexposure on a fixed window lifts them, without its noise and tone curve.

    dose: that of the underexposure; the shift is -ln(dose) / 3.0 of the full scale (19, 37, 59, 89, 118 of 255).

    Formula: g' = g - ln(dose) / 3.0.
    Kept: noise, anatomy; nothing depends on the tone curve.
    Not modelled: anything of a hospital: it is a control.
    """

    name = "brightness_shift"
    rank = 2
    family = "control"
    version = 2
    source = "control of equal mean"
    levels = UnderexposureFixedWindow.levels
    units: ClassVar = {"dose": "as {} of the exposure"}

    @classmethod
    def reading(cls, level: Level) -> str:
        return f"{-255.0 * math.log(level['dose']) / DT:+.0f} of 255 grey levels"

    def curve(self, grey: Tensor, level: Level) -> Tensor:
        return grey - math.log(level["dose"]) / DT


@register
class Resave(Perturbation):
    """Saved and loaded again without loss (PNG): nothing may change, at any severity.

    compression: of zlib, 1 to 9.

    Formula: g' = g.
    Kept: everything.
    Not modelled: nothing.
    """

    name = "resave"
    display = "saving the film once more"
    constant = True
    family = "control"
    source = "identity"
    levels = tuple({"compression": compression} for compression in (1, 3, 5, 7, 9))
    units: ClassVar = {"compression": "zlib level {}"}
    eight_bit = True

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        return by_way_of_cpu("PNG", lambda here: _loaded_again(here, level["compression"]), film)


def _loaded_again(film: Tensor, compression: int) -> Tensor:
    # Looking for runs only takes a tenth of the time of looking for what was there before, and grain repeats nothing.
    runs = [cv2.IMWRITE_PNG_COMPRESSION, compression, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    _, file = cv2.imencode(".png", film.numpy(), runs)
    return torch.from_numpy(np.asarray(cv2.imdecode(file, cv2.IMREAD_UNCHANGED)))
