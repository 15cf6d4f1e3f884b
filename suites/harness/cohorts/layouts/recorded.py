"""How do public tables write the view? Each in its own way; a cohort has one way, and shows what is untold."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from suites.harness.cohorts.patient_facts import age_in_years, sex_of

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


def view_of(text: str) -> str:
    """Return a view as PA, AP, AP supine, frontal or lateral; others as they are written, "" where none is told.

    >>> view_of("AP_horizontal"), view_of("LL"), view_of("postero-anterior"), view_of("LAO")
    ('AP supine', 'lateral', 'PA', 'LAO')
    """
    return _VIEWS.get(re.sub(r"[\s_-]+", " ", text.strip().lower()), text.strip())


def of_each(texts: pd.Series, read: Callable[[Any], object]) -> pd.Series:
    """Return what is read of each text; a text that many films share is read once."""
    places, known = pd.factorize(texts, use_na_sentinel=False)
    found = np.array([*map(read, known), None], object)[:-1]
    return pd.Series(found[places], index=texts.index, dtype=object)


def normalised(table: pd.DataFrame) -> pd.DataFrame:
    """Return a cohort's table with `view` as above, `age` (years, float), `sex` as `sex_of` has it, `age_group`."""
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
