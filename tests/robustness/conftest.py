"""A drawn chest with known lungs, for tests that need a film but no data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

LAST = {"sham_opacity": 4}
"""The highest severity that drawn films allow, where not 5: they are white outside the lungs, with little room."""


def draw_chest(seed: int = 0, height: int = 128, width: int = 176) -> tuple[Tensor, Tensor]:
    """Return a film (H, W) in [0, 1] in steps of 1/255 and the mask (H, W) of its lungs."""
    rng = np.random.default_rng(seed)
    y, x = _places(rng, height, width)
    body = (x / 0.56) ** 4 + ((y - 0.1) / 0.75) ** 4 < 1
    lungs = np.zeros_like(body)
    for side in (-1, 1):
        lungs |= ((x - side * 0.25) / 0.165) ** 2 + ((y + 0.05) / 0.34) ** 2 < 1
    dome = y > 0.20 + 0.35 * (np.abs(x) - 0.25) ** 2
    heart = ((x - 0.06) / 0.17) ** 2 + ((y - 0.12) / 0.18) ** 2 < 1
    lungs &= ~dome & ~heart
    film = np.where(body, 0.62, 0.0)
    film[np.abs(x) < 0.07] += 0.16 * body[np.abs(x) < 0.07]
    film[heart & body] = 0.72
    film[dome & body] = 0.78
    film[lungs] = 0.27
    film += 0.10 * _ribs(y, x) * body * (y < 0.3)
    film += 0.012 * ndimage.gaussian_filter(rng.standard_normal(film.shape), 1.0) * 5 * body
    film = ndimage.gaussian_filter(film, 0.8)
    film[~ndimage.binary_dilation(body, iterations=2)] = 0.0
    grey = np.rint(np.clip(film, 0.0, 0.97) * 255) / 255
    return torch.from_numpy(grey.astype(np.float32)), torch.from_numpy(lungs)


def _places(rng: np.random.Generator, height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, x = np.mgrid[:height, :width].astype(np.float64)
    return (y - 0.5 * height) / height, (x - 0.5 * width + rng.uniform(-3, 3)) / height


def _ribs(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((0.5 + 0.5 * np.sin(2 * np.pi * (y * 11 - 2.2 * np.abs(x)))) ** 3)


def drawn_ribs(seed: int = 0, height: int = 128, width: int = 176) -> NDArray[np.float64]:
    """Return the ribs (H, W), 0 to 1, of what `draw_chest` draws."""
    return _ribs(*_places(np.random.default_rng(seed), height, width))


@pytest.fixture(scope="session")
def chest() -> Callable[..., tuple[Tensor, Tensor]]:
    """The drawing function itself: chest(seed, height, width) -> film, lungs."""
    return draw_chest


@pytest.fixture(scope="session")
def ribs_of_films() -> list[NDArray[np.float64]]:
    """The ribs (H, W), 0 to 1, of each of `films`."""
    return [drawn_ribs(seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="session")
def films() -> tuple[Tensor, Tensor]:
    """Three films (3, H, W) and their lung masks."""
    drawn = [draw_chest(seed) for seed in (1, 2, 3)]
    return torch.stack([film for film, _ in drawn]), torch.stack([lungs for _, lungs in drawn])
