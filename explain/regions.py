"""Where do things lie on a film? Border, corners, body, markers, the visible part of a lesion.

All masks are boolean (S, S). Body and markers are estimated from grey values. Exact masks, where a phantom gives them,
should be used instead and must ride through the film's own resize and crop.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from explain.network import F64

Mask = npt.NDArray[np.bool_]

BORDER_FRACTION = 0.06
"""Width of the border as a fraction of the side (13 pixels of 224): collimation, markers and text live there."""


def border_mask(side: int, fraction: float = BORDER_FRACTION) -> Mask:
    """Return the outer frame of the film, `fraction` of the side wide on every side."""
    if not 0 < fraction < 0.5:
        raise ValueError(f"the border is a fraction of the side in (0, 0.5), not {fraction}")
    width = max(1, round(fraction * side))
    mask = np.ones((side, side), dtype=bool)
    mask[width:-width, width:-width] = False
    return mask


def corner_mask(side: int, fraction: float = 0.15) -> Mask:
    """Return the four corner squares, where side markers and text are burnt in."""
    if not 0 < fraction < 0.5:
        raise ValueError(f"a corner is a fraction of the side in (0, 0.5), not {fraction}")
    width = max(1, round(fraction * side))
    near = np.zeros(side, dtype=bool)
    near[:width] = near[-width:] = True
    return np.asarray(near[:, None] & near[None, :], dtype=bool)


def body_mask(film: npt.ArrayLike, threshold: float = 0.08) -> Mask:
    """Estimate the body: the largest connected region above `threshold`, its holes (dark lungs) filled.

    Args:
        film: grey film (S, S) in [0, 1], air black.
        threshold: grey value; collimated borders and direct exposure lie below it.
    """
    grey = _grey(film)
    bright = ndimage.gaussian_filter(grey, sigma=grey.shape[0] / 112) > threshold
    labels, count = ndimage.label(bright)
    if count == 0:
        return np.zeros(grey.shape, dtype=bool)
    sizes = np.bincount(labels.ravel())[1:]
    return np.asarray(ndimage.binary_fill_holes(labels == 1 + int(np.argmax(sizes))), dtype=bool)


def marker_mask(film: npt.ArrayLike, contrast: float = 0.3, zone: float = 0.14) -> Mask:
    """Estimate burnt-in letters and lead markers: compact groups of thin bright strokes near the edge of the film.

    Args:
        film: grey film (S, S) in [0, 1].
        contrast: how much brighter a stroke is than what remains after opening by a square of 1/28 of the side (white
            top-hat).
        zone: width of the searched frame as a fraction of the side; ribs, which are thin and bright too, lie further
            in.

    A rough estimate: it misses faint letters and takes a hand or a clip at the edge for a marker.
    """
    grey = _grey(film)
    side = grey.shape[0]
    strokes = (ndimage.white_tophat(grey, size=max(3, side // 28)) > contrast) & border_mask(side, zone)
    grouped = ndimage.binary_dilation(strokes, iterations=max(1, side // 112))
    labels, _ = ndimage.label(grouped)
    mask = np.zeros(grey.shape, dtype=bool)
    for label, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        compact = (
            rows.stop - rows.start <= 0.12 * side and columns.stop - columns.start <= 0.25 * side
        )  # a line of text is wide
        if compact and strokes[labels == label].sum() >= max(4, 2e-4 * side**2):
            mask |= labels == label
    return mask


def visible_fraction(mask: npt.ArrayLike, box: tuple[int, int, int, int]) -> float:
    """Return the share of a mask that lies inside the box the network sees; NaN for an empty mask.

    Args:
        mask: (H, W) of the uncropped film.
        box: top, left, height, width in the mask's own pixels (fractions of a pixel are the caller's rounding).
    """
    marked = np.asarray(mask, dtype=bool)
    top, left, height, width = box
    if height <= 0 or width <= 0:
        raise ValueError(f"the box {box} is empty")
    rows, columns = (slice(max(0, start), max(0, start + length)) for start, length in ((top, height), (left, width)))
    return float(marked[rows, columns].sum() / marked.sum()) if marked.any() else float("nan")


def _grey(film: npt.ArrayLike) -> F64:
    grey = np.asarray(film, dtype=np.float64)
    if grey.ndim != 2 or not np.isfinite(grey).all():
        raise ValueError(f"a grey film is a finite (S, S) array, not {grey.shape}")
    return grey
