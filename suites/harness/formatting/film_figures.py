"""What did the subject see before and after, and what did it predict? Pictures of films for galleries."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN, parse

TALLEST = 480
"""Rows of a film that a figure is given; it draws 400 at most."""


def films_in_a_row(films: Sequence[npt.NDArray[np.float32]], titles: Sequence[str]) -> Figure:
    """Draw films side by side at the same height, white dense, without interpolation of grey values."""
    aspects = [film.shape[1] / film.shape[0] for film in films]
    figure = Figure(figsize=(2.6 * sum(aspects), 2.9), dpi=100)
    grid = figure.add_gridspec(
        1, len(films), width_ratios=aspects, wspace=0.03, left=0.01, right=0.99, bottom=0.01, top=0.87
    )
    for index, (film, title) in enumerate(zip(films, titles, strict=True)):
        axes = figure.add_subplot(grid[0, index])
        axes.imshow(_as_drawn(film), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    return figure


def _as_drawn(film: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return a film averaged down to what a figure shows of it, where it is larger."""
    scale = TALLEST / film.shape[0]
    if scale >= 1.0:
        return film
    size = (max(1, round(film.shape[1] * scale)), TALLEST)
    return np.asarray(cv2.resize(film, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def under(answers: Answers, image: str, condition: str) -> npt.NDArray[np.float32]:
    """Return a film as the subject was shown it under a condition (the first view of several)."""
    return np.asarray(answers.under(image, parse(condition))[0].numpy(), dtype=np.float32)


def film_by_film(answers: Answers, image: str, conditions: Sequence[str]) -> Figure:
    """Draw one film under several conditions, with what the subject called each and how surely."""
    titles = []
    for condition in conditions:
        call, sure = called(answers, image, condition)
        titles.append(f"{condition}\n{call} {100 * sure:.0f} %")
    return films_in_a_row([under(answers, image, condition) for condition in conditions], titles)


def called(answers: Answers, image: str, condition: str = CLEAN) -> tuple[str, float]:
    """Return what a film was called under a condition, and the softmax probability of that call."""
    index = answers.images.index(image)
    call = int(answers.called(condition)[index])
    return answers.subject.classes[call], float(answers.probabilities(condition)[index].max())
