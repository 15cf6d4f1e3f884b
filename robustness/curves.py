"""How long is a ray's way through a tube, a wire or a vessel?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Point = tuple[float, float]
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


def chords(shape: tuple[int, ...], curves: Sequence[tuple[Sequence[Point], float]]) -> Tensor:
    """(H, W) path length in pixels through round tubes.

    Args:
        shape: height and width.
        curves: polylines of (row, column) in pixels, each with its radius in pixels. Where pieces of one tube meet they
            count once; where tubes cross they add.
    """
    total = np.zeros(shape, dtype=np.float32)
    for points, radius in curves:
        drawn = max(radius, THINNEST)
        squared = _squared_distance(shape, np.asarray(points, dtype=np.float32), drawn)
        if squared is None:
            continue
        (rows, columns), distance = squared
        total[rows, columns] += _through(distance, radius)
    return torch.from_numpy(total)


def tube_chords(
    shape: tuple[int, ...], points: Sequence[Point], radii: Sequence[float]
) -> tuple[tuple[slice, slice], list[Tensor]]:
    """Path lengths in pixels through concentric tubes along a curve, one for each radius, in the box (h, w) around it.

    Returns:
        Rows and columns of the box in (H, W), empty where the curve lies off it, and the path lengths there.
    """
    found = _squared_distance(shape, np.asarray(points, dtype=np.float32), max(*radii, THINNEST))
    if found is None:
        return (slice(0, 0), slice(0, 0)), [torch.zeros(0, 0) for _ in radii]
    box, distance = found
    return box, [torch.from_numpy(_through(distance, radius)) for radius in radii]


def _through(squared: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    """Path length through a tube from the squared distance to its middle."""
    drawn = max(radius, THINNEST)
    inside = np.maximum(drawn**2 - squared, 0.0)
    path: NDArray[np.float32] = np.sqrt(inside, out=inside)
    path *= np.float32(2.0)
    path *= np.float32((radius / drawn) ** 2)
    return path


def _squared_distance(
    shape: tuple[int, ...], points: NDArray[np.float32], reach: float
) -> tuple[tuple[slice, slice], NDArray[np.float32]] | None:
    """Squared distance to a polyline, right within `reach`, in the box around it; None if it lies off the film."""
    box = box_around(shape, points, reach)
    if box is None:
        return None
    rows, columns = box
    nearest = np.full((rows.stop - rows.start, columns.stop - columns.start), reach**2, dtype=np.float32)
    for start, end in itertools.pairwise(points):
        piece = box_around(shape, np.stack([start, end]), reach)
        if piece is None:
            continue
        y = np.arange(piece[0].start, piece[0].stop, dtype=np.float32)[:, None] - start[0]
        x = np.arange(piece[1].start, piece[1].stop, dtype=np.float32)[None, :] - start[1]
        along = end - start
        length = float(along @ along)
        share = np.clip((y * along[0] + x * along[1]) / length, 0.0, 1.0) if length > 0.0 else np.float32(0.0)
        distance = (y - share * along[0]) ** 2 + (x - share * along[1]) ** 2
        top, left = piece[0].start - rows.start, piece[1].start - columns.start
        part = nearest[top : top + distance.shape[0], left : left + distance.shape[1]]
        np.minimum(part, distance, out=part)
    return box, nearest


def box_around(shape: tuple[int, ...], points: NDArray[np.float32], reach: float) -> tuple[slice, slice] | None:
    """Rows and columns within `reach` of the bounding box of the points, cut at the film."""
    low = np.floor(points.min(axis=0) - reach).astype(int)
    high = np.ceil(points.max(axis=0) + reach).astype(int) + 1
    top, left = max(0, int(low[0])), max(0, int(low[1]))
    bottom, right = min(shape[0], int(high[0])), min(shape[1], int(high[1]))
    if top >= bottom or left >= right:
        return None
    return slice(top, bottom), slice(left, right)
