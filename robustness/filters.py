"""How is one film (H, W) filtered and warped?

Sigmas, shifts and sizes are in pixels of the film that is passed in. Written in `robustness.primitives`, so a film may
lie anywhere.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustness.pointwise import cut
from robustness.primitives.ordering import opened, ranked
from robustness.primitives.resampling import antialiased, averaged, continued, interpolated, rotated, sampled
from robustness.primitives.smoothing import boxed_bytes, convolved
from robustness.primitives.strips import strips

WIDE = 3.6
"""From this sigma (pixels) on a blur is done on a reduced film: its result holds no finer detail anyway."""
REDUCED = 1.8
"""Least sigma, in pixels of the reduced film, that is left for it."""

BLACK = 12
"""Grey value, of 255, up to which the border of a film counts as black: compression and fog leave some grey there."""


def gaussian_kernel(sigma: float) -> Tensor:
    """Samples of a Gaussian, cut at 3.5 sigma, adding up to one."""
    radius = max(1, math.ceil(3.5 * sigma))
    position = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (position / sigma) ** 2)
    return (kernel / kernel.sum()).to(torch.float32)


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Blur (H, W) with a Gaussian; the border pixel is continued outward. Sigma 0 returns the image."""
    if sigma <= 0.0:
        return image
    small, size = _blurred_blocks(image, sigma)
    return _enlarged(small, size, image.shape)


def blurred_bytes(grey: Tensor, sigma: float) -> Tensor:
    """Blur an 8-bit film (H, W) with a Gaussian at full resolution; the border pixel is continued outward."""
    return convolved(grey, _kernel(sigma))


def blur_within(image: Tensor, region: Tensor, sigma: float, covered: Tensor | None = None) -> Tensor:
    """Blur (H, W) with a Gaussian over a region only, 0 or 1 (H, W): the mean of what it covers of the region.

    Args:
        image: (H, W).
        region: (H, W).
        sigma: in pixels.
        covered: `covered_of` the region, where it is known already.
    """
    found, size = _blurred_blocks(image * region, sigma)
    found /= covered_of(region, sigma) if covered is None else covered
    return _enlarged(found, size, image.shape)


def covered_of(region: Tensor, sigma: float) -> Tensor:
    """What a Gaussian covers of a region, 0 or 1 (H, W), at the resolution of `blur_within`; nowhere nothing."""
    return _blurred_blocks(region, sigma)[0].clamp_min(1e-3)


def blur_within_blocks(image: Tensor, blocks: Tensor, sigma: float) -> Tensor:
    """As `blur_within`, for a region by blocks of 2 x 2 pixels and a sigma of at least 2 * WIDE: at half resolution."""
    inside = blocks.view(torch.uint8).float()
    source = continued(image, image.shape[0] % 2, image.shape[1] % 2)
    half = averaged(source, *blocks.shape).mul_(inside)
    covered, size = _blurred_blocks(half, sigma / 2.0)
    covered /= _blurred_blocks(inside, sigma / 2.0)[0].clamp_min(1e-3)
    return _enlarged(covered, 2 * size, image.shape)


def _blurred_blocks(image: Tensor, sigma: float) -> tuple[Tensor, int]:
    """The blurred image, averaged over blocks of whole pixels before if the blur is wide, and the size of a block."""
    if sigma < WIDE:
        return convolved(image, _kernel(sigma)), 1
    # Averaging whole pixels is several times as fast as averaging areas that share pixels.
    size, (height, width) = int(sigma / REDUCED), image.shape
    padded = continued(image, -height % size, -width % size)
    small = averaged(padded, padded.shape[0] // size, padded.shape[1] // size)
    # Averaging and enlarging blur too; their variance (in blocks, 1/12 + 1/6) is taken off.
    return convolved(small, _kernel(math.sqrt((sigma / size) ** 2 - 0.25))), size


def _enlarged(blocks: Tensor, size: int, shape: tuple[int, ...]) -> Tensor:
    if size == 1:
        return blocks
    return interpolated(blocks, blocks.shape[0] * size, blocks.shape[1] * size)[: shape[0], : shape[1]]


@functools.lru_cache(maxsize=64)
def _kernel(sigma: float) -> Tensor:
    return gaussian_kernel(sigma)


def resize(image: Tensor, height: int, width: int) -> Tensor:
    """Resample (H, W) to (height, width): bilinear, antialiased when reducing."""
    if height < image.shape[0] or width < image.shape[1]:
        return antialiased(image, height, width)
    return image if image.shape == (height, width) else interpolated(image, height, width)


def coordinates(image: Tensor) -> tuple[Tensor, Tensor]:
    """Row (H, 1) and column (1, W) in pixels, zero at the centre of the film; shared, not to be changed in place."""
    return centred(image.shape[0], image.shape[1], image.device)


@functools.lru_cache(maxsize=32)
def centred(height: int, width: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Coordinates of a film of that many pixels, as `coordinates` gives them."""
    rows = torch.arange(height, dtype=torch.float32, device=device) - (height - 1) / 2.0
    columns = torch.arange(width, dtype=torch.float32, device=device) - (width - 1) / 2.0
    return rows[:, None], columns[None, :]


def turned(grey: Tensor, degrees: float, largest: float) -> Tensor:
    """8-bit (H, W) film turned about its centre (positive: what was right goes down).

    Outside its border goes on, blurred and without what is bright and narrower than `largest` pixels (letters, wires,
    ribs): a letter or a clavicle seen twice, once from behind, gives a film away. Where most of the film's border is
    black, so is what lies outside: that is a collimator or the frame of a scan, and no tissue begins beyond it.
    """
    border = torch.cat([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    if sum(ranked(border, (len(border) - 1) // 2, len(border) // 2)) / 2.0 <= BLACK:
        return rotated(grey, degrees, "zeros")
    side = 2 * math.ceil(largest / 2.0) + 1
    plain = boxed_bytes(opened(grey, side), side)
    return rotated(grey, degrees, rotated(plain, degrees, "border"))


def warp(image: Tensor, rows: Tensor, columns: Tensor, outside: str = "border") -> Tensor:
    """Sample (H, W) bilinearly at centred pixel coordinates.

    Args:
        image: (H, W), floats or 8 bit.
        rows: where each result pixel comes from, broadcastable to (H, W), zero at the centre of the film.
        columns: likewise across.
        outside: what lies beyond the film: "border" (its border pixel), "reflection" (its mirror image), "zeros".
    """
    height, width = image.shape
    rows = (rows + (height - 1) / 2.0).expand(height, width)
    columns = (columns + (width - 1) / 2.0).expand(height, width)
    found = torch.empty_like(image)
    for some in strips(image):
        found[some] = sampled(image, rows[some], columns[some], outside)
    return found


def percentiles(values: Tensor, *percents: float) -> tuple[float, ...]:
    """Percentiles of any tensor, linearly interpolated."""
    last = values.numel() - 1
    positions = [percent / 100.0 * last for percent in percents]
    pairs = [(int(position), min(int(position) + 1, last)) for position in positions]
    ordered = ranked(values, *(place for pair in pairs for place in pair))
    found = []
    for position, low, high in zip(positions, ordered[::2], ordered[1::2], strict=True):
        found.append(low + (position - int(position)) * (high - low))
    return tuple(found)


def to_bytes(film: Tensor) -> NDArray[np.uint8]:
    """(H, W) in [0, 1] to 8 bit, rounded, on the CPU."""
    return stored(film.cpu()).numpy()


def stored(film: Tensor) -> Tensor:
    """(H, W) in [0, 1] to 8 bit, rounded."""
    return cut(film.mul(255.0).add_(0.5))


def resized(grey: Tensor, height: int, width: int) -> Tensor:
    """8-bit (H, W) film with another number of pixels: means over the areas of larger ones, else interpolated."""
    if grey.shape == (height, width):
        return grey
    reduced = height < grey.shape[0] or width < grey.shape[1]
    return averaged(grey, height, width) if reduced else interpolated(grey, height, width)


def smoothstep(values: Tensor) -> Tensor:
    """0 below 0, 1 above 1, and a smooth rise between."""
    clipped = values.clamp(0.0, 1.0)
    return clipped * clipped * (3.0 - 2.0 * clipped)
