"""Does a bad film cost one group more than others? A difference of differences on the same resamples of patients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from suites.harness.claims import Claim, Result
from suites.harness.endpoints.parameters import REQUIRED, Conditions
from suites.harness.endpoints.registry import endpoint
from suites.harness.endpoints.subgroups.comparing import Compared, Gaps, Told, compare, result
from suites.harness.endpoints.subgroups.groups import Films, groups_of
from suites.harness.endpoints.subgroups.statistic import Mean
from suites.harness.errors import NotEvaluable
from suites.harness.formatting.severities import in_words
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN, expand
from suites.harness.predictions.evidence import Evidence

COSTS = Told(
    gap="stress_gap",
    value="right calls lost",
    films="films of the group",
    sentence="{group}: right calls are lost more often than on films of all others, by {size}",
    condition="stress - clean",
)


@endpoint("stress_gap", parameters={"conditions": Conditions(REQUIRED)})
def stress_gap(evidence: Evidence, claim: Claim) -> Result:
    """How many more right calls `conditions` cost a group than all others, film by film, the largest of all."""
    answers = evidence.main
    groups = groups_of(answers, answers.shared(CLEAN))
    compared: dict[str, Compared] = {}
    without: dict[str, str] = {}
    for condition in expand(claim.parameters["conditions"], evidence.severities):
        words = in_words(condition.text, inside=True)
        try:
            gaps = compare(
                answers, groups, _lost(answers, condition.text), counts=_answered(answers, condition.text), rising=True,
                bounds=(-1.0, 1.0),
            )  # fmt: skip
        except NotEvaluable as reason:
            without[words] = str(reason)
            continue
        for name, one in gaps.compared.items():
            under = f"{name}, under {words}"
            compared[under] = replace(one, group=replace(one.group, name=under))
        without |= {f"{name}, under {words}": why for name, why in gaps.without.items()}
    if not compared:
        raise NotEvaluable("; ".join(f"{name}: {why}" for name, why in without.items())[:250])
    return result(answers, claim, Gaps(compared, without, groups), COSTS)


def _lost(answers: Answers, condition: str) -> Mean:
    return Mean(np.nan_to_num(answers.correct(CLEAN) - answers.correct(condition)))


def _answered(answers: Answers, condition: str) -> Callable[[Films], Mapping[str, Films]]:
    both = answers.shared(CLEAN, condition)

    def counts(films: Films) -> Mapping[str, Films]:
        return {"answered": films & both}

    return counts
