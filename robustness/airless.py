"""How dense would a chest be without the air in it? What lies around the lungs, carried into them without an edge."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustness.filters import gaussian_blur, resize
from robustness.pointwise import numbers
from robustness.radiograph import Radiograph
from robustness.thorax import LUNG_DEPTH_CM, PLEURA, Thorax

SURFACE_MM, FALL, REACH = 3.0, 0.10, 10
"""Pixels of the surface without silhouettes, by how much it falls per cm, and over how many times two of them."""
STEEPER = 4.0
"""By how much more it falls where the chest is thin, toward the lower ends of its walls."""
BELLY = 0.85
"""Share of what the membrane lacks of the mediastinum that the middle of a lung makes up for."""
GRID = 56
"""Shorter side, in pixels, of the grid on which the membrane is stretched."""


def soft_tissue(thorax: Thorax, radiograph: Radiograph, base: Tensor, seen: Tensor, most: float) -> Tensor:
    """(H, W) attenuation of the chest were there no air in it: what lies around the lungs, carried into them.

    It is harmonic inside the lungs but for a bulge toward the level of the mediastinum, so it neither exceeds what lies
    around them nor shows an edge.

    Args:
        thorax: the geometry.
        radiograph: the film.
        base: (H, W) attenuation without ribs and vessels.
        seen: (H, W) bool, lung with air in it.
        most: attenuation of the mediastinum, which is what the spine counts for.
    """
    height, width = base.shape
    scale = GRID / min(height, width)
    rows, columns = max(8, round(height * scale)), max(8, round(width * scale))
    lungs = gaussian_blur(numbers(seen), PLEURA * thorax.height) > 0.02
    known = numbers(~(lungs | radiograph.beam))
    weight = cv2.resize(known.numpy(), (columns, rows), interpolation=cv2.INTER_AREA)
    summed = cv2.resize((base * known).numpy(), (columns, rows), interpolation=cv2.INTER_AREA)
    values = summed / np.maximum(weight, 1e-3)
    middle, half = thorax.midline * scale, 0.5 * (thorax.right - thorax.left) * scale
    spine = slice(max(0, round(middle - 0.2 * half)), round(middle + 0.2 * half) + 1)
    values[:, spine] = np.minimum(values[:, spine], most)
    fixed = (weight > 0.6).astype(np.float32)
    membrane: NDArray[Any] = values * fixed
    # A coarse guess, then relaxation, which only has to mend what is near the frame.
    for sigma in (12.0, 6.0, 3.0):
        summed = cv2.GaussianBlur(membrane * fixed, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        covered = cv2.GaussianBlur(fixed, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        guess = summed / np.maximum(covered, 1e-3)
        trust = np.minimum(1.0, covered / 0.15)
        membrane = guess if sigma == 12.0 else membrane + trust * (guess - membrane)
        membrane = np.where(fixed > 0, values, membrane)
    frame = fixed > 0
    for _ in range(24):
        membrane = cv2.blur(membrane, (5, 5), borderType=cv2.BORDER_REPLICATE)
        np.copyto(membrane, values, where=frame)
    # The chest is thicker in the middle of a lung than at its wall.
    depth = resize(thorax.depth, rows, columns).numpy() / LUNG_DEPTH_CM
    membrane = membrane + BELLY * depth * np.maximum(most - membrane, 0.0)
    return resize(torch.from_numpy(cv2.GaussianBlur(membrane, (0, 0), 1.2)), height, width)


def without_silhouettes(airless: Tensor, inside: Tensor, thin: Tensor, pitch_mm: float) -> Tensor:
    """(H, W) attenuation of a chest without air in which neither lung nor heart nor dome has an outline.

    The lowest surface above `airless` that falls by no more than FALL per cm: beside a heart the lung is as dense as
    the heart and grows less dense from there, so that no step is left, nor dark lung at the border of a mask.
    """
    height, width = airless.shape
    step = max(1.0, SURFACE_MM / pitch_mm)
    rows, columns = max(8, round(height / step)), max(8, round(width / step))
    small = cv2.resize(airless.numpy(), (columns, rows), interpolation=cv2.INTER_AREA)
    within = cv2.resize(inside.numpy(), (columns, rows), interpolation=cv2.INTER_AREA)
    # What is narrow and bright is bone.
    plain = cv2.morphologyEx(small, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
    low = np.float32(plain.min())
    surface = low + (plain - low) * np.clip(2.0 * within - 1.0, 0.0, 1.0)
    steeper = 1.0 + STEEPER * cv2.resize(thin.numpy(), (columns, rows), interpolation=cv2.INTER_AREA)
    falls = steeper * np.float32(2.0 * FALL * 0.1 * step * pitch_mm)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    for _ in range(REACH):
        surface = np.maximum(surface, cv2.dilate(surface, disc, borderType=cv2.BORDER_REPLICATE) - falls)
    surface = np.maximum(cv2.GaussianBlur(surface, (0, 0), 2.0, borderType=cv2.BORDER_REPLICATE), small)
    surface = cv2.GaussianBlur(surface, (0, 0), 0.8, borderType=cv2.BORDER_REPLICATE)
    return resize(torch.from_numpy(surface), height, width)
