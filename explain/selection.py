"""Which films does a gallery show? Picked by rule, never by hand, the same films every time.

Rules read logits and truth as arrays. Ties and random choices depend on image ids alone, so the order of the table does
not matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from explain.network import F64


@dataclass(frozen=True)
class Pick:
    """One film chosen by a rule: its name, its row, the rule, and the number that ranked it."""

    image_id: str
    row: int
    rule: str
    score: float


def most_confident_errors(
    image_ids: Sequence[str], truth: npt.ArrayLike, logits: npt.ArrayLike, count: int
) -> list[Pick]:
    """Pick the wrong predictions with the highest confidence, highest first; truth (B,), logits (B, K)."""
    probability, labels = _probabilities(image_ids, logits), np.asarray(truth)
    wrong = np.flatnonzero(probability.argmax(axis=1) != labels).tolist()
    return _highest(image_ids, wrong, probability.max(axis=1), count, "most confident error")


def most_confident_calls(image_ids: Sequence[str], logits: npt.ArrayLike, count: int) -> list[Pick]:
    """Pick the predictions with the highest confidence, for films whose truth is no class; logits (B, K)."""
    probability = _probabilities(image_ids, logits)
    rows = list(range(len(image_ids)))
    return _highest(image_ids, rows, probability.max(axis=1), count, "most confident call")


def largest_flips(image_ids: Sequence[str], before: npt.ArrayLike, after: npt.ArrayLike, count: int) -> list[Pick]:
    """Pick films whose class changed, by how much probability left the class before; logits (B, K) each."""
    first, second = _probabilities(image_ids, before), _probabilities(image_ids, after)
    if first.shape != second.shape:
        raise ValueError(f"logits before and after differ in shape: {first.shape} and {second.shape}")
    rows = np.arange(len(first))
    loss = first[rows, first.argmax(axis=1)] - second[rows, first.argmax(axis=1)]
    flipped = np.flatnonzero(first.argmax(axis=1) != second.argmax(axis=1)).tolist()
    return _highest(image_ids, flipped, loss, count, "largest flip")


def random_correct(
    image_ids: Sequence[str], truth: npt.ArrayLike, logits: npt.ArrayLike, count: int, seed: int = 0
) -> list[Pick]:
    """Pick correct predictions by the smallest hash of (seed, image id); the score is the confidence."""
    probability, labels = _probabilities(image_ids, logits), np.asarray(truth)
    right = np.flatnonzero(probability.argmax(axis=1) == labels).tolist()
    lot = sorted(right, key=lambda row: hashlib.sha256(f"{seed}\0{image_ids[row]}".encode()).digest())[: max(0, count)]
    return [Pick(image_ids[row], row, "random correct", float(probability[row].max())) for row in lot]


def _probabilities(image_ids: Sequence[str], logits: npt.ArrayLike) -> F64:
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim != 2 or len(values) != len(image_ids) or not np.isfinite(values).all():
        raise ValueError(
            f"logits must be finite (B, K) with one row for each of {len(image_ids)} films, not {values.shape}"
        )
    shifted = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float64)


def _highest(image_ids: Sequence[str], rows: list[int], score: F64, count: int, rule: str) -> list[Pick]:
    ranked = sorted(rows, key=lambda row: (-score[row], image_ids[row]))[: max(0, count)]
    return [Pick(image_ids[row], row, rule, float(score[row])) for row in ranked]
