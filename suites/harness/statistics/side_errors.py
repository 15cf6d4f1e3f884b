"""How far are confidences off within many parts of a cohort, on the same resamples? The debiased squared error.

It lives on pairs of films of different patients (`calibration.error.debiased_l2`): the square of a sum over films less
the squares of the sums over each patient. A patient's films are drawn together, so both are products with how often
patients are drawn, and with its square.
"""

from __future__ import annotations

import numpy as np

from calibration.binning import equal_mass_cells
from suites.harness.statistics.poisson_draws import Floats
from suites.harness.statistics.sides import Sides, Values, ratio

ONE_PATIENT = 1e-10
"""Share of all pairs that pairs of different patients are, below which a bin is one patient's. They are counted as the
difference of two sums, which leaves some 1e-16 where there is none; no weights leave less than 1e-5 where one is."""


def debiased_l2(sides: Sides, confidence: Floats, outcome: Floats, bins: int) -> Values:
    """Return the debiased squared calibration error of each part, in bins of equal mass of its own films.

    Args:
        sides: the parts.
        confidence: (N,) finite in every film of a part.
        outcome: (N,) 1.0 where the film is what the confidence says, else 0.0.
        bins: their number.
    """
    cells, patients = np.zeros(sides.inside.shape, dtype=np.int64), int(sides.owner.max()) + 1
    for cell, films in zip(cells, sides.inside, strict=True):
        cell[films] = equal_mass_cells(confidence[films], bins)
    residual = np.where(np.isfinite(confidence), outcome - confidence, 0.0)
    count = len(cells)
    place = cells * patients + sides.owner  # of a bin and patient, beside each film
    place += np.arange(count)[:, None] * (bins * patients)

    def summed(values: Floats) -> Floats:
        """Return (S, bins, G) sums of (S, N) values."""
        sums = np.bincount(place.ravel(), values.ravel(), minlength=count * bins * patients)
        return np.asarray(sums.reshape(count, bins, -1), dtype=np.float64)

    mass, off = summed(sides.factor), summed(sides.factor * residual)
    both = np.concatenate([mass, off]).reshape(-1, patients)
    drawn = sides.drawn(both).reshape(2, count, bins, -1)
    squares = sides.drawn(both**2, squared=True).reshape(2, count, bins, -1)
    alone = [sides.alone(values) for values in (mass, off)]
    alone_squares = [sides.alone(values**2, squared=True) for values in (mass, off)]
    return Values.of(_error(*drawn, *squares), _error(*alone, *alone_squares))


def _error(mass: Floats, residual: Floats, mass_squares: Floats, residual_squares: Floats) -> Floats:
    """Return (S, b) from sums over the films of each bin, and sums of squares over its patients, (S, bins, b)."""
    every = mass**2
    pairs = every - mass_squares
    gap = np.divide(residual**2 - residual_squares, pairs, out=np.zeros_like(pairs), where=pairs > ONE_PATIENT * every)
    total = mass.sum(axis=1)
    return ratio((mass * gap).sum(axis=1), total)
