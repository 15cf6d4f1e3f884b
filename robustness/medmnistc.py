"""How do the published corruptions of MedMNIST-C for pneumonia films look here, so that results can stand beside?

Thirteen corruptions with the parameters and the arithmetic of the benchmark's own code (medmnistc 0.1.0, Di Salvo et
al. 2024, arXiv:2406.17536), to the grey level, including what is peculiar in it:

- A grey film is turned into three equal channels, noise is drawn for each channel, and the result is turned back to
grey
  with the luma weights (0.299, 0.587, 0.114). That lowers the standard deviation of noise to 0.669 of its nominal
  value.
- Grey values are cut down to integers, not rounded.
- Salt and pepper hit the three channels separately, so most hit pixels are grey, not black or white.
- Its list for the blur has six kernels; only the first five are ever used.

One thing is different on purpose: random numbers come from the film's identity, not from one global generator, so
results do not depend on the order of films or corruptions. The films of the benchmark are 224 x 224; parameters in
pixels apply to whatever film comes in.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from robustness.draws import Draws
from robustness.facts import fact
from robustness.perturbation import Level, Perturbation, register
from robustness.pointwise import cut, looked_up
from robustness.primitives.jpeg import jpeg
from robustness.primitives.ordering import places, taken, total
from robustness.primitives.resize_bytes import pillow_resized
from robustness.primitives.smoothing import mirrored_blur

SOURCE = "Di Salvo, Doerrich, Ledig 2024, arXiv:2406.17536 (MedMNIST-C); code medmnistc 0.1.0, Apache-2.0"


def levels_of(parameter: str, values: Sequence[float]) -> tuple[Level, ...]:
    """Five levels of one parameter."""
    return tuple({parameter: value} for value in values)


class _MedMnistC(Perturbation):
    """A corruption of the benchmark, defined on 8-bit grey films.

    Kept: size of the film, its identity decides the random numbers.
    Not modelled: anything of a hospital: arithmetic on grey values, as published.
    """

    family = "benchmark"
    presets = ("medmnist-c",)
    native = "the published corruptions act on the pixels they are given"
    source = SOURCE
    eight_bit = True

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        return self.corrupt(film, next(iter(level.values())), draws).contiguous()

    @abstractmethod
    def corrupt(self, grey: Tensor, value: float, draws: Draws) -> Tensor:
        """Corrupt an 8-bit film (H, W)."""


LUMA = (19595.0, 38470.0, 7471.0)
"""Pillow's weights of red, green and blue, in 1/65536."""


def as_grey(channels: Iterable[Tensor]) -> Tensor:
    """Three channels (H, W) of whole numbers 0 to 255 to grey by Pillow's integer luma, which the benchmark uses.

    All sums stay below 2^24, so float32 holds them exactly. The channels are overwritten.
    """
    colours = iter(channels)
    luma = next(colours).mul_(LUMA[0]).add_(32768.0)
    for channel, weight in zip(colours, LUMA[1:], strict=True):
        luma.add_(channel, alpha=weight)
    return cut(luma.mul_(2.0**-16))


class _ThreeChannelNoise(_MedMnistC):
    """Noise drawn for each of three equal channels, cut down to integers, then averaged by the luma weights."""

    version = 4

    def corrupt(self, grey: Tensor, value: float, draws: Draws) -> Tensor:
        noisy = self.noisy(grey.to(torch.float32).div_(255.0), value)
        noises = (draws.normals(f"noise {colour}", *grey.shape) for colour in ("red", "green", "blue"))
        # One channel after the other: memory that grows and shrinks by megabytes costs more than the arithmetic.
        return as_grey(noisy(noise).clamp_(0.0, 1.0).mul_(255.0).floor_() for noise in noises)

    @staticmethod
    @abstractmethod
    def noisy(clean: Tensor, value: float) -> Callable[[Tensor], Tensor]:
        """What turns noise (H, W) of unit variance, which may be overwritten, into a noisy film (H, W) in [0, 1]."""


@register
class GaussianNoise(_ThreeChannelNoise):
    """Additive Gaussian noise. sigma: standard deviation per channel, of the full scale.

    Formula: g' = g + sigma z in each of three channels.
    """

    name = "medmnistc_gaussian_noise"
    levels = levels_of("sigma", (0.04, 0.05, 0.06, 0.07, 0.08))
    units: ClassVar = {"sigma": "{} of the full scale"}

    @staticmethod
    def noisy(clean: Tensor, value: float) -> Callable[[Tensor], Tensor]:
        return lambda noise: noise.mul_(value).add_(clean)


@register
class SpeckleNoise(_ThreeChannelNoise):
    """Multiplicative Gaussian noise. sigma: standard deviation per channel, of the grey value.

    Formula: g' = g (1 + sigma z) in each of three channels.
    """

    name = "medmnistc_speckle_noise"
    levels = levels_of("sigma", (0.05, 0.07, 0.10, 0.15, 0.20))
    units: ClassVar = {"sigma": "{} of the grey value"}

    @staticmethod
    def noisy(clean: Tensor, value: float) -> Callable[[Tensor], Tensor]:
        return lambda noise: noise.mul_(value).add_(1.0).mul_(clean)


@register
class ShotNoise(_ThreeChannelNoise):
    """Poisson noise. photons: mean count of a white pixel, per channel.

    Counts are the rounded normal approximation with its first correction for skewness, which is right in mean and
    variance; below about five photons (nearly black pixels) it differs from a Poisson sampler in shape.

    Formula: g' = Poisson(photons g) / photons in each of three channels.
    """

    name = "medmnistc_shot_noise"
    levels = levels_of("photons", (300, 200, 150, 100, 80))
    units: ClassVar = {"photons": "{} photons in a white pixel"}

    @staticmethod
    def noisy(clean: Tensor, value: float) -> Callable[[Tensor], Tensor]:
        mean = clean * value
        root, offset = mean.sqrt(), mean.sub(1.0 / 6.0)
        grey_of_photon = mean.sign_().div_(value)

        def counted(noise: Tensor) -> Tensor:
            # With z the noise and m the mean, z * (sqrt(m) + z / 6) + m - 1 / 6.
            counts = torch.add(root, noise, alpha=1.0 / 6.0).mul_(noise).add_(offset)
            return counts.round_().clamp_min_(0.0).mul_(grey_of_photon)

        return counted


@register
class ImpulseNoise(_MedMnistC):
    """Salt and pepper. amount: probability that a channel of a pixel is replaced by 0 or 1.

    Formula: a channel of a pixel becomes 0 or 1, each with amount / 2.
    """

    name = "medmnistc_impulse_noise"
    version = 4
    levels = levels_of("amount", (0.005, 0.01, 0.013, 0.017, 0.02))
    units: ClassVar = {"amount": "probability {}"}

    def corrupt(self, grey: Tensor, value: float, draws: Draws) -> Tensor:
        size = grey.numel()
        hits, chance = impulses(draws.image_id, draws.seed, size, self.levels[-1]["amount"], grey.device)
        inside = places(chance < value)
        hits, chance = taken(hits, inside), taken(chance, inside)
        # scikit-image draws which values are hit and which of those become white; one number can hold both.
        white = (chance < 0.5 * value).to(torch.uint8).mul_(255)
        channels, pixels = grey.reshape(-1).repeat(3).scatter_(0, hits, white), hits % size
        luma = as_grey(taken(channels, pixels + channel * size).float() for channel in range(3))
        return grey.reshape(-1).scatter(0, pixels, luma).reshape(grey.shape)


@fact(0, "drawn one after the other by numpy, without a look at the film")
def impulses(image_id: str, seed: int, size: int, most: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Which of three channels' values the highest severity hits, and for each up to which amount it does not."""
    generator = Draws(image_id, ImpulseNoise.name, seed).generator("impulses")
    hits = generator.choice(3 * size, generator.binomial(3 * size, most), replace=False, shuffle=False)
    chance = most * generator.random(len(hits))
    return torch.from_numpy(hits).to(device), torch.from_numpy(chance).to(device)


@register
class Pixelate(_MedMnistC):
    """Reduced with a box filter and enlarged with a box filter. scale: of both sides.

    Formula: box filter down, box filter up.
    """

    name = "medmnistc_pixelate"
    levels = levels_of("scale", (0.8, 0.7, 0.6, 0.5, 0.4))
    units: ClassVar = {"scale": "{} of both sides"}

    def corrupt(self, grey: Tensor, value: float, draws: Draws) -> Tensor:
        height, width = grey.shape
        small = pillow_resized(grey, int(height * value), int(width * value), "box")
        return pillow_resized(small, height, width, "box")


@register
class JpegCompression(_MedMnistC):
    """JPEG of a three-channel film. quality: of libjpeg.

    Formula: quantised cosine coefficients of 8 x 8 blocks.
    """

    name = "medmnistc_jpeg_compression"
    levels = levels_of("quality", (50, 30, 15, 10, 7))
    units: ClassVar = {"quality": "libjpeg quality {}"}

    def corrupt(self, grey: Tensor, value: float, draws: Draws) -> Tensor:
        # Equal channels have constant chroma, which JPEG keeps exactly: the luma plane alone gives the same film.
        return jpeg(grey, int(value))


@register
class GaussianBlur(_MedMnistC):
    """Gaussian blur. kernel: its size in pixels; sigma = 0.3 * ((kernel - 1) / 2 - 1) + 0.8.

    Formula: Gaussian blur, sigma = 0.3 ((kernel - 1) / 2 - 1) + 0.8.
    """

    name = "medmnistc_gaussian_blur"
    levels = levels_of("kernel", (3, 5, 7, 9, 11))
    units: ClassVar = {"kernel": "kernel of {} pixels"}

    def corrupt(self, grey: Tensor, value: float, draws: Draws) -> Tensor:
        return mirrored_blur(grey, _kernel(int(value)))


@functools.cache
def _kernel(size: int) -> Tensor:
    """The kernel of torchvision's Gaussian blur along one axis, made with the same operations."""
    position = torch.linspace(-(size - 1) * 0.5, (size - 1) * 0.5, steps=size)
    samples = torch.exp(-0.5 * (position / (0.15 * size + 0.35)).pow(2))
    return samples / samples.sum()


RAMP = Image.fromarray(np.arange(256, dtype=np.uint8)[None])


@functools.lru_cache(maxsize=1024)
def _blended(toward: int, factor: float) -> Tensor:
    """Every grey value after Pillow's blend with one of them."""
    return torch.from_numpy(np.array(Image.blend(Image.new("L", RAMP.size, toward), RAMP, factor)).reshape(256))


class _Enhance(_MedMnistC):
    """Pillow's brightness and contrast: every grey value is blended with one grey, so a table of 256 does it."""

    def corrupt(self, grey: Tensor, value: float, draws: Draws) -> Tensor:
        return looked_up(grey, _blended(self.toward(grey), value))

    @abstractmethod
    def toward(self, grey: Tensor) -> int:
        """Grey value that stays where it is."""


class _Brightness(_Enhance):
    """Away from black, or toward it.

    Formula: g' = factor g.
    """

    units: ClassVar = {"factor": "factor {}"}

    def toward(self, grey: Tensor) -> int:
        return 0


class _Contrast(_Enhance):
    """Away from the film's mean, or toward it.

    Formula: g' = mean + factor (g - mean).
    """

    units: ClassVar = {"factor": "factor {}"}

    def toward(self, grey: Tensor) -> int:
        return int(total(grey) / grey.numel() + 0.5)


@register
class BrightnessUp(_Brightness):
    """Grey values multiplied. factor: above one."""

    name = "medmnistc_brightness_up"
    levels = levels_of("factor", (1.1, 1.2, 1.3, 1.4, 1.5))


@register
class BrightnessDown(_Brightness):
    """Grey values multiplied. factor: below one."""

    name = "medmnistc_brightness_down"
    levels = levels_of("factor", (0.9, 0.8, 0.7, 0.6, 0.5))


@register
class ContrastUp(_Contrast):
    """Grey values moved away from the film's mean. factor: above one."""

    name = "medmnistc_contrast_up"
    levels = levels_of("factor", (1.1, 1.2, 1.3, 1.4, 1.6))


@register
class ContrastDown(_Contrast):
    """Grey values moved toward the film's mean. factor: below one."""

    name = "medmnistc_contrast_down"
    levels = levels_of("factor", (0.9, 0.8, 0.7, 0.6, 0.4))


class _Gamma(_MedMnistC):
    """Power-law tone curve by a table of 256 values.

    Formula: g' = g ^ gamma.
    """

    units: ClassVar = {"gamma": "exponent {}"}

    def corrupt(self, grey: Tensor, value: float, draws: Draws) -> Tensor:
        return looked_up(grey, _tone_curve(value))


@functools.lru_cache(maxsize=64)
def _tone_curve(gamma: float) -> Tensor:
    curve = [int((255 + 1 - 1e-3) * math.pow(entry / 255.0, gamma)) for entry in range(256)]
    return torch.tensor(curve, dtype=torch.uint8)


@register
class GammaUp(_Gamma):
    """Tone curve that darkens. gamma: above one."""

    name = "medmnistc_gamma_corr_up"
    levels = levels_of("gamma", (1.1, 1.2, 1.3, 1.4, 1.6))


@register
class GammaDown(_Gamma):
    """Tone curve that lightens. gamma: below one."""

    name = "medmnistc_gamma_corr_down"
    levels = levels_of("gamma", (0.9, 0.8, 0.7, 0.6, 0.4))
