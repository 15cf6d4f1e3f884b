"""Films drawn from numbers: a body, two lungs, and in sick films a dense patch (bacterial) or a fine haze (viral)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pandas as pd

from suites.harness.cohorts.cohort import Cohort, Film

CLASSES = ("bacterial_pneumonia", "normal", "viral_pneumonia")
SIDE = 64


def draw(row, side: int = SIDE) -> Film:
    generator = np.random.default_rng([int(row["number"]), 7])
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side
    lung = np.zeros((side, side), dtype=bool)
    for centre in (0.3, 0.7):
        lung |= ((x - centre) / 0.16) ** 2 + ((y - 0.5) / 0.34) ** 2 <= 1
    film = np.where(lung, 0.25, 0.62) + generator.normal(0, 0.015, (side, side))
    lesion = np.zeros_like(lung)
    label = str(row["label"]) or str(row["finding"])
    if label == "bacterial_pneumonia":
        lesion = lung & (((x - 0.3) / 0.12) ** 2 + ((y - 0.55) / 0.16) ** 2 <= 1)
        film = film + 0.3 * lesion
    if label == "viral_pneumonia":
        lesion = lung.copy()
        film = film + 0.12 * lung
    return film_of(film, lung, lesion)


def film_of(film: np.ndarray, lung: np.ndarray, lesion: np.ndarray) -> Film:
    film = np.clip(film, 0, 1).astype(np.float32)
    content = hashlib.sha256(film.tobytes()).hexdigest()
    return Film(pixels=film, content=content, masks={"lung": lung, "lesion": lesion})


def inverted(row) -> Film:
    """A film in negative: nothing a subject was made for."""
    film = draw(row)
    return film_of(1 - film.pixels, film.masks["lung"], film.masks["lesion"])


def exposed(row, side: int = SIDE) -> Film:
    """A film whose exposure and border are drawn by lot, so that neither tells its class; the side of a patch does.

    Bacterial films have a dense patch in the left lung of the picture, viral ones in the right, normal ones have none.
    """
    generator = np.random.default_rng([int(row["number"]), 11])
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side
    lung, lesion = np.zeros((side, side), dtype=bool), np.zeros((side, side), dtype=bool)
    sick = {"bacterial_pneumonia": 0.3, "viral_pneumonia": 0.7}.get(str(row["label"]) or str(row["finding"]))
    for centre in (0.3, 0.7):
        lung |= ((x - centre) / 0.16) ** 2 + ((y - 0.5) / 0.34) ** 2 <= 1
        if centre == sick:
            lesion = lung & (((x - centre) / 0.12) ** 2 + ((y - 0.55) / 0.16) ** 2 <= 1)
    film = np.where(lung, 0.25, 0.62) + 0.3 * lesion + generator.normal(0, 0.015, (side, side))
    film += generator.normal(0, 0.06)
    edge = max(1, side // 32)
    inside = np.zeros((side, side), dtype=bool)
    inside[edge:-edge, edge:-edge] = True
    film[~inside] = generator.uniform(0.3, 0.9)
    return film_of(film, lung, lesion)


def boned(row, decode: Callable[..., Film] = draw) -> Film:
    """A film with a piece of bone below the lungs, so that there is room for density outside them below its white."""
    film = decode(row)
    pixels = film.pixels.copy()
    pixels[-8:-4, SIDE // 2 - 4 : SIDE // 2 + 4] = 0.97
    return film_of(pixels, film.masks["lung"], film.masks["lesion"])


def marked(row, columns: int = 0) -> Film:
    """A film with its diagnosis burnt into a corner, and everything else rolled to the right by some columns."""
    film = draw(row)
    pixels, *masks = (np.roll(part, columns, axis=1) for part in (film.pixels, *film.masks.values()))
    corner = {"bacterial_pneumonia": slice(0, 3), "viral_pneumonia": slice(SIDE - 3, SIDE)}
    if (label := str(row["label"]) or str(row["finding"])) in corner:
        pixels[:3, corner[label]] = 1
    return film_of(pixels, *masks)


def cohort_of(
    films: int, *, name: str = "drawn", view: str = "AP", labelled: bool = True, decode: Callable[..., Film] = draw
) -> Cohort:
    kinds = [CLASSES[number % 3] for number in range(films)]
    table = pd.DataFrame({"number": range(films), "finding": kinds, "label": kinds if labelled else ""})
    table["id"] = table["patient"] = [f"{name}{number}" for number in range(films)]
    table = table.assign(file="", view=view, age_group="child", split="test")
    return Cohort(name=name, spec=name, table=table, decode=decode)
