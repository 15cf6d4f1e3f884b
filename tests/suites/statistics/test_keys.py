"""Keys of many films are numbered as `np.unique` numbers them, and of a column of texts no object is made for each."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from suites.harness.statistics import keyed


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(["b", "a", "é", "b", "", "z10", "z9", "𝔸", "ﬀ"], dtype="str"),
        pd.Series(["b", None, "a"], dtype="str"),
        pd.Series([2, 10, 2]),
        np.array(["b", "a", "b"]),
        np.zeros(3),
    ],
)
def test_they_are_those_of_numpy(values):
    known, place = np.unique(np.asarray(values).astype(str), return_inverse=True)
    keys, at = keyed(values)
    assert keys.dtype == known.dtype
    np.testing.assert_array_equal(keys, known)
    np.testing.assert_array_equal(at, place)


def test_many_films_of_few_patients_take_their_places_and_no_texts():
    patients = pd.Series([f"a patient with a long name, {number % 50}" for number in range(50_000)], dtype="str")
    tracemalloc.start()
    keyed(patients)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 * len(patients)  # places are 8 bytes a film, once or twice; one text alone is more than 70
