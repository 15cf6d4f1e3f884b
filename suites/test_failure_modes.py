"""What does a bad film do to the subject? The known failure modes.

Every perturbation acts on the film at its own resolution, before the subject's resize, at severities fixed before any
result was seen. The effect is always the paired difference to the same film untouched, its interval over patients.
"""

import pytest


@pytest.mark.claims("contrast.")
def test_low_contrast_and_underexposed_films(claim, subject, judge):
    """Balanced accuracy lost under poor contrast, scatter, noise of a low dose, and a wrong display window."""
    judge(claim, subject)


@pytest.mark.claims("grid.")
def test_grid_artefacts_turn_normal_films_ill(claim, subject, judge):
    """Normal films called ill because of lines, aliases or shading of an anti-scatter grid."""
    judge(claim, subject)


@pytest.mark.claims("whiteout.")
def test_what_white_films_are_called_whatever_the_cause(claim, subject, judge):
    """Density added in the lung of normal and ill films for several reasons; as controls outside it, or spread thin."""
    judge(claim, subject)


@pytest.mark.claims("probes.")
def test_films_it_was_never_meant_for(claim, subject, judge):
    """Lateral films, adults, and findings without a class: any confident answer is spurious."""
    judge(claim, subject)


@pytest.mark.claims("institution.")
def test_films_from_other_institutions(claim, subject, judge):
    """Compression, resolution, format, processing and marks that differ from one hospital to the next."""
    judge(claim, subject)


@pytest.mark.claims("flips.")
def test_calls_that_change_whether_or_not_accuracy_falls(claim, subject, judge):
    """Calls that are others than on the untouched film: as many may turn right as wrong, and no score would show it."""
    judge(claim, subject)
