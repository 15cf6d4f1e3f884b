"""How do public tables write view, age and sex? Each in its own way; a cohort has one way, and shows what is untold."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

FRONTAL = ("PA", "AP", "AP supine", "frontal")
LATERAL = "lateral"
ADULT_FROM_YEARS = 18
OLDEST = 120
"""Years. More is a slip of whoever typed it: NIH ChestX-ray14 has patients of 411, others write 999 for unknown."""
_VIEWS = {
    "pa": "PA", "postero anterior": "PA", "posteroanterior": "PA", "posterior anterior": "PA",
    "ap": "AP", "antero posterior": "AP", "anteroposterior": "AP", "ap erect": "AP",
    "ap supine": "AP supine", "ap horizontal": "AP supine", "ap recumbent": "AP supine",
    "frontal": "frontal",
    "l": LATERAL, "ll": LATERAL, "rl": LATERAL, "lat": LATERAL, "lateral": LATERAL,
    "left lateral": LATERAL, "right lateral": LATERAL,
}  # fmt: skip
_SEXES = {"m": "M", "male": "M", "1": "M", "f": "F", "female": "F", "2": "F", "w": "F"}
_AGE = re.compile(r"0*(\d+(?:\.\d+)?)\s*([ymwd]?)", re.IGNORECASE)
_PER_YEAR = {"": 1.0, "y": 1.0, "m": 12.0, "w": 52.18, "d": 365.25}


def view_of(text: str) -> str:
    """Return a view as PA, AP, AP supine, frontal or lateral; others as they are written, "" where none is told.

    >>> view_of("AP_horizontal"), view_of("LL"), view_of("postero-anterior"), view_of("LAO")
    ('AP supine', 'lateral', 'PA', 'LAO')
    """
    return _VIEWS.get(re.sub(r"[\s_-]+", " ", text.strip().lower()), text.strip())


def age_of(text: object) -> float:
    """Return years, NaN where none are told or they are no age of a person.

    >>> age_of("058Y"), age_of("018M"), age_of("58.0"), age_of("-1"), age_of("999")
    (58.0, 1.5, 58.0, nan, nan)
    """
    found = _AGE.fullmatch(str(text).strip())
    years = float(found[1]) / _PER_YEAR[found[2].lower()] if found else math.nan
    return years if years <= OLDEST else math.nan


def sex_of(text: str) -> str:
    """Return M or F, "" where a table tells neither (`Unknown`, `O`, nothing); 1 is male, 2 female (ISO 5218)."""
    return _SEXES.get(text.strip().lower().removesuffix(".0"), "")


def of_each(texts: pd.Series, read: Callable[[Any], object]) -> pd.Series:
    """Return what is read of each text; a text that many films share is read once."""
    places, known = pd.factorize(texts, use_na_sentinel=False)
    found = np.array([*map(read, known), None], object)[:-1]
    return pd.Series(found[places], index=texts.index, dtype=object)


def normalised(table: pd.DataFrame) -> pd.DataFrame:
    """Return a cohort's table with `view`, `age` (years, float), `sex` as above, `age_group` from the age."""
    known = table.assign(view=of_each(table["view"], view_of))
    if "sex" in known:
        known["sex"] = of_each(known["sex"], sex_of)
    if "age" in known:
        known["age"] = of_each(known["age"], age_of).astype(np.float64)
        known["age_group"] = known["age_group"].where(known["age_group"] != "", of_each(known["age"], _group))
    return known


def _group(years: float) -> str:
    if math.isnan(years):
        return ""
    return "adult" if years >= ADULT_FROM_YEARS else "child"
