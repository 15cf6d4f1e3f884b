"""How long is a ray's way through a tube, a wire or a vessel?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustness.pointwise import root

STRIP = 96
"""Rows of a film in which a long tube is drawn at once."""
Point = tuple[float, float]
Box = tuple[slice, slice]
Piece = tuple[Box, NDArray[np.float32], NDArray[np.float32]]
"""The box around a straight piece, its start and its end."""
THINNEST = 0.75
"""Radius in pixels below which a tube is drawn this thick and correspondingly fainter (its mass is kept)."""


def smooth_curve(points: Sequence[Point], steps: int = 8) -> list[Point]:
    """Catmull-Rom curve through the points (row, column), `steps` pieces between two of them."""
    knots = np.asarray([points[0], *points, points[-1]], dtype=np.float64)
    s = np.linspace(0.0, 1.0, steps, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(knots, knots[1:], knots[2:], knots[3:], strict=False):
        pieces.append(0.5 * (2 * b + (c - a) * s + (2 * a - 5 * b + 4 * c - d) * s**2 + (3 * b - a - 3 * c + d) * s**3))
    curve = np.concatenate([*pieces, knots[-1:]])
    return [(float(row), float(column)) for row, column in curve]


def chords(
    shape: tuple[int, ...], curves: Sequence[tuple[Sequence[Point], float]], device: torch.device | str = "cpu"
) -> Tensor:
    """(H, W) path length in pixels through round tubes.

    Args:
        shape: height and width.
        curves: polylines of (row, column) in pixels, each with its radius in pixels. Where pieces of one tube meet they
            count once; where tubes cross they add.
        device: where it is wanted.
    """
    total = torch.zeros(shape, device=device)
    for points, radius in curves:
        # Of a long tube across a film little of the box around it is near: so strip by strip.
        for box, distance in _squared_distances(shape, np.asarray(points, dtype=np.float32), radius, device):
            total[box] += _through(distance, radius)
    return total


def tube_chords(
    shape: tuple[int, ...], points: Sequence[Point], radii: Sequence[float], device: torch.device | str = "cpu"
) -> tuple[Box, list[Tensor]]:
    """Path lengths in pixels through concentric tubes along a curve, one for each radius, in the box (h, w) around it.

    Returns:
        Rows and columns of the box in (H, W), empty where the curve lies off it, and the path lengths there.
    """
    found = _squared_distance(shape, np.asarray(points, dtype=np.float32), max(*radii, THINNEST), device)
    if found is None:
        return (slice(0, 0), slice(0, 0)), [torch.zeros(0, 0, device=device) for _ in radii]
    box, distance = found
    return box, [_through(distance, radius) for radius in radii]


def _through(squared: Tensor, radius: float) -> Tensor:
    """Path length through a tube at squared distances from its middle."""
    drawn = max(radius, THINNEST)
    inside = (drawn**2 - squared).clamp_min_(0.0)
    return root(inside, out=inside).mul_(2.0).mul_((radius / drawn) ** 2)


def _squared_distances(
    shape: tuple[int, ...], points: NDArray[np.float32], radius: float, device: torch.device | str
) -> Iterator[tuple[Box, Tensor]]:
    """As `_squared_distance`, in boxes of STRIP rows that leave out what is beyond the radius drawn."""
    reach = max(radius, THINNEST)
    pieces = _pieces(shape, points, reach)
    top, bottom = (
        min((box[0].start for box, *_ in pieces), default=0),
        max((box[0].stop for box, *_ in pieces), default=0),
    )
    for first in range(top, bottom, STRIP):
        last = min(first + STRIP, bottom)
        inside = [
            ((slice(max(first, box[0].start), min(last, box[0].stop)), box[1]), start, end)
            for box, start, end in pieces
            if box[0].start < last and box[0].stop > first
        ]
        if inside:
            columns = slice(min(box[1].start for box, *_ in inside), max(box[1].stop for box, *_ in inside))
            strip = slice(first, last), columns
            yield strip, _nearest(strip, inside, reach, device)


def _squared_distance(
    shape: tuple[int, ...], points: NDArray[np.float32], reach: float, device: torch.device | str
) -> tuple[Box, Tensor] | None:
    """Squared distance to a polyline, right within `reach`, in the box around it; None if it lies off the film."""
    box = box_around(shape, points, reach)
    return None if box is None else (box, _nearest(box, _pieces(shape, points, reach), reach, device))


def _pieces(shape: tuple[int, ...], points: NDArray[np.float32], reach: float) -> list[Piece]:
    """The straight pieces of a polyline that are seen, each with the box around it, as of `box_around`."""
    starts, ends = points[:-1], points[1:]
    low = np.floor(np.minimum(starts, ends) - reach).astype(int).clip(0)
    high = (np.ceil(np.maximum(starts, ends) + reach).astype(int) + 1).clip(max=shape)
    corners = zip(low.tolist(), high.tolist(), strict=True)
    boxes = ((slice(top, bottom), slice(left, right)) for (top, left), (bottom, right) in corners)
    return [
        (box, start, end)
        for box, start, end in zip(boxes, starts, ends, strict=True)
        if box[0].start < box[0].stop and box[1].start < box[1].stop
    ]


def _nearest(box: Box, pieces: list[Piece], reach: float, device: torch.device | str) -> Tensor:
    """Squared distance to the nearest of some pieces, at most that of `reach`."""
    rows, columns = box
    if torch.device(device).type != "cpu":
        return _in_torch(box, pieces, reach, device)
    nearest = np.full((rows.stop - rows.start, columns.stop - columns.start), reach**2, dtype=np.float32)
    for piece, start, end in pieces:
        y = np.arange(piece[0].start, piece[0].stop, dtype=np.float32)[:, None] - start[0]
        x = np.arange(piece[1].start, piece[1].stop, dtype=np.float32)[None, :] - start[1]
        along = end - start
        length = float(along @ along)
        share = np.zeros((len(y), x.shape[1]), dtype=np.float32)
        if length > 0.0:
            np.add(y * along[0], x * along[1], out=share)
            np.divide(share, length, out=share)
            np.minimum(np.maximum(share, 0.0, out=share), 1.0, out=share)
        down, across = share * along[0], np.multiply(share, along[1], out=share)
        distance = np.square(np.subtract(y, down, out=down), out=down)
        distance += np.square(np.subtract(x, across, out=across), out=across)
        top, left = piece[0].start - rows.start, piece[1].start - columns.start
        part = nearest[top : top + distance.shape[0], left : left + distance.shape[1]]
        np.minimum(part, distance, out=part)
    return torch.from_numpy(nearest)


def _in_torch(box: Box, pieces: list[Piece], reach: float, device: torch.device | str) -> Tensor:
    """The same off the CPU, where numpy, quicker with small pieces, cannot reach."""
    rows, columns = box
    size = (rows.stop - rows.start, columns.stop - columns.start)
    nearest = torch.full(size, reach**2, dtype=torch.float32, device=device)
    down, across = (torch.arange(s.start, s.stop, dtype=torch.float32, device=device) for s in box)
    for piece, start, end in pieces:
        lines, posts = (slice(s.start - o.start, s.stop - o.start) for s, o in zip(piece, box, strict=True))
        y, x = down[lines, None] - float(start[0]), across[None, posts] - float(start[1])
        along = end - start
        length, (dy, dx) = float(along @ along), along.tolist()
        share = (y * dy + x * dx).div_(length).clamp_(0.0, 1.0) if length > 0.0 else torch.zeros_like(y)
        part = nearest[lines, posts]
        torch.minimum(part, (y - share * dy).square_() + (x - share * dx).square_(), out=part)
    return nearest


def box_around(shape: tuple[int, ...], points: NDArray[np.float32], reach: float) -> Box | None:
    """Rows and columns within `reach` of the bounding box of the points, cut at the film."""
    low, high = points.min(axis=0) - reach, points.max(axis=0) + reach
    top, left = (max(0, math.floor(side)) for side in low)
    bottom, right = (min(size, math.ceil(side) + 1) for size, side in zip(shape, high, strict=True))
    if top >= bottom or left >= right:
        return None
    return slice(top, bottom), slice(left, right)
