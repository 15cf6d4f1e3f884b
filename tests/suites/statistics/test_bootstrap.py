"""The statistics recover known truth: coverage by simulation, agreement with the libraries, honesty at the edges."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from suites.harness import statistics
from suites.harness.statistics import Resamples, Sampled, difference, exact_bounds


def clustered(generator, patients=120, most=4, rate=0.8, icc=0.4):
    """Films of patients who resemble each other: a beta-binomial with intraclass correlation `icc`."""
    sizes = generator.integers(1, most + 1, patients)
    ability = generator.beta(rate * (1 - icc) / icc, (1 - rate) * (1 - icc) / icc, patients)
    keys = np.repeat(np.arange(patients), sizes)
    return keys, (generator.random(len(keys)) < ability[keys]).astype(float)


def test_wilson_matches_published_interval():
    interval = statistics.wilson(570, 624)
    assert (round(interval.low, 3), round(interval.high, 3)) == (0.889, 0.933)
    with pytest.raises(ValueError, match="successes in 0 trials"):
        statistics.wilson(0, 0)


def test_patient_bootstrap_covers_and_film_bootstrap_does_not():
    """200 simulated cohorts: 95 % intervals over patients contain the truth, those over films miss too often."""
    generator, hits, naive = np.random.default_rng(1), 0, 0
    for trial in range(200):
        keys, right = clustered(generator, icc=0.7, most=8)
        per_patient = statistics.rate(right, Resamples.draw(keys, np.zeros(len(keys)), seed=trial, count=400))
        per_film = statistics.rate(
            right, Resamples.draw(np.arange(len(keys)), np.zeros(len(keys)), seed=trial, count=400)
        )
        hits += per_patient.interval().low <= 0.8 <= per_patient.interval().high
        naive += per_film.interval().low <= 0.8 <= per_film.interval().high
    assert stats.binom.cdf(hits, 200, 0.95) > 0.001, hits
    assert naive < hits - 15, (naive, hits)


def test_paired_difference_is_narrower_than_marginals_and_has_the_right_sign():
    keys, right = clustered(np.random.default_rng(2))
    worse = right.copy()
    worse[:20] = 0
    resamples = Resamples.draw(keys, np.zeros(len(keys)), seed=0)
    before, after = statistics.rate(right, resamples), statistics.rate(worse, resamples)
    gap = difference(after, before)
    assert gap.estimate == pytest.approx(worse.mean() - right.mean())
    assert gap.interval().high < 0
    paired = gap.interval().high - gap.interval().low
    unpaired = math.hypot(*(part.interval().high - part.interval().low for part in (before, after)))
    assert paired < unpaired


def test_resamples_keep_classes_and_whole_patients():
    patients = np.array(["a", "a", "b", "c", "c", "d"])
    labels = np.array([0, 0, 0, 1, 1, 1])
    weights = Resamples.draw(patients, labels, seed=3, count=500).weights
    assert np.array_equal(weights[:, 0], weights[:, 1])
    assert (weights[:, [0, 2]].sum(axis=1) == 2).all()
    assert (weights[:, [3, 5]].sum(axis=1) == 2).all()
    assert weights.std(axis=0).min() > 0


def test_resamples_do_not_depend_on_the_order_of_films():
    patients, labels = np.array(["a", "a", "b", "c", "d"]), np.array([0, 0, 0, 1, 1])
    order = np.array([4, 2, 0, 3, 1])
    forward = Resamples.draw(patients, labels, seed=5, count=50).weights
    shuffled = Resamples.draw(patients[order], labels[order], seed=5, count=50).weights
    assert np.array_equal(forward[:, order], shuffled)


def test_nothing_flipped_is_not_certainty():
    """Zero of 20 patients: the bootstrap alone would print [0, 0]."""
    sampled = statistics.rate(np.zeros(40), Resamples.draw(np.repeat(np.arange(20), 2), np.zeros(40), seed=0))
    exact = stats.beta.ppf(0.975, 1, 20)
    assert sampled.degenerate
    assert sampled.interval().high == pytest.approx(exact)
    assert sampled.p_below(0.05) == pytest.approx(0.95**20)
    assert sampled.p_above(0.05) == 1.0


@given(st.floats(0.05, 0.95), st.integers(20, 200), st.integers(0, 2**31 - 1))
def test_p_values_agree_with_the_interval(rate, n, seed):
    values = (np.random.default_rng(seed).random(n) < rate).astype(float)
    sampled = statistics.rate(values, Resamples.draw(np.arange(n), np.zeros(n), seed=0, count=200))
    interval = sampled.interval()
    for margin in (0.25, 0.5, 0.75):
        if sampled.p_above(margin) < 0.02:
            assert interval.low >= margin - 1e-9
        if sampled.p_below(margin) < 0.02:
            assert interval.high <= margin + 1e-9


def test_recalls_and_balanced_accuracy():
    labels = np.array([0, 0, 0, 1, 1, 2])
    correct = np.array([1, 1, 0, 1, 0, np.nan])
    resamples = Resamples.draw(np.arange(6), labels, seed=0, count=100)
    recalls = statistics.class_recalls(correct, labels, 3, resamples)
    assert [round(part.estimate, 3) for part in recalls[:2]] == [0.667, 0.5]
    assert math.isnan(recalls[2].estimate)
    assert recalls[2].patients == 0
    balanced = statistics.average(recalls[:2], patients=5)
    assert balanced.estimate == pytest.approx((2 / 3 + 0.5) / 2)
    assert (balanced.patients, balanced.parts) == (5, (3, 2))


def test_where_nothing_varies_the_bound_is_that_of_the_least_favourable_rates():
    """All of 30 films right, only 5 of them of the rare class: its share of the mean may hide the most."""
    labels = np.array([0] * 25 + [1] * 5)
    resamples = Resamples.draw(np.arange(30), labels, seed=0, count=50)
    balanced = statistics.average(statistics.class_recalls(np.ones(30), labels, 2, resamples), resamples.patients)
    grid = np.linspace(0, 1, 2001)[:-1]
    often, seldom = np.meshgrid(grid, grid)
    unseen = 25 * np.log1p(-often) + 5 * np.log1p(-seldom) >= np.log(0.025)
    assert balanced.patients == 30
    assert balanced.estimator == statistics.EXACT
    assert balanced.interval().low == pytest.approx(1 - ((often + seldom) / 2)[unseen].max(), abs=1e-3)
    assert statistics.difference(balanced, balanced).parts == (25, 5)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=4), st.floats(0.001, 0.9))
def test_the_bound_of_none_and_its_chance_are_inverse(parts, chance):
    sizes = tuple(parts)
    rate = exact_bounds.largest_unseen(sizes, chance)
    assert exact_bounds.chance_of_none(sizes, rate) == pytest.approx(chance, rel=1e-6)
    assert rate <= 1 - chance ** (1 / min(sizes)) + 1e-12, "several classes say no less than the smallest alone"
    assert exact_bounds.largest_unseen((sizes[0],), chance) == pytest.approx(1 - chance ** (1 / sizes[0]))


def test_a_difference_of_two_classes_rests_on_the_patients_of_both():
    """What is printed is everybody; where nothing varies the smaller class alone is a safe bound."""
    labels = np.array([0] * 30 + [1] * 10)
    resamples = Resamples.draw(np.arange(40), labels, seed=0, count=50)
    many, few = statistics.class_recalls(np.ones(40), labels, 2, resamples)
    gap = statistics.difference(many, few, 40)
    assert (gap.patients, gap.parts) == (40, (10,))
    assert gap.interval().high == pytest.approx(exact_bounds.largest_unseen((10,), 0.025))


def test_means_over_the_same_patients_do_not_add_them_up():
    resamples = Resamples.draw(np.arange(40), np.zeros(40), seed=0, count=50)
    once = statistics.rate(np.ones(40), resamples)
    twice = statistics.average([once, once], resamples.patients)
    assert twice.parts == (40,)
    assert twice.interval() == once.interval()
    balanced = statistics.Sampled(1.0, np.ones(50), 40, strata=(30, 10))
    assert statistics.average([balanced, balanced], 40).parts == (30, 10), "the same classes under two conditions"
    assert statistics.average([balanced, once], 40).parts == (10,)


def test_one_event_is_no_more_certain_than_none():
    """Of 200 patients one flips: the bootstrap alone would end at 1.5 %, below the 1.8 % of no flip at all."""
    resamples = Resamples.draw(np.arange(200), np.zeros(200), seed=0)
    none, one = (statistics.rate(np.arange(200) < events, resamples) for events in (0, 1))
    assert one.estimator == statistics.WIDENED
    assert one.interval().high >= none.interval().high
    assert one.p_below(0.01) >= none.p_below(0.01 - one.estimate)


def test_intervals_of_rare_events_cover():
    """A true rate of 1 % among 150 patients: 1.5 events on average, where the percentile bootstrap alone does not."""
    generator = np.random.default_rng(0)
    resamples = Resamples.draw(np.arange(150), np.zeros(150), seed=0, count=500)
    covered, bare = [], []
    for _ in range(300):
        sampled = statistics.rate(generator.random(150) < 0.01, resamples)
        found = sampled.interval()
        covered.append(found.low <= 0.01 <= found.high)
        ends = np.percentile(sampled.replicates, [2.5, 97.5])
        bare.append(ends[0] <= 0.01 <= ends[1])
    assert np.mean(bare) < 0.85
    assert np.mean(covered) >= 0.95


def test_holm_and_mcnemar_match_hand_computation():
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    first = np.array([1] * 9 + [0] * 1 + [1] * 20, dtype=bool)
    second = np.array([0] * 9 + [1] * 1 + [1] * 20, dtype=bool)
    assert statistics.mcnemar_test(first, second) == pytest.approx(2 * stats.binom.cdf(1, 10, 0.5))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_agrees_with_statsmodels(values):
    assert statistics.holm(values) == pytest.approx(multipletests(values, method="holm")[1])


def test_sign_flip_sees_a_shift_and_respects_clusters():
    keys = np.repeat(np.arange(30), 3)
    assert statistics.sign_flip_test(np.ones(90), keys, seed=0) < 0.001
    balanced = np.where(keys % 2, 1.0, -1.0)
    assert statistics.sign_flip_test(balanced, keys, seed=0) > 0.5


def test_power_matches_the_planning_table():
    assert statistics.films_needed(0.10, 0.03) == pytest.approx(870, abs=5)
    assert statistics.detectable_effect(0.10, 624) == pytest.approx(0.036, abs=0.001)
    with pytest.raises(ValueError, match="zero"):
        statistics.films_needed(0.1, 0.0)


def test_page_trend_sees_order_and_not_noise():
    generator = np.random.default_rng(0)
    rising = generator.normal(size=(60, 5)) + np.arange(5) * 0.5
    assert statistics.page_trend(rising, np.arange(60)) < 1e-6
    assert statistics.page_trend(rising[:, ::-1], np.arange(60)) > 0.5


def test_replicates_without_a_class_are_ignored():
    sampled = Sampled(0.5, np.array([np.nan, *np.linspace(0.4, 0.6, 50)]), 10)
    assert 0.4 <= sampled.interval().low <= sampled.interval().high <= 0.6


def test_a_median_is_not_widened_by_a_share_of_patients():
    """Its resamples repeat values by nature: a quarter of 13 patients is no quarter of a grey level."""
    replicates = np.random.default_rng(0).choice([1.0, 2.0, 5.0], 1000, p=[0.2, 0.6, 0.2])
    median = Sampled(2.0, replicates, 13, (0.0, 255.0), averaged=False)
    ends = median.interval()
    assert (ends.low, ends.high) == (1.0, 5.0)
    assert median.estimator == statistics.BOOTSTRAP
    constant = Sampled(2.0, np.full(1000, 2.0), 13, (0.0, 255.0), averaged=False).interval()
    assert (constant.low, constant.high) == (2.0, 2.0)
    assert Sampled(0.5, np.full(1000, 0.5), 13).interval().high > 0.7


def test_where_nothing_varies_a_mean_is_bounded_by_what_a_film_can_add():
    """A set of up to 3 classes: the patients nobody saw may add 3 to it, as they add 1 to a rate."""
    constant, unseen = np.full(1000, 1.0), exact_bounds.largest_unseen((40,), 0.025)
    rate, size, brier = (Sampled(1.0, constant, 40, bounds) for bounds in ((0.0, 1.0), (0.0, 3.0), (0.0, 2.0)))
    assert rate.interval().low == pytest.approx(1 - unseen)
    assert size.interval().high == pytest.approx(1 + 3 * unseen)
    assert brier.interval().high == pytest.approx(1 + 2 * unseen)
    assert size.p_below(1 + 3 * unseen) == pytest.approx(0.025)
    changed = statistics.difference(size, size)
    assert (changed.bounds, changed.interval().high) == ((-3.0, 3.0), pytest.approx(3 * unseen))


def test_a_mean_without_bounds_that_never_varies_has_no_interval_and_settles_nothing():
    loss = Sampled(0.7, np.full(1000, 0.7), 40, (0.0, np.inf))
    ends = loss.interval()
    assert np.isnan([ends.low, ends.high]).all()
    assert loss.p_above(0.1) == loss.p_below(2.0) == 1.0


def test_what_is_no_mean_stays_none_in_a_difference_and_an_average():
    fitted = Sampled(2.0, np.full(1000, 2.0), 13, (0.02, 50.0), averaged=False)
    for made in (statistics.difference(fitted, fitted), statistics.average([fitted, fitted], 13)):
        ends = made.interval()
        assert ends.low == ends.high == made.estimate
        assert made.p_above(made.estimate - 1) == 1.0


def two_classes(generator, few, many=50, rates=(0.5, 0.8)):
    """Films in clusters of a class of few patients and of one of many: patient, class, whether called right."""
    keys, labels, right = [], [], []
    for label, patients in enumerate((few, many)):
        of, hit = clustered(generator, patients, most=3, rate=rates[label], icc=0.2)
        keys += [f"{label} {one}" for one in of]
        labels += [label] * len(of)
        right += list(hit)
    return np.array(keys), np.array(labels), np.array(right)


def balanced_of(keys, labels, right, count=400):
    resamples = Resamples.draw(keys, labels, seed=0, count=count)
    return statistics.average(statistics.class_recalls(right, labels, 2, resamples), resamples.patients)


@pytest.mark.parametrize("few", [1, 2, 5])
def test_a_mean_over_classes_is_no_surer_than_a_class_of_few_patients_is(few):
    """Resamples of one patient do not vary, those of two hardly do: the other class alone would make the interval."""
    generator = np.random.default_rng(few)
    covered, bare = [], []
    for _ in range(150):
        sampled = balanced_of(*two_classes(generator, few))
        found, without = sampled.interval(), replace(sampled, of=()).interval()
        assert found.low <= without.low <= without.high <= found.high
        covered.append(found.low <= 0.65 <= found.high)
        bare.append(without.low <= 0.65 <= without.high)
    assert np.mean(bare) < 0.93
    assert np.mean(covered) >= 0.95


def test_p_of_a_mean_over_classes_of_few_patients_is_the_inversion_of_its_interval():
    sampled = balanced_of(*two_classes(np.random.default_rng(3), 2), count=2000)
    assert sampled.estimator == statistics.THIN
    found = sampled.interval()
    # An end may be a value that several resamples share: all tails that they make have it.
    for p, outside, inside in (
        (sampled.p_above, found.low - 1e-9, found.low + 1e-9),
        (sampled.p_below, found.high + 1e-9, found.high - 1e-9),
    ):
        assert p(outside) <= 0.025 * (1 + 5e-3)
        assert p(inside) >= 0.025 * (1 - 5e-3)
        assert [p(outside), p(inside)] == pytest.approx([0.025] * 2, abs=2 / 2000)
    assert sampled.p_above(found.low - 0.05) < 0.025 < sampled.p_above(found.low + 0.05)
    fallen = difference(sampled, replace(sampled, replicates=sampled.replicates - 0.2, estimate=sampled.estimate - 0.2))
    assert len(fallen.of) == 2, "of the same classes"


def test_a_mean_over_conditions_is_no_surer_of_a_class_of_few_patients():
    keys, labels, right = two_classes(np.random.default_rng(6), 1)
    one = balanced_of(keys, labels, right)
    both = statistics.average([one, one], one.patients)
    assert (both.interval().low, both.interval().high) == pytest.approx((one.interval().low, one.interval().high))
    assert both.estimator == one.estimator == statistics.THIN


def test_a_gap_between_a_class_of_one_patient_and_another_takes_the_intervals_of_both():
    keys, labels, right = two_classes(np.random.default_rng(7), 1)
    resamples = Resamples.draw(keys, labels, seed=0, count=400)
    one, many = statistics.class_recalls(right, labels, 2, resamples)
    gap = difference(many, one, resamples.patients)
    assert gap.apart is not None
    assert gap.interval().low > -1


@pytest.mark.parametrize("count", [1, 5])
def test_a_gap_between_two_classes_of_the_same_patients_may_be_its_opposite_in_those_nobody_saw(count):
    """All of one class right, none of the other: a patient who was not seen may move that by 2, not by 1."""
    keys, labels = np.tile(np.arange(count), 2), np.repeat([0, 1], count)
    resamples = Resamples.draw(keys, labels, seed=0, count=100)
    better, worse = statistics.class_recalls(1.0 - labels, labels, 2, resamples)
    gap = difference(better, worse, resamples.patients)
    assert gap.estimate == 1.0
    assert gap.interval().low == pytest.approx(1 - 2 * (1 - 0.025 ** (1 / count)))
    assert gap.p_above(0.02) > 0.025
    assert gap.p_above(gap.interval().low) == pytest.approx(0.025)
    opposite = difference(worse, better, resamples.patients)
    assert opposite.interval().high == pytest.approx(-gap.interval().low)
    assert opposite.p_below(-gap.interval().low) == pytest.approx(0.025)


def test_where_every_class_has_thirty_patients_nothing_is_widened():
    sampled = balanced_of(*two_classes(np.random.default_rng(4), 30, rates=(0.97, 0.8)))
    assert sampled.interval() == replace(sampled, of=()).interval()


def test_of_a_single_patient_on_one_side_nothing_is_told():
    generator = np.random.default_rng(5)
    auroc = Sampled(0.2, generator.normal(0.2, 0.05, 400), 40, strata=(1,))
    found = auroc.interval()
    assert (found.low, found.high) == (0.0, 1.0)
    assert auroc.p_below(0.7) == auroc.p_above(0.1) == 1.0
    assert auroc.estimator == statistics.OF_ONE
    assert replace(auroc, strata=(2,)).interval().high < 0.4
