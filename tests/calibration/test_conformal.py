"""Conformal sets: the promise is kept, also per class and for new patients, and breaks visibly under shift."""

from __future__ import annotations

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier
from sklearn.base import BaseEstimator, ClassifierMixin

from calibration import conformal
from calibration.validation import CalibrationError, softmax


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("score", ["lac", "aps"])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_coverage_is_as_promised_whatever_the_calibration(drawn, classes, score, alpha):
    found = []
    for seed in range(20):
        z, y = drawn(1000, 3.0, classes=classes, seed=seed)
        p = softmax(z)
        fitted = conformal.fit_sets(p[:400], y[:400], alpha=alpha, score=score)
        found.append(conformal.coverage(fitted.sets(p[400:]), y[400:]))
    spread = np.sqrt(alpha * (1 - alpha) * (1 / 400 + 1 / 600) / 20)
    assert np.mean(found) >= 1 - alpha - 3.5 * spread
    if score == "lac":
        assert np.mean(found) <= 1 - alpha + 1 / 400 + 3.5 * spread


def test_per_class_mends_the_rare_class(drawn):
    z, y = drawn(6000, 1.0, spread=1.0)
    z = z + np.array([0.0, 0.0, -2.0])  # the subject dislikes class 2
    p, half = softmax(z), np.arange(6000) < 3000
    plain = conformal.fit_sets(p[half], y[half]).sets(p[~half])
    fair = conformal.fit_sets(p[half], y[half], per_class=True).sets(p[~half])
    assert conformal.coverage(plain, y[~half], of_class=2) < 0.8
    assert conformal.coverage(fair, y[~half], of_class=2) == pytest.approx(0.9, abs=0.03)


def test_patients_with_many_films_do_not_decide_for_the_others(drawn):
    """A few patients bring most films, all easy: counting films promises too much for a new patient."""
    by_film, by_patient = [], []
    for seed in range(30):
        z, y = drawn(400, seed=seed, spread=1.5)
        p = softmax(z)
        easy = np.argsort(p[np.arange(400), y])[-20:]  # twenty easy patients with thirty films each
        rows = np.r_[np.arange(200), np.repeat(easy[easy < 200], 60)]
        new = np.arange(200, 400)
        for groups, found in ((None, by_film), (rows, by_patient)):
            fitted = conformal.fit_sets(p[rows], y[rows], groups=groups)
            found.append(conformal.coverage(fitted.sets(p[new]), y[new]))
    assert np.mean(by_film) < 0.85
    assert np.mean(by_patient) == pytest.approx(0.9, abs=0.02)


def test_one_film_per_patient_is_the_textbook_quantile(drawn):
    z, y = drawn(157)
    p = softmax(z)
    own = np.sort(1 - p[np.arange(157), y])
    fitted = conformal.fit_sets(p, y, alpha=0.1, groups=np.arange(157))
    assert fitted.thresholds[0] == pytest.approx(own[int(np.ceil(158 * 0.9)) - 1], abs=1e-12)
    assert fitted == conformal.fit_sets(p, y, alpha=0.1)


class Given(ClassifierMixin, BaseEstimator):
    """A scikit-learn face for an array of probabilities."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return X

    def predict(self, X):
        return X.argmax(axis=1)

    def __sklearn_is_fitted__(self):
        return True


def test_agrees_with_mapie(drawn):
    z, y = drawn(900, 2.0)
    p = softmax(z)
    model = Given().fit(p, y)
    for level in (0.8, 0.9, 0.95):
        theirs = SplitConformalClassifier(model, confidence_level=level, conformity_score="lac", prefit=True)
        _, sets = theirs.conformalize(p[:300], y[:300]).predict_set(p[300:])
        ours = conformal.fit_sets(p[:300], y[:300], alpha=1 - level).sets(p[300:])
        np.testing.assert_array_equal(sets[:, :, 0], ours)


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("seed", [0, 7])
def test_randomised_aps_is_mapie_entry_by_entry(drawn, level, seed):
    """MAPIE draws one uniform number per film from RandomState(seed), anew for calibration and for prediction."""
    z, y = drawn(900, 2.0)
    p = softmax(z)
    theirs = SplitConformalClassifier(
        Given().fit(p, y), confidence_level=level, conformity_score="aps", prefit=True, random_state=seed
    )
    theirs.conformalize(p[:300], y[:300])
    _, sets = theirs.predict_set(p[300:], conformity_score_params={"include_last_label": "randomized"})
    fit, new = (np.random.RandomState(seed).uniform(size=size) for size in (300, 600))
    fitted = conformal.fit_sets(p[:300], y[:300], alpha=1 - level, score="aps-randomized", uniform=fit)
    np.testing.assert_array_equal(sets[:, :, 0], fitted.sets(p[300:], uniform=new))
    plain = conformal.fit_sets(p[:300], y[:300], alpha=1 - level, score="aps").sets(p[300:])
    assert (sets[:, :, 0] != plain).mean() > 0.01  # the names name different things


def test_randomised_aps_covers_as_promised_and_is_smaller(drawn):
    found, size = [], []
    for seed in range(20):
        z, y = drawn(1000, 3.0, seed=seed)
        p, u = softmax(z), np.random.default_rng(seed).random(1000)
        fitted = conformal.fit_sets(p[:400], y[:400], score="aps-randomized", uniform=u[:400])
        sets = fitted.sets(p[400:], uniform=u[400:])
        found.append(conformal.coverage(sets, y[400:]))
        size.append(
            conformal.set_size(sets)
            - conformal.set_size(conformal.fit_sets(p[:400], y[:400], score="aps").sets(p[400:]))
        )
    assert np.mean(found) == pytest.approx(0.9, abs=3.5 * np.sqrt(0.09 * (1 / 400 + 1 / 600) / 20) + 1 / 400)
    assert np.mean(size) < 0


@pytest.mark.parametrize("score", ["lac", "aps", "aps-randomized"])
def test_empty_sets_are_filled_on_demand_by_the_winner(drawn, score):
    z, y = drawn(2000, 0.4)  # too modest: a set of the winner alone often weighs more than the threshold
    p = softmax(z)
    u = np.random.default_rng(0).random(2000) if score == "aps-randomized" else None
    half = None if u is None else u[:1000]
    fitted = conformal.fit_sets(p[:1000], y[:1000], alpha=0.4, score=score, uniform=half)
    sets, filled = fitted.sets(p, uniform=u), fitted.sets(p, uniform=u, non_empty=True)
    empty = ~sets.any(axis=1)
    assert empty.any()
    np.testing.assert_array_equal(filled[empty], np.eye(3, dtype=bool)[p.argmax(axis=1)][empty])
    np.testing.assert_array_equal(filled[~empty], sets[~empty])


def test_random_numbers_belong_to_the_randomised_score(drawn):
    z, y = drawn(100)
    p = softmax(z)
    for options in (
        {"score": "aps-randomized"}, {"score": "aps", "uniform": np.zeros(100)}, {"uniform": np.zeros(100)},
        {"score": "aps-randomized", "uniform": np.zeros(99)}, {"score": "aps-randomized", "uniform": np.full(100, 1.5)},
    ):  # fmt: skip
        with pytest.raises(CalibrationError, match="uniform"):
            conformal.fit_sets(p, y, **options)


def test_aps_adds_up_classes_until_the_true_one():
    p = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
    fitted = conformal.ConformalSets(0.1, "aps", per_class=False, thresholds=(0.8, 0.8, 0.8), films=99, patients=99)
    np.testing.assert_array_equal(fitted.sets(p), [[True, True, False], [True, False, True]])


def test_shift_breaks_the_promise(drawn):
    z, y = drawn(2000, 1.0)
    fitted = conformal.fit_sets(softmax(z[:1000]), y[:1000])
    shifted = fitted.sets(softmax(3 * z[1000:] + np.random.default_rng(0).normal(0, 6, (1000, 3))))
    assert conformal.coverage(shifted, y[1000:]) < 0.8


def test_sizes_weights_and_files(drawn, bootstrap):
    z, y = drawn(300)
    p = softmax(z)
    fitted = conformal.fit_sets(p, y, per_class=True, groups=np.arange(300) // 2)
    sets = fitted.sets(p)
    assert fitted.patients == 150
    assert conformal.set_size(sets) == pytest.approx(sets.sum() / 300)
    w = bootstrap(np.arange(300), 50)
    assert conformal.coverage(sets, y, weights=w, of_class=1).shape == (50,)
    again = conformal.ConformalSets.from_json(fitted.to_json())
    assert again == fitted
    np.testing.assert_array_equal(again.sets(p), sets)
    with pytest.raises(CalibrationError, match="classes"):
        fitted.sets(p[:, :2] / p[:, :2].sum(axis=1, keepdims=True))
    with pytest.raises(CalibrationError, match="booleans"):
        conformal.coverage(p, y)
    for text in ("{}", "x", '{"format": "conformal/2"}', "[]"):
        with pytest.raises(CalibrationError):
            conformal.ConformalSets.from_json(text)
    for options in ({"alpha": 0.0}, {"score": "raps"}):
        with pytest.raises(CalibrationError):
            conformal.fit_sets(p, y, **options)
