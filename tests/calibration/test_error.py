"""Calibration errors: known truth, other libraries, invariances, and the five numbers called ECE."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from calibration import error, measures, netcal_beside, regression, scoring, selective, smooth
from calibration.binning import sort_into_bins
from calibration.ood import aupr, auroc, fpr_at_tpr
from calibration.validation import checked_probabilities, softmax


def population_gap(p: np.ndarray, true: np.ndarray) -> float:
    """ECE of an infinite sample: mean over bins of |mean true probability of the winner - mean confidence|."""
    top = p.argmax(axis=1)
    rows = np.arange(len(p))
    gap = true[rows, top] - p[rows, top]
    cell = np.minimum((p[rows, top] * 15).astype(int), 14)
    return float(np.abs(np.bincount(cell, gap)).sum() / len(p))


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 4.0])
def test_errors_recover_the_truth(drawn, classes, temperature):
    z, y = drawn(10_000, temperature, classes=classes)
    p, true = softmax(z), softmax(z / temperature)
    truth = population_gap(p, true)
    assert error.ece(p, y) == pytest.approx(truth, abs=0.015)
    assert smooth.smooth_ece(p, y) == pytest.approx(truth, abs=0.02)
    top = p.argmax(axis=1)
    squared = np.mean((true - p)[np.arange(len(p)), top] ** 2)
    assert error.debiased_l2(p, y, bins=30) == pytest.approx(squared, abs=max(0.002, 0.12 * squared))


def test_debiased_error_is_zero_on_average_where_the_plain_one_is_not(drawn):
    values = [error.debiased_l2(softmax(z), y) for z, y in (drawn(200, seed=s) for s in range(300))]
    plain = [error.ece(softmax(z), y) for z, y in (drawn(200, seed=s) for s in range(50))]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values)) + 1e-4
    assert min(values) < 0 < max(values)
    assert np.mean(plain) > 0.04


def test_debiased_error_takes_patients_into_account(drawn):
    """Ten identical films per patient: without the key their shared luck looks like miscalibration."""
    naive, keyed = [], []
    for seed in range(100):
        z, y = drawn(60, seed=seed)
        p, labels, groups = np.repeat(softmax(z), 10, axis=0), np.repeat(y, 10), np.repeat(np.arange(60), 10)
        naive.append(error.debiased_l2(p, labels, bins=5))
        keyed.append(error.debiased_l2(p, labels, bins=5, groups=groups))
    assert np.mean(naive) > 0.005
    assert abs(np.mean(keyed)) < 3 * np.std(keyed) / 10 + 5e-4


def test_debiased_error_is_the_published_correction_for_single_films():
    """Broecker 2012 / Ferro & Fricker 2012 in one bin, with the variance of the residual for that of the outcome."""
    rng = np.random.default_rng(0)
    confidence = np.full(50, 0.8)
    outcome = (rng.random(50) < 0.6).astype(int)
    p = np.stack([1 - confidence, confidence], axis=1)
    rate = outcome.mean()
    published = (rate - 0.8) ** 2 - rate * (1 - rate) / (50 - 1)
    assert error.debiased_l2(p, outcome, view="class-1", bins=1) == pytest.approx(published, abs=1e-12)


def split_by_numpy(p, y, bins=15):
    """Confidence and outcome of the winner, cut by numpy.array_split: a list of (confidence, outcome) arrays."""
    p = checked_probabilities(p)  # rows divided by their sum once more: the last bit decides between equal confidences
    confidence, hit = p.max(axis=1), (p.argmax(axis=1) == y).astype(float)
    order = np.argsort(confidence, kind="stable")
    return [(confidence[part], hit[part]) for part in np.array_split(order, bins)]


@pytest.mark.parametrize("n", [9, 156, 624, 630])
def test_array_split_is_numpys_and_equal_mass_is_not(drawn, bootstrap, n):
    z, y = drawn(n, 1.0)  # calibrated: gaps of both signs, which other edges mix otherwise
    p = softmax(np.round(z, 0 if n == 624 else 9))  # with ties the two conventions must part
    direct = sum(len(c) / n * abs(h.mean() - c.mean()) for c, h in split_by_numpy(p, y) if len(c))
    assert error.ece(p, y, binning="array-split") == pytest.approx(direct, abs=1e-14)
    if n == 624:
        assert abs(error.ece(p, y, binning="equal-mass") - direct) > 1e-4
    inside = (np.arange(n) % 3 > 0).astype(float)  # left-out films: as if they were not there
    kept = inside > 0
    assert error.ece(p, y, binning="array-split", weights=np.stack([inside, np.ones(n)])) == pytest.approx(
        np.array([error.ece(p[kept], y[kept], binning="array-split"), direct]), abs=1e-14
    )


def test_debiased_errors_are_the_u_statistic_and_kumars(drawn):
    """Each against its own definition, bin by bin, from the same numpy.array_split; they are two numbers."""
    z, y = drawn(624, 2.0)
    p, groups = softmax(z), np.arange(624)
    u = kumar = 0.0
    for confidence, hit in split_by_numpy(p, y):
        r, n = hit - confidence, len(hit)
        u += n / 624 * sum(r[i] * r[j] for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
        kumar += n / 624 * ((hit.mean() - confidence.mean()) ** 2 - hit.mean() * (1 - hit.mean()) / (n - 1))
    found = error.debiased_l2(p, y, binning="array-split", groups=groups)
    assert found == pytest.approx(u, abs=1e-14)
    assert error.kumar_l2(p, y) == pytest.approx(kumar, abs=1e-14)
    assert measures.estimate("kumar-l2/top-label/15/array-split", z, y) == error.kumar_l2(p, y)
    assert 1e-6 < abs(u - kumar) < 1e-3


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_agrees_with_netcal_and_torchmetrics(drawn, classes):
    z, y = drawn(624, 2.0, classes=classes)
    p = softmax(z)
    theirs = netcal_beside.netcal_errors(p, y)
    assert error.ece(p, y) == pytest.approx(theirs.ece, abs=1e-12)
    assert error.mce(p, y) == pytest.approx(theirs.mce, abs=1e-12)
    assert error.ace(p, y) == pytest.approx(theirs.ace, abs=1e-12)
    metrics = multiclass_calibration_error(torch.tensor(p), torch.tensor(y), num_classes=classes, n_bins=15)
    assert error.ece(p, y) == pytest.approx(float(metrics), abs=1e-6)
    worst = multiclass_calibration_error(torch.tensor(p), torch.tensor(y), num_classes=classes, n_bins=15, norm="max")
    assert error.mce(p, y) == pytest.approx(float(worst), abs=1e-6)


def test_five_conventions_give_five_numbers_and_each_has_a_name(drawn):
    z, y = drawn(624, 1.6, classes=2, seed=3)
    names = (
        "ece/top-label/15/equal-width",
        "ece/class-1/15/equal-width",
        "ece/top-label/15/equal-mass",
        "ece/class-1/14/equal-width",
        "smooth-ece/class-1",
    )
    values = {name: measures.estimate(name, z, y) for name in names}
    assert len({round(v, 4) for v in values.values()}) == 5
    p = softmax(z)
    binary = binary_calibration_error(torch.tensor(p[:, 1]), torch.tensor(y), n_bins=15)
    assert values["ece/class-1/15/equal-width"] == pytest.approx(float(binary), abs=1e-6)


def test_smooth_ece_is_the_direct_sum():
    """Residuals smoothed by a Gaussian with its mirror images, integrated on a fine grid, bandwidth by bisection."""
    rng = np.random.default_rng(5)
    confidence = rng.uniform(0.34, 1, 150)
    outcome = (rng.random(150) < confidence - 0.1).astype(int)
    p = np.stack([1 - confidence, confidence], axis=1)
    grid = (np.arange(2000) + 0.5) / 2000

    def direct(s: float) -> float:
        mirrors = [confidence + 2 * k for k in range(-2, 3)] + [-confidence + 2 * k for k in range(-2, 3)]
        kernel = sum(np.exp(-0.5 * ((grid[:, None] - m) / s) ** 2) for m in mirrors) / (s * np.sqrt(2 * np.pi))
        return float(np.abs(kernel @ (outcome - confidence)).mean() / 150)

    low, high = 0.001, 1.0
    for _ in range(30):
        low, high = (m, high) if direct(m := (low + high) / 2) > m else (low, m)
    assert smooth.smooth_ece(p, outcome, view="class-1") == pytest.approx(high, abs=2e-4)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 4.0])
def test_slope_and_intercept_recover_the_truth(drawn, temperature):
    z, y = drawn(10_000, temperature, classes=2)
    assert regression.slope(z, y) == pytest.approx(1 / temperature, rel=0.06)
    shifted = z + np.array([0.0, 0.7])
    if temperature == 1.0:
        assert regression.intercept(shifted, y, view="class-1") == pytest.approx(-0.7, abs=0.08)
        assert regression.intercept(z, y) == pytest.approx(0, abs=0.08)


def test_slope_agrees_with_scikit_learn(drawn):
    z, y = drawn(400, 3.0)
    odds = regression.log_odds(z)
    model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(odds[:, None], z.argmax(axis=1) == y)
    assert regression.slope(z, y) == pytest.approx(model.coef_[0, 0], rel=1e-5)


ESTIMATORS = {
    "ece": lambda z, y, g, w: error.ece(softmax(z), y, weights=w),
    "ece equal mass": lambda z, y, g, w: error.ece(softmax(z), y, weights=w, binning="equal-mass"),
    "ece class-wise": lambda z, y, g, w: error.ece(softmax(z), y, weights=w, view="class-wise"),
    "ece class-wise equal mass": lambda z, y, g, w: error.ece(
        softmax(z), y, weights=w, view="class-wise", binning="equal-mass"
    ),
    "mce": lambda z, y, g, w: error.mce(softmax(z), y, weights=w),
    "ace": lambda z, y, g, w: error.ace(softmax(z), y, weights=w),
    "debiased": lambda z, y, g, w: error.debiased_l2(softmax(z), y, weights=w, groups=g, binning="equal-width"),
    "smooth": lambda z, y, g, w: smooth.smooth_ece(softmax(z), y, weights=w),
    "brier": lambda z, y, g, w: scoring.brier(softmax(z), y, weights=w),
    "nll": lambda z, y, g, w: scoring.nll(z, y, weights=w),
    "slope": lambda z, y, g, w: regression.slope(z, y, weights=w),
    "intercept": lambda z, y, g, w: regression.intercept(z, y, weights=w),
    "temperature": lambda z, y, g, w: measures.estimate("temperature", z, y, weights=w),
    "aurc": lambda z, y, g, w: selective.selective(-z.max(1), z.argmax(1) != y, weights=w).aurc,
    "excess aurc": lambda z, y, g, w: selective.selective(-z.max(1), z.argmax(1) != y, weights=w).excess_aurc,
    "coverage at risk": lambda z, y, g, w: (
        selective.selective(-z.max(1), z.argmax(1) != y, risk=0.2, weights=w).coverage
    ),
    "auroc": lambda z, y, g, w: auroc(z[:, 0], y == 0, weights=w),
    "aupr": lambda z, y, g, w: aupr(z[:, 0], y == 0, weights=w),
    "fpr95": lambda z, y, g, w: fpr_at_tpr(z[:, 0], y == 0, weights=w),
}


@pytest.mark.parametrize("name", ESTIMATORS)
@settings(max_examples=8)
@example(seed=15, classes=2)  # two quadrature grids once differed by more than the tolerance here
@given(seed=st.integers(0, 1000), classes=st.sampled_from([2, 3, 10]))
def test_weights_are_multiplicities_and_order_does_not_matter(name, drawn, seed, classes):
    z, y = drawn(120, 1.5, classes=classes, seed=seed)
    z = np.round(z, 1)  # ties
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 70, 120)
    times = rng.integers(0, 4, 120)
    estimator = ESTIMATORS[name]
    weighted = estimator(z, y, groups, times)
    again = np.repeat(np.arange(120), times)
    assert weighted == pytest.approx(estimator(z[again], y[again], groups[again], None), abs=2e-5)
    order = rng.permutation(120)
    assert weighted == pytest.approx(estimator(z[order], y[order], groups[order], times[order]), abs=2e-5)
    block = estimator(z, y, groups, np.stack([times, np.ones(120), times + 1]))
    assert block.shape == (3,)
    assert block[0] == pytest.approx(weighted, abs=2e-5)
    assert block[1] == pytest.approx(estimator(z, y, groups, None), abs=2e-5)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_many_resamples_are_the_same_as_one_by_one(name, drawn, bootstrap):
    z, y = drawn(150, 2.0)
    groups = np.arange(150) // 2
    weights = bootstrap(groups, 1500)  # more than one block
    together = ESTIMATORS[name](z, y, groups, weights)
    for row in (0, 700, 1499):
        assert together[row] == pytest.approx(ESTIMATORS[name](z, y, groups, weights[row]), abs=1e-5)


def test_split_films_lie_in_the_same_bins_whatever_else_is_resampled():
    """Samples of as many films each share their places; beside one of more films every place is found by itself."""
    rng = np.random.default_rng(3)
    confidence = np.repeat(np.round(rng.random(41), 1), 2)
    drawn = rng.integers(0, 2, (41, 30))
    weights = np.stack([drawn == 0, drawn == 1], axis=1).reshape(82, 30).astype(np.float64)
    outcome = np.tile([0.0, 1.0], 41)
    alike = sort_into_bins(confidence, outcome, weights, 7, "array-split")
    beside = sort_into_bins(confidence, outcome, np.column_stack([weights, np.ones(82)]), 7, "array-split")
    for part in ("weight", "confidence", "outcome"):
        np.testing.assert_array_equal(getattr(alike, part), getattr(beside, part)[:, :-1])
    assert (alike.weight.max(axis=0) - alike.weight.min(axis=0) == 1).all()  # 41 films in 7 bins
