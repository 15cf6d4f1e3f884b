"""A card says of real films what was measured of its version; statistics measure what they are named for."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from robustness import get, likeness, perturbation
from tests.benchmarks import beside_real
from tests.benchmarks.film_statistics import STATISTICS

OURS = [name for name in perturbation.names() if "Looks like: " not in str(type(get(name)).__doc__)]
"""Those that are not told in their docstrings."""


def rows() -> list[dict[str, str]]:
    with likeness.MEASURED.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_perturbation_of_ours_is_told_and_measured_and_nothing_else():
    assert set(likeness._words()) == set(OURS)
    assert {row["perturbation"] for row in rows()} == set(OURS)
    assert set(beside_real.PLACES) == set(OURS)
    assert all(set(words) == {"looks_like", "differs_from"} for words in likeness._words().values())


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row['perturbation']}-{row['statistic'][:12]}")
def test_a_card_quotes_the_numbers_of_its_version_only(row):
    kind = type(get(row["perturbation"]))
    quoted = likeness.likeness(kind.name, int(row["version"]))
    for key in ("taken", "severity 1", "severity 5", "beside median", "beside 5 %"):
        assert f"{float(row[key]):g}" in quoted["looks_like"]
    assert row["beside"] in quoted["looks_like"]
    assert row["statistic"] in quoted["differs_from"]
    another = likeness.likeness(kind.name, int(row["version"]) + 1)
    assert another["looks_like"].endswith(f"Not measured since version {row['version']}.")
    assert "Measured," not in another["looks_like"]


def test_nobody_has_a_likeness_by_default():
    assert likeness.likeness("mine", 1) == {}


def noisy(sigma: float, seed: int = 0, shape: tuple[int, int] = (256, 320)) -> np.ndarray:
    """Flat grey with noise."""
    made = 0.5 + sigma / 255 * np.random.default_rng(seed).standard_normal(shape)
    return made.clip(0, 1).astype(np.float32)


@settings(max_examples=10, deadline=None)
@given(sigma=st.floats(0.5, 8.0), seed=st.integers(0, 100))
def test_noise_is_its_standard_deviation(sigma, seed):
    assert STATISTICS["noise"].of(noisy(sigma, seed)) == pytest.approx(sigma, rel=0.1)
    assert STATISTICS["slope"].of(noisy(sigma, seed)) == pytest.approx(0.0, abs=0.4)


@settings(max_examples=10, deadline=None)
@given(rise=st.floats(1.0, 3.0), row=st.booleans())
def test_edge_spread_is_the_rise_of_a_blurred_edge(rise, row):
    step = np.where(np.arange(256) < 120, 0.2, 0.8)[None, :].repeat(256, 0)
    film = ndimage.gaussian_filter1d(step, rise, axis=1).astype(np.float32)
    assert STATISTICS["edges"].of(film.T if row else film) == pytest.approx(2.56 * rise, rel=0.15)


@settings(max_examples=10, deadline=None)
@given(period=st.floats(3.0, 12.0), vertical=st.booleans())
def test_lines_stand_out_of_their_ring_and_noise_has_none(period, vertical):
    film = noisy(2.0)
    across = np.arange(film.shape[1])[None, :] if vertical else np.arange(film.shape[0])[:, None]
    lined = (film + 4 / 255 * np.sin(2 * np.pi * across / period)).astype(np.float32)
    assert STATISTICS["lines"].of(lined) > STATISTICS["lines"].of(film) + 8.0


def test_frames_letters_blocks_and_shares_are_found():
    film = np.full((200, 260), 0.5, dtype=np.float32)
    film[30:, 60:] = 0.6
    framed = np.pad(film, 20)
    assert STATISTICS["frame"].of(framed) == pytest.approx(100 * (1 - film.size / framed.size), abs=1.0)
    dark = np.where(np.arange(260) < 50, 0.1, 0.5)[None, :].repeat(200, 0).astype(np.float32)
    assert STATISTICS["letters"].of(dark) == 0.0
    dark[20:30, 10:16] = 1.0
    assert STATISTICS["letters"].of(dark) == pytest.approx(5.0)
    grain = ndimage.gaussian_filter(noisy(40.0), 1.0)
    byte = np.rint(255 * grain).astype(np.uint8)
    stored = cv2.imdecode(cv2.imencode(".jpg", byte, [cv2.IMWRITE_JPEG_QUALITY, 10])[1], cv2.IMREAD_GRAYSCALE)
    assert STATISTICS["blocking"].of(grain) == pytest.approx(1.0, abs=0.1)
    assert STATISTICS["blocking"].of((stored / 255).astype(np.float32)) > 1.3
    assert STATISTICS["greys"].of(np.linspace(0, 1, 8, dtype=np.float32)[None, :].repeat(8, 0)) == 8
    half = np.concatenate([np.zeros((100, 50)), np.full((100, 50), 0.5)], axis=1).astype(np.float32)
    assert STATISTICS["clipped"].of(half) == pytest.approx(50.0)


def test_posture_is_read_off_the_lungs(chest):
    film, _ = chest(0, 192, 256)
    values = {key: STATISTICS[key].of(film.numpy()) for key in ("midline", "heart", "chest")}
    assert values["midline"] < 3.0
    assert 0.2 < values["heart"] < 0.8
    assert 0.5 < values["chest"] < 1.5
    assert np.isnan(STATISTICS["heart"].of(noisy(5.0)))


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 20), angle=st.integers(-20, 20))
def test_lean_is_the_angle_a_film_was_turned_by(chest, seed, angle):
    film, _ = chest(seed, 192, 256)
    turned = ndimage.rotate(film.numpy(), angle, reshape=False, order=1, mode="nearest")
    assert STATISTICS["lean"].of(turned) == pytest.approx(abs(angle), abs=5.0)


@pytest.mark.parametrize(("value", "word"), [(0.5, "inside"), (0.96, "within all"), (1.5, "beyond"), (-0.2, "beyond")])
def test_a_verdict_is_where_the_median_lies(value, word):
    beside = np.linspace(0.2, 0.9, 101).tolist()
    assert beside_real.verdict(value, beside, np.linspace(0.0, 1.0, 101).tolist()) == word


@pytest.mark.realdata
def test_what_the_file_says_is_what_is_measured_again(shared, monkeypatch):
    monkeypatch.setenv("CHEST_XRAY_SHARED", str(shared))
    again = beside_real.row("aspect_stretch", beside_real.PLACES["aspect_stretch"][0])
    (stored,) = (row for row in rows() if row["perturbation"] == "aspect_stretch")
    assert {key: str(value) for key, value in again.items()} == stored
