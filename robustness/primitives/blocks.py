"""Which blocks of 2 x 2 pixels hold something? Answers of 8 bit or bool, by block."""

from __future__ import annotations

from typing import Any

import cv2
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustness.primitives.resampling import continued


def darker(film: Tensor, bound: float) -> Tensor:
    """Blocks of 2 x 2 pixels of (H, W), the last ones continued: 255 where all are below a bound, else less; 8 bit."""
    height, width = film.shape
    if film.is_cpu:
        dark: NDArray[Any] = cv2.compare(film.numpy(), bound, cv2.CMP_LT)  # type: ignore[call-overload] # takes numbers
        whole = continued(torch.from_numpy(dark), height % 2, width % 2).numpy()
        # A block is dark when all of it is: only then is its mean 255.
        size = (whole.shape[1] // 2, whole.shape[0] // 2)
        return torch.from_numpy(cv2.resize(whole, size, interpolation=cv2.INTER_AREA))
    whole_film = continued(film < bound, height % 2, width % 2)
    every = whole_film[::2, ::2] & whole_film[1::2, ::2] & whole_film[::2, 1::2] & whole_film[1::2, 1::2]
    return every.to(torch.uint8) * 255
