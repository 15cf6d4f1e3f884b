"""How far are confidences off, bin by bin? ECE, MCE, ACE, and a debiased squared error.

One name, many numbers: on the same predictions five libraries print five "ECE"s. Every value this project prints
carries its full name, `measure/view/bins/binning`, for example `ece/top-label/15/equal-width` (see
`calibration.measures`). The plug-in errors (ECE, MCE, ACE) are biased upwards: a perfectly calibrated subject does
not score 0 (see `calibration.null_band`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from calibration.binning import CELLS, Bins, sort_into_bins, view_of
from calibration.patient_pairs import PatientPairs
from calibration.validation import (
    CalibrationError,
    Estimate,
    FloatArray,
    IntArray,
    Weights,
    checked_groups,
    checked_labels,
    checked_probabilities,
    over_resamples,
)


def ece(
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    view: str = "top-label",
    bins: int = 15,
    binning: str = "equal-width",
) -> Estimate:
    """Expected calibration error: the mean |frequency - confidence| over films, in [0, 1].

    `view="top-label"` is Guo et al. 2017 (arXiv 1706.04599); `view="class-wise"` the mean over classes of Kull et al.
    2019 (arXiv 1910.12656), with `binning="equal-mass"` the adaptive calibration error of Nixon et al. 2019 (arXiv
    1904.01685).

    Args:
        probabilities: (n, K), rows sum to 1.
        labels: (n,) integers.
        weights: None, (n,) or (B, n), see `calibration.validation`.
        view: which probability is held against which outcome, see `calibration.binning`.
        bins: number of bins.
        binning: `equal-width`, `equal-mass` or `array-split`, see `calibration.binning`.

    Returns:
        A float, or (B,) for (B, n) weights.

    Raises:
        CalibrationError: bad probabilities, labels, weights, view or binning (a named subclass where there is one).
    """
    return _over_bins(
        lambda table: (table.share * np.abs(table.gap)).sum(axis=0),
        probabilities,
        labels,
        weights=weights,
        view=view,
        bins=bins,
        binning=binning,
    )


def mce(
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    view: str = "top-label",
    bins: int = 15,
    binning: str = "equal-width",
) -> Estimate:
    """Maximum calibration error: the largest |frequency - confidence| of any bin, in [0, 1].

    Mostly the noise of a small bin: read it beside its null band only.
    Arguments, result and errors as in `ece`.
    """
    return _over_bins(
        lambda table: np.abs(table.gap).max(axis=0),
        probabilities,
        labels,
        weights=weights,
        view=view,
        bins=bins,
        binning=binning,
    )


def ace(
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    view: str = "top-label",
    bins: int = 15,
    binning: str = "equal-width",
) -> Estimate:
    """Average calibration error: the mean |frequency - confidence| over the bins that are not empty.

    Neumann et al. 2018, and netcal's ACE.
    Not the *adaptive* calibration error of the same initials: that is `ece(view="class-wise", binning="equal-mass")`.
    Arguments, result and errors as in `ece`.
    """
    return _over_bins(
        lambda table: np.abs(table.gap).sum(axis=0) / np.count_nonzero(table.weight, axis=0),
        probabilities,
        labels,
        weights=weights,
        view=view,
        bins=bins,
        binning=binning,
    )


def debiased_l2(
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    view: str = "top-label",
    bins: int = 15,
    binning: str = "equal-mass",
) -> Estimate:
    """Debiased squared calibration error, the U-statistic over patients: 0 on average for a calibrated subject.

    And therefore sometimes negative. The squared gap of a bin is estimated by the mean of r_i r_j over pairs of films
    *of different patients*, r = outcome - confidence: the noise of a film, and what the films of one patient share,
    never meets itself. With one film per patient this is the plain U-statistic, and the correction of Broecker 2012 /
    Ferro & Fricker 2012 (10.1002/qj.1924) with the variance of the residual in place of that of the outcome; with the
    latter it is `kumar_l2`. It stays unbiased under a patient bootstrap, because the copies of a patient carry the
    patient's key. Edges are placed once, by the films counted once each; resampling does not move them. A bin with a
    single patient adds 0.

    Arguments and errors as in `ece`; groups: (n,) patient keys, None makes every film its own patient.

    Returns:
        The signed squared error (or (B,) of them). Its signed root is on the scale of the ECE.
    """
    p, y = _checked(probabilities, labels)
    patients = checked_groups(groups, y.size)
    if binning not in CELLS or bins < 1:
        raise CalibrationError(
            f"unknown binning {binning!r} or fewer than 1 bin ({bins}): use one of {', '.join(CELLS)}"
        )
    views = [PatientPairs.of(o - c, CELLS[binning](c, bins), patients) for c, o in view_of(p, y, view)]
    return over_resamples(weights, y.size, lambda w: np.mean([one.squared(w) for one in views], axis=0))


def kumar_l2(
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    view: str = "top-label",
    bins: int = 15,
    binning: str = "array-split",
) -> Estimate:
    """Debiased squared calibration error of Kumar et al. 2019 (arXiv 1909.10155), signed and without its root.

    The squared gap of a bin less f (1 - f) / (n - 1), f its frequency and n its films: films are taken to be
    independent and confidence to be constant within a bin, so that it differs from `debiased_l2` by about 1e-4 on
    600 films. Their package clips at 0 and takes the root. A bin with a single film adds 0.
    Arguments and errors as in `ece`; resampled, it sees copies of a film as films, and is biased upwards.
    """

    def squared(table: Bins) -> FloatArray:
        n = table.weight
        rate = table.outcome / np.where(n > 0, n, 1.0)
        noise = rate * (1 - rate) / np.where(n > 1, n - 1, 1.0)
        return np.asarray((table.share * np.where(n > 1, table.gap**2 - noise, 0.0)).sum(axis=0))

    return _over_bins(squared, probabilities, labels, weights=weights, view=view, bins=bins, binning=binning)


def bin_table(
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    weights: Weights | None = None,
    view: str = "top-label",
    bins: int = 15,
    binning: str = "equal-width",
) -> Bins:
    """Return the bins of one view, arrays (bins, B). Arguments and errors as in `ece`, without `class-wise`."""
    p, y = _checked(probabilities, labels)
    if view == "class-wise":
        raise CalibrationError("a bin table shows one class: use 'top-label' or 'class-<k>'")
    confidence, outcome = view_of(p, y, view)[0]

    def sums(w: FloatArray) -> FloatArray:
        table = sort_into_bins(confidence, outcome, w, bins, binning)
        return np.stack([table.weight, table.confidence, table.outcome])

    found = over_resamples(weights, y.size, sums)
    return Bins(*(found if found.ndim == 3 else found[..., None]))


def _checked(probabilities: ArrayLike, labels: ArrayLike) -> tuple[FloatArray, IntArray]:
    p = checked_probabilities(probabilities)
    return p, checked_labels(labels, *p.shape)


def _over_bins(
    error_of: Callable[[Bins], FloatArray],
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    weights: ArrayLike | None,
    view: str,
    bins: int,
    binning: str,
) -> Estimate:
    p, y = _checked(probabilities, labels)
    pairs = view_of(p, y, view)
    return over_resamples(
        weights, y.size, lambda w: np.mean([error_of(sort_into_bins(c, o, w, bins, binning)) for c, o in pairs], axis=0)
    )
