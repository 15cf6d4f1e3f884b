"""Endpoint of belief: does a map depend on what the network learned? With it, the pictures of every failure mode."""

from __future__ import annotations

import numpy as np
import pandas as pd

import explain
from suites.harness.claims import Claim, Result
from suites.harness.endpoints import headroom
from suites.harness.endpoints.explanations import attribution, galleries, method_comparison
from suites.harness.endpoints.parameters import Conditions, OneOf
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.conditions import CLEAN
from suites.harness.predictions.evidence import Evidence
from suites.harness.subjects.attribution_layer import described, method_for


@endpoint(
    "map_goes_with_the_weights",
    parameters={
        "method": OneOf(method_comparison.methods("quick")[0], tuple(explain.names())),
        "conditions": Conditions(beside_verdict=True),
    },
    every_probe=True,
    probes_beside_verdict=True,
    stage="explaining",
)
def map_goes_with_the_weights(evidence: Evidence, claim: Claim) -> Result:
    """Share of films whose map, once all weights are redrawn, is no more like itself than maps of other films are.

    Source: Adebayo et al. 2018 (arXiv:1810.03292), with the pass rule of Arun et al. 2021
    (doi:10.1148/ryai.2021200267). A map that hardly changes at all (SSIM above .95) has stayed, whatever the others do.
    """
    answers = evidence.main
    method, instead = method_for(answers.subject, claim.parameters["method"])
    index = attribution.chosen(answers, evidence.profile, answers.shared(CLEAN))
    checked = attribution.sanity(answers, index, method, evidence.cache)
    lost, known = checked.lost, np.isfinite(checked.lost)
    if not known.any():
        raise NotEvaluable(f"{method}: {checked.reason}")
    among = np.zeros(len(answers.cohort), dtype=bool)
    among[checked.index[known]] = True
    by_film = np.zeros(len(answers.cohort))
    by_film[checked.index[known]] = lost[known]
    share = answers.rate(by_film, among)
    smallest = answers.smallest_class(checked.index[known])
    effect = measured("maps_lost_with_the_weights", CLEAN, share, int(known.sum()), unit="share", smallest=smallest)
    table, agreement, checks = method_comparison.compared(evidence, index, method)
    shown = {name: check for name, check in checks.items() if name not in method_comparison.CONTROLS}
    conditions = list(claim.parameters["conditions"])
    pictured, missing = galleries.failure_galleries(evidence, conditions, shown)
    by_outcome = {
        word: [name for name, check in shown.items() if check.outcome == word] for word in ("failed", "undecided")
    }
    went = f"{int(lost[known].sum())} of {int(known.sum())} maps"
    lost_ones = f"{went} are lost with the weights (then no more like themselves than maps of other films are)."
    told = [
        f"{described(answers.subject, method)}: {lost_ones}",
        instead,
        f"Its sanity check as a whole is {checked.outcome}: {checked.reason}.",
        *(
            f"Sanity check {word}, and marked so on every picture: {', '.join(names)}."
            for word, names in by_outcome.items()
            if names
        ),
        f"No pictures of: {'; '.join(missing)}." if missing else "",
    ]
    return Result(
        effect=effect,
        p_beyond=beyond(share, claim),
        p_within=within(share, claim),
        headroom=[headroom.skill(answers)],
        summary=" ".join(filter(None, told)),
        tables={
            "Can the maps be believed": table,
            "Agreement between methods (rank correlation)": agreement,
            "What the columns say": pd.DataFrame(method_comparison.ABOUT.items(), columns=["column", "meaning"]),
        },
        galleries=pictured,
    )
