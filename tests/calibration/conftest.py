"""Subjects with a known truth: labels drawn from stated probabilities, then logits made T times too sure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from calibration.validation import softmax

Drawn = tuple[np.ndarray, np.ndarray]


def draw(n: int, temperature: float = 1.0, *, classes: int = 3, seed: int = 0, spread: float = 2.5) -> Drawn:
    """Logits (n, K) that are `temperature` times too sure of themselves, and labels (n,)."""
    rng = np.random.default_rng([seed, n, classes])
    z = rng.normal(0, spread, (n, classes))
    labels = (rng.random((n, 1)) > np.cumsum(softmax(z), axis=1)[:, :-1]).sum(axis=1)
    return z * temperature, labels


def patient_weights(groups: np.ndarray, resamples: int, seed: int = 0) -> np.ndarray:
    """Multiplicities (B, n) of a bootstrap over patients."""
    numbers = np.unique(groups, return_inverse=True)[1]
    count = numbers.max() + 1
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), size=resamples)[:, numbers].astype(float)


@pytest.fixture(scope="session")
def drawn() -> Callable[..., Drawn]:
    return draw


@pytest.fixture(scope="session")
def bootstrap() -> Callable[..., np.ndarray]:
    return patient_weights
