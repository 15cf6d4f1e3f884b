"""How does an image (H, W) get other pixels? Means over areas, interpolation, and places between pixels."""

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

OUTSIDE = {"border": cv2.BORDER_REPLICATE, "reflection": cv2.BORDER_REFLECT_101, "zeros": cv2.BORDER_CONSTANT}
"""What `sampled` finds beyond the image, by name."""

Taps = tuple[Tensor, Tensor]
"""(T, N) int64 places and (T, N) weights: of which T values each of N new ones is the weighted sum."""


def continued(image: Tensor, rows: int, columns: int) -> Tensor:
    """Repeat the last row and column so many times."""
    if not rows and not columns:
        return image
    if image.is_cpu:
        return torch.from_numpy(cv2.copyMakeBorder(image.numpy(), 0, rows, 0, columns, cv2.BORDER_REPLICATE))
    image = torch.cat([image, image[-1:].expand(rows, -1)])
    return torch.cat([image, image[:, -1:].expand(-1, columns)], dim=1)


def averaged(image: Tensor, height: int, width: int) -> Tensor:
    """Fewer pixels, floats or 8 bit: each is the mean over the area it covers."""
    if image.is_cpu:
        small: NDArray[Any] = cv2.resize(image.numpy(), (width, height), interpolation=cv2.INTER_AREA)
        return torch.from_numpy(small)
    down, across = (image.shape[0] // height, image.shape[1] // width)
    if image.shape == (height * down, width * across):
        means = image.reshape(height, down, width, across).float().mean(dim=(1, 3))
        if (image.dtype, down, across) == (torch.uint8, 2, 2):
            return (means + 0.5).to(torch.uint8)  # of four pixels OpenCV rounds halves up, else to the even number
        return _as(image.dtype, means)
    rows, columns = (_areas(image.shape[dim], after, image.device) for dim, after in enumerate((height, width)))
    return _as(image.dtype, weighed(weighed(image.float(), columns, 1), rows, 0))


def interpolated(image: Tensor, height: int, width: int) -> Tensor:
    """More pixels, floats or 8 bit, bilinearly between the middles of the old ones."""
    if image.is_cpu:
        large: NDArray[Any] = cv2.resize(image.numpy(), (width, height), interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(large)
    (rows, down), (columns, across) = (
        _neighbours(image.shape[dim], after, image.device) for dim, after in enumerate((height, width))
    )
    if image.dtype != torch.uint8:
        return weighed(weighed(image, (columns, across), 1), (rows, down), 0)
    # OpenCV's whole numbers: shares of 11 binary places, of which four are dropped on the way and sixteen at the end.
    mixed = weighed(image.int(), (columns, (across * 2048.0).round_().int()), 1) >> 4
    lines = (mixed.index_select(0, row) for row in rows)
    above, below = (
        line * (share * 2048.0).round().int()[:, None] >> 16 for line, share in zip(lines, down, strict=True)
    )
    summed: Tensor = above + below + 2
    return (summed >> 2).to(torch.uint8)


def antialiased(image: Tensor, height: int, width: int) -> Tensor:
    """Fewer pixels, floats: triangular weights over twice the area of each."""
    small: Tensor = F.interpolate(image[None, None], (height, width), mode="bilinear", antialias=True)[0, 0]
    return small


def doubled(image: Tensor, height: int, width: int) -> Tensor:
    """Each pixel as a block of 2 x 2, cut to (height, width); 8 bit or bool."""
    if not image.is_cpu:
        return image.repeat_interleave(2, 0)[:height].repeat_interleave(2, 1)[:, :width]
    size = (2 * image.shape[1], 2 * image.shape[0])
    large: NDArray[Any] = cv2.resize(image.view(torch.uint8).numpy(), size, interpolation=cv2.INTER_NEAREST)
    return torch.from_numpy(large).view(image.dtype)[:height, :width]


def weighed(image: Tensor, taps: Taps, dim: int) -> Tensor:
    """Weighted sums along an axis, in the numbers that the image and the weights are of."""
    places, weights = taps
    shape = [1] * image.ndim
    shape[dim] = -1
    found = image.index_select(dim, places[0]) * weights[0].reshape(shape)
    for place, weight in zip(places[1:], weights[1:], strict=True):
        found.add_(image.index_select(dim, place).mul_(weight.reshape(shape)))
    return found


def _as(dtype: torch.dtype, means: Tensor) -> Tensor:
    return means.round_().to(dtype) if dtype == torch.uint8 else means


@functools.lru_cache(maxsize=64)
def _areas(before: int, after: int, device: torch.device) -> Taps:
    """By how much each of `after` equal parts of a line covers each of `before` equal parts."""
    scale = before / after
    start = torch.arange(after, dtype=torch.float64) * scale
    first = start.floor()
    steps = torch.arange(int(scale) + 2, dtype=torch.float64)[:, None]
    covered = (torch.minimum(first + steps + 1.0, start + scale) - torch.maximum(first + steps, start)).clamp_min(0.0)
    places = (first + steps).clamp_max(before - 1).long()
    return places.to(device), (covered / covered.sum(dim=0)).float().to(device)


@functools.lru_cache(maxsize=64)
def _neighbours(before: int, after: int, device: torch.device) -> Taps:
    """The two values between which each of `after` new ones lies, and their shares."""
    place = ((torch.arange(after, dtype=torch.float64) + 0.5) * (before / after) - 0.5).clamp(0, before - 1)
    below = place.floor()
    share = (place - below).float()
    places = torch.stack([below, below + 1.0]).clamp_max(before - 1).long()
    return places.to(device), torch.stack([1.0 - share, share]).to(device)


def sampled(image: Tensor, rows: Tensor, columns: Tensor, outside: str) -> Tensor:
    """Bilinear samples of (H, W), floats or 8 bit.

    Args:
        image: (H, W).
        rows: row, in pixels from the first, from which each result pixel comes, (h, w).
        columns: likewise across; both are broadcast together.
        outside: a name of OUTSIDE.
    """
    if image.is_cpu:
        size = np.broadcast_shapes(rows.shape, columns.shape)
        down, across = (place.expand(size).numpy() for place in (rows, columns))
        found = cv2.remap(image.numpy(), across, down, cv2.INTER_LINEAR, borderMode=OUTSIDE[outside])
        return torch.from_numpy(found)
    return _as(image.dtype, _mixed(image, rows, columns, outside))


def rotated(grey: Tensor, degrees: float, around: Tensor | str) -> Tensor:
    """An 8-bit film (H, W) turned about its centre (positive: what was right goes down), bilinearly.

    Args:
        grey: (H, W) uint8.
        degrees: of the turn.
        around: what lies beyond it: (H, W) uint8, not turned, or a name of OUTSIDE.
    """
    (height, width), outside = grey.shape, around if isinstance(around, str) else "zeros"
    if grey.is_cpu:
        film, size = grey.numpy(), (width, height)
        turn = cv2.getRotationMatrix2D(((width - 1) / 2.0, (height - 1) / 2.0), -degrees, 1.0)
        if isinstance(around, str):
            return torch.from_numpy(cv2.warpAffine(film, turn, size, borderMode=OUTSIDE[around]))
        beyond, kept = around.numpy().copy(), cv2.BORDER_TRANSPARENT
        whole: NDArray[Any] = cv2.warpAffine(film, turn, size, dst=beyond, borderMode=kept)
        return torch.from_numpy(whole)
    down, across, angle = (height - 1) / 2.0, (width - 1) / 2.0, math.radians(degrees)
    row = torch.arange(height, dtype=torch.float32, device=grey.device)[:, None] - down
    column = torch.arange(width, dtype=torch.float32, device=grey.device)[None, :] - across
    rows = row * math.cos(angle) - column * math.sin(angle) + down
    columns = row * math.sin(angle) + column * math.cos(angle) + across
    mixed = _mixed(grey, rows, columns, outside)
    if not isinstance(around, str):
        covered = _mixed(torch.ones_like(grey), rows, columns, outside)
        mixed += (1.0 - covered) * around
    return _as(grey.dtype, mixed)


def _mixed(image: Tensor, rows: Tensor, columns: Tensor, outside: str) -> Tensor:
    """As `sampled`, in floats, in torch."""
    top, left = rows.floor(), columns.floor()
    down_share, right_share = rows - top, columns - left
    lines = [_within(top + step, image.shape[0], outside) for step in (0, 1)]
    posts = [_within(left + step, image.shape[1], outside) for step in (0, 1)]
    flat, mixed = image.reshape(-1), torch.zeros(np.broadcast_shapes(rows.shape, columns.shape), device=image.device)
    for (row, in_rows), share in zip(lines, (1.0 - down_share, down_share), strict=True):
        for (column, in_columns), part in zip(posts, (1.0 - right_share, right_share), strict=True):
            grey = flat[row * image.shape[1] + column].float()
            mixed += grey * (share * in_rows) * (part * in_columns)
    return mixed


def _within(place: Tensor, size: int, outside: str) -> tuple[Tensor, Tensor]:
    """Index of a pixel for each place on a line of `size`, and whether one is there (1 or 0)."""
    index = place.clamp(-(2.0**30), 2.0**30).long()
    if outside == "reflection" and size > 1:
        index = index.remainder(2 * size - 2)
        index = torch.minimum(index, 2 * size - 2 - index)
    there = ((index >= 0) & (index < size)).float() if outside == "zeros" else torch.ones_like(place)
    return index.clamp(0, size - 1), there
