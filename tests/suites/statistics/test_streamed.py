"""Resamples of a large cohort, made as they are looked at: the same intervals, exact sums, no matrix of all."""

from __future__ import annotations

import tracemalloc
from functools import partial

import numpy as np
import pytest
from scipy import sparse

from calibration import ood, ranking, selective
from robustness import philox
from suites.harness import statistics
from suites.harness.statistics import Resamples, Sampled, hypothesis_tests, poisson_draws, ranked, resamples
from suites.harness.statistics.resamples import applied

FILMS = 6000


@pytest.fixture(scope="module")
def films():
    """Films of patients with one to four, a class of few, and what varies by patient."""
    generator = np.random.default_rng(0)
    patients = generator.integers(0, 4000, FILMS)
    labels = np.where(patients < 60, 3, patients % 3)
    skill = generator.beta(6, 2, 4000)[patients]
    return patients, labels, generator.random(FILMS) < skill, generator.random(FILMS)


@pytest.fixture(scope="module")
def pair(films):
    """The resamples of the films by the multinomial, and by Poisson numbers."""
    return drawn(films, dense=FILMS), drawn(films, dense=0)  # 60 patients of class 3, about 1,030 of each other


def drawn(films, dense, order=slice(None), count=1000):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resamples, "DENSE", dense)
        return Resamples.draw(films[0][order], films[1][order], seed=3, count=count)


def test_intervals_are_those_of_the_multinomial_bootstrap(films, pair):
    """Within Monte-Carlo error: spreads of two bootstraps of 1,000 differ by 3 %, one in three times."""
    _, labels, right, confidence = films
    for values in (right, confidence):
        for among in (labels >= 0, labels == 1, labels == 3):
            dense, streamed = (statistics.rate(values[among], one.subset(among)) for one in pair)
            assert streamed.estimate == dense.estimate
            assert streamed.replicates.std() == pytest.approx(dense.replicates.std(), rel=0.1)
            widths = [one.interval().high - one.interval().low for one in (dense, streamed)]
            assert widths[1] == pytest.approx(widths[0], rel=0.12)
            assert np.allclose(streamed.left_out, dense.left_out)


def test_without_strata_intervals_would_be_wider(films, pair):
    """Where classes differ and nothing else does, resamples within class leave nothing to chance."""
    sure = (films[1] == 1).astype(float)
    patients = np.sort(np.unique(films[0], return_index=True)[1])
    alone = [one.subset(np.isin(np.arange(FILMS), patients)) for one in pair]
    for one in alone:
        assert one.means(sure[patients]).std() < 1e-12


def test_sums_are_exact_and_know_no_order_of_films(films, pair):
    _, _, right, confidence = films
    order = np.random.default_rng(1).permutation(FILMS)
    other = drawn(films, dense=0, order=order)
    for values in (right, confidence, np.log(confidence)):
        assert np.array_equal(other.means(values[order]), pair[1].means(values))
        assert np.array_equal(other.left_out @ values[order], pair[1].left_out @ values)


def test_a_product_is_that_of_the_weights_themselves(films, pair):
    _, labels, right, confidence = films
    several = np.stack([right, confidence, labels], axis=1)
    beside = pair[1].subset(labels == 1).beside(pair[0].subset(labels == 2))  # a large cohort and a small probe
    for rows in (pair[1].weights, pair[1].left_out, pair[1].rows, beside.weights, beside.left_out):
        whole = rows[:]
        values = np.resize(several, (whole.shape[1], 3))
        assert whole.shape == rows.shape
        assert np.allclose(rows @ values, whole @ values, rtol=1e-6)
        assert np.allclose(rows @ sparse.csr_matrix(values == 1), whole @ (values == 1))
        assert np.array_equal(rows[30:77], whole[30:77])
        assert np.array_equal(np.concatenate(list(rows.blocks())), whole)
    assert np.allclose(pair[1].left_out[:], pair[0].left_out[:])
    assert np.isnan(pair[1].means(np.where(films[0] == 5, np.nan, 1.0))).all()


def test_a_patient_draws_its_numbers_alone(films):
    """From seed, patient and replicate: fewer resamples are the first of more, and other patients change nothing."""
    _, labels, _, _ = films
    many, few = drawn(films, dense=0).weights.draws, drawn(films, dense=0, count=50).weights.draws
    some = drawn(films, dense=0, order=np.flatnonzero(labels % 2 == 0)).weights.draws
    common = np.flatnonzero((many.stratum == 0) & np.isin(many.patients, some.patients))[:200]
    there = np.searchsorted(some.patients, many.patients[common])
    assert np.array_equal(many.numbers(common)[:, :50], few.numbers(common))
    assert np.array_equal(many.numbers(common), some.numbers(there))
    assert np.array_equal(many._drawn(common, 37, 90), many.numbers(common, 37, 90))
    key = int.from_bytes(poisson_draws._digest("resamples\x1f3\x1f", many.patients[common[0]]), "little")
    words = philox.words(key, 250).numpy().view("<u2")
    assert np.array_equal(many.numbers(common[:1])[0], poisson_draws.POISSON[words])


def test_poisson_numbers_have_mean_and_variance_one():
    numbers = poisson_draws.POISSON.astype(float)
    assert (numbers.mean(), numbers.var()) == (1.0, 1.0)
    assert (numbers == 0).mean() == pytest.approx(np.exp(-1), abs=1e-4)


def test_a_class_of_few_is_drawn_as_ever(pair):
    """Sixty Poisson numbers would not add up to sixty, and of three patients all could be missing."""
    draws = pair[1].weights.draws
    few = np.flatnonzero(draws.stratum == 3)
    assert 0 < len(few) < poisson_draws.FEW < (draws.stratum == 0).sum()
    assert (draws.numbers(few).sum(axis=0, dtype=int) == len(few) - 1).all()
    assert draws.numbers(np.flatnonzero(draws.stratum == 0)).sum(axis=0, dtype=int).std() > 20


def test_no_matrix_of_all_weights_is_ever_made():
    films = np.arange(40_000)
    values = (films % 7 == 0).astype(float)
    tracemalloc.start()
    sampled = statistics.rate(values, Resamples.draw(films, films % 3, seed=0, count=400))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(sampled.replicates) == 400
    assert peak < 115e6, "a (400, 40,000) matrix of float64 alone has 128 MB"


@pytest.mark.parametrize("statistic", [ood.auroc, ood.aupr, ood.fpr_at_tpr, selective.failure_auroc])
def test_rank_measures_in_bins_are_the_exact_ones_within_what_is_said(films, pair, statistic, monkeypatch):
    _, _, right, confidence = films
    scores = confidence + 0.3 * ~right
    exact = applied(partial(statistic, scores, ~right), pair[1].weights)
    for bins in (2048, 100):
        monkeypatch.setattr(ranking, "BINS", bins)
        counted, left_out, coarse = ranked(partial(statistic, scores, ~right), pair[1])
        assert 0 < coarse < 4 / bins
        assert np.abs(np.sort(counted) - np.sort(exact)).max() < coarse
        assert len(left_out) == len(pair[1].left_out)
    few = np.round(scores, 1)  # no more values than bins
    counted, _, _ = ranked(partial(statistic, few, ~right), pair[1])
    assert np.allclose(counted, applied(partial(statistic, few, ~right), pair[1].weights), atol=1e-12)


@pytest.mark.parametrize("name", ["aurc", "excess_aurc"])
def test_abstention_in_bins(films, pair, name):
    _, _, right, confidence = films
    scores = confidence + 0.3 * ~right

    def part(**how):
        return getattr(selective.selective(scores, ~right, risk=0.2, **how), name)

    counted, _, coarse = ranked(part, pair[1])
    assert np.abs(np.sort(counted) - np.sort(applied(part, pair[1].weights))).max() < coarse < 0.001


def test_both_ends_lie_further_out_by_what_bins_can_change():
    replicates = np.random.default_rng(0).normal(0.7, 0.01, 2000)
    plain, coarse = (Sampled(0.7, replicates, 30_000, coarse=size) for size in (0.0, 0.003))
    assert coarse.interval().low == pytest.approx(plain.interval().low - 0.003)
    assert coarse.interval().high == pytest.approx(plain.interval().high + 0.003)
    assert coarse.p_above(0.68) == pytest.approx(plain.p_above(0.683))
    assert coarse.p_below(0.72) == pytest.approx(plain.p_below(0.717))
    assert "both ends 0.003 further out" in coarse.estimator
    assert statistics.difference(coarse, coarse).coarse == 0.006


def test_signs_are_flipped_in_blocks_without_changing_the_test(monkeypatch):
    generator = np.random.default_rng(0)
    differences, patients = generator.integers(-1, 2, 900) + (generator.random(900) < 0.02), np.arange(900) // 2
    whole = statistics.sign_flip_test(differences, patients, seed=1, flips=2000)
    monkeypatch.setattr(hypothesis_tests, "AT_ONCE", 1000)
    assert statistics.sign_flip_test(differences, patients, seed=1, flips=2000) == whole
    assert 0.001 < whole < 0.999


def test_bins_of_more_resamples_take_no_more_memory(films):
    """They are counted some resamples at a time: all of 2,000 at once would take four times what 500 take."""
    peaks = []
    for count in (500, 2000):
        weights = drawn(films, dense=0, count=count).weights
        assert weights.draws.scale.shape[1] == count  # and so they are drawn
        tracemalloc.start()
        ood.auroc(films[3], films[2], weights=weights)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_numbers_of_any_resamples_are_those_of_all(films):
    """They are kept two in a byte, and of a class of few patients there may be more than half a byte holds."""
    draws = drawn(films, dense=0, count=301).weights.draws
    patients = np.arange(0, len(draws.patients), 7)
    everything = draws.numbers(patients)
    assert everything.shape == (len(patients), 301)
    for start, stop in ((0, 1), (3, 150), (149, 153), (151, 301), (300, 301), (10, 10)):
        assert np.array_equal(draws.numbers(patients, start, stop), everything[:, start:stop])


def test_sums_in_bins_are_the_same_in_any_parts_and_what_was_forgotten_is_drawn_again(films, pair):
    bins = np.random.default_rng(5).integers(0, 40, FILMS)
    values = sparse.csr_matrix((np.ones(FILMS), (np.arange(FILMS), bins)), shape=(FILMS, 40))
    for rows in (pair[1].weights, pair[1].left_out):
        whole = rows @ values
        np.testing.assert_array_equal(whole, rows @ values.toarray())
        for parts in (7, 32, len(rows)):
            np.testing.assert_array_equal(np.concatenate(list(rows.in_parts(values, parts))), whole)
    kept = pair[1].weights.draws.__dict__
    before = pair[1].weights[3:9]
    assert "_kept" in kept
    statistics.forget()
    assert "_kept" not in kept
    np.testing.assert_array_equal(pair[1].weights[3:9], before)
