"""Filters and warps of one film (H, W), on CPU or GPU, each written for speed on small films.

Sigmas, shifts and sizes are in pixels of the film that is passed in.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

WIDE = 3.0
"""From this sigma (pixels) on a blur is done on a reduced film: its result holds no finer detail anyway."""
REDUCED = 1.8
"""Sigma, in pixels of the reduced film, that is left for it."""


def gaussian_kernel(sigma: float, device: torch.device | str = "cpu") -> Tensor:
    """Samples of a Gaussian, cut at 3.5 sigma, adding up to one."""
    radius = max(1, math.ceil(3.5 * sigma))
    position = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (position / sigma) ** 2)
    return (kernel / kernel.sum()).to(torch.float32).to(device)


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Blur (H, W) with a Gaussian; the border pixel is continued outward. Sigma 0 returns the image."""
    if sigma <= 0.0:
        return image
    if sigma > WIDE:
        factor = sigma / REDUCED
        height, width = (max(4, round(side / factor)) for side in image.shape)
        # Reducing and enlarging blur too; their variance (in reduced pixels, about 1/12 + 1/6) is taken off.
        small = gaussian_blur(resize(image, height, width), math.sqrt(REDUCED**2 - 0.25))
        return resize(small, *image.shape)
    kernel = gaussian_kernel(sigma).tolist()
    return _convolved(_convolved(image, kernel, 0), kernel, 1)


def _convolved(image: Tensor, kernel: list[float], axis: int) -> Tensor:
    """Convolve (H, W) along an axis with a symmetric kernel: shifted copies are added, which beats a general conv2d."""
    radius, length = len(kernel) // 2, image.shape[axis]
    margin = (0, 0, radius, radius) if axis == 0 else (radius, radius, 0, 0)
    padded = F.pad(image[None, None], margin, mode="replicate")[0, 0]
    result = padded.narrow(axis, radius, length) * kernel[radius]
    for step in range(1, radius + 1):
        weight = kernel[radius + step]
        result.add_(padded.narrow(axis, radius - step, length), alpha=weight)
        result.add_(padded.narrow(axis, radius + step, length), alpha=weight)
    return result


def resize(image: Tensor, height: int, width: int) -> Tensor:
    """Resample (H, W) to (height, width): bilinear, antialiased when reducing."""
    if image.shape == (height, width):
        return image
    reduced = height < image.shape[0] or width < image.shape[1]
    return F.interpolate(image[None, None], (height, width), mode="bilinear", antialias=reduced)[0, 0]


def coordinates(image: Tensor) -> tuple[Tensor, Tensor]:
    """Row (H, 1) and column (1, W) coordinates in pixels, zero at the centre of the film."""
    height, width = image.shape
    rows = torch.arange(height, dtype=torch.float32, device=image.device) - (height - 1) / 2.0
    columns = torch.arange(width, dtype=torch.float32, device=image.device) - (width - 1) / 2.0
    return rows[:, None], columns[None, :]


def warp(image: Tensor, rows: Tensor, columns: Tensor, outside: str = "border") -> Tensor:
    """Sample (H, W) bilinearly at centred pixel coordinates.

    Args:
        image: (H, W).
        rows: where each result pixel comes from, broadcastable to (H, W), zero at the centre of the film.
        columns: likewise across.
        outside: what lies beyond the film: "border" (its border pixel), "reflection" (its mirror image), "zeros".
    """
    height, width = image.shape
    rows, columns = rows.expand(height, width), columns.expand(height, width)
    grid = torch.stack([columns * (2.0 / (width - 1)), rows * (2.0 / (height - 1))], dim=-1)
    sampled = F.grid_sample(image[None, None], grid[None], mode="bilinear", padding_mode=outside, align_corners=True)
    return sampled[0, 0]


def percentiles(values: Tensor, *percents: float) -> tuple[float, ...]:
    """Percentiles of any tensor, linearly interpolated."""
    ordered = values.reshape(-1).sort().values
    positions = [percent / 100.0 * (len(ordered) - 1) for percent in percents]
    found = []
    for position in positions:
        below = int(position)
        pair = ordered[below : below + 2].tolist()
        found.append(pair[0] + (position - below) * (pair[-1] - pair[0]))
    return tuple(found)


def to_bytes(film: Tensor) -> NDArray[np.uint8]:
    """(H, W) in [0, 1] to 8 bit, rounded, on the CPU."""
    return film.cpu().mul(255.0).add_(0.5).to(torch.uint8).numpy()


def from_bytes(grey: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """8-bit (H, W) array to an 8-bit tensor."""
    return torch.from_numpy(np.ascontiguousarray(grey)).to(device)


def smoothstep(values: Tensor) -> Tensor:
    """0 below 0, 1 above 1, and a smooth rise between."""
    clipped = values.clamp(0.0, 1.0)
    return clipped * clipped * (3.0 - 2.0 * clipped)
