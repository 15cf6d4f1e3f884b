"""Of which hospitals is a claim asked? Of each that was given, one claim each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from suites.harness.claims import Claim
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.external import is_external
from suites.harness.endpoints.measuring import endpoint_of
from suites.harness.formatting.wording import slug


def for_hospitals(claims: Iterable[Claim], cohorts: Mapping[str, Cohort]) -> list[Claim]:
    """Return the claims, each about another hospital once for every external cohort.

    Of one hospital the claim keeps its id; of several each gets the name of its hospital behind it, so that an earlier
    report of other hospitals is never taken for one of these.

    Args:
        claims: of the table.
        cohorts: role -> cohort, external ones among them.
    """
    roles = [role for role in cohorts if is_external(role)]
    asked = []
    for claim in claims:
        name = endpoint_of(claim).hospital
        if not name or name in claim.parameters or len(roles) < 2:
            asked.append(claim)
            continue
        for role in roles:
            told = cohorts[role].name
            asked.append(
                replace(
                    claim,
                    id=f"{claim.id}.{slug(told)}",
                    statement=f"{claim.statement} ({told})",
                    parameters={**claim.parameters, name: role},
                )
            )
    return asked
