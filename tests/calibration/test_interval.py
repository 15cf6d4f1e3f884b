"""Intervals and null bands hold what they promise, and the methods known to fail are seen to fail."""

from __future__ import annotations

import numpy as np
import pytest

from calibration import error, measures, scaling, scoring
from calibration.interval import interval
from calibration.null_band import calibrated_samples, patient_correlation, simulated_labels
from calibration.validation import CalibrationError, ReplicateError, softmax

SAMPLES, RESAMPLES = 120, 300


def covered(drawn, bootstrap, truth, find, *, n, temperature=1.0):
    """Share of simulated samples whose interval holds the truth."""
    weights = bootstrap(np.arange(n), RESAMPLES)
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(SAMPLES):
        z, y = drawn(n, temperature, seed=seed + 1000)
        found = find(z, y, weights[:, rng.permutation(n)])
        hits += found.low <= truth <= found.high
    return hits / SAMPLES


def test_percentile_and_basic_intervals_of_a_plain_error_do_not_cover(drawn, bootstrap):
    """Why a test is inverted (`calibration.inversion`): a calibrated subject, whose true error is 0."""
    for method, most in (("percentile", 0.05), ("basic", 0.8)):

        def find(z, y, w, method=method):
            p = softmax(z)
            return interval(error.ece(p, y), error.ece(p, y, weights=w), method)

        assert covered(drawn, bootstrap, 0.0, find, n=200) <= most


@pytest.mark.parametrize(
    "name", ["temperature", "slope/class-1", "brier", "nll", "debiased-l2/top-label/15/equal-mass"]
)
def test_percentile_interval_covers_for_the_others(drawn, bootstrap, name):
    big, labels = drawn(60_000, 2.0, seed=9)
    truth = 2.0 if name == "temperature" else float(measures.estimate(name, big, labels))

    def find(z, y, w):
        return interval(measures.estimate(name, z, y), measures.estimate(name, z, y, weights=w))

    assert covered(drawn, bootstrap, truth, find, n=300, temperature=2.0) >= 0.88


@pytest.mark.parametrize(
    ("n", "width_mean", "mass_mean", "mass_upper"),
    [
        (148, 0.049, 0.051, 0.073),
        (234, 0.039, 0.042, 0.060),
        (624, 0.025, 0.026, 0.038),
        (2000, 0.014, 0.015, 0.021),
        (10_000, 0.006, 0.007, 0.010),
    ],
)
def test_null_band_reproduces_the_known_floor(n, width_mean, mass_mean, mass_upper):
    """Floor of the ECE for confidences averaging .91: simulated independently, 400 samples, 15 bins."""
    rng = np.random.default_rng(1)
    confidence = 1 / 3 + 2 / 3 * rng.beta(2.5, 0.4, n)
    p = np.stack([confidence, (1 - confidence) / 2, (1 - confidence) / 2], axis=1)
    assert confidence.mean() == pytest.approx(0.91, abs=0.012)
    samples = calibrated_samples(p, draws=400 if n < 5000 else 60)
    width = samples.band(lambda q, y, w, g: error.ece(q, y, weights=w))
    mass = samples.band(lambda q, y, w, g: error.ece(q, y, weights=w, binning="equal-mass"))
    assert width.mean == pytest.approx(width_mean, rel=0.1)
    assert mass.mean == pytest.approx(mass_mean, rel=0.1)
    assert mass.upper == pytest.approx(mass_upper, rel=0.1)
    debiased = samples.band(lambda q, y, w, g: error.debiased_l2(q, y, weights=w, groups=g))
    assert debiased.median < 0  # most calibrated samples score below zero, as in the table


def test_null_band_holds_calibrated_subjects_and_not_others(drawn):
    def estimator(p, y, w, g):
        return error.ece(p, y, weights=w)

    above = 0
    for seed in range(100):
        z, y = drawn(200, seed=seed)
        above += (
            calibrated_samples(softmax(z), draws=200, seed=seed).band(estimator).exceeded_by(error.ece(softmax(z), y))
        )
    assert above <= 12  # 5 expected; 13 or more once in a thousand
    z, y = drawn(624, 2.0)
    band = calibrated_samples(softmax(z)).band(estimator)
    assert band.exceeded_by(error.ece(softmax(z), y))
    assert band.p_value(error.ece(softmax(z), y)) == pytest.approx(1 / 501)


def test_null_band_of_any_estimator_equals_simulating_labels_one_by_one(drawn):
    z, _ = drawn(150)
    p, patients = softmax(z), np.arange(150) // 3
    labels = simulated_labels(p, patients, within=0.4, draws=30, seed=7)
    samples = calibrated_samples(p, groups=patients, within=0.4, draws=30, seed=7)
    band = samples.band(lambda q, y, w, g: scoring.brier(q, y, weights=w))
    np.testing.assert_allclose(band.draws, [scoring.brier(p, y) for y in labels], atol=1e-12)
    keyed = samples.band(lambda q, y, w, g: error.debiased_l2(q, y, weights=w, groups=g, binning="equal-width"))
    one_by_one = [error.debiased_l2(p, y, groups=patients, binning="equal-width") for y in labels]
    np.testing.assert_allclose(keyed.draws, one_by_one, atol=1e-12)


def test_patients_widen_the_band_by_their_correlation(drawn):
    z, _ = drawn(120)
    p, patients = np.repeat(softmax(z), 4, axis=0), np.repeat(np.arange(120), 4)

    def upper(within):
        samples = calibrated_samples(p, groups=patients, within=within)
        return samples.band(lambda q, y, w, g: error.ece(q, y, weights=w)).upper

    assert upper(0.0) < upper(0.5) < upper(1.0)
    for within in (0.0, 0.3, 0.8):
        labels = simulated_labels(p, patients, within=within, draws=60, seed=3)
        found = [patient_correlation(p, y, patients) for y in labels]
        assert np.mean(found) == pytest.approx(within, abs=0.06)


def test_measured_brings_everything_that_belongs_beside_a_number(drawn, bootstrap):
    z, y = drawn(300, 2.0)
    groups = np.arange(300) // 2
    found = measures.measured(measures.STANDARD, z, y, groups=groups, weights=bootstrap(groups, 200), draws=50)
    assert list(found) == list(measures.STANDARD)
    for name, one in found.items():
        assert (one.films, one.patients, one.name) == (300, 150, name)
        assert (one.band is None) == (name.split("/")[0] in {"brier", "nll", "slope", "intercept", "temperature"})
        assert (one.interval is None) == (name.split("/")[0] in {"mce", "ace"})
        if one.interval is not None:
            assert one.interval.low <= one.interval.high
    assert found["temperature"].interval.low > 1
    again = measures.measured(measures.STANDARD, z, y, groups=groups, weights=bootstrap(groups, 200), draws=50)
    assert repr(again) == repr(found)


def test_replicates_without_any_spread_give_no_interval():
    with pytest.raises(ReplicateError, match="the same value"):
        interval(0.0, np.zeros(200), "accelerated")


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: interval(0.1, np.zeros(50)), "at least 100"),
        (lambda: interval(0.1, np.r_[np.zeros(150), np.full(5, np.nan)]), "too small"),
        (lambda: interval(0.1, np.zeros(200), "bca"), "unknown method"),
        (lambda: measures.estimate("ece", [[0.0, 1.0]], [1]), "spell it like"),
        (lambda: measures.estimate("ece/top-label/many/equal-width", [[0.0, 1.0]], [1]), "whole number"),
        (lambda: measures.estimate("auc", [[0.0, 1.0]], [1]), "unknown measure"),
        (lambda: calibrated_samples([[0.4, 0.6]], within=1.5), "correlation"),
        (lambda: calibrated_samples([[0.4, 0.6]], draws=5), "at least 20"),
    ],
)
def test_bad_requests_are_named(call, what):
    with pytest.raises(CalibrationError, match=what):
        call()


def test_missing_replicates_are_an_error_of_their_own():
    with pytest.raises(ReplicateError):
        interval(1.0, np.full(200, np.nan))


def test_resampled_temperatures_match_single_fits(drawn, bootstrap):
    for temperature in (0.3, 1.0, 6.0):
        z, y = drawn(150, temperature)
        weights = bootstrap(np.arange(150), 40)
        exact = [scaling.temperature(z, y, weights=w) for w in weights]
        np.testing.assert_allclose(scaling.temperature(z, y, weights=weights), exact, rtol=2e-5)
