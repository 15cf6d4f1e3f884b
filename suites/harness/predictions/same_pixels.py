"""Which films of two cohorts show the same pixels, whatever files they lie in? Asked of films that are answered alike.

Equal files are found by their bytes (`cohorts.external`). A film that was saved anew, in a format that loses nothing,
is another file; what a subject answers to it is the same to the last bit, and only such films are decoded and compared.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from suites.harness.cohorts.cohort import Cohort, Film
from suites.harness.errors import FilmUnreadable
from suites.harness.predictions.conditions import CLEAN
from suites.harness.predictions.table import Predictions

MOST = 64
"""Pairs that are decoded at most: a subject that says the same of every film tells nothing apart."""


def same_pixels(home: Cohort, away: Cohort, at_home: Predictions, there: Predictions) -> dict[str, str]:
    """Return film of the other cohort -> film of the home cohort with the same pixels.

    Args:
        home: the cohort under test.
        away: the other.
        at_home: what one subject answered on it.
        there: what the same subject answered on the other.
    """
    films: dict[bytes, str] = {}
    for film, told in _answers(at_home).items():
        films.setdefault(told, film)
    alike = [(film, films[told]) for film, told in _answers(there).items() if told in films][:MOST]
    if not alike:
        return {}
    places = [{str(film): at for at, film in enumerate(cohort.table["id"])} for cohort in (away, home)]
    return {
        film: same for film, same in alike if _equal(_film(away, places[0][film]), _film(home, places[1][same]))
    }  # fmt: skip


def _answers(found: Predictions) -> Mapping[str, bytes]:
    clean = found.table[found.table["condition"] == CLEAN]
    logits = clean[[name for name in clean if str(name).startswith("logit_")]].to_numpy(np.float32)
    told = zip(clean["image"].astype(str), logits, strict=True)
    return {film: row.tobytes() for film, row in told if np.isfinite(row).all()}


def _film(cohort: Cohort, at: int) -> Film | None:
    try:
        return cohort.decode(cohort.rows([at])[0])
    except FilmUnreadable:
        return None


def _equal(one: Film | None, other: Film | None) -> bool:
    return one is not None and other is not None and np.array_equal(one.pixels, other.pixels)
