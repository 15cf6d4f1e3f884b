"""A film held in memory comes back bit for bit, cannot be spoilt, and is let go before memory runs out."""

from __future__ import annotations

import numpy as np
import pytest

from suites.harness.cohorts import film_memory
from suites.harness.cohorts.cohort import Film
from suites.harness.cohorts.film_disk_cache import KeptFilms

SHAPE = (20, 31)  # a number of pixels that fills no whole byte


@pytest.fixture(autouse=True)
def nothing_held(monkeypatch):
    monkeypatch.setattr(film_memory, "_HELD", type(film_memory._HELD)())


@pytest.fixture
def calls():
    return []


@pytest.fixture
def decode(calls):
    def made(row):
        calls.append(row["id"])
        numbers = np.random.default_rng(int(row["id"]))
        mask = numbers.random(SHAPE) < 0.5
        return Film(pixels=numbers.random(SHAPE, dtype=np.float32), content=f"film {row['id']}", masks={"lung": mask})

    return KeptFilms(made, lambda row: f"film {row['id']}")


def test_a_film_is_made_once_and_comes_back_as_it_was(decode, calls):
    first, second = decode({"id": 1}), decode({"id": 1})
    assert calls == [1]
    assert first.content == second.content
    assert np.array_equal(first.pixels, second.pixels)
    assert np.array_equal(first.masks["lung"], second.masks["lung"])
    assert second.masks["lung"].dtype == bool
    other = decode({"id": 2})
    assert not np.array_equal(first.pixels, other.pixels)


def test_changing_a_film_in_place_does_not_change_what_is_held(decode):
    film = decode({"id": 1})
    before = film.pixels.copy()
    film.pixels[:] = 0.0
    film.masks["lung"][:] = False
    again = decode({"id": 1})
    assert np.array_equal(again.pixels, before)
    assert again.masks["lung"].any()


def test_the_films_asked_for_longest_ago_are_let_go(decode, calls, monkeypatch):
    size = SHAPE[0] * SHAPE[1] * 4 + (SHAPE[0] * SHAPE[1] + 7) // 8
    monkeypatch.setattr(film_memory, "BYTES", 2 * size)
    for film in (1, 2, 1, 3, 1, 2):  # the third film pushes out the second, not the first
        decode({"id": film})
    assert calls == [1, 2, 3, 2]
    assert len(film_memory._HELD) == 2
