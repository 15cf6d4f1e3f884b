"""Grad-CAM (Selvaraju et al. 2017) on convolutional and token networks, with the layer chosen per architecture.

Captum's LayerGradCam averages over whatever follows axis 1, so on a vision transformer it treats tokens as channels and
returns a map of shape (B, 1, C) without a word. The few lines of the method are therefore written here, for both
layouts; tests compare with Captum where Captum is right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explain.attribution import Attribution, Raw, register_method
from explain.network import Network, NotAttributableError, Watched


@dataclass(frozen=True)
class Layer:
    """Where Grad-CAM looks: a module, its dotted name, and whether its 4-D output has the channels last."""

    name: str
    module: nn.Module
    channels_last: bool = False


def _token_blocks(module: Any) -> str | None:  # noqa: ANN401 -- any module is asked
    """Vision transformers of timm: after the last block only the class token has a gradient, so its norm1."""
    if hasattr(module, "patch_embed") and hasattr(module, "blocks") and hasattr(module.blocks[-1], "norm1"):
        return f"blocks.{len(module.blocks) - 1}.norm1"
    return None


def _timm_features(module: Any) -> str | None:  # noqa: ANN401 -- any module is asked
    """Networks of timm say where their deepest features are: stages.3 (ConvNeXt), layer4 (ResNet)."""
    info = getattr(module, "feature_info", None)
    return str(info[-1]["module"]) if isinstance(info, list) and info else None


def _torchvision_resnet(module: Any) -> str | None:  # noqa: ANN401 -- any module is asked
    return "layer4" if isinstance(getattr(module, "layer4", None), nn.Module) else None


def _transformers_encoder(module: Any) -> str | None:  # noqa: ANN401 -- any module is asked
    """ConvNextV2Model (stages) and Dinov2Model (layer) of the transformers library."""
    encoder: Any = getattr(module, "encoder", None)
    if isinstance(getattr(encoder, "stages", None), nn.ModuleList):
        return f"encoder.stages.{len(encoder.stages) - 1}"
    if isinstance(getattr(encoder, "layer", None), nn.ModuleList) and hasattr(encoder.layer[-1], "norm1"):
        return f"encoder.layer.{len(encoder.layer) - 1}.norm1"
    return None


LAYER_RULES: list[Callable[[Any], str | None]] = [
    _token_blocks,
    _timm_features,
    _torchvision_resnet,
    _transformers_encoder,
]
"""Tried on every module, outermost first; a rule names the layer relative to the module it knows."""


def find_layer(network: Network, name: str | None = None) -> Layer | None:
    """Return the layer Grad-CAM should look at: the named one, or the one a rule finds; None if there is none."""
    if not isinstance(network, nn.Module):
        return None
    modules = dict(network.named_modules())
    if name is not None:
        return Layer(name, modules[name], _channels_last(modules, name)) if name in modules else None
    for prefix, module in modules.items():
        for rule in LAYER_RULES:
            local = rule(module)
            full = f"{prefix}.{local}" if prefix and local else local
            if full and full in modules:
                return Layer(full, modules[full], _channels_last(modules, full))
    return None


def _channels_last(modules: dict[str, nn.Module], name: str) -> bool:
    """Tell whether the timm model around a layer declares (B, h, w, C) features, as Swin does."""
    parts = name.split(".")
    around = [modules[".".join(parts[:depth])] for depth in range(len(parts))]
    return any(str(getattr(module, "output_fmt", "")) in {"NHWC", "Format.NHWC"} for module in around)


def layer_candidates(network: nn.Module, pixels: Tensor) -> list[str]:
    """Names of the layers whose output keeps a spatial extent, deepest last, found by one forward pass of one film."""
    found: list[str] = []
    handles = []
    for name, module in network.named_modules():

        def look(_: nn.Module, __: object, output: object, name: str = name) -> None:
            if isinstance(output, Tensor) and _grid_of(output) is not None and name and name not in found:
                found.append(name)

        handles.append(module.register_forward_hook(look))
    try:
        with torch.no_grad():
            network(pixels[:1])
    finally:
        for handle in handles:
            handle.remove()
    return found


def _grid_of(activation: Tensor) -> tuple[int, int] | None:
    """Return (side of the token grid, leading tokens), (0, 0) for a 4-D map, None without spatial extent."""
    if activation.ndim == 4:
        return (0, 0) if min(activation.shape[1:]) >= 1 and max(activation.shape[2:]) > 1 else None
    if activation.ndim != 3:
        return None
    side = math.isqrt(activation.shape[1])
    leading = activation.shape[1] - side * side  # class and register tokens stand in front of the patches
    return (side, leading) if side > 1 and leading <= 16 else None


def as_grid(activation: Tensor, *, channels_last: bool = False) -> Tensor | None:
    """Return a 4-D map, or tokens (B, N, C) whose patches form a square, as (B, C, h, w); None for anything else."""
    grid = _grid_of(activation)
    if grid is None:
        return None
    if activation.ndim == 4:
        return activation.permute(0, 3, 1, 2) if channels_last else activation
    side, leading = grid
    patches = activation[:, leading:]
    return patches.transpose(1, 2).reshape(len(activation), -1, side, side)


def class_activation(network: Watched, pixels: Tensor, targets: Tensor, layer: Layer) -> Tensor:
    """Return Grad-CAM (B, h, w) at the layer's own resolution: relu(sum_c mean_hw(d logit / d A_c) * A_c).

    Raises:
        NotAttributableError: the layer did not run, or its output has no spatial extent; the candidates are listed.
    """
    kept: list[Tensor] = []
    handle = layer.module.register_forward_hook(lambda _, __, output: kept.append(output))
    try:
        with torch.enable_grad():
            logits = network(pixels)
    finally:
        handle.remove()
    if len(kept) != 1 or not isinstance(kept[0], Tensor) or as_grid(kept[0], channels_last=layer.channels_last) is None:
        shape = tuple(kept[0].shape) if kept and isinstance(kept[0], Tensor) else f"nothing of use in {len(kept)} calls"
        names = ", ".join(layer_candidates(network.network, pixels)[-12:])
        raise NotAttributableError(
            network.method, f"layer {layer.name!r} gave {shape}; layers with a spatial extent: {names}"
        )
    (gradient,) = torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), kept[0], allow_unused=True)
    if gradient is None:
        raise NotAttributableError(network.method, f"the logits do not depend on layer {layer.name!r}")
    activation = as_grid(kept[0].detach(), channels_last=layer.channels_last)
    slope = as_grid(gradient, channels_last=layer.channels_last)
    assert activation is not None  # noqa: S101 -- shape was checked above
    assert slope is not None  # noqa: S101
    return F.relu((slope.mean(dim=(2, 3), keepdim=True) * activation).sum(dim=1))


@register_method
class GradCam(Attribution):
    """Grad-CAM, enlarged bilinearly to the film.

    Args:
        layer: dotted module name; by default the rule for the architecture (`LAYER_RULES`) chooses.
        batch: largest number of films in one pass.
    """

    name: ClassVar[str] = "grad-cam"
    signed: ClassVar[bool] = False
    source: ClassVar[str] = "Selvaraju et al. 2017, arXiv:1610.02391"

    def __init__(self, layer: str | None = None, *, batch: int = 16) -> None:
        super().__init__(batch=batch)
        self.layer = layer

    def run(self, network: Watched, pixels: Tensor, targets: Tensor, generators: Sequence[torch.Generator]) -> Raw:
        """See `Attribution.run`."""
        del generators
        layer = find_layer(network.network, self.layer)
        if layer is None:
            names = ", ".join(layer_candidates(network.network, pixels)[-12:]) or "none"
            wanted = f"no layer {self.layer!r}" if self.layer else "no rule knows this architecture"
            raise NotAttributableError(self.name, f"{wanted}; pass layer=..., one of: {names}")
        cam = class_activation(network, pixels, targets, layer)
        return Raw(F.interpolate(cam[:, None], size=pixels.shape[2:], mode="bilinear", align_corners=False)[:, 0])
