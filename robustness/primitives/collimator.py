"""Which share of the beam does a collimator leave to each pixel of an 8-bit film?"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def collimated(grey: Tensor, border: float, soft: float) -> Tensor:
    """An 8-bit film (H, W), dark at its four borders.

    Args:
        grey: (H, W) uint8.
        border: share of height and width lost on each side.
        soft: width of the edge, pixels.
    """
    if not grey.is_cpu:
        down, across = (
            _share(torch.arange(side, dtype=torch.float32, device=grey.device), side, border, soft)
            for side in grey.shape
        )
        lit: Tensor = grey * (down[:, None] * across[None, :])
        return (lit + 0.5).to(torch.uint8)
    (top, rise), (left, slope) = (_penumbra(side, border, soft) for side in grey.shape)
    bottom, right = grey.shape[0] - top, grey.shape[1] - left
    film = cv2.copyMakeBorder(grey.numpy()[top:bottom, left:right], top, top, left, left, cv2.BORDER_CONSTANT)
    # Between the four edges nothing changes, and most of the film lies there.
    down = np.ones((bottom - top, 1), dtype=np.float32)
    down[: len(rise), 0], down[len(down) - len(rise) :, 0] = rise, rise[::-1]
    for columns, share in ((slice(left, left + len(slope)), slope), (slice(right - len(slope), right), slope[::-1])):
        _shade(film[top:bottom, columns], down * share)
    inner = slice(left + len(slope), right - len(slope))
    for rows, share in ((slice(top, top + len(rise)), rise), (slice(bottom - len(rise), bottom), rise[::-1])):
        _shade(film[rows, inner], share[:, None])
    return torch.from_numpy(film)


def _share(place: Any, side: int, border: float, soft: float) -> Any:  # noqa: ANN401 - an array of either library
    """Share of the beam at places along a side, float32 of numpy or torch."""
    inward = (0.5 - border) * side - abs(place - (side - 1) / 2.0)
    rise = (inward / soft + 0.5).clip(0.0, 1.0)
    return rise * rise * (3.0 - 2.0 * rise)


def _penumbra(side: int, border: float, soft: float) -> tuple[int, NDArray[np.float32]]:
    """How many pixels at each end of a side a collimator leaves dark, and what share of the beam the next ones get."""
    near = np.arange(min(side // 2, math.ceil(border * side + soft) + 1), dtype=np.float32)
    share = _share(near, side, border, soft)
    dark = int(np.count_nonzero(share <= 0.0))
    return dark, share[dark : int(np.count_nonzero(share < 1.0))]


def _shade(grey: NDArray[Any], share: NDArray[np.float32]) -> None:
    """Leave a share of the grey value, rounded."""
    grey[...] = grey * share + np.float32(0.5)
