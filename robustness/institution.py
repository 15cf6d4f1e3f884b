"""What differs between hospitals and image pipelines? Compression, resolution, shape, sharpness, processing.

Several of these separate the classes of the public data set without any lung (quality 96 against 75, aspect ratio 1.2
against 1.5, sharpness), so a classifier that reacts to them may have learned the pipeline. None touches the anatomy.
Sizes in pixels are those of a film with a shorter side of 256 pixels and grow with the film.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from robustness.content_cache import remembered
from robustness.draws import Draws
from robustness.filters import blurred_bytes, gaussian_blur, resized
from robustness.perturbation import Level, Perturbation, register
from robustness.pointwise import in_bytes
from robustness.primitives.equalisation import equalised
from robustness.primitives.jpeg import jpeg
from robustness.primitives.strips import strips
from robustness.standard import StandardPerturbation
from robustness.tone_curve import ToneCurve

REFERENCE_SIDE = 256


@register
class JpegQuality(StandardPerturbation):
    """JPEG compression.

    quality: of libjpeg, 1 to 100.

    Formula: quantised cosine coefficients of 8 x 8 blocks.
    Kept: size, window.
    Not modelled: colour, a second compression, JPEG 2000.
    """

    name = "jpeg_quality"
    display = "JPEG compression"
    native = "a JPEG compresses blocks of 8 pixels of the file"
    presets = ("quick", "standard")
    family = "institution"
    source = "ITU-T T.81; quantisation tables of the public data set: quality 96 and 75, by class"
    levels = tuple({"quality": quality} for quality in (90, 75, 50, 30, 15))
    units: ClassVar = {"quality": "libjpeg quality {}"}
    transform = "ImageCompression"
    random = False

    def arguments(self, level: Level) -> Mapping[str, Any]:
        return {"quality_range": (level["quality"], level["quality"]), "compression_type": "jpeg"}

    def elsewhere(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        return jpeg(film, level["quality"])


@register
class LowResolution(Perturbation):
    """Fewer pixels, enlarged again: a coarse detector or a thumbnail from an archive.

    scale: of both sides. A large pixel is the mean of what it covers; enlarging interpolates.

    Formula: mean over the areas of larger pixels, then bilinear enlargement.
    Kept: size of the file, mean grey value.
    Not modelled: blur of another detector, interpolation of other kinds.
    """

    name = "low_resolution"
    native = "it leaves a share of the pixels of the file"
    family = "institution"
    version = 3
    eight_bit = True
    source = "area average of the detector element, bilinear enlargement"
    levels = tuple({"scale": scale} for scale in (0.8, 0.6, 0.45, 0.33, 0.25))
    units: ClassVar = {"scale": "{} of both sides"}

    @classmethod
    def reading(cls, level: Level) -> str:
        return f"pixels {1.0 / level['scale']:.2f} times as large"

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        height, width = film.shape
        small = resized(film, max(4, round(height * level["scale"])), max(4, round(width * level["scale"])))
        return resized(small, height, width)


class _Aspect(Perturbation):
    """Width scaled alone; the film changes its shape.

    Formula: columns resampled to width x their number; the film is narrower or wider after it and nothing is filled in.
    Kept: height, grey values, the whole field.
    Not modelled: a scanner: pipelines do this, no machine; the classifier's own resize and crop come after it.
    """

    family = "institution"
    units: ClassVar = {"width": "width x {}"}
    source = "aspect ratios of the public data set: median 1.22 normal, 1.47 to 1.50 pneumonia"
    version = 3
    eight_bit = True
    changes_shape = True

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        return resized(film, film.shape[0], max(4, round(film.shape[1] * level["width"])))


@register
class AspectSqueeze(_Aspect):
    """Squeezed across, as by resizing to a square. The film gets narrower; nothing stands beside it.

    width: factor on the width; 0.81 turns the median pneumonia film into the shape of the median normal one.
    """

    name = "aspect_squeeze"
    display = "squeezing the film across"
    native = "it resamples the pixels of the file"
    levels = tuple({"width": width} for width in (0.95, 0.90, 0.84, 0.77, 0.68))


@register
class AspectStretch(_Aspect):
    """Stretched across.

    width: factor on the width; 1.23 turns the median normal film into the shape of the median pneumonia one.
    """

    name = "aspect_stretch"
    display = "stretching the film across"
    native = "it resamples the pixels of the file"
    levels = tuple({"width": width} for width in (1.05, 1.11, 1.19, 1.30, 1.47))


@register
class Softening(Perturbation):
    """Unsharp detector or smoothing filter.

    sigma: of a Gaussian, pixels at a shorter side of 256.

    Formula: Gaussian blur.
    Kept: mean grey value, window.
    Not modelled: filters that spare edges, motion, a focal spot that is not round.
    """

    name = "softening"
    presets = ("quick", "standard")
    family = "institution"
    version = 3
    eight_bit = True
    source = "mean absolute Laplacian at the classifier's input differs by class: 7.8 normal, 5.0 pneumonia"
    levels = tuple({"sigma": sigma} for sigma in (0.4, 0.6, 0.8, 1.1, 1.5))
    units: ClassVar = {"sigma": "sigma {} pixels at 256"}

    @classmethod
    def reading(cls, level: Level) -> str:
        return f"{level['sigma'] * 220.0 / REFERENCE_SIDE:.2f} mm where the shorter side shows 22 cm"

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        return blurred_bytes(film, level["sigma"] * min(film.shape) / REFERENCE_SIDE)


class _Unsharp(Perturbation):
    """Adds what a Gaussian blur takes away.

    Formula: g' = g + amount (g - blur(g)), Gaussian blur of sigma.
    Kept: mean grey value; what is wider than the blur.
    Not modelled: limits of overshoot and noise that vendors set, several bands.
    """

    family = "institution"
    units: ClassVar = {"sigma": "sigma {} pixels at 256", "amount": "amount {}"}
    version = 2

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        detail = _detail(film, level["sigma"] * min(film.shape) / REFERENCE_SIDE)
        sharp = torch.empty(film.shape, dtype=torch.uint8, device=film.device)
        for rows in strips(film):
            changed = (detail[rows] * float(level["amount"])).add_(film[rows])
            in_bytes(changed.clamp_min_(0.0), out=sharp[rows])
        return sharp


@remembered(2, "around")
def _detail(film: Tensor, sigma: float) -> Tensor:
    """What a Gaussian blur takes from a film (H, W), the same for every severity."""
    return film - gaussian_blur(film, sigma)


@register
class Sharpening(_Unsharp):
    """Sharpening of fine detail.

    sigma: of the blur, pixels at a shorter side of 256. amount: share of the detail that is added once more.
    """

    name = "sharpening"
    source = "unsharp masking"
    levels = tuple({"sigma": 1.0, "amount": amount} for amount in (0.3, 0.6, 1.0, 1.5, 2.2))


@register
class EdgeEnhancement(_Unsharp):
    """Frequency processing of a vendor: coarse unsharp masking that makes vessels and edges stand out.

    sigma: of the blur, pixels at a shorter side of 256 (5 pixels are about 4 mm). amount: as in sharpening.
    """

    name = "edge_enhancement"
    native = "it enhances the finest detail there is"
    source = "unsharp masking as in computed radiography (multi-frequency processing)"
    levels = tuple({"sigma": 5.0, "amount": amount} for amount in (0.2, 0.4, 0.7, 1.1, 1.6))


@register
class Clahe(StandardPerturbation):
    """Contrast-limited adaptive histogram equalisation, 8 x 8 tiles: local processing of some vendors and pipelines.

    clip: limit of a histogram bin over its mean.

    Formula: grey values mapped by the histogram of their tile, bins cut at the limit, maps blended between tiles.
    Kept: size, order of grey values within a tile.
    Not modelled: processing of a vendor, which is not published.
    """

    name = "clahe"
    native = "it limits histograms of single pixels, whose noise averages"
    family = "institution"
    source = "Zuiderveld 1994, Graphics Gems IV"
    levels = tuple({"clip": clip} for clip in (1.2, 1.8, 2.5, 4.0, 6.0))
    units: ClassVar = {"clip": "clip limit {}"}
    transform = "CLAHE"
    random = False

    def arguments(self, level: Level) -> Mapping[str, Any]:
        return {"clip_limit": (level["clip"], level["clip"]), "tile_grid_size": (8, 8)}

    def elsewhere(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        return equalised(film, level["clip"])


@register
class ScanBorder(Perturbation):
    """The film lies in a black frame, as in a scan or a screenshot: smaller, nothing lost.

    border: share of height and width taken by the frame on each side.

    Formula: film reduced by 1 - 2 border, black around it.
    Kept: the whole film.
    Not modelled: writing and labels in the frame, a frame that is not black, a skewed scan.
    """

    name = "scan_border"
    family = "institution"
    version = 2
    eight_bit = True
    source = "black frames of the public data set: 40 % of normal, 14 % of bacterial films"
    levels = tuple({"border": border} for border in (0.01, 0.025, 0.05, 0.08, 0.12))
    units: ClassVar = {"border": "{} of each side"}

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        height, width = film.shape
        top, left = max(1, round(level["border"] * height)), max(1, round(level["border"] * width))
        framed = film.new_zeros(height, width)
        framed[top : height - top, left : width - left] = resized(film, height - 2 * top, width - 2 * left)
        return framed


@register
class BitDepth(ToneCurve):
    """Too few grey values.

    greys: how many, evenly spaced (7, 6, 5, 4, 3 bit).

    Formula: g' = round(g (n - 1)) / (n - 1).
    Kept: size, mean grey value.
    Not modelled: dithering.
    """

    name = "bit_depth"
    display = "fewer grey levels"
    native = "it leaves so many levels to each pixel of the file"
    family = "institution"
    version = 2
    source = "uniform quantisation"
    levels = tuple({"greys": greys} for greys in (128, 64, 32, 16, 8))
    units: ClassVar = {"greys": "{} grey values"}

    @classmethod
    def reading(cls, level: Level) -> str:
        return f"{math.log2(level['greys']):.0f} bit"

    def curve(self, grey: Tensor, level: Level) -> Tensor:
        steps = float(level["greys"] - 1)
        return (grey * steps).round() / steps


@register
class Inversion(ToneCurve):
    """Black and white exchanged: MONOCHROME1 read as MONOCHROME2. All or nothing, so all severities are the same.

    inverted: always 1.

    Formula: g' = 1 - g.
    Kept: everything else.
    Not modelled: the frame and text that a viewer draws afterwards.
    """

    name = "inversion"
    display = "black and white exchanged"
    constant = True
    family = "institution"
    version = 2
    source = "DICOM PS3.3 C.7.6.3.1.2, photometric interpretation"
    levels = tuple({"inverted": 1} for _ in range(5))
    units: ClassVar = {"inverted": "black and white exchanged"}

    def curve(self, grey: Tensor, level: Level) -> Tensor:
        return 1.0 - grey
