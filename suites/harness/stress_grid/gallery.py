"""What does every perturbation look like? One film, picked by rule, at every severity of the grid."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from robustness.perturbation import PerturbationUndefined
from suites.harness.claims import Label
from suites.harness.formatting.cells import whole_percent
from suites.harness.formatting.film_figures import in_8_bits
from suites.harness.formatting.wording import plain_name
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN, parse, shown
from suites.harness.stress_grid.measuring import SubjectGrid

TILE, DETAIL, GAP = 224, 108, 4
"""Pixels of the output: side of a tile, height of the detail beneath it, between the two."""
STRIP_BYTES = 120_000


@dataclass(frozen=True)
class Strip:
    """One perturbation of one film.

    Attributes:
        name: of the perturbation.
        caption: severity by severity, what the subject called the film.
        jpeg: clean film and every severity side by side, a detail of the middle at full resolution beneath each.
        size: (width, height) in pixels.
        labels: what each of its tiles is, and what the subject called it.
    """

    name: str
    caption: str
    jpeg: bytes
    size: tuple[int, int]
    labels: Sequence[Label]


def pick_film(answers: Answers) -> str:
    """Return the film that is shown: right on clean films and of median confidence among those, nobody's choice.

    Where the subject gets no film right, the median over all films.
    """
    confidence = answers.probabilities().max(axis=1)
    right = np.flatnonzero(answers.correct() == 1)
    among = right if len(right) else np.arange(len(answers.images))
    order = among[np.lexsort((np.array(answers.images)[among], confidence[among]))]  # without a pair for each film
    return answers.images[int(order[(len(order) - 1) // 2])]


def strips(grid: SubjectGrid, image: str) -> Iterator[Strip]:
    """Yield the strip of every perturbation of a grid."""
    answers = grid.answers
    film = answers.film(image)
    for row in grid.rows:
        names = [CLEAN, *(f"{row.name}@{cell.severity}" for cell in row.cells)]
        tiles, labels = [], []
        for name in names:
            words = _said(answers, image, name)
            label = "clean" if name == CLEAN else f"severity {name.rpartition('@')[2]}"
            try:
                changed = shown(film, parse(name), image, seed=answers.seed, resolution=answers.resolution)[0].numpy()
            except PerturbationUndefined:
                changed, words = None, "undefined"
            tiles.append(_tile(changed))
            labels.append(Label(label, words))
        yield _strip(row.name, labels, tiles)


def _said(answers: Answers, image: str, condition: str) -> str:
    at = answers.images.index(image)
    call = answers.called(condition)[at]
    if np.isnan(call):
        return "undefined"
    sure = answers.probabilities(condition)[at].max()
    return f"{plain_name(answers.subject.classes[int(call)])} {whole_percent(float(sure))}"


def _tile(film: npt.NDArray[np.float32] | None) -> Image.Image:
    """Draw the whole film, and beneath it a detail of its middle pixel for pixel."""
    tile = Image.new("L", (TILE, TILE + GAP + DETAIL), 255)
    if film is not None:
        grey = Image.fromarray(in_8_bits(film))
        whole = grey.copy()
        whole.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
        tile.paste(whole, ((TILE - whole.width) // 2, (TILE - whole.height) // 2))
        left, top = max(0, (grey.width - TILE) // 2), max(0, (grey.height - DETAIL) // 2)
        detail = grey.crop((left, top, min(left + TILE, grey.width), min(top + DETAIL, grey.height)))
        tile.paste(detail, ((TILE - detail.width) // 2, TILE + GAP))
    return tile


def _strip(name: str, labels: Sequence[Label], tiles: Sequence[Image.Image]) -> Strip:
    strip = Image.new("L", (len(tiles) * TILE, tiles[0].height), 255)
    for number, tile in enumerate(tiles):
        strip.paste(tile, (number * TILE, 0))
    for quality in (85, 75, 60, 45):
        buffer = io.BytesIO()
        strip.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
        if buffer.tell() <= STRIP_BYTES:
            break
    caption = "; ".join(f"{label.title}: {label.note}" for label in labels)
    return Strip(name, caption, buffer.getvalue(), strip.size, tuple(labels))
