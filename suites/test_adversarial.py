"""How little must change to turn a call? Small changes, chosen by an adversary, that no reader would see.

The adversary moves the grey value of each pixel, not three colours: a radiograph has none. One claim moves the film as
it came, through the subject's own resize; one puts the same pattern on every film. Random noise of the same size stands
beside every number, and the checks that show whether the attack itself can be trusted. A service that gives no
gradients is searched by its answers alone, which can show weakness but never robustness.
"""

import pytest


@pytest.mark.claims("adversarial.")
def test_small_adversarial_changes(claim, subject, judge):
    """Robust accuracy by budget and threat model, the smallest flipping change per class, where the flips go."""
    judge(claim, subject)
