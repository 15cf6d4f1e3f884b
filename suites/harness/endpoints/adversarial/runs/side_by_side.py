"""What would each threat model and attack alone have found? Side by side, on the same films.

A line that a claim has run is read from there, with the claim's plan; the others run here, their ensemble one stage
shorter. FGSM, PGD and APGD are those of torchattacks, where the literature's numbers come from, on the cross-entropy as
there: a line of theirs that is far above the ensemble says that they do not work on this subject, not that it is
robust. An attack that somebody adds to `robustness/attacks` gets a line of its own at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from suites.harness.endpoints.adversarial.runs.access import FILM, INPUT
from suites.harness.endpoints.adversarial.runs.attack import NO_GRADIENTS, Attack, attack
from suites.harness.endpoints.adversarial.runs.effort import CLAIMED, LINES
from suites.harness.endpoints.adversarial.runs.protocols import (
    COMPARED_ENSEMBLES,
    COMPARED_FILMS,
    ENSEMBLES,
    LIBRARY_STEPS,
    REMOTE_QUERIES,
    SQUARE_QUERIES,
    chosen_films,
    further,
)
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.answers import Answers

REMOTE_LINES = ((FILM, "square"), (FILM, "noise"), (FILM, "blank"), (FILM, "ensemble"), (FILM, "fgsm"), (FILM, "pgd"),
                (FILM, "apgd"), (INPUT, "ensemble"), ("l2/grey", "ensemble"), ("linf/colour", "ensemble"))  # fmt: skip
LIBRARY = ("fgsm", "pgd", "apgd")
WHITE_BOX = ("ensemble", *LIBRARY)


@dataclass(frozen=True)
class Line:
    """One threat model and attack.

    Attributes:
        threat: name of the threat model.
        protocol: of `protocols.plan_of`.
        label: name of the attack and how long it runs, for the report.
        attack: what it found; `None` where it could not run.
        reason: why it could not.
    """

    threat: str
    protocol: str
    label: str
    attack: Attack | None = None
    reason: str = ""

    @property
    def library(self) -> str:
        """Return whose implementation it is."""
        return "torchattacks" if self.protocol in LIBRARY else "this suite"


def side_by_side(answers: Answers, profile: str, cache: Path) -> list[Line]:
    """Run every threat model and attack of the table on its films; what a claim has run already is read from there."""
    remote = not answers.subject.differentiable
    lines = REMOTE_LINES if remote else (*LINES, *((INPUT, name) for name in further()))
    return [_line(answers, profile, cache, threat, protocol) for threat, protocol in lines]


def label(protocol: str, profile: str, *, remote: bool = False, claimed: bool = True) -> str:
    """Return the name of an attack for the report, with how long it runs.

    Args:
        protocol: of `protocols.plan_of`.
        profile: of the run.
        remote: the subject gives no gradients.
        claimed: with the plan of a claim, else with the shorter one of the table.
    """
    steps = LIBRARY_STEPS[profile]
    queries = REMOTE_QUERIES[profile] if remote else SQUARE_QUERIES[profile]
    return {
        "ensemble": f"ensemble ({(ENSEMBLES if claimed else COMPARED_ENSEMBLES)[profile]})",
        "fgsm": "FGSM",
        "pgd": f"PGD, cross-entropy, {steps} steps",
        "apgd": f"APGD, cross-entropy, {steps} steps",
        "square": f"Square, black box, {queries} queries",
        "noise": "random signs (control)",
        "blank": "blank step (control)",
    }.get(protocol, protocol)


def _line(answers: Answers, profile: str, cache: Path, threat: str, protocol: str) -> Line:
    remote = not answers.subject.differentiable
    claimed = (threat, protocol) in CLAIMED
    name = label(protocol, profile, remote=remote, claimed=claimed)
    if remote and (protocol in WHITE_BOX or threat != FILM):
        return Line(threat, protocol, name, reason=NO_GRADIENTS)
    try:
        found = attack(answers, profile, cache, threat=threat, protocol=protocol, compared=not claimed and not remote)
    except NotEvaluable as problem:
        return Line(threat, protocol, name, reason=str(problem))
    if protocol in LIBRARY and any(result.not_evaluable for result in found.found.results):
        return Line(threat, protocol, name, reason=NO_GRADIENTS)
    if claimed and not remote:
        found = found.among(chosen_films(answers, COMPARED_FILMS[profile]))
    return Line(threat, protocol, name, found)
