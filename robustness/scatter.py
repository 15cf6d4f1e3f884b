"""What does scattered radiation add to a film?"""

from __future__ import annotations

import torch
from torch import Tensor

from robustness.content_cache import remembered
from robustness.filters import WIDE, blur_within, blur_within_blocks, gaussian_blur
from robustness.radiograph import Radiograph, Rows


def local_mean(radiograph: Radiograph, intensity: Tensor, sigma: float) -> Tensor:
    """Broad blur of the intensity over tissue only (normalised convolution): the shape of the scattered radiation."""
    if radiograph.blocks is None:
        return gaussian_blur(intensity, sigma)
    if sigma < 2.0 * WIDE:
        return blur_within(intensity, (~radiograph.beam).to(intensity.dtype), sigma)
    return blur_within_blocks(intensity, ~radiograph.blocks, sigma)


@remembered(2, "around")
def spread(radiograph: Radiograph, sigma: float) -> Tensor:
    """`local_mean` of the film's own intensity, the same for every severity."""
    return local_mean(radiograph, radiograph.intensity, sigma)


def scatter(radiograph: Radiograph, ratio: float, sigma: float) -> Rows:
    """Intensity with scattered radiation added, exposure control keeping the typical one.

    ``I' = I + ratio * blur(I)``: where the film is uniform the scatter-to-primary ratio is `ratio`, and contrast
    falls to 1 / (1 + ratio); behind the mediastinum it falls further.
    """
    intensity, beside = radiograph.intensity, spread(radiograph, sigma)

    def scattered(rows: slice) -> Tensor:
        return torch.add(intensity[rows], beside[rows], alpha=ratio)

    kept = radiograph.typical_intensity / radiograph.typical(scattered)
    return lambda rows: scattered(rows).mul_(kept)
