"""How do Pillow and torchvision resize 8-bit films? To the last bit, on any device: their weights are whole numbers.

Weights of 22 binary places (Pillow) or as many as fit into 16 bit (torchvision) are added up exactly along one axis,
then along the other, each time rounded and cut to 8 bit. Which axis comes first depends on the sizes and on Pillow's
version; so it is asked, once for each size. torchvision begins across.

Source: Pillow, src/libImaging/Resample.c; PyTorch, aten/src/ATen/native/cpu/UpSampleKernel.cpp and
UpSampleKernelAVXAntialias.h.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from robustness.primitives.resampling import Taps, continued, weighed

PLACES = 22
"""Binary places of a weight."""


def _triangle(x: Tensor) -> Tensor:
    return (1.0 - x.abs()).clamp_min(0.0)


def _box(x: Tensor) -> Tensor:
    return ((x > -0.5) & (x <= 0.5)).double()


def _cubic(x: Tensor, a: float = -0.5) -> Tensor:
    x = x.abs()
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return torch.where(x < 1.0, near, torch.where(x < 2.0, far, torch.zeros_like(x)))


def _lanczos(x: Tensor) -> Tensor:
    return torch.where(x.abs() < 3.0, torch.sinc(x) * torch.sinc(x / 3.0), torch.zeros_like(x))


FILTERS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "box": (_box, 0.5),
    "bilinear": (_triangle, 1.0),
    "bicubic": (_cubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}
"""Function and half its width, by Pillow's name of the filter."""


def pillow_resized(grey: Tensor, height: int, width: int, how: str = "bilinear") -> Tensor:
    """An 8-bit film (H, W) with other numbers of pixels, bit for bit as `PIL.Image.resize` makes it.

    Args:
        grey: (H, W) uint8 on any device.
        height: of the result, pixels.
        width: of the result, pixels.
        how: a name of FILTERS.

    Returns:
        (height, width) uint8.
    """
    if grey.is_cpu:
        film = Image.fromarray(grey.numpy()).resize((width, height), Image.Resampling[how.upper()])
        return torch.from_numpy(np.array(film))
    first = -1 if _across_first(tuple(grey.shape), (height, width), how) else -2
    return _resized(grey, (height, width), how, first, PLACES)


def torchvision_resized(films: Tensor, height: int, width: int, how: str = "bilinear") -> Tensor:
    """8-bit films (..., H, W), bit for bit as torchvision's antialiased resize of bytes makes them on a CPU with AVX2.

    Args:
        films: (..., H, W) uint8 on any device.
        height: of the result, pixels.
        width: of the result, pixels.
        how: "bilinear" or "bicubic".

    Returns:
        (..., height, width) uint8.
    """
    return _resized(films, (height, width), how, -1, None)


def has_whole_numbers() -> bool:
    """Whether torchvision resizes bytes in whole numbers on this processor; on others it does so in floats."""
    return torch.backends.cpu.get_cpu_capability() in {"AVX2", "AVX512"}


def four_at_once(
    grey: Tensor, height: int, width: int, how: str = "bilinear", kept: tuple[slice, slice] | None = None
) -> Tensor:
    """An 8-bit film on the CPU resized by torchvision's own kernel, in a quarter of its time, to the last bit.

    That kernel takes four channels at once, and for a film of one computes three more that nobody asked for. Along an
    axis every line is resized on its own; so four parts of the film take the places of the channels, first across, then
    down, as the kernel itself does it. Lines that a crop leaves out, or looks at nowhere, are not resized.

    Args:
        grey: (H, W) uint8 on a CPU that `has_whole_numbers`.
        height: of the result, pixels.
        width: of the result, pixels.
        how: "bilinear" or "bicubic".
        kept: rows and columns of the result that are wanted; all, unless given.

    Returns:
        (height, width) uint8, or what is kept of it.
    """
    rows, columns = kept or (slice(0, height), slice(0, width))
    if grey.shape[1] != width:
        seen = _by_fours(_looked_at(rows, len(grey), height, how), len(grey))
        count = seen.stop - seen.start
        quarter = -(-count // 4)
        whole = continued(grey[seen], 4 * quarter - count, 0).contiguous().numpy().reshape(4, quarter, -1)
        parts = torch.from_numpy(cv2.merge(tuple(whole))).permute(2, 0, 1)
        across = _along(parts, (quarter, width), how).reshape(4 * quarter, width)[:count, columns]
        grey = across if count == len(grey) else F.pad(across, (0, 0, seen.start, len(grey) - seen.stop))
    else:
        grey = grey[:, columns]
    if len(grey) != height:
        width = grey.shape[1]
        quarter = -(-width // 4)
        beside = continued(grey, 0, 4 * quarter - width).contiguous().reshape(len(grey), quarter, 4)
        found = _along(beside.permute(2, 0, 1), (height, quarter), how)
        beside = torch.from_numpy(cv2.merge(tuple(found[:, rows].numpy())))
        return beside.reshape(-1, 4 * quarter)[:, :width]
    return grey[rows]


def _looked_at(kept: slice, before: int, after: int, how: str) -> slice:
    """Which of `before` lines those of `after` that are kept follow from, with one to spare on each side."""
    scale = before / after
    reach = FILTERS[how][1] * max(scale, 1.0) + 1.0
    first, last = ((place + side) * scale for place, side in ((kept.start, 0.5), (kept.stop, -0.5)))
    return slice(max(0, math.floor(first - reach)), min(before, math.ceil(last + reach) + 1))


def _by_fours(lines: slice, most: int) -> slice:
    """Up to three lines more, where there are so many, that nothing need be copied to make four equal parts."""
    count = 4 * -(-(lines.stop - lines.start) // 4)
    first = max(0, min(lines.start, most - count))
    return slice(first, min(first + count, most))


def _along(parts: Tensor, size: tuple[int, int], how: str) -> Tensor:
    """Four parts (4, h, w) resized along one axis."""
    return F.interpolate(parts[None], size, mode=how, antialias=True)[0]


@functools.lru_cache(maxsize=256)
def _across_first(before: tuple[int, ...], after: tuple[int, ...], how: str) -> bool:
    """Whether Pillow, which is tried out, resizes across before it does down."""
    if before[0] == after[0] or before[1] == after[1]:
        return True
    noise = (torch.arange(math.prod(before)) * 7919 % 257 % 256).to(torch.uint8).reshape(before)
    return torch.equal(_resized(noise, after, how, -1, PLACES), pillow_resized(noise, after[0], after[1], how))


def _resized(films: Tensor, size: tuple[int, ...], how: str, first: int, places: int | None) -> Tensor:
    """In torch, along the first of the last two axes before the other."""
    for dim in (first, -3 - first):
        if films.shape[dim] != size[dim]:
            (taps, weights), bits = _taps(films.shape[dim], size[dim], how, places, films.device)
            summed = weighed(films.int(), (taps, weights), dim)
            films = ((summed + (1 << (bits - 1))) >> bits).clamp(0, 255).to(torch.uint8)
    return films


@functools.lru_cache(maxsize=64)
def _taps(before: int, after: int, how: str, bits: int | None, device: torch.device) -> tuple[Taps, int]:
    """Places and whole weights along an axis, and the binary places of these (given, or as many as 16 bit hold)."""
    function, reach = FILTERS[how]
    scale = before / after
    wide = max(scale, 1.0)
    support = reach * wide
    middle = (torch.arange(after, dtype=torch.float64) + 0.5) * scale
    first = (middle - support + 0.5).trunc().clamp_min(0.0)
    last = (middle + support + 0.5).trunc().clamp_max(float(before))
    steps = torch.arange(2 * math.ceil(support) + 1, dtype=torch.float64)[:, None]
    weights = function((steps + first - middle + 0.5) * (1.0 / wide)) * (steps < last - first)
    # Added up one after the other, as both do it: another order ends in another last bit.
    summed = torch.zeros_like(middle)
    for weight in weights:
        summed = summed + weight
    weights = weights / summed
    if bits is None:
        most = float(weights.max())
        bits = next((n for n in range(PLACES) if int(0.5 + most * (1 << (n + 1))) >= 1 << 15), PLACES)
    whole = weights * float(1 << bits)
    whole = torch.where(whole < 0.0, whole - 0.5, whole + 0.5).trunc()
    places = (first + steps).clamp_max(before - 1).long()
    return (places.to(device), whole.int().to(device)), bits
