"""How many films stay right under one pattern for all? No adversary has to see the film that it is put on."""

from __future__ import annotations

from functools import partial

import numpy as np

from suites.harness.claims import Claim, Result
from suites.harness.endpoints import headroom
from suites.harness.endpoints.adversarial import figures, tables
from suites.harness.endpoints.adversarial.runs import attack
from suites.harness.endpoints.adversarial.runs.universal import LEVELS, patterns
from suites.harness.endpoints.adversarial.tables import POINTS, SHARE, rate_on
from suites.harness.endpoints.parameters import OneOf
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.formatting.cells import percent
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import difference

MISSED = "no robustness can be concluded where gradients cannot be trusted"


@endpoint(
    "universal_pattern",
    parameters={"levels": OneOf(4.0, tuple(round(size * 255, 6) for size in LEVELS))},
    stage="attacking",
)
def universal_pattern(evidence: Evidence, claim: Claim) -> Result:
    """Share of films called right under one pattern of `levels` of 255, fitted on other patients' films.

    Beside it stands one random pattern of the same size. Where a sanity check of the gradients fails, the fit may have
    missed, so such a run can show weakness but never robustness.
    """
    answers, levels = evidence.main, claim.parameters["levels"]
    budget = levels / 255
    found = patterns(answers, evidence.profile, evidence.cache)
    checks = attack(answers, evidence.profile, evidence.cache).checks
    failed = [check.name for check in checks if check.blocking and not check.passed]
    curve = {size: rate_on(answers, found.index, found.robust(size)) for size in LEVELS}
    random = {size: rate_on(answers, found.index, found.robust(size, "random")) for size in LEVELS}
    rows = found.at(budget)
    right = np.asarray(rows["clean_prediction"] == rows["label"], dtype=np.float64)
    clean = rate_on(answers, found.index, right)
    value, control, n = curve[budget], random[budget], len(found.index)
    turned = rows[(rows["clean_prediction"] == rows["label"]) & (rows["prediction"] != rows["label"])]
    numbers = [
        ("robust_accuracy", f"pattern {size * 255:g}/255", curve[size], SHARE) for size in LEVELS if size != budget
    ]
    numbers += [("robust_accuracy", f"random pattern {levels:g}/255", control, SHARE)]
    numbers += [("noise_harm", f"random pattern {levels:g}/255 - pattern", difference(control, value), POINTS)]
    smallest = answers.smallest_class(found.index)
    shown = {"one pattern": {0.0: clean, **curve}, "one random pattern": {0.0: clean, **random}}
    untouched = tables.hardly_lost(clean, value)
    return Result(
        effect=measured("robust_accuracy", f"pattern {levels:g}/255", value, n, unit="share", smallest=smallest),
        p_beyond=beyond(value, claim) if not untouched else 1.0,
        p_within=1.0 if failed else within(value, claim),
        headroom=[headroom.skill(answers, alarms=True)],
        only_beyond=MISSED if failed else "",
        caveat=tables.UPPER_BOUND,
        only_within=untouched,
        measures=[
            measured(name, condition, item, n, unit=unit, smallest=smallest) for name, condition, item, unit in numbers
        ],
        summary=(
            f"One pattern of at most {levels:g} of 255 grey levels, fitted on other patients and put on every film, "
            f"leaves {percent(value.estimate)} of {n} films right ({percent(clean.estimate)} without it); one random "
            f"pattern of that size leaves {percent(control.estimate)}."
            + (f" Sanity checks failed: {', '.join(failed)}; the fit may have missed." if failed else "")
        ),
        figures={"one_pattern": partial(figures.curves, shown, "One pattern for all films, by size")},
        tables={
            "Which way the pattern turns films (rows: truth)": tables.flips(
                answers, turned["label"].tolist(), turned["prediction"].tolist()
            )
        },
        galleries={
            "Patterns, amplified, on films they were not fitted on": figures.pattern_gallery(answers, found, budget)
        },
    )
