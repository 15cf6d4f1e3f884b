"""How often the interval of the ECE holds the truth: simulated subjects whose every confidence and chance is known.

    uv run python -m tests.benchmarks.calibration_coverage             # the whole table, 1,000 cohorts a cell
    uv run python -m tests.benchmarks.calibration_coverage 200 60      # fewer cohorts, 60 patients only

Where all confidences lie in one or two bins the ECE is the absolute value of one or two gaps, with a kink at 0 and
without the bias that ten bins bring; `spread` lies between one half and 1, `one bin of many` is off in a single one.
The subject calls one class whatever it sees, so that resamples within the classes could not vary at all. A patient has
one film, or 1 to 9 that hang together (`clustered`: normal scores correlated by one half). `low` and `high` are the
shares of cohorts whose interval lies wholly above and wholly below the truth (2.5 % promised at most). Measured:

    60 patients (400 cohorts)        truth  cover    low   high  < .02
    one bin, .70 for .75                5.0   97.2    2.8    0.0    0.0
    one bin, calibrated                 0.0   97.8    2.2    0.0    0.0
    one bin, .95 for .90                5.0   97.5    2.5    0.0    0.0
    two bins, .70 for .75               5.0   97.5    2.5    0.0    0.0
    two bins, .90 for .85               5.0   98.0    2.0    0.0    0.0
    two bins, .90 for .87               3.0   98.0    2.0    0.0    0.0
    spread, calibrated                  0.0  100.0    0.0    0.0    0.0
    spread, off by .05                  5.0  100.0    0.0    0.0    0.0
    spread, off by .15                 15.0  100.0    0.0    0.0    0.0
    one bin of many off                 4.0   99.5    0.5    0.0    0.0
    spread, off by .15, clustered (800)    15.0   95.0    2.0    3.0    0.0
    156 patients (200 cohorts)       truth  cover    low   high  < .02
    one bin, .70 for .75                5.0   97.0    3.0    0.0    0.0
    one bin, calibrated                 0.0   99.0    1.0    0.0    0.0
    one bin, .95 for .90                5.0   97.5    1.0    1.5    0.0
    two bins, .70 for .75               5.0   97.0    3.0    0.0    0.0
    two bins, .90 for .85               5.0   98.5    1.5    0.0    0.0
    two bins, .90 for .87               3.0   99.0    1.0    0.0    0.0
    spread, calibrated                  0.0   99.5    0.5    0.0    0.0
    spread, off by .05                  5.0  100.0    0.0    0.0    0.0
    spread, off by .15                 15.0   98.0    0.5    1.5    0.0
    one bin of many off                 4.0   98.0    2.0    0.0    0.0

Low and high among 624 patients: 0.0 and 1.2 (one bin, .70 for .75; 80 cohorts), 3.1 and 3.1 (two bins, .90 for .87;
160), 2.5 and 0.0 (spread, off by .15; 80): too few to tell 2.5 from 5 %. What has no number was not
measured. Where bins are many the interval covers more than it promises: it allows for several ways in which the error
may be spread.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from calibration.binning import equal_width_cells
from calibration.inversion import inverted_interval
from calibration.validation import FloatArray, IntArray

COHORTS, DRAWS = 1000, 1000
WITHIN = 0.5


@dataclass(frozen=True)
class Population:
    """Confidences and the chances that calls of them are right."""

    confidence: Callable[[np.random.Generator, int], FloatArray]
    chance: Callable[[FloatArray], FloatArray]

    def error(self, films: int = 400_000) -> float:
        """Return the ECE of the population, in 15 bins of equal width."""
        confidence = self.confidence(np.random.default_rng(0), films)
        gaps = np.bincount(equal_width_cells(confidence, 15), self.chance(confidence) - confidence)
        return float(np.abs(gaps).sum() / films)

    def cohort(self, generator: np.random.Generator, patients: int, most: int) -> tuple[FloatArray, IntArray, IntArray]:
        """Return (n, 2) probabilities, labels and patients, 1 to `most` films each."""
        owner = np.repeat(np.arange(patients), generator.integers(1, most + 1, patients))
        confidence = self.confidence(generator, owner.size)
        own, shared = generator.normal(size=owner.size), generator.normal(size=patients)[owner]
        luck = ndtr(np.sqrt(1 - WITHIN) * own + np.sqrt(WITHIN) * shared)
        wrong = (luck >= self.chance(confidence)).astype(np.int64)
        return np.stack([confidence, 1 - confidence], axis=1), wrong, owner


def around(middle: float, apart: float, right: float) -> Population:
    """Return confidences at two places about a middle (one, if `apart` is 0), all right with the same chance."""
    return Population(
        lambda generator, n: middle + apart * generator.choice([-1.0, 1.0], n), lambda c: np.full(c.size, right)
    )


def spread(over: float, low: float = 0.0, high: float = 1.0) -> Population:
    """Return confidences between one half and 1, too large by `over` between `low` and `high`, else right."""
    return Population(
        lambda generator, n: generator.uniform(0.5, 1.0, n), lambda c: c - over * ((c >= low) & (c < high))
    )


POPULATIONS = {
    "one bin, .70 for .75": around(0.70, 0.0, 0.75),
    "one bin, calibrated": around(0.70, 0.0, 0.70),
    "one bin, .95 for .90": around(0.95, 0.0, 0.90),
    "two bins, .70 for .75": around(0.70, 0.02, 0.75),
    "two bins, .90 for .85": around(0.90, 0.03, 0.85),
    "two bins, .90 for .87": around(0.90, 0.03, 0.87),
    "spread, calibrated": spread(0.0),
    "spread, off by .05": spread(0.05),
    "spread, off by .15": spread(0.15),
    "one bin of many off": spread(0.30, 12 / 15, 13 / 15),
}


def measure(
    population: Population, patients: int, cohorts: int, *, most: int = 1, draws: int = DRAWS, margin: float = 0.02
) -> tuple[float, float, float, float]:
    """Return the shares of intervals that hold the truth, lie above it, lie below it, and lie below a margin.

    Args:
        population: whose cohorts are drawn.
        patients: of each.
        cohorts: how many.
        most: films of a patient.
        draws: of each candidate of an interval.
        margin: below which a claim would call the error no limitation.
    """
    generator, truth = np.random.default_rng([patients, most]), population.error()
    found = []
    for seed in range(cohorts):
        p, labels, owner = population.cohort(generator, patients, most)
        ends = inverted_interval(p, labels, groups=owner, draws=draws, seed=seed)
        found.append((ends.low > truth, ends.high < truth, ends.high < margin))
    low, high, below = (float(share) for share in np.mean(found, axis=0))
    return 1 - low - high, low, high, below


def main() -> None:
    """Print the table."""
    cohorts = int(sys.argv[1]) if len(sys.argv) > 1 else COHORTS
    for patients in [int(text) for text in sys.argv[2:]] or [60, 156, 624]:
        for most in (1, 9):
            head = f"{patients} patients{', clustered' if most > 1 else ''}"
            print(f"{head:32s}{'truth':>7s}{'cover':>7s}{'low':>7s}{'high':>7s}{'< .02':>7s}")
            for name, population in POPULATIONS.items():
                row = (population.error(), *measure(population, patients, cohorts, most=most))
                print(f"{name:32s}" + "".join(f"{100 * value:7.1f}" for value in row), flush=True)


if __name__ == "__main__":
    main()
