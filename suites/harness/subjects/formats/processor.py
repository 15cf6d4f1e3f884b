"""Which recipe does a `preprocessor_config.json` describe, as Transformers writes it?

A field that is absent or null has the value of the processor's class, as in Transformers, and a note says so. A class
named `...ImageProcessor` or `...ImageProcessorPil` resizes with Pillow, as all did when the published files were
written, `...ImageProcessorFast` with torchvision's kernel for bytes. (Transformers 5 reads plain names with torchvision
where that is installed: about 1 % of the pixels then differ by one grey level from what the file gave before.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats.schemas import PROCESSOR
from suites.harness.subjects.formats.weights import checked
from suites.harness.subjects.preprocessing import REPOSITORY, Interpolation, Preprocessing
from suites.harness.subjects.subject import IMAGENET_MEAN, IMAGENET_STD

FILTERS: dict[int, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's codes for resampling filters."""

HUB = Preprocessing(name="hub", short_side=256, size=224, interpolation="bicubic", kernel="pillow", odd_margin="down")
"""What the image processors of facebook/convnextv2-tiny-22k-224 and facebook/dinov2-small come to."""

_Config = Mapping[str, Any]

_HALF, _CLIP_MEAN, _CLIP_STD = [0.5] * 3, [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
_EVERY: dict[str, Any] = {
    "resample": 3, "image_mean": _HALF, "image_std": _HALF, "default_to_square": True, "do_resize": True,
    "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255,
}  # fmt: skip
_SQUARE, _EDGE = {"height": 224, "width": 224}, {"shortest_edge": 224}
_CLIP: dict[str, Any] = {"image_mean": _CLIP_MEAN, "image_std": _CLIP_STD, "size": _EDGE, "default_to_square": False,
                  "do_center_crop": True, "crop_size": _SQUARE}  # fmt: skip

DEFAULTS: Mapping[str, _Config] = {
    "ConvNextImageProcessor": _EVERY | {"size": {"shortest_edge": 384}, "default_to_square": False, "crop_pct": 0.875},
    "ViTImageProcessor": _EVERY | {"resample": 2, "size": _SQUARE},
    "BitImageProcessor": _EVERY | _CLIP,
    "CLIPImageProcessor": _EVERY | _CLIP,
    "SiglipImageProcessor": _EVERY | {"size": _SQUARE, "default_to_square": False},
    "PvtImageProcessor": _EVERY | {"image_mean": list(IMAGENET_MEAN), "image_std": list(IMAGENET_STD), "size": _SQUARE},
}
"""What each class of image processor does where the file is silent; a test reads Transformers' own classes."""

PROCESSOR_OF = {"convnextv2": "ConvNextImageProcessor", "dinov2": "BitImageProcessor"}
"""The class that Transformers takes for a `model_type` when the file names none."""

_TOLD = ("image_mean", "image_std", "resample", "size", "do_center_crop", "crop_size", "crop_pct")


def settled(config: _Config, model_type: object, source: str) -> tuple[dict[str, Any], list[str]]:
    """Fill what a processor's file leaves out with the defaults of its class.

    Args:
        config: content of `preprocessor_config.json`.
        model_type: of the network, which names the class where the file does not.
        source: the file, for messages.

    Returns:
        The settings with `image_processor_type` and every field of the class, and notes on what was taken.

    Raises:
        SubjectProblem: a value is of another type or size than such a file holds, or the class is one whose defaults
            are not known here.
    """
    checked(config, PROCESSOR, source)
    named = config.get("image_processor_type") or config.get("feature_extractor_type")
    named = named or PROCESSOR_OF.get(str(model_type), PROCESSOR_OF["convnextv2"])
    kind = str(named).replace("FeatureExtractor", "ImageProcessor")
    defaults = DEFAULTS.get(kind.removesuffix("Fast").removesuffix("Pil"))
    if defaults is None:
        known = ", ".join(DEFAULTS)
        raise SubjectProblem(
            f"{source}: image processor {kind!r} is not known here ({known} are); write a module:factory with a "
            "Preprocessing of your own"
        )
    given = {key: value for key, value in config.items() if value is not None}
    absent = [f"{key} {_short(defaults[key])}" for key in _TOLD if key in defaults and key not in given]
    notes = [f"{source}: no {', '.join(absent)} given: taken from {kind}'s defaults"] if absent else []
    return {**defaults, **given, "image_processor_type": kind}, notes


def repository_recipe(size: int = 224, channels: int = 3) -> Preprocessing:
    """Return the published repository's evaluation recipe at any input size; the short side is 1.14 times as long."""
    return replace(REPOSITORY, short_side=int(size * 1.14), size=size, channels=channels)


def hub_recipe(config: _Config, channels: int, source: str) -> Preprocessing:
    """Read the recipe of an image processor.

    `ConvNextImageProcessor` enlarges the short side by 1 / crop_pct and crops, except from 384 pixels on, where it
    squeezes the film into the square; the others resize the short side or squeeze, and crop where they say so.

    Args:
        config: from `settled`, or content of `preprocessor_config.json`.
        channels: input channels of the network.
        source: the file, for messages.

    Raises:
        SubjectProblem: the processor does something that no recipe here can say.
    """
    config, _ = settled(config, None, source)
    kind = str(config["image_processor_type"])
    if not config["do_resize"]:
        raise SubjectProblem(f"{source}: do_resize is false, but films come in every size")
    filter_code = config["resample"]
    if filter_code not in FILTERS:
        raise SubjectProblem(f"{source}: resample {filter_code!r} is none of {FILTERS}")
    short_side, size = (_convnext if kind.startswith("ConvNext") else _resize_and_crop)(config, source)
    fast = kind.endswith("Fast")
    try:
        return Preprocessing(
            name="hub",
            short_side=short_side,
            size=size,
            interpolation=FILTERS[filter_code],
            channels=channels,
            kernel="torchvision" if fast else "pillow",
            odd_margin="zero" if fast else "down",
        )
    except ValueError as error:
        raise SubjectProblem(f"{source}: {error}") from error


def is_published_recipe(recipe: Preprocessing) -> bool:
    """Whether a recipe is `HUB`, at any input size, for any channels, and by whichever kernel."""
    enlarged = int(recipe.size / 0.875)
    return recipe.short_side == enlarged and recipe.interpolation == HUB.interpolation


def normalisation(config: _Config, channels: int, source: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Read mean and standard deviation per channel, in units of pixels in [0, 1]; ImageNet's where there is no file.

    Args:
        config: from `settled`, or content of `preprocessor_config.json`; empty without a file.
        channels: input channels of the network.
        source: the file, for messages.

    Raises:
        SubjectProblem: they are not usable numbers, or pixels are scaled to something other than [0, 1].
    """
    if not config:
        return IMAGENET_MEAN[:channels], IMAGENET_STD[:channels]
    config, _ = settled(config, None, source)
    factor = config["rescale_factor"]
    if not config["do_rescale"] or abs(factor * 255 - 1) > 1e-6:
        found = f"rescale_factor is {factor}" if config["do_rescale"] else "do_rescale is false"
        raise SubjectProblem(
            f"{source}: pixels must be scaled by 1/255, but {found}; fold what differs into image_mean and image_std"
        )
    if not config["do_normalize"]:
        return (0.0,) * channels, (1.0,) * channels
    mean, std = (_per_channel(config[name], channels) for name in ("image_mean", "image_std"))
    for name, values in (("image_mean", mean), ("image_std", std)):
        if len(values) != channels:
            raise SubjectProblem(f"{source}: {name} should be {channels} numbers, not {values!r}")
    return tuple(map(float, mean)), tuple(map(float, std))


def _per_channel(values: float | list[float], channels: int) -> list[float]:
    """Return one number, or one that is the same for all three channels, once per channel."""
    if isinstance(values, (int, float)):
        return [values] * channels
    return values[:1] if channels == 1 and values == values[:1] * 3 else values


def _convnext(config: _Config, source: str) -> tuple[int | None, int]:
    size, crop = config["size"], config["crop_pct"]
    side = size.get("shortest_edge") if isinstance(size, Mapping) else size
    if side is None:
        raise SubjectProblem(f"{source}: size should be {{'shortest_edge': pixels}}, not {size!r}")
    if config.get("do_center_crop") and _sides(config.get("crop_size"), square=True) != (side, side):
        raise SubjectProblem(f"{source}: crop_size {config.get('crop_size')!r} cuts a second time, after size {side}")
    if side >= 384:
        return None, side
    return int(side / crop), side


def _resize_and_crop(config: _Config, source: str) -> tuple[int | None, int]:
    size = _sides(config["size"], square=bool(config["default_to_square"]))
    crop = _sides(config.get("crop_size"), square=True) if config.get("do_center_crop") else None
    if len(size) == 1 and crop and crop[0] == crop[-1]:
        return size[0], crop[0]
    if len(size) == 2 and size[0] == size[1] and crop in (None, size):
        return None, size[0]
    raise SubjectProblem(
        f"{source}: size {config['size']!r} with crop_size {config.get('crop_size')!r} is neither a short side "
        "with a square crop nor a plain square"
    )


def _sides(size: object, *, square: bool) -> tuple[int, ...]:
    """Return (short side,) or (height, width); a plain number is a square or a short side, as its class has it."""
    if isinstance(size, int):
        return (size, size) if square else (size,)
    found = [size.get(key) for key in ("shortest_edge", "height", "width")] if isinstance(size, Mapping) else []
    return tuple(side for side in found if isinstance(side, int))


def _short(value: object) -> str:
    """Return a default as it is printed in a note: `224`, `0.485 0.456 0.406`, `true`."""
    if isinstance(value, Mapping):
        return " x ".join(str(side) for side in value.values())
    if isinstance(value, list):
        return " ".join(f"{number:.4g}" for number in dict.fromkeys(value))
    return str(value).lower()
