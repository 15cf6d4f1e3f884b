"""Rates are counted by patient: they are the weighted means of films, and are found once."""

from __future__ import annotations

import numpy as np
import pytest

from suites.harness import statistics
from suites.harness.statistics import Resamples, of_patients, resamples
from suites.harness.statistics.resamples import means

FILMS, COUNT = 900, 200


@pytest.fixture(params=[2**40, 0], ids=["one array", "by blocks"])
def drawn(request, monkeypatch):
    """Resamples of patients with several films each, of two classes at once now and then, one alone in a class."""
    monkeypatch.setattr(resamples, "ARRAY_BYTES", request.param)
    monkeypatch.setattr(of_patients, "AT_HAND", request.param)
    monkeypatch.setattr(of_patients, "TOGETHER", 64)
    resamples._HELD.clear()
    generator = np.random.default_rng(5)
    patients = generator.integers(0, 300, FILMS)
    labels = np.where(patients == 7, 3, np.where(generator.random(FILMS) < 0.1, 2, patients % 2))
    return Resamples.draw(patients, labels, seed=4, count=COUNT), labels, generator


def test_a_rate_is_the_mean_of_films_by_their_weights(drawn):
    films, labels, generator = drawn
    right, sure = (generator.random(FILMS) < 0.8).astype(float), generator.random(FILMS)
    for among in (labels >= 0, labels == 2, labels == 3, films.cluster < 5, generator.random(FILMS) < 0.02):
        some = films.subset(among)
        for values in (right[among], sure[among], np.ones(int(among.sum()))):
            found = statistics.rate(values, some)
            assert np.allclose(found.replicates, means(values, some.weights), rtol=1e-13, atol=1e-15, equal_nan=True)
            assert np.allclose(found.left_out, means(values, some.left_out), rtol=1e-12, atol=1e-14)
            assert found.patients == len(np.unique(some.cluster))


def test_what_is_right_everywhere_is_exactly_one(drawn):
    films, labels, _ = drawn
    found = statistics.rate(np.ones(int((labels == 1).sum())), films.subset(labels == 1))
    assert set(found.replicates) == {1.0}
    assert found.degenerate


def test_no_weights_of_films_are_made_for_a_rate(drawn):
    films, labels, _ = drawn
    part = films.subset(labels == 0)

    def made():
        raise AssertionError("weights of films were made")

    for one in (films, part):
        object.__setattr__(one, "made", made)
    assert np.isfinite(statistics.rate(np.arange((labels == 0).sum()) % 2, part).interval().low)


def test_the_same_rate_is_found_once_whoever_asks(drawn):
    films, labels, _ = drawn
    values, among = np.arange((labels == 1).sum()) % 2, labels == 1
    first = statistics.rate(values, films.subset(among))
    assert statistics.rate(values.astype(bool), films.subset(among)) is first
    assert statistics.rate(values, films.subset(among), (-1.0, 1.0)) is not first
    assert statistics.rate(1 - values, films.subset(among)) is not first


def test_a_mask_that_changes_later_changes_no_weights(drawn):
    films, labels, _ = drawn
    among = labels == 0
    part, wanted = films.subset(among), np.asarray(films.weights[:])[:, labels == 0]
    among[:] = False
    assert np.array_equal(part.weights[:], wanted)
