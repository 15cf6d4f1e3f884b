"""Which value, place or extreme comes where? Order statistics, windows' extremes, tables of one variable, sums."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def ranked(values: Tensor, *places: int) -> tuple[float, ...]:
    """What would stand at these places, counted from 0, were all values of a tensor in ascending order."""
    flat = values.reshape(-1)
    if not flat.is_cpu:
        in_order = flat.sort().values
        return tuple(float(in_order[place]) for place in places)
    found: dict[int, float] = {}
    for place in places:
        if place not in found:
            found |= _around(flat.numpy(), place)
    return tuple(found[place] for place in places)


SAMPLED = 64
"""Of so many values one tells about where a rank is looked for."""


def _around(values: NDArray[Any], place: int) -> dict[int, float]:
    """The value of a rank, and of the next one where it is found on the way.

    Only what lies between two values of a sample is put in order (Floyd and Rivest 1975), and everything in the rare
    case that the rank is not there.
    """
    sample, middle = np.sort(values[::SAMPLED]), place // SAMPLED
    reach = 3 + 2 * math.isqrt(len(sample))
    low = sample[middle - reach] if middle >= reach else values.min()
    high = sample[min(middle + reach, len(sample) - 1)]
    below, near = int(np.count_nonzero(values < low)), values[(values >= low) & (values <= high)]
    wanted = [rank for rank in (place, place + 1) if rank - below < len(near) and rank < len(values)]
    if place < below or place not in wanted:
        below, near, wanted = 0, values, [place]
    ordered = np.partition(near, [rank - below for rank in wanted])
    return {rank: float(ordered[rank - below]) for rank in wanted}


def taken(values: Tensor, places: Tensor) -> Tensor:
    """Values (N,) at places (M,) of a tensor, counted along its rows."""
    if values.is_cpu:
        return torch.from_numpy(values.numpy().take(places.numpy()))
    return values.reshape(-1).index_select(0, places)


def places(mask: Tensor) -> Tensor:
    """(N,) where a tensor is not zero, counted along its rows."""
    if mask.is_cpu:
        return torch.from_numpy(np.flatnonzero(mask.numpy() != 0))  # several times as fast as of floats
    return mask.reshape(-1).nonzero()[:, 0]


def least(image: Tensor) -> float:
    """Least value of an image (H, W), which may be a part of a larger one."""
    return cv2.minMaxLoc(image.numpy())[0] if image.is_cpu else float(image.amin())


def columns_below(image: Tensor, bound: float, near: int = 32) -> list[slice]:
    """Columns of an image (H, W) in which something is below a bound, with what else lies between near ones.

    Off the CPU, where it takes longer to look than to work on them, all.
    """
    if not image.is_cpu:
        return [slice(0, image.shape[1])]
    found: list[slice] = []
    for place in np.flatnonzero(cv2.reduce(image.numpy(), 0, cv2.REDUCE_MIN) < bound).tolist():
        if found and place - found[-1].stop <= near:
            found[-1] = slice(found[-1].start, place + 1)
        else:
            found.append(slice(place, place + 1))
    return found


def total(image: Tensor) -> float:
    """Sum of all values, the same on any number of threads."""
    return float(cv2.sumElems(image.numpy())[0]) if image.is_cpu else float(image.sum(dtype=torch.float64))


def norm(image: Tensor) -> float:
    """Root of the sum of all squares."""
    return (
        float(cv2.norm(image.numpy())) if image.is_cpu else float(torch.linalg.vector_norm(image, dtype=torch.float64))
    )


def dilated(image: Tensor, side: int) -> Tensor:
    """Largest value of an 8-bit image in squares of an odd side; nothing lies beyond the border."""
    if image.is_cpu:
        return torch.from_numpy(cv2.dilate(image.numpy(), np.ones((side, side), dtype=np.uint8)))
    return _largest(_largest(image, side, 0), side, 1)


def opened(image: Tensor, side: int) -> Tensor:
    """An 8-bit image without what is bright and narrower than an odd side."""
    if image.is_cpu:
        return torch.from_numpy(cv2.morphologyEx(image.numpy(), cv2.MORPH_OPEN, np.ones((side, side), dtype=np.uint8)))
    return dilated(255 - dilated(255 - image, side), side)


def _largest(image: Tensor, side: int, dim: int) -> Tensor:
    """Largest value of a window along an axis, whose width is doubled until it has so many pixels."""
    radius, width = side // 2, 1
    beyond = torch.zeros_like(image.narrow(dim, 0, 1)).expand(*(radius if axis == dim else -1 for axis in (0, 1)))
    found = torch.cat([beyond, image, beyond], dim=dim)
    while width < side:
        step = min(width, side - width)
        length = found.shape[dim] - step
        found = torch.maximum(found.narrow(dim, 0, length), found.narrow(dim, step, length))
        width += step
    return found


def read_off(values: Tensor, known: Tensor, there: Tensor) -> Tensor:
    """A function known at ascending places, read off between them in straight lines; as at its ends beyond.

    Args:
        values: where it is wanted, of any shape.
        known: (N,) float64 places where it is known.
        there: (N,) float64 its values there.

    Returns:
        float64, of the shape of `values`.
    """
    if values.is_cpu:
        return torch.from_numpy(np.interp(values.numpy(), known.numpy(), there.numpy()))
    at = torch.searchsorted(known, values.double().contiguous(), right=True).clamp(1, len(known) - 1) - 1
    run = (known[at + 1] - known[at]).clamp_min(1e-300)
    share = ((values - known[at]) / run).clamp(0.0, 1.0)
    return there[at] + share * (there[at + 1] - there[at])
