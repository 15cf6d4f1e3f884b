"""Figures: small deterministic SVG for curves, JPEG under a byte budget for films, and the marks where they belong."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from suites.harness.formatting import figures
from suites.harness.report import pictures

DRAWINGS = {
    "severity": lambda: figures.severity_curve(
        range(6),
        {"a $x$": (np.linspace(0.9, 0.5, 6), np.linspace(0.8, 0.4, 6), np.ones(6))},
        ylabel="recall",
        margin=0.8,
    ),
    "confusion": lambda: figures.confusion_matrix([[3, 1], [0, 0]], ["normal", "pneumonia"]),
    "stacked": lambda: figures.stacked_shares(
        {"normal films": {"a $x$": [0.2, 0.8], "b": [0.5, 0.5]}, "ill films": {"a $x$": [1.0, 0.0]}},
        ["normal", "pneumonia"],
        title="t",
    ),
    "rectangular": lambda: figures.confusion_matrix([[3, 1], [0, 2], [1, 1]], ["a", "b"], ["a", "b", "other"]),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_curves_are_small_deterministic_svg(name: str, tmp_path: Path):
    first, second = (
        pictures.store(DRAWINGS[name], tmp_path / folder, "x", "t")
        for folder in ("a", "b")
        if (tmp_path / folder).mkdir() is None
    )
    assert first == second
    content = (tmp_path / "a" / first.file).read_bytes()
    assert content == (tmp_path / "b" / first.file).read_bytes()
    assert len(content) < 60_000
    root = ET.fromstring(content)
    assert first.kind == "curve"
    assert first.width == pytest.approx(float(root.attrib["width"][:-2]) * 96 / 72, abs=1)
    assert b"DejaVu" not in content


def test_stacked_shares_of_every_class_fill_the_bar():
    shares = {"lobar": [0.1, 0.2, 0.3, 0.4], "mass": [0.0, 0.0, 1.0, 0.0]}
    figure = figures.stacked_shares({"normal films": shares, "ill films": shares}, ["a", "b", "c", "d"])
    for axes in figure.axes:
        bars = [(bar.get_x(), bar.get_width()) for container in axes.containers for bar in container]
        assert [width for _, width in bars[::2]] == pytest.approx(shares["lobar"])
        assert [start for start, _ in bars[::2]] == pytest.approx([0.0, 0.1, 0.3, 0.6])
        assert axes.get_xlim() == (0, 1)
    assert len(figure.legends[0].get_texts()) == 4


def test_texts_stay_texts(tmp_path: Path):
    stored = pictures.store(DRAWINGS["severity"], tmp_path, "x", "t")
    text = (tmp_path / stored.file).read_text()
    assert ">margin</text>" in text.replace("\n", "")
    assert "<script>" not in text


def test_the_numbers_are_where_they_should_be():
    figure = DRAWINGS["severity"]()
    axes = figure.axes[0]
    line = axes.lines[0]
    assert list(line.get_xdata()) == list(range(6))
    assert np.allclose(line.get_ydata(), np.linspace(0.9, 0.5, 6))
    assert axes.lines[1].get_ydata()[0] == 0.8
    texts = [text.get_text() for text in DRAWINGS["confusion"]().axes[0].texts]
    assert texts == ["3", "75.0 %", "1", "25.0 %", "0", "0.0 %", "0", "0.0 %"]


def test_series_differ_without_colour():
    marks = [(dash, marker) for _, dash, marker in figures.SERIES]
    assert len(set(marks)) == len(marks)
    lightness = [
        sum(int(colour[i : i + 2], 16) * w for i, w in ((1, 0.3), (3, 0.59), (5, 0.11)))
        for colour, *_ in figures.SERIES
    ]
    assert abs(lightness[0] - lightness[1]) > 20


def film(side: int) -> Figure:
    figure = Figure(figsize=(6, 6))
    figure.subplots().imshow(np.random.default_rng(0).random((side, side)), cmap="gray")
    return figure


def test_films_stay_under_their_budget(tmp_path: Path):
    stored = pictures.store(lambda: film(500), tmp_path, "x", "t")
    assert stored.kind == "film"
    assert stored.file.endswith(".jpg")
    assert max(stored.width, stored.height) <= pictures.FILM_SIDE
    assert (tmp_path / stored.file).stat().st_size <= 4 * pictures.FILM_BYTES
    easy = pictures.store(lambda: film(8), tmp_path, "y", "t")
    assert (tmp_path / easy.file).stat().st_size <= pictures.FILM_BYTES


def test_what_cannot_be_drawn_is_a_problem_not_a_crash(tmp_path: Path):
    stored = pictures.store(lambda: 1 / 0, tmp_path, "x", "t")  # type: ignore[arg-type, return-value]
    assert stored.file == ""
    assert stored.problem == "ZeroDivisionError: division by zero"
    assert not (tmp_path / "figures").exists()
