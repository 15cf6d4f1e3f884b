"""Are the ill of one group missed more often, or told from the healthy less well? Against all others, on clean films.

Underdiagnosis is the share of ill films that are called healthy (Seyyed-Kalantari et al. 2021,
10.1038/s41591-021-01595-0) at one threshold for everybody; sensitivity is the rest. A threshold of its own for each
group would hide the very harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from suites.harness.claims import Claim, Result
from suites.harness.endpoints.parameters import Number
from suites.harness.endpoints.registry import endpoint
from suites.harness.endpoints.spoken import finding
from suites.harness.endpoints.subgroups.comparing import Told, compare, result, table
from suites.harness.endpoints.subgroups.groups import Films, groups_of
from suites.harness.endpoints.subgroups.statistic import Auroc, Mean
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import Floats

MISSED = Told(
    gap="underdiagnosis_gap",
    value="ill called healthy",
    films="ill films of the group",
    sentence="{group}: ill films are called healthy more often than those of all others, by {size}",
)
ALARMED = Told(gap="false_alarm_gap", value="healthy called ill", films="healthy films of the group", sentence="")
LOST = Told(
    gap="auroc_gap",
    value="AUROC",
    films="films of the group",
    sentence="{group}: the AUROC of ill against healthy is lower than that of all others, by {size}",
    plain=True,
)


def _told(answers: Answers) -> tuple[Told, Told, Told]:
    """Return how missed and wrongly called films, and the AUROC, are spoken of; of a finding by its name."""
    if not (asked := finding(answers)):
        return MISSED, ALARMED, LOST
    return (
        replace(
            MISSED,
            value=f"{asked} missed",
            films=f"films of the group with {asked}",
            sentence=f"{{group}}: {asked} is missed more often than in all others, by {{size}}",
        ),
        replace(ALARMED, value=f"said to show {asked}", films=f"films of the group without {asked}"),
        replace(LOST, sentence=f"{{group}}: the AUROC of {asked} is lower than in all others, by {{size}}"),
    )


def _kinds(answers: Answers) -> tuple[str, str]:
    """Return what patients with and without are called."""
    return ("positive", "negative") if finding(answers) else ("ill", "healthy")


def risk(answers: Answers) -> Floats:
    """Return (N,) the probability that a film is ill: all that the healthy class has not; NaN where unanswered.

    Raises:
        NotEvaluable: the subject has no class of healthy films.
    """
    return np.asarray(1 - answers.probabilities(CLEAN)[:, answers.class_index("normal")], dtype=np.float64)


@endpoint("underdiagnosis_gap", parameters={"threshold": Number(0.5, low=0.001, high=0.999)})
def underdiagnosis_gap(evidence: Evidence, claim: Claim) -> Result:
    """How much more often the ill of a group are called healthy (P(ill) below `threshold`) than those of all others."""
    answers, threshold = evidence.main, claim.parameters["threshold"]
    healthy = np.asarray(answers.labels == answers.class_index("normal"), dtype=bool)
    called = risk(answers) >= threshold
    keep = answers.shared(CLEAN)
    groups = groups_of(answers, keep)

    (ill, well), (told, alarm, _) = _kinds(answers), _told(answers)
    gaps = compare(answers, groups, Mean(~called), counts=lambda films: {ill: films & ~healthy}, rising=True)
    found = result(answers, claim, gaps, told)
    try:  # what a group is spared by being called ill anyway
        alarms = compare(answers, groups, Mean(called), counts=lambda films: {well: films & healthy}, rising=True)
    except NotEvaluable:
        return found
    price = f"films without it {alarm.value}" if finding(answers) else "healthy films called ill"
    tables = {**found.tables, f"The price: {price}, every group": table(alarms, alarm)}
    return Result(**{**vars(found), "tables": tables})


@endpoint("auroc_gap")
def auroc_gap(evidence: Evidence, claim: Claim) -> Result:
    """How much worse ill are told from healthy films in a group than in all others, at no threshold."""
    answers = evidence.main
    healthy = np.asarray(answers.labels == answers.class_index("normal"), dtype=bool)
    probability, (ill, well) = risk(answers), _kinds(answers)
    groups = groups_of(answers, answers.shared(CLEAN))

    def counts(films: Films) -> Mapping[str, Films]:
        return {ill: films & ~healthy, well: films & healthy}

    return result(
        answers,
        claim,
        compare(answers, groups, Auroc(probability, ~healthy), counts=counts, rising=False),
        _told(answers)[2],
    )
