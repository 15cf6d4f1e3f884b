"""Speed of the perturbations beside packages doing the same job, on the same films, in one run, on one thread.

`imagecorruptions` 1.1.2 is not here: it imports pkg_resources, which current Python installations no longer have.
"""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Callable
from importlib import import_module
from statistics import median

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from scipy import ndimage

from robustness import get
from robustness.presets import preset
from robustness.transforms import A

ROUNDS = 9

SAME_JOB = {
    "underexposure_stress": ("medmnistc", "shot_noise", 3),
    "gamma_high": ("medmnistc", "gamma_corr_up", 3),
    "jpeg_quality": ("medmnistc", "jpeg_compression", 2),
    "low_resolution": ("medmnistc", "pixelate", 4),
    "softening": ("medmnistc", "gaussian_blur", 2),
    "roll": ("albumentations", A.Rotate(limit=(9, 9), border_mode=4, p=1.0), 3),
    "sharpening": ("albumentations", A.UnsharpMask(sigma_limit=(1, 1), alpha=(1.0, 1.0), p=1.0), 3),
    "clahe": ("albumentations", A.CLAHE(clip_limit=(2.5, 2.5), p=1.0), 3),
    "electronic_noise": ("albumentations", A.GaussNoise(std_range=(0.02, 0.02), p=1.0), 3),
}
"""Our perturbation, and the nearest thing elsewhere with the severity at which both do about the same."""


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    import_module("cv2").setNumThreads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    """A film of the usual size with some structure, 8 bit (256, 380), and lungs in their place."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((256, 380)), 6)
    grey = 120 + 50 * noise / noise.std()
    y, x = np.mgrid[:256, :380]
    grey[lungs_of_film()] -= 60
    grey[(x < 30) | (x > 350)] = 0
    return np.clip(grey + 0 * y, 0, 255).astype(np.uint8)


def lungs_of_film() -> np.ndarray:
    y, x = np.mgrid[:256, :380]
    return np.minimum(*(((x - middle) / 48) ** 2 + ((y - 120) / 85) ** 2 for middle in (130, 250))) < 1


@pytest.fixture(scope="module")
def corruptions() -> dict[str, object]:
    for name in ("wand", "wand.image", "wand.api"):
        try:
            import_module(name)
        except ImportError:  # ImageMagick, for a motion blur that pneumonia films do not get
            module = types.ModuleType(name)
            module.Image, module.library = object, None
            sys.modules[name] = module
    kinds = import_module("medmnistc.corruptions.registry").CORRUPTIONS_DS["pneumoniamnist"]
    for kind in kinds.values():
        kind.rng = np.random.default_rng(0)
    return kinds


def side_by_side(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of CPU of each, median over interleaved rounds."""
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for calls, times in zip((ours, theirs), spent, strict=True):
            start = time.process_time()
            calls()
            times.append((time.process_time() - start) * 1e3)
    return median(spent[0][1:]), median(spent[1][1:])


def run_ours(name: str, severity: int, film: np.ndarray) -> Callable[[], object]:
    perturbation, batch = get(name), torch.from_numpy(film)[None].float() / 255
    masks = torch.from_numpy(lungs_of_film())[None]
    return lambda: perturbation(batch, severity, ["film"], masks=masks)


def run_medmnistc(corruption: object, severity: int, film: np.ndarray) -> Callable[[], object]:
    """As the benchmark makes its films: grey to three channels, corrupted, back to grey."""
    image = Image.fromarray(film)
    return lambda: Image.fromarray(corruption.apply(image.convert("RGB"), severity - 1)).convert("L")


def report(title: str, rows: list[tuple[str, str, float, float]]) -> float:
    """Print a table; returns total time of theirs over ours."""
    print(f"\n{title}\n{'ours':32s}{'theirs':40s}{'ours ms':>9s}{'theirs ms':>11s}{'ratio':>8s}")
    for ours, theirs, mine, other in rows:
        print(f"{ours:32s}{theirs:40s}{mine:9.2f}{other:11.2f}{other / mine:8.2f}")
    ratio = sum(row[3] for row in rows) / sum(row[2] for row in rows)
    print(f"{'total':72s}{sum(row[2] for row in rows):9.2f}{sum(row[3] for row in rows):11.2f}{ratio:8.2f}")
    return ratio


def test_medmnist_c_beside_its_own_package(film, corruptions, capsys):
    rows = []
    for name, corruption in corruptions.items():
        mine, other = side_by_side(run_ours(f"medmnistc_{name}", 3, film), run_medmnistc(corruption, 3, film))
        rows.append((f"medmnistc_{name}", f"medmnistc {name}", mine, other))
    with capsys.disabled():
        assert report("The 13 corruptions of MedMNIST-C", rows) > 1.5


def test_standard_beside_the_nearest_elsewhere(film, corruptions, capsys):
    rows = []
    for name, (package, what, severity) in SAME_JOB.items():
        if package == "medmnistc":
            label, theirs = f"medmnistc {what}", run_medmnistc(corruptions[what], severity, film)
        else:
            compose = A.Compose([what], seed=0)
            label, theirs = f"albumentations {type(what).__name__}", lambda compose=compose: compose(image=film)
        rows.append((name, label, *side_by_side(run_ours(name, 3, film), theirs)))
    with capsys.disabled():
        report("Standard grid beside the nearest elsewhere", rows)
    assert all(row[2] > 0 for row in rows)


def test_standard_grid_is_a_small_part_of_a_forward_pass(film, capsys):
    """The whole grid costs at most a quarter of the forward passes of convnextv2_tiny on the same CPU."""
    network = timm.create_model("convnextv2_tiny", pretrained=False, num_classes=3).eval()
    batch = torch.rand(4, 3, 224, 224)
    with torch.inference_mode():
        network(batch)
        start = time.process_time()
        network(batch)
        forward = (time.process_time() - start) * 1e3 / len(batch)
    for name, severity in preset("standard"):
        if severity in {1, 5}:
            run_ours(name, severity, film)()
    start = time.process_time()
    for name, severity in preset("standard"):
        run_ours(name, severity, film)()
    mean = (time.process_time() - start) * 1e3 / len(preset("standard"))
    with capsys.disabled():
        print(
            f"\nstandard grid: {mean:.1f} ms per perturbed film, forward pass: {forward:.1f} ms, {mean / forward:.0%}"
        )
    assert mean < 0.6 * forward
