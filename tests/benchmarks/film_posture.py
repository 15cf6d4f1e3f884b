"""How does a patient lie on a film? Measured on the estimate of the lungs: midline, heart, slenderness."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray

from robustness.lungs import estimate_lungs
from robustness.perturbation import PerturbationUndefined
from robustness.thorax import Thorax, thorax_of

Film = NDArray[np.float32]


def _gap(chest: Thorax, row: int) -> tuple[float, float] | None:
    """First and last column between the lungs in a row."""
    columns = np.arange(chest.lungs.shape[1])
    line = chest.lungs[row].numpy()
    left, right = columns[line & (columns < chest.midline)], columns[line & (columns >= chest.midline)]
    return (float(left.max()), float(right.min())) if left.size and right.size else None


def _middle_shift(chest: Thorax) -> float:
    """Middle of the upper mediastinum off the middle of the chest, percent of the width of the chest."""
    rows = range(chest.top + round(0.2 * chest.height), chest.top + round(0.45 * chest.height))
    gaps = [gap for gap in (_gap(chest, row) for row in rows) if gap]
    if not gaps:
        return float("nan")
    return (
        100.0
        * abs(float(np.median([sum(gap) / 2 for gap in gaps])) - (chest.left + chest.right) / 2)
        / (chest.right - chest.left)
    )


def _heart(chest: Thorax) -> float:
    """Widest gap between the lungs in the lower half over the width of the chest."""
    rows = range(chest.top + round(0.5 * chest.height), chest.top + round(0.85 * chest.height))
    gaps = [gap[1] - gap[0] for gap in (_gap(chest, row) for row in rows) if gap]
    return max(gaps) / (chest.right - chest.left) if gaps else float("nan")


def _slender(chest: Thorax) -> float:
    """Height of the lungs over the width of the chest."""
    return chest.height / (chest.right - chest.left)


POSTURES = {"midline": _middle_shift, "heart": _heart, "chest": _slender}
_KNOWN: dict[bytes, dict[str, float]] = {}
"""Posture by the digest of a film: finding the lungs takes longer than all else."""


def posture(which: str, film: Film) -> float:
    """One of POSTURES; NaN where no lung field is found."""
    digest = hashlib.sha256(film.tobytes() + str(film.shape).encode()).digest()
    if digest not in _KNOWN:
        try:
            chest = thorax_of(estimate_lungs(torch.from_numpy(np.ascontiguousarray(film))).mask)
            _KNOWN[digest] = {name: measure(chest) for name, measure in POSTURES.items()}
        except PerturbationUndefined:
            _KNOWN[digest] = dict.fromkeys(POSTURES, float("nan"))
    return _KNOWN[digest][which]
