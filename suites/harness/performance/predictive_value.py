"""How sure is a predictive value, of which a small change of specificity may move a lot?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from calibration.accelerated import Accelerated
from suites.harness.statistics import BOOTSTRAP, EXACT, WIDENED, Sampled, combined

Floats = NDArray[np.float64]


class Predictive(NamedTuple):
    """A predictive value on the films and on the resamples, its interval, and how that was found."""

    value: float
    drawn: Floats
    left_out: Floats | None
    low: float
    high: float
    estimator: str


def predictive(value: Callable[[Floats, Floats], Floats], rates: Sequence[Sampled]) -> Predictive:
    """Return a predictive value of (sensitivity, specificity), which rises with both; NaN where nothing is called so.

    Near a specificity of 1 a small change of it moves the PPV at a low prevalence a lot. So where events are rare, the
    exact bounds of the two rates are carried through, not added to the predictive value.
    """
    middle = float(value(*(np.array([rate.estimate]) for rate in rates))[0])
    drawn, left_out = combined(value, *rates)
    rare = [rate.estimator != BOOTSTRAP for rate in rates]
    ends = np.array([middle, middle])
    if np.isfinite(drawn).any() and np.nanstd(drawn) > 0:
        alone = Accelerated.of(middle, drawn, left_out, min(rate.patients for rate in rates))
        ends = np.array([alone.end(0.025), alone.end(0.975)])
    for place, end in enumerate(("low", "high")):
        bounds = [
            np.array([getattr(rate.interval(), end) if seldom else rate.estimate])
            for rate, seldom in zip(rates, rare, strict=True)
        ]
        ends[place] = (np.fmin, np.fmax)[place](ends[place], value(*bounds)[0])
    how = EXACT if all(rate.degenerate for rate in rates) else WIDENED if any(rare) else BOOTSTRAP
    return Predictive(middle, drawn, left_out, min(float(ends[0]), middle), max(float(ends[1]), middle), how)
