"""Bad input is a named error that says where, never a number."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
from scipy.special import expit, logit

from calibration import conformal, crossfit, error, operating, regression, scaling, scores, scoring, selective, smooth
from calibration.ood import auroc
from calibration.validation import (
    CalibrationError,
    ClassAbsentError,
    FitError,
    LabelError,
    ProbabilityError,
    TooFewFilmsError,
    WeightError,
    log_softmax,
    logits_from_probabilities,
    softmax,
)

GOOD = np.array([[0.2, 0.8], [0.6, 0.4], [0.9, 0.1]])


@pytest.mark.parametrize(
    "function", [error.ece, error.mce, error.ace, error.debiased_l2, smooth.smooth_ece, scoring.brier]
)
@pytest.mark.parametrize(
    ("probabilities", "labels", "weights", "kind", "where"),
    [
        ([[0.2, 0.7], [0.5, 0.5]], [0, 1], None, ProbabilityError, "row 0: 0.9"),
        ([[0.2, 0.8], [np.nan, 0.5]], [0, 1], None, ProbabilityError, "row 1"),
        ([[2.0, -1.0], [0.5, 0.5]], [0, 1], None, ProbabilityError, "logits"),
        ([0.2, 0.8], [0, 1], None, ProbabilityError, "shape"),
        ([[1.0], [1.0]], [0, 0], None, ProbabilityError, "2 classes"),
        (GOOD, [0, 1, 2], None, LabelError, "row 2 holds 2"),
        (GOOD, [0, -1, 1], None, LabelError, "row 1"),
        (GOOD, [0.0, 1.0, 1.0], None, LabelError, "integers"),
        (GOOD, [0, 1], None, LabelError, "one per film"),
        (GOOD, [0, 1, 1], [1, -1, 1], WeightError, "not negative"),
        (GOOD, [0, 1, 1], [1, np.nan, 1], WeightError, "finite"),
        (GOOD, [0, 1, 1], [[1, 1, 1], [0, 0, 0]], WeightError, "resample 1"),
        (GOOD, [0, 1, 1], [1, 1], WeightError, "shape"),
    ],
)
def test_estimators_refuse(function, probabilities, labels, weights, kind, where):
    with pytest.raises(kind, match=where):
        function(probabilities, labels, weights=weights)


def test_rounded_probabilities_of_a_service_are_taken():
    p = np.array([[0.333, 0.333, 0.333], [0.1, 0.2, 0.7]])
    assert error.ece(p, [0, 2]) == pytest.approx(error.ece(p / p.sum(axis=1, keepdims=True), [0, 2]))


def test_probability_zero_has_no_logit():
    with pytest.raises(ProbabilityError, match="row 1"):
        logits_from_probabilities([[0.5, 0.5], [0.0, 1.0]])
    np.testing.assert_allclose(softmax(logits_from_probabilities(GOOD)), GOOD)


@pytest.mark.parametrize("classes", range(2, 12))
def test_log_probabilities_are_scipys_to_the_last_bit(classes):
    z = np.random.default_rng(classes).normal(0, 5, (501, classes))
    z[:3] = [[800.0], [-800.0], [0.0]]
    z[3, 0] = 900.0
    assert np.array_equal(log_softmax(z), scipy.special.log_softmax(z, axis=1))


def test_saturated_logits_stay_finite():
    """Published heads are often saturated; float64 softmax of a gap of 800 is exactly 0 and 1."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 200)
    z = 800.0 * np.eye(3)[np.where(rng.random(200) < 0.8, y, (y + 1) % 3)] + rng.normal(0, 1, (200, 3))
    assert np.isfinite(scoring.nll(z, y))
    assert np.isfinite(regression.slope(z, y))
    assert scaling.temperature(z / 20, y) > 1
    assert scaling.temperature(z * 1e3, y) == pytest.approx(1e3 * scaling.temperature(z, y), rel=1e-9)
    assert regression.intercept(z, y) < -700


@pytest.mark.parametrize("view", ["top", "class-7", "class-x", "class-"])
def test_unknown_views_and_binnings(view):
    with pytest.raises(CalibrationError, match="unknown view"):
        error.ece(GOOD, [0, 1, 1], view=view)
    with pytest.raises(CalibrationError, match="unknown view"):
        regression.slope(GOOD, [0, 1, 1], view=view)
    with pytest.raises(CalibrationError, match="binning"):
        error.ece(GOOD, [0, 1, 1], binning="quantile")
    with pytest.raises(CalibrationError, match="bin"):
        error.debiased_l2(GOOD, [0, 1, 1], bins=0)


def test_slope_without_a_finite_value():
    z = np.array([[0.0, 3.0], [0.0, 2.0], [0.0, 0.2], [0.0, 0.1]])
    with pytest.raises(CalibrationError, match="separate"):
        regression.slope(z, [1, 1, 0, 0])
    with pytest.raises(ClassAbsentError, match="correct"):
        regression.slope(z, [1, 1, 1, 1])


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e3, 1e6])
def test_side_measures_of_saturated_logits(drawn, bootstrap, factor):
    """Logits times a factor: the temperature follows it, the slope its inverse, the intercept stays finite and solves
    its own equation: the mean of expit(a + log odds) is the share of right calls."""
    z, y = drawn(300, 2.0)
    w = bootstrap(np.arange(300), 200)
    assert scaling.temperature(factor * z, y) == pytest.approx(factor * scaling.temperature(z, y), rel=1e-9)
    replicates = scaling.temperature(factor * z, y, weights=w)
    np.testing.assert_allclose(replicates, factor * scaling.temperature(z, y, weights=w), rtol=1e-9)
    if factor >= 1e3:  # log odds are differences of logits there
        assert factor * regression.slope(factor * z, y) == pytest.approx(1e3 * regression.slope(1e3 * z, y), rel=1e-3)
    a = regression.intercept(factor * z, y)
    claimed = expit(a + regression.log_odds(factor * z)).mean()
    assert claimed == pytest.approx((z.argmax(axis=1) == y).mean(), abs=1e-6)
    assert np.isfinite(regression.intercept(factor * z, y, weights=w)).all()


def test_side_measures_name_their_own_cause(drawn):
    """Neighbouring causes are told apart: constant, no mistake, one mistake, mistakes surer than right calls, ties."""
    z, y = drawn(200)
    constant = np.tile([4.6, 0.0, -0.5], (200, 1))
    with pytest.raises(CalibrationError, match="log odds of all 200 films are the same"):
        regression.slope(constant, y)
    assert np.isfinite(regression.intercept(constant, y))
    often = np.where(np.arange(200) < 120, 0, y)  # right on at least 60 %: then even a constant has a temperature
    share = (often == 0).mean()
    best = softmax(constant / scaling.temperature(constant, often))[0]
    assert best[0] == pytest.approx(share, abs=0.1)
    assert regression.intercept(constant, often) == pytest.approx(logit(share) - regression.log_odds(constant)[0])
    right = z.argmax(axis=1)
    with pytest.raises(FitError, match="all 200 films are called right"):
        scaling.temperature(1e3 * z, right)
    right[0] = z[0].argmin()
    assert 0 < scaling.temperature(z, right) < 1
    with pytest.raises(FitError, match="equal in all classes"):
        scaling.temperature(np.full((200, 3), 7.0), y)
    surer = np.where(np.arange(200) < 24, 100.0, 1.0)[:, None] * np.eye(3)[np.zeros(200, int)]
    called = np.where(np.arange(200) < 24, 1, 0)  # right on 88 %, each mistake a hundred times surer
    with pytest.raises(FitError, match=r"though 88 % of the calls are right"):
        scaling.temperature(surer, called)


def test_class_absent(drawn):
    z, y = drawn(200)
    keep = y != 2
    with pytest.raises(ClassAbsentError, match=r"\[2\]"):
        scaling.Temperature.fit(z[keep], y[keep])
    with pytest.raises(ClassAbsentError, match=r"\[2\]"):
        conformal.fit_sets(softmax(z[keep]), y[keep])
    with pytest.raises(ClassAbsentError):
        operating.pneumonia_view(softmax(z), np.ones(200, dtype=int), normal=1)
    with pytest.raises(ClassAbsentError):
        auroc(z[:, 0], np.zeros(200))
    with pytest.raises(ClassAbsentError):
        selective.failure_auroc(z[:, 0], np.zeros(200))


def test_too_few(drawn):
    z, y = drawn(100)
    with pytest.raises(TooFewFilmsError, match="30"):
        scaling.Temperature.fit(z[:29], np.arange(29) % 3)
    with pytest.raises(TooFewFilmsError, match="folds"):
        crossfit.cross_fit("temperature", z, y, np.arange(100), folds=5)
    with pytest.raises(TooFewFilmsError, match="patients"):
        crossfit.cross_fit("temperature", z, y, np.zeros(100), folds=2)
    with pytest.raises(ClassAbsentError, match="class 2"):
        crossfit.patient_folds(np.r_[np.zeros(50, int), np.ones(50, int), 2], np.arange(101), folds=2)
    with pytest.raises(TooFewFilmsError, match="class"):
        conformal.fit_sets(softmax(z), y, alpha=0.01, per_class=True)
    with pytest.raises(TooFewFilmsError, match="neighbour"):
        scores.Neighbours.fit(np.ones((20, 4)), k=50)


def test_a_fit_that_does_not_lower_the_loss_is_refused(drawn):
    """A method that returns "do nothing", as netcal does on float32, must not pass for a recalibration."""

    class Nothing(scaling.Temperature):
        method = "nothing"

        @classmethod
        def _fit(cls, logits, labels):
            return {"T": 1.0}

    z, y = drawn(300, 3.0)
    with pytest.raises(FitError, match="did not lower"):
        Nothing.fit(z, y)


def test_scores_refuse(drawn):
    z, y = drawn(60)
    with pytest.raises(ProbabilityError, match="NaN"):
        scores.get("energy")(np.where(z > 3, np.nan, z))
    with pytest.raises(CalibrationError, match="passes"):
        scores.get("disagreement")(softmax(z))
    with pytest.raises(CalibrationError, match="sum to 1"):
        scores.get("mutual-information")(np.stack([z, z]))
    detector = scores.Mahalanobis.fit(z, y)
    with pytest.raises(CalibrationError, match="shape"):
        detector.score(z[:, :2])
    with pytest.raises(CalibrationError, match="one entry per film"):
        auroc(z[:, 0], y[:-1] == 0)
    with pytest.raises(CalibrationError, match="NaN"):
        auroc(np.full(60, np.nan), y == 0)
    with pytest.raises(CalibrationError, match="true or false"):
        auroc(z[:, 0], y)


def test_operating_refuses(drawn):
    z, y = drawn(60)
    risk, sick = operating.pneumonia_view(softmax(z), y, normal=1)
    with pytest.raises(CalibrationError, match="threshold"):
        operating.operating_point(risk, sick)
    with pytest.raises(CalibrationError, match="prevalence"):
        operating.operating_point(risk > 0.5, sick).positive_value(0.0)
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        operating.decision_curve(risk, sick, prevalence=0.15, thresholds=[1.0])
    with pytest.raises(CalibrationError, match="normal class"):
        operating.pneumonia_view(softmax(z), y, normal=3)
    with pytest.raises(CalibrationError, match=r"\[0, 1\]"):
        operating.decision_curve(risk * 2, sick, prevalence=0.15)
