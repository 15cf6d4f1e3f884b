"""How strongly was a film's file compressed? The quality of its JPEG, read from the tables of its header alone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

_STANDARD = np.array(
    [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29,
     51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120,
     101, 72, 92, 95, 98, 112, 100, 103, 99]
)  # fmt: skip
"""Luminance steps of ITU-T T.81, table K.1, row by row."""


def jpeg_quality(file: Path) -> float:
    """Return the quality, 1 to 100, whose luminance table is nearest to that of a file; NaN of a file that is no JPEG.

    The scale is that of the Independent JPEG Group's encoder, whose files it tells exactly; others have tables of their
    own, of which it is the nearest in the mean of the logarithms of the steps.

    Args:
        file: of a film; only its header is read.
    """
    try:
        with Image.open(file) as opened:
            tables = getattr(opened, "quantization", None)
    except (OSError, UnidentifiedImageError):
        return math.nan
    if not tables:
        return math.nan
    steps = np.log(np.sort(np.asarray(tables[min(tables)], dtype=np.float64)))  # in whatever order a reader gives them
    far = [np.abs(steps - np.log(np.sort(_scaled(quality)))).mean() for quality in range(1, 101)]
    return float(1 + int(np.argmin(far)))


def _scaled(quality: int) -> npt.NDArray[np.float64]:
    """Return the luminance table of a quality, as that encoder scales it."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.asarray(np.clip((_STANDARD * percent + 50) // 100, 1, 255), dtype=np.float64)
