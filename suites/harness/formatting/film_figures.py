"""What did the subject see before and after, and what did it predict? Pictures of films for galleries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from suites.harness.claims import Label, Tiles
from suites.harness.formatting.cells import whole_percent
from suites.harness.formatting.severities import in_words
from suites.harness.formatting.wording import plain_name
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN, parse

SIDE = 256
"""Longer side of a film as it is shown, in pixels."""


def films_in_a_row(films: Iterable[npt.NDArray[np.float32]], labels: Sequence[Label]) -> Tiles:
    """Return films side by side in equal tiles, white dense, each in the middle of its tile.

    Films are taken one after the other, so that of large ones no more than one need be there.
    """
    small = [_as_shown(film) for film in films]
    height, width = (max(film.shape[axis] for film in small) for axis in (0, 1))
    picture = Image.new("L", (width * len(small), height), 0)
    for place, film in enumerate(small):
        rows, columns = film.shape
        picture.paste(Image.fromarray(film), (place * width + (width - columns) // 2, (height - rows) // 2))
    return Tiles(picture, labels)


def _as_shown(film: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return a film averaged down to what is shown of it, where it is larger, in 8 bits."""
    scale = SIDE / max(film.shape)
    if scale < 1.0:
        size = (max(1, round(film.shape[1] * scale)), max(1, round(film.shape[0] * scale)))
        film = np.asarray(cv2.resize(film, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
    return in_8_bits(film)


def in_8_bits(film: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return grey values, cut to [0, 1], rounded to 255 steps; of a large film with one image of work, not three."""
    grey = np.clip(film, 0, 1)
    grey *= 255
    return np.round(grey, out=grey).astype(np.uint8)


def under(answers: Answers, image: str, condition: str) -> npt.NDArray[np.float32]:
    """Return a film as the subject was shown it under a condition (the first view of several)."""
    return np.asarray(answers.under(image, parse(condition))[0].numpy(), dtype=np.float32)


def film_by_film(answers: Answers, image: str, conditions: Sequence[str]) -> Tiles:
    """Return one film under several conditions, with what the subject called each and how surely."""
    truth = truth_of(answers, image)
    labels = []
    for condition in conditions:
        call, sure = called(answers, image, condition)
        tone = "" if truth == "unknown" else "right" if call == truth else "wrong"
        labels.append(Label(_shown(condition), f"{call} {whole_percent(sure)}", tone))
    return films_in_a_row((under(answers, image, condition) for condition in conditions), labels)


def _shown(condition: str) -> str:
    return "Clean" if condition == CLEAN else in_words(condition)


def truth_of(answers: Answers, image: str) -> str:
    """Return the class a film is labelled with, in words, or `unknown`."""
    label = answers.labels[answers.images.index(image)]
    return plain_name(answers.subject.classes[label]) if label >= 0 else "unknown"


def called(answers: Answers, image: str, condition: str = CLEAN) -> tuple[str, float]:
    """Return what a film was called under a condition, in words, and the softmax probability of that call."""
    index = answers.images.index(image)
    call = int(answers.called(condition)[index])
    return plain_name(answers.subject.classes[call]), float(answers.probabilities(condition)[index].max())
