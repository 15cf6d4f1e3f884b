"""How is an image (H, W) averaged over its neighbourhood? Along one axis, then along the other."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def convolved(image: Tensor, kernel: Tensor) -> Tensor:
    """Convolve along both axes, floats or 8 bit; the border pixel is continued outward.

    Args:
        image: (H, W).
        kernel: (2 R + 1,) float32, symmetric, on the CPU.
    """
    if image.is_cpu:
        weights = kernel.numpy()
        return torch.from_numpy(cv2.sepFilter2D(image.numpy(), -1, weights, weights, borderType=cv2.BORDER_REPLICATE))
    radius = len(kernel) // 2
    source = F.pad(image.float()[None, None], [radius] * 4, mode="replicate")[0, 0]
    blurred = windowed(windowed(source, kernel, 1), kernel, 0)
    return blurred.round_().clamp_(0, 255).to(torch.uint8) if image.dtype == torch.uint8 else blurred


def windowed(image: Tensor, kernel: Tensor, dim: int) -> Tensor:
    """Weighted sums of neighbours along an axis, which gets shorter by all of the kernel but one.

    Written as sums of shifted images: what multiplies matrices or convolves may do so in reduced precision on a GPU.
    """
    length = image.shape[dim] - len(kernel) + 1
    weights: list[float] = kernel.tolist()
    found = image.narrow(dim, 0, length) * weights[0]
    for shift, weight in enumerate(weights[1:], start=1):
        found.add_(image.narrow(dim, shift, length), alpha=weight)
    return found


def boxed_bytes(grey: Tensor, side: int) -> Tensor:
    """Means of an 8-bit image over squares of an odd side; beyond the border lies its mirror image."""
    if grey.is_cpu:
        return torch.from_numpy(cv2.blur(grey.numpy(), (side, side)))
    means, radius = grey.int(), side // 2
    for dim in (0, 1):
        means = _mirrored(means, radius, dim).cumsum(dim, dtype=torch.int32)
        means = torch.cat([torch.zeros_like(means.narrow(dim, 0, 1)), means], dim=dim)
        length = means.shape[dim] - side
        means = means.narrow(dim, side, length) - means.narrow(dim, 0, length)
    return (means.float() / float(side * side)).round_().to(torch.uint8)


def _mirrored(image: Tensor, radius: int, dim: int) -> Tensor:
    """Continued by its mirror image, again and again where it is small."""
    size = image.shape[dim]
    place = torch.arange(-radius, size + radius, device=image.device)
    if size > 1:
        place = place.remainder(2 * size - 2)
        place = torch.minimum(place, 2 * size - 2 - place)
    else:
        place = torch.zeros_like(place)
    return image.index_select(dim, place)


def mirrored_blur(grey: Tensor, kernel: Tensor) -> Tensor:
    """An 8-bit image convolved along both axes and rounded; beyond the border lies its mirror image."""
    radius = len(kernel) // 2
    if grey.is_cpu:
        # OpenCV adds up taps row by row with fused operations, as torchvision does, except in the last columns, hence a
        # margin of a few more.
        both, (height, width) = torch.mm(kernel[:, None], kernel[None, :]).numpy(), grey.shape
        padded = cv2.copyMakeBorder(grey.numpy(), radius, radius, radius, radius + 32, cv2.BORDER_REFLECT_101)
        blurred = cv2.filter2D(padded.astype(np.float32), -1, both)
        return torch.from_numpy(cv2.convertScaleAbs(blurred[radius : radius + height, radius : radius + width]))
    source = _mirrored(_mirrored(grey.float(), radius, 0), radius, 1)
    return windowed(windowed(source, kernel, 1), kernel, 0).round_().clamp_(0.0, 255.0).to(torch.uint8)


def mirrored_edge(image: Tensor, rows: int, columns: int) -> Tensor:
    """An image continued by its mirror image below and to the right."""
    for dim, more in ((0, rows), (1, columns)):
        image = _mirrored(image, more, dim).narrow(dim, more, image.shape[dim] + more)
    return image
