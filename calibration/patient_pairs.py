"""How large is a squared gap, from pairs of films of different patients? What the debiased error is made of.

A patient's films of one bin are a run. Where they all weigh the same, as in any resample of whole patients, the squares
of the runs are sums of squared weights times numbers known beforehand, so that a resample costs two sparse products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from calibration.validation import FloatArray, IntArray

NONE = 1e-12  # share of a bin's squared weight below which its pairs of patients are rounding


@dataclass(frozen=True)
class PatientPairs:
    """The runs of one view.

    Attributes:
        residual: (n,) outcome - confidence, films in the order of bins, in them of patients.
        order: (n,) films in that order.
        starts: (R,) where each run begins in that order.
        bins: (m,) at which run each bin begins.
        further, first: (f,) films that are not the first of their run, and the first of each's.
        sums: (2 m, n) weight of the films of each bin, and weight x residual.
        squares: (2 m, n) the same of runs, squared, for squared weights of the first film of each.
    """

    residual: FloatArray
    order: IntArray
    starts: IntArray
    bins: IntArray
    further: IntArray
    first: IntArray
    sums: sparse.csr_array
    squares: sparse.csr_array

    @classmethod
    def of(cls, residual: FloatArray, cells: IntArray, patients: IntArray) -> PatientPairs:
        """Take residuals, bins and patients of n films."""
        order = np.lexsort((patients, cells))
        new_bin = np.r_[True, np.diff(cells[order]) != 0]
        starts = np.flatnonzero(new_bin | np.r_[True, np.diff(patients[order]) != 0])
        bins = np.flatnonzero(new_bin[starts])
        ordered, films, m = residual[order], order.size, bins.size
        of_film, of_run = np.cumsum(new_bin) - 1, np.cumsum(new_bin)[starts] - 1
        runs = np.diff(starts, append=films).astype(np.float64), np.add.reduceat(ordered, starts)
        further = np.setdiff1d(np.arange(films), starts)
        first = starts[np.searchsorted(starts, further, side="right") - 1]
        return cls(
            ordered,
            order,
            starts,
            bins,
            order[further],
            order[first],
            _rows((np.ones(films), ordered), of_film, order, (m, films)),
            _rows((runs[0] ** 2, runs[1] ** 2), of_run, order[starts], (m, films)),
        )

    def squared(self, weights: FloatArray) -> FloatArray:
        """Return (B,) sum over bins of share x mean of r_i r_j over pairs of films of different patients.

        Args:
            weights: (n, B).
        """
        if (weights[self.further] == weights[self.first]).all():
            total, residual = np.split(self.sums @ weights, 2)
            mass_squares, residual_squares = np.split(self.squares @ (weights * weights), 2)
        else:
            weight = weights[self.order]
            mass = np.add.reduceat(weight, self.starts, axis=0)
            of_run = np.add.reduceat(weight * self.residual[:, None], self.starts, axis=0)
            total, residual, mass_squares, residual_squares = (
                np.add.reduceat(values, self.bins, axis=0) for values in (mass, of_run, mass**2, of_run**2)
            )
        products, pairs = residual**2 - residual_squares, total**2 - mass_squares
        some = pairs > NONE * total**2
        squared_gap = np.where(some, products / np.where(some, pairs, 1.0), 0.0)
        return np.asarray((total * squared_gap).sum(axis=0) / total.sum(axis=0))


def _rows(
    values: tuple[FloatArray, FloatArray], row: IntArray, film: IntArray, shape: tuple[int, int]
) -> sparse.csr_array:
    """Return (2 rows, n) two kinds of values, each in the row of its bin and the column of its film."""
    rows, films = shape
    places = np.concatenate([row, row + rows]), np.concatenate([film, film])
    return sparse.csr_array((np.concatenate(values), places), shape=(2 * rows, films))
