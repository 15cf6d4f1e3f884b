"""What does another tone curve do? Every pixel by the same curve, wherever it lies, or wherever tissue lies."""

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
from robustness.pointwise import looked_up
from robustness.radiograph import Radiograph


class ToneCurve(Perturbation):
    """A perturbation that is a curve. Subclasses write the curve; films are looked up in a table of it."""

    eight_bit = True

    @abstractmethod
    def curve(self, grey: Tensor, level: Level) -> Tensor:
        """Return the new grey values of grey values in [0, 1], of any shape; what leaves [0, 1] is clipped."""

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        return looked_up(film, _table(type(self), tuple(level.items())))


@functools.lru_cache(maxsize=128)
def _table(kind: type[ToneCurve], level: tuple[tuple[str, float], ...]) -> NDArray[np.uint8]:
    return _in_bytes(kind().curve(_every_grey(), dict(level)))


class TissueCurve(Perturbation):
    """A curve for tissue; the raw beam beside the patient stays as it was. Subclasses write the curve."""

    @abstractmethod
    def curve(self, grey: Tensor, level: Level, radiograph: Radiograph) -> Tensor:
        """Return the new grey values of tissue in a film, none below 0; what is above 1 is clipped.

        Args:
            grey: grey values in [0, 1], of any shape; must not be changed in place.
            level: parameters of the severity.
            radiograph: the film they come from, for its tone curve and its typical grey value.
        """

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        radiograph = Radiograph.of(film, draws)
        return radiograph.on_tissue(self.curve(film, level, radiograph))

    def perturb_bytes(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        radiograph = Radiograph.of(film, draws)
        curve = self.curve(_every_grey(), level, radiograph)
        if radiograph.weight is None:
            return looked_up(film, _in_bytes(curve))
        changed = torch.from_numpy(cv2.LUT(film.numpy(), curve.numpy()))
        torch.lerp(film / 255.0, changed, radiograph.weight, out=changed)
        return torch.from_numpy(cv2.convertScaleAbs(changed.numpy(), alpha=255.0))


def _every_grey() -> Tensor:
    """(256,) every grey value of an 8-bit film."""
    return torch.arange(256, dtype=torch.float32).div_(255.0)


def _in_bytes(grey: Tensor) -> NDArray[np.uint8]:
    return np.asarray(cv2.convertScaleAbs(grey.clamp(0.0, 1.0).numpy(), alpha=255.0), dtype=np.uint8).reshape(-1)
