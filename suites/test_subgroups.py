"""Is somebody harmed more than others? Groups of patients by what is recorded of them, and slices that nobody named.

Every group is held against all others of whom the same is recorded, at one threshold for everybody, raw and with both
sides of one mix of class, view and age. Where no difference is shown, the report says which one would have been: that
is no finding of fairness.
"""

import pytest


@pytest.mark.claims("subgroup.")
def test_no_group_is_harmed_more_than_others(claim, subject, judge):
    """Missed illness, AUROC, calibration, the cost of bad films, by view, age, sex, scanner, site and their pairs."""
    judge(claim, subject)
