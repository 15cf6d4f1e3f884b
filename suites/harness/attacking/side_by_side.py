"""Threat models and attacks side by side, on the same films: what each of them alone would have found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from suites.harness.attacking.access import FILM, INPUT
from suites.harness.attacking.attack import NO_GRADIENTS, Attack, attack
from suites.harness.attacking.protocols import (
    COMPARED_FILMS,
    PGD,
    REMOTE_QUERIES,
    SQUARE_QUERIES,
    chosen_films,
)
from suites.harness.errors import NotEvaluable
from suites.harness.evidence import Answers

LINES = (
    (INPUT, "ensemble"),
    ("l2/grey", "ensemble"),
    ("linf/colour", "ensemble"),
    (FILM, "ensemble"),
    (INPUT, "fgsm"),
    (INPUT, "pgd"),
    (INPUT, "square"),
    (INPUT, "noise"),
    (INPUT, "blank"),
)
REMOTE_LINES = ((FILM, "square"), (FILM, "noise"), (FILM, "blank"), (FILM, "ensemble"), (FILM, "fgsm"), (FILM, "pgd"),
                (INPUT, "ensemble"), ("l2/grey", "ensemble"), ("linf/colour", "ensemble"))  # fmt: skip
WHITE_BOX = ("ensemble", "fgsm", "pgd")


@dataclass(frozen=True)
class Line:
    """One threat model and attack.

    Attributes:
        threat: name of the threat model.
        label: name of the attack, for the report.
        attack: what it found; `None` where it could not run.
        reason: why it could not.
    """

    threat: str
    label: str
    attack: Attack | None = None
    reason: str = ""


def side_by_side(answers: Answers, profile: str, cache: Path) -> list[Line]:
    """Run every threat model and attack of the table on its films; what a claim has run already is read from there."""
    remote = not answers.subject.differentiable
    return [
        _line(answers, profile, cache, threat, protocol) for threat, protocol in (REMOTE_LINES if remote else LINES)
    ]


def label(protocol: str, profile: str, *, remote: bool = False) -> str:
    """Return the name of an attack for the report."""
    steps, restarts = PGD[profile]
    queries = REMOTE_QUERIES[profile] if remote else SQUARE_QUERIES[profile]
    return {
        "ensemble": "ensemble",
        "fgsm": "FGSM",
        "pgd": f"PGD, {restarts} starts of {steps} steps",
        "square": f"Square, black box, {queries} queries",
        "noise": "random signs (control)",
        "blank": "blank step (control)",
    }[protocol]


def _line(answers: Answers, profile: str, cache: Path, threat: str, protocol: str) -> Line:
    remote = not answers.subject.differentiable
    name = label(protocol, profile, remote=remote)
    if remote and (protocol in WHITE_BOX or threat != FILM):
        return Line(threat, name, reason=NO_GRADIENTS)
    # These run on more films for the claims; their part on the films of this table costs nothing more.
    shared = (threat, protocol) in {(INPUT, "ensemble"), (INPUT, "noise"), (FILM, "ensemble")}
    try:
        found = attack(answers, profile, cache, threat=threat, protocol=protocol, compared=not shared and not remote)
    except NotEvaluable as problem:
        return Line(threat, name, reason=str(problem))
    if shared and not remote:
        found = found.among(chosen_films(answers, COMPARED_FILMS[profile]))
    return Line(threat, name, found)
