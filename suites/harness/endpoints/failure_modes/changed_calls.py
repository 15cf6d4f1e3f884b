"""How many calls change? Many may, and accuracy stay as it was, when as many turn right as turn wrong."""

from __future__ import annotations

import numpy as np

from suites.harness import statistics
from suites.harness.claims import Claim, Result
from suites.harness.endpoints import headroom
from suites.harness.endpoints.failure_modes.stress import counted
from suites.harness.endpoints.parameters import REQUIRED, Conditions
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.endpoints.toll import toll
from suites.harness.formatting.cells import percent
from suites.harness.formatting.severities import in_words
from suites.harness.predictions.conditions import CLEAN, parse
from suites.harness.predictions.evidence import Evidence


@endpoint("flip_rate", parameters={"conditions": Conditions(REQUIRED)})
def flip_rate(evidence: Evidence, claim: Claim) -> Result:
    """Mean over `conditions` of the share of films that are called otherwise than the clean film, rightly or not.

    Of the films that count every condition is defined, so that each condition has the same weight on every film.
    """
    answers, clean = evidence.main, evidence.main.called()
    texts = [parse(text).text for text in claim.parameters["conditions"]]
    calls = [answers.called(text) for text in texts]
    everywhere = np.logical_and.reduce([np.isfinite(found) for found in (clean, *calls)])
    each = {text: answers.rate(found != clean, everywhere) for text, found in zip(texts, calls, strict=True)}
    mean = statistics.average(list(each.values()), answers.resamples.subset(everywhere).patients)
    n, smallest = int(everywhere.sum()), counted(answers, "accuracy", everywhere)[1]
    effect = measured("flip_rate", "mean over conditions", mean, n, unit="share", smallest=smallest)
    most = max(each, key=lambda text: each[text].estimate)
    return Result(
        effect=effect,
        p_beyond=beyond(mean, claim),
        p_within=within(mean, claim),
        headroom=[headroom.skill(answers, max(headroom.SKILL, claim.margin), among=everywhere)],
        measures=[
            *(
                measured("flip_rate", f"{text} - {CLEAN}", value, n, unit="share", smallest=smallest)
                for text, value in each.items()
            ),
            *toll(answers, texts, everywhere, "mean over conditions"),
        ],
        summary=(
            f"{percent(effect.estimate)} of the calls change on average over {len(texts)} conditions, most "
            f"({percent(each[most].estimate)}) under {in_words(most, inside=True)}."
        ),
    )
