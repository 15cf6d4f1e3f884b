"""What of the detail of a chest film is rib, what vessel, and what the outline of an organ?

Detail is what is left of the attenuation without its base, in which ribs and vessels are averaged away. Ribs run along
each other and are broad, with a fine cortex along their edges; an outline is the same all along the border of heart or
dome; the rest is mostly vessels.

Source: guided filter after He, Sun and Tang 2013 (10.1109/TPAMI.2012.213).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustness.filters import blur_within, coordinates, gaussian_blur, resize, smoothstep
from robustness.pointwise import exp
from robustness.ribs import with_cortex
from robustness.thorax import Thorax, outward

RIB_MM = 7.0
"""Half the side of the square over which ribs are averaged away and organs are not."""
RIB_CONTRAST = 0.35
"""Attenuation by which ribs stand out, roughly; organs stand out by 0.8 and more."""
RIB_EDGE_MM, VESSEL_CONTRAST = 2.0, 0.025
"""Half the side of the square over which vessels are averaged away, edges of ribs are not, and their contrast."""
VESSEL_MM, VESSELS_FROM_CM = 4.5, 4.0
"""What is brighter than its surroundings and narrower is a vessel, where the lung is so deep."""
CORTEX_MM, STEEP = 1.5, (0.025, 0.055)
"""Width of the edge of a rib, and by how much (attenuation per mm) it rises there at least, and where it is one for
sure."""
BESIDE_SPINE = (0.12, 0.32)
"""Half widths of the chest off its middle up to which all detail is bone, and from which on its course tells."""
BORDER_MM = 1.0
"""Sigma of the blur of an organ's edge on a film: of the focal spot, and of the heart that beats."""
STEP_MM, STEPS = 1.5, 5
"""Along the border of a lung an outline is sought in steps of so many mm, so many to either side."""
HILAR = 0.3
"""Share of what is seen at the hila that is vessels, the rest are ribs."""
AROUND_MM = 5.0
"""Sigma of the blur that finds what is near that edge."""
AT_THE_WALL = 0.3
"""Share of what is the same along the wall that is lost with the air, the rest are ribs."""
LEVEL_MM = 10.0
"""Sigma over which ribs and the spaces between them cancel each other."""
ALONG_MM = 18.0
"""Sigma over which it is averaged along the border: two ribs and more."""


def without_ribs(attenuation: Tensor, pitch_mm: float, region: Tensor | None = None) -> Tensor:
    """(H, W) without what is as broad and as faint as ribs, or more so; organs keep their edges.

    Args:
        attenuation: (H, W).
        pitch_mm: of the pixels.
        region: (H, W) 1 in what is smoothed by itself, 0 outside of it; `None`: all.
    """
    # Twice, for once leaves a third of the ribs.
    share = None if region is None else _share(region, RIB_MM / pitch_mm)
    for _ in range(2):
        attenuation = _smoothed(attenuation, RIB_MM / pitch_mm, RIB_CONTRAST, region, share)
    return attenuation


def each_by_itself(image: Tensor, regions: Sequence[Tensor], pitch_mm: float) -> Tensor:
    """(H, W) an image without ribs, each of some regions smoothed by itself, their borders as blurred as on a film."""
    found = torch.zeros_like(image)
    for region in regions:
        found += gaussian_blur(region, BORDER_MM / pitch_mm) * without_ribs(image, pitch_mm, region)
    return found


def outlines(
    rest: Tensor, air: Tensor, belly: Tensor, beside: Tensor, near: Tensor, *, thorax: Thorax, pitch_mm: float
) -> Tensor:
    """(H, W) what of the detail is the outline of heart, dome and hila.

    Args:
        rest: (H, W) attenuation without its base.
        air: (H, W) 1 where lung with air in it is seen.
        belly: (H, W) 1 below the domes.
        beside: (H, W) 1 along heart and dome, falling to 0 at the chest wall.
        near: (H, W) the same within AROUND_MM.
        thorax: the geometry.
        pitch_mm: of the pixels.
    """
    # Ribs are as much brighter as their spaces are darker; what is left of the difference between both sides is not.
    regions = (air, belly, 1.0 - air - belly)
    level = beside * sum(region * blur_within(rest, region, LEVEL_MM / pitch_mm) for region in regions)
    outline = level + outline_in(rest - level, air > 0, pitch_mm)
    outline = outline + outline_in(rest - outline, belly > 0, pitch_mm)
    around = gaussian_blur(air, AROUND_MM / pitch_mm)
    # Ribs that run along the wall are no outline of an organ.
    outline = (AT_THE_WALL + (1.0 - AT_THE_WALL) * near) * outline
    # Dark or bright lines along heart and dome, which are what was missed.
    lines = narrow(rest - outline, pitch_mm) - narrow(outline - rest, pitch_mm)
    outline = outline + smoothstep(6.0 * around * (1.0 - around)) * near * lines
    # The trunks at the hilum are as broad as ribs, and water as well.
    return outline + HILAR * hila(thorax) * (rest - outline)


def outline_in(rest: Tensor, seen: Tensor, pitch_mm: float) -> Tensor:
    """(H, W) what is the same along the border of a region, as a function of the distance to it; ribs cross it.

    Args:
        rest: (H, W) attenuation without its base.
        seen: (H, W) bool, the region.
        pitch_mm: of the pixels.
    """
    inside = seen.numpy().view(np.uint8)
    signed = cv2.distanceTransform(inside, cv2.DIST_L2, 3) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3)
    place = signed * np.float32(pitch_mm / STEP_MM)
    found = torch.zeros_like(rest)
    for step in range(-STEPS, STEPS + 1):
        off = np.abs(place - np.float32(step))
        here = torch.from_numpy(np.maximum(0.0, np.subtract(1.0, off, out=off), out=off))
        mean = gaussian_blur(rest * here, ALONG_MM / pitch_mm)
        mean = torch.div(mean, gaussian_blur(here, ALONG_MM / pitch_mm).clamp_min(1e-3))
        found += mean.mul_(here)
    return found


def ribs_among(
    detail: Tensor, deep: Tensor, inside: Tensor, upright: Tensor, *, thorax: Thorax, pitch_mm: float
) -> Tensor:
    """(H, W) what of the detail is ribs, their fine edges included.

    Args:
        detail: (H, W) attenuation without its base and outlines.
        deep: (H, W) path through the lung that is seen, cm.
        inside: (H, W) 1 in the hemithoraces, 0 outside of them, where all is kept that is as broad as ribs.
        upright: (H, W) 1 at the chest wall, where ribs stand upright, 0 away from it.
        thorax: the geometry.
        pitch_mm: of the pixels.
    """
    ribs = _smoothed(detail, RIB_EDGE_MM / pitch_mm, VESSEL_CONTRAST)
    ribs = ribs - smoothstep(deep / VESSELS_FROM_CM) * narrow(ribs, pitch_mm)
    # What runs along no rib is a vessel, however broad; at the chest wall ribs stand upright.
    along, cortex = with_cortex(ribs, detail - ribs, upright, thorax.midline, pitch_mm)
    ribs = ribs + inside * (along + edges_of_ribs(along, pitch_mm) * cortex - ribs)
    # Beside the spine it is heads of ribs and transverse processes, and no vessel.
    off = torch.maximum(outward(thorax, "left"), outward(thorax, "right"))
    beyond = smoothstep((off - BESIDE_SPINE[0]) / (BESIDE_SPINE[1] - BESIDE_SPINE[0]))
    return detail + beyond * (ribs - detail)


def edges_of_ribs(ribs: Tensor, pitch_mm: float) -> Tensor:
    """(H, W), 1 where ribs begin and end, whose cortex is finer than they are, 0 where nothing rises steeply."""
    down, right = torch.gradient(gaussian_blur(ribs, 1.0 / pitch_mm))
    steep = gaussian_blur(down.square() + right.square(), CORTEX_MM / pitch_mm).sqrt() / pitch_mm
    return smoothstep((steep - STEEP[0]) / (STEEP[1] - STEEP[0]))


def narrow(image: Tensor, pitch_mm: float) -> Tensor:
    """(H, W) what of an image is bright and narrower than ribs: the larger vessels."""
    step = max(1.0, 0.2 * VESSEL_MM / pitch_mm)
    rows, columns = (max(8, round(size / step)) for size in image.shape)
    small = cv2.resize(image.numpy(), (columns, rows), interpolation=cv2.INTER_AREA)
    # No wider: rather a vessel too many than a rib too few.
    size = 2 * int(0.5 * (VESSEL_MM / (step * pitch_mm) - 1.0)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    opened = cv2.morphologyEx(small, cv2.MORPH_OPEN, disc, borderType=cv2.BORDER_REPLICATE)
    return resize(torch.from_numpy(small - opened), *image.shape)


def hila(thorax: Thorax) -> Tensor:
    """(H, W), 1 at the hila, falling like Gaussians within the middle of the lungs."""
    rows, columns = coordinates(thorax.depth)
    height, width = thorax.depth.shape
    found = torch.zeros_like(thorax.depth)
    for side in ("left", "right"):
        row, column = thorax.hilum(side)
        down = (rows - row + (height - 1) / 2.0) / (0.11 * thorax.height)
        across = (columns - column + (width - 1) / 2.0) / (0.09 * thorax.height)
        found = torch.maximum(found, exp(-0.5 * down.square()) * exp(-0.5 * across.square()))
    return found


def rms_within(image: Tensor, region: Tensor, pitch_mm: float) -> Tensor:
    """(H, W) root mean square of an image over the part of a region (0 or 1) that lies near each place."""
    return blur_within(image.square(), region, ALONG_MM / pitch_mm).clamp_min(0.0).sqrt()


def _share(region: Tensor, half: float) -> NDArray[Any]:
    """(H, W) share of the square around each pixel that lies in a region; nowhere nothing."""
    return np.asarray(np.maximum(_boxed(region.numpy(), _side(half)), np.float32(1e-6)))


def _side(half: float) -> int:
    return 2 * max(1, round(half)) + 1


def _smoothed(
    image: Tensor, half: float, contrast: float, region: Tensor | None = None, share: NDArray[Any] | None = None
) -> Tensor:
    """A guided filter (He et al. 2013) of (H, W) by itself: what varies by less than a contrast is averaged away.

    Of a region, if one is given with its `_share` (1 in it, 0 outside of it), only what lies in it; beyond its reach
    the image stays.
    """
    size = _side(half)
    source = image.numpy()
    weight = None if region is None else region.numpy()

    def averaged(values: NDArray[Any]) -> NDArray[Any]:
        return _boxed(values, size) if weight is None else _boxed(values * weight, size) / share

    mean = averaged(source)
    variance = np.maximum(averaged(source * source) - mean * mean, 0.0)
    slope = variance / (variance + np.float32(contrast**2))
    smooth = averaged(slope) * source + averaged(mean - slope * mean)
    return torch.from_numpy(smooth if share is None else np.where(share > 1e-3, smooth, source))


def _boxed(image: NDArray[Any], size: int) -> NDArray[Any]:
    return np.asarray(cv2.blur(image, (size, size), borderType=cv2.BORDER_REPLICATE))
