"""Scores of doubt, what they detect, abstention, operating points: scikit-learn, pytorch-ood and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_ood.detector import EnergyBased, Entropy, MaxLogit, MaxSoftmax, ViM
from scipy.stats import binom, norm
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from calibration import operating, scores, selective
from calibration.ood import aupr, auroc, auroc_and_fpr, fpr_at_tpr
from calibration.validation import FitError, softmax


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(10, 200),
    digits=st.integers(0, 3),
    offset=st.sampled_from([0.0, 40.0, -900.0]),
)
def test_detection_agrees_with_scikit_learn(seed, n, digits, offset):
    """Ties, weights, and scores far from zero, which a sigmoid would flatten."""
    rng = np.random.default_rng(seed)
    outside = rng.random(n) < 0.4
    outside[:2] = [True, False]
    score = np.round(rng.normal(0, 1, n) + outside, digits) + offset
    weights = rng.integers(1, 4, n)
    assert auroc(score, outside, weights=weights) == pytest.approx(roc_auc_score(outside, score, sample_weight=weights))
    assert aupr(score, outside, weights=weights) == pytest.approx(
        average_precision_score(outside, score, sample_weight=weights)
    )
    fpr, tpr, _ = roc_curve(outside, score, sample_weight=weights, drop_intermediate=False)
    assert fpr_at_tpr(score, outside, weights=weights) == pytest.approx(fpr[np.argmax(tpr >= 0.95 - 1e-12)])


def test_resamples_with_one_kind_only_have_no_value():
    score, outside = np.arange(4.0), np.array([0, 0, 1, 1])
    weights = [[1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]]
    for measure in (auroc, aupr, fpr_at_tpr):
        found = measure(score, outside, weights=weights)
        assert np.isnan(found[:2]).all()
        assert np.isfinite(found[2])


def test_logit_scores_agree_with_pytorch_ood(drawn):
    z, _ = drawn(100)
    t = torch.tensor(z)
    np.testing.assert_allclose(scores.get("max-softmax")(z), 1 + MaxSoftmax.score(t).numpy(), atol=1e-12)
    np.testing.assert_allclose(scores.get("max-logit")(z), MaxLogit.score(t).numpy(), atol=1e-12)
    np.testing.assert_allclose(scores.get("energy")(z), EnergyBased.score(t).numpy(), atol=1e-12)
    np.testing.assert_allclose(scores.get("entropy")(z), Entropy.score(t).numpy(), atol=1e-9)


def test_feature_scores_agree_with_pytorch_ood(drawn):
    rng = np.random.default_rng(0)
    train, y = rng.normal(0, 1, (400, 12)) @ rng.normal(0, 1, (12, 12)), rng.integers(0, 3, 400)
    test = rng.normal(0, 2, (50, 12))
    head, bias = rng.normal(0, 1, (3, 12)), rng.normal(0, 1, 3)
    ours = scores.Residual.fit(train, train @ head.T + bias, head=(head, bias), dimensions=5)
    theirs = ViM(torch.nn.Identity(), d=5, w=torch.tensor(head), b=torch.tensor(bias))
    theirs.fit_features(torch.tensor(train), torch.tensor(y))
    np.testing.assert_allclose(
        ours.score(test, test @ head.T + bias), theirs.predict_features(torch.tensor(test)).numpy(), rtol=1e-4
    )
    detector = scores.Mahalanobis.fit(train, y)
    centred = train - detector.means[y]
    plain = np.linalg.inv(centred.T @ centred / 400)
    direct = [min((f - m) @ plain @ (f - m) for m in detector.means) for f in test]
    np.testing.assert_allclose(detector.score(test), direct, rtol=1e-6)
    unit = train / np.linalg.norm(train, axis=1, keepdims=True)
    far = np.sort(np.linalg.norm(test[0] / np.linalg.norm(test[0]) - unit, axis=1))[49]
    assert scores.Neighbours.fit(train, k=50).score(test)[0] == pytest.approx(far)


@pytest.mark.parametrize("name", scores.names("logits"))
def test_every_logit_score_says_larger_is_more_doubt(name):
    sure, unsure = [[9.0, 0.0, 0.0]], [[1.0, 0.9, 0.8]]
    assert scores.get(name)(unsure) > scores.get(name)(sure)


def test_every_stack_score_says_larger_is_more_doubt():
    agree = np.tile([0.9, 0.05, 0.05], (6, 1, 1))
    quarrel = np.stack([np.roll([[0.9, 0.05, 0.05]], k, axis=1) for k in range(6)])
    for name in scores.names("passes"):
        score = scores.get(name)
        assert score(quarrel) > score(agree), name
    assert scores.get("mutual-information")(agree) == pytest.approx(0, abs=1e-12)
    entropy = -(0.9 * np.log(0.9) + 0.1 * np.log(0.05))
    assert scores.get("mutual-information")(quarrel) == pytest.approx(np.log(3) - entropy)
    assert scores.get("disagreement")(quarrel) == pytest.approx(2 / 3)


def test_feature_scores_find_far_films_that_softmax_does_not():
    rng = np.random.default_rng(1)
    head = rng.normal(0, 1, (3, 20))
    inside, y = rng.normal(2, 1, (500, 20)), rng.integers(0, 3, 500)
    null = np.linalg.svd(head)[2][-1]  # a direction the head cannot see
    odd = rng.normal(2, 1, (200, 20)) + 12 * null
    mark = np.repeat([0, 1], [300, 200])
    both = np.concatenate([inside[:300], odd])
    logits = both @ head.T
    assert auroc(scores.get("max-softmax")(logits), mark) < 0.6
    assert auroc(scores.Mahalanobis.fit(inside[300:], y[300:]).score(both), mark) > 0.98
    assert auroc(scores.Neighbours.fit(inside[300:], k=10).score(both), mark) > 0.9
    few = scores.Mahalanobis.fit(inside[300:360], y[300:360])  # shrunk: fewer than five films per dimension
    assert auroc(few.score(both), mark) > 0.95
    residual = scores.Residual.fit(inside[300:], inside[300:] @ head.T, dimensions=10)
    assert auroc(residual.score(both, logits), mark) > 0.9


def test_rounding_is_no_direction():
    """Features of rank 2 in float32: distances are those in the plane, and ViM has nothing outside to measure."""
    rng = np.random.default_rng(3)
    plane = rng.normal(0, 1, (2, 24))
    flat, y = rng.normal(0, 1, (300, 2)), rng.integers(0, 3, 300)
    features = (flat @ plane).astype(np.float32)
    test = rng.normal(0, 3, (40, 2))
    found = scores.Mahalanobis.fit(features, y).score((test @ plane).astype(np.float32))
    np.testing.assert_allclose(found, scores.Mahalanobis.fit(flat, y).score(test), rtol=1e-3)
    with pytest.raises(FitError, match="nothing is left outside"):
        scores.Residual.fit(features, features[:, :3])


@pytest.mark.parametrize("shift", [1.0, 2.5])
def test_intervals_of_detection_cover_over_patients(shift):
    """Films of one patient alike: 95 % intervals of AUROC and FPR95 over patients, 100 cohorts of 4 films each."""
    rng = np.random.default_rng(11)
    deviation = np.sqrt(1 + 0.5)
    true = norm.cdf(shift / deviation / np.sqrt(2)), norm.sf(shift / deviation + norm.ppf(0.05))
    hits = np.zeros(2)
    for _ in range(100):
        patients = 60
        mark = np.repeat([0, 1], patients * 4)
        doubt = shift * mark + np.repeat(rng.normal(0, 1, 2 * patients), 4) + rng.normal(0, np.sqrt(0.5), mark.size)
        drawn = np.concatenate([rng.multinomial(patients, np.full(patients, 1 / patients), 400) for _ in range(2)], 1)
        replicates = auroc_and_fpr(doubt, mark, weights=np.repeat(drawn, 4, axis=1))
        for k, values in enumerate(replicates):
            low, high = np.quantile(values, [0.025, 0.975])
            hits[k] += low <= true[k] <= high
    assert (hits >= binom.ppf(0.001, 100, 0.93)).all(), hits


def test_both_at_once_are_the_two_alone():
    rng = np.random.default_rng(5)
    doubt, outside = np.round(rng.normal(0, 1, 80), 1), rng.random(80) < 0.3
    weights = rng.integers(0, 3, (50, 80))
    for w in (None, weights):
        area, flagged = auroc_and_fpr(doubt, outside, weights=w)
        np.testing.assert_array_equal(area, auroc(doubt, outside, weights=w))
        np.testing.assert_array_equal(flagged, fpr_at_tpr(doubt, outside, weights=w))


def test_abstention_in_closed_form():
    wrong = np.array([0, 0, 0, 1, 0, 1, 1, 0])
    doubt = np.arange(8.0)
    found = selective.selective(doubt, wrong, risk=0.25)
    running = np.cumsum(wrong) / np.arange(1, 9)
    best = np.cumsum(np.sort(wrong)) / np.arange(1, 9)
    assert found.aurc == pytest.approx(running.mean())
    assert found.excess_aurc == pytest.approx(running.mean() - best.mean())
    assert found.coverage == 5 / 8
    assert selective.selective(wrong + doubt / 100, wrong).excess_aurc == pytest.approx(0, abs=1e-12)
    assert selective.selective(np.zeros(8), wrong).aurc == pytest.approx(3 / 8)  # one tie: all or nothing
    assert selective.selective(-doubt, np.ones(8)).coverage == 0
    curve = selective.risk_coverage(doubt, wrong)
    np.testing.assert_allclose(curve.risk, running)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 50))
def test_abstention_depends_on_the_order_alone(seed, scale):
    rng = np.random.default_rng(seed)
    doubt, wrong = rng.normal(size=60), rng.random(60) < 0.3
    wrong[:2] = [True, False]
    one, other = selective.selective(doubt, wrong), selective.selective(np.exp(doubt * scale / 20), wrong)
    assert one == other
    assert one.excess_aurc >= -1e-12
    assert 0 <= one.coverage <= 1
    assert selective.failure_auroc(doubt, wrong) == pytest.approx(1 - selective.failure_auroc(-doubt, wrong))


def test_operating_point_and_predictive_values(drawn, bootstrap):
    z, y = drawn(1000)
    risk, sick = operating.pneumonia_view(softmax(z), y, normal=1)
    np.testing.assert_allclose(risk, softmax(z)[:, [0, 2]].sum(axis=1))
    point = operating.operating_point(risk >= 0.5, sick)
    assert point.sensitivity == pytest.approx((risk[sick == 1] >= 0.5).mean())
    assert point.specificity == pytest.approx((risk[sick == 0] < 0.5).mean())
    own = float(sick.mean())
    assert point.positive_value(own) == pytest.approx(sick[risk >= 0.5].mean())
    assert point.negative_value(own) == pytest.approx(1 - sick[risk < 0.5].mean())
    values = [point.positive_value(q) for q in operating.PREVALENCES]
    assert values == sorted(values)
    many = operating.operating_point(risk >= 0.5, sick, weights=bootstrap(np.arange(1000), 40))
    assert many.positive_value(0.05).shape == (40,)


def test_nothing_positive_has_no_predictive_value():
    point = operating.operating_point(np.zeros(4, bool), np.array([1, 1, 0, 0]))
    assert np.isnan(point.positive_value(0.15))
    assert point.negative_value(0.15) == pytest.approx(0.85)


def test_decision_curve(drawn, bootstrap):
    z, y = drawn(4000)
    risk, sick = operating.pneumonia_view(softmax(z), y, normal=1)
    own = float(sick.mean())
    curve = operating.decision_curve(risk, sick, prevalence=own, thresholds=[0.1, 0.5, 0.9])
    for t, benefit in zip(curve.thresholds, curve.subject, strict=True):
        true, false = ((risk >= t) & (sick == 1)).mean(), ((risk >= t) & (sick == 0)).mean()
        assert benefit == pytest.approx(true - false * t / (1 - t))
    for prevalence in operating.PREVALENCES:  # calibrated: never worse than treating all or none, wherever it is used
        curve = operating.decision_curve(risk, sick, prevalence=prevalence)
        assert (curve.subject >= np.maximum(curve.treat_all, 0) - 0.01).all()
        too_sure = operating.pneumonia_view(softmax(4 * z), y, normal=1)[0]
        assert operating.decision_curve(too_sure, sick, prevalence=prevalence).subject.sum() < curve.subject.sum()
    as_it_is = operating.decision_curve(risk, sick, prevalence=0.15, stated_for=0.15)
    assert as_it_is.subject.min() < -0.01  # risks of another prevalence do harm
    assert operating.decision_curve(
        risk, sick, prevalence=0.1, weights=bootstrap(np.arange(4000), 5)
    ).subject.shape == (99, 5)


@settings(max_examples=40, deadline=None)
@given(
    films=st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=60),
    risk=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
)
def test_the_threshold_keeps_what_the_coverage_counts(films, risk):
    doubt, wrong = (np.array(column, dtype=float) for column in zip(*films, strict=True))
    kept = doubt <= selective.threshold(doubt, wrong, risk=risk)
    assert kept.mean() == pytest.approx(selective.selective(doubt, wrong, risk=risk).coverage)
    assert not kept.any() or wrong[kept].mean() <= risk + 1e-12
