"""Which maps know nothing of the network? A method that does not beat them explains nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from explain.attribution import Attribution, Raw, register
from explain.network import F64, Watched


def centre_prior(side: int, spread: float = 0.25) -> F64:
    """Return a centred Gaussian (side, side), peak 1, standard deviation `spread` times the side."""
    axis = (np.arange(side) - (side - 1) / 2) / (spread * side)
    profile = np.exp(-0.5 * axis**2)
    return np.asarray(np.outer(profile, profile), dtype=np.float64)


class _Baseline(Attribution):
    needs_gradients: ClassVar[bool] = False
    signed: ClassVar[bool] = False
    class_specific: ClassVar[bool] = False
    baseline: ClassVar[bool] = True
    source: ClassVar[str] = "control"


@register
class RandomMap(_Baseline):
    """Independent uniform noise, the same for a film whatever the network."""

    name: ClassVar[str] = "random map"

    def run(self, network: Watched, pixels: Tensor, targets: Tensor, generators: Sequence[torch.Generator]) -> Raw:
        """See `Attribution.run`."""
        del network, targets
        return Raw(torch.stack([torch.rand(pixels.shape[2:], generator=generator) for generator in generators]))


@register
class EdgeDetector(_Baseline):
    """The Sobel gradient magnitude of the slightly smoothed grey film (Adebayo et al. 2018 use such a control)."""

    name: ClassVar[str] = "edge detector"
    source: ClassVar[str] = "Adebayo et al. 2018, arXiv:1810.03292"

    def run(self, network: Watched, pixels: Tensor, targets: Tensor, generators: Sequence[torch.Generator]) -> Raw:
        """See `Attribution.run`."""
        del network, targets, generators
        films = ndimage.gaussian_filter(pixels.detach().mean(dim=1).cpu().double().numpy(), sigma=(0, 1, 1))
        edges = np.hypot(ndimage.sobel(films, axis=1), ndimage.sobel(films, axis=2))
        return Raw(torch.from_numpy(edges))


@register
class CentrePrior(_Baseline):
    """A centred Gaussian: radiographs are centred on what matters, so looking at the middle is often right."""

    name: ClassVar[str] = "centre prior"

    def run(self, network: Watched, pixels: Tensor, targets: Tensor, generators: Sequence[torch.Generator]) -> Raw:
        """See `Attribution.run`."""
        del network, targets, generators
        return Raw(torch.from_numpy(centre_prior(pixels.shape[-1])).expand(len(pixels), -1, -1))
