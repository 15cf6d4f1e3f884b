"""Sex and age: every spelling that tables and headers have, and what tells nothing."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from suites.harness.cohorts.patient_facts import BANDS, age_band, age_in_years, published_facts, sex_of


@pytest.mark.parametrize(
    ("sex", "spellings"),
    [
        ("male", ["M", "m", "male", "Male ", "MALE", "1", 1, 1.0, "1.0", "Mann", "männlich", "ma\u0308nnlich"]),
        ("female", ["F", "female", "FEMALE", "2", 2, np.int64(2), "Frau", "weiblich", "w", "Femme"]),
        ("other", ["O", "other", "divers", "non-binary"]),
        ("", ["", " ", None, math.nan, "nan", "U", "unknown", "0", 0, 9, -1, "999", True, "M/F", "10", "n/a"]),
    ],
)
def test_sex_is_one_word_however_it_is_spelt(sex, spellings):
    assert {spelling: sex_of(spelling) for spelling in spellings} == dict.fromkeys(spellings, sex)


@pytest.mark.parametrize(
    ("given", "years"),
    [
        ("058Y", 58), ("58", 58), ("58.0", 58), (58, 58), (58.0, 58), (np.float32(58), 58), ("58,5", 58.5),
        ("58 years", 58), ("58 yrs.", 58), ("5 Jahre", 5), ("006M", 0.5), ("6 months", 0.5), ("018m", 1.5), ("000Y", 0),
        ("90+", 90), (">89", 89), (16.851933084091, 16.851933084091), ("3.14159265358979", 3.14159265358979),
        (np.float64(1e-3), 1e-3), ("120Y", 120),
    ],
)  # fmt: skip
def test_an_age_is_in_years(given, years):
    assert age_in_years(given) == pytest.approx(years)


def test_weeks_and_days_are_parts_of_a_year():
    assert age_in_years("026W") == pytest.approx(26 * 7 / 365.25)
    assert age_in_years("003D") == pytest.approx(3 / 365.25)


@pytest.mark.parametrize(
    "given", ["", " ", None, math.nan, math.inf, "nan", -1, "-1", -1.0, 999, "999", "999Y", 411, "unknown", "adult",
              "12-15", "58 kg", "1e3", True, "5" * 5000],
)  # fmt: skip
def test_what_is_no_age_stays_unrecorded(given):
    assert math.isnan(age_in_years(given))
    assert age_band(age_in_years(given)) == ""


def test_every_age_lies_in_one_band():
    assert [age_band(years) for years in (0, 0.99, 1, 5.99, 6, 17.9, 18, 64.9, 65, 110)] == [
        band for band in BANDS for _ in range(2)
    ]


def test_a_report_tells_bands_of_ages_and_no_age():
    table = pd.DataFrame({"view": ["AP", ""], "sex": ["M", "?"], "age": ["61", ""], "scanner": ["GE", None]})
    told = published_facts(table)
    assert told.to_dict("list") == {
        "sex": ["male", ""], "age_band": ["18-64", ""], "site": ["", ""], "scanner": ["GE", ""],
        "projection": ["frontal", ""],
    }  # fmt: skip


def test_a_cohort_made_in_python_may_leave_cells_empty_in_any_way():
    table = pd.DataFrame({"view": ["AP", None, np.nan], "sex": [None, np.nan, pd.NA], "age": [None, pd.NA, np.nan]})
    told = published_facts(table)
    assert told["projection"].tolist() == ["frontal", "", ""]
    assert (told[["sex", "age_band", "site", "scanner"]] == "").all(axis=None)
