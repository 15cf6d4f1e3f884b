"""Where on a film does lung end at the heart and at the dome of the diaphragm? To a pixel, ribs not counted.

A lung mask follows these borders to a few millimetres. Where water takes the place of air they vanish, with what is
left and right of them to be joined without a seam, so they have to be known better: the border of the heart by what is
darker than half way between both sides of it, nearby, on a film without its ribs; the dome, which goes on behind the
heart, as one path along which the film lightens downward.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustness.filters import blur_within, gaussian_blur
from robustness.pointwise import numbers, replaced
from robustness.thorax import Thorax
from robustness.tracing import lightening_left, steps_left

Array = NDArray[np.float32]

NEARBY_MM = 9.0
"""Sigma over which each side of a border is averaged."""
FINE_MM = 1.2
"""Sigma of the blur of a film on which the border is found."""
REPEATS = 4
"""Times both sides and the border between them are found in turn."""
FURTHEST_MM, LUNG, ORGAN = 5.0, 0.04, 0.9985
"""Sigma of a blurred mask, and what of it is left: no lung is further outside (9 mm), no organ further inside (15)."""
AT_ORGANS = 0.3
"""From which share of nearness to heart and dome on the border is theirs, not the wall's."""
GRID_MM = 1.5
"""Pitch on which the dome is traced."""
DOME_MM = 6.0
"""Height of the two strips, above and below, whose greys tell a dome."""
UPWARD_MM = 3.0
"""How far above the end of the air of its column the dome may be."""
HIGHEST = 0.5
"""It lies below this share of the height of the lungs."""


def air_beside_organs(
    plain: Tensor, blurred: Tensor, seen: Tensor, thorax: Thorax, beside: Tensor, *, pitch_mm: float
) -> Tensor:
    """(H, W) float, 1 where lung with air in it is seen.

    Args:
        plain: (H, W) attenuation without what runs along ribs.
        blurred: (H, W) without ribs and vessels, and with blurred borders.
        seen: (H, W) bool, the same to a few millimetres.
        thorax: the geometry.
        beside: (H, W) 1 along heart and dome, 0 at the chest wall.
        pitch_mm: of the pixels.
    """
    hull, lung, sigma = numbers(thorax.hemithorax("both")), numbers(seen), NEARBY_MM / pitch_mm
    inner, outer = blur_within(blurred, lung, sigma), blur_within(blurred, hull - hull * lung, sigma)
    first = hull * (blurred < 0.5 * (inner + outer))
    film, near = gaussian_blur(plain, FINE_MM / pitch_mm), gaussian_blur(lung, FURTHEST_MM / pitch_mm)
    air = first
    for _ in range(REPEATS):
        inner, outer = blur_within(plain, air, sigma), blur_within(plain, hull - air, sigma)
        found = (film < (inner + outer).mul_(0.5)) & (near > LUNG) | (near > ORGAN)
        air = numbers(gaussian_blur(hull * numbers(found), FINE_MM / pitch_mm) > 0.5)
    return replaced(first, beside > AT_ORGANS, air)


def below_domes(attenuation: Tensor, air: Tensor, thorax: Thorax, pitch_mm: float) -> Tensor:
    """(H, W) float, 1 below the domes of the diaphragm, and below where they end, down to the edge of the film.

    Args:
        attenuation: (H, W).
        air: (H, W) of `air_beside_organs`.
        thorax: the geometry.
        pitch_mm: of the pixels.
    """
    factor = max(1.0, GRID_MM / pitch_mm)
    size = (round(attenuation.shape[1] / factor), round(attenuation.shape[0] / factor))
    small: Array = np.asarray(cv2.resize(attenuation.numpy(), size, interpolation=cv2.INTER_AREA), dtype=np.float32)
    lung = cv2.resize(air.numpy(), size, interpolation=cv2.INTER_AREA) > 0.5
    rows = np.arange(size[1])[:, None]
    lowest, highest = (thorax.bottom + 2.0 * UPWARD_MM / pitch_mm) / factor, thorax.top + HIGHEST * thorax.height
    known: list[NDArray[np.int64]] = []
    found: list[NDArray[np.int64]] = []
    for which in ("left", "right"):
        chest = cv2.resize(numbers(thorax.hemithorax(which)).numpy(), size, interpolation=cv2.INTER_AREA) > 0.5
        columns = np.flatnonzero(chest.any(axis=0))
        held = (lung & chest)[:, columns]
        ends = np.where(held.any(axis=0), len(held) - 1 - held[::-1].argmax(axis=0), 0)
        near = (rows >= np.maximum(highest / factor, ends - UPWARD_MM / (pitch_mm * factor))) & (rows <= lowest)
        # On its side, so that what is below lies to the left.
        steps = steps_left(small[::-1, columns].T, max(1, round(DOME_MM / (pitch_mm * factor))))
        path = lightening_left(steps, near[::-1].T)
        known.append(columns)
        found.append(len(small) - path)
    domes = np.interp(np.arange(size[0]), np.concatenate(known), np.concatenate(found))
    below = (rows >= domes).astype(np.float32)
    large = torch.from_numpy(cv2.resize(below, attenuation.shape[::-1], interpolation=cv2.INTER_LINEAR))
    return numbers(large > 0.5) * (1.0 - air)
