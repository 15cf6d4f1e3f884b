"""Where are the lungs on a frontal film? An estimate good enough to place an opacity, and it says when it is not.

Two steps. A template of two lungs is matched to the reduced film over place, width and height (normalised
correlation: lungs are darker than the mediastinum between, the abdomen below and the chest wall around them). Inside
the neighbourhood of the best match every pixel is then assigned by its grey value and its distance from the template.
Films on which this fails (white-out, lateral view, no chest) are refused with the reason. It is no segmentation for
measuring anything; where a mask exists (phantom, manifest) that one is used.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from torch import Tensor

from robustness.content_cache import remembered
from robustness.draws import Draws
from robustness.facts import fact
from robustness.perturbation import PerturbationUndefined

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

RIGHT = ((-0.30, -1.00), (-0.50, -0.92), (-0.68, -0.62), (-0.84, -0.20), (-0.94, 0.25), (-1.00, 0.72), (-0.99, 0.98),
         (-0.84, 0.74), (-0.62, 0.58), (-0.40, 0.58), (-0.22, 0.66), (-0.25, 0.20), (-0.22, -0.20), (-0.18, -0.60),
         (-0.20, -0.90))  # fmt: skip
"""Outline of the lung on the left of the film; x from the midline in half widths, y from the middle in half heights."""
LEFT = ((0.30, -1.00), (0.50, -0.92), (0.68, -0.62), (0.84, -0.20), (0.94, 0.25), (1.00, 0.75), (0.98, 1.00),
        (0.84, 0.80), (0.70, 0.66), (0.62, 0.64), (0.58, 0.40), (0.44, 0.12), (0.28, -0.12), (0.20, -0.40),
        (0.16, -0.70), (0.20, -0.92))  # fmt: skip

COARSE = 32
"""Shorter side (pixels) of the film the template is matched on."""
FINE = 112
"""Shorter side (pixels) of the film on which pixels are assigned."""
HEIGHTS = (0.46, 0.53, 0.60, 0.67, 0.74, 0.81)
"""Heights of the lungs as shares of the shorter side of the film."""
ASPECTS = (0.74, 0.83, 0.93, 1.04, 1.17, 1.31, 1.47, 1.65)
"""Widths of both lungs together over their height."""
USUAL_ASPECT = (0.85, 0.94, 1.31)
"""Least, per width over height of the film, and most: a film as wide as high shows an adult, or was squeezed."""
GROWTHS = 4
"""Times the grey that parts lung from tissue is found again, around each place."""
TRACHEA = 0.08
"""Half the width between the lungs, in half widths of the chest, where no lung is."""
LOCAL = 9.0
"""Sigma of "around" (pixels of the fine film)."""
LEAST_MATCH = 0.60
LEAST_AGREEMENT = 0.55
LEAST_CONTRAST = 0.08
LEAST_CLOSURE = 0.33
LEAST_BELOW = 0.45
ACROSS = 4
"""How far below the lower border (pixels of the fine film), and half of how far above it, the film is compared."""
MOST_AGAIN, AGAIN = 0.38, 0.25
"""Share of the columns of the lung on the left of the film, under which the liver lies, below which the film may be as
dark again, and how much lighter at least it stays where it is not."""
FURTHER = 25
"""How far below it (pixels of the fine film) the film has to stay light; gas in the stomach is on one side only."""


@dataclass(frozen=True)
class LungField:
    """An estimate of the lungs.

    Attributes:
        mask: (H, W) bool.
        match: correlation of the film with the template, -1 to 1.
        agreement: intersection over union of the mask and the template.
        contrast: grey value between the lungs less that in them.
        closure: by how much the film lightens across the lower border of the worse side, as a share of the contrast;
            about 0 where the mask ends in the middle of a lung.
        below: how light the film stays for a while below that border, in the mean of both sides, as such a share; low
            where lung goes on below.
        again: share of the columns on the left of the film in which it is as dark again below that border.
    """

    mask: Tensor
    match: float
    agreement: float
    contrast: float
    closure: float
    below: float
    again: float


@functools.lru_cache(maxsize=4096)
def template(height: float, width: float, size: int) -> tuple[Array, Array]:
    """Lungs (1 inside) and their surroundings (1 inside) as (size, size) images, centred.

    Args:
        height: of the lungs, pixels.
        width: of both lungs together, pixels.
        size: of the image, pixels, odd.
    """
    oversampling = 4
    canvas = Image.new("L", (size * oversampling, size * oversampling))
    middle = size * oversampling / 2.0
    for outline in (RIGHT, LEFT):
        corners = [(middle + x * width / 2 * oversampling, middle + y * height / 2 * oversampling) for x, y in outline]
        ImageDraw.Draw(canvas).polygon(corners, fill=255)
    lungs = np.asarray(canvas.resize((size, size), Image.Resampling.BOX), dtype=np.float32) / 255.0
    reach = 0.10 * height
    around = ndimage.distance_transform_edt(lungs < 0.5) <= reach
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2.0
    between = (np.abs(columns) < 0.3 * width) & (rows > -0.5 * height) & (rows < 0.45 * height)
    surroundings = ((around | between) & (lungs < 0.5)).astype(np.float32)
    return lungs, surroundings


@functools.lru_cache(maxsize=8)
def _bank(side: int) -> tuple[Tensor, Tensor, list[tuple[float, float]]]:
    """Zero-mean unit-norm templates (K, 1, S, S), their supports, and their (height, width) in pixels."""
    sizes = [(side * height, side * height * aspect) for height in HEIGHTS for aspect in ASPECTS]
    extent = 2 * round(max(max(size) for size in sizes) * 0.62) + 1
    patterns, supports = [], []
    for height, width in sizes:
        lungs, surroundings = template(height, width, extent)
        support = np.maximum(lungs, surroundings)
        # Both regions weigh the same, whatever their areas.
        pattern = surroundings / surroundings.sum() - lungs / lungs.sum()
        patterns.append(pattern / np.sqrt((pattern**2).sum() * (support**2).sum()))
        supports.append(support / support.sum())
    return torch.from_numpy(np.stack(patterns))[:, None], torch.from_numpy(np.stack(supports))[:, None], sizes


def _reduced(film: Tensor, side: int) -> Tensor:
    """(h, w) float32 on the CPU, the shorter side as given."""
    scale = side / min(film.shape)
    shape = [max(side, round(length * scale)) for length in film.shape]
    return F.interpolate(film.cpu()[None, None], shape, mode="area")[0, 0]


def _without_air(film: Tensor) -> tuple[Tensor, Mask]:
    """Fill what is dark and hangs together with the sides of a reduced film (air, arms) with the grey of tissue.

    Returns:
        The film, and (h, w) bool where it was filled.
    """
    height, width = film.shape
    middle = film[height // 5 : -(height // 5), width // 5 : -(width // 5)]
    dark = (film < 0.75 * middle.median()).numpy()
    # Cut thin bridges between air and lung, label what is left, then let the air grow back.
    labels, _ = ndimage.label(ndimage.binary_erosion(dark, iterations=2, border_value=1))
    air = np.isin(labels, np.unique(np.concatenate([labels[:, 0], labels[:, -1]]))) & (labels > 0)
    air = ndimage.binary_dilation(air, iterations=4) & dark
    return film.where(torch.from_numpy(~air), middle.median()), air


def _match(film: Tensor) -> tuple[float, float, float, float, float]:
    """Best match on a reduced film: correlation, centre row and column (pixels), height, width (pixels)."""
    patterns, supports, sizes = _bank(min(film.shape))
    radius = patterns.shape[-1] // 2
    centred = film - film.median()
    # The middle of the lungs is sought in the central half of the film only.
    top, left = (side // 4 for side in film.shape)
    padded = F.pad(centred, (radius - left, radius - left, radius - top, radius - top))[None, None]
    products = F.conv2d(padded, patterns)[0]
    means = F.conv2d(padded, supports)[0]
    squares = F.conv2d(padded.square(), supports)[0]
    correlations = products / (squares - means.square()).clamp_min(4e-4).sqrt()
    aspects = torch.tensor([width / height for height, width in sizes])
    least, slope, most = USUAL_ASPECT
    unusual = (aspects / min(max(slope * film.shape[1] / film.shape[0], least), most)).log() / 0.25
    scores = correlations - 0.03 * unusual.square()[:, None, None]
    rows, columns = scores.shape[1:]
    best = int(scores.argmax())
    kind, place = divmod(best, rows * columns)
    match = float(correlations.reshape(-1)[best])
    return match, top + place // columns, left + place % columns, *sizes[kind]


@fact(0, "pieces are labelled, grown and filled pixel by pixel")
def estimate_lungs(film: Tensor) -> LungField:
    """Estimate the lungs of a frontal film; the last few reduced films are remembered.

    Args:
        film: (H, W) float32 in [0, 1], white = dense.

    Raises:
        PerturbationUndefined: no plausible pair of lungs was found; the reason is in the message.
    """
    found = _estimated(_reduced(film, FINE))
    fine = found.mask[None, None].float()
    return replace(found, mask=F.interpolate(fine, tuple(film.shape), mode="bilinear")[0, 0] > 0.5)


@remembered(8)
def _estimated(film: Tensor) -> LungField:
    """The estimate of a reduced film, its mask of that size."""
    reduced, air = _without_air(film)
    match, row, column, height, width = _match(_reduced(reduced, COARSE))
    if match < LEAST_MATCH:
        raise PerturbationUndefined(f"no lung field found (match {match:.2f}, needed {LEAST_MATCH})")
    fine = reduced.numpy()
    scale = FINE / COARSE
    expected = _place(template(round(height * scale), round(width * scale), 2 * FINE + 1)[0], fine.shape,
                      (row + 0.5) * scale, (column + 0.5) * scale)  # fmt: skip
    mask, contrast = _assign(fine, expected)
    mask &= ~air
    closure, below, again = _closure(fine, mask, contrast, round((column + 0.5) * scale))
    agreement = float((mask & (expected > 0.5)).sum() / max(1, (mask | (expected > 0.5)).sum()))
    found = LungField(torch.from_numpy(mask), match, agreement, contrast, closure, below, again)
    _check(found, mask, round((column + 0.5) * scale))
    return found


def _place(image: Array, shape: tuple[int, ...], row: float, column: float) -> Array:
    """Cut (H, W) out of a square image so that its middle comes to lie at (row, column)."""
    placed = np.zeros(shape, dtype=np.float32)
    middle = image.shape[0] // 2
    top, left = middle - round(row), middle - round(column)
    first_row, first_column = max(0, -top), max(0, -left)
    part = image[max(0, top) : top + shape[0], max(0, left) : left + shape[1]]
    placed[first_row : first_row + part.shape[0], first_column : first_column + part.shape[1]] = part[
        : shape[0] - first_row, : shape[1] - first_column
    ]
    return placed


def _assign(film: Array, expected: Array) -> tuple[Mask, float]:
    """Decide pixel by pixel near the template; returns the mask and the contrast of lungs against surroundings."""
    inside = expected > 0.5
    outward = ndimage.distance_transform_edt(~inside)
    inward = ndimage.distance_transform_edt(inside)
    smooth = ndimage.gaussian_filter(film, 2.0)
    core, ring = inward > 3.0, (outward > 2.0) & (outward < 11.0)
    if not core.any() or not ring.any():
        raise PerturbationUndefined("no lung field found: the match lies outside the film")
    dark, light = np.median(smooth[core]), np.median(smooth[ring])
    spread = 0.5 * (smooth[core].std() + smooth[ring].std()) + 1e-3
    # Log odds from grey value (two Gaussians of one width) and from the distance to the template's edge.
    by_grey = np.clip((light - dark) / spread**2 * (0.5 * (light + dark) - smooth), -3.0, 3.0)
    by_place = np.where(inside, np.minimum(inward * 0.45, 3.5), -np.minimum(outward * 0.55, 9.0))
    mask = _closed(by_grey + by_place > 0.0)
    # The grey that parts lung from tissue is not the same everywhere, and a long lung ends below the template: it grows
    # downward most easily.
    rows = np.flatnonzero(inside.any(axis=1))
    below = np.clip((np.arange(len(film)) - rows[0] - 0.7 * (rows[-1] - rows[0])) / (0.3 * (rows[-1] - rows[0])), 0, 1)
    reluctance = np.minimum(outward * (0.55 - 0.43 * below[:, None]), 9.0)
    by_place = np.where(inside, np.minimum(inward * 0.45, 3.5), -reluctance)
    columns = np.flatnonzero(inside.any(axis=0))
    # The trachea is dark too, and no lung.
    off = np.abs(np.arange(film.shape[1]) - 0.5 * (columns[0] + columns[-1])) / (0.5 * (columns[-1] - columns[0]))
    by_place = by_place - 9.0 * (off < TRACHEA)[None, :]
    for _ in range(GROWTHS):
        inner, outer = _local(smooth, mask, LOCAL), _local(smooth, ~mask & (outward < 30.0), LOCAL)
        apart = np.maximum(outer - inner, 0.5 * (light - dark))
        by_grey = np.clip(apart / spread**2 * (0.5 * (inner + outer) - smooth), -3.0, 3.0)
        mask = _closed(by_grey + by_place > 0.0)
    return mask, float(light - dark)


def _local(film: Array, region: Mask, sigma: float) -> Array:
    """Mean grey value of a region around each pixel (Gaussian window)."""
    weight = ndimage.gaussian_filter(region.astype(np.float32), sigma)
    return np.asarray(ndimage.gaussian_filter(film * region, sigma) / np.maximum(weight, 1e-3))


def _closed(mask: Mask) -> Mask:
    """The two largest pieces of a mask, without specks, bridges, gaps and holes."""
    mask = ndimage.binary_opening(mask, iterations=2)
    mask = ndimage.binary_closing(np.pad(mask, 8), iterations=6)[8:-8, 8:-8]
    labels, count = ndimage.label(ndimage.binary_fill_holes(mask))
    sizes = np.bincount(labels.reshape(-1), minlength=count + 1)
    sizes[0] = 0
    keep = np.argsort(sizes)[-2:] if count > 1 else np.array([1])
    largest: Mask = np.isin(labels, keep) & (labels > 0)
    return largest


def _closure(film: Array, mask: Mask, contrast: float, midline: int) -> tuple[float, float, float]:
    """How much lighter it gets below the lower border of the worse side, and stays, in units of the lungs' contrast.

    And in which share of the columns of the left side it does not stay so.
    """
    smooth = ndimage.gaussian_filter(film, 2.0)
    steps, stays, again = [], [], []
    for half in (slice(None, midline), slice(midline, None)):
        side, here = mask[:, half], smooth[:, half]
        columns = np.flatnonzero(side.sum(axis=0) > ACROSS)
        ends = len(side) - 1 - side[::-1, columns].argmax(axis=0)
        seen = ends < len(side) - ACROSS
        inside = here[np.maximum(ends - 2 * ACROSS, 0), columns]
        rows = np.minimum(ends + np.arange(ACROSS, FURTHER)[:, None], len(side) - 1)
        below = here[rows, columns] - inside
        steps.append(float(np.mean(below[0, seen])) / contrast if seen.any() else 0.0)
        stays.append(float(np.median(below.min(axis=0)[seen])) / contrast if seen.any() else 0.0)
        again.append(float(np.mean(below.min(axis=0)[seen] < AGAIN * contrast)) if seen.any() else 1.0)
    return min(steps), 0.5 * sum(stays), again[0]


def _check(found: LungField, mask: Mask, midline: int) -> None:
    """Refuse what cannot be a pair of lungs."""
    shares = (float(mask[:, :midline].sum()) / mask.size, float(mask[:, midline:].sum()) / mask.size)
    if found.contrast < LEAST_CONTRAST:
        raise PerturbationUndefined(
            f"no lung field found: the lungs are not darker than around (by {found.contrast:.3f})"
        )
    if found.agreement < LEAST_AGREEMENT:
        raise PerturbationUndefined(f"no lung field found (agreement with a chest {found.agreement:.2f})")
    if found.closure < LEAST_CLOSURE:
        raise PerturbationUndefined(
            f"no lung field found: it ends where the film gets no lighter (by {found.closure:.2f} of the lungs' "
            f"contrast, needed {LEAST_CLOSURE})"
        )
    if found.below < LEAST_BELOW:
        raise PerturbationUndefined(
            f"no lung field found: below its end the film is as dark again (lighter by {found.below:.2f} of the lungs' "
            f"contrast, needed {LEAST_BELOW})"
        )
    if found.again > MOST_AGAIN:
        raise PerturbationUndefined(
            f"no lung field found: below {100 * found.again:.0f} % of its end on the left the film is as dark again "
            f"(at most {100 * MOST_AGAIN:.0f} % may be)"
        )
    if min(shares) < 0.025 or max(shares) > 0.35 or max(shares) > 3.0 * min(shares):
        left, right = (f"{100 * share:.1f} %" for share in shares)
        raise PerturbationUndefined(f"no lung field found: sides cover {left} and {right} of the film")


def lungs_of(film: Tensor, draws: Draws) -> Tensor:
    """(H, W) bool: the mask that came with the film, else an estimate.

    Raises:
        PerturbationUndefined: the mask is empty, or no lungs were found.
    """
    if draws.lungs is None:
        return estimate_lungs(film).mask
    if not bool(draws.lungs.view(torch.uint8).amax()):  # far faster than `any`
        raise PerturbationUndefined("the lung mask is empty")
    return draws.lungs
