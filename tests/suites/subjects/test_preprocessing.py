"""What the network sees is what its recipe makes of the file, byte for byte; floats are near and have gradients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data import create_transform
from torchvision.transforms import v2

from suites.harness.cohorts.decoding import decode_image
from suites.harness.subjects.preprocessing import REPOSITORY, Preprocessing, as_levels
from tests.robustness.elsewhere import Elsewhere, fetched, sent

PUBLISHED = v2.Compose(
    [v2.ToImage(), v2.Resize(255, antialias=True), v2.CenterCrop(224), v2.ToDtype(torch.float32, scale=True)]
)
"""The evaluation transform as the published repository writes it."""


def drawn(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return (H, W) bytes: coarse shapes, fine grain, black and white."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.random((height // 16 + 1, width // 16 + 1)), np.ones((16, 16)))[:height, :width]
    return (np.clip(1.6 * coarse + 0.5 * rng.random((height, width)) - 0.6, 0, 1) * 255).round().astype(np.uint8)


def floats(levels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(levels).to(torch.float32)[None] / 255


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("shape", [(224, 224), (256, 256), (301, 417), (1001, 1300), (60, 90), (255, 256)])
def test_the_published_transform_of_a_file(tmp_path, mode, shape):
    file = tmp_path / "film.png"
    Image.fromarray(drawn(*shape)).convert(mode).save(file)
    expected = PUBLISHED(Image.open(file).convert("RGB"))[None]
    got = REPOSITORY(torch.from_numpy(decode_image(file).pixels)[None])
    assert torch.equal(as_levels(got), as_levels(expected))
    torch.testing.assert_close(got, expected, atol=1e-7, rtol=0)


@pytest.mark.parametrize(
    ("kernel", "interpolation"),
    [
        ("torchvision", "bilinear"),
        ("torchvision", "bicubic"),
        ("pillow", "bilinear"),
        ("pillow", "bicubic"),
        ("pillow", "lanczos"),
    ],
)
@pytest.mark.parametrize("shape", [(224, 224), (301, 417), (410, 255), (60, 90)])
def test_films_elsewhere_become_the_same_pixels_without_a_way_by_the_cpu(kernel, interpolation, shape):
    if kernel == "torchvision" and "AVX" not in torch.backends.cpu.get_cpu_capability():
        pytest.skip("this processor resizes bytes in floats")
    recipe = Preprocessing(name="any", kernel=kernel, interpolation=interpolation)
    films = torch.cat([floats(drawn(*shape, seed)) for seed in (1, 2)])
    with Elsewhere():
        assert torch.equal(fetched(recipe(sent(films))), recipe(films))


@settings(max_examples=40)
@given(
    height=st.integers(16, 400),
    width=st.integers(16, 400),
    short_side=st.none() | st.integers(20, 90),
    size=st.integers(16, 96),
    kernel=st.sampled_from(["torchvision", "pillow"]),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic"]),
)
def test_any_recipe_is_the_public_kernel_and_a_crop(height, width, short_side, size, kernel, interpolation):
    recipe = Preprocessing(
        name="any", short_side=short_side, size=size, kernel=kernel, interpolation=interpolation, channels=1
    )
    film = drawn(height, width)
    mode = v2.InterpolationMode(interpolation)
    steps = [v2.Resize(short_side or (size, size), mode, antialias=True), v2.CenterCrop(size)]
    image = Image.fromarray(film)
    if kernel == "torchvision":
        expected = v2.Compose([v2.ToImage(), *steps])(image)
    else:  # torchvision leaves Pillow images to Pillow
        expected = v2.Compose([*steps, v2.ToImage()])(image)
    assert torch.equal(as_levels(recipe(floats(film)))[0], expected)


def test_timms_evaluation_transform():
    theirs = create_transform((3, 96, 96), interpolation="bicubic", crop_pct=0.875, mean=(0,) * 3, std=(1,) * 3)
    recipe = Preprocessing(name="timm", short_side=109, size=96, interpolation="bicubic", kernel="pillow")
    film = drawn(201, 334)
    expected = theirs(Image.fromarray(film).convert("RGB"))
    assert torch.equal(as_levels(recipe(floats(film))[0]), as_levels(expected))


@pytest.mark.parametrize("kernel", ["torchvision", "pillow"])
def test_a_film_has_the_same_pixels_alone_and_among_others(kernel):
    recipe = Preprocessing(name="any", short_side=70, size=64, kernel=kernel)
    films = torch.cat([floats(drawn(150, 131, seed)) for seed in range(5)])
    assert torch.equal(recipe(films), torch.cat([recipe(film[None]) for film in films]))


@pytest.mark.parametrize("kernel", ["torchvision", "pillow"])
def test_a_film_of_bytes_is_that_film(kernel):
    recipe = Preprocessing(name="any", short_side=70, size=64, kernel=kernel)
    levels = torch.from_numpy(drawn(150, 131))[None]
    assert recipe.takes_bytes
    assert torch.equal(recipe(levels), recipe(levels / 255.0))
    assert not replace(recipe, kernel="torchvision", eight_bit=False).takes_bytes


def test_a_film_between_grey_levels_is_rounded_before_the_resize():
    film = floats(drawn(300, 280))
    moved = (film + torch.rand(film.shape, generator=torch.Generator().manual_seed(1)) * 0.9 / 510).clamp(0, 1)
    assert not torch.equal(moved, film)
    assert torch.equal(REPOSITORY(moved), REPOSITORY(film))


def test_kernels_differ_so_the_tests_above_can_tell_them_apart():
    film = floats(drawn(500, 420))
    seen = [as_levels(REPOSITORY(film)), as_levels(Preprocessing(name="pil", kernel="pillow")(film))]
    seen.append(as_levels(REPOSITORY.differentiable(film)))
    shares = [float((seen[0] != other).float().mean()) for other in seen[1:]]
    assert 0 < shares[0] < 0.05
    assert 0.05 < shares[1] < 0.3
    assert all((seen[0].int() - other.int()).abs().max() <= 2 for other in seen[1:])


def test_the_kernel_is_part_of_the_fingerprint():
    assert REPOSITORY.fingerprint()["kernel"] == "torchvision"
    assert Preprocessing(name="pil", kernel="pillow").fingerprint() != REPOSITORY.fingerprint()


@pytest.mark.parametrize("change", [{"kernel": "cv2"}, {"kernel": "pillow", "antialias": False}])
def test_a_kernel_that_cannot_be(change):
    with pytest.raises(ValueError, match="kernel"):
        Preprocessing(name="wrong", **change)


def test_straight_through_has_the_recipes_pixels_and_the_gradient_of_floats():
    film = floats(drawn(90, 120)).requires_grad_()
    recipe = Preprocessing(name="small", short_side=40, size=32)
    weights = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    seen = recipe.straight_through(film)
    assert torch.equal(seen, recipe(film.detach()))
    (through,) = torch.autograd.grad((seen * weights).sum(), film)
    (smooth,) = torch.autograd.grad((recipe.differentiable(film) * weights).sum(), film)
    assert torch.equal(through, smooth)
    assert through.abs().max() > 0


@pytest.mark.realdata
@pytest.mark.parametrize("folder", ["kermany/test", "kermany_native", "external"])
def test_real_films_reach_the_network_as_the_published_transform_has_them(shared, folder):
    files = sorted(file for file in Path(shared, "data", folder).rglob("*") if file.suffix in {".jpeg", ".jpg", ".png"})
    for file in files[:: max(len(files) // 60, 1)]:
        expected = PUBLISHED(Image.open(file).convert("RGB"))[None]
        got = REPOSITORY(torch.from_numpy(decode_image(file).pixels)[None])
        assert torch.equal(as_levels(got), as_levels(expected)), file
