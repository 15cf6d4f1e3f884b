"""A film is found again in another file, of another quality or size; other films are none, however alike chests are."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from suites.harness.cohorts.cohort import COLUMNS, Cohort, Film
from suites.harness.cohorts.near_copies import ALIKE, near_copies, picture
from suites.harness.errors import FilmUnreadable

Pixels = np.ndarray


def chest(seed: int, side: int = 128) -> Pixels:
    """One body for all films, and of each its own ribs and vessels."""
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side
    body = 0.7 - 0.4 * (((x - 0.5) / 0.4) ** 2 + ((y - 0.5) / 0.45) ** 2 < 1)
    own = gaussian_filter(np.random.default_rng(seed).normal(0, 1, (side, side)), side / 40)
    return np.clip(body + 0.08 * own / own.std(), 0, 1).astype(np.float32)


def saved(pixels: Pixels, quality: int = 90, scale: float = 1.0, gamma: float = 1.0) -> Pixels:
    film = Image.fromarray((255 * pixels**gamma).round().astype(np.uint8))
    film = film.resize((round(film.width * scale), round(film.height * scale)), Image.Resampling.LANCZOS)
    film.save(data := io.BytesIO(), "JPEG", quality=quality)
    return np.asarray(Image.open(data), np.float32) / 255


def cohort(name: str, films: Sequence[Pixels | None], looked: list[str] | None = None) -> tuple[Cohort, dict[str, str]]:
    ids = [f"{name}{number}" for number in range(len(films))]
    pixels = dict(zip(ids, films, strict=True))

    def decode(row) -> Film:
        if looked is not None:
            looked.append(str(row["id"]))
        found = pixels[str(row["id"])]
        if found is None:
            raise FilmUnreadable("is gone")
        return Film(pixels=found, content="")

    table = pd.DataFrame({column: [""] * len(films) for column in COLUMNS}).assign(id=ids, patient=ids)
    contents = {
        one: hashlib.sha256(b"gone" if film is None else film.tobytes()).hexdigest() for one, film in pixels.items()
    }
    return Cohort(name=name, spec=name, table=table, decode=decode), contents


def found(tmp_path: Path, home: Sequence[Pixels | None], away: Sequence[Pixels | None]) -> dict[str, str]:
    (one, mine), (other, theirs) = cohort("h", home), cohort("a", away)
    return near_copies(one, other, mine, theirs, tmp_path)


@pytest.mark.parametrize("how", [{}, {"quality": 40}, {"scale": 0.5}, {"gamma": 0.7}, {"quality": 60, "scale": 1.3}])
def test_a_film_that_was_saved_anew_is_found_among_others(tmp_path, how):
    home = [chest(seed) for seed in range(8)]
    away = [saved(home[5], **how), chest(100), saved(chest(101), **how)]
    assert found(tmp_path, home, away) == {"a0": "h5"}


def test_equal_pixels_count_even_where_all_films_are_alike(tmp_path):
    one = chest(0)
    noise = np.random.default_rng(1).normal(0, 0.002, (3, *one.shape)).astype(np.float32)
    home = [np.clip(one + part, 0, 1) for part in noise]
    assert found(tmp_path, home, [home[1].copy(), saved(home[1]), chest(7)]) == {"a0": "h1"}


def test_films_that_show_nothing_or_cannot_be_read_are_nobodys_copies(tmp_path):
    flat = np.full((40, 40), 0.5, np.float32)
    assert found(tmp_path, [flat, None, chest(1)], [flat * 0.9, None, np.zeros((9, 9), np.float32)]) == {}


def test_a_film_is_looked_at_once(tmp_path):
    looked: list[str] = []
    (one, mine), (other, theirs) = cohort("h", [chest(0)], looked), cohort("a", [saved(chest(0))], looked)
    for _ in range(2):
        assert near_copies(one, other, mine, theirs, tmp_path) == {"a0": "h0"}
    assert looked == ["h0", "a0"]


def read(files: Sequence[Path], change: Callable[[Pixels], Pixels] = lambda pixels: pixels) -> Pixels:
    films = (np.asarray(Image.open(file).convert("L"), np.float32) / 255 for file in files)
    return np.stack([picture(change(film)) for film in films])


@pytest.mark.realdata
def test_real_films_are_themselves_when_saved_anew_and_nobody_else(shared):
    folders = ("kermany/test/NORMAL", "kermany/test/PNEUMONIA", "external/adult_frontal/nih")
    files = [file for folder in folders for file in sorted((shared / "data" / folder).iterdir())[:120:3]]
    plain = read(files)
    alike = plain @ plain.T
    assert np.sort(alike[np.triu_indices(len(files), 1)])[-1] < ALIKE - 0.05
    for how in ({"quality": 50}, {"scale": 0.5}, {"gamma": 0.8}):
        again = read(files, lambda film, how=how: saved(film, **how))
        assert (plain * again).sum(1).min() > ALIKE + 0.02, how
