"""Conformal risk control of missed findings: the promise, by hand, over many cohorts, and of several findings."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.conformal import fit_sets
from calibration.risk_control import control_missed, missed_share
from calibration.validation import CalibrationError, TooFewFilmsError


def test_the_threshold_is_the_largest_that_keeps_the_promise():
    scores, labels = np.arange(20.0), np.tile([0, 1], 10)  # nine of ten positives may be kept: (10 R + 1) / 11 <= .2
    rule = control_missed(scores, labels, alpha=0.2)
    assert (rule.threshold, rule.films, rule.patients) == (3.0, 10, 10)
    assert missed_share(rule.claimed(scores), labels) == 0.1
    assert control_missed(scores, labels, alpha=0.28).threshold == 5.0


def test_of_one_finding_it_is_the_threshold_of_a_conformal_set():
    """What is in the set at least that often: one class, the same films, the same ceil((n + 1)(1 - alpha))-th score."""
    generator = np.random.default_rng(0)
    p = generator.random(300)
    labels = (generator.random(300) < p).astype(int)
    sets = fit_sets(np.stack([1 - p, p], axis=1), labels, alpha=0.1, per_class=True)
    assert control_missed(p, labels, alpha=0.1).threshold == pytest.approx(1 - sets.thresholds[1], abs=1e-12)


@pytest.mark.parametrize("per_patient", [1, 3])
def test_no_more_than_promised_is_missed_of_new_patients(per_patient):
    """Mean over cohorts; three findings on a film that are missed together, three alike films of a patient."""
    generator, missed = np.random.default_rng(1), []
    for _ in range(300):
        common = np.repeat(generator.normal(size=(220, 1)), per_patient, axis=0)
        scores = common + generator.normal(size=(len(common), 3))
        labels = (scores + generator.normal(size=scores.shape) > 0.5).astype(int)
        labels[generator.random(labels.shape) < 0.1] = -1
        patients = np.repeat(np.arange(220), per_patient)
        first = patients < 60
        rule = control_missed(scores[first], labels[first], alpha=0.1, groups=patients[first])
        missed.append(missed_share(rule.claimed(scores[~first]), labels[~first]))
    error = np.std(missed) / np.sqrt(len(missed))
    assert 0.05 < np.mean(missed) < 0.1 + 3 * error


def test_what_cannot_be_promised_is_refused():
    with pytest.raises(TooFewFilmsError, match="8 patients with a finding cannot promise that at most 10 %"):
        control_missed(np.arange(16.0), np.tile([0, 1], 8))
    for scores, labels, alpha in (
        ([1.0, np.nan], [0, 1], 0.5),
        ([1.0], [2], 0.5),
        ([1.0, 2.0], [1], 0.5),
        ([1.0], [1], 1),
    ):
        with pytest.raises(CalibrationError):
            control_missed(scores, labels, alpha=alpha)
