"""What must the settings of published weights be, before any code trusts them? JSON Schemas, held against at load.

They say which type and size a value has. Whether values fit one another, and the network, is asked where they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

LARGEST_SIDE = 4096
"""Pixels along a side of a network's input."""


def _whole(most: int, least: int = 1) -> Schema:
    description = f"a whole number from {least} to {most}"
    return {"type": "integer", "minimum": least, "maximum": most, "description": description}


def _number(least: float, most: float) -> Schema:
    description = f"a number from {least:g} to {most:g}"
    return {"type": "number", "minimum": least, "maximum": most, "description": description}


def _four(item: Schema) -> Schema:
    return {"type": "array", "minItems": 4, "maxItems": 4, "items": item, "description": "four whole numbers"}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}], "description": schema["description"]}


_TEXT: Schema = {"type": "string", "maxLength": 1000, "description": "text"}
_NAME: Schema = {"type": "string", "description": "the name of a class"}
_SWITCH: Schema = {"type": "boolean", "description": "true or false"}
_SIDE = _whole(2 * LARGEST_SIDE)

CONFIG: Schema = {
    "type": "object",
    "properties": {
        "model_type": _TEXT,
        "id2label": {"type": "object", "description": 'the classes by number, as in {"0": "normal", "1": "pneumonia"}'},
        "label2id": {
            "type": ["object", "null"],
            "additionalProperties": {
                # Transformers' own example of image classification writes these numbers as text.
                "type": ["integer", "string"],
                "pattern": "^[0-9]{1,9}$",
                "description": "the number of a class, as in 0",
            },
            "description": 'the number of each class, as in {"normal": 0, "pneumonia": 1}',
        },
        "num_channels": {"type": "integer", "enum": [1, 3], "description": "1 or 3"},
        "image_size": _whole(LARGEST_SIDE, least=8),
    },
}
"""`config.json` of any network."""

NETWORKS: Mapping[str, Schema] = {
    "convnextv2": {
        "properties": {
            "depths": _four(_whole(64)),
            "hidden_sizes": _four(_whole(16384)),
            "hidden_act": _TEXT,
            "patch_size": {"const": 4, "description": "4, as in every ConvNeXt-V2"},
            "layer_norm_eps": _number(0, 1),
        }
    },
    "dinov2": {
        "properties": {
            "patch_size": _whole(512),
            "hidden_size": _whole(16384),
            "num_hidden_layers": _whole(64),
            "num_attention_heads": _whole(1024),
            "mlp_ratio": _number(0.1, 64),
            "layer_norm_eps": _number(0, 1),
            "hidden_act": _TEXT,
            "use_swiglu_ffn": _SWITCH,
        }
    },
}
"""`config.json` of the networks that are read here: larger than any that were published."""

_SIZE: Schema = {
    "anyOf": [_SIDE, {"type": "object", "additionalProperties": _or_null(_SIDE)}, {"type": "null"}],
    "description": f'pixels, as in 224 or {{"shortest_edge": 224}}, at most {2 * LARGEST_SIDE}',
}


def _per_channel(number: Schema) -> Schema:
    told = f"{number['description']} for each channel"
    several = {"type": "array", "items": number, "minItems": 1, "maxItems": 4, "description": told}
    return {"anyOf": [number, several, {"type": "null"}], "description": told}


PROCESSOR: Schema = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("image_processor_type", "feature_extractor_type"), _or_null(_TEXT)),
        **dict.fromkeys(
            ("do_resize", "do_rescale", "do_normalize", "do_center_crop", "default_to_square"), _or_null(_SWITCH)
        ),
        **dict.fromkeys(("size", "crop_size"), _SIZE),
        "resample": _or_null(_whole(5, least=0)),
        "crop_pct": _or_null(_number(0.01, 1)),
        "rescale_factor": _or_null(_number(0, 1)),
        "image_mean": _per_channel(_number(-1000, 1000)),
        "image_std": _per_channel(_number(1e-6, 1000)),
    },
}
"""`preprocessor_config.json`; null stands for the default of the processor's class."""

_CLASSES: Schema = {
    "anyOf": [{"type": "array", "items": _NAME}, _whole(65536), {"type": "null"}],
    "description": "a list of class names in the order of the logits",
}
HYPER_PARAMETERS: Schema = {
    "properties": {"num_classes": _or_null(_whole(65536)), "classes": _CLASSES, "class_names": _CLASSES}
}
"""`hyper_parameters` of a Lightning checkpoint, as far as they are used; a number of classes tells no names."""
