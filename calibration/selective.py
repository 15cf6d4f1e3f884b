"""What remains if a subject abstains on the films it is least sure of? Selective prediction.

Every function takes `uncertainty` (n,), larger = abstain sooner, from any score of `calibration.scores`, and `wrong`
(n,). Films of equal uncertainty are kept or left together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma

from calibration.ood import auroc
from calibration.ranking import Order, checked_scores, over_thresholds, steps
from calibration.validation import CalibrationError, ClassAbsentError, Estimate, FloatArray, Weights, each


@dataclass(frozen=True)
class RiskCoverage:
    """The curve: `risk[i]` is the error rate among the share `coverage[i]` of films the subject is surest of."""

    coverage: FloatArray
    risk: FloatArray


def risk_coverage(uncertainty: ArrayLike, wrong: ArrayLike) -> RiskCoverage:
    """Return the risk-coverage curve (El-Yaniv & Wiener 2010), one point per distinct uncertainty.

    Raises:
        CalibrationError: vectors that do not match or are not finite.
    """
    score, miss = checked_scores(uncertainty, wrong, "wrong")
    right, missed = Order.of(-score, miss).running_sums(np.ones((score.size, 1)))
    kept = (right + missed)[:, 0]
    return RiskCoverage(kept / score.size, missed[:, 0] / kept)


@dataclass(frozen=True)
class Selective:
    """What abstention would buy; each a float, or (B,) for (B, n) weights.

    aurc: area under the risk-coverage curve by steps, not by trapezoids: the mean over films of the risk at their
        coverage (Geifman et al. 2019, arXiv 1805.08206), in [0, 1]. It mixes how good the subject is with how well it
        knows when it is not.
    excess_aurc: aurc minus that of an oracle that abstains on the wrong films first (same paper; its exact sum, not
        the paper's approximation by an integral); 0 is perfect order.
    coverage: the largest share of films that can be kept with an error rate of at most `risk` among them; 0 if there
        is none. Chosen and measured on the same films: optimistic for a threshold to be used on others. It jumps from
        film to film: from `Rows`, counted in bins, it is only a lower bound.
    """

    aurc: Estimate
    excess_aurc: Estimate
    coverage: Estimate
    risk: float


def selective(
    uncertainty: ArrayLike,
    wrong: ArrayLike,
    *,
    risk: float = 0.05,
    weights: Weights | None = None,
    orders: bool = False,
) -> Selective:
    """Return the measures of selective prediction.

    Args:
        uncertainty: (n,) larger = less sure.
        wrong: (n,) true where the decision is wrong.
        risk: the error rate allowed among the films kept, in [0, 1].
        weights: None, (n,), (B, n) or rows of these, see `calibration.validation`; rows are counted in bins.
        orders: see what bins can change: (3, B) for rows, see `calibration.ranking`.

    Raises:
        CalibrationError: vectors that do not match or are not finite, or a risk outside [0, 1].
    """
    score, miss = checked_scores(uncertainty, wrong, "wrong")
    if not 0 <= risk <= 1:
        raise CalibrationError(f"risk is an error rate in [0, 1], not {risk}")

    def measures(right: FloatArray, missed: FloatArray) -> FloatArray:
        kept = right + missed
        total = kept[-1]
        under = (steps(kept) * missed / np.where(kept > 0, kept, 1.0)).sum(axis=0) / total
        # the oracle keeps all right films first; its area is a sum of j / (right + j), here in closed form
        oracle = (missed[-1] - right[-1] * (digamma(total + 1) - digamma(right[-1] + 1))) / total
        most = np.where(missed <= risk * kept, kept, 0.0).max(axis=0) / total
        return np.stack([under, under - oracle, most])

    area, excess, coverage = each(over_thresholds(-score, miss, weights, measures, orders=orders))
    return Selective(area, excess, coverage, risk)


def threshold(uncertainty: ArrayLike, wrong: ArrayLike, *, risk: float = 0.05) -> float:
    """Return the uncertainty up to which films may be answered with an error rate of at most `risk` among them.

    That of the largest coverage (see `Selective`); whatever is less sure is left to a person. Chosen on these films, so
    optimistic on others.

    Args:
        uncertainty: (n,) larger = less sure.
        wrong: (n,) true where the decision is wrong.
        risk: the error rate allowed among the films kept, in [0, 1].

    Returns:
        The largest uncertainty that is answered, minus infinity where none may be.

    Raises:
        CalibrationError: vectors that do not match or are not finite, or a risk outside [0, 1].
    """
    score, _ = checked_scores(uncertainty, wrong, "wrong")
    coverage = float(np.asarray(selective(score, wrong, risk=risk).coverage))
    kept = round(coverage * score.size)
    return float(np.sort(score)[kept - 1]) if kept else -np.inf


def failure_auroc(
    uncertainty: ArrayLike, wrong: ArrayLike, *, weights: Weights | None = None, orders: bool = False
) -> Estimate:
    """Chance that a wrong film is more uncertain than a right one: 0.5 knows nothing, 1 knows every mistake.

    Arguments as in `selective`.

    Returns:
        A float, or (B,) for (B, n) weights.

    Raises:
        ClassAbsentError: all films are right, or all wrong.
        CalibrationError: vectors that do not match or are not finite.
    """
    try:
        return auroc(uncertainty, wrong, weights=weights, orders=orders)
    except ClassAbsentError as error:
        raise ClassAbsentError("all films are right, or all wrong: there is no failure to tell from success") from error
