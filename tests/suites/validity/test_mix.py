"""A hospital that differs by known perturbations is described by these, and one that does not by none."""

from __future__ import annotations

import numpy as np
import pytest

from suites.harness.validity.mix import distance, small_mix


def films(generator, n: int, shift=(0, 0, 0, 0)) -> np.ndarray:
    return generator.normal(0, 1, (n, 4)) * [1, 2, 5, 10] + np.asarray(shift) * [1, 2, 5, 10]


def test_the_perturbations_that_made_the_difference_are_found():
    generator = np.random.default_rng(0)
    home = films(generator, 400)
    changed = {
        "scatter@3": films(generator, 400, (2, 0, 0, 0)), "scatter@5": films(generator, 400, (4, 0, 0, 0)),
        "gamma_low@3": films(generator, 400, (0, 0, 3, 0)), "jpeg_quality@3": films(generator, 400, (0, -2, 0, 2)),
    }  # fmt: skip
    found = small_mix(home, films(generator, 300, (4, 0, 3, 0)), changed)
    assert set(found.conditions) == {"scatter@5", "gamma_low@3"}
    assert found.before == pytest.approx(2.5, abs=0.15)
    assert found.explained > 0.9
    twin = small_mix(home, films(generator, 300), changed)
    assert twin.conditions == ()
    assert twin.before < 0.2


def test_what_a_mix_truly_does_is_measured_on_films():
    generator = np.random.default_rng(1)
    home, away = films(generator, 400), films(generator, 400, (3, 0, 0, 0))
    assert distance(home, away, home) == pytest.approx(1.5, abs=0.15)
    assert distance(home, away, films(generator, 400, (3, 0, 0, 0))) < 0.15


def test_tables_of_other_statistics_are_refused():
    with pytest.raises(ValueError, match="measured by the same statistics"):
        small_mix(np.zeros((3, 4)), np.zeros((3, 5)), {})


def test_a_statistic_that_no_film_of_a_hospital_has_counts_for_nothing():
    generator = np.random.default_rng(2)
    home, away = films(generator, 400), films(generator, 300, (4, 0, 0, 0))
    changed = {"scatter@5": films(generator, 400, (4, 0, 0, 0))}
    away[:, 3] = np.nan  # files that are no JPEG have no tables
    found = small_mix(home, away, changed)
    assert found.conditions == ("scatter@5",)
    assert np.isnan(found.away[3])
    assert found.before == pytest.approx(4 / 3**0.5, abs=0.2)
    assert distance(home, away, changed["scatter@5"]) < 0.2
