"""Intervals hold what they promise on clustered patients: the short form of `tests/benchmarks/interval_coverage.py`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from suites.harness import statistics
from suites.harness.statistics.resamples import LEFT_OUT, Resamples
from tests.benchmarks import interval_coverage

COHORTS = 120
ALLOWED = 0.035
FEW = 24


@pytest.fixture(scope="module")
def truth():
    return interval_coverage.truths(20_000, 6)


@pytest.fixture(scope="module", params=[FEW, 60])
def shares(request, truth):
    return interval_coverage.measure(request.param, COHORTS, truth, count=600)


def most(share: float) -> int:
    """Cohorts that miss on one side, more than which happen once in two thousand where this share is true."""
    return int(stats.binom.isf(5e-4, COHORTS, share))


def test_one_sided_errors_stay_within_what_is_allowed(shares):
    for name, (cover, low, high, _) in shares.items():
        assert max(low, high) * COHORTS <= most(ALLOWED), (name, low, high)
        assert (1 - cover) * COHORTS <= most(0.06), (name, cover)


@pytest.fixture(scope="module")
def population():
    return interval_coverage.Population.drawn(20_000, 6)


def test_intervals_made_in_another_way_hold_too(population):
    beside = interval_coverage.measure_beside(156, COHORTS, population)
    assert set(beside) == {"ECE", "calibration slope", "coverage of sets, clean", "coverage of sets, changed"}
    for name, (cover, low, high, few) in beside.items():
        assert max(low, high) * COHORTS <= most(ALLOWED), (name, low, high)
        assert (1 - cover) * COHORTS <= most(0.06), (name, cover)
        assert few < 0.1, name


def test_a_truth_elsewhere_is_missed(population):
    """An error that is twice as large and a slope of 1 are not what these intervals hold."""
    elsewhere = replace(population, error=2 * population.error, slope=1.0)
    beside = interval_coverage.measure_beside(156, 40, elsewhere)
    for name in ("ECE", "calibration slope"):
        assert beside[name][2] > ALLOWED + 0.1, (name, beside[name])


def test_the_population_is_known_better_than_the_largest_cohort_knows_it(truth):
    """Two halves of its cohorts agree to a tenth of the standard error of 156 patients (.023 for the accuracy)."""
    other = interval_coverage.truths(20_000, 3)
    assert other["accuracy"] == pytest.approx(truth["accuracy"], abs=0.0023)


def test_the_percentile_interval_misses_and_is_seen_to(truth):
    def percentile(sampled):
        return tuple(np.nanpercentile(sampled.replicates, [2.5, 97.5]))

    missed = interval_coverage.measure(FEW, COHORTS, truth, percentile, count=600)
    for name in ("temperature", "failure AUROC"):
        assert missed[name][1:3].max() * COHORTS > most(ALLOWED), (name, missed[name])


def test_few_patients_are_said_to_be_few(shares):
    assert shares["temperature"][3] > 0.1
    assert shares["accuracy"][3] == 0


def test_a_section_at_its_margins_is_rarely_settled(truth):
    sections = 60
    wrong = interval_coverage.sections_with_an_error(60, sections, truth)
    assert stats.binom.sf(wrong * sections - 1, sections, 0.05) > 5e-4, wrong


def test_left_out_patients_add_up_to_the_unbiased_variance():
    """Of a mean, within class; a patient without a film among those that count changes nothing."""
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], [12, 5])
    values = generator.normal(size=17)
    resamples = Resamples.draw(np.arange(17), labels, seed=0, count=20_000)
    expected = sum((count / 17) ** 2 * values[labels == one].var(ddof=1) / count for one, count in ((0, 12), (1, 5)))
    sampled = statistics.rate(values, resamples, (-np.inf, np.inf))
    assert ((sampled.left_out - values.mean()) ** 2).sum() == pytest.approx(expected)
    assert sampled.replicates.var() == pytest.approx(expected, rel=0.05)
    first = resamples.subset(labels == 0)
    assert np.ptp(first.left_out[12:]) == 0
    assert (resamples.left_out >= 0).all()


def test_many_patients_are_left_out_in_groups_of_one_class():
    labels = np.arange(3000) % 3
    values = np.random.default_rng(0).normal(size=3000)
    resamples = Resamples.draw(np.arange(3000), labels, seed=0, count=5)
    assert len(resamples.left_out) <= LEFT_OUT + 3
    sampled = statistics.rate(values, resamples, (-np.inf, np.inf))
    assert ((sampled.left_out - values.mean()) ** 2).sum() == pytest.approx(values.var() / 3000, rel=0.25)


def test_two_cohorts_are_left_out_one_after_the_other():
    one, other = (Resamples.draw(np.arange(n), np.zeros(n), seed=n, count=50) for n in (4, 6))
    both = one.beside(other)
    assert both.left_out.shape == (10, 10)
    assert (both.left_out[:4, 4:] == 1).all()
    assert (both.left_out[4:, :4] == 1).all()
    twice = one.beside(one)
    assert np.array_equal(twice.left_out[:, :4], twice.left_out[:, 4:])
