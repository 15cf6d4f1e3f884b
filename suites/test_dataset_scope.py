"""What does the cohort itself allow to be said? One hospital, one age group, few films.

Judged from the files, before any subject looks at them: how finely they can measure, whether films or patients repeat,
whether the classes are mixed alike, and how far one gets without looking at a lung at all.
"""

import pytest


@pytest.mark.claims("dataset.")
def test_what_the_cohort_allows_to_be_said(claim, subject, judge):
    """Size, copies, patients on both sides, class mix, and shortcuts in the files."""
    judge(claim, subject)
