"""The accelerated interval is scipy's where patients are many, wider where few decide, and inverted by its p values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from calibration.accelerated import Accelerated


def of_a_mean(values, generator, count=4000):
    """A mean of independent values with its resamples and jackknife, scaled as `left_out` asks."""
    n = len(values)
    drawn = values[generator.integers(0, n, (count, n))].mean(axis=1)
    left_out = values.mean() - (values - values.mean()) / math.sqrt(n * (n - 1))
    return drawn, left_out


def test_agrees_with_scipy_where_only_bias_and_acceleration_count():
    generator = np.random.default_rng(0)
    values = generator.exponential(size=80)
    drawn, left_out = of_a_mean(values, generator)
    ours = Accelerated.of(values.mean(), drawn, left_out, len(values))
    many = Accelerated(ours.estimate, ours.ordered, ours.bias, ours.acceleration, math.inf)
    made = stats.bootstrap((values,), np.mean, n_resamples=10, method="BCa", rng=1)
    made.bootstrap_distribution = drawn
    theirs = stats.bootstrap((values,), np.mean, n_resamples=0, bootstrap_result=made, method="BCa").confidence_interval
    assert (many.end(0.025), many.end(0.975)) == pytest.approx((theirs.low, theirs.high), rel=2e-3)
    assert ours.end(0.975) > many.end(0.975)


@given(st.integers(8, 60), st.floats(0.001, 0.4), st.integers(0, 2**31 - 1))
def test_p_values_are_the_inversion_of_the_interval(n, chance, seed):
    generator = np.random.default_rng(seed)
    values = generator.lognormal(size=n)
    drawn, left_out = of_a_mean(values, generator, 1000)
    found = Accelerated.of(values.mean(), drawn, left_out, n)
    assert found.p_above(found.end(chance)) == pytest.approx(chance, rel=0.25, abs=5e-3)
    assert found.p_below(found.end(1 - chance)) == pytest.approx(chance, rel=0.25, abs=5e-3)


def test_a_number_that_few_patients_decide_has_the_freedom_of_few():
    even, one = np.r_[np.zeros(50), np.ones(50)], np.r_[np.zeros(99), 1.0]
    generator = np.random.default_rng(0)
    many, few = (Accelerated.of(values.mean(), *of_a_mean(values, generator), 100) for values in (even, one))
    assert many.freedom == 99
    assert few.freedom < 2.1
    assert few.acceleration > 0.15
    assert abs(many.acceleration) < 1e-9


@pytest.mark.parametrize("events", [1, 2, 3])
def test_few_events_reach_as_far_as_the_exact_bound_and_no_further(events):
    """Student's t of one event alone would draw its interval out over three times as far."""
    values = np.r_[np.ones(events), np.zeros(100 - events)]
    found = Accelerated.of(values.mean(), *of_a_mean(values, np.random.default_rng(0), 2000), 100)
    exact = stats.binomtest(events, 100).proportion_ci(0.95, method="exact").high
    assert found.end(0.975) == pytest.approx(exact, rel=0.03)
    assert found.p_below(found.end(0.975)) == pytest.approx(0.025, rel=0.01)
