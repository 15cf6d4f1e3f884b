"""Intervals of calibration errors hold the truth where bins are many, few, or one, and films are independent or not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from calibration import error, measures
from calibration.gaps import Candidates, Gaps
from calibration.inversion import inverted_interval
from calibration.simulated_outcomes import Luck, Ordered
from calibration.validation import CalibrationError, softmax
from tests.benchmarks.calibration_coverage import POPULATIONS, measure

SAMPLES, DRAWS = 120, 150
COHORTS, ALLOWED = 80, 0.035
MOST = int(binom.isf(5e-4, COHORTS, ALLOWED))
"""Cohorts that miss on one side, more than which happen once in two thousand where what is allowed is true."""


# With 120 samples and a coverage of 0.95, fewer than 0.88 happens once in two thousand.
@pytest.mark.parametrize(
    ("temperature", "n", "binning"),
    [(1.0, 148, "equal-width"), (1.0, 624, "equal-width"), (1.0, 624, "equal-mass"), (1.0, 300, "smooth"),
     (2.0, 200, "equal-width"), (2.0, 624, "equal-mass"), (4.0, 300, "smooth"), (0.5, 300, "equal-width")],
)  # fmt: skip
def test_inverted_interval_covers(drawn, temperature, n, binning):
    big, labels = drawn(60_000, temperature, seed=9)
    p = softmax(big)
    truth = 0.0 if temperature == 1 else error.ece(p, labels, bins=40)
    if temperature != 1 and binning != "smooth":
        truth = error.ece(p, labels, binning=binning)

    hits = 0
    for seed in range(SAMPLES):
        z, y = drawn(n, temperature, seed=seed + 1000)
        found = inverted_interval(softmax(z), y, binning=binning, draws=DRAWS)
        hits += found.low <= truth <= found.high
    assert hits / SAMPLES >= 0.88


@pytest.mark.parametrize("most", [1, 9])
@pytest.mark.parametrize(
    "name", ["one bin, .70 for .75", "two bins, .90 for .85", "spread, calibrated", "spread, off by .15"]
)
def test_errors_to_either_side_stay_within_what_is_allowed(name, most):
    _, low, high, _ = measure(POPULATIONS[name], 60, COHORTS, most=most, draws=DRAWS)
    assert max(low, high) * COHORTS <= MOST, (low, high)


def test_a_true_error_of_three_points_is_not_taken_for_less_than_two():
    """Of cohorts of 156, where .05 to .12 of the intervals of resamples within class lay below two points."""
    assert measure(POPULATIONS["two bins, .90 for .87"], 156, COHORTS, draws=DRAWS)[3] == 0


def test_a_truth_elsewhere_is_missed():
    """Twice the error seen is not what an interval holds."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(40):
        p, labels, _ = POPULATIONS["spread, off by .15"].cohort(rng, 624, 1)
        found = inverted_interval(p, labels, draws=DRAWS)
        hits += found.low <= 0.30 <= found.high
    assert hits == 0


def test_one_confidence_on_every_film_is_as_unsure_as_the_share_it_is_held_against():
    """Within the classes nothing varies: the call is the same for all. The ends are those of the exact binomial."""
    p, labels = np.tile([0.6652, 0.3348], (72, 1)), np.repeat([0, 1], [48, 24])
    found = inverted_interval(p, labels)
    exact = binomtest(48, 72).proportion_ci()
    assert found.low == 0
    assert found.high == pytest.approx(max(0.6652 - exact.low, exact.high - 0.6652), abs=0.003)
    name = "ece/top-label/15/equal-width"
    weights = np.ones((200, 72))  # what resamples within the classes come to
    beside = measures.measured((name,), np.log(p), labels, groups=np.arange(72), weights=weights, draws=0)[name]
    assert beside.interval.high > 0.1


@pytest.mark.parametrize("view", ["top-label", "class-1", "class-wise"])
@pytest.mark.parametrize("binning", ["equal-width", "equal-mass", "array-split", "smooth"])
def test_an_interval_is_the_same_again_and_lies_within_its_range(drawn, view, binning):
    z, y = drawn(90, 2.0)
    groups = np.arange(90) // 2
    one, again = (
        inverted_interval(softmax(z), y, groups=groups, view=view, binning=binning, draws=200) for _ in range(2)
    )
    assert one == again
    assert 0 <= one.low <= one.high <= 1


def test_interval_over_patients_is_wider_than_over_films(drawn):
    z, y = drawn(100, 2.0)
    z, y, groups = np.repeat(z, 5, axis=0), np.repeat(y, 5), np.repeat(np.arange(100), 5)
    by_patient = inverted_interval(softmax(z), y, groups=groups, draws=500)
    by_film = inverted_interval(softmax(z), y, draws=500)
    assert by_patient.high - by_patient.low > 1.4 * (by_film.high - by_film.low)


def test_corrected_error_is_smaller_and_near_the_truth(drawn):
    z, y = drawn(400, seed=2)
    found = inverted_interval(softmax(z), y, draws=400)
    assert found.low == 0
    assert found.corrected < error.ece(softmax(z), y)


@pytest.mark.parametrize("n", [12, 60, 300])
@pytest.mark.parametrize("view", ["top-label", "class-wise"])
def test_always_right_with_a_probability_of_one_is_as_sure_as_the_exact_bound(n, view):
    """No resample differs, and yet a subject that is wrong once in n films shows this every third time."""
    labels = np.arange(n) % 3
    found = inverted_interval(np.eye(3)[labels], labels, view=view, draws=200)
    assert (found.low, found.high) == (0.0, pytest.approx(binomtest(0, n).proportion_ci().high))
    paired = inverted_interval(np.eye(3)[labels], labels, groups=np.arange(n) // 2, view=view, draws=200)
    assert paired.high == pytest.approx(binomtest(0, n // 2).proportion_ci().high)


def test_sure_subjects_that_err_rarely_are_covered():
    """Confidence 1 and a wrong call now and then: the true error is how often."""
    n, rate, hits = 80, 0.02, 0
    rng = np.random.default_rng(0)
    for _ in range(SAMPLES):
        labels = (rng.random(n) < rate).astype(int)
        found = inverted_interval(np.tile([1.0, 0.0], (n, 1)), labels, draws=200)
        hits += found.low <= rate <= found.high
    assert hits / SAMPLES >= 0.88


def test_an_error_of_zero_by_luck_is_as_unsure_as_one_next_to_it():
    p, labels = np.tile([0.75, 0.25], (400, 1)), np.repeat([1, 0], [100, 300])
    exact = inverted_interval(p, labels, draws=DRAWS)
    labels[0] = 0
    near = inverted_interval(p, labels, draws=DRAWS)
    noise = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert exact.low == near.low == exact.corrected == 0
    assert exact.high == pytest.approx(noise, rel=0.3)
    assert near.high == pytest.approx(noise, rel=0.3)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"draws": 20}, "at least 100"),
        ({"binning": "by-eye"}, "unknown binning"),
        ({"view": "class-7"}, "unknown view"),
        ({"bins": 0}, "at least 1 bin"),
    ],
)
def test_bad_requests_are_named(options, what):
    with pytest.raises(CalibrationError, match=what):
        inverted_interval([[0.4, 0.6]] * 9, [1] * 9, **options)


def outcomes_of(patients, within, draws, seed, limit):
    """(n, draws) one by one: each film's own number, or that of its patient, against its limit."""
    rng = np.random.default_rng([seed, draws])
    uniform = rng.random((patients.size, draws))
    if within > 0:
        shared = rng.random((int(patients.max()) + 1, draws))[patients]
        uniform = np.where(rng.random(uniform.shape) < np.sqrt(within), shared, uniform)
    return uniform < limit[:, None]


@pytest.mark.parametrize("within", [0.0, 0.3])
@pytest.mark.parametrize(
    ("view", "binning"), [("class-1", "equal-width"), ("class-wise", "equal-mass"), ("class-2", "smooth")]
)
def test_sums_carried_from_limit_to_limit_are_those_of_all_outcomes(view, binning, within):
    """Near limits and far ones; bytes are added up, and a bin of more than 255 films must not run over."""
    rng = np.random.default_rng(0)
    z = rng.normal(0, 2, (700, 3))
    z[:400] = [0.0, 4.0, 0.1]
    patients, p = np.unique(rng.integers(0, 280, 700), return_inverse=True)[1], softmax(z)
    seen = Gaps.of(p, rng.integers(0, 3, 700), view, 15, binning)
    assert binning == "smooth" or max(rows.sum(axis=1).max() for rows in seen.rows) > 255
    candidates = Candidates(seen, Luck.draw(patients, within, 150, 3), seen.shape)
    for size in (0.3, 0.0, 0.05, 0.051, 0.9, 0.04, 0.0405):
        limits = np.cumsum(candidates._chances(size), axis=0)
        below = np.array([outcomes_of(patients, within, 150, 3, limit) for limit in limits])
        outcomes = below & ~np.concatenate([np.zeros_like(below[:1]), below[:-1]])
        expected = [
            rows @ outcome - (rows @ chance)[:, None]
            for rows, outcome, chance in zip(seen.rows, outcomes, candidates._chances(size), strict=True)
        ]
        np.testing.assert_allclose(candidates.noise(size), seen.share * np.concatenate(expected), rtol=0, atol=1e-12)


def test_numbers_below_a_limit_are_found_at_the_numbers_themselves():
    """A limit is exclusive, and those of 0 and 1 have none and all below them."""
    numbers = np.random.default_rng(0).random((4, 500))
    numbers[3] = np.repeat([0.0, 0.25, 0.5, 0.999], 125)
    found = Ordered.of(numbers)
    for column in range(0, 500, 7):
        limits = numbers[:, column]
        np.testing.assert_array_equal(found.below(limits, np.arange(4)), (numbers < limits[:, None]).sum(axis=1))
    np.testing.assert_array_equal(found.below(np.array([0.0, 1.0, 1.0, 0.25]), np.arange(4)), [0, 500, 500, 125])
