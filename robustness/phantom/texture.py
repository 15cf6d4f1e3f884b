"""What is too fine for single bodies: branching vessels and bronchi, reticular lines, and the grain of lung tissue.

Lines are drawn by mass: every short piece of a tube lays its volume on the film, so that the film's integral is exact,
with a profile as wide as the tube.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from .beam import ConeBeam
from .geometry import Array


class Lines:
    """Many short pieces of tube: places (n, 3), radii (n,) and lengths (n,), all in cm."""

    def __init__(self, places: Array, radii: Array, lengths: Array) -> None:
        self.places, self.radii, self.lengths = places, radii, lengths

    def keep(self, chosen: NDArray[np.bool_]) -> Lines:
        """Return only the chosen pieces."""
        return Lines(self.places[chosen], self.radii[chosen], self.lengths[chosen])

    @property
    def volumes(self) -> Array:
        """Return the volume of each piece in cm3."""
        return np.pi * self.radii**2 * self.lengths


def joined(*lines: Lines) -> Lines:
    """Return all pieces together."""
    return Lines(*(np.concatenate([getattr(one, n) for one in lines]) for n in ("places", "radii", "lengths")))


def _unit(vectors: Array) -> Array:
    length: Array = np.sqrt(np.square(vectors).sum(-1, keepdims=True))
    return vectors / np.maximum(length, 1e-9)


def _across(a: Array, b: Array) -> Array:
    x, y, z = a.T
    p, q, r = b.T
    return np.stack([y * r - z * q, z * p - x * r, x * q - y * p], 1)


def tree(
    rng: np.random.Generator, root: Array, heading: Array, *, length: float, radius: float | Array, step: float,
    generations: int = 6, spread: float = 0.55,
) -> Lines:  # fmt: skip
    """Grow a branching tree of tubes: every branch bends and splits in two, thinner and shorter each time.

    Args:
        rng: source of chance.
        root: (3,) or (n, 3) where the stems begin.
        heading: (n, 3) directions of the n stems.
        length: of a stem, cm.
        radius: of a stem, or of each (n,), cm.
        step: length of a piece, cm.
        generations: how often branches split, plus one.
        spread: sideways part of a daughter's direction.
    """
    start = np.broadcast_to(root, heading.shape).copy()
    way = _unit(heading)
    reach = length * rng.uniform(0.75, 1.25, len(way))
    thick = radius * rng.uniform(0.8, 1.15, len(way))
    pieces: list[tuple[Array, Array, Array]] = []
    for _ in range(generations):
        n = max(3, int(np.ceil(reach.mean() / step)))
        t = ((np.arange(n) + 0.5) / n)[None, :, None]
        bend = 0.16 * reach[:, None] * rng.normal(size=way.shape)
        end = start + reach[:, None] * way
        middle = (start + end) / 2 + bend
        curve = (1 - t) ** 2 * start[:, None] + 2 * t * (1 - t) * middle[:, None] + t**2 * end[:, None]
        radii = thick[:, None] * (1.0 - 0.22 * t[..., 0])
        pieces.append((curve.reshape(-1, 3), radii.reshape(-1), np.repeat(reach / n, n)))
        side = _unit(_across(way, rng.normal(size=way.shape)))
        amount = spread * rng.uniform(0.5, 1.4, (2, len(way), 1))
        onward = _unit(end - middle)
        way = _unit(np.concatenate([onward + amount[0] * side, onward - amount[1] * side]))
        start = np.concatenate([end, end])
        reach = np.concatenate([reach, reach]) * rng.uniform(0.62, 0.95, len(way))
        thick = np.concatenate([thick, thick]) * rng.uniform(0.66, 0.84, len(way))
    return Lines(*(np.concatenate(part) for part in zip(*pieces, strict=True)))


def draw(beam: ConeBeam, lines: Lines) -> Tensor:
    """Return (H, W): cm of tube on every ray, each piece spread over a profile as wide as its tube."""
    size = beam.size
    if not len(lines.places):
        return torch.zeros(size, size, device=beam.device)
    column, row = beam.project(lines.places)
    grow = 1.0 + beam.view(lines.places)[:, 1] / beam.distance
    mass = lines.volumes / (beam.pixel * grow) ** 2
    width = lines.radii / (beam.pixel * grow)
    layer = np.digitize(width, _EDGES)
    x, y = np.floor(column).astype(np.int64), np.floor(row).astype(np.int64)
    fx, fy = column - x, row - y
    # A border of one pixel on each side takes what falls off the film.
    wide = size + 2
    inside = (x >= -1) & (x < size) & (y >= -1) & (y < size)
    place = (layer * wide + y + 1) * wide + x + 1
    places = np.concatenate([(place + o)[inside] for o in (0, 1, wide, wide + 1)])
    parts = ((1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy)
    masses = np.concatenate([(mass * part)[inside] for part in parts])
    flat = np.bincount(places, masses, minlength=len(_WIDTHS) * wide * wide).astype(np.float32)
    stack = torch.from_numpy(flat).view(len(_WIDTHS), wide, wide)[:, 1:-1, 1:-1].to(beam.device)
    total = torch.zeros(size, size, device=beam.device)
    for level, (image, middle) in enumerate(zip(stack, _WIDTHS, strict=True)):
        if (layer == level).any():
            total += smooth(image, max(0.35, 0.5 * middle))
    return total


_EDGES = (0.8, 1.9)
_WIDTHS = (0.5, 1.2, 3.0)  # radii in pixels, for the profiles tubes are drawn with


def smooth(image: Tensor, sigma: float) -> Tensor:
    """Return an image (H, W) blurred by a Gaussian of `sigma` pixels; the border is repeated."""
    reach = max(1, int(np.ceil(2.6 * sigma)))
    weights = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    weights /= 2.0 * weights.sum() - weights[0]
    # Adding shifted copies beats a convolution for the few taps used here.
    for axis in (0, 1):
        length = image.shape[axis]
        first, last = image.narrow(axis, 0, 1), image.narrow(axis, length - 1, 1)
        padded = torch.cat([*[first] * reach, image, *[last] * reach], axis)
        image = image * float(weights[0])
        for k in range(1, reach + 1):
            image.add_(padded.narrow(axis, reach - k, length), alpha=float(weights[k]))
            image.add_(padded.narrow(axis, reach + k, length), alpha=float(weights[k]))
    return image


def broad(image: Tensor, sigma: float) -> Tensor:
    """Return an image (H, W) blurred by a wide Gaussian, computed on a reduced copy."""
    factor = max(1, int(sigma // 3))
    small = F.avg_pool2d(image[None, None], factor, ceil_mode=True, count_include_pad=False)
    small = smooth(small[0, 0], sigma / factor)[None, None]
    return F.interpolate(small, size=image.shape, mode="bilinear", align_corners=False)[0, 0]


def grain(
    rng: np.random.Generator, size: int, device: str | torch.device, cells: tuple[int, ...], slope: float = 0.7
) -> Tensor:
    """Return a random field (size, size) of mean 0 and standard deviation 1, the same at every resolution.

    Args:
        rng: source of chance.
        size: pixels along one side.
        device: where to put it.
        cells: lattice cells along one side, one number per octave.
        slope: each octave's strength goes with cells ** -slope.
    """
    total = torch.zeros(size, size, device=device)
    power = 0.0
    for n in cells:
        lattice = torch.from_numpy(rng.standard_normal((n, n), np.float32)).to(device)
        spread = _splines(size, n).to(device)
        strength = float(n) ** -slope
        total.addmm_(spread @ lattice, spread.T, alpha=strength)
        power += float(strength**2)
    return total.div_(power**0.5)


@lru_cache(maxsize=64)
def _splines(size: int, cells: int) -> Tensor:
    """Return (size, cells): cubic B-splines on a lattice, scaled so that independent coefficients keep variance 1."""
    place = (np.arange(size) + 0.5) / size * cells - 0.5
    t = np.abs(place[:, None] - np.arange(cells)[None, :])
    basis = np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.where(t < 2, (2 - np.minimum(t, 2)) ** 3 / 6, 0.0))
    return torch.from_numpy((basis / np.sqrt((basis**2).sum(1, keepdims=True))).astype(np.float32))
