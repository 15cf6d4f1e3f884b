"""From `preprocessor_config.json`, as Transformers writes it, to a recipe and a normalisation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from suites.harness.errors import SubjectProblem
from suites.harness.preprocessing import REPOSITORY, Interpolation, Preprocessing
from suites.harness.subject import IMAGENET_MEAN, IMAGENET_STD

FILTERS: dict[int, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's codes for resampling filters."""

HUB = Preprocessing(name="hub", short_side=256, size=224, interpolation="bicubic", odd_margin="down")
"""What the image processors of facebook/convnextv2-tiny-22k-224 and facebook/dinov2-small come to."""

_Config = Mapping[str, Any]


def repository_recipe(size: int = 224, channels: int = 3) -> Preprocessing:
    """Return the published repository's evaluation recipe at any input size; the short side is 1.14 times as long."""
    return replace(REPOSITORY, short_side=int(size * 1.14), size=size, channels=channels)


def hub_recipe(config: _Config, channels: int, source: str) -> Preprocessing:
    """Read the recipe of an image processor.

    `ConvNextImageProcessor` enlarges the short side by 1 / crop_pct and crops, except from 384 pixels on, where it
    squeezes the film into the square; `ViTImageProcessor` squeezes; `BitImageProcessor` resizes the short side and
    crops.

    Args:
        config: content of `preprocessor_config.json`.
        channels: input channels of the network.
        source: the file, for messages.

    Raises:
        SubjectProblem: the processor does something that no recipe here can say.
    """
    kind = str(config.get("image_processor_type", config.get("feature_extractor_type", "ConvNextImageProcessor")))
    kind = kind.removesuffix("Fast").replace("FeatureExtractor", "ImageProcessor")
    if not config.get("do_resize", True):
        raise SubjectProblem(f"{source}: do_resize is false, but films come in every size")
    filter_code = config.get("resample", 3 if kind != "ViTImageProcessor" else 2)
    if filter_code not in FILTERS:
        raise SubjectProblem(f"{source}: resample {filter_code!r} is none of {FILTERS}")
    if kind == "ConvNextImageProcessor":
        short_side, size = _convnext(config, source)
    elif kind in ("ViTImageProcessor", "BitImageProcessor"):
        short_side, size = _resize_and_crop(config, source)
    else:
        raise SubjectProblem(
            f"{source}: image processor {kind!r} is not known here (ConvNext-, ViT- and BitImageProcessor are); "
            "write a module:factory with a Preprocessing of your own"
        )
    try:
        return Preprocessing(
            name="hub",
            short_side=short_side,
            size=size,
            interpolation=FILTERS[filter_code],
            channels=channels,
            odd_margin="down",
        )
    except ValueError as error:
        raise SubjectProblem(f"{source}: {error}") from error


def normalisation(config: _Config, channels: int, source: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Read mean and standard deviation per channel, in units of pixels in [0, 1].

    Raises:
        SubjectProblem: they are not usable numbers, or pixels are scaled to something other than [0, 1].
    """
    factor = config.get("rescale_factor", 1 / 255)
    if not config.get("do_rescale", True) or not isinstance(factor, (int, float)) or abs(factor * 255 - 1) > 1e-6:
        raise SubjectProblem(f"{source}: pixels must be scaled by 1/255 (do_rescale, rescale_factor), not by {factor}")
    if not config.get("do_normalize", True):
        return (0.0,) * channels, (1.0,) * channels
    mean, std = config.get("image_mean", IMAGENET_MEAN[:channels]), config.get("image_std", IMAGENET_STD[:channels])
    for name, values in (("image_mean", mean), ("image_std", std)):
        numbers = isinstance(values, (list, tuple)) and all(isinstance(v, (int, float)) for v in values)
        if not numbers or len(values) != channels or not all(map(math.isfinite, values)):
            raise SubjectProblem(f"{source}: {name} should be {channels} numbers, not {values!r}")
    if min(std) <= 0:
        raise SubjectProblem(f"{source}: image_std must be positive, not {std!r}")
    return tuple(map(float, mean)), tuple(map(float, std))


def _convnext(config: _Config, source: str) -> tuple[int | None, int]:
    size = config.get("size", {"shortest_edge": 384})
    side = size.get("shortest_edge") if isinstance(size, Mapping) else size
    crop = config.get("crop_pct", 224 / 256)
    if not isinstance(side, int) or side < 1:
        raise SubjectProblem(f"{source}: size should be {{'shortest_edge': pixels}}, not {size!r}")
    if side >= 384:
        return None, side
    if not isinstance(crop, (int, float)) or not 0 < crop <= 1:
        raise SubjectProblem(f"{source}: crop_pct should lie in (0, 1], not {crop!r}")
    return int(side / crop), side


def _resize_and_crop(config: _Config, source: str) -> tuple[int | None, int]:
    size = _sides(config.get("size", 224))
    crop = _sides(config.get("crop_size", 224)) if config.get("do_center_crop", "crop_size" in config) else None
    if len(size) == 1 and crop and crop[0] == crop[-1]:
        return size[0], crop[0]
    if len(size) == 2 and size[0] == size[1] and crop in (None, size):
        return None, size[0]
    raise SubjectProblem(
        f"{source}: size {config.get('size')!r} with crop_size {config.get('crop_size')!r} is neither a short side "
        "with a square crop nor a plain square"
    )


def _sides(size: object) -> tuple[int, ...]:
    """Return (short side,) or (height, width); an old-style number is a square."""
    if isinstance(size, int):
        return size, size
    found = [size.get(key) for key in ("shortest_edge", "height", "width")] if isinstance(size, Mapping) else []
    return tuple(side for side in found if isinstance(side, int))
