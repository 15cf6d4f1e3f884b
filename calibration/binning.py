"""What falls into each bin of confidence? The sums every binned calibration estimator is made of.

A *view* says which probability is held against which outcome: `top-label` (the winner's probability, was the winner
right), `class-<k>` (the probability of class k, was it class k), `class-wise` (all K of these, to be averaged).
A *binning* says where the edges lie: `equal-width` (0, 1/m, 2/m, ..., 1), `equal-mass` (about the same weight in each
bin; equal confidences are never parted; the edges move with each resample, as they would in a new sample) or
`array-split` (the films in order of confidence, cut by `numpy.array_split`: counts differ by one at most, equal
confidences may be parted, by the order of films; the usual code of Nixon et al. 2019, arXiv 1904.01685). The last two
are both called "adaptive" or "equal mass" elsewhere and differ by about 1e-3 in the ECE of 600 films.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from calibration.validation import CalibrationError, FloatArray, IntArray

Binning: TypeAlias = Literal["equal-width", "equal-mass", "array-split"]


@dataclass(frozen=True)
class Bins:
    """Sums over the films of each bin, one column per resample: all arrays (bins, B); empty bins hold zeros."""

    weight: FloatArray
    confidence: FloatArray
    outcome: FloatArray

    @property
    def share(self) -> FloatArray:
        """The share of all films in each bin (bins, B); columns sum to 1."""
        return np.asarray(self.weight / self.weight.sum(axis=0))

    @property
    def gap(self) -> FloatArray:
        """Observed frequency minus mean confidence (bins, B), 0 where a bin is empty; below 0 = overconfident."""
        safe = np.where(self.weight > 0, self.weight, 1.0)
        return np.asarray((self.outcome - self.confidence) / safe)


def view_of(probabilities: FloatArray, labels: IntArray, view: str) -> list[tuple[FloatArray, FloatArray]]:
    """Return the (confidence (n,), outcome (n,) of 0.0 and 1.0) pairs that a view holds against each other.

    Raises:
        CalibrationError: an unknown view, or a class that does not exist.
    """
    classes = probabilities.shape[1]
    if view == "top-label":
        return [(probabilities.max(axis=1), (probabilities.argmax(axis=1) == labels).astype(np.float64))]
    if view == "class-wise":
        return [(probabilities[:, k], (labels == k).astype(np.float64)) for k in range(classes)]
    number = view.removeprefix("class-")
    if view.startswith("class-") and number.isdigit() and int(number) < classes:
        return [(probabilities[:, int(number)], (labels == int(number)).astype(np.float64))]
    raise CalibrationError(
        f"unknown view {view!r}: use 'top-label', 'class-wise' or 'class-0' to 'class-{classes - 1}'"
    )


def sort_into_bins(confidence: FloatArray, outcome: FloatArray, weights: FloatArray, bins: int, binning: str) -> Bins:
    """Sum weights (n, B), confidences (n,) and outcomes (n,) over bins.

    Raises:
        CalibrationError: an unknown binning, or fewer than 1 bin.
    """
    if bins < 1:
        raise CalibrationError(f"at least 1 bin is needed, not {bins}")
    if binning == "equal-width":
        return _sum_fixed(confidence, outcome, weights, equal_width_cells(confidence, bins), bins)
    if binning == "equal-mass":
        return _sum_equal_mass(confidence, outcome, weights, bins)
    if binning == "array-split":
        return _sum_array_split(confidence, outcome, weights, bins)
    raise CalibrationError(f"unknown binning {binning!r}: use 'equal-width', 'equal-mass' or 'array-split'")


def equal_width_cells(confidence: FloatArray, bins: int) -> IntArray:
    """Return the bin (n,) of each confidence among [0, 1/m), [1/m, 2/m), ..., [1 - 1/m, 1]."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    return np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, bins - 1)


def equal_mass_cells(confidence: FloatArray, bins: int) -> IntArray:
    """Return the bin (n,) of each confidence when every film counts once; equal confidences share a bin."""
    _, value, count = np.unique(confidence, return_inverse=True, return_counts=True)
    middle = np.cumsum(count) - count / 2
    return np.floor(middle * bins / confidence.size).astype(np.int64)[value]


def array_split_cells(confidence: FloatArray, bins: int) -> IntArray:
    """Return the bin (n,) of each confidence as `numpy.array_split` of the films in (stable) order of confidence."""
    cells = np.empty(confidence.size, dtype=np.int64)
    for cell, members in enumerate(np.array_split(np.argsort(confidence, kind="stable"), bins)):
        cells[members] = cell
    return cells


def _sum_array_split(confidence: FloatArray, outcome: FloatArray, weights: FloatArray, bins: int) -> Bins:
    """Sum over the bins of each resample's own split; the copies of a film stay in the bin of the first of them."""
    order = np.argsort(confidence, kind="stable")
    ordered = weights[order]
    total = ordered.sum(axis=0)
    start = np.cumsum(ordered, axis=0) - ordered
    if (total == total[0]).all() and (start == (whole := start.astype(np.int64))).all():
        # As many films every time, as in samples of other outcomes: a few whole numbers name all places.
        cells = _split_cells(np.arange(int(total[0]) + 1.0)[:, None], total[:1], bins)[whole, 0]
    else:
        cells = _split_cells(start, total, bins)
    key = (cells * total.size + np.arange(total.size)).ravel()
    values = (ordered, ordered * confidence[order, None], ordered * outcome[order, None])
    sums = [np.bincount(key, v.ravel(), minlength=bins * total.size).reshape(bins, total.size) for v in values]
    return Bins(*np.array(sums, dtype=np.float64))


def _split_cells(start: FloatArray, total: FloatArray, bins: int) -> IntArray:
    """Return the bin of films before which so much of a total (B,) lies, both (m, B)."""
    size = np.floor(total / bins)
    longer = np.floor(total - size * bins)  # so many bins hold one film more
    beyond = start - longer * (size + 1)
    cells = np.where(beyond < 0, start // (size + 1), longer + beyond // np.maximum(size, 1))
    return np.asarray(np.clip(cells, 0, bins - 1), dtype=np.int64)


CELLS: dict[str, Callable[[FloatArray, int], IntArray]] = {
    "equal-width": equal_width_cells,
    "equal-mass": equal_mass_cells,
    "array-split": array_split_cells,
}
"""Binning -> the bin (n,) of each confidence when every film counts once."""


def _sum_fixed(confidence: FloatArray, outcome: FloatArray, weights: FloatArray, cells: IntArray, bins: int) -> Bins:
    used, column = np.unique(cells, return_inverse=True)
    member = np.zeros((used.size, confidence.size))
    member[column, np.arange(confidence.size)] = 1.0
    sums = np.zeros((3, bins, weights.shape[1]))
    sums[:, used] = (np.concatenate([member, member * confidence, member * outcome]) @ weights).reshape(
        3, used.size, -1
    )
    return Bins(*sums)


def _sum_equal_mass(confidence: FloatArray, outcome: FloatArray, weights: FloatArray, bins: int) -> Bins:
    order = np.argsort(confidence, kind="stable")
    sorted_confidence = confidence[order]
    starts = np.flatnonzero(np.r_[True, np.diff(sorted_confidence) > 0])
    ordered = weights[order]
    tied = starts.size < order.size  # equal confidences move together
    weight = np.add.reduceat(ordered, starts, axis=0) if tied else ordered
    if (weight == weight[:, :1]).all():  # the same films every time, with other outcomes: the same edges
        middle = np.cumsum(weight[:, 0]) - 0.5 * weight[:, 0]
        cells = np.minimum(middle * (bins / weight[:, 0].sum()), bins - 1).astype(np.int64)
        cells_of_films = np.repeat(cells, np.diff(starts, append=order.size))
        return _sum_fixed(sorted_confidence, outcome[order], ordered, cells_of_films, bins)
    hits = ordered * outcome[order, None]
    if tied:
        hits = np.add.reduceat(hits, starts, axis=0)
    values = (weight, weight * sorted_confidence[starts, None], hits)
    resample_count = weights.shape[1]
    position = np.cumsum(weight, axis=0)
    total = position[-1].copy()
    position -= 0.5 * weight
    position *= bins / total
    # int32 from float is several times faster than int64 here, and the product stays far below its limit
    cells = np.minimum(position, bins - 1, out=position).astype(np.int32)
    key = (cells * np.int32(resample_count) + np.arange(resample_count, dtype=np.int32)).ravel()
    sums = [np.bincount(key, v.ravel(), minlength=bins * resample_count).reshape(bins, resample_count) for v in values]
    return Bins(*np.array(sums, dtype=np.float64))
