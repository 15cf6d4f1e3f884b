"""How is a thorax built from its lung mask? Sides, thickness, hila, and smooth random fields to fill it with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from robustness.content_cache import remembered
from robustness.draws import Draws
from robustness.facts import fact
from robustness.filters import blur_within, coordinates, covered_of, gaussian_blur, resize, smoothstep
from robustness.perturbation import PerturbationUndefined
from robustness.pointwise import numbers
from robustness.primitives.ordering import places, ranked, taken

LUNG_DEPTH_CM = 8.0
"""Thickest path through one lung of a three-year-old, front to back."""
PLEURA = 0.033
"""Sigma over which the outline of a lung is softened (share of its height, 5 mm in a child)."""
NEAR = 0.12
"""Softened outline (0 to 1) from which on a place counts as lung: 6 mm outside of the outline."""
NEARER = 0.2
"""By how much higher that is at the lower ends of the chest walls: 2 mm outside of the outline."""
SLIVER = 0.007
"""Sigma over which the outline is softened where the lung ends in a sliver (1 mm in a child)."""
SETTING_IN = 0.06
"""Sigma over which that path sets in, as a share of the height of the lungs."""


@dataclass(frozen=True, eq=False)
class Thorax:
    """Lungs of one film.

    Attributes:
        lungs: (H, W) bool.
        midline: column between the lungs, pixels.
        top, bottom: first and last row of the lungs.
        left, right: first and last column of the lungs.
    """

    lungs: Tensor
    midline: float
    top: int
    bottom: int
    left: int
    right: int

    @cached_property
    def depth(self) -> Tensor:
        """(H, W) float32, path through the lung in cm, see `lung_depth`."""
        return lung_depth(self.lungs)

    def side(self, which: str) -> Tensor:
        """(H, W) bool: the lung on the "left" or "right" of the film, or "both"."""
        if which == "both":
            return self.lungs
        columns = torch.arange(self.lungs.shape[1], device=self.lungs.device)
        half = columns < self.midline if which == "left" else columns >= self.midline
        return self.lungs & half[None, :]

    def hemithorax(self, which: str) -> Tensor:
        """(H, W) bool: the lung of a side with what of it lies behind heart, great vessels and diaphragm, or "both".

        It is the convex hull of the lung that is seen and of a strip beside the spine, an eighth of the half width off
        the midline, from a fifth of the height below the apex to the lowest costophrenic angle.
        """
        if which == "both":
            return self._hemithoraces[0] | self._hemithoraces[1]
        return self._hemithoraces[0 if which == "left" else 1]

    def seen_in(self, image: Tensor, which: str) -> Tensor:
        """(N,) pixels of an image (H, W) in the lung of a side, see `side`."""
        if which not in self._places:
            self._places[which] = places(self.side(which))
        return taken(image, self._places[which])

    @cached_property
    def _places(self) -> dict[str, Tensor]:
        return {}

    @cached_property
    def _hemithoraces(self) -> tuple[Tensor, Tensor]:
        found = []
        for which in ("left", "right"):
            half = self.midline - self.left if which == "left" else self.right - self.midline
            spine = round(self.midline + (-0.125 if which == "left" else 0.125) * half)
            found.append(hull(self.side(which), spine))
        return found[0], found[1]

    @cached_property
    def mediastinum(self) -> Tensor:
        """(H, W) bool: the space between the lungs, in the middle third of their height."""
        rows = torch.arange(self.lungs.shape[0], device=self.lungs.device)[:, None]
        between = (self.side("left").cumsum(1) > 0) & (self.side("right").flip(1).cumsum(1).flip(1) > 0) & ~self.lungs
        return between & (rows > self.top + self.height / 3) & (rows < self.bottom - self.height / 3)

    @property
    def height(self) -> int:
        """Rows from the apex to the lowest costophrenic angle."""
        return self.bottom - self.top + 1

    def hilum(self, which: str) -> tuple[float, float]:
        """Row and column of the hilum of a side: 45 % down, a fifth of the half width from the midline."""
        half = self.midline - self.left if which == "left" else self.right - self.midline
        sign = -1.0 if which == "left" else 1.0
        return self.top + 0.45 * self.height, self.midline + sign * 0.22 * half


@fact(0, "a convex hull")
def hull(lung: Tensor, spine: int) -> Tensor:
    """(H, W) bool: convex hull of a lung and of a strip beside the spine, at a column (see `Thorax.hemithorax`)."""
    seen = lung.numpy()
    rows = np.flatnonzero(seen.any(axis=1))
    top, bottom = int(rows[0]), int(rows[-1])
    strip = [[spine, round(top + 0.2 * (bottom - top))], [spine, round(bottom - 0.04 * (bottom - top))]]
    first, last = seen[rows].argmax(axis=1), seen.shape[1] - 1 - seen[rows, ::-1].argmax(axis=1)
    places = np.concatenate([np.stack([first, rows], 1), np.stack([last, rows], 1), strip]).astype(np.int32)
    filled = cv2.fillConvexPoly(np.zeros(seen.shape, dtype=np.uint8), cv2.convexHull(places), 1)
    return torch.from_numpy(filled.view(bool))


@fact(3, "distances to the edge of a mask")
def thorax_of(lungs: Tensor) -> Thorax:
    """Read the geometry off a mask (H, W).

    Raises:
        PerturbationUndefined: the mask does not hold two sides.
    """
    rows = torch.nonzero(lungs.any(dim=1)).squeeze(1)
    columns = lungs.sum(dim=0).float()
    occupied = torch.nonzero(columns > 0).squeeze(1)
    if len(occupied) < 8 or len(rows) < 8:
        raise PerturbationUndefined("the lung mask is only a few pixels wide")
    left, right = int(occupied[0]), int(occupied[-1])
    # The mediastinum is where the least lung is, in the middle third of what is between the outer walls.
    third = (right - left) // 3
    middle = columns[left + third : right - third + 1]
    lowest = torch.nonzero(middle == middle.min()).squeeze(1).float().mean()
    midline = left + third + float(lowest)
    sides = (bool(lungs[:, : round(midline)].any()), bool(lungs[:, round(midline) :].any()))
    if not all(sides):
        raise PerturbationUndefined("the lung mask holds only one side")
    if not bool(_halved(lungs).any()):
        raise PerturbationUndefined("the lung mask is thinner than two pixels")
    return Thorax(lungs, midline, int(rows[0]), int(rows[-1]), left, right)


@fact(0, "distances to the edge of a mask")
def lung_depth(lungs: Tensor) -> Tensor:
    """(H, W) float32, path through the lung in cm, found at half resolution.

    It is the chord of an ellipse, LUNG_DEPTH_CM * sqrt(1 - (1 - d)^2) with d the distance to the edge of the mask over
    the largest one.
    """
    distance = ndimage.distance_transform_edt(_halved(lungs).numpy()).astype(np.float32)
    inward = resize(torch.from_numpy(distance), *lungs.shape)
    inward = (inward / float(inward.max())).clamp(0.0, 1.0)
    return LUNG_DEPTH_CM * (inward * (2.0 - inward)).sqrt() * lungs


def _halved(lungs: Tensor) -> Tensor:
    """(H / 2, W / 2) bool: a mask (H, W) at half resolution."""
    height, width = lungs.shape
    return resize(numbers(lungs), max(8, height // 2), max(8, width // 2)) > 0.5


def random_field(draws: Draws, label: str, shape: tuple[int, ...], beta: float, shortest: float = 0.0) -> Tensor:
    """(H, W) Gaussian random field with power spectrum |k|^-beta, mean 0 and standard deviation 1.

    Args:
        draws: where the numbers come from.
        label: name of the field.
        shape: height and width.
        beta: spectral exponent; 3.5 gives clouds, 2 finer ones.
        shortest: wavelengths below this many pixels are left out.
    """
    return _field(
        draws.image_id, draws.name, draws.seed, label, tuple(shape), beta, shortest, torch.device(draws.device)
    )


@remembered(8)
def _field(  # noqa: PLR0917 - what is remembered is given by position
    image_id: str, name: str, seed: int, label: str, shape: tuple[int, ...], beta: float, shortest: float,
    device: torch.device,
) -> Tensor:  # fmt: skip
    """The field, which is the same for every severity."""
    draws = Draws(image_id, name, seed, device=device)
    # Fields of this kind hold nothing fine: they are made on a grid of at most 64 along the shorter side.
    factor = max(1.0, min(shape) / 64.0)
    height, width = (max(8, math.ceil(side / factor)) for side in shape)
    spectrum = torch.fft.rfft2(draws.normals(label, height, width))
    rows = torch.fft.fftfreq(height, device=spectrum.device)[:, None]
    columns = torch.fft.rfftfreq(width, device=spectrum.device)[None, :]
    radius = (rows.square() + columns.square()).sqrt()
    gain = radius.clamp_min(0.5 / min(height, width)).pow(-beta / 2.0)
    gain[0, 0] = 0.0
    if shortest > 0.0:
        gain = gain * (radius <= factor / shortest)
    field = torch.fft.irfft2(spectrum * gain, s=(height, width))
    return resize((field - field.mean()) / field.std().clamp_min(1e-9), shape[0], shape[1])


@remembered(3)
def nearness(thorax: Thorax, side: str) -> Tensor:
    """(H, W), 1 in the hemithorax of a side, falling to 0 beyond it, where the film's own edges end an opacity.

    It falls over 2 to 10 mm beyond the lung that is seen, whose outline is known, and more gently where lung is only
    inferred, behind heart and dome.
    """
    flank = NEARER * flanks(thorax)
    seen = (gaussian_blur(numbers(thorax.side(side)), PLEURA * thorax.height) - flank) / NEAR
    inferred = gaussian_blur(numbers(thorax.hemithorax(side)), SETTING_IN * thorax.height) - flank
    # The tail is cut: what is far below a grey level costs time, as denormal numbers do.
    near = torch.maximum(smoothstep(seen - 0.01), smoothstep(1.6 * inferred - 0.2))
    return torch.maximum(near, smoothstep(2.0 * gaussian_blur(numbers(thorax.side(side)), SLIVER * thorax.height)))


def flanks(thorax: Thorax) -> Tensor:
    """(H, W), 1 at the lower ends of the chest walls, where they are thin and soft tissue beside them dark as lung."""
    rows, _ = coordinates(thorax.depth)
    down = (rows - thorax.top + (thorax.depth.shape[0] - 1) / 2.0) / thorax.height
    off = torch.maximum(outward(thorax, "left"), outward(thorax, "right"))
    return smoothstep((down - 0.55) / 0.2) * smoothstep((off - 0.65) / 0.2)


def outward(thorax: Thorax, side: str) -> Tensor:
    """(1, W) distance from the midline toward a side in half widths of the chest, 0 to 1 within it."""
    _, columns = coordinates(thorax.depth)
    middle = thorax.midline - (thorax.depth.shape[1] - 1) / 2.0
    half = thorax.midline - thorax.left if side == "left" else thorax.right - thorax.midline
    return (columns - middle) * ((-1.0 if side == "left" else 1.0) / max(half, 1.0))


def opacified(order: Tensor, thorax: Thorax, side: str, extent: float, edge_px: float) -> Tensor:
    """(H, W) share, 1 where a side comes first in order, with a border `edge_px` (sigma) soft.

    Extent is counted on the lung that is seen; what lies behind heart and dome goes along. The border is soft toward
    aerated lung only: along the pleura the share stays what it is inside.
    """
    return opacified_by(order, thorax, side, extent, edge_px)[0]


def opacified_by(order: Tensor, thorax: Thorax, side: str, extent: float, *edges_px: float) -> list[Tensor]:
    """As `opacified`, with a border as soft as each of some sigmas."""
    near = nearness(thorax, side)
    if extent >= 1.0:
        return [near] * len(edges_px)
    seen, region = thorax.seen_in(order, side), thorax.hemithorax(side)
    (threshold,) = ranked(seen, min(len(seen), len(seen) - round(extent * len(seen)) + 1) - 1)
    chosen, within = numbers((order >= threshold) & region), numbers(region)
    blurred = (blur_within(chosen, within, sigma, _covered(thorax, side, sigma)) for sigma in edges_px)
    return [(1.004 * soft - 0.002).clamp_(0.0, 1.0).mul_(near) for soft in blurred]


@remembered(6)
def _covered(thorax: Thorax, side: str, sigma: float) -> Tensor:
    """`covered_of` a hemithorax, the same for every extent."""
    return covered_of(numbers(thorax.hemithorax(side)), sigma)
