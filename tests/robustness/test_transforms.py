"""Our perturbations as albumentations transforms, and theirs behind our adapter."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from robustness import PerturbationError, PerturbationUndefined, get, perturbation
from robustness.draws import Draws
from robustness.standard import apply_standard
from robustness.transforms import A, FilmPerturbation, exact

IMAGE_ONLY = [name for name in perturbation.names() if name not in {"sham_opacity", "diffuse_dose_matched"}]


@pytest.fixture(scope="module")
def image(chest) -> np.ndarray:
    film, _ = chest(1)
    return (film.numpy() * 255).round().astype(np.uint8)


@pytest.mark.parametrize("name", ["grid_stripes", "underexposure", "jpeg_quality", "markers", "scatter"])
def test_a_transform_gives_the_film_the_suite_tests(name, image):
    film = torch.from_numpy(image)[None].float() / 255
    expected = (get(name)(film, 3, ["patient 1"])[0].numpy() * 255).round().astype(np.uint8)
    np.testing.assert_array_equal(exact(name, 3, "patient 1", image), expected)


@pytest.mark.parametrize("name", IMAGE_ONLY)
def test_every_perturbation_survives_pickle_and_serialisation(name):
    transform = FilmPerturbation(name, severities=(2, 4), undefined="keep", p=1.0)
    again = A.from_dict(A.to_dict(transform))
    for copy in (pickle.loads(pickle.dumps(transform)), again):
        assert (copy.perturbation, copy.severities, copy.undefined, copy.p) == (name, (2, 4), "keep", 1.0)


def test_composes_and_repeats_under_a_seed(image):
    def run(seed: int) -> list[np.ndarray]:
        chain = A.Compose([FilmPerturbation("grid_stripes", p=1.0), A.HorizontalFlip(p=0.5)], seed=seed)
        return [chain(image=image)["image"] for _ in range(4)]

    first, second, other = run(3), run(3), run(4)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert not np.array_equal(first[0], first[1])
    stored = A.from_dict(A.to_dict(A.Compose([FilmPerturbation("grid_stripes", p=1.0)])))
    stored.set_random_seed(3)
    plain = A.Compose([FilmPerturbation("grid_stripes", p=1.0)], seed=3)
    np.testing.assert_array_equal(stored(image=image)["image"], plain(image=image)["image"])


def test_keeps_dtype_and_channels(image):
    grey = exact("scatter", 3, "a", image)
    for shaped in (image[..., None], np.repeat(image[..., None], 3, axis=2)):
        changed = exact("scatter", 3, "a", shaped)
        assert changed.dtype == np.uint8
        assert changed.shape == shaped.shape
        np.testing.assert_array_equal(changed[..., 0], grey)
    floats = exact("scatter", 3, "a", image.astype(np.float32) / 255)
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats, grey / 255.0, atol=1e-6)


def test_refuses_colour_and_wrong_arguments(image):
    colour = np.repeat(image[..., None], 3, axis=2)
    colour[10, 10, 1] += 1
    with pytest.raises(PerturbationError, match="channels that differ"):
        exact("scatter", 3, "a", colour)
    with pytest.raises(TypeError, match="severity"):
        FilmPerturbation("scatter", severity=3)
    with pytest.raises(ValueError, match="scatter"):
        FilmPerturbation("scater")
    with pytest.raises(PerturbationError, match="severities"):
        FilmPerturbation("scatter", severities=(0, 7))
    with pytest.raises(PerturbationError, match="undefined"):
        FilmPerturbation("scatter", undefined="ignore")


def test_undefined_films_raise_unless_told_to_keep_them():
    flat = np.full((64, 64), 128, dtype=np.uint8)
    with pytest.raises(PerturbationUndefined):
        FilmPerturbation("whiteout_lobar", p=1.0)(image=flat)
    kept = FilmPerturbation("whiteout_lobar", undefined="keep", p=1.0)(image=flat)["image"]
    np.testing.assert_array_equal(kept, flat)


def test_the_adapter_turns_warnings_of_the_library_into_errors():
    film = torch.full((32, 32), 0.5)
    draws = Draws("a", "b")
    with pytest.raises(PerturbationError, match="does not take"):
        apply_standard(film, "GaussNoise", {"var_limit": (10, 50)}, draws)
    with pytest.raises(PerturbationError, match="no transform"):
        apply_standard(film, "GridLines", {}, draws)


def test_the_adapter_seeds_from_the_film():
    film = torch.full((32, 32), 0.5)
    noise = {"std_range": (0.1, 0.1)}
    first = apply_standard(film, "GaussNoise", noise, Draws("a", "b"))
    apply_standard(film, "GaussNoise", noise, Draws("z", "b"))
    np.random.seed(7)  # noqa: NPY002 - it must not matter
    assert torch.equal(apply_standard(film, "GaussNoise", noise, Draws("a", "b")), first)
    assert not torch.equal(apply_standard(film, "GaussNoise", noise, Draws("c", "b")), first)
