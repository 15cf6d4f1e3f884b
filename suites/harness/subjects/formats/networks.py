"""How does timm build the published architectures?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import timm
import torch
from timm.models.convnext import ConvNeXt
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

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


class Dinov2(VisionTransformer):
    """A DINOv2 of any size whose linear head reads the class token beside the mean of the patch tokens.

    This is how Transformers' `Dinov2ForImageClassification` is built, and how DINOv2's authors probe it (Oquab et al.
    2023, appendix B).

    Args:
        size: side of the input in pixels.
        patch: side of a patch in pixels.
        width: channels of a token.
        blocks: transformer blocks.
        heads: attention heads.
        num_classes: outputs of the head.
        channels: input channels.
        ratio: width of the hidden layer of each block over `width`.
        norm_eps: epsilon of every normalisation.
    """

    def __init__(
        self,
        *,
        size: int,
        patch: int,
        width: int,
        blocks: int,
        heads: int,
        num_classes: int,
        channels: int = 3,
        ratio: float = 4.0,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__(
            img_size=size, patch_size=patch, in_chans=channels, num_classes=num_classes, embed_dim=width, depth=blocks,
            num_heads=heads, mlp_ratio=ratio, init_values=1.0, norm_layer=partial(nn.LayerNorm, eps=norm_eps),
        )  # fmt: skip
        self.head = nn.Linear(2 * width, num_classes)

    def pool(self, x: Tensor, pool_type: str | None = None) -> Tensor:  # noqa: ARG002 - timm's signature
        """Return (B, 2 D): the class token, and the mean of the patch tokens."""
        return torch.cat([x[:, 0], x[:, 1:].mean(dim=1)], dim=1)


def resnet50(num_classes: int) -> nn.Module:
    """Return a ResNet-50 (torchvision's and timm's agree in names and arithmetic), untrained."""
    network: nn.Module = timm.create_model("resnet50", num_classes=num_classes)
    return network
