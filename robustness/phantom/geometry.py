"""Convex bodies, each bounded by one quadric (ellipsoid or cylinder) and any number of planes. No voxels.

Bodies are kept as arrays, so that hundreds of them are moved, cut and projected at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bodies:
    """Convex bodies: all points p (cm) with |shape (p - centre)|^2 <= 1 and normal . p <= offset for all planes.

    Attributes:
        centres: (n, 3).
        shapes: (n, 3, 3); a row of zeros makes a cylinder.
        reaches: (n, 3) half extents of a box around each centre that holds the body.
        normals: (n, k, 3) of the planes; zeros cut nothing.
        offsets: (n, k).
    """

    centres: Array
    shapes: Array
    reaches: Array
    normals: Array
    offsets: Array

    def __len__(self) -> int:
        return len(self.centres)

    def __getitem__(self, chosen: slice | Array | list[int] | NDArray[np.bool_]) -> Bodies:
        return Bodies(*(getattr(self, n)[chosen] for n in self.__slots__))

    def cut(self, normals: ArrayLike, offsets: ArrayLike) -> Bodies:
        """Return the parts with normal . p <= offset; one plane for all (3,) or one for each body (n, 3)."""
        n = len(self)
        normal = np.broadcast_to(np.asarray(normals, np.float64), (n, 3))[:, None]
        offset = np.broadcast_to(np.asarray(offsets, np.float64), (n,))[:, None]
        return Bodies(
            self.centres, self.shapes, self.reaches,
            np.concatenate([self.normals, normal], 1), np.concatenate([self.offsets, offset], 1),
        )  # fmt: skip

    def without_planes(self) -> Bodies:
        """Return the bodies before any plane cut them."""
        return Bodies(self.centres, self.shapes, self.reaches, self.normals[:, :0], self.offsets[:, :0])

    def shrunk(self, factor: float) -> Bodies:
        """Return the same bodies around the same centres, `factor` times as wide, with the same planes."""
        return Bodies(self.centres, self.shapes / factor, self.reaches, self.normals, self.offsets)

    def mirrored(self) -> Bodies:
        """Return the bodies seen in a mirror on the midline (x becomes -x)."""
        return Bodies(self.centres * _MIRROR, self.shapes * _MIRROR, self.reaches, self.normals * _MIRROR, self.offsets)

    def hold(self, points: Array) -> NDArray[np.bool_]:
        """Return (n, m): whether each body holds each of m points (m, 3)."""
        places = self.shapes.reshape(-1, 3).astype(np.float32) @ points.T.astype(np.float32)
        places -= (self.shapes @ self.centres[:, :, None]).reshape(-1, 1).astype(np.float32)
        inside: NDArray[np.bool_] = (places * places).reshape(len(self), 3, -1).sum(1) <= 1.0
        for k in range(self.offsets.shape[1]):
            inside &= self.normals[:, k] @ points.T <= self.offsets[:, k, None]
        return inside


def join(*parts: Bodies) -> Bodies:
    """Return all bodies together."""
    most = max(part.offsets.shape[1] for part in parts)

    def padded(part: Bodies) -> Bodies:
        missing = most - part.offsets.shape[1]
        if not missing:
            return part
        normals = np.concatenate([part.normals, np.zeros((len(part), missing, 3))], 1)
        return Bodies(
            part.centres,
            part.shapes,
            part.reaches,
            normals,
            np.concatenate([part.offsets, np.ones((len(part), missing))], 1),
        )

    full = [padded(part) for part in parts]
    return Bodies(*(np.concatenate([getattr(part, n) for part in full]) for n in Bodies.__slots__))


def positive(**sizes: float) -> None:
    """Raise ValueError, naming the parameter, unless every size is finite and above zero."""
    for name, size in sizes.items():
        if not (math.isfinite(size) and size > 0.0):
            raise ValueError(f"{name}={size!r} must be a length above 0 cm")


def turn(axis: str, degrees: float) -> Array:
    """Return the rotation matrix about the patient's "x", "y" or "z" axis."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rows = {
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }
    return np.array(rows[axis], np.float64)


def ellipsoid(centre: ArrayLike, semi_axes: ArrayLike, rotation: Array | None = None, shear: float = 0.0) -> Bodies:
    """Return one ellipsoid, or n of them.

    Args:
        centre: (3,) or (n, 3) cm.
        semi_axes: (3,) or (n, 3) cm, above 0.
        rotation: (3, 3) or (n, 3, 3) whose columns are the directions of the semi-axes; none means along x, y, z.
        shear: displacement of x per unit of z (a lung whose apex leans inwards).

    Raises:
        ValueError: if a semi-axis is not a length above 0.
    """
    places = np.atleast_2d(np.asarray(centre, np.float64))
    axes = np.asarray(semi_axes, np.float64)
    if not (np.isfinite(axes).all() and (axes > 0.0).all()):
        raise ValueError(f"semi_axes={axes.tolist()!r} must be lengths above 0 cm")
    frames = _IDENTITY if rotation is None else np.asarray(rotation)
    n = len(places)
    columns = np.broadcast_to(axes, (n, 3))[:, None, :]
    spread, shapes = frames * columns, np.swapaxes(frames / columns, 1, 2)
    if shear:
        shapes = shapes @ np.array([[1.0, 0.0, -shear], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        spread = np.array([[1.0, 0.0, shear], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) @ spread
    return Bodies(places, shapes, np.sqrt((spread * spread).sum(2)), np.zeros((n, 0, 3)), np.zeros((n, 0)))


_IDENTITY = np.eye(3)
_MIRROR = np.array([-1.0, 1.0, 1.0])


def tube(points: ArrayLike, radii: ArrayLike) -> Bodies:
    """Return a bent tube as cylinders that meet in mitre planes, so that nothing is counted twice.

    Args:
        points: (n, 3) cm, the axis, n >= 2.
        radii: (n - 1,) or one radius, cm.

    Raises:
        ValueError: if a radius is not above 0.
    """
    axis = np.asarray(points, np.float64)
    steps = axis[1:] - axis[:-1]
    along = steps / np.sqrt((steps * steps).sum(1, keepdims=True))
    cuts = np.concatenate([along[:1], along[:-1] + along[1:], along[-1:]])
    cuts /= np.sqrt((cuts * cuts).sum(1, keepdims=True))
    radius = np.broadcast_to(np.asarray(radii, np.float64), (len(steps),))[:, None]
    if not (np.isfinite(radius).all() and (radius > 0.0).all()):
        raise ValueError(f"radii={radius.ravel().tolist()!r} must be lengths above 0 cm")
    # Two directions across the axis: the first in the plane of x and z, the second close to y.
    first = np.stack([-along[:, 2], np.zeros(len(along)), along[:, 0]], 1)
    size = np.sqrt((first * first).sum(1, keepdims=True))
    first = np.where(size > 1e-6, first / np.maximum(size, 1e-6), [[1.0, 0.0, 0.0]])
    second = np.stack(
        [along[:, 1] * first[:, 2], along[:, 2] * first[:, 0] - along[:, 0] * first[:, 2], -along[:, 1] * first[:, 0]],
        1,
    )
    shapes = np.stack([first / radius, second / radius, np.zeros_like(first)], 1)
    offsets = (cuts * axis).sum(1)
    return Bodies(
        (axis[1:] + axis[:-1]) / 2, shapes, np.abs(steps) / 2 + 1.5 * radius,
        np.stack([-cuts[:-1], cuts[1:]], 1), np.stack([-offsets[:-1], offsets[1:]], 1),
    )  # fmt: skip
