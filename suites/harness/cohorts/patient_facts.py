"""Who is on a film, and where was it taken? Sex, age, view, site and scanner, however a table or a header spells them.

What is not recorded, or cannot be (an age of -1 or 999), is "" or NaN, and stays so; nothing is guessed.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

NAMES = {
    "sex": ("sex", "gender", "patientsex", "patientgender", "geschlecht"),
    "age": ("age", "patientage", "ageyears", "ageinyears", "alter"),
    "view": ("view", "viewposition"),
    "site": ("site", "institution", "institutionname", "hospital"),
    "scanner": ("scanner", "manufacturermodelname", "manufacturer", "device"),
    "projection": ("projection",),
}
"""Column of a cohort -> names a table may have for it, case and signs aside; the first that is there counts."""
FACTS = ("sex", "age", "site", "scanner", "projection")
"""Columns that every cohort read from files has beside the usual ones."""
FRONTAL, LATERAL = "frontal", "lateral"
FEMALE, MALE, OTHER = "female", "male", "other"
_SEXES = {
    FEMALE: "f female fem woman girl w weiblich frau femme féminin femenino femenina mujer fille 2",
    MALE: "m male man boy männlich maennlich mannlich mann homme masculin masculino hombre garçon 1",
    OTHER: "o other d divers diverse nonbinary intersex x",
}
_SEX_OF = {spelling: sex for sex, spellings in _SEXES.items() for spelling in spellings.split()}
_UNKNOWN = frozenset({"", "nan", "na", "n/a", "none", "null", "<na>", "unknown", "not recorded"})
_JOINTS = re.compile(r"(?<=[^\W\d_])[-\s](?=[^\W\d_])")  # of `non-binary`; the sign of -1 is none
OLDEST = 123.0
"""Years; nobody is known to have lived longer than 122.4. What is above is a code (999) or a slip (411)."""
_AGE = re.compile(r"[>≥]?\s*(\d{1,4}(?:[.,]\d{1,40})?)\s*\+?\s*([^\W\d_]*)\.?")
_UNITS = {
    1.0: "y yr yrs year years yo j jahr jahre a an ans año años",
    12.0: "m mo mos mon month months monat monate mois",
    365.25 / 7: "w wk wks week weeks woche wochen",
    365.25: "d day days t tag tage jour jours",
}
_PER_YEAR = {"": 1.0} | {spelling: per for per, spellings in _UNITS.items() for spelling in spellings.split()}
BANDS = ("under 1", "1-5", "6-17", "18-64", "65 and over")
"""Infants, preschool and school children, adults, and from 65 years on the elderly as ICH E7 has them.

Children end at 18, as elsewhere in this project (`age_group`); 1 to 5 is the range of the public paediatric data set.
"""
_STARTS = (0.0, 1.0, 6.0, 18.0, 65.0)


def with_patient_facts(table: pd.DataFrame) -> pd.DataFrame:
    """Return a cohort's table with the columns `FACTS`, in one spelling each; other columns stay as they are.

    Args:
        table: one row per film, with the column `view`.

    Returns:
        The table with `sex` (see `sex_of`), `age` (float64, years, NaN where it is not recorded), `site`, `scanner`,
        `projection` (`frontal` or `lateral`: as recorded, else as the view says), and `view` filled in.
    """
    spelt = _spelt(table)
    nothing = pd.Series("", index=table.index, dtype="str")
    found = {
        column: next((table[spelt[known]] for known in names if known in spelt), nothing)
        for column, names in NAMES.items()
    }
    views = table["view"].astype(str).fillna("")
    if not (views != "").any() and (told := next((spelt[name] for name in NAMES["view"][1:] if name in spelt), "")):
        views = _each(table[told], text_of)
    texts = {name: _each(found[name], text_of) for name in ("site", "scanner", "projection")}
    projected = cache(projection_of)  # of many films, and few views
    return table.assign(
        sex=_each(found["sex"], sex_of).tolist(),
        age=_each(found["age"], age_in_years).to_numpy(np.float64),
        view=views,
        site=texts["site"],
        scanner=texts["scanner"],
        projection=[
            projected(told) or projected(view)
            for told, view in zip(texts["projection"].tolist(), views.tolist(), strict=True)
        ],
    )


def told_in(table: pd.DataFrame) -> list[str]:
    """Return the columns of a table that `with_patient_facts` looks at."""
    spelt = _spelt(table)
    return [spelt[name] for names in NAMES.values() for name in names if name in spelt]


def _spelt(table: pd.DataFrame) -> dict[str, str]:
    """Return letters of a column's name -> the first column whose name has these."""
    spelt: dict[str, str] = {}
    for name in table:
        spelt.setdefault(re.sub(r"[\W_]", "", str(name)).casefold(), str(name))
    return spelt


def _each(values: pd.Series, read: Callable[[Any], object]) -> pd.Series:
    """Return what is read of each value; of texts and numbers, which equal only themselves, each is read once."""
    if values.dtype != "str" and values.dtype.kind not in "fi":
        return values.map(read)
    codes, known = pd.factorize(values, use_na_sentinel=False)
    meant = [read(value) for value in known]
    return pd.Series([meant[code] for code in codes.tolist()], index=values.index)


def published_facts(table: pd.DataFrame) -> pd.DataFrame:
    """Return `sex`, `age_band`, `site`, `scanner`, `projection` of the films of any cohort, "" where not recorded."""
    known = with_patient_facts(table)
    bands = _each(known["age"], age_band).astype(object)
    return known[["sex"]].assign(age_band=bands, **{name: known[name] for name in ("site", "scanner", "projection")})


def text_of(value: object) -> str:
    """Return a recorded text in Unicode's composed form, "" for one that says that nothing is known."""
    text = "" if value is None else unicodedata.normalize("NFC", str(value)).strip()
    return "" if text.casefold() in _UNKNOWN else text


def projection_of(view: str) -> str:
    """Return `frontal` or `lateral` for a view or a projection, "" for neither.

    >>> projection_of("AP Supine"), projection_of("LL"), projection_of("Frontal"), projection_of("oblique")
    ('frontal', 'lateral', 'frontal', '')
    """
    name = view.strip().casefold()
    if name in ("l", "ll", "rl", "lld", "rld") or name.startswith("lat"):
        return LATERAL
    return FRONTAL if re.match(r"(pa|ap)(?![^\W\d_])|front", name) else ""


def sex_of(value: object) -> str:
    """Return `female`, `male` or `other`, "" where it is not recorded or not understood.

    Numbers are ISO/IEC 5218: 1 is male, 2 female, 0 not known, 9 not applicable. DICOM's `O` (PatientSex, PS3.3
    C.7.1.1) is an answer that was recorded, so a value of its own, `other`; `U`, a blank, or `unknown` is none.

    >>> sex_of("M"), sex_of(" Male "), sex_of(1.0), sex_of("Mann"), sex_of("O"), sex_of("unknown")
    ('male', 'male', 'male', 'male', 'other', '')
    """
    if isinstance(value, bool) or value is None:
        return ""
    text = unicodedata.normalize("NFC", str(value)).strip().casefold().removesuffix(".").removesuffix(".0")
    return _SEX_OF.get(_JOINTS.sub("", text), "")


def age_in_years(value: object) -> float:
    """Return an age in years, NaN where it is not recorded or cannot be one.

    Understood are numbers, texts with a unit, and DICOM's age strings (PS3.5, VR AS: `058Y`, `018M`, `006W`, `003D`).
    An open end (`90+`, as tables without identities have it) is taken at its beginning. A negative number, and more
    than `OLDEST` years, are codes for an age that is not known.

    >>> age_in_years("058Y"), age_in_years("006M"), age_in_years("58.0"), age_in_years(-1), age_in_years("999")
    (58.0, 0.5, 58.0, nan, nan)
    """
    if isinstance(value, bool) or value is None:
        return math.nan
    found = _AGE.fullmatch(unicodedata.normalize("NFC", str(value)).strip().casefold())
    if not found or found[2] not in _PER_YEAR:
        return math.nan
    years = float(found[1].replace(",", ".")) / _PER_YEAR[found[2]]
    return years if years <= OLDEST else math.nan


def age_band(years: float) -> str:
    """Return which of `BANDS` an age lies in, "" where there is none.

    >>> age_band(0.5), age_band(5.9), age_band(18.0), age_band(float("nan"))
    ('under 1', '1-5', '18-64', '')
    """
    if not math.isfinite(years) or years < 0:
        return ""
    return next(band for band, start in zip(reversed(BANDS), reversed(_STARTS), strict=True) if years >= start)
