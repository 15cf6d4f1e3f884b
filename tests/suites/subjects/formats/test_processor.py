"""`preprocessor_config.json` is read as Transformers acts on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats.processor import (
    DEFAULTS,
    HUB,
    PROCESSOR_OF,
    hub_recipe,
    normalisation,
    repository_recipe,
    settled,
)
from suites.harness.subjects.preprocessing import REPOSITORY

CONVNEXT = {"image_processor_type": "ConvNextImageProcessor", "resample": 3}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (CONVNEXT | {"size": {"shortest_edge": 224}, "crop_pct": 0.875}, (256, 224, "bicubic")),
        (CONVNEXT | {"size": {"shortest_edge": 224}}, (256, 224, "bicubic")),
        (CONVNEXT | {"size": {"shortest_edge": 224}, "crop_pct": 0.95, "resample": 2}, (235, 224, "bilinear")),
        (CONVNEXT | {"size": {"shortest_edge": 384}}, (None, 384, "bicubic")),
        ({"feature_extractor_type": "ConvNextFeatureExtractor", "size": 224, "crop_pct": 0.875}, (256, 224, "bicubic")),
        (
            {
                "image_processor_type": "BitImageProcessor",
                "size": {"shortest_edge": 256},
                "crop_size": {"height": 224, "width": 224},
                "do_center_crop": True,
                "resample": 3,
            },
            (256, 224, "bicubic"),
        ),
        ({"image_processor_type": "BitImageProcessor", "size": 256}, (256, 224, "bicubic")),
        (
            {"image_processor_type": "ViTImageProcessorFast", "size": {"height": 224, "width": 224}},
            (None, 224, "bilinear"),
        ),
    ],
)
def test_recipes(config, expected):
    recipe = hub_recipe(config, 3, "file")
    assert (recipe.short_side, recipe.size, recipe.interpolation) == expected
    assert recipe.name == "hub"
    assert recipe.eight_bit


def test_the_published_processor_is_the_constant():
    assert hub_recipe(CONVNEXT | {"size": {"shortest_edge": 224}, "crop_pct": 0.875}, 3, "file") == HUB


def test_the_repositorys_recipe_at_its_own_size():
    assert repository_recipe(224) == REPOSITORY


def film_of(height: int, width: int) -> torch.Tensor:
    """Return a film (H, W) in 256 grey levels with coarse shapes, fine grain, black and white."""
    generator = torch.Generator().manual_seed(height * 10_000 + width)
    coarse = torch.nn.functional.interpolate(torch.rand(1, 1, 9, 13, generator=generator), (height, width))[0, 0]
    grain = torch.rand(height, width, generator=generator)
    return ((1.6 * coarse + 0.5 * grain - 0.6).clamp(0, 1) * 255).round() / 255


def reference(name: str, config: dict, film: torch.Tensor, **others) -> torch.Tensor:
    """Return what a class of Transformers makes of the film loaded as RGB."""
    image = np.repeat((film.numpy() * 255).round().astype(np.uint8)[:, :, None], 3, axis=2)
    fields = {key: value for key, value in config.items() if key != "image_processor_type"}
    processor = getattr(transformers, name)(**fields)
    return torch.as_tensor(np.asarray(processor(image, return_tensors="pt", **others)["pixel_values"]))


SHAPES = [(300, 400), (517, 233), (224, 224), (256, 301), (1001, 1300), (100, 61)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("settings", [{}, {"crop_pct": 0.95, "resample": 2}, {"size": {"shortest_edge": 384}}])
@pytest.mark.parametrize("kind", ["ConvNextImageProcessor", "ConvNextImageProcessorFast"])
def test_pixels_are_those_of_transformers_own_processor(shape, settings, kind):
    """Byte for byte: Pillow's where the class is a plain one, torchvision's where it is a fast one."""
    config = CONVNEXT | {"size": {"shortest_edge": 224}, "crop_pct": 0.875} | settings
    theirs = "ConvNextImageProcessor" if kind.endswith("Fast") else "ConvNextImageProcessorPil"
    film = film_of(*shape)
    expected = reference(theirs, config, film, do_normalize=False, do_rescale=False)
    got = hub_recipe(config | {"image_processor_type": kind}, 3, "file")(film[None])
    assert torch.equal((got * 255).round().to(torch.uint8), expected.to(torch.uint8))


@pytest.mark.parametrize("kind", ["", "Fast"])
@pytest.mark.parametrize("shape", [(300, 400), (100, 61)])
def test_a_crop_larger_than_the_film_is_padded_as_transformers_pads(shape, kind):
    config = {"size": {"shortest_edge": 101}, "crop_size": {"height": 160, "width": 160}, "do_center_crop": True}
    theirs = "BitImageProcessor" if kind else "BitImageProcessorPil"
    expected = reference(theirs, config, film_of(*shape), do_normalize=False, do_rescale=False)
    got = hub_recipe(config | {"image_processor_type": f"BitImageProcessor{kind}"}, 3, "file")(film_of(*shape)[None])
    assert torch.equal((got * 255).round().to(torch.uint8), expected.to(torch.uint8))


@pytest.mark.parametrize("kind", DEFAULTS)
def test_defaults_are_those_of_transformers_classes(kind):
    fields = {"resample", "image_mean", "image_std", "size", "crop_size", "crop_pct", "default_to_square", "do_resize",
              "do_center_crop", "do_rescale", "do_normalize", "rescale_factor"}  # fmt: skip
    assert set(DEFAULTS[kind]) <= fields
    for name in (kind, f"{kind}Pil"):
        theirs = getattr(transformers, name)
        for field in fields:
            assert DEFAULTS[kind].get(field) == getattr(theirs, field, None), f"{name}.{field}"


@pytest.mark.parametrize("kind", DEFAULTS)
def test_a_file_that_names_its_class_only_is_acted_on_as_transformers_does(kind):
    film = film_of(260, 301)
    expected = reference(f"{kind}Pil", {}, film)
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1) for values in normalisation({"image_processor_type": kind}, 3, "file")
    )
    got = (hub_recipe({"image_processor_type": kind}, 3, "file")(film[None]) - mean) / std
    torch.testing.assert_close(got, expected.to(torch.float32), atol=2e-6, rtol=0)


def test_what_the_class_supplied_is_told():
    given = CONVNEXT | {"size": {"shortest_edge": 224}, "crop_pct": 0.875, "image_mean": [0.4] * 3, "image_std": None}
    config, notes = settled(given, "convnextv2", "file")
    assert config["image_std"] == [0.5] * 3
    assert notes == ["file: no image_std 0.5 given: taken from ConvNextImageProcessor's defaults"]
    assert settled(given | {"image_std": [0.2] * 3}, "convnextv2", "file")[1] == []


def test_the_network_names_the_class_where_the_file_does_not():
    for model_type, kind in PROCESSOR_OF.items():
        assert settled({}, model_type, "file")[0]["image_processor_type"] == kind
        processors = transformers.models.auto.image_processing_auto.IMAGE_PROCESSOR_MAPPING_NAMES[model_type]
        assert kind in str(processors)


def test_one_grey_channel_takes_a_default_that_is_the_same_for_all_and_no_other():
    assert normalisation({"image_processor_type": "ViTImageProcessor"}, 1, "file") == ((0.5,), (0.5,))
    with pytest.raises(SubjectProblem, match="image_mean should be 1 numbers"):
        normalisation({"image_processor_type": "BitImageProcessor"}, 1, "file")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"do_resize": False}, "do_resize is false"),
        ({"resample": 5}, "resample 5 is none of"),
        ({"image_processor_type": "MysteryProcessor"}, "'MysteryProcessor' is not known"),
        (CONVNEXT | {"size": {"height": 224, "width": 224}}, "size should be"),
        (
            CONVNEXT | {"size": {"shortest_edge": 224}, "crop_pct": 0},
            r"`crop_pct` is 0, expected a number from 0\.01 to 1",
        ),
        (
            CONVNEXT | {"size": {"shortest_edge": 224}, "crop_pct": "most"},
            r'`crop_pct` is "most", expected a number from',
        ),
        (CONVNEXT | {"size": {"shortest_edge": 4}}, "size must lie in 8"),
        ({"image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 192}}, "neither a short side"),
        (
            {"image_processor_type": "BitImageProcessor", "size": 256, "do_center_crop": False},
            "neither a short side",
        ),
        (CONVNEXT | {"size": 224, "do_center_crop": True, "crop_size": 200}, "cuts a second time"),
        ({"image_processor_type": "BitImageProcessor", "size": "large"}, '`size` is "large", expected pixels'),
    ],
)
def test_what_no_recipe_can_say_is_refused(config, message):
    with pytest.raises(SubjectProblem, match=message):
        hub_recipe(config, 3, "file")


def test_normalisation():
    assert normalisation({}, 3, "file") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert normalisation({"do_normalize": False}, 1, "file") == ((0.0,), (1.0,))
    assert normalisation({"image_mean": [0.5], "image_std": [1]}, 1, "file") == ((0.5,), (1.0,))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"do_rescale": False}, "scaled by 1/255, but do_rescale is false"),
        ({"rescale_factor": 1 / 127.5}, r"scaled by 1/255, but rescale_factor is 0\.0078"),
        ({"rescale_factor": "small"}, '`rescale_factor` is "small", expected a number'),
        ({"image_mean": [0.5]}, "image_mean should be 3 numbers"),
        ({"image_mean": ["a", "b", "c"]}, r'`image_mean\[0\]` is "a", expected a number'),
        ({"image_std": [0.2, float("nan"), 0.2]}, r"`image_std\[1\]` is NaN, expected a number"),
        ({"image_std": [0.2, 0.0, 0.2]}, r"`image_std\[1\]` is 0\.0, expected a number from 1e-06 to 1000"),
    ],
)
def test_a_normalisation_that_cannot_be_right_is_refused(config, message):
    with pytest.raises(SubjectProblem, match=message):
        normalisation(config, 3, "file")
