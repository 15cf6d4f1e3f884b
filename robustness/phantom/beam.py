"""A cone beam of rays and the exact depths at which they enter and leave convex bodies.

Every ray is written as a point on the plane through the patient's middle plus depth times a direction. Both are linear
in the pixel's place (u, v), so the three coefficients of a quadric's equation along the ray are polynomials of second
degree in (u, v): one small matrix product gives them for a whole window of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as attribute

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .composition import Cover, Interval
from .geometry import Array, Bodies, positive

Window = tuple[slice, slice]
FULL: Window = (slice(None), slice(None))


@dataclass(frozen=True)
class ConeBeam:
    """Rays from a point source through a square field; lengths in cm, on the plane through the patient's middle.

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
    frame: Array
    shift: tuple[float, float] = (0.0, 0.0)
    device: str | torch.device = "cpu"
    u: Tensor = attribute(init=False, repr=False)
    v: Tensor = attribute(init=False, repr=False)
    oblique: Tensor = attribute(init=False, repr=False)

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

    def blank(self) -> Tensor:
        """Return a film (H, W) of zeros."""
        return torch.zeros(self.size, self.size, device=self.device)

    def view(self, points: Array) -> Array:
        """Return points (..., 3) of the patient as (right, depth, up) in the beam's frame."""
        seen: Array = points @ self.frame.T - np.array([self.shift[0], 0.0, self.shift[1]])
        return seen

    def project(self, points: Array) -> tuple[Array, Array]:
        """Return (column, row) in pixels, pixel centres at whole numbers, where points (..., 3) fall on the film."""
        seen = self.view(points)
        scale = self.size / (self.field * (1.0 + seen[..., 1] / self.distance))
        half = (self.size - 1) / 2
        return seen[..., 0] * scale + half, half - seen[..., 2] * scale

    def windows(self, bodies: Bodies, margin: int = 1, floor: float = -1e9) -> NDArray[np.int64]:
        """Return (n, 4): first and end row, first and end column that can see each body above the level z = `floor`.

        Where none can, first >= end.
        """
        corners = bodies.centres[:, None] + bodies.reaches[:, None] * _CORNERS
        corners[..., 2] = np.maximum(corners[..., 2], floor)
        columns, rows = self.project(corners)
        low = np.stack([rows.min(1), columns.min(1)], 1).clip(-1e6, 1e6).astype(np.int64) - margin
        high = np.stack([rows.max(1), columns.max(1)], 1).clip(-1e6, 1e6).astype(np.int64) + margin + 2
        low, high = low.clip(0, self.size), high.clip(0, self.size)
        return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], 1)

    def plane(self, normal: Array) -> tuple[Tensor, Tensor]:
        """Return (H, W) start and rate: along each ray, normal . p = start + depth times rate."""
        nu, nw, nv = (float(c) for c in self.frame @ normal)
        slope = nu * self.u[None, :] + nv * self.v[:, None]
        rate = slope / self.distance + nw
        return slope + (nu * self.shift[0] + nv * self.shift[1]), rate.add_(1e-9)

    def half_space(self, normal: Array, offset: float, columns: slice) -> Interval:
        """Return the depths (H, w) between which each ray of some columns has normal . p <= offset."""
        start, rate = self.plane(normal)
        rate = rate[:, columns]
        side = torch.sign(rate).mul_(_FAR)
        hit = start[:, columns].neg().add_(offset).div_(rate)
        return hit - (side + _FAR), hit + (_FAR - side)

    def intervals(self, bodies: Bodies, window: Window = FULL) -> Interval:
        """Return the depths (n, h, w) at which each ray of a window enters and leaves each body.

        Lengths along the ray are these times `oblique`. A ray that misses a body has entry equal to exit (to 1e-9 cm).
        """
        return self._solve(self._trace(bodies), self.u[window[1]], self.v[window[0]])

    def union(self, bodies: Bodies, tiles: int = 3) -> Tensor:
        """Return (H, W): cm of path inside the union of bodies; tiles of the film look only at those they can see."""
        total = self.blank()
        seen = self.windows(bodies)
        trace = self._trace(bodies)
        low, high = seen.min(0), seen.max(0)
        for i in range(tiles):
            for j in range(tiles):
                top, bottom = (int(low[0] + (high[1] - low[0]) * k // tiles) for k in (i, i + 1))
                left, right = (int(low[2] + (high[3] - low[2]) * k // tiles) for k in (j, j + 1))
                hit = (seen[:, 0] < bottom) & (seen[:, 1] > top) & (seen[:, 2] < right) & (seen[:, 3] > left)
                if hit.any() and top < bottom and left < right:
                    window = (slice(top, bottom), slice(left, right))
                    chosen = trace if hit.all() else trace.part(torch.from_numpy(hit.nonzero()[0]).to(self.device))
                    total[window] = Cover(*self._solve(chosen, self.u[window[1]], self.v[window[0]])).length()
        return total.mul_(self.oblique)

    def accumulate(self, bodies: Bodies, weights: Array) -> Tensor:
        """Return (H, W): the sum over small bodies of weight times chord (cm), each in its own window only."""
        total = self.blank()
        windows = self.windows(bodies)
        need = np.maximum(windows[:, 1] - windows[:, 0], windows[:, 3] - windows[:, 2])
        seen = (windows[:, 0] < windows[:, 1]) & (windows[:, 2] < windows[:, 3])
        sides = np.minimum(np.array([*_SIDES, self.size])[np.searchsorted(_SIDES, need)], self.size)
        capped = np.abs(bodies.normals).any((1, 2))
        for side in np.unique(sides[seen]).tolist():
            for planes in (False, True):
                chosen = (seen & (sides == side) & (capped == planes)).nonzero()[0]
                if not len(chosen):
                    continue
                some = bodies[chosen] if planes else bodies[chosen].without_planes()
                top, left = (np.minimum(windows[chosen, k], self.size - side) for k in (0, 2))
                steps = np.arange(side)
                u = self.u[torch.from_numpy(left[:, None] + steps).to(self.device)]
                v = self.v[torch.from_numpy(top[:, None] + steps).to(self.device)]
                enter, leave = self._solve(self._trace(some), u, v)
                chords = leave.sub_(enter).mul_(self._tensor(weights[chosen])[:, None, None])
                for chord, row, column in zip(chords, top.tolist(), left.tolist(), strict=True):
                    total[row : row + side, column : column + side].add_(chord)
        return total.mul_(self.oblique)

    def _trace(self, bodies: Bodies) -> _Trace:
        """Return the coefficients of A w^2 + 2 B w + C = 0, the depth w counted from each body's centre."""
        centres, d = self.view(bodies.centres), self.distance
        k = 1.0 + centres[:, 1] / d
        cu, cv = centres[:, 0] / k, centres[:, 2] / k
        shapes = bodies.shapes @ self.frame.T
        n, planes = bodies.offsets.shape
        # In the quadric's inner coordinates a ray is place + depth * way, with place = k (du r + dv s) and
        # way = q + (du r + dv s) / d; the columns of `change` are q, r, s.
        # With them A is way by way, B place by way, C place by place less one.
        change = np.empty((n, 3, 3))
        change[:, :, 0] = (cu / d)[:, None] * shapes[:, :, 0] + shapes[:, :, 1] + (cv / d)[:, None] * shapes[:, :, 2]
        change[:, :, 1], change[:, :, 2] = shapes[:, :, 0], shapes[:, :, 2]
        gram = np.swapaxes(change, 1, 2) @ change
        quadratics = np.zeros((n, 3, 3, 3))  # body, A B C, power of v, power of u
        first, second = gram[:, 0, :], gram[:, 1:, 1:]
        for q, flat in ((0, 1.0 / d), (1, k), (2, k * k * d)):
            if q < 2:
                quadratics[:, q, 0, 1] = first[:, 1] * flat * (2 - q)
                quadratics[:, q, 1, 0] = first[:, 2] * flat * (2 - q)
            quadratics[:, q, 0, 2] = second[:, 0, 0] * flat / d
            quadratics[:, q, 1, 1] = 2 * second[:, 0, 1] * flat / d
            quadratics[:, q, 2, 0] = second[:, 1, 1] * flat / d
        quadratics[:, 0, 0, 0] = first[:, 0]
        quadratics[:, 2, 0, 0] = -1.0
        # Planes: room - depth * rate >= 0, both linear in u and v (constant, u, v).
        linear = np.empty((n, planes, 2, 3))
        if planes:
            normals = bodies.normals @ self.frame.T
            linear[:, :, 0, 0] = bodies.offsets - (bodies.normals @ bodies.centres[:, :, None])[..., 0]
            linear[:, :, 0, 1:] = -k[:, None, None] * normals[..., ::2]
            linear[:, :, 1, 0] = normals[..., 1] + (normals[..., 0] * cu[:, None] + normals[..., 2] * cv[:, None]) / d
            linear[:, :, 1, 1:] = normals[..., ::2] / d
        middle = np.empty((n, 3))
        middle[:, 0], middle[:, 1], middle[:, 2] = cu, cv, centres[:, 1]
        return _Trace(self._tensor(middle), self._tensor(quadratics), self._tensor(linear))

    def _solve(self, trace: _Trace, u: Tensor, v: Tensor) -> Interval:
        """Return entry and exit at u (w,) or (n, w) and v (h,) or (n, h)."""
        du, dv = u - trace.middle[:, :1], v - trace.middle[:, 1:2]
        columns = torch.stack([torch.ones_like(du), du, du * du], 1)
        rows = torch.stack([torch.ones_like(dv), dv, dv * dv], 2)
        left = rows[:, None] @ trace.quadratics
        a, b, c = (torch.bmm(left[:, q], columns) for q in range(3))
        root = (b * b).addcmul_(a, c, value=-1).clamp_(min=_TINY).sqrt_()
        enter, leave = (b + root).div_(a).neg_(), root.sub_(b).div_(a)
        for p in range(trace.planes.shape[1]):
            (room, rate) = (
                torch.add((one[:, :1] + one[:, 1:2] * du)[:, None, :], (one[:, 2:] * dv)[:, :, None])
                for one in (trace.planes[:, p, 0], trace.planes[:, p, 1])
            )
            rate.add_(1e-9)  # rays parallel to a plane are cut nowhere or everywhere, by the sign of their room
            side = torch.sign(rate).mul_(_FAR)  # adding and subtracting is far faster than torch.where
            hit = room.div_(rate).clamp_(-0.1 * _FAR, 0.1 * _FAR)
            torch.maximum(enter, hit - (side + _FAR), out=enter)
            torch.minimum(leave, hit.add_(_FAR - side), out=leave)
        if trace.planes.shape[1]:
            torch.maximum(leave, enter, out=leave)
        depth = trace.middle[:, 2, None, None]
        return enter.add_(depth), leave.add_(depth)

    def _tensor(self, values: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self.device)


@dataclass(frozen=True, slots=True)
class _Trace:
    """What `_solve` needs of n bodies: centres (u, v, depth), quadratics (n, 3, 3, 3), planes (n, k, 2, 3)."""

    middle: Tensor
    quadratics: Tensor
    planes: Tensor

    def part(self, chosen: Tensor) -> _Trace:
        return _Trace(self.middle[chosen], self.quadratics[chosen], self.planes[chosen])


_CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
_SIDES = (14, 22, 34, 52, 80, 120)
_FAR = 1e9
_TINY = 1e-20  # the square root of an exact zero takes a path ten times slower
