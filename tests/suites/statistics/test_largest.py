"""The largest of several: what it says of one it says of that one; of several it is no surer than all of them allow."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suites.harness.statistics import EVENTS, Largest, Resamples, difference, rate

ALPHA = 0.025


@cache
def resamples_of(patients, seed):
    return Resamples.draw(np.arange(patients).astype(str), np.full(patients, "x"), seed=seed)


def harms(falls, patients, seed):
    """Falls of the recall of classes of so many patients: a share `falls[k]` of class k is right no longer."""
    generator = np.random.default_rng(seed)
    found = {}
    for name, fall in enumerate(falls):
        resamples = resamples_of(patients, name)
        before = np.ones(patients)
        after = (generator.random(patients) >= fall).astype(float)
        found[str(name)] = difference(rate(before, resamples), rate(after, resamples))
    return found


def test_of_one_it_says_what_that_one_says():
    (part,) = harms([0.3], 60, 1).values()
    alone = Largest({"a": part})
    assert (alone.interval(), alone.patients, alone.estimator) == (part.interval(), part.patients, part.estimator)
    assert (alone.p_above(0.1), alone.p_below(0.1)) == (part.p_above(0.1), part.p_below(0.1))


@given(st.lists(st.floats(0, 0.9), min_size=1, max_size=4), st.integers(0, 5))
@settings(max_examples=15, deadline=None)
def test_low_end_estimate_and_high_end_hold_together_with_p(falls, seed):
    parts = harms(falls, 40, seed)
    found, ends = Largest(parts), Largest(parts).interval()
    assert ends.low <= ends.estimate <= ends.high
    assert ends.estimate == max(part.estimate for part in parts.values()) == parts[found.name].estimate
    assert ends.high == max(part.interval().high for part in parts.values())
    assert ends.low <= max(part.interval().low for part in parts.values())
    for margin in (0.05, 0.1, 0.4):
        assert found.p_below(margin) == max(part.p_below(margin) for part in parts.values())
        assert found.p_above(margin) >= min(part.p_above(margin) for part in parts.values())
        if found.p_above(margin) < ALPHA / 2:
            assert ends.low > margin
        if found.p_below(margin) < ALPHA / 2:
            assert ends.high < margin


def test_looking_at_many_classes_finds_nothing_by_looking_often():
    """Of six classes that all lose exactly the margin, the largest lies surely above it in few of many cohorts."""
    alarms = uncorrected = 0
    for seed in range(60):
        parts = harms([0.3] * 6, 60, seed)
        alarms += Largest(parts).interval().low > 0.3
        uncorrected += max(part.interval().low for part in parts.values()) > 0.3
    assert alarms <= 0.07 * 60 < uncorrected


def test_one_part_with_too_few_patients_is_enough_to_settle_nothing():
    parts = harms([0.3, 0.3], 60, 0)
    assert Largest(parts).too_few == ""
    parts["1"] = replace(parts["1"], events=EVENTS - 1)
    assert "too few patients" in Largest(parts).too_few
    assert Largest(parts).patients == pytest.approx(60)
