"""How does the stress that a claim rests on foretell what subjects lose at other hospitals? What studies have found."""

from __future__ import annotations

from collections.abc import Mapping

from robustness.validation import NOT_STUDIED, studied_rows
from suites.harness.claims import Claim
from suites.harness.endpoints import get, names
from suites.harness.formatting.severities import in_words
from suites.harness.formatting.wording import ends, number, opened, stress
from suites.harness.predictions.conditions import CLEAN

MIDDLE = (3,)
"""Severity, of a range, that a verdict rests on."""
NAMED = 3
"""Perturbations of one claim that are named where nobody has studied them."""


def evidence_of(claim: Claim) -> list[str]:
    """Return sentences on the perturbations that a claim's verdict rests on; none where it rests on no perturbation."""
    if claim.endpoint not in names():  # a record may tell of one that is not here any more
        return []
    severities: dict[str, set[int]] = {}
    for condition in get(claim.endpoint).conditions(claim, MIDDLE, thorough=False):
        if condition.perturbation != CLEAN:
            severities.setdefault(condition.perturbation, set()).add(condition.severity)
    found = {name: studied_rows(name, levels) for name, levels in severities.items()}
    told = [_sentence(row) for rows in found.values() for row in rows]
    if others := [name for name, rows in found.items() if not rows]:
        named = ", ".join(map(stress, others)) if len(others) <= NAMED else f"{len(others)} perturbations"
        told.append(f"{opened(NOT_STUDIED)} ({named}).")
    return told


def _sentence(row: Mapping[str, str]) -> str:
    """Return what one study found of a perturbation at one severity."""
    low, high = (float(row[end] or "nan") for end in ("rank_low", "rank_high"))
    between = f" ({ends(low, high)})" if row["rank_low"] else ""
    return (
        f"{in_words(row['condition'])}: rank correlation {number(float(row['rank']))}{between} with the drop at "
        f"{row['hospital']}, over {row['subjects']} subjects; without any stress their accuracy at home has "
        f"{number(float(row['rank_no_stress']))}. {opened(row['reading'])}."
    )
