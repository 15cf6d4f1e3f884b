"""Which places of its last feature map speak for a class? Grad-CAM (Selvaraju et al. 2017).

Captum's LayerGradCam averages over whatever follows axis 1, so on a vision transformer it treats tokens as channels and
returns a map of shape (B, 1, C) without a word. The few lines of the method are therefore written here, for both
layouts; tests compare with Captum where Captum is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explain.attribution import Attribution, Raw, register
from explain.layers import find_layer
from explain.network import NotAttributableError, Watched
from explain.tracing import Layer, as_grid, captured

__all__ = ["GradCam", "as_grid", "class_activation"]


def class_activation(network: Watched, pixels: Tensor, targets: Tensor, layer: Layer) -> Tensor:
    """Return Grad-CAM (B, h, w) at the layer's own resolution: relu(sum_c mean_hw(d logit / d A_c) * A_c).

    Raises:
        NotAttributableError: the layer did not run as in the pass that found it, or the logits do not depend on it.
    """
    with captured(layer) as kept, torch.enable_grad():
        logits = network(pixels)
    if len(kept) != 1 or not isinstance(kept[0], Tensor) or as_grid(kept[0], channels_last=layer.channels_last) is None:
        shape = tuple(kept[0].shape) if kept and isinstance(kept[0], Tensor) else f"nothing of use in {len(kept)} calls"
        raise NotAttributableError(network.method, f"layer {layer.name!r} gave {shape}")
    (gradient,) = torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), kept[0], allow_unused=True)
    if gradient is None:
        raise NotAttributableError(network.method, f"the logits do not depend on layer {layer.name!r}")
    activation = as_grid(kept[0].detach(), channels_last=layer.channels_last)
    slope = as_grid(gradient, channels_last=layer.channels_last)
    assert activation is not None  # noqa: S101 -- shape was checked above
    assert slope is not None  # noqa: S101
    return F.relu((slope.mean(dim=(2, 3), keepdim=True) * activation).sum(dim=1))


@register
class GradCam(Attribution):
    """Grad-CAM, enlarged bilinearly to the film.

    Args:
        layer: dotted module name, or its end, or a layer found before; by default the last spatial feature map
            (`explain.layers`). It is found once for a network, so that redrawn weights are looked at in the same place.
        batch: largest number of films in one pass.
    """

    name: ClassVar[str] = "grad-cam"
    signed: ClassVar[bool] = False
    source: ClassVar[str] = "Selvaraju et al. 2017, arXiv:1610.02391"

    def __init__(self, layer: str | Layer | None = None, *, batch: int = 16) -> None:
        super().__init__(batch=batch)
        self.layer = layer
        self._found: WeakKeyDictionary[nn.Module, Layer] = WeakKeyDictionary()

    def find(self, network: nn.Module, pixels: Tensor) -> Layer:
        """Return the layer this network is looked at in; one film is run where it is not known yet.

        Raises:
            NotAttributableError: see `find_layer`.
        """
        if isinstance(self.layer, Layer):
            return self.layer
        if network not in self._found:
            self._found[network] = find_layer(network, pixels, self.layer)
        return self._found[network]

    def run(self, network: Watched, pixels: Tensor, targets: Tensor, generators: Sequence[torch.Generator]) -> Raw:
        """See `Attribution.run`."""
        del generators
        cam = class_activation(network, pixels, targets, self.find(network.network, pixels))
        return Raw(F.interpolate(cam[:, None], size=pixels.shape[2:], mode="bilinear", align_corners=False)[:, 0])
