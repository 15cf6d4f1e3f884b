"""The working resolution: no finer than the recipes see, lengths and noise per area kept, said aloud."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustness import get
from robustness.perturbation import names
from suites.harness.cohorts.cohort import Film
from suites.harness.predictions.conditions import apply_all, in_floats, parse, shown
from suites.harness.predictions.resolution import AS_STORED, OVERSAMPLED, Resolution
from suites.harness.subjects.preprocessing import REPOSITORY, Preprocessing, Untouched

HUB = Preprocessing(name="hub", short_side=256, interpolation="bicubic", kernel="pillow", odd_margin="down")
BLIND = Preprocessing(name="blind", antialias=False)
SQUEEZED = Preprocessing(name="squeezed", short_side=None, size=64)


class Own(Preprocessing):
    """A recipe with code of its own."""


@pytest.mark.parametrize(
    ("recipes", "side"),
    [
        ([REPOSITORY], 1020),
        ([REPOSITORY, HUB], 1024),
        ([SQUEEZED], 256),
        ([SQUEEZED, REPOSITORY], 1020),
        ([REPOSITORY, BLIND], None),
        ([Untouched()], None),
        ([Own(name="own")], None),
        ([], None),
    ],
)
def test_the_finest_recipe_decides_and_one_that_sees_every_pixel_gets_them(recipes, side):
    assert Resolution.enough_for(recipes).side == side


@given(
    height=st.integers(20, 300),
    width=st.integers(20, 300),
    side=st.integers(20, 300),
    seed=st.integers(0, 99),
)
def test_a_film_is_averaged_and_never_enlarged(height, width, side, seed):
    film = torch.rand(height, width, generator=torch.Generator().manual_seed(seed))
    lungs = torch.zeros(height, width, dtype=torch.bool)
    lungs[height // 4 : height // 2, width // 4 : width // 2] = True
    small, mask = Resolution(side).working(film, lungs)
    assert mask is not None
    assert mask.shape == small.shape
    if min(height, width) <= side:
        assert small is film
        assert mask is lungs
        return
    assert min(small.shape) == side
    assert abs(small.shape[0] / small.shape[1] - height / width) <= (height / width) / side
    assert float(small.mean()) == pytest.approx(float(film.mean()), abs=0.02)
    assert float(mask.float().mean()) == pytest.approx(float(lungs.float().mean()), abs=0.03)


def test_noise_of_single_pixels_averages_as_areas_do():
    noise = 0.5 + 0.05 * torch.randn(1024, 1024, generator=torch.Generator().manual_seed(1))
    small, _ = Resolution(256).working(noise)
    assert float(small.std()) == pytest.approx(0.05 / 4, rel=0.02)


def test_what_the_recipe_makes_of_a_film_hardly_depends_on_the_resolution():
    rows, columns = torch.meshgrid(torch.linspace(0, 9, 1600), torch.linspace(0, 12, 2000), indexing="ij")
    film = (0.5 + 0.3 * torch.sin(rows * columns) + 0.05 * torch.randn(1600, 2000)).clamp(0, 1)
    small, _ = Resolution.enough_for([REPOSITORY]).working(film)
    coarse, _ = Resolution(255).working(film)
    whole = REPOSITORY(film[None])
    error, coarser = ((REPOSITORY(other[None]) - whole).square().mean().sqrt() for other in (small, coarse))
    assert float(error) < 0.004, "a grey level"
    assert float(coarser) > 2 * float(error), "at the recipe's own size, something would be lost"


@pytest.mark.parametrize(("text", "native"), [
    ("clean", True), ("gamma_low@3", False), ("jpeg_quality@3", True), ("gamma_low@3 | notch", False),
])  # fmt: skip
def test_only_what_acts_on_the_file_gets_it_whole(text, native):
    condition = parse(text)
    film = Film(pixels=np.random.default_rng(0).random((300, 400), dtype=np.float32), content="a")
    assert condition.native == native
    whole = shown(film, condition, "a", seed=0, resolution=AS_STORED)
    found = shown(film, condition, "a", seed=0, resolution=Resolution(100))
    assert whole.shape[-2:] == (300, 400)
    assert found.shape[-2:] == ((300, 400) if native else (100, 133))


def test_all_conditions_of_a_film_are_what_each_of_them_is_alone():
    """In bytes where the last step leaves them so, of a film that is rounded or averaged down once for all of them."""
    rng = np.random.default_rng(0)
    film = Film(pixels=rng.random((300, 400), dtype=np.float32) * np.float32(0.9) + np.float32(0.05), content="a")
    texts = ("underexposure@3", "softening@2", "jpeg_quality@2", "gamma_low@3 | clahe", "roll@1", "resave@5", "clean")
    found = dict(apply_all_of(film, texts))
    assert list(found)[-1] == "resave@5"
    assert list(found)[:2] == ["jpeg_quality@2", "clean"], "what acts on the film as stored comes first"
    for text in texts:
        assert found[text].dtype == (torch.float32 if text in {"clean", "gamma_low@3 | clahe"} else torch.uint8)
        alone = shown(film, parse(text), "a", seed=0, resolution=Resolution(100))
        assert torch.equal(in_floats(found[text]), alone), text


def apply_all_of(film, texts):
    asked = [parse(text) for text in texts]
    for condition, views, reason in apply_all(film, asked, "a", seed=0, resolution=Resolution(100)):
        assert not reason
        yield condition.text, views


def test_whoever_needs_the_film_as_stored_says_why():
    reasons = {name: get(name).native for name in names()}
    assert reasons["jpeg_quality"]
    assert reasons["medmnistc_gaussian_noise"]
    assert not reasons["scatter"]
    assert not reasons["whiteout_lobar"]
    assert all(len(reason) > 10 for reason in reasons.values() if reason)


def test_it_is_said_aloud():
    assert str(Resolution(1020)).startswith("films with a shorter side of more than 1020 pixels")
    assert str(AS_STORED) == "films are perturbed as stored"
    assert OVERSAMPLED == 4
