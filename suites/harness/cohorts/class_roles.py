"""Which class of a subject is the healthy one, and which claim fits a subject that tells only ill from healthy?

The page speaks of a classifier of three classes. A claim whose sentence holds for two as well says in the table how it
reads then (`two_classes`), with `{healthy}` and `{ill}` for the classes; what is about kinds of pneumonia stays so. A
subject that answers several findings is asked about each of them as one of two classes, without the finding and with it
(`finding`, where the sentence reads otherwise then, or makes no sense).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from suites.harness.claims import Claim
from suites.harness.cohorts.layouts.labels import NORMAL, normalise_label
from suites.harness.errors import NotEvaluable

HEALTHY = frozenset({NORMAL, "no_finding", "no_findings", "no_pneumonia", "not_pneumonia", "non_pneumonia", "negative"})
"""Names of the class of films that show nothing, as `normalise_label` spells them."""


SAID = ("id", "statement", "not_evaluable", "short", "section", "remedy")
"""What stands in such a table besides parameters."""


def healthy(classes: Sequence[str]) -> str | None:
    """Return the class of healthy films by the subject's own name; `None` where none or several could be.

    Of two classes, `no X` beside `X` is the one without.
    """
    if len(classes) == 2 and (one := [name for name in classes if f"no {name}" in classes]):
        return f"no {one[0]}"
    found = [name for name in classes if normalise_label(name).replace("-", "_").replace(" ", "_") in HEALTHY]
    return found[0] if len(found) == 1 else None


def own_name(name: str, classes: Sequence[str]) -> str:
    """Return how a subject calls a class: its own spelling, its healthy class for `normal`; unknown names as they are.

    Args:
        name: of a class, in any spelling.
        classes: of the subject.
    """
    if name in classes:
        return name
    alike = [own for own in classes if normalise_label(own) == normalise_label(name)]
    if len(alike) == 1:
        return alike[0]
    return (healthy(classes) or name) if normalise_label(name) == NORMAL else name


def for_classes(claims: Iterable[Claim], subjects: Sequence[Sequence[str]]) -> list[Claim]:
    """Return the claims as they are asked of subjects of these classes.

    Where every subject tells the same two classes apart, one of them healthy, a claim with `two_classes` takes its
    sentence and parameters from there. A run of subjects of different classes asks all of them the same.
    """
    claims = [claim for claim in claims if claim.per != "finding"]
    kinds = {frozenset(classes) for classes in subjects}
    well = healthy(subjects[0]) if len(kinds) == 1 and len(subjects[0]) == 2 else None
    if well is None:
        return [replace(claim, two_classes={}) for claim in claims]
    (ill,) = set(subjects[0]) - {well}
    return [_for_two(claim, {"healthy": well, "ill": ill}) for claim in claims]


def for_findings(claims: Iterable[Claim]) -> list[Claim]:
    """Return the claims by the names and in the words of a page about findings.

    What each asks of one finding stays for `for_finding`.
    """
    spoken = {"healthy": "finding-free", "ill": "the finding"}
    return [
        replace(
            claim,
            id=claim.finding.get("id", claim.id),
            section=claim.finding.get("section", claim.section),
            remedy=claim.finding.get("remedy", claim.remedy),
            statement=_filled(_of_findings(claim).get("statement", claim.statement), spoken),
        )
        for claim in claims
    ]


def parameters_of_findings(claim: Claim) -> Mapping[str, Any]:
    """Return what a claim asks of each of several findings, as a page prints it: `the finding` for a class."""
    spoken = {"healthy": "without it", "ill": "the finding"}
    own = {key: _filled(value, spoken) for key, value in _of_findings(claim).items() if key not in SAID}
    return {**claim.parameters, **own}


def for_finding(claim: Claim, classes: Sequence[str]) -> Claim:
    """Return a claim as it is asked of one finding.

    Args:
        claim: of the table.
        classes: without the finding, and with it.

    Raises:
        NotEvaluable: the claim says why it cannot be asked of a finding.
    """
    without, ill = classes
    if reason := _of_findings(claim).get("not_evaluable"):
        raise NotEvaluable(str(reason))
    return _for_two(replace(claim, two_classes=_of_findings(claim), finding={}), {"healthy": without, "ill": ill})


def _of_findings(claim: Claim) -> Mapping[str, Any]:
    return claim.finding or claim.two_classes


def _for_two(claim: Claim, names: Mapping[str, str]) -> Claim:
    asked = {key: _filled(value, names) for key, value in claim.two_classes.items() if key not in SAID}
    spoken = {role: name.replace("_", " ") for role, name in names.items()}
    return replace(
        claim,
        statement=_filled(claim.two_classes.get("statement", claim.statement), spoken if claim.two_classes else {}),
        parameters={**claim.parameters, **asked},
        two_classes={},
    )


def _filled(value: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401 - text is filled in, all else stays
    """Return a text with the names in place of `{healthy}` and `{ill}`."""
    if isinstance(value, str):
        for role, name in names.items():
            value = value.replace(f"{{{role}}}", name)
    return value
