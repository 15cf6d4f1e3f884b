"""Uncertainty: can the single softmax number be believed, what would mend it, and does it know its limits?"""

import pytest


@pytest.mark.claims("calibration.")
def test_the_softmax_number_against_what_happens(claim, subject, judge):
    """Calibration error beside its null band, the temperature it lacks, and what that would mend."""
    judge(claim, subject)


@pytest.mark.claims("abstention.")
def test_leaving_the_unsure_films_to_a_person(claim, subject, judge):
    """Selective prediction, conformal sets clean and shifted, and the clinician's two-class view."""
    judge(claim, subject)


@pytest.mark.claims("doubt.")
def test_whether_it_knows_what_it_cannot_know(claim, subject, judge):
    """Lateral films, adults and unseen findings: does any uncertainty score single them out?"""
    judge(claim, subject)
