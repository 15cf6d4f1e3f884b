"""The published architectures as timm builds them."""

from __future__ import annotations

from collections.abc import Sequence

import timm
from timm.models.convnext import ConvNeXt
from torch import nn

CONVNEXTV2_SIZES = {
    "atto": ((2, 2, 6, 2), (40, 80, 160, 320)),
    "femto": ((2, 2, 6, 2), (48, 96, 192, 384)),
    "pico": ((2, 2, 6, 2), (64, 128, 256, 512)),
    "nano": ((2, 2, 8, 2), (80, 160, 320, 640)),
    "tiny": ((3, 3, 9, 3), (96, 192, 384, 768)),
    "base": ((3, 3, 27, 3), (128, 256, 512, 1024)),
    "large": ((3, 3, 27, 3), (192, 384, 768, 1536)),
    "huge": ((3, 3, 27, 3), (352, 704, 1408, 2816)),
}
"""Blocks and channels per stage (Woo et al., ConvNeXt V2, CVPR 2023, appendix A)."""


def convnextv2(
    depths: Sequence[int],
    dims: Sequence[int],
    num_classes: int,
    *,
    channels: int = 3,
    activation: str = "gelu",
    norm_eps: float = 1e-12,
) -> nn.Module:
    """Return a ConvNeXt-V2 of any size, untrained.

    Args:
        depths: blocks in each of the four stages.
        dims: channels in each of the four stages.
        num_classes: outputs of the head.
        channels: input channels.
        activation: activation in timm's names.
        norm_eps: epsilon of the last normalisation, which Transformers takes from its config (1e-12) while every
            other one has 1e-6.
    """
    network = ConvNeXt(
        in_chans=channels,
        num_classes=num_classes,
        depths=tuple(depths),
        dims=tuple(dims),
        act_layer=activation,
        use_grn=True,
        ls_init_value=None,
    )
    network.get_submodule("head.norm").eps = norm_eps  # type: ignore[assignment]
    return network


def convnextv2_name(depths: Sequence[int], dims: Sequence[int]) -> str:
    """Return the name of a size, or its numbers when it has none."""
    for size, numbers in CONVNEXTV2_SIZES.items():
        if numbers == (tuple(depths), tuple(dims)):
            return f"convnextv2_{size}"
    return f"convnextv2 (blocks {'-'.join(map(str, depths))}, channels {'-'.join(map(str, dims))})"


def dinov2_small(num_classes: int, size: int) -> nn.Module:
    """Return DINOv2 ViT-S/14 with a linear head on its class token, untrained, for `size` x `size` pixels."""
    network: nn.Module = timm.create_model("vit_small_patch14_dinov2", img_size=size, num_classes=num_classes)
    return network


def resnet50(num_classes: int) -> nn.Module:
    """Return a ResNet-50 (torchvision's and timm's agree in names and arithmetic), untrained."""
    network: nn.Module = timm.create_model("resnet50", num_classes=num_classes)
    return network
