"""Changes of the grey value alone: every pixel by the same curve, wherever it lies."""

from __future__ import annotations

import functools
from abc import abstractmethod

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustness.draws import Draws
from robustness.perturbation import Level, Perturbation


class ToneCurve(Perturbation):
    """A perturbation that is a curve. Subclasses write the curve; films of 8 bit are looked up in a table of it."""

    @abstractmethod
    def curve(self, grey: Tensor, level: Level) -> Tensor:
        """Return the new grey values of grey values in [0, 1], of any shape; what leaves [0, 1] is clipped."""

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        return self.curve(film, level)

    def table(self, level: Level) -> NDArray[np.uint8]:
        return _table(type(self), tuple(level.items()))


@functools.lru_cache(maxsize=64)
def _table(kind: type[ToneCurve], level: tuple[tuple[str, float], ...]) -> NDArray[np.uint8]:
    every = torch.arange(256, dtype=torch.float32).div_(255.0)
    curve = kind().curve(every, dict(level)).clamp(0.0, 1.0)
    return cv2.convertScaleAbs(curve.numpy(), alpha=255.0).reshape(256).astype(np.uint8)
