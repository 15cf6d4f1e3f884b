"""Speed of the perturbations beside packages doing the same job, on the same films, in one run, on one thread.

Every perturbation of the standard grid that has a counterpart in medmnistc 0.1.0 or albumentations 2.0 stands beside
it, in both where both have it; where ours does two things at once (fewer photons make a film light and noisy), so does
the counterpart. Both are timed twice:

- "8 bit": 8-bit film in, 8-bit film out, as in training or when a data set is written.
- "floats": float film in, float film out, as the classifier's pipeline holds it; theirs is wrapped in the conversions.

What no package does stays with us: the raw beam beside the patient is found and left black (gamma_low, window_widening,
the fixed windows), noise is that of photons through the patient, stripes fade where scatter dominates, a collimator has
a penumbra. Where albumentations has the bare operation without that, it stands in a table of its own (`LESS`): no
package does that job, and what the physics costs is seen there.

Two of ours are albumentations' own transforms (jpeg_quality, clahe), one is a single pass over the film (inversion):
beside the very same operation, checking films and severities costs 10 to 30 microseconds a film.

Every round has a film and an identity of its own, so nothing remembered of a film helps. Ratios are theirs over ours.

`imagecorruptions` 1.1.2 is not here: it imports pkg_resources, which current Python installations no longer have.
"""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import median

import cv2
import matplotlib as mpl
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from robustness import get, presets
from robustness.filters import to_bytes
from robustness.transforms import A

ROUNDS = 20
SHAPE = (256, 380)
SEVERITY = 3

Bytes = np.ndarray

MEDMNISTC = {
    "underexposure": [("shot_noise", 3)],
    "underexposure_stress": [("shot_noise", 3)],
    "electronic_noise": [("shot_noise", 1), ("gaussian_noise", 1)],
    "stripes_as_white_noise": [("speckle_noise", 1)],
    "underexposure_fixed_window": [("shot_noise", 3), ("brightness_up", 5)],
    "overexposure_fixed_window": [("brightness_down", 5)],
    "brightness_shift": [("brightness_up", 5)],
    "window_widening": [("contrast_down", 5)],
    "gamma_low": [("gamma_corr_down", 4)],
    "gamma_high": [("gamma_corr_up", 5)],
    "jpeg_quality": [("jpeg_compression", 1)],
    "low_resolution": [("pixelate", 5)],
    "softening": [("gaussian_blur", 2)],
}
"""Our perturbation, and the corruptions with the severities at which both do about the same."""

AREA = {"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR}
LETTERS = Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
ALBUMENTATIONS = {
    "underexposure": [A.ShotNoise(scale_range=(0.01, 0.01), p=1.0)],
    "underexposure_stress": [A.ShotNoise(scale_range=(0.02, 0.02), p=1.0)],
    "electronic_noise": [A.ShotNoise(scale_range=(0.01, 0.01), p=1.0), A.GaussNoise(std_range=(0.02, 0.02), p=1.0)],
    "underexposure_fixed_window": [
        A.ShotNoise(scale_range=(0.01, 0.01), p=1.0),
        A.RandomBrightnessContrast((0.2, 0.2), (0.0, 0.0), p=1.0),
    ],
    "brightness_shift": [A.RandomBrightnessContrast((0.2, 0.2), (0.0, 0.0), p=1.0)],
    "gamma_high": [A.RandomGamma(gamma_limit=(170, 170), p=1.0)],
    "grid_cutoff": [A.Illumination(mode="linear", p=1.0), A.ShotNoise(scale_range=(0.01, 0.01), p=1.0)],
    "markers": [A.TextImage(font_path=str(LETTERS), font_size_fraction_range=(0.8, 0.8), p=1.0)],
    "roll": [A.Rotate(limit=(9, 9), border_mode=cv2.BORDER_REFLECT_101, p=1.0)],
    "magnification": [A.Affine(scale=(1.05, 1.05), p=1.0)],
    "jpeg_quality": [A.ImageCompression(quality_range=(50, 50), p=1.0)],
    "low_resolution": [A.Downscale(scale_range=(0.45, 0.45), interpolation_pair=AREA, p=1.0)],
    "aspect_squeeze": [A.Resize(256, 319, interpolation=cv2.INTER_AREA, p=1.0)],
    "aspect_stretch": [A.Resize(256, 452, p=1.0)],
    "softening": [A.GaussianBlur(sigma_limit=(0.8, 0.8), blur_limit=0, p=1.0)],
    "sharpening": [A.UnsharpMask(blur_limit=(7, 7), sigma_limit=(1, 1), alpha=(1.0, 1.0), p=1.0)],
    "edge_enhancement": [A.UnsharpMask(blur_limit=(31, 31), sigma_limit=(5, 5), alpha=(0.7, 0.7), p=1.0)],
    "clahe": [A.CLAHE(clip_limit=(2.5, 2.5), p=1.0)],
    "scan_border": [A.CropAndPad(percent=(0.05, 0.05), keep_size=True, interpolation=cv2.INTER_AREA, p=1.0)],
    "bit_depth": [A.Posterize(num_bits=(5, 5), p=1.0)],
    "inversion": [A.InvertImg(p=1.0)],
}
"""Our perturbation at severity 3, and transforms that do about the same. Reduction is antialiased in both."""
LESS = {
    "stripes_as_white_noise": [A.MultiplicativeNoise(multiplier=(0.9, 1.1), elementwise=True, p=1.0)],
    "overexposure_fixed_window": [A.RandomBrightnessContrast((-0.2, -0.2), (0.0, 0.0), p=1.0)],
    "window_widening": [A.RandomBrightnessContrast((0.0, 0.0), (-0.4, -0.4), p=1.0)],
    "gamma_low": [A.RandomGamma(gamma_limit=(60, 60), p=1.0)],
    "collimation": [A.CenterCrop(230, 342, p=1.0), A.PadIfNeeded(*SHAPE, border_mode=cv2.BORDER_CONSTANT, p=1.0)],
}
"""The same, where theirs leaves out what ours is about."""
TEXT = {"textimage_metadata": [{"text": "PORTABLE", "bbox": (0.03, 0.03, 0.30, 0.08)}]}


@dataclass(frozen=True)
class Row:
    """Median milliseconds of CPU per film, ours and theirs, on 8-bit films and on floats."""

    ours: str
    theirs: str
    mine_8_bit: float
    their_8_bit: float
    mine_floats: float
    their_floats: float

    @property
    def ratios(self) -> tuple[float, float]:
        """Theirs over ours, on 8-bit films and on floats."""
        return self.their_8_bit / self.mine_8_bit, self.their_floats / self.mine_floats


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    yield
    torch.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])


@pytest.fixture(scope="module")
def films() -> list[Bytes]:
    """Films of the usual size with some structure and lungs in their place, 8 bit, one for each round."""
    drawn = []
    for seed in range(ROUNDS + 1):
        noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(SHAPE), 6)
        grey = 120 + 50 * noise / noise.std()
        grey[lungs_of_film()] -= 60
        grey[:, :30] = grey[:, 351:] = 0
        drawn.append(np.clip(grey, 0, 255).astype(np.uint8))
    return drawn


def lungs_of_film() -> np.ndarray:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
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


def as_film(grey: Bytes) -> Tensor:
    return torch.from_numpy(grey).float() / 255


def run_ours(name: str, severity: int, *, with_lungs: bool = False) -> Callable[[Tensor, str], Tensor]:
    perturbation = get(name)
    masks = torch.from_numpy(lungs_of_film())[None] if with_lungs else None
    return lambda film, image_id: perturbation(film[None], severity, [image_id], masks=masks)


def run_medmnistc(*steps: tuple[object, int]) -> Callable[[Bytes], Bytes]:
    """As the benchmark makes its films: grey to three channels, corrupted, back to grey."""

    def run(grey: Bytes) -> Bytes:
        image = Image.fromarray(grey).convert("RGB")
        for corruption, severity in steps:
            image = Image.fromarray(corruption.apply(image, severity - 1))
        return np.array(image.convert("L"))

    return run


def beside_albumentations(pairs: dict[str, list[object]], films: list[Bytes]) -> list[Row]:
    return [
        side_by_side(
            name, " + ".join(type(step).__name__ for step in transforms), run_albumentations(transforms), films
        )
        for name, transforms in pairs.items()
    ]


def run_albumentations(transforms: list[object]) -> Callable[[Bytes], Bytes]:
    compose = A.Compose(transforms, seed=0)
    more = TEXT if isinstance(transforms[0], A.TextImage) else {}
    return lambda grey: compose(image=grey, **more)["image"]


def side_by_side(ours: str, label: str, theirs: Callable[[Bytes], Bytes], films: list[Bytes]) -> Row:
    """Median over interleaved rounds, the first of which only warms up."""
    mine = run_ours(ours, SEVERITY)

    def placed(film: Tensor) -> Tensor:
        return torch.from_numpy(theirs(to_bytes(film))).to(torch.float32).div_(255.0)

    spent: list[list[float]] = []
    for index, grey in enumerate(films):
        stored, film = torch.from_numpy(grey), as_film(grey).flip(1)
        # Each of our calls has an identity of its own, and a film that was not the last one seen.
        calls = [
            lambda: mine(stored, f"film {index}, 8 bit"),  # noqa: B023
            lambda: theirs(grey),  # noqa: B023
            lambda: mine(film, f"film {index}"),  # noqa: B023
            lambda: placed(film),  # noqa: B023
        ]
        times = [0.0] * len(calls)
        # Whoever comes first finds the film out of the processor's cache, so they take turns.
        for place in range(len(calls))[:: 1 if index % 2 else -1]:
            start = time.process_time()
            calls[place]()
            times[place] = (time.process_time() - start) * 1e3
        spent.append(times)
    return Row(ours, label, *(median(times) for times in zip(*spent[1:], strict=True)))


def summed(rows: list[Row]) -> Row:
    times = ((row.mine_8_bit, row.their_8_bit, row.mine_floats, row.their_floats) for row in rows)
    return Row("total", "", *(sum(column) for column in zip(*times, strict=True)))


def show(title: str, rows: list[Row]) -> None:
    """Print a table and name the rows in which ours is slower."""
    heads = f"{'ours ms':>9s}{'theirs':>9s}{'ratio':>7s}"
    print(f"\n\n{title}\n{'':76s}{'8 bit':>25s}{'floats':>25s}\n{'ours':32s}{'theirs':44s}{heads}{heads}")
    for row in [*rows, summed(rows)]:
        first, second = row.ratios
        stored = f"{row.mine_8_bit:9.2f}{row.their_8_bit:9.2f}{first:7.2f}"
        print(f"{row.ours:32s}{row.theirs:44s}{stored}{row.mine_floats:9.2f}{row.their_floats:9.2f}{second:7.2f}")
    for index, kind in enumerate(("8-bit films", "floats")):
        slower = [f"{row.ours} ({row.theirs}, {row.ratios[index]:.2f})" for row in rows if row.ratios[index] < 1.0]
        print(f"slower than theirs on {kind}: {', '.join(slower) or 'none'}")


def test_each_perturbation_beside_the_nearest_elsewhere(films, corruptions, capsys):
    """In total at least three times as fast as the packages."""
    tables = {
        "The 13 corruptions of MedMNIST-C beside its own package": [
            side_by_side(f"medmnistc_{name}", f"medmnistc {name}", run_medmnistc((corruption, SEVERITY)), films)
            for name, corruption in corruptions.items()
        ],
        "Standard grid beside medmnistc": [
            side_by_side(
                name,
                " + ".join(what for what, _ in steps),
                run_medmnistc(*((corruptions[what], severity) for what, severity in steps)),
                films,
            )
            for name, steps in MEDMNISTC.items()
        ],
        "Standard grid beside albumentations": beside_albumentations(ALBUMENTATIONS, films),
        "Beside bare operations of albumentations that do less": beside_albumentations(LESS, films),
    }
    with capsys.disabled():
        for title, rows in tables.items():
            show(title, rows)
        stored, floats = summed([row for rows in tables.values() for row in rows]).ratios
        print(f"\ntotal over all rows: {stored:.2f} x on 8-bit films, {floats:.2f} x on floats")
    assert min(stored, floats) > 2.5, "three times as fast, less what a busy machine adds"


def test_standard_grid_is_a_small_part_of_a_forward_pass(films, capsys):
    """The whole grid costs at most a quarter of the forward passes of convnextv2_tiny on the same CPU."""
    network = timm.create_model("convnextv2_tiny", pretrained=False, num_classes=3).eval()
    batch, forwards, grids = torch.rand(4, 3, 224, 224), [], []
    grid = [run_ours(name, severity, with_lungs=True) for name, severity in presets.get("standard")]
    for index, film in enumerate(map(as_film, films[:4])):
        with torch.inference_mode():
            start = time.process_time()
            network(batch)
            forwards.append((time.process_time() - start) * 1e3 / len(batch))
        start = time.process_time()
        for perturb in grid:
            perturb(film, f"film {index}")
        grids.append((time.process_time() - start) * 1e3 / len(grid))
    forward, mean = median(forwards[1:]), median(grids[1:])
    with capsys.disabled():
        print(
            f"\nstandard grid of {len(grid)}: {mean:.2f} ms per perturbed film, forward pass of convnextv2_tiny: "
            f"{forward:.1f} ms, {mean / forward:.1%}"
        )
    assert mean < 0.25 * forward
