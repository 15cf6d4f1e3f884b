"""Exact ray geometry: convex bodies bounded by one quadric and planes, seen by a cone beam. No voxels.

Every ray is written as a point on the plane through the patient's middle plus depth times a direction. Both are linear
in the pixel's place (u, v), so the three coefficients of a quadric's equation along the ray are polynomials of second
degree in (u, v): one small matrix product gives them for a whole window of pixels.

A convex body cuts a ray in one interval. Overlapping bodies are composed by `Cover`, the exact union of intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Vector = NDArray[np.float64]
Interval = tuple[Tensor, Tensor]
Window = tuple[slice, slice]
FULL: Window = (slice(None), slice(None))


@dataclass(frozen=True, slots=True)
class Body:
    """A convex body: all points p (cm) with |shape (p - centre)|^2 <= 1 and normal . p <= offset for every plane."""

    centre: Vector
    shape: Vector
    reach: Vector  # half extents of a box around `centre` that holds the body
    planes: tuple[tuple[Vector, float], ...] = ()

    def cut(self, normal: ArrayLike, offset: float) -> Body:
        """Return the part of the body with normal . p <= offset."""
        return Body(self.centre, self.shape, self.reach, (*self.planes, (np.asarray(normal, np.float64), float(offset))))

    def holds(self, points: Vector) -> NDArray[np.bool_]:
        """Return for points (..., 3) whether each lies in the body."""
        inside: NDArray[np.bool_] = np.square((points - self.centre) @ self.shape.T).sum(-1) <= 1.0
        for normal, offset in self.planes:
            inside &= points @ normal <= offset
        return inside


def holds_all(bodies: Sequence[Body], points: Vector) -> NDArray[np.bool_]:
    """Return (n, m): whether each of n bodies holds each of m points."""
    shapes = np.stack([b.shape for b in bodies])
    places = shapes.reshape(-1, 3).astype(np.float32) @ points.T.astype(np.float32)
    places -= (shapes @ np.stack([b.centre for b in bodies])[:, :, None]).reshape(-1, 1).astype(np.float32)
    inside: NDArray[np.bool_] = (places * places).reshape(len(bodies), 3, -1).sum(1) <= 1.0
    for i, body in enumerate(bodies):
        for normal, offset in body.planes:
            inside[i] &= points @ normal <= offset
    return inside


def positive(**sizes: float) -> None:
    """Raise ValueError, naming the parameter, unless every size is finite and above zero."""
    for name, size in sizes.items():
        if not (math.isfinite(size) and size > 0.0):
            raise ValueError(f"{name}={size!r} must be a length above 0 cm")


def turn(axis: str, degrees: float) -> Vector:
    """Return the rotation matrix about the patient's "x", "y" or "z" axis."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array(
        {"x": [[1, 0, 0], [0, c, -s], [0, s, c]], "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]], "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]]}[axis]
    )


def ellipsoid(
    centre: ArrayLike, semi_axes: ArrayLike, rotation: Vector | None = None, shear: float = 0.0
) -> Body:
    """Return an ellipsoid.

    Args:
        centre: (3,) cm.
        semi_axes: (3,) cm, above 0.
        rotation: (3, 3) whose columns are the directions of the semi-axes; none means along x, y, z.
        shear: displacement of x per unit of z (a lung whose apex leans inwards).

    Raises:
        ValueError: if a semi-axis is not a length above 0.
    """
    axes = np.asarray(semi_axes, np.float64)
    if not (np.isfinite(axes).all() and (axes > 0.0).all()):
        raise ValueError(f"semi_axes={axes.tolist()!r} must be lengths above 0 cm")
    spread = np.diag(axes) if rotation is None else rotation * axes
    shape = np.diag(1.0 / axes) if rotation is None else (rotation / axes).T
    if shear:
        shape = shape @ np.array([[1.0, 0.0, -shear], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        spread = np.array([[1.0, 0.0, shear], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) @ spread
    return Body(np.asarray(centre, np.float64), shape, np.sqrt((spread * spread).sum(1)))


def tube(points: ArrayLike, radii: ArrayLike, flatness: float = 1.0) -> list[Body]:
    """Return a bent tube as cylinders that meet in mitre planes, so that nothing is counted twice.

    Args:
        points: (n, 3) cm, the axis, n >= 2.
        radii: (n - 1,) or one radius, cm.
        flatness: depth (y) radius over the other one.

    Raises:
        ValueError: if a radius is not above 0.
    """
    axis = np.asarray(points, np.float64)
    steps = axis[1:] - axis[:-1]
    along = steps / np.sqrt((steps * steps).sum(1, keepdims=True))
    cuts = np.concatenate([along[:1], along[:-1] + along[1:], along[-1:]])
    cuts /= np.sqrt((cuts * cuts).sum(1, keepdims=True))
    radius = np.broadcast_to(np.asarray(radii, np.float64), (len(steps),))
    if not (np.isfinite(radius).all() and (radius > 0.0).all()):
        raise ValueError(f"radii={radius.tolist()!r} must be lengths above 0 cm")
    # Two directions across the axis: the first in the plane of x and z, the second close to y.
    first = np.stack([-along[:, 2], np.zeros(len(along)), along[:, 0]], 1)
    size = np.sqrt((first * first).sum(1, keepdims=True))
    first = np.where(size > 1e-6, first / np.maximum(size, 1e-6), [[1.0, 0.0, 0.0]])
    second = np.cross(along, first)
    shapes = np.stack([first / radius[:, None], second / (radius[:, None] * flatness), np.zeros_like(first)], 1)
    middles, reaches = (axis[1:] + axis[:-1]) / 2, np.abs(steps) / 2 + 1.5 * radius[:, None] * max(1.0, flatness)
    offsets = (cuts * axis).sum(1)
    return [
        Body(middles[i], shapes[i], reaches[i], ((-cuts[i], -offsets[i]), (cuts[i + 1], offsets[i + 1])))
        for i in range(len(steps))
    ]


@dataclass(frozen=True)
class ConeBeam:
    """Rays from a point source through a square field; lengths in cm, measured on the plane through the patient's middle.

    Attributes:
        size: pixels along one side of the film.
        field: side of the field on the middle plane.
        distance: from the source to the middle plane.
        frame: (3, 3) rows: the film's right, the beam's direction, the film's up, in the patient's coordinates.
        shift: (2,) where the beam's axis meets the patient: right and up of the patient's origin.
        device: where the tensors live.
    """

    size: int
    field: float
    distance: float
    frame: Vector
    shift: tuple[float, float] = (0.0, 0.0)
    device: str | torch.device = "cpu"
    u: Tensor = field(init=False, repr=False)
    v: Tensor = field(init=False, repr=False)
    oblique: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.size < 8:
            raise ValueError(f"size={self.size!r} must be at least 8 pixels")
        positive(field=self.field, distance=self.distance)
        place = (torch.arange(self.size, dtype=torch.float64) + 0.5) / self.size * self.field - self.field / 2
        u, v = place.float().to(self.device), (-place).float().to(self.device)
        object.__setattr__(self, "u", u)
        object.__setattr__(self, "v", v)
        slope = u[None, :] ** 2 + v[:, None] ** 2
        object.__setattr__(self, "oblique", torch.sqrt(1.0 + slope / self.distance**2))

    @property
    def pixel(self) -> float:
        """Return the side of a pixel on the middle plane in cm."""
        return self.field / self.size

    def view(self, points: Vector) -> Vector:
        """Return points (..., 3) of the patient as (right, depth, up) in the beam's frame."""
        return points @ self.frame.T - np.array([self.shift[0], 0.0, self.shift[1]])

    def project(self, points: Vector) -> tuple[Vector, Vector]:
        """Return the (column, row) in pixels, pixel centres at whole numbers, where points (..., 3) fall on the film."""
        seen = self.view(points)
        scale = self.size / (self.field * (1.0 + seen[..., 1] / self.distance))
        half = (self.size - 1) / 2
        return seen[..., 0] * scale + half, half - seen[..., 2] * scale

    def window(self, body: Body, margin: int = 1) -> tuple[int, int, int, int] | None:
        """Return the rows and columns (first, end, first, end) that can see a body, or None if none can."""
        top, bottom, left, right = self.windows([body], margin)[0].tolist()
        return (top, bottom, left, right) if top < bottom and left < right else None

    def windows(self, bodies: Sequence[Body], margin: int = 1) -> NDArray[np.int64]:
        """Return (n, 4) rows and columns that can see each body; first >= end where none can."""
        reach = np.stack([b.reach for b in bodies])
        corners = np.stack([b.centre for b in bodies])[:, None] + reach[:, None] * _CORNERS
        columns, rows = self.project(corners)
        low = np.stack([rows.min(1), columns.min(1)], 1).clip(-1e6, 1e6).astype(np.int64) - margin
        high = np.stack([rows.max(1), columns.max(1)], 1).clip(-1e6, 1e6).astype(np.int64) + margin + 2
        low, high = low.clip(0, self.size), high.clip(0, self.size)
        return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], 1)

    def _polynomials(self, bodies: Sequence[Body]) -> tuple[Vector, Vector, Vector, Vector]:
        """Return each body's projected centre (u, v, depth) and the (n, 3, 3, 3) coefficients of A, B, C."""
        centres = self.view(np.stack([b.centre for b in bodies]))
        scale = 1.0 + centres[:, 1] / self.distance
        cu, cv = centres[:, 0] / scale, centres[:, 2] / scale
        shapes = np.stack([b.shape for b in bodies]) @ self.frame.T
        right, deep, up = shapes[:, :, 0], shapes[:, :, 1], shapes[:, :, 2]
        d = self.distance
        start = cu[:, None] / d * right + deep + cv[:, None] / d * up
        k = scale[:, None]
        place, way = (0.0 * start, k * right, k * up), (start, right / d, up / d)
        out = np.zeros((len(bodies), 3, 3, 3))
        for q, (first, second) in enumerate(((way, way), (place, way), (place, place))):
            for i in range(3):
                for j in range(3):
                    row, column = (i == 2) + (j == 2), (i == 1) + (j == 1)
                    out[:, q, row, column] += (first[i] * second[j]).sum(1)
        out[:, 2, 0, 0] -= 1.0
        return cu, cv, centres[:, 1], out

    def intervals(self, bodies: Sequence[Body], window: Window = FULL) -> Interval:
        """Return the depths (n, h, w) at which each ray of a window enters and leaves each body.

        A ray that misses a body has entry equal to exit.
        """
        u, v = self.u[window[1]], self.v[window[0]]
        return self._solve(bodies, u.expand(len(bodies), -1), v.expand(len(bodies), -1))

    def _solve(self, bodies: Sequence[Body], u: Tensor, v: Tensor) -> Interval:
        cu, cv, depth, coefficients = self._polynomials(bodies)
        du = u - self._tensor(cu)[:, None]
        dv = v - self._tensor(cv)[:, None]
        columns = torch.stack([torch.ones_like(du), du, du * du], 1)
        rows = torch.stack([torch.ones_like(dv), dv, dv * dv], 2)
        left = rows[:, None] @ self._tensor(coefficients)
        a, b, c = (torch.bmm(left[:, q].contiguous(), columns) for q in range(3))
        root = torch.addcmul(b * b, a, c, value=-1).clamp_(min=_TINY).sqrt_()
        offset = self._tensor(depth)[:, None, None]
        enter, leave = b.neg().sub_(root).div_(a), root.sub_(b).div_(a)
        if any(body.planes for body in bodies):
            self._clip(bodies, (cu, cv, depth), (du, dv), (enter, leave))
        return enter.add_(offset), leave.add_(offset)

    def _clip(
        self, bodies: Sequence[Body], middle: tuple[Vector, Vector, Vector], local: tuple[Tensor, Tensor], seen: Interval
    ) -> None:
        """Shorten the intervals, whose depths count from each body's centre, to the inner side of the planes."""
        cu, cv, depth = middle
        du, dv = local
        enter, leave = seen
        for p in range(max(len(b.planes) for b in bodies)):
            normals = np.stack([b.planes[p][0] if p < len(b.planes) else np.zeros(3) for b in bodies]) @ self.frame.T
            slack = np.array([b.planes[p][1] - b.planes[p][0] @ b.centre if p < len(b.planes) else 1e9 for b in bodies])
            k, d = 1.0 + depth / self.distance, self.distance
            nu, nw, nv = normals.T
            room = self._tensor(slack)[:, None, None] - _plane(self._tensor(nu * k), du, self._tensor(nv * k), dv)
            rate = self._tensor(nw + (nu * cu + nv * cv) / d)[:, None, None] + _plane(
                self._tensor(nu / d), du, self._tensor(nv / d), dv
            )
            rate.add_(1e-9)  # a ray parallel to the plane is cut nowhere or everywhere, by the sign of its room
            side = torch.sign(rate).mul_(_FAR)  # adding and subtracting is far faster than torch.where
            hit = room.div_(rate).clamp_(-0.1 * _FAR, 0.1 * _FAR)
            torch.maximum(enter, hit - (side + _FAR), out=enter)
            torch.minimum(leave, hit + (_FAR - side), out=leave)
        torch.maximum(leave, enter, out=leave)

    def plane(self, normal: Vector) -> tuple[Tensor, Tensor]:
        """Return (H, W) start and rate: along each ray, normal . p = start + depth times rate."""
        nu, nw, nv = (float(c) for c in self.frame @ normal)
        origin = float(self.frame[0] @ normal) * self.shift[0] + float(self.frame[2] @ normal) * self.shift[1]
        slope = nu * self.u[None, :] + nv * self.v[:, None]
        rate = slope / self.distance + nw
        return slope + origin, torch.where(rate.abs() < 1e-4, 1e-4, rate)

    def _tensor(self, values: Vector) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self.device)

    def accumulate(self, bodies: Sequence[Body], weights: Sequence[float], out: Tensor | None = None) -> Tensor:
        """Return (H, W): the sum over small bodies of weight times chord (cm), each evaluated in its own window only."""
        total = torch.zeros(self.size, self.size, device=self.device) if out is None else out
        groups: dict[tuple[int, bool], list[tuple[Body, float, int, int]]] = {}
        for body, weight, (top, bottom, left, right) in zip(bodies, weights, self.windows(bodies).tolist(), strict=True):
            if top >= bottom or left >= right:
                continue
            need = max(bottom - top, right - left)
            side = min(next((s for s in _SIDES if s >= need), self.size), self.size)
            row, column = min(top, self.size - side), min(left, self.size - side)
            groups.setdefault((side, bool(body.planes)), []).append((body, weight, row, column))
        for (side, _), members in groups.items():
            steps = np.arange(side)
            row_at = torch.from_numpy(np.array([m[2] for m in members])[:, None] + steps).to(self.device)
            column_at = torch.from_numpy(np.array([m[3] for m in members])[:, None] + steps).to(self.device)
            enter, leave = self._solve([m[0] for m in members], self.u[column_at], self.v[row_at])
            chord = leave.sub_(enter).mul_(self._tensor(np.array([m[1] for m in members]))[:, None, None])
            place = row_at[:, :, None] * self.size + column_at[:, None, :]
            total.view(-1).index_add_(0, place.reshape(-1), chord.reshape(-1))
        return total if out is not None else total.mul_(self.oblique)


    def union(self, bodies: Sequence[Body]) -> Tensor:
        """Return (H, W): cm of path inside the union of bodies. Tiles of the film look only at the bodies they can see."""
        total = torch.zeros(self.size, self.size, device=self.device)
        seen = self.windows(bodies)
        for i in range(_TILES):
            for j in range(_TILES):
                top, bottom, left, right = (self.size * k // _TILES for k in (i, i + 1, j, j + 1))
                hit = (seen[:, 0] < bottom) & (seen[:, 1] > top) & (seen[:, 2] < right) & (seen[:, 3] > left)
                if hit.any():
                    window = (slice(top, bottom), slice(left, right))
                    total[window] = Cover(*self.intervals([b for b, h in zip(bodies, hit, strict=True) if h], window)).length()
        return total.mul_(self.oblique)


_CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
_FAR = 1e9
_TINY = 1e-20  # the square root of an exact zero takes a path ten times slower
_TILES = 3
_SIDES = (12, 20, 32, 48, 72, 108, 160)


def _plane(a: Tensor, du: Tensor, b: Tensor, dv: Tensor) -> Tensor:
    return (a[:, None] * du)[:, None, :] + (b[:, None] * dv)[:, :, None]


def meet(first: Interval, second: Interval) -> Interval:
    """Return the common part of two intervals (entry equal to exit where there is none)."""
    enter = torch.maximum(first[0], second[0])
    return enter, torch.maximum(torch.minimum(first[1], second[1]), enter)


class Cover:
    """The exact union of many intervals on every ray.

    With all entries sorted (S) and all exits sorted (E) independently of one another, the union has a gap between
    E[i] and S[i+1] wherever S[i+1] > E[i]; hence |union| = E[n] - S[1] - sum of the gaps. Clipping to a convex
    body keeps both orders, so the part of the union inside any body costs no new sorting.
    """

    def __init__(self, enter: Tensor | None = None, leave: Tensor | None = None) -> None:
        self.enter: list[Tensor] = []
        self.leave: list[Tensor] = []
        if enter is not None and leave is not None:
            for first, last in zip(enter, leave, strict=True):
                self.add(first, last)

    def add(self, enter: Tensor, leave: Tensor) -> None:
        """Add one interval per ray (insertion into both sorted lists)."""
        for stack, new in ((self.enter, enter), (self.leave, leave)):
            for i, old in enumerate(stack):
                stack[i], new = torch.minimum(old, new), torch.maximum(old, new)
            stack.append(new)

    def length(self, within: Interval | None = None) -> Tensor:
        """Return the length of the union, or of its part within one interval per ray."""
        if within is None:
            total = self.leave[-1] - self.enter[0]
            for start, end in zip(self.enter[1:], self.leave[:-1], strict=True):
                total -= (start - end).clamp_(min=0.0)
            return total
        low, high = within
        enter = torch.stack(self.enter).clamp_(low, high)
        leave = torch.stack(self.leave).clamp_(low, high)
        return leave[-1] - enter[0] - (enter[1:] - leave[:-1]).clamp_(min=0.0).sum(0)

    def free(self, within: Interval) -> Tensor:
        """Return how much of an interval no member of the union covers."""
        return (within[1] - within[0] - self.length(within)).clamp_(min=0.0)


def priority_lengths(enter: Tensor, leave: Tensor) -> Tensor:
    """Return how long each ray runs in each body when, where bodies overlap, the first one wins.

    Args:
        enter: (n, ...) depths of entry, bodies in order of falling priority.
        leave: (n, ...) depths of exit.

    Returns:
        (n, ...) exclusive lengths; their sum is the length of the union, so no path is lost or counted twice.
    """
    cover, lengths, before = Cover(), [], torch.zeros_like(enter[0])
    for first, last in zip(enter, leave, strict=True):
        cover.add(first, last)
        now = cover.length()
        lengths.append(now - before)
        before = now
    return torch.stack(lengths)
