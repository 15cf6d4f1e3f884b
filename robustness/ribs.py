"""What of a film runs along ribs?

Vessels, bronchi and the ends of silhouettes are as broad and as bright as ribs, but short, or they stand upright. So an
image is cut into fans of directions; where the detail of one direction is strong over a strip of a rib's length, it is
a rib; where it is weak beside that of another direction, it is the share of a spot or of a line that runs elsewhere.

Sources: directional decomposition and shrinkage after Do and Vetterli 2005 (contourlets, 10.1109/TIP.2005.859376).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import fft
from torch import Tensor

from robustness.filters import resize

FANS = 16
"""Directions that are told apart, 11 degrees each."""
STRIP_MM, ACROSS_MM = 7.0, 1.5
"""Sigma along and across of the strip over which the strength of a direction is taken; a rib goes on beyond it."""
STEP_MM = 1.1
"""Pitch of the grid on which directions are told apart; what is finer stays as it is."""
STEEPEST = ((0.68, 0.86), (1.0, 1.2))
"""Angles to the horizontal (radians) up to which ribs run, and from which on none does but in its lateral arch: ribs
behind the lungs, which fall outward from the spine (the left border of the heart does too, more steeply), and those in
front, which fall inward."""
WEAK, FULL = 0.5, 0.9
"""Strength of a direction, as a share of the strongest at that place, up to which it is lost, from which it is kept."""

DIRECTED = (1.5, 2.2)
"""Strength of the strongest direction over the mean of all, up to which nothing is a rib, from which on it is."""
FAINT = 1e-4
"""Attenuation below which nothing is a rib."""


def along_ribs(image: Tensor, upright: Tensor, midline: float, pitch_mm: float) -> Tensor:
    """(H, W) what of an image runs along ribs.

    Args:
        image: (H, W) detail without its base.
        upright: (H, W) 0 to 1, where ribs stand upright, as they do at the chest wall.
        midline: column of the spine.
        pitch_mm: of the pixels.
    """
    return with_cortex(image, None, upright, midline, pitch_mm)[0]


def with_cortex(
    image: Tensor, fine: Tensor | None, upright: Tensor, midline: float, pitch_mm: float
) -> tuple[Tensor, Tensor]:
    """As `along_ribs`, and what of finer detail (H, W), where some is given, runs as the ribs of the image do there."""
    step = max(1.0, STEP_MM / pitch_mm)
    rows, columns = (max(8, round(size / step)) for size in image.shape)
    border = round(2.0 * STRIP_MM / (step * pitch_mm))
    # To sizes of which a Fourier transform is quick.
    below, right = (border + -(size + 2 * border) % 16 for size in (rows, columns))
    padded, walls, *fines = (
        cv2.copyMakeBorder(
            cv2.resize(each.numpy(), (columns, rows), interpolation=cv2.INTER_AREA),
            *(border, below, border, right),
            cv2.BORDER_REPLICATE,
        )
        for each in (image, upright, *([] if fine is None else [fine]))
    )
    # Of what falls to the right: behind the lung on the right of the film, in front of that on the left.
    beyond = (np.arange(padded.shape[1], dtype=np.float32) - border - midline / step) * (step * pitch_mm / 20.0)
    rightward = np.clip(0.5 + beyond, 0.0, 1.0)
    parts, *finer = (fans(each) for each in (padded, *fines))
    strengths = [strength(part, angle, step * pitch_mm) for angle, part in parts]
    strongest = np.maximum(np.maximum.reduce(strengths), FAINT)
    # Grain runs in every direction; of what is not stronger in one of them nothing is a rib, and would turn to streaks.
    least, most = DIRECTED
    directed = np.clip((strongest / np.maximum(sum(strengths) / FANS, FAINT) - least) / (most - least), 0.0, 1.0)
    found, cortex = np.zeros_like(padded), np.zeros_like(padded)
    for fan, (angle, part) in enumerate(parts):
        # A direction between two fans is in both.
        strong = np.maximum.reduce([strengths[(fan + other) % FANS] for other in (-1, 0, 1)])
        share = directed * np.clip((strong / strongest - WEAK) / (FULL - WEAK), 0.0, 1.0)
        share = cv2.resize(share, padded.shape[::-1], interpolation=cv2.INTER_LINEAR)
        falls = angle if angle < 0.5 * np.pi else np.pi - angle
        behind, before = (float(np.interp(falls, limits, (1.0, 0.0))) for limits in STEEPEST)
        outward = rightward if angle < 0.5 * np.pi else 1.0 - rightward
        share = share * np.maximum(walls, before + (behind - before) * outward)
        found += share * part
        for each in finer:
            cortex += share * each[fan][1]
    lost, edges = (
        resize(
            torch.from_numpy(np.ascontiguousarray(each[border : border + rows, border : border + columns])),
            *image.shape,
        )
        for each in (padded - padded.mean() - found, cortex)
    )
    return image - lost, edges


def fans(image: NDArray[Any]) -> list[tuple[float, NDArray[np.float32]]]:
    """(angle in radians from the horizontal, (H, W) part) of FANS directions; W is even, the sum is image - mean."""
    spectrum = fft.rfft2(image.astype(np.float32, copy=False))
    spectrum[0, 0] = 0.0
    parts = (fft.irfft2(spectrum * window, overwrite_x=True) for window in windows(*image.shape))
    return [(fan * np.pi / FANS, part) for fan, part in enumerate(parts)]


@lru_cache(4)
def windows(height: int, width: int) -> list[NDArray[np.float32]]:
    """Of FANS directions the share (H, W // 2 + 1) that they have in each frequency."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    # What runs one way has its frequencies across it.
    angles = np.arctan2(rows, columns) + 0.5 * np.pi
    found = []
    for fan in range(FANS):
        off = (angles - fan * np.pi / FANS + 0.5 * np.pi) % np.pi - 0.5 * np.pi
        found.append((np.cos(np.clip(0.5 * FANS * off, -0.5 * np.pi, 0.5 * np.pi)) ** 2).astype(np.float32))
    return found


def strength(part: NDArray[np.float32], angle: float, pitch_mm: float) -> NDArray[np.float32]:
    """(H / 2, W / 2) root mean square of what runs at an angle (radians from the horizontal), over a strip along it."""
    squares = cv2.resize(part * part, (part.shape[1] // 2, part.shape[0] // 2), interpolation=cv2.INTER_AREA)
    half = round(STRIP_MM / pitch_mm)
    down, right = np.mgrid[-half : half + 1, -half : half + 1] * (2.0 * pitch_mm)
    along, across = right * np.cos(angle) + down * np.sin(angle), down * np.cos(angle) - right * np.sin(angle)
    strip = np.exp(-0.5 * (along / STRIP_MM) ** 2 - 0.5 * (across / ACROSS_MM) ** 2)
    mean = cv2.filter2D(squares, -1, (strip / strip.sum()).astype(np.float32), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(np.sqrt(np.maximum(mean, 0.0)))
