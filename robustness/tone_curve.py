"""What does another tone curve do? Every pixel by the same curve, wherever it lies, or wherever tissue lies."""

from __future__ import annotations

import functools
from abc import abstractmethod

import torch
from torch import Tensor

from robustness.draws import Draws
from robustness.perturbation import Level, Perturbation
from robustness.pointwise import in_bytes, looked_up
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
def _table(kind: type[ToneCurve], level: tuple[tuple[str, float], ...]) -> Tensor:
    return in_bytes(kind().curve(_every_grey(), dict(level)).clamp(0.0, 1.0)).reshape(-1)


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
            return looked_up(film, in_bytes(curve.clamp(0.0, 1.0)).reshape(-1))
        changed = looked_up(film, curve)
        torch.lerp(film / 255.0, changed, radiograph.weight, out=changed)
        return in_bytes(changed)


def _every_grey() -> Tensor:
    """(256,) every grey value of an 8-bit film."""
    return torch.arange(256, dtype=torch.float32).div_(255.0)
