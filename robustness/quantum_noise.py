"""How do the photons of a dose scatter about their mean?"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustness.pointwise import root


def added_quantum_noise(intensity: Tensor, typical: float, counts: float, dose: float, noise: Tensor) -> Tensor:
    """Gaussian noise that a film gains when taken with `dose` (0..1) of its exposure; its own noise it has already.

    Variance of the result: ``I * typical / counts * (1 / dose - 1)``, proportional to the mean.

    Args:
        intensity: (H, W) I / I0.
        typical: intensity at which a pixel detects `counts` photons at full dose.
        counts: photons per pixel.
        dose: fraction of the exposure.
        noise: (H, W) standard normal.
    """
    scale = math.sqrt(typical / counts * (1.0 / dose - 1.0))
    return root(intensity).mul_(noise).mul_(scale).add_(intensity)


def poisson(mean: Tensor, noise: Tensor) -> Tensor:
    """Poisson counts by their Cornish-Fisher expansion: ``m + sqrt(m) z + (z^2 - 1) / 6``, not below zero.

    Mean exact and skewness right to first order, variance m + 1/18; good from about five counts on. Unlike a sampler it
    turns the same normal numbers into paired counts for every mean, so severities of one film share their noise.
    """
    return torch.add(root(mean), noise, alpha=1.0 / 6.0).mul_(noise).add_(mean).sub_(1.0 / 6.0).clamp_min_(0.0)
