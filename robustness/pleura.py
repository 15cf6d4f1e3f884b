"""Where does lung end at the chest wall and the diaphragm? An estimate of the lungs, grown to the pleura and cut there.

`lungs_of` places an opacity to within a few millimetres. Where it stops short, a dark rim would be left around a
white lung; where the chest wall is thin and as dark as lung, it runs out of the ribs, and the skin would turn white.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from robustness.draws import Draws
from robustness.facts import fact
from robustness.lungs import lungs_of
from robustness.tracing import lightening_left, steps_left

Array = NDArray[np.float32]
Mask = NDArray[np.uint8]

RIM_MM = 10.0
"""By which an estimate may stop short of the pleura."""
MIDDLE, BASE, BASE_RIM_MM = 0.35, 0.7, 2.5
"""Share of the height of the lungs from which on it does so by less, and below which by no more than this, but for
pockets of lung."""
POCKET_MM, POCKET, FAIR, FLANK = 6.0, 0.12, 0.7, 0.6
"""A pocket is darker by such a share of the lungs' contrast than what shuts it in on all sides within such a radius,
not as light as tissue, and so many half widths of the chest off its middle."""
PARASPINAL = 0.35
"""Half widths of the chest beside its middle where a dark rim may be the trachea."""
GRID_MM = 1.5
"""Pitch on which the chest wall is traced."""
BEYOND_MM, WITHIN_MM = 6.0, 24.0
"""How far outside of an estimate, and inside, the wall is looked for."""
BESIDE_MM = 5.0
"""Width of the two strips, one to either side, whose greys tell a wall."""
AS_LIGHT = 0.75
"""By such a share of it at least a film lightens at the border of an estimate that did not pass the wall."""
OUTSIDE_MM, ALONG_MM = 4.0, 28.0
"""An estimate is outside of the wall where it passes it by more, along more of it: a rib that crosses is no wall."""
SPECK = 0.05
"""Share of the larger lung that a piece of a lung has at least."""


def pleural_lungs(film: Tensor, draws: Draws, pitch_mm: float) -> Tensor:
    """(H, W) bool: as `lungs_of`; an estimate is let grow to the pleura, or cut where it passed it.

    It grows over what hangs together with it within RIM_MM and is dark as lung, not toward the spine (the trachea).
    """
    lungs = lungs_of(film, draws)
    return lungs if draws.lungs is not None else grown_to_pleura(film, lungs, pitch_mm)


@fact(2, "grown pixel by pixel over what hangs together")
def grown_to_pleura(film: Tensor, lungs: Tensor, pitch_mm: float) -> Tensor:
    """(H, W) bool: lungs with the dark rim around them, within RIM_MM, and without what lies outside of the ribs."""
    mask, grey = lungs.numpy().view(np.uint8), film.numpy()
    reach = max(1, round(RIM_MM / pitch_mm))
    around = cv2.dilate(mask, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > mask
    if not around.any():
        return lungs
    dark, light = np.median(grey[mask > 0]), np.median(grey[around])
    occupied = np.flatnonzero(mask.any(axis=0))
    off = np.abs(np.arange(mask.shape[1]) - 0.5 * (occupied[0] + occupied[-1])) / (0.5 * (occupied[-1] - occupied[0]))
    allowed = ((grey < 0.5 * (dark + light)) & (off > PARASPINAL)[None, :]).view(np.uint8)
    rows = np.flatnonzero(mask.any(axis=1))
    down = ((np.arange(len(mask)) - rows[0]) / max(rows[-1] - rows[0], 1))[:, None]
    steps = np.interp(down, (MIDDLE, BASE), (RIM_MM, BASE_RIM_MM)) / pitch_mm
    # Where the chest wall is thin, what lies outside of it is as dark as lung, but no wall shuts it in.
    pockets = (down > BASE) & (_closing(grey, POCKET_MM / pitch_mm) - grey > POCKET * (light - dark))
    pockets = pockets & (grey < dark + FAIR * (light - dark)) & (off > FLANK)[None, :]
    grown, cross = mask.copy(), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    for step in range(reach):
        grown = cv2.dilate(grown, cross) & (allowed & (step < steps) | pockets | grown)
    closed = cv2.morphologyEx(grown, cv2.MORPH_CLOSE, cross).astype(bool)
    inside = closed & ~_outside_wall(grey, closed.view(np.uint8), pitch_mm).astype(bool)
    # What is left of a cut are specks.
    _, labels, facts, _ = cv2.connectedComponentsWithStats(inside.view(np.uint8), connectivity=4)
    sizes = facts[:, cv2.CC_STAT_AREA]
    sizes[0] = 0
    return torch.from_numpy((sizes > SPECK * sizes.max())[labels])


def _closing(image: Array, radius: float) -> Array:
    """(H, W) without what is dark and narrower than a disc; found on a grid on which its radius is at most 6."""
    factor = max(1.0, radius / 6.0)
    small = cv2.resize(image, None, fx=1.0 / factor, fy=1.0 / factor, interpolation=cv2.INTER_AREA)
    size = 2 * max(1, round(radius / factor)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    closed = cv2.morphologyEx(small, cv2.MORPH_CLOSE, disc, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(closed, image.shape[::-1], interpolation=cv2.INTER_LINEAR))


def _outside_wall(grey: Array, mask: Mask, pitch_mm: float) -> Mask:
    """(H, W): what of a mask lies outside of the chest wall, 1, on either side of the film."""
    factor = max(1.0, GRID_MM / pitch_mm)
    size = (round(grey.shape[1] / factor), round(grey.shape[0] / factor))
    small: Array = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
    coarse: Mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
    columns = np.flatnonzero(coarse.any(axis=0))
    if not len(columns):
        return np.zeros_like(mask)
    middle = int(columns[0] + columns[-1]) // 2
    outside = np.zeros_like(coarse)
    outside[:, :middle] = _outside_left(small[:, :middle], coarse[:, :middle], pitch_mm * factor)
    flipped = _outside_left(small[:, middle:][:, ::-1], coarse[:, middle:][:, ::-1], pitch_mm * factor)
    outside[:, middle:] = flipped[:, ::-1]
    return np.asarray(cv2.resize(outside, grey.shape[::-1], interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def _outside_left(grey: Array, mask: Mask, pitch_mm: float) -> Mask:
    """What of the half of a mask lies to the left of the wall there.

    The wall is the path from above to below, a column a row at most, along which the film lightens most to the left.
    """
    outside = np.zeros_like(mask)
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return outside
    edge = mask[rows].argmax(axis=1)
    beyond, within = round(BEYOND_MM / pitch_mm), round(WITHIN_MM / pitch_mm)
    columns = np.arange(mask.shape[1])
    far, width = columns - edge[:, None], max(1, round(BESIDE_MM / pitch_mm))
    steps = steps_left(grey[rows], width)
    wall, own = (lightening_left(steps, (far >= -beyond) & (far <= most)) for most in (within, beyond))
    along = 2 * round(ALONG_MM / 2 / pitch_mm) + 1
    past = ndimage.grey_opening(np.maximum(wall - edge, 0), along, mode="nearest")
    past = np.where(past > OUTSIDE_MM / pitch_mm, past, 0)
    # Where the film lightens at the estimate's own border as well, that is the wall, and what lies inside is a rib.
    inner, outer = (np.take_along_axis(steps, path[:, None], axis=1)[:, 0] for path in (wall, own))
    runs, count = ndimage.label(past > 0)
    for run in range(1, count + 1):
        if outer[runs == run].sum() > AS_LIGHT * inner[runs == run].sum():
            past[runs == run] = 0
    outside[rows] = (past > 0)[:, None] & (columns < (edge + past)[:, None])
    return outside
