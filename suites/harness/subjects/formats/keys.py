"""What is the same weight called elsewhere? From Transformers' names to timm's.

Only names and trivial shapes change; parity of the logits with Transformers' own forward pass is tested.
"""

from __future__ import annotations

import re

import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

from suites.harness.subjects.formats.tensors import State

CONVNEXTV2 = (
    (r"^convnextv2\.", ""),
    (r"^embeddings\.patch_embeddings\.", "stem.0."),
    (r"^embeddings\.layernorm\.", "stem.1."),
    (r"^encoder\.", ""),
    (r"\.downsampling_layer\.", ".downsample."),
    (r"\.layers\.(\d+)\.", r".blocks.\1."),
    (r"\.dwconv\.", ".conv_dw."),
    (r"\.layernorm\.", ".norm."),
    (r"\.pwconv([12])\.", r".mlp.fc\1."),
    (r"(?<!\.mlp)\.grn\.", ".mlp.grn."),
    (r"^layernorm\.", "head.norm."),
    (r"^classifier\.", "head.fc."),
)
"""Transformers' `ConvNextV2ForImageClassification` to timm's `ConvNeXt(use_grn=True)`, applied in this order."""

DINOV2 = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"\.attention\.attention\.(query|key|value)\.", r".attn.\1."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.attention\.q_proj\.", ".attn.query."),
    (r"\.attention\.k_proj\.", ".attn.key."),
    (r"\.attention\.v_proj\.", ".attn.value."),
    (r"\.attention\.o_proj\.", ".attn.proj."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"^layernorm\.", "norm."),
)
"""Transformers' `Dinov2Model` to timm's `VisionTransformer`; attention as named up to Transformers 4 and from 5 on."""


def convnextv2_to_timm(state: State) -> State:
    """Rename the weights of a ConvNeXt-V2 classifier; weights already in timm's names pass unchanged.

    The two vectors of the global response normalisation lose their leading axes of length one, and 1 x 1 convolutions,
    which timm uses in its small sizes, become the linear layers they equal.
    """
    tensors = {}
    for key, tensor in _renamed(state, CONVNEXTV2).items():
        if ".mlp.grn." in key:
            tensors[key] = tensor.flatten()
        elif ".mlp.fc" in key and tensor.ndim == 4:
            tensors[key] = tensor.flatten(1)
        else:
            tensors[key] = tensor
    return tensors


def dinov2_probe_to_timm(state: State, grid: int, width: int = 384) -> State:
    """Rename `backbone.*` and `head.*` of a linear probe on a Transformers DINOv2.

    Queries, keys and values, three layers in Transformers, become the one layer `qkv` of timm; the mask token, which
    only pre-training uses, is left out; and the position table is resampled as Transformers does at run time.

    Args:
        state: weights with keys `backbone.*` (Transformers' `Dinov2Model`) and `head.*`.
        grid: patches along one side of the network input.
        width: channels of a token.
    """
    backbone = {key.removeprefix("backbone."): tensor for key, tensor in state.items() if key.startswith("backbone.")}
    rest = {key: tensor for key, tensor in state.items() if not key.startswith("backbone.")}
    backbone.pop("embeddings.mask_token", None)
    tensors = rest | _fused(_renamed(backbone, DINOV2))
    if "pos_embed" in tensors:
        tensors["pos_embed"] = resampled_positions(tensors["pos_embed"], grid, width)
    return tensors


def dinov2_to_timm(state: State, grid: int, width: int) -> State:
    """Rename the weights of Transformers' `Dinov2ForImageClassification`.

    Args:
        state: weights with keys `dinov2.*` and `classifier.*`.
        grid: patches along one side of the network input.
        width: channels of a token.
    """
    renamed = {re.sub(r"^classifier\.", "head.", re.sub(r"^dinov2\.", "backbone.", key)): state[key] for key in state}
    return dinov2_probe_to_timm(renamed, grid, width)


def resampled_positions(table: Tensor, grid: int, width: int) -> Tensor:
    """Resample a square position table (1, 1 + n*n, width) to (1, 1 + grid*grid, width): bicubic, no antialiasing.

    Transformers' DINOv2 does this on every forward pass; timm would antialias, which gives other logits. What is no
    such table is returned as it is, so that its shape is reported when it is loaded.
    """
    side = round((table.shape[1] - 1) ** 0.5) if table.ndim == 3 and table.is_floating_point() else 0
    if side < 1 or tuple(table.shape) != (1, 1 + side * side, width):
        return table
    resampled: Tensor = resample_abs_pos_embed(table, [grid, grid], num_prefix_tokens=1, antialias=False)
    return resampled


def _renamed(state: State, rules: tuple[tuple[str, str], ...]) -> State:
    tensors: State = {}
    for key, tensor in state.items():
        new = key
        for pattern, replacement in rules:
            new = re.sub(pattern, replacement, new)
        # Two old names for one weight: keep both under their own names, so that loading reports one as unexpected.
        tensors[key if new in tensors else new] = tensor
    return tensors


def _fused(state: State) -> State:
    tensors = dict(state)
    for key in state:
        if key.endswith((".attn.query.weight", ".attn.query.bias")):
            layer, kind = key.rsplit(".query.", 1)
            parts = [f"{layer}.{part}.{kind}" for part in ("query", "key", "value")]
            shapes = {tensors[part].shape if part in tensors else None for part in parts}
            if len(shapes) == 1 and tensors[key].ndim > 0:  # what does not fit together is reported when it is loaded
                tensors[f"{layer}.qkv.{kind}"] = torch.cat([tensors.pop(part) for part in parts])
    return tensors
