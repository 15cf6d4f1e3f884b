"""A film that was looked at comes back bit for bit, or is made again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suites.harness.cohorts import film_memory
from suites.harness.cohorts.film_disk_cache import remembering
from suites.harness.cohorts.layouts import load_cohort


@pytest.fixture
def cohort():
    return load_cohort("phantom:n=3")


@pytest.fixture
def row(cohort):
    return cohort.table.iloc[1].to_dict()


@pytest.fixture(autouse=True)
def nothing_held(monkeypatch):
    monkeypatch.setattr(film_memory, "_HELD", type(film_memory._HELD)())


def counting(cohort):
    calls = []

    def decode(row):
        calls.append(row["id"])
        return cohort.decode(row)

    return replace(cohort, decode=decode), calls


def test_a_film_comes_back_as_it_was(cohort, row, tmp_path):
    counted, calls = counting(cohort)
    first = remembering(counted, tmp_path)(row)
    film_memory._HELD.clear()  # another process
    second = remembering(counted, tmp_path)(row)
    assert len(calls) == 1
    assert second.content == first.content
    assert np.array_equal(second.pixels, first.pixels)
    assert second.pixels.dtype == first.pixels.dtype
    assert first.masks.keys() == second.masks.keys()
    assert all(np.array_equal(first.masks[name], second.masks[name]) for name in first.masks)
    assert all(mask.dtype == bool for mask in second.masks.values())


def test_a_damaged_file_and_a_folder_that_cannot_be_written_cost_nothing_but_time(cohort, row, tmp_path):
    counted, calls = counting(cohort)
    film = remembering(counted, tmp_path)(row)
    (kept,) = (tmp_path / "films").iterdir()
    kept.write_bytes(kept.read_bytes()[:1000])
    film_memory._HELD.clear()
    assert np.array_equal(remembering(counted, tmp_path)(row).pixels, film.pixels)
    assert len(calls) == 2
    film_memory._HELD.clear()
    assert np.array_equal(remembering(counted, tmp_path)(row).pixels, film.pixels)
    assert len(calls) == 2, "the damaged file was replaced"
    (tmp_path / "file").write_text("")
    film_memory._HELD.clear()
    assert np.array_equal(remembering(counted, tmp_path / "file")(row).pixels, film.pixels)


def test_memory_stands_before_the_disk(cohort, row, tmp_path):
    counted, calls = counting(cohort)
    film = remembering(counted, tmp_path)(row)
    (kept,) = (tmp_path / "films").iterdir()
    kept.unlink()
    assert np.array_equal(remembering(counted, tmp_path)(row).pixels, film.pixels)
    assert len(calls) == 1
    assert kept.exists(), "the next run holds nothing yet"


def test_films_that_lie_in_files_are_not_copied(cohort, tmp_path):
    plain = replace(cohort, identify=None)
    assert remembering(plain, tmp_path) is plain.decode
