"""Our MedMNIST-C against the benchmark's own package, pixel by pixel, and its relative errors."""

from __future__ import annotations

import sys
import types
from importlib import import_module

import numpy as np
import pytest
import torch
from PIL import Image

from robustness import get, perturbation
from robustness.benchmark import ALEXNET, ALEXNET_CLEAN, be, rbe

NAMES = [name.removeprefix("medmnistc_") for name in perturbation.names("benchmark")]
NOISE = {"gaussian_noise", "speckle_noise", "shot_noise", "impulse_noise"}


@pytest.fixture(scope="module")
def theirs():
    """The package's corruptions. It imports ImageMagick for a motion blur pneumonia films do not get."""
    replaced = {}
    try:
        import_module("wand.api")
    except ImportError:
        replaced = {name: types.ModuleType(name) for name in ("wand", "wand.image", "wand.api")}
        replaced["wand.image"].Image = object
        replaced["wand.api"].library = None
        sys.modules.update(replaced)
    registry = import_module("medmnistc.corruptions.registry")
    yield registry.CORRUPTIONS_DS["pneumoniamnist"]
    for name in replaced:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def film(chest):
    drawn, _ = chest(3, 224, 224)
    return drawn


def reference(corruption, film: torch.Tensor, severity: int) -> np.ndarray:
    colour = Image.fromarray((film.numpy() * 255).round().astype(np.uint8)).convert("RGB")
    np.random.seed(0)  # noqa: NPY002 - the package draws from it
    corruption.rng = np.random.default_rng(0)
    return np.array(Image.fromarray(corruption.apply(colour, severity - 1)).convert("L")).astype(int)


def ours(name: str, film: torch.Tensor, severity: int) -> np.ndarray:
    return (get(f"medmnistc_{name}")(film[None], severity, ["x"])[0].numpy() * 255).round().astype(int)


def test_the_list_is_the_benchmarks(theirs):
    assert set(NAMES) == set(theirs)
    for name, corruption in theirs.items():
        values = [next(iter(level.values())) for level in get(f"medmnistc_{name}").levels]
        assert values == list(corruption.severity_params)[:5]


@pytest.mark.parametrize("name", sorted(set(NAMES) - NOISE))
@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_what_is_not_random_agrees_to_the_grey_level(name, severity, film, theirs):
    np.testing.assert_array_equal(ours(name, film, severity), reference(theirs[name], film, severity))


@pytest.mark.parametrize("name", sorted(NOISE))
@pytest.mark.parametrize("severity", [1, 5])
def test_noise_has_their_distribution(name, severity, film, theirs):
    grey = (film.numpy() * 255).round().astype(int)
    mine, other = ours(name, film, severity) - grey, reference(theirs[name], film, severity) - grey
    for lowest, highest in ((60, 90), (140, 190), (190, 250)):
        band = (grey >= lowest) & (grey < highest)
        error = other[band].std() * np.sqrt(2.0 / band.sum())
        assert mine[band].mean() == pytest.approx(other[band].mean(), abs=5 * error)
        # Few pixels are hit by impulses, so the spread of theirs is itself known less well.
        assert mine[band].std() == pytest.approx(other[band].std(), rel=0.15 if name == "impulse_noise" else 0.06)


def test_noise_is_drawn_per_channel():
    film = torch.full((1, 200, 200), 0.5)
    noisy = get("medmnistc_gaussian_noise")(film, 3, ["x"])
    nominal, luma = 0.06, float(np.sqrt(0.299**2 + 0.587**2 + 0.114**2))
    assert luma == pytest.approx(0.669, abs=0.001)
    assert float((noisy - film).std()) == pytest.approx(nominal * luma, rel=0.03)


def test_alexnets_errors_are_the_packages(theirs):
    theirs = import_module("medmnistc.utils.baselines").BASELINES["pneumoniamnist"]
    assert theirs["clean_score"] == ALEXNET_CLEAN
    assert {f"medmnistc_{name}": error for name, error in theirs["raw_scores"].items()} == dict(ALEXNET)


def test_alexnet_scores_one_against_itself():
    errors = {name: [error] * 5 for name, error in ALEXNET.items()}
    assert be(errors).mean == pytest.approx(1.0)
    relative = rbe(errors, ALEXNET_CLEAN)
    assert relative.mean == pytest.approx(1.0)
    assert set(relative.left_out) == {"medmnistc_contrast_up", "medmnistc_gamma_corr_up"}
    assert len(relative.per_corruption) == 11
    assert "0.0056" in relative.left_out["medmnistc_contrast_up"]


def test_relative_errors_by_hand():
    errors = {"medmnistc_pixelate": [0.1, 0.2, 0.3, 0.4, 0.5]}
    assert be(errors).per_corruption["medmnistc_pixelate"] == pytest.approx(0.3 / 0.22102564102564104)
    relative = rbe(errors, clean=0.05).per_corruption["medmnistc_pixelate"]
    assert relative == pytest.approx(0.25 / (0.22102564102564104 - 0.10085470085470083))


@pytest.mark.parametrize(
    ("errors", "clean", "message"),
    [
        ({"fog": [0.1] * 5}, 0.1, "fog"),
        ({"medmnistc_pixelate": [0.1] * 4}, 0.1, "five"),
        ({"medmnistc_pixelate": [0.1] * 4 + [float("nan")]}, 0.1, "between 0 and 1"),
        ({"medmnistc_pixelate": [0.1] * 5}, 10.0, "clean error"),
    ],
)
def test_bad_errors_are_refused(errors, clean, message):
    with pytest.raises(ValueError, match=message):
        rbe(errors, clean)
