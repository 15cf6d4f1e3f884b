"""`preprocessor_config.json` is read as Transformers acts on it."""

from __future__ import annotations

import pytest
import torch
from transformers import ConvNextImageProcessor

from suites.harness.errors import SubjectProblem
from suites.harness.formats.processor import HUB, hub_recipe, normalisation, repository_recipe
from suites.harness.preprocessing import REPOSITORY

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


@pytest.mark.parametrize("shape", [(300, 400), (517, 233), (224, 224), (1001, 1300)])
@pytest.mark.parametrize("settings", [{}, {"crop_pct": 0.95, "resample": 2}, {"size": {"shortest_edge": 384}}])
def test_pixels_agree_with_transformers_own_processor(shape, settings):
    """Within one grey level of 255: bytes are rounded after both passes of a resize, floats once at the end."""
    config = CONVNEXT | {"size": {"shortest_edge": 224}, "crop_pct": 0.875} | settings
    coarse = torch.rand(1, 1, 20, 30, generator=torch.Generator().manual_seed(sum(shape)))
    film = torch.nn.functional.interpolate(coarse, size=shape, mode="bicubic").clamp(0, 1)[0, 0]
    film = (film * 255).round() / 255
    image = (film * 255).to(torch.uint8).expand(3, -1, -1)
    processor = ConvNextImageProcessor(**{key: value for key, value in config.items() if key != "image_processor_type"})
    expected = processor(image, do_normalize=False, return_tensors="pt")["pixel_values"]
    got = hub_recipe(config, 3, "file")(film[None])
    assert got.shape == expected.shape
    difference = (got - expected).abs() * 255
    assert difference.max() < 1.01
    assert difference.mean() < 0.3


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"do_resize": False}, "do_resize is false"),
        ({"resample": 5}, "resample 5 is none of"),
        ({"image_processor_type": "MysteryProcessor"}, "'MysteryProcessor' is not known"),
        (CONVNEXT | {"size": {"height": 224, "width": 224}}, "size should be"),
        (CONVNEXT | {"size": {"shortest_edge": 224}, "crop_pct": 0}, "crop_pct should lie"),
        (CONVNEXT | {"size": {"shortest_edge": 224}, "crop_pct": "most"}, "crop_pct should lie"),
        (CONVNEXT | {"size": {"shortest_edge": 4}}, "size must lie in 8"),
        ({"image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 192}}, "neither a short side"),
        ({"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256}}, "neither a short side"),
        ({"image_processor_type": "BitImageProcessor", "size": "large"}, "neither a short side"),
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
        ({"do_rescale": False}, "scaled by 1/255"),
        ({"rescale_factor": 1 / 127.5}, "scaled by 1/255"),
        ({"rescale_factor": "small"}, "scaled by 1/255"),
        ({"image_mean": [0.5]}, "image_mean should be 3 numbers"),
        ({"image_mean": ["a", "b", "c"]}, "image_mean should be 3 numbers"),
        ({"image_std": [0.2, float("nan"), 0.2]}, "image_std should be 3 numbers"),
        ({"image_std": [0.2, 0.0, 0.2]}, "image_std must be positive"),
    ],
)
def test_a_normalisation_that_cannot_be_right_is_refused(config, message):
    with pytest.raises(SubjectProblem, match=message):
        normalisation(config, 3, "file")
