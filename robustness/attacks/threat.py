"""What may the adversary change, by how much, and how is the change measured? Threat models.

Three spaces, each named in every result:

* ``grey``: one value per pixel of the subject's input; the network sees it in all its channels. A radiograph has no
  colour, so this is the space to report first.
* ``colour``: every channel moves on its own. Only for comparison with the literature: no film can show it.
* ``film``: the film at its own resolution, through the subject's differentiable resize and crop.

Budgets are fractions of the grey scale, in (0, 1]. Under L-inf the budget bounds the change of every pixel. Under L2 it
bounds the *root mean square* change over the pixels moved, ||d||_2 / sqrt(n): the same grid of budgets then means
comparable things under both norms and at every resolution. `ThreatModel.euclidean` gives ||d||_2 for comparison.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robustness.attacks.errors import AttackError, BudgetError

BUDGETS = tuple(level / 255 for level in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0))
"""The grid to report, as fractions of the grey scale: undefended networks fall at 1 to 2 grey levels."""

ROUNDING = 1.2e-7
"""A measured size may exceed its budget by one float32 unit at 1.0 (0.00003 grey levels)."""
SLACK = ROUNDING * 255.0
PART = 2**20
"""Pixels that are worked on at once: of a whole film no operation asks for images of its own."""


def check_budgets(budgets: Iterable[float]) -> tuple[float, ...]:
    """Sort budgets and refuse what is not a fraction of the grey scale.

    Args:
        budgets: fractions of the grey scale, each in (0, 1].

    Returns:
        The distinct budgets in ascending order.

    Raises:
        BudgetError: none given, or one is not a finite number in (0, 1].
    """
    found = sorted({float(budget) for budget in budgets})
    if not found:
        raise BudgetError("no budget given; expected fractions of the grey scale such as 1/255")
    for budget in found:
        if not 0.0 < budget <= 1.0:  # also refuses nan
            raise BudgetError(f"budget {budget:g} is outside (0, 1]; one grey level of 255 is {1 / 255:.6f}")
    return tuple(found)


@dataclass(frozen=True)
class ThreatModel:
    """What the adversary may do.

    Args:
        norm: "linf" (largest change of a pixel) or "l2" (root mean square change; see the module docstring).
        tied: True: one grey value per pixel; False: each channel on its own.
        preprocess: for attacks on the whole film: differentiable map (B, 1, H, W) -> (B, C, S, S), both in [0, 1].
        channels: C of the network's input, used where a grey pixel is repeated.
        eight_bit: the subject takes 8-bit images only (a service): every point is rounded to whole grey levels before
            it is shown and measured, so that no change counts as smaller than what was sent.
    """

    norm: Literal["linf", "l2"] = "linf"
    tied: bool = True
    preprocess: Callable[[Tensor], Tensor] | None = None
    channels: int = 3
    eight_bit: bool = False

    def __post_init__(self) -> None:
        if self.norm not in ("linf", "l2"):
            raise AttackError(f"norm is {self.norm!r}; expected 'linf' or 'l2'")
        if self.preprocess is not None and not self.tied:
            raise AttackError("an attack on the whole film is always grey: leave tied=True with preprocess")
        if self.channels < 1:
            raise AttackError(f"channels is {self.channels}; expected 1 or more")

    @property
    def space(self) -> str:
        """What moves: "film", "grey" or "colour"."""
        if self.preprocess is not None:
            return "film"
        return "grey" if self.tied else "colour"

    @property
    def name(self) -> str:
        """Norm and space, for the report: for example "linf/grey"."""
        return f"{self.norm}/{self.space}"

    def start(self, pixels: Tensor) -> Tensor:
        """What the adversary moves, taken from films or network inputs.

        Args:
            pixels: (B, 1 or C, H, W) floats in [0, 1].

        Returns:
            (B, 1, H, W) where tied, (B, C, H, W) where not; float32.

        Raises:
            AttackError: wrong shape, values outside [0, 1], or colour in a grey threat model.
        """
        if pixels.ndim != 4 or pixels.shape[1] not in (1, self.channels):
            raise AttackError(
                f"pixels are {tuple(pixels.shape)}; expected (batch, 1 or {self.channels} channels, height, width)"
            )
        if not pixels.is_floating_point():
            raise AttackError(f"pixels are {pixels.dtype}; expected floats in [0, 1] (divide 8-bit values by 255)")
        low, high = (float(v) for v in torch.aminmax(pixels.detach())) if pixels.numel() else (0.0, 0.0)
        if not (low >= 0.0 and high <= 1.0):
            raise AttackError(
                f"pixels range from {low:g} to {high:g}; expected [0, 1] (normalisation belongs inside the network)"
            )
        pixels = pixels.detach().to(torch.float32)
        pixels = self.shown(pixels)
        if not self.tied:
            return pixels.expand(-1, self.channels, -1, -1).clone()
        spread = float((pixels.amax(1) - pixels.amin(1)).max()) if pixels.numel() and pixels.shape[1] > 1 else 0.0
        if spread > 1e-5:
            raise AttackError(f"channels differ by up to {spread:.3g}: a colour image has no grey threat model")
        return pixels[:, :1].clone()

    def shown(self, moved: Tensor) -> Tensor:
        """Points as they reach the subject: in [0, 1], in whole grey levels where it takes 8 bits."""
        moved = moved.clamp(0.0, 1.0)
        return moved.mul_(255.0).round_().div_(255.0) if self.eight_bit else moved

    def pixels(self, moved: Tensor) -> Tensor:
        """What the network sees, (B, C, S, S), for what the adversary moved."""
        if self.preprocess is not None:
            network_input: Tensor = self.preprocess(moved)
            return network_input
        return moved.expand(-1, self.channels, -1, -1) if self.tied else moved

    def size(self, change: Tensor) -> Tensor:
        """Size of each change in units of the budget: (B, c, H, W) -> (B,) float64."""
        flat = change.detach().flatten(1)
        if self.norm == "linf":
            return largest(flat).to(torch.float64)
        length: Tensor = torch.linalg.vector_norm(flat, dim=1, dtype=torch.float64)
        return length / math.sqrt(flat.shape[1])

    def apart(self, points: Tensor, films: Tensor) -> Tensor:
        """Size of what lies between points and films: twice (B, c, H, W) -> (B,) float64."""
        if self.norm != "linf":
            return self.size(points - films)
        return torch.stack([self.size(points[part] - films[part]) for part in strips(films)]).amax(0)

    def each_pixel(self, work: Callable[..., Tensor], *images: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Return what becomes of images (B, c, H, W) where each pixel is worked on by itself, as under L-inf.

        There large ones are worked on strip by strip, so that only the result is an image of its own; under L2, where
        one pixel may depend on all, as a whole. Both give the same bits.

        Args:
            work: function of the images, or of a strip of each; what it returns belongs to nobody else.
            images: of one shape.
            dtype: of the result, if not that of the first image.
        """
        parts = strips(images[0])
        if self.norm != "linf" or len(parts) == 1:
            return work(*images)
        whole = torch.empty_like(images[0], dtype=dtype)
        for part in parts:
            whole[part] = work(*(image[part] for image in images))
        return whole

    def euclidean(self, budget: float, shape: tuple[int, ...]) -> float:
        """The ordinary Euclidean norm ||d||_2 of an L2 budget for one film of shape (c, H, W)."""
        return budget * math.sqrt(math.prod(shape))

    def project(self, moved: Tensor, start: Tensor, budget: Tensor) -> Tensor:
        """Bring points back inside the budget and inside [0, 1].

        Args:
            moved: (B, c, H, W) points.
            start: (B, c, H, W) films.
            budget: (B,) budgets.

        Returns:
            (B, c, H, W); for L2 scaled towards the film, then clipped, which only makes the change smaller.
        """
        if self.norm == "linf":
            radius = column(budget).to(start.dtype)
            return self.each_pixel(
                lambda point, film: torch.clamp(point, film - radius, film + radius).clamp_(0.0, 1.0), moved, start
            )
        change = moved - start
        scale = (budget / self.size(change).clamp_min(1e-30)).clamp_max(1.0)
        return (start + change * column(scale).to(start.dtype)).clamp(0.0, 1.0)

    def steepest(self, gradient: Tensor) -> Tensor:
        """Direction of size one along which a linear function with this gradient rises fastest (0 where it is 0)."""
        if self.norm == "linf":
            return gradient.sign()
        # Divided by the largest entry first: the squares of small gradients underflow.
        gradient = gradient / column(gradient.flatten(1).abs().amax(1)).clamp_min(1e-38)
        return gradient / column(self.size(gradient).to(gradient.dtype)).clamp_min(1e-38)


def largest(flat: Tensor) -> Tensor:
    """Largest size of a number of each row, without a copy: (B, n) -> (B,)."""
    low, high = torch.aminmax(flat, dim=1)
    return torch.maximum(low.abs(), high.abs())


def strips(images: Tensor) -> list[tuple[slice, slice, slice]]:
    """Where the rows of (B, c, H, W) images lie that are worked on at once, `PART` pixels or a single row."""
    rows = max(1, PART * images.shape[2] // max(1, images.numel()))
    return [(slice(None), slice(None), slice(first, first + rows)) for first in range(0, images.shape[2], rows)]


def column(values: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1), to scale images one by one."""
    return values.view(-1, 1, 1, 1)


def requantise(moved: Tensor, start: Tensor, budget: Tensor, threat: ThreatModel) -> tuple[Tensor, Tensor]:
    """The 8-bit image closest to each adversarial point that still lies inside the budget.

    Under L-inf each pixel goes to the nearest grey level inside [start - budget, start + budget]. Under L2 pixels are
    rounded, and where that leaves the budget, towards the film. A film that lies between grey levels (after a resize)
    may have no grey level inside a small budget; then there is no such image.

    Args:
        moved: (B, c, H, W) adversarial points.
        start: (B, c, H, W) films in [0, 1].
        budget: (B,) budgets.
        threat: the threat model.

    Returns:
        (B, c, H, W) uint8 images, and (B,) bool: whether the image, measured again, lies inside its budget.
    """
    if threat.norm == "linf":
        stored = threat.each_pixel(lambda point, film: _nearest(point, film, budget), moved, start, dtype=torch.uint8)
    else:
        levels, film = moved.double() * 255.0, start.double() * 255.0
        rounded = levels.round()
        towards = torch.where(levels >= film, torch.floor(levels + SLACK), torch.ceil(levels - SLACK))
        outside = threat.size((rounded - film) / 255.0) > budget + ROUNDING
        stored = torch.where(column(outside), towards, rounded).clamp(0.0, 255.0).to(torch.uint8)
    # Measured as it will be replayed: the stored integers, divided by 255 in float32, against the film.
    replayed = threat.each_pixel(lambda levels: levels / 255.0, stored, dtype=torch.float32)
    return stored, threat.apart(replayed, start) <= budget + ROUNDING


def _nearest(moved: Tensor, start: Tensor, budget: Tensor) -> Tensor:
    """The grey levels next to each pixel that lie no further than the budget from the film's."""
    film, radius = start.double() * 255.0, column(budget).double() * 255.0
    low, high = torch.ceil(film - radius - SLACK), torch.floor(film + radius + SLACK)
    levels = torch.clamp(
        (moved.double() * 255.0).round(), torch.minimum(low, film.round()), torch.maximum(high, film.round())
    )
    return levels.clamp_(0.0, 255.0).to(torch.uint8)
