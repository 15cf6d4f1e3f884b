"""How is one film (H, W) filtered and warped fast on the CPU?

Sigmas, shifts and sizes are in pixels of the film that is passed in.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

WIDE = 3.6
"""From this sigma (pixels) on a blur is done on a reduced film: its result holds no finer detail anyway."""
REDUCED = 1.8
"""Least sigma, in pixels of the reduced film, that is left for it."""

BLACK = 12
"""Grey value, of 255, up to which the border of a film counts as black: compression and fog leave some grey there."""

OUTSIDE = {"border": cv2.BORDER_REPLICATE, "reflection": cv2.BORDER_REFLECT_101, "zeros": cv2.BORDER_CONSTANT}
"""What `warp` finds beyond the film, by name."""


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
    small, size = _blurred_blocks(image.numpy(), sigma)
    return torch.from_numpy(_enlarged(small, size, image.shape))


def blurred_bytes(grey: Tensor, sigma: float) -> Tensor:
    """Blur an 8-bit film (H, W) with a Gaussian at full resolution; the border pixel is continued outward."""
    return torch.from_numpy(_convolved(grey.numpy(), sigma))


def blur_within(image: Tensor, region: Tensor, sigma: float) -> Tensor:
    """Blur (H, W) with a Gaussian over a region only, 0 or 1 (H, W): the mean of what it covers of the region."""
    inside = region.numpy()
    covered, size = _blurred_blocks((image * region).numpy(), sigma)
    covered /= np.maximum(_blurred_blocks(inside, sigma)[0], 1e-3)
    return torch.from_numpy(_enlarged(covered, size, image.shape))


def blur_within_blocks(image: Tensor, blocks: NDArray[np.bool_], sigma: float) -> Tensor:
    """As `blur_within`, for a region by blocks of 2 x 2 pixels and a sigma of at least 2 * WIDE: at half resolution."""
    source = image.numpy()
    if source.shape[0] % 2 or source.shape[1] % 2:
        source = cv2.copyMakeBorder(source, 0, source.shape[0] % 2, 0, source.shape[1] % 2, cv2.BORDER_REPLICATE)
    inside = blocks.astype(np.float32)
    half = cv2.resize(source, (blocks.shape[1], blocks.shape[0]), interpolation=cv2.INTER_AREA) * inside
    covered, size = _blurred_blocks(half, sigma / 2.0)
    covered /= np.maximum(_blurred_blocks(inside, sigma / 2.0)[0], 1e-3)
    return torch.from_numpy(_enlarged(covered, 2 * size, image.shape))


def _blurred_blocks(image: NDArray[Any], sigma: float) -> tuple[NDArray[Any], int]:
    """The blurred image, averaged over blocks of whole pixels before if the blur is wide, and the size of a block."""
    if sigma < WIDE:
        return _convolved(image, sigma), 1
    # OpenCV averages whole pixels several times as fast as areas that share pixels.
    size, (height, width) = int(sigma / REDUCED), image.shape
    padded = cv2.copyMakeBorder(image, 0, -height % size, 0, -width % size, cv2.BORDER_REPLICATE)
    small = cv2.resize(padded, (padded.shape[1] // size, padded.shape[0] // size), interpolation=cv2.INTER_AREA)
    # Averaging and enlarging blur too; their variance (in blocks, 1/12 + 1/6) is taken off.
    return _convolved(small, math.sqrt((sigma / size) ** 2 - 0.25)), size


def _enlarged(blocks: NDArray[Any], size: int, shape: tuple[int, ...]) -> NDArray[Any]:
    if size == 1:
        return blocks
    large = cv2.resize(blocks, (blocks.shape[1] * size, blocks.shape[0] * size), interpolation=cv2.INTER_LINEAR)
    return large[: shape[0], : shape[1]]


def _convolved(image: NDArray[Any], sigma: float) -> NDArray[Any]:
    kernel = _kernel(sigma)
    return cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)


@functools.lru_cache(maxsize=64)
def _kernel(sigma: float) -> NDArray[np.float32]:
    return gaussian_kernel(sigma).numpy()


def resize(image: Tensor, height: int, width: int) -> Tensor:
    """Resample (H, W) to (height, width): bilinear, antialiased when reducing."""
    if height < image.shape[0] or width < image.shape[1]:
        return F.interpolate(image[None, None], (height, width), mode="bilinear", antialias=True)[0, 0]
    if image.shape == (height, width):
        return image
    return torch.from_numpy(cv2.resize(image.numpy(), (width, height), interpolation=cv2.INTER_LINEAR))


def coordinates(image: Tensor) -> tuple[Tensor, Tensor]:
    """Row (H, 1) and column (1, W) in pixels, zero at the centre of the film; shared, not to be changed in place."""
    return centred(*image.shape)


@functools.lru_cache(maxsize=32)
def centred(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Coordinates of a film of that many pixels, as `coordinates` gives them."""
    rows = torch.arange(height, dtype=torch.float32) - (height - 1) / 2.0
    columns = torch.arange(width, dtype=torch.float32) - (width - 1) / 2.0
    return rows[:, None], columns[None, :]


def turned(grey: Tensor, degrees: float, largest: float) -> Tensor:
    """8-bit (H, W) film turned about its centre (positive: what was right goes down).

    Outside its border goes on, blurred and without what is bright and narrower than `largest` pixels (letters, wires,
    ribs): a letter or a clavicle seen twice, once from behind, gives a film away. Where most of the film's border is
    black, so is what lies outside: that is a collimator or the frame of a scan, and no tissue begins beyond it.
    """
    height, width = grey.shape
    turn = cv2.getRotationMatrix2D(((width - 1) / 2.0, (height - 1) / 2.0), -degrees, 1.0)
    film, size = grey.numpy(), (width, height)
    if np.median(np.concatenate([film[0], film[-1], film[:, 0], film[:, -1]])) <= BLACK:
        return torch.from_numpy(cv2.warpAffine(film, turn, size, borderMode=cv2.BORDER_CONSTANT))
    side = 2 * math.ceil(largest / 2.0) + 1
    plain = cv2.morphologyEx(film, cv2.MORPH_OPEN, np.ones((side, side), dtype=np.uint8))
    smooth = cv2.blur(plain, (side, side))
    around = cv2.warpAffine(smooth, turn, size, borderMode=cv2.BORDER_REPLICATE)
    whole: NDArray[Any] = cv2.warpAffine(film, turn, size, dst=around, borderMode=cv2.BORDER_TRANSPARENT)
    return torch.from_numpy(whole)


def warp(image: Tensor, rows: Tensor, columns: Tensor, outside: str = "border") -> Tensor:
    """Sample (H, W) bilinearly at centred pixel coordinates.

    Args:
        image: (H, W), floats or 8 bit.
        rows: where each result pixel comes from, broadcastable to (H, W), zero at the centre of the film.
        columns: likewise across.
        outside: what lies beyond the film: "border" (its border pixel), "reflection" (its mirror image), "zeros".
    """
    height, width = image.shape
    rows, columns = rows.expand(height, width), columns.expand(height, width)
    across = (columns + (width - 1) / 2.0).numpy()
    down = (rows + (height - 1) / 2.0).numpy()
    sampled = cv2.remap(image.numpy(), across, down, cv2.INTER_LINEAR, borderMode=OUTSIDE[outside])
    return torch.from_numpy(sampled)


def percentiles(values: Tensor, *percents: float) -> tuple[float, ...]:
    """Percentiles of any tensor, linearly interpolated."""
    numbers = values.reshape(-1).numpy()
    positions = [percent / 100.0 * (len(numbers) - 1) for percent in percents]
    last = len(numbers) - 1
    pairs = [(int(position), min(int(position) + 1, last)) for position in positions]
    ordered = np.partition(numbers, sorted({place for pair in pairs for place in pair}))
    found = []
    for position, (below, above) in zip(positions, pairs, strict=True):
        low, high = float(ordered[below]), float(ordered[above])
        found.append(low + (position - below) * (high - low))
    return tuple(found)


def to_bytes(film: Tensor) -> NDArray[np.uint8]:
    """(H, W) in [0, 1] to 8 bit, rounded, on the CPU."""
    scaled = film.cpu().mul(255.0).add_(0.5).numpy()
    return scaled.astype(np.uint8)


def resized(grey: Tensor, height: int, width: int) -> Tensor:
    """8-bit (H, W) film with another number of pixels: means over the areas of larger ones, else interpolated."""
    if grey.shape == (height, width):
        return grey
    reduced = height < grey.shape[0] or width < grey.shape[1]
    how = cv2.INTER_AREA if reduced else cv2.INTER_LINEAR
    return torch.from_numpy(cv2.resize(grey.numpy(), (width, height), interpolation=how))


def jpeg(grey: NDArray[Any], quality: int) -> NDArray[Any]:
    """An 8-bit film (H, W) after JPEG compression, quality 1 to 100 of libjpeg."""
    stored = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE))


def smoothstep(values: Tensor) -> Tensor:
    """0 below 0, 1 above 1, and a smooth rise between."""
    clipped = values.clamp(0.0, 1.0)
    return clipped * clipped * (3.0 - 2.0 * clipped)
