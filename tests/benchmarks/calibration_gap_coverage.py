"""How often does the interval of a calibration gap between groups hold the truth? Made groups whose gap is known.

    uv run python -m tests.benchmarks.calibration_gap_coverage            # the whole table, 400 cohorts a cell
    uv run python -m tests.benchmarks.calibration_gap_coverage 100 40     # fewer cohorts, 40 patients in the group

The gap is what `subgroup.calibration` judges: the signed root of the debiased squared error of a group, less that of
all others. Confidences spread evenly between .45 and .95; films are right as often, less what the row says, in every
bin alike, so that the root is that number on either side. A patient has one to three films; there are twice as many
others as patients of the group. `low` and `high` are the shares of cohorts whose interval lies wholly above and wholly
below the truth (2.5 % promised). `alarms`: cohorts whose interval lies above 0, where the truth is no gap at all.
Measured:

    40 patients (100 cohorts)     truth  cover    low   high  alarms
    off by 0.00, others 0.00        0.0   98.0    1.0    1.0     1.0
    off by 0.10, others 0.10        0.0  100.0    0.0    0.0     0.0
    off by 0.10, others 0.00       10.0   97.0    1.0    2.0
    off by 0.20, others 0.05       15.0   99.0    1.0    0.0
    160 patients (100 cohorts)     truth  cover    low   high  alarms
    off by 0.00, others 0.00        0.0   98.0    0.0    2.0     0.0
    off by 0.10, others 0.10        0.0   97.0    1.0    2.0     1.0
    off by 0.10, others 0.00       10.0   97.0    2.0    1.0
    off by 0.20, others 0.05       15.0   96.0    4.0    0.0

Of groups of 40 patients the interval covers more than it promises, for the root is steep near no error at all; with 100
cohorts a cell the standard error of a share of 2.5 % is 1.6 points.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import cast

import numpy as np

from suites.harness.endpoints.subgroups.calibration_gap import BINS
from suites.harness.endpoints.subgroups.statistic import DebiasedError, sampled
from suites.harness.predictions.answers import Answers
from suites.harness.statistics import Resamples, Sampled, difference

CASES = ((0.0, 0.0), (0.1, 0.1), (0.1, 0.0), (0.2, 0.05))
"""By how much confidence exceeds accuracy in the group, and among the others."""
PATIENTS = (40, 160)
COHORTS, RESAMPLES = 400, 1000


def gap(generator: np.random.Generator, patients: int, off: tuple[float, float], seed: int) -> Sampled:
    """Return the gap of one made cohort as the claim has it."""
    sizes = generator.integers(1, 4, 3 * patients)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    member = owner < patients
    sure = generator.uniform(0.45, 0.95, len(owner))
    labels = generator.integers(0, 3, len(sizes))[owner]
    right = generator.random(len(owner)) < sure - np.where(member, *off)
    called = np.where(right, labels, (labels + generator.integers(1, 3, len(owner))) % 3)
    p = np.repeat(((1 - sure) / 2)[:, None], 3, axis=1)
    p[np.arange(len(owner)), called] = sure
    resamples = Resamples.draw(owner.astype(str), labels, seed=seed, count=RESAMPLES)
    answers = cast("Answers", SimpleNamespace(resamples=resamples))
    sides = [
        sampled(
            answers, films, DebiasedError(p, labels, owner, BINS), bounds=(-1.0, 1.0),
            averaged=False,
        )
        for films in (member, ~member)
    ]  # fmt: skip
    return difference(sides[0], sides[1], len(sizes))


def measure(patients: int, cohorts: int, off: tuple[float, float]) -> tuple[float, float, float, float]:
    """Return percent of cohorts whose interval holds the truth, lies above it, below it, and above 0."""
    ends = []
    for index in range(cohorts):
        generator = np.random.default_rng([patients, index, *(round(100 * one) for one in off)])
        found = gap(generator, patients, off, index).interval()
        ends.append((found.low, found.high))
    low, high = np.array(ends).T
    truth = off[0] - off[1]
    above, below = 100 * float((low > truth).mean()), 100 * float((high < truth).mean())
    return 100 - above - below, above, below, 100 * float((low > 0).mean())


def main() -> None:
    """Print the table."""
    cohorts = int(sys.argv[1]) if len(sys.argv) > 1 else COHORTS
    for patients in map(int, sys.argv[2:]) if len(sys.argv) > 2 else PATIENTS:
        print(f"    {patients} patients ({cohorts} cohorts)     truth  cover    low   high  alarms", flush=True)
        for off in CASES:
            cover, low, high, alarms = measure(patients, cohorts, off)
            told = f"{alarms:7.1f}" if off[0] == off[1] else ""
            print(
                f"    off by {off[0]:.2f}, others {off[1]:.2f}"
                f"  {100 * (off[0] - off[1]):9.1f} {cover:6.1f} {low:6.1f} {high:6.1f} {told}",
                flush=True,
            )


if __name__ == "__main__":
    main()
