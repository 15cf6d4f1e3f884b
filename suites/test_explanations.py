"""Where does the subject look, and can the picture of it be believed?

A map that stays the same when the network's weights are replaced by noise says nothing about the network. A method that
fails this check, or leaves it undecided, is marked so on every picture, and no verdict rests on where its maps lie.
"""

import pytest


@pytest.mark.claims("explanations.")
def test_where_the_subject_looks(claim, subject, judge):
    """Lesion, lung and border against what chance and a prior on the film's centre would give."""
    judge(claim, subject)
