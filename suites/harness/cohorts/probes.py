"""Which films was the subject never meant for? Probe cohorts, by role."""

from __future__ import annotations

from collections.abc import Mapping

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.layouts import load_cohort

ROLES = {
    "lateral": "lateral films",
    "adult": "frontal films of adults",
    "unseen": "findings the subject has no class for",
}
FILMS = {
    "lateral": "lateral films",
    "adult": "frontal films of adults",
    "unseen": "films with a finding that has no class",
}
"""What a sentence calls the films of a role, beside "the usual films" of the cohort."""
SIMULATED = {
    "lateral": "phantom:n=120,view=LATERAL",
    "adult": "phantom:n=120,age=adult",
    "unseen": "phantom:n=120,findings=unseen",
}
"""What stands in for the probes when the cohort itself is simulated; real films are never mixed with these."""


def load_probes(cohort: Cohort, given: Mapping[str, str | Cohort]) -> dict[str, Cohort]:
    """Return the probe cohorts of a run.

    Args:
        cohort: the cohort under test.
        given: role -> spec or cohort, as the user named them.

    Raises:
        CohortProblem: a spec names no cohort.
    """
    specs: dict[str, str | Cohort] = {**(SIMULATED if cohort.simulated else {}), **given}
    return {role: load_cohort(specs[role]) for role in ROLES if role in specs}
