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
        return points @ self.frame.T - np.array([self.shift[0], 0.0, self.shift[1]])

    def project(self, points: Array) -> tuple[Array, Array]:
        """Return the (column, row) in pixels, pixel centres at whole numbers, where points (..., 3) fall on the film."""
        seen = self.view(points)
        scale = self.size / (self.field * (1.0 + seen[..., 1] / self.distance))
        half = (self.size - 1) / 2
        return seen[..., 0] * scale + half, half - seen[..., 2] * scale

    def windows(self, bodies: Bodies, margin: int = 1) -> NDArray[np.int64]:
        """Return (n, 4): first and end row, first and end column that can see each body; first >= end where none can."""
        columns, rows = self.project(bodies.centres[:, None] + bodies.reaches[:, None] * _CORNERS)
        low = np.stack([rows.min(1), columns.min(1)], 1).clip(-1e6, 1e6).astype(np.int64) - margin
        high = np.stack([rows.max(1), columns.max(1)], 1).clip(-1e6, 1e6).astype(np.int64) + margin + 2
        low, high = low.clip(0, self.size), high.clip(0, self.size)
        return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], 1)

    def plane(self, normal: Array) -> tuple[Tensor, Tensor]:
        """Return (H, W) start and rate: along each ray, normal . p = start + depth times rate."""
        nu, nw, nv = (float(c) for c in self.frame @ normal)
        slope = nu * self.u[None, :] + nv * self.v[:, None]
        rate = slope / self.distance + nw
        return slope + (nu * self.shift[0] + nv * self.shift[1]), torch.where(rate.abs() < 1e-4, 1e-4, rate)

    def intervals(self, bodies: Bodies, window: Window = FULL) -> Interval:
        """Return the depths (n, h, w) at which each ray of a window enters and leaves each body.

        Lengths along the ray are these times `oblique`. A ray that misses a body has entry equal to exit (to 1e-9 cm).
        """
        u, v = self.u[window[1]], self.v[window[0]]
        return self._solve(bodies, u.expand(len(bodies), -1), v.expand(len(bodies), -1))

    def union(self, bodies: Bodies) -> Tensor:
        """Return (H, W): cm of path inside the union of bodies. Tiles of the film look only at the bodies they can see."""
        total = self.blank()
        seen = self.windows(bodies)
        for i in range(_TILES):
            for j in range(_TILES):
                top, bottom, left, right = (self.size * k // _TILES for k in (i, i + 1, j, j + 1))
                hit = (seen[:, 0] < bottom) & (seen[:, 1] > top) & (seen[:, 2] < right) & (seen[:, 3] > left)
                if hit.any():
                    window = (slice(top, bottom), slice(left, right))
                    total[window] = Cover(*self.intervals(bodies[hit], window)).length()
        return total.mul_(self.oblique)

    def accumulate(self, bodies: Bodies, weights: Array) -> Tensor:
        """Return (H, W): the sum over small bodies of weight times chord (cm), each evaluated in its own window only."""
        total = self.blank()
        windows = self.windows(bodies)
        need = np.maximum(windows[:, 1] - windows[:, 0], windows[:, 3] - windows[:, 2])
        seen = (windows[:, 0] < windows[:, 1]) & (windows[:, 2] < windows[:, 3])
        sides = np.minimum(np.array([*_SIDES, self.size])[np.searchsorted(_SIDES, need)], self.size)
        capped = np.abs(bodies.normals).any((1, 2))
        for side in np.unique(sides[seen]).tolist():
            for planes in (False, True):
                chosen = seen & (sides == side) & (capped == planes)
                if not chosen.any():
                    continue
                some = bodies[chosen]
                steps = np.arange(side)
                rows = torch.from_numpy(np.minimum(windows[chosen, 0], self.size - side)[:, None] + steps).to(self.device)
                columns = torch.from_numpy(np.minimum(windows[chosen, 2], self.size - side)[:, None] + steps).to(self.device)
                enter, leave = self._solve(some if planes else _plain(some), self.u[columns], self.v[rows])
                chord = leave.sub_(enter).mul_(self._tensor(weights[chosen])[:, None, None])
                place = (rows * self.size)[:, :, None] + columns[:, None, :]
                total.view(-1).index_add_(0, place.reshape(-1), chord.reshape(-1))
        return total.mul_(self.oblique)

    def _solve(self, bodies: Bodies, u: Tensor, v: Tensor) -> Interval:
        """Solve A w^2 + 2 B w + C = 0 for the depth w, counted from each body's centre, at u (n, w) and v (n, h)."""
        centres, d = self.view(bodies.centres), self.distance
        k = 1.0 + centres[:, 1] / d
        cu, cv = centres[:, 0] / k, centres[:, 2] / k
        shapes = bodies.shapes @ self.frame.T
        # Columns: how the quadric's inner coordinates change with depth on the ray through the centre, with u, with v.
        change = np.stack([(cu / d)[:, None] * shapes[:, :, 0] + shapes[:, :, 1] + (cv / d)[:, None] * shapes[:, :, 2],
                           shapes[:, :, 0], shapes[:, :, 2]], 2)  # fmt: skip
        gram = np.swapaxes(change, 1, 2) @ change
        ww, wu, wv, uu, uv, vv = (gram[:, i, j] for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)))
        zero = np.zeros_like(k)
        # (n, quadratic, power of v, power of u)
        polynomials = np.array([
            [[ww, 2 * wu / d, uu / d**2], [2 * wv / d, 2 * uv / d**2, zero], [vv / d**2, zero, zero]],
            [[zero, k * wu, k * uu / d], [k * wv, 2 * k * uv / d, zero], [k * vv / d, zero, zero]],
            [[zero - 1.0, zero, k * k * uu], [zero, 2 * k * k * uv, zero], [k * k * vv, zero, zero]],
        ]).transpose(3, 0, 1, 2)  # fmt: skip
        du = u - self._tensor(cu)[:, None]
        dv = v - self._tensor(cv)[:, None]
        columns = torch.stack([torch.ones_like(du), du, du * du], 1)
        rows = torch.stack([torch.ones_like(dv), dv, dv * dv], 2)
        left = rows[:, None] @ self._tensor(polynomials)
        a, b, c = (torch.bmm(left[:, q], columns) for q in range(3))
        root = (b * b).addcmul_(a, c, value=-1).clamp_(min=_TINY).sqrt_()
        enter, leave = b.neg().sub_(root).div_(a), root.sub_(b).div_(a)
        if bodies.offsets.shape[1]:
            self._clip(bodies, centres, (du, dv), (enter, leave))
        offset = self._tensor(centres[:, 1])[:, None, None]
        return enter.add_(offset), leave.add_(offset)

    def _clip(self, bodies: Bodies, centres: Array, local: tuple[Tensor, Tensor], seen: Interval) -> None:
        """Shorten the intervals, whose depths count from each body's centre, to the inner side of the planes."""
        du, dv = local
        enter, leave = seen
        d = self.distance
        k = 1.0 + centres[:, 1] / d
        slacks = bodies.offsets - (bodies.normals @ bodies.centres[:, :, None])[..., 0]
        normals = bodies.normals @ self.frame.T
        for p in range(bodies.offsets.shape[1]):
            nu, nw, nv = normals[:, p].T
            along = self._tensor(np.stack([nu, nv, nw + (nu * centres[:, 0] + nv * centres[:, 2]) / (k * d), slacks[:, p]])[..., None])
            across, down = (along[0] * du)[:, None, :], (along[1] * dv)[:, :, None]
            slope = across + down
            room = along[3, :, None] - slope * self._tensor(k)[:, None, None]
            rate = slope.div_(d).add_(along[2, :, None]).add_(1e-9)  # parallel rays: cut nowhere or everywhere, by their room
            side = torch.sign(rate).mul_(_FAR)  # adding and subtracting is far faster than torch.where
            hit = room.div_(rate).clamp_(-0.1 * _FAR, 0.1 * _FAR)
            torch.maximum(enter, hit - (side + _FAR), out=enter)
            torch.minimum(leave, hit.add_(_FAR - side), out=leave)
        torch.maximum(leave, enter, out=leave)

    def _tensor(self, values: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self.device)


_CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
_TILES = 3
_SIDES = (12, 20, 32, 48, 72, 108, 160)
_FAR = 1e9
_TINY = 1e-20  # the square root of an exact zero takes a path ten times slower


def _plain(bodies: Bodies) -> Bodies:
    n = len(bodies)
    return Bodies(bodies.centres, bodies.shapes, bodies.reaches, np.zeros((n, 0, 3)), np.zeros((n, 0)))
