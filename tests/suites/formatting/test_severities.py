"""A severity is told in the units of its perturbation, wherever a condition is named."""

from __future__ import annotations

import pytest

from robustness import perturbation
from suites.harness.formatting.severities import in_units, in_words, with_units
from suites.harness.formatting.wording import stress


@pytest.mark.parametrize("name", perturbation.names())
def test_every_severity_of_every_perturbation_has_words(name):
    card = perturbation.get(name).card
    for severity in range(1, 6):
        told = in_units(f"{name}@{severity}")
        assert told == card.severities[severity].replace("(DI -", "(DI −").replace(", -", ", −") != ""
        assert with_units(f"{name}@{severity}") == f"{stress(name)}, severity {severity} ({told})"


def test_steps_are_told_in_order_and_what_has_no_severity_tells_nothing():
    first, second = in_units("whiteout_lobar@4"), in_units("scatter@2")
    assert "0.8 of the hemithorax" in first
    assert "cm of water" in first
    assert in_units("whiteout_lobar@4 | scatter@2 | clahe") == f"{first}; then {second}"
    assert in_units("clean") == in_units("clahe") == in_units("preprocessing:hub") == ""
    assert with_units("clean") == "clean films"
    assert in_words("whiteout_lobar@4 | clahe") == "Lobar white-out, severity 4, then CLAHE"
    assert in_words("preprocessing:hub", inside=True) == "the recipe hub"
