"""Of many films a random sample of whole patients, for what draws every outcome thousands of times."""

from __future__ import annotations

import numpy as np
import pytest

from suites.harness.endpoints.uncertainty import labelled_films
from suites.harness.endpoints.uncertainty.labelled_films import LabelledFilms
from suites.harness.statistics import Resamples


@pytest.fixture
def films():
    generator = np.random.default_rng(0)
    patients, labels = generator.integers(0, 300, 900).astype(str), generator.integers(0, 3, 900)
    keep = np.ones(1000, dtype=bool)
    keep[::10] = False
    resamples = Resamples.draw(patients, labels, seed=0, count=50)
    return LabelledFilms(generator.normal(size=(900, 3)), labels, patients, resamples, keep)


def test_of_no_more_than_fit_all_are_taken(films):
    assert films.among(films.sample()) is films


def test_a_sample_of_many_is_of_whole_patients(films, monkeypatch):
    monkeypatch.setattr(labelled_films, "DENSE", 899)
    monkeypatch.setattr(labelled_films, "SIMULATED", 200)
    places = films.sample()
    few = films.among(places)
    assert 200 <= len(places) < 210
    assert not set(few.patients) & set(np.delete(films.patients, places))
    assert np.array_equal(few.logits, films.logits[places])
    assert np.array_equal(np.flatnonzero(few.keep), np.flatnonzero(films.keep)[places])
    assert few.resamples.weights.shape == (2000, len(places))
    again = films.sample()
    assert np.array_equal(again, places)
