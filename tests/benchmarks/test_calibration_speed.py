"""Everything calibration/ says about a prediction table, against the same estimators called resample by resample.

The aim is 624 films x 60 conditions with 2000 patient resamples in 20 s on two cores. Processor time, not wall time, is
printed, so that a busy machine does not spoil it; only the ratio to the plain loop is asserted.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from calibration import conformal, measures, operating, scores, selective
from calibration.validation import softmax

FILMS, RESAMPLES, CONDITIONS = 624, 2000, 60


@pytest.fixture(scope="module")
def table():
    """Logits, labels, patients and resampling weights of one condition."""
    rng = np.random.default_rng(0)
    z = rng.normal(0, 2, (FILMS, 3))
    labels = (rng.random((FILMS, 1)) > np.cumsum(softmax(z), axis=1)[:, :-1]).sum(axis=1)
    groups = rng.integers(0, 428, FILMS)
    numbers = np.unique(groups, return_inverse=True)[1]
    count = numbers.max() + 1
    weights = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)[:, numbers]
    return 2 * z, labels, groups, np.asfortranarray(weights, dtype=np.float64)


def everything(z, labels, groups, weights, sets):
    """All numbers of one condition, with intervals and null bands."""
    found = measures.measured(measures.STANDARD, z, labels, groups=groups, weights=weights)
    p, wrong = softmax(z), z.argmax(axis=1) != labels
    doubt = scores.get("max-softmax")(z)
    selective.selective(doubt, wrong, weights=weights)
    selective.failure_auroc(doubt, wrong, weights=weights)
    inside = sets.sets(p)
    conformal.coverage(inside, labels, weights=weights)
    conformal.set_size(inside, weights=weights)
    risk, sick = operating.pneumonia_view(p, labels, normal=1)
    point = operating.operating_point(z.argmax(axis=1) != 1, sick, weights=weights)
    for prevalence in operating.PREVALENCES:
        point.positive_value(prevalence)
        operating.decision_curve(risk, sick, prevalence=prevalence)
    return found


@pytest.mark.benchmark(group="calibration of one condition: 624 films, 2000 patient resamples")
def test_everything_for_one_condition(benchmark, table):
    z, labels, groups, weights = table
    sets = conformal.fit_sets(softmax(z), labels, groups=groups)
    everything(z, labels, groups, weights, sets)
    start = time.process_time()
    benchmark.pedantic(everything, (z, labels, groups, weights, sets), rounds=3)
    seconds = (time.process_time() - start) / 3
    benchmark.extra_info["processor seconds for 60 conditions on two cores"] = round(seconds * CONDITIONS / 2, 1)


@pytest.mark.parametrize(
    "name", ["ece/top-label/15/equal-mass", "smooth-ece/top-label", "slope/top-label", "temperature"]
)
def test_resamples_at_once_beat_a_loop(benchmark, table, name):
    z, labels, groups, weights = table
    benchmark.group = name
    start = time.process_time()
    for row in weights[:40]:
        measures.estimate(name, z, labels, weights=row, groups=groups)
    loop = (time.process_time() - start) / 40
    start = time.process_time()
    benchmark.pedantic(
        measures.estimate, (name, z, labels), {"weights": weights, "groups": groups}, rounds=3, warmup_rounds=1
    )
    together = (time.process_time() - start) / 4 / RESAMPLES
    benchmark.extra_info["times faster than a loop"] = round(loop / together, 1)
    assert together < loop / 3
