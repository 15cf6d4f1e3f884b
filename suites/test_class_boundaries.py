"""Which classes are taken for each other? Bacterial against viral pneumonia, viral against normal, on clean films.

The labels themselves come from reading films, so the boundary between bacterial and viral is soft; what is measured is
how the subject falls on either side of it. The two published preprocessings are held against each other here, too: they
move films across the same boundaries.
"""

import pytest


@pytest.mark.claims("classes.")
def test_which_classes_are_taken_for_each_other(claim, subject, judge):
    """Recall per class with its interval, and the confusions that the page admits."""
    judge(claim, subject)


@pytest.mark.claims("preprocessing.")
def test_the_two_published_preprocessings_agree(claim, subject, judge):
    """The same film through the repository's recipe and through the Hub's."""
    judge(claim, subject)
