"""Which rates follow from confusion matrices? Many at once: (B, R, K) films by true label and class predicted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from suites.harness.statistics.sides import ratio

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def right(counts: Floats, target: Counts) -> Floats:
    """Return the (B, R) films answered right."""
    return counts[:, np.arange(len(target)), target]


def accuracy(counts: Floats, target: Counts) -> Floats:
    """Return the (B,) share of films answered right; `target` is the column of each row."""
    return ratio(right(counts, target).sum(1), counts.sum((1, 2)))


def balanced(counts: Floats, target: Counts) -> Floats:
    """Return the (B,) mean recall."""
    return np.asarray(ratio(right(counts, target), counts.sum(2)).mean(1))


def macro_f1(counts: Floats) -> Floats:
    """Return the (B,) mean F1 of the classes."""
    hits = counts.diagonal(axis1=1, axis2=2)
    return np.asarray(ratio(2 * hits, counts.sum(1) + counts.sum(2)).mean(1))


def one_vs_rest(counts: Floats, index: int, which: str) -> Floats:
    """Return (B,) `recall`, `specificity`, `ppv` or `npv` of one class against the rest."""
    hit, own, said = counts[:, index, index], counts[:, index].sum(1), counts[:, :, index].sum(1)
    every = counts.sum((1, 2))
    neither = every - own - said + hit
    top, bottom = {
        "recall": (hit, own),
        "specificity": (neither, every - own),
        "ppv": (hit, said),
        "npv": (neither, every - said),
    }[which]
    return ratio(top, bottom)


def cell(counts: Floats, row: int, column: int) -> Floats:
    """Return the (B,) share of a row that was called a column."""
    return ratio(counts[:, row, column], counts[:, row].sum(1))


def pneumonia_rates(counts: Floats, normal: int) -> tuple[Floats, Floats]:
    """Return (B,) sensitivity and specificity of any answer but `normal` for any truth but `normal`."""
    well = counts[:, normal].sum(1)
    ill = counts.sum((1, 2)) - well
    missed = counts[:, :, normal].sum(1) - counts[:, normal, normal]
    return ratio(ill - missed, ill), ratio(counts[:, normal, normal], well)
