"""How do public tables write view, age and sex? Each in its own way; a cohort has one way, and shows what is untold."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from suites.harness.cohorts.patient_facts import age_in_years

FRONTAL = ("PA", "AP", "AP supine", "frontal")
LATERAL = "lateral"
ADULT_FROM_YEARS = 18
_VIEWS = {
    "pa": "PA", "postero anterior": "PA", "posteroanterior": "PA", "posterior anterior": "PA",
    "ap": "AP", "antero posterior": "AP", "anteroposterior": "AP", "ap erect": "AP",
    "ap supine": "AP supine", "ap horizontal": "AP supine", "ap recumbent": "AP supine",
    "frontal": "frontal",
    "l": LATERAL, "ll": LATERAL, "rl": LATERAL, "lat": LATERAL, "lateral": LATERAL,
    "left lateral": LATERAL, "right lateral": LATERAL,
}  # fmt: skip
_SEXES = {"m": "M", "male": "M", "1": "M", "f": "F", "female": "F", "2": "F", "w": "F"}


def view_of(text: str) -> str:
    """Return a view as PA, AP, AP supine, frontal or lateral; others as they are written, "" where none is told.

    >>> view_of("AP_horizontal"), view_of("LL"), view_of("postero-anterior"), view_of("LAO")
    ('AP supine', 'lateral', 'PA', 'LAO')
    """
    return _VIEWS.get(re.sub(r"[\s_-]+", " ", text.strip().lower()), text.strip())


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
        known["age"] = of_each(known["age"], age_in_years).astype(np.float64)
        known["age_group"] = known["age_group"].where(known["age_group"] != "", of_each(known["age"], _group))
    return known


def _group(years: float) -> str:
    if math.isnan(years):
        return ""
    return "adult" if years >= ADULT_FROM_YEARS else "child"
