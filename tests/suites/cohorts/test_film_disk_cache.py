"""A film that was looked at comes back bit for bit, or is made again."""

from __future__ import annotations

import io
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


def test_a_kept_film_is_believed_only_as_it_was_written(cohort, tmp_path):
    rows = cohort.rows()
    counted, calls = counting(cohort)
    films = [remembering(counted, tmp_path)(row) for row in rows[:2]]
    place, other = (tmp_path / "films" / f"{film.content}.npz" for film in films)
    data = place.read_bytes()
    shape = data.index(b"'fortran_order': False") + 17
    zeros = io.BytesIO()
    np.savez_compressed(zeros, pixels=np.zeros((256, 256), np.float32))
    damaged = {
        "a bit of the header": data[:shape] + b"True, " + data[shape + 6 :], "another film": other.read_bytes(),
        "any bytes": b"no film", "empty": b"", "an archive of zeros": zeros.getvalue(),
    }  # fmt: skip
    made = replace(counted, decode=lambda row: calls.append(row["id"]) or films[0])
    for number, (how, content) in enumerate(damaged.items()):
        place.write_bytes(content)
        film_memory._HELD.clear()
        assert np.array_equal(remembering(made, tmp_path)(rows[0]).pixels, films[0].pixels), how
        assert len(calls) == 3 + number, how
        assert place.read_bytes() == data, "made again, and kept again"


def test_a_cohort_that_calls_its_films_anything_cannot_leave_the_cache(cohort, tmp_path):
    odd = replace(cohort, identify=lambda row: f"../../{row['id']}/\x00")
    for row in odd.rows():
        remembering(odd, tmp_path / "cache")(row)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert len(list((tmp_path / "cache" / "films").iterdir())) == 3
