"""How far does the target logit fall when a window is covered? Occlusion, from predictions only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from captum.attr import Occlusion
from torch import Tensor

from explain.attribution import Attribution, Profile, Raw, register
from explain.network import Watched
from explain.reference import check_reference, reference_film


@register
class OcclusionMap(Attribution):
    """The fall of the target logit when a window is covered, averaged over the windows that hold a pixel.

    Args:
        window: side of the window as a fraction of the film's side.
        stride: step as a fraction of the window.
        reference: what covers the window (`explain.reference`).
        batch: largest number of covered films in one pass.
    """

    name: ClassVar[str] = "occlusion"
    profile: ClassVar[Profile] = "full"
    needs_gradients: ClassVar[bool] = False
    source: ClassVar[str] = "Zeiler & Fergus 2014, arXiv:1311.2901"

    def __init__(
        self, window: float = 1 / 7, stride: float = 0.5, reference: str = "blurred", *, batch: int = 16
    ) -> None:
        super().__init__(batch=batch)
        if not (0 < window <= 1 and 0 < stride <= 1):
            raise ValueError(f"occlusion window and stride are fractions in (0, 1], not {window} and {stride}")
        self.window, self.stride, self.reference = window, stride, check_reference(reference)

    @property
    def copies(self) -> int:
        """One film per chunk, its covered copies filling the pass."""
        return self.batch

    def run(self, network: Watched, pixels: Tensor, targets: Tensor, generators: Sequence[torch.Generator]) -> Raw:
        """See `Attribution.run`."""
        del generators
        side = pixels.shape[-1]
        window = max(1, round(self.window * side))
        step = max(1, round(self.stride * window))
        with torch.no_grad():
            maps = Occlusion(network).attribute(
                pixels,
                target=targets,
                baselines=reference_film(pixels, self.reference),
                sliding_window_shapes=(pixels.shape[1], window, window),
                strides=(pixels.shape[1], step, step),
                perturbations_per_eval=self.batch,
            )
        # Every channel of a window carries the fall of the whole window, so the channels are averaged, not summed.
        return Raw(maps.mean(dim=1))
