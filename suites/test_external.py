"""What does the subject lose on films of another hospital, and is it the sight or only the threshold that is lost?

The films are given with `--external SPEC`; what their labels and the subject's classes have in common is said aloud.
Synthetic stress stands in for other hospitals everywhere else on the page; here the drop itself is measured.
"""

import pytest


@pytest.mark.claims("external.")
def test_films_of_another_hospital(claim, subject, judge):
    """Accuracy, AUROC, the threshold kept from home, confidence, and what the mix of patients explains."""
    judge(claim, subject)
