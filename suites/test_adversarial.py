"""Adversarial robustness: what nobody had tested. Small changes, chosen by an adversary, that no reader would see.

The adversary moves the grey value of each pixel, not three colours: a radiograph has none. Random noise of the same
size stands beside every number, and the checks that show whether the attack itself can be trusted.
"""

import pytest


@pytest.mark.claims("adversarial.")
def test_small_adversarial_changes(claim, subject, judge):
    """Robust accuracy by budget, the smallest flipping change per class, and where the flips go."""
    judge(claim, subject)
