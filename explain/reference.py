"""What does a film look like with its evidence taken away? The reference other files compare films with.

On a radiograph the choice matters. Black is air, so a black reference is itself a finding; a film's own mean grey holds
no anatomy, but layer normalisation blows up the faintest contrast on it, so that paths from it add up badly; a strongly
blurred film keeps exposure and body outline and loses the detail a reader looks at. The blurred one is the default.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

BLUR_FRACTION = 0.1
"""Standard deviation of the blur as a fraction of the film's side."""


def _black(pixels: Tensor) -> Tensor:
    return torch.zeros_like(pixels)


def _mean_grey(pixels: Tensor) -> Tensor:
    return pixels.mean(dim=(1, 2, 3), keepdim=True).expand_as(pixels).clone()


def _blurred(pixels: Tensor) -> Tensor:
    """Blur along rows, then along columns: a two-dimensional kernel of this width costs half a network pass."""
    side = pixels.shape[-1]
    sigma = BLUR_FRACTION * side
    reach = min(int(3 * sigma), side - 1)  # reflection cannot reach further than the film itself
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=pixels.device, dtype=pixels.dtype) / sigma) ** 2)
    kernel = (weights / weights.sum()).reshape(1, 1, 1, -1)
    blurred = pixels.reshape(-1, 1, *pixels.shape[-2:])
    for _ in range(2):
        blurred = F.conv2d(F.pad(blurred, (reach, reach, 0, 0), mode="reflect"), kernel).transpose(2, 3)
    return blurred.reshape(pixels.shape)


REFERENCES: dict[str, Callable[[Tensor], Tensor]] = {"black": _black, "mean grey": _mean_grey, "blurred": _blurred}


def check_reference(kind: str) -> str:
    """Return `kind` if a reference has that name.

    Raises:
        ValueError: it has not; the known ones are listed.
    """
    if kind not in REFERENCES:
        raise ValueError(f"no reference film {kind!r}; known: {', '.join(REFERENCES)}")
    return kind


def reference_film(pixels: Tensor, kind: str) -> Tensor:
    """Return each film's reference, (B, C, S, S) in [0, 1]; `kind` is a key of `REFERENCES`."""
    with torch.no_grad():
        return REFERENCES[check_reference(kind)](pixels.detach()).clamp(0, 1)
