"""Does each operation give elsewhere what OpenCV, numpy and Pillow give on the CPU?"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as vision

from robustness.filters import blur_within, blur_within_blocks, coordinates, gaussian_blur, turned, warp
from robustness.pointwise import in_bytes, looked_up
from robustness.primitives import blocks, ordering, resampling, smoothing
from robustness.primitives.collimator import collimated
from robustness.primitives.equalisation import equalised
from robustness.primitives.jpeg import jpeg
from robustness.primitives.resize_bytes import FILTERS, four_at_once, has_whole_numbers, pillow_resized
from robustness.primitives.strips import strips
from tests.robustness.elsewhere import Elsewhere, fetched, sent

SHAPES = ((64, 80), (61, 77))


def both(operation, *given) -> tuple[Tensor, Tensor]:
    """Results on the CPU and elsewhere, in float64."""
    here = operation(*given)
    with Elsewhere():
        there = fetched(operation(*(sent(one) if isinstance(one, Tensor) else one for one in given)))
    assert (there.shape, there.dtype) == (here.shape, here.dtype)
    return here.double(), there.double()


def agree(operation, *given, within: float = 0.0, share: float = 0.0) -> None:
    """At most a share of the pixels differs, none by more than that."""
    here, there = both(operation, *given)
    assert float((here - there).abs().max()) <= within
    assert float((here != there).double().mean()) <= (share if given[0].dtype == torch.uint8 else 1.0)


@pytest.fixture(params=SHAPES, ids=str)
def noise(request) -> Tensor:
    """Every grey value beside every other: 8 bit."""
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, request.param, dtype=np.uint8))


@pytest.fixture
def film(noise, chest) -> Tensor:
    """A drawn chest of the same shape, 8 bit."""
    return (chest(2, *noise.shape)[0] * 255.0).round().to(torch.uint8)


@pytest.mark.parametrize("quality", [1, 7, 15, 30, 49, 50, 75, 90, 96, 100])
def test_jpeg_is_libjpegs_to_the_bit(quality, noise, film):
    for grey in (noise, film):
        agree(jpeg, grey, quality)
        stored = cv2.imencode(".jpg", grey.numpy(), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        assert torch.equal(jpeg(grey, quality), torch.from_numpy(cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE)))


@pytest.mark.parametrize("clip", [1.2, 2.0, 4.0, 40.0])
def test_equalisation_is_opencvs_to_the_bit(clip, noise, film):
    for grey in (noise, film):
        theirs = cv2.createCLAHE(clip, (8, 8)).apply(grey.numpy())
        with Elsewhere():
            np.testing.assert_array_equal(fetched(equalised(sent(grey), clip)).numpy(), theirs)


@pytest.mark.parametrize("kind", ["continuous", "few values", "in order", "one value", "8 bit", "not a number"])
def test_ranks_are_those_of_all_values_in_order(kind):
    rng = np.random.default_rng(0)
    for size in (1, 2, 63, 64, 65, 700, 5000):
        values = rng.random(size, dtype=np.float32)
        if kind == "few values":
            values = np.floor(4.0 * values)
        elif kind == "in order":
            values.sort()
        elif kind == "one value":
            values[:] = 0.5
        elif kind == "8 bit":
            values = (255.0 * values).astype(np.uint8)
        elif kind == "not a number":
            values[size // 2 :] = np.nan
        places = [0, size // 100, min(size - 1, size // 100 + 1), (size - 1) // 2, size - 1]
        expected = [float(np.sort(values)[place]) for place in places]
        np.testing.assert_array_equal(ordering.ranked(torch.from_numpy(values), *places), expected)


@pytest.mark.skipif(not has_whole_numbers(), reason="torchvision resizes bytes in floats on this processor")
@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(20, 33), (50, 50), (64, 41), (130, 155), (7, 160), (61, 77)])
def test_four_parts_at_once_are_resized_as_torchvision_does_it(how, size, noise, film):
    for grey in (noise, film):
        theirs = vision.resize(grey[None, None], list(size), InterpolationMode(how), antialias=True)[0, 0]
        assert torch.equal(four_at_once(grey, *size, how), theirs)


@pytest.mark.parametrize("how", FILTERS)
@pytest.mark.parametrize("size", [(20, 33), (50, 50), (64, 41), (130, 155), (7, 160)])
def test_pillows_resize_is_its_own_to_the_bit(how, size, noise, film):
    for grey in (noise, film):
        height, width = size
        theirs = Image.fromarray(grey.numpy()).resize((width, height), Image.Resampling[how.upper()])
        with Elsewhere():
            np.testing.assert_array_equal(fetched(pillow_resized(sent(grey), height, width, how)), np.array(theirs))


def test_areas_and_interpolation(noise):
    height, width = noise.shape
    for image, within in ((noise, 1.0), (noise / 255.0, 1e-6)):
        for size in ((height // 2, width // 2), (height // 3, width), (height - 5, width - 9), (8, 9)):
            agree(resampling.averaged, image, *size, within=within, share=0.02)
        for size in ((height + 20, 2 * width), (height, width + 3)):
            agree(resampling.interpolated, image, *size, within=within, share=0.02)
        agree(resampling.continued, image, 3, 0)
    agree(resampling.doubled, noise > 99, 2 * height - 1, 2 * width)


@pytest.mark.parametrize("outside", resampling.OUTSIDE)
def test_samples_between_pixels_and_beyond_the_film(outside, noise):
    rows, columns = (9.0 * torch.randn(noise.shape, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    rows += torch.linspace(-30.0, 30.0, len(noise))[:, None]
    for image, within in ((noise, 1.0), (noise / 255.0, 1e-6)):
        agree(warp, image, rows, columns, outside, within=within, share=0.002)


@pytest.mark.parametrize("degrees", [-20.0, 2.0, 9.0])
def test_turning(degrees, noise, film):
    agree(turned, noise, degrees, 9.0, within=1.0, share=0.002)
    agree(turned, film, degrees, 9.0, within=1.0, share=0.002)  # with a black border
    straight = torch.arange(80, dtype=torch.uint8).repeat(64, 1)
    assert int(turned(straight, degrees, 9.0)[32, 40]) in {39, 40, 41}


@pytest.mark.parametrize("sigma", [0.3, 1.1, 3.5, 4.0, 17.0])
def test_blurs(sigma, noise):
    image, region = noise / 255.0, (noise > 60).float()
    agree(gaussian_blur, image, sigma, within=1e-6)
    agree(blur_within, image, region, sigma, within=1e-5)
    if sigma > 7.2:
        agree(blur_within_blocks, image, blocks.darker(noise, 250) == 255, sigma, within=1e-5)


def test_neighbourhoods_of_8_bit(noise):
    kernel = torch.tensor([0.1, 0.2, 0.4, 0.2, 0.1])
    for smooth in (smoothing.convolved, smoothing.mirrored_blur):
        agree(lambda grey, smooth=smooth: smooth(grey, kernel), noise, within=1.0, share=0.01)
    for side in (1, 3, 9, 61):
        agree(smoothing.boxed_bytes, noise, side)
        agree(ordering.dilated, noise, side)
        agree(ordering.opened, noise, side)
    agree(lambda grey: blocks.darker(grey, 3) == 255, noise // 32)


def test_order_sums_and_tables(noise):
    image = noise / 255.0
    for values in (noise, image):
        here = (ordering.ranked(values, 0, 99, values.numel() - 1), ordering.total(values))
        with Elsewhere():
            there = (ordering.ranked(sent(values), 0, 99, values.numel() - 1), ordering.total(sent(values)))
            assert ordering.norm(sent(image)) == pytest.approx(ordering.norm(image), rel=1e-12)
        assert there == here
    agree(ordering.places, noise > 99)
    agree(ordering.taken, noise, torch.tensor([3, 0, 99, 3]))
    known, there = (torch.tensor(line, dtype=torch.float64) for line in ([0.1, 0.3, 0.3, 0.9], [1.0, 2.0, 5.0, 3.0]))
    agree(ordering.read_off, image, known, there, within=1e-12)


def test_tables_and_rounding(noise):
    for table in (255 - torch.arange(256, dtype=torch.uint8), torch.linspace(1.0, 0.0, 256)):
        here = looked_up(noise, table)
        with Elsewhere():
            assert torch.equal(fetched(looked_up(sent(noise), table)), here)
    halves = (torch.arange(0, 600).reshape(20, 30) / 2.0 - 0.0) / 255.0
    agree(in_bytes, halves)


@pytest.mark.parametrize("border", [0.02, 0.1, 0.45])
def test_collimation(border, noise):
    agree(collimated, noise, border, 2.3)


@pytest.mark.parametrize("width", [1024, 1021])
def test_a_film_of_several_strips_is_warped_as_one(width):
    film = torch.from_numpy(np.random.default_rng(0).random((600, width), dtype=np.float32))
    assert len(list(strips(film))) > 1
    rows, columns = coordinates(film)
    bent = columns + 5.0 * torch.sin(columns / 40.0)
    whole = resampling.sampled(film, rows + 299.5, bent + (width - 1) / 2.0, "border")
    assert torch.equal(warp(film, rows, bent), whole)


def test_columns_with_something_below_a_bound_are_found_near_ones_together():
    image = torch.ones(7, 300)
    image[3, 10], image[0, 30], image[6, 200], image[2, 299] = 0.5, 0.0, 0.9, 0.2
    assert ordering.columns_below(image, 0.8) == [slice(10, 31), slice(299, 300)]
    assert ordering.columns_below(image, 0.8, near=5) == [slice(10, 11), slice(30, 31), slice(299, 300)]
    assert ordering.columns_below(image, 0.0) == []
    with Elsewhere():
        assert ordering.columns_below(sent(image), 0.8) == [slice(0, 300)]


def test_the_least_value_of_a_part_is_found_wherever_it_lies():
    image = torch.rand(40, 50, generator=torch.Generator().manual_seed(0))
    assert ordering.least(image[3:9, 5:31]) == float(image[3:9, 5:31].min())
