"""How does what was found on a coarse film come onto a fine one? Strip by strip, with what only the fine one shows.

Nothing that a white-out looks for is finer than a millimetre and a half, and films have ten pixels there. So a large
film is averaged down first, and what becomes of the coarse film is enlarged again, as one level of a Laplacian pyramid
is (Burt and Adelson 1983): what the coarse film cannot hold is taken from the film itself. Besides film and result,
memory and most of the time are those of the coarse film, whatever the size of the film. Films that are no larger are
their own coarse films, and nothing is averaged or enlarged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from torch import Tensor

from robustness.draws import Draws
from robustness.pointwise import affine
from robustness.radiograph import DT, T0, Radiograph

PIXELS = 512 * 768
"""Most pixels of a coarse film: of a child's chest, two a millimetre."""
STRIP = 2**18
"""Pixels of a strip: a few images of this size stay in the processor's cache."""


def coarse(film: Tensor, draws: Draws) -> tuple[Tensor, Draws]:
    """A film (H, W) averaged over areas to no more than PIXELS, and its draws with a lung mask of that size."""
    height, width = film.shape
    scale = math.sqrt(PIXELS / (height * width))
    if scale >= 1.0:
        return film, draws
    size = (max(1, math.floor(width * scale)), max(1, math.floor(height * scale)))
    small = torch.from_numpy(cv2.resize(film.numpy(), size, interpolation=cv2.INTER_AREA)).clamp_(0.0, 1.0)
    lungs = draws.lungs
    if lungs is not None:
        grey = lungs.numpy().view(np.uint8) * np.uint8(255)
        lungs = torch.from_numpy(cv2.resize(grey, size, interpolation=cv2.INTER_AREA) >= 128)
    return small, Draws(draws.image_id, draws.name, draws.seed, lungs=lungs, device=draws.device)


def spans(height: int, width: int) -> Iterator[slice]:
    """Rows of a film, so many at a time as make a strip."""
    rows = max(1, STRIP // width)
    for first in range(0, height, rows):
        yield slice(first, min(first + rows, height))


@dataclass(frozen=True, eq=False)
class Strip:
    """Some rows of a film, and the coarse film.

    Attributes:
        film: (H, W) float32 in [0, 1], all of it.
        radiograph: of the coarse film.
        rows: of the strip.
    """

    film: Tensor
    radiograph: Radiograph
    rows: slice

    @cached_property
    def attenuation(self) -> Tensor:
        """(rows, W) of the film."""
        if self._same:
            return self.radiograph.attenuation[self.rows]
        return affine(self.radiograph.line(self.film[self.rows]), DT, T0)

    def of(self, image: Tensor) -> Tensor:
        """Rows (rows, W) of an image of the coarse film's size, interpolated linearly."""
        if self._same:
            return image[self.rows]
        height, width = self.film.shape
        rows = np.arange(self.rows.start, self.rows.stop, dtype=np.float64)
        place = np.clip((rows + 0.5) * (len(image) / height) - 0.5, 0.0, len(image) - 1.0)
        above = place.astype(np.intp)
        share = (place - above).astype(np.float32)[:, None]
        lines, below = image.numpy(), np.minimum(above + 1, len(image) - 1)
        between = lines[above] * (1.0 - share) + lines[below] * share
        return torch.from_numpy(cv2.resize(between, (width, len(rows)), interpolation=cv2.INTER_LINEAR))

    def refined(self, changed: Tensor, kept: Tensor | float = 1.0) -> Tensor:
        """(rows, W) attenuation of the film where that of the coarse film is `changed`.

        Args:
            changed: (h, w) attenuation.
            kept: share of what only the film itself shows that is left, a number or (rows, W).
        """
        if self._same:
            return changed[self.rows]
        return self.of(changed) + kept * (self.attenuation - self.of(self.radiograph.attenuation))

    def display(self, attenuation: Tensor) -> Tensor:
        """(rows, W) attenuation to film, raw beam as it was; see `Radiograph.display`."""
        shown = self.radiograph.toned((attenuation - T0).div_(DT))
        weight = self.radiograph.weight
        return shown if weight is None else torch.lerp(self.film[self.rows], shown, self.of(weight), out=shown)

    @property
    def _same(self) -> bool:
        return self.film.shape == self.radiograph.film.shape


def strips(film: Tensor, radiograph: Radiograph) -> Iterator[Strip]:
    """Strips of a film (H, W) whose coarse film was taken back to attenuation."""
    for rows in spans(*film.shape):
        yield Strip(film, radiograph, rows)
