"""Where does a border run through a film? As one path, whole and smooth, instead of pixel by pixel.

Source: dynamic programming for borders after Montanari 1971 (10.1145/362588.362594).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

BEND = 0.025
"""Grey, or attenuation, that a path costs by running one column further in one row; it never runs further than that."""
AWAY = -3.0
"""What a path gains, row by row, where it was not to be looked for: less than along any border."""


def lightening_left(steps: NDArray[np.float64], near: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N,) the column in each of N rows at which a border runs, to the left of which an image is lightest.

    Args:
        steps: (N, W) of `steps_left`.
        near: (N, W), where the border is looked for.
    """
    gains = np.where(near, steps, AWAY)
    best, came = gains.copy(), np.zeros(gains.shape, dtype=np.int64)
    for row in range(1, len(gains)):
        before = np.pad(best[row - 1], 1, constant_values=-np.inf)
        choices = np.stack([before[1:-1], before[:-2] - BEND, before[2:] - BEND])
        taken = choices.argmax(axis=0)
        came[row] = np.array([0, -1, 1])[taken]
        best[row] += choices.max(axis=0)
    path = np.empty(len(gains), dtype=np.int64)
    path[-1] = best[-1].argmax()
    for row in range(len(gains) - 1, 0, -1):
        path[row - 1] = path[row] + came[row, path[row]]
    return path


def steps_left(image: Array, width: int) -> NDArray[np.float64]:
    """(N, W) mean of so many columns left of each, less that of as many from it to the right."""
    sums = np.cumsum(np.pad(image, ((0, 0), (width + 1, width)), mode="edge"), axis=1, dtype=np.float64)
    left, here, right = (sums[:, start : start + image.shape[1]] for start in (0, width, 2 * width))
    return (2.0 * here - left - right) / width
