"""Where did nothing stand between tube and detector?

Pixels that saw the unattenuated beam, or none at all behind a collimator, are black and connected to the border of
the film. No tissue is there, so perturbations leave them as they are.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from robustness.content_cache import remembered
from robustness.facts import fact
from robustness.perturbation import PerturbationUndefined
from robustness.primitives.blocks import darker
from robustness.primitives.resampling import doubled

RAW_BEAM = 0.02
"""Grey value below which a pixel connected to the border counts as raw beam."""
FILLED = 200
"""Marks raw beam among the means of 2 x 2 pixels of 0 or 255, of which it is none."""
SPECK = 0.02
"""Islands in the raw beam smaller than this share of the film are no tissue."""


def raw_beam(film: Tensor) -> Tensor:
    """(H, W) bool: pixels darker than RAW_BEAM and connected to the border of the film, and specks among them."""
    return in_pixels(_dark_from_border(film), film)


@remembered(1)
def beam_blocks(film: Tensor) -> Tensor | None:
    """Raw beam of (H, W) by blocks of 2 x 2 pixels, bool, None where there is none.

    Raises:
        PerturbationUndefined: less than a tenth of the film is tissue.
    """
    return blocks_of_changed(film)


def blocks_of_changed(film: Tensor) -> Tensor | None:
    """As `beam_blocks`, of a film that is not asked about again: it takes the place of none that is remembered."""
    blocks = _dark_from_border(film)
    if blocks is not None and int(blocks.count_nonzero()) > 0.9 * blocks.numel():
        raise PerturbationUndefined("more than nine tenths of the film are unexposed or raw beam")
    return blocks


def _dark_from_border(film: Tensor) -> Tensor | None:
    darkest = math.ceil(RAW_BEAM * 255.0) if film.dtype == torch.uint8 else RAW_BEAM
    return from_border(darker(film, darkest))


@fact(0, "filled from the border, neighbour by neighbour")
def from_border(dark: Tensor) -> Tensor | None:
    """What is dark (255 of 255) and hangs together with the border, bool, specks in it too; None where nothing is."""
    # Filled from a dark ring around the film, which touches whatever is dark at its border.
    ringed = cv2.copyMakeBorder(dark.numpy(), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=255)
    filled = cv2.floodFill(ringed, None, (0, 0), FILLED, flags=4)[0]
    if filled == ringed.size - dark.numel():
        return None
    rest = (ringed != FILLED).view(np.uint8)
    # Filling what is left from one place shows whether it hangs together, in half the time that labelling takes.
    row, column = divmod(int(rest.argmax()), rest.shape[1])
    left = ringed.size - filled
    if left and cv2.floodFill(rest, None, (column, row), 2, flags=4)[0] != left:
        # Compression noise and lead letters in the raw beam are no tissue either.
        count, pieces = cv2.connectedComponents((rest > 0).view(np.uint8), connectivity=4)
        rest *= (np.bincount(pieces.reshape(-1), minlength=count) >= SPECK * dark.numel())[pieces]
    return torch.from_numpy(np.ascontiguousarray(rest[1:-1, 1:-1] == 0))


def in_pixels(blocks: Tensor | None, film: Tensor) -> Tensor:
    """Blocks of 2 x 2 pixels as (H, W) bool."""
    if blocks is None:
        return torch.zeros(film.shape, dtype=torch.bool, device=film.device)
    return doubled(blocks, *film.shape)
