"""The patient bootstrap of a whole run: 2,000 resamples of 624 films under 60 conditions, beside a loop over films."""

from __future__ import annotations

import numpy as np
import pytest

from suites.harness.statistics import Resamples, rate

FILMS, CONDITIONS = 624, 60


@pytest.fixture(scope="module")
def films():
    generator = np.random.default_rng(0)
    patients = generator.integers(0, 428, FILMS)
    return patients, patients % 3, (generator.random((FILMS, CONDITIONS)) < 0.8).astype(float)


@pytest.mark.benchmark(group="bootstrap")
def test_vectorised(benchmark, films):
    patients, labels, right = films

    def every_condition():
        resamples = Resamples.draw(patients, labels, seed=0)
        return [rate(column, resamples).interval() for column in right.T]

    assert len(benchmark(every_condition)) == CONDITIONS


@pytest.mark.benchmark(group="bootstrap")
def test_one_condition_by_a_plain_loop(benchmark, films):
    """What the vectorised bootstrap replaces, for one condition of the sixty and a tenth of the resamples."""
    patients, labels, right = films
    members = {key: np.flatnonzero(patients == key) for key in np.unique(patients)}
    by_class = [[key for key in members if labels[members[key][0]] == label] for label in range(3)]
    generator = np.random.default_rng(0)

    def loop():
        means = []
        for _ in range(200):
            keys = [key for group in by_class for key in generator.choice(group, len(group))]
            means.append(right[np.concatenate([members[key] for key in keys]), 0].mean())
        return means

    assert len(benchmark(loop)) == 200
