"""How does a trained network become a folder in the Hub's layout? Transformers' names, half precision."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from suites.harness.subjects.bundled.cohorts import SIZE
from suites.harness.subjects.bundled.recipes import DEPTHS, DIMS, VIT, Recipe
from suites.harness.subjects.subject import IMAGENET_MEAN, IMAGENET_STD

_CONVNEXTV2 = (
    (r"^stem\.0\.", "embeddings.patch_embeddings."),
    (r"^stem\.1\.", "embeddings.layernorm."),
    (r"^stages\.", "encoder.stages."),
    (r"\.downsample\.", ".downsampling_layer."),
    (r"\.blocks\.", ".layers."),
    (r"\.conv_dw\.", ".dwconv."),
    (r"\.norm\.(?=weight|bias)", ".layernorm."),
    (r"\.mlp\.fc([12])\.", r".pwconv\1."),
    (r"\.mlp\.grn\.", ".grn."),
    (r"^head\.layernorm\.", "layernorm."),
)
_DINOV2 = (
    (r"^cls_token$", "embeddings.cls_token"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^blocks\.", "encoder.layer."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.ls([12])\.gamma$", r".layer_scale\1.lambda1"),
    (r"^norm\.", "layernorm."),
)


def state_of(network: nn.Module, layout: str) -> dict[str, Tensor]:
    """Return float16 weights in Transformers' names, of a timm network of that layout."""
    state: dict[str, Tensor] = {}
    for key, tensor in network.state_dict().items():
        if key.startswith(("head.fc.", "head.weight", "head.bias")):
            state["classifier." + key.rsplit(".", 1)[1]] = tensor
        elif layout == "convnextv2":
            value = tensor.view(1, 1, 1, -1) if ".grn." in key else tensor
            state["convnextv2." + _renamed(key, _CONVNEXTV2)] = value
        elif ".attn.qkv." in key:
            block, kind = key.split(".attn.qkv.")
            for name, part in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                state["dinov2." + _renamed(f"{block}.attention.attention.{name}.{kind}", _DINOV2)] = part
        else:
            state["dinov2." + _renamed(key, _DINOV2)] = tensor
    if layout == "dinov2":
        # Only pre-training uses it, but Transformers expects it in the file.
        state["dinov2.embeddings.mask_token"] = torch.zeros(1, VIT["embed_dim"])
    return {key: tensor.detach().to(torch.float16).contiguous().clone() for key, tensor in sorted(state.items())}


def _renamed(key: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def config_of(recipe: Recipe) -> dict[str, Any]:
    """Return config.json."""
    shared: dict[str, Any] = {
        "id2label": {str(i): name for i, name in enumerate(recipe.classes)},
        "label2id": {name: i for i, name in enumerate(recipe.classes)},
        "image_size": SIZE,
        "num_channels": 3,
        "hidden_act": "gelu",
    }
    if recipe.several:
        shared["problem_type"] = "multi_label_classification"
    if recipe.layout == "convnextv2":
        return shared | {
            "architectures": ["ConvNextV2ForImageClassification"],
            "model_type": "convnextv2",
            "depths": list(DEPTHS),
            "hidden_sizes": list(DIMS),
            "num_stages": 4,
            "patch_size": 4,
            "layer_norm_eps": 1e-12,
        }
    return shared | {
        "architectures": ["Dinov2ForImageClassification"],
        "model_type": "dinov2",
        "patch_size": VIT["patch_size"],
        "hidden_size": VIT["embed_dim"],
        "num_hidden_layers": VIT["depth"],
        "num_attention_heads": VIT["num_heads"],
        "mlp_ratio": 4,
        "layer_norm_eps": 1e-6,
        "qkv_bias": True,
        "use_swiglu_ffn": False,
    }


def processor_of(layout: str) -> dict[str, Any]:
    """Return preprocessor_config.json: bicubic, 7/8 of the short side, as the published one."""
    shared = {
        "do_resize": True, "resample": 3, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
        "image_mean": list(IMAGENET_MEAN), "image_std": list(IMAGENET_STD),
    }  # fmt: skip
    if layout == "convnextv2":
        kind = {"image_processor_type": "ConvNextImageProcessor", "crop_pct": 0.875, "size": {"shortest_edge": SIZE}}
    else:
        square = {"height": SIZE, "width": SIZE}
        kind = {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": int(SIZE / 0.875)},
                "do_center_crop": True, "crop_size": square}  # fmt: skip
    return shared | kind


def write(folder: Path, network: nn.Module, recipe: Recipe) -> None:
    """Write weights, config and processor; the same weights give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(save(state_of(network, recipe.layout), metadata={"format": "pt"}))
    write_json(folder / "config.json", config_of(recipe))
    write_json(folder / "preprocessor_config.json", processor_of(recipe.layout))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON in a fixed order."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
