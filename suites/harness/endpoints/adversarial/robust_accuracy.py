"""How many films stay right when an adversary may change each grey value a little?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from robustness.attacks import BUDGETS
from robustness.attacks.masking_checks import beats_transfer, no_faults
from suites.harness.claims import Claim, Measure, Result
from suites.harness.counts import counted
from suites.harness.endpoints import headroom
from suites.harness.endpoints.adversarial import figures, tables
from suites.harness.endpoints.adversarial.runs import Attack, attack
from suites.harness.endpoints.adversarial.runs.access import INPUT
from suites.harness.endpoints.adversarial.runs.attack import requests_at_most
from suites.harness.endpoints.adversarial.runs.protocols import COMPARED
from suites.harness.endpoints.adversarial.runs.side_by_side import Line, side_by_side
from suites.harness.endpoints.adversarial.runs.transfer import LEVELS, matrix, transferred
from suites.harness.endpoints.adversarial.tables import POINTS, SHARE, rate_on
from suites.harness.endpoints.parameters import Flag, OneOf
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.errors import NotEvaluable
from suites.harness.formatting.cells import percent
from suites.harness.formatting.wording import TRUST
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import Sampled, difference

THREATS = {
    INPUT: "",
    "l2/grey": " (root mean square)",
    "linf/colour": " of each colour channel",
    "linf/film": " of the film as it came",
}
SIDE_BY_SIDE = "Threat models and attacks side by side, on the same films: share called right, with 95 % interval"
EXACT_MATCH = "exact_match_robust_accuracy"
"""Of a subject of several findings: all that the labels tell of are called right, whichever an adversary may turn."""
MISSED = "no robustness can be concluded from a search that may have missed"


@endpoint(
    "robust_accuracy",
    parameters={
        "levels": OneOf(1.0, tuple(round(budget * 255, 6) for budget in BUDGETS)),
        "threat": OneOf(INPUT, tuple(THREATS)),
        "side_by_side": Flag(beside_verdict=True),
        "transfer": Flag(),
    },
    stage="attacking",
)
def robust_accuracy(evidence: Evidence, claim: Claim) -> Result:
    """Share of films called right when an adversary changes grey values by at most `levels` of 255.

    Parameters of a claim: `levels`; `threat` (default the grey pixel of the network's input, L-inf); `side_by_side`
    adds the table of threat models and attacks, `transfer` the one of films made against the run's other subjects.
    Where a sanity check fails, or the subject gives no gradients, a run can show weakness but never robustness.
    """
    answers = evidence.main
    levels, threat = claim.parameters["levels"], claim.parameters["threat"]
    found, control = _attacks(evidence, threat)
    budget = levels / 255
    if budget not in found.budgets:
        raise NotEvaluable(f"{answers.subject.name} is attacked on whole films, which have no {levels:g} grey levels")
    rows = _transferred(evidence) if claim.parameters["transfer"] else None
    if rows is not None:
        aimed = rows[(rows["target"] == answers.subject.name) & (rows["source"] != answers.subject.name)]
        if found.threat.endswith("/film") and len(aimed):
            found = replace(found, checks=(*found.checks, beats_transfer(found.found, aimed)))
    lines = side_by_side(answers, evidence.profile, evidence.cache) if claim.parameters["side_by_side"] else []

    curve = {size: rate_on(answers, found.index, found.robust(size)) for size in found.budgets}
    random = {size: rate_on(answers, control.index, control.robust(size)) for size in control.budgets}
    value, n, smallest = curve[budget], len(found.index), answers.smallest_class(found.index)
    noise = f"random signs {levels:g}/255"
    numbers = [
        ("robust_accuracy", f"{found.threat} {size * 255:g}/255", at, SHARE)
        for size, at in curve.items()
        if at is not value
    ]
    numbers += [("robust_accuracy", noise, random[budget], SHARE)]
    numbers += [("noise_harm", f"{noise} - attack", difference(random[budget], value), POINTS)]
    clean = rate_on(answers, found.index, found.right)
    shown = {"attacked": {0.0: clean, **curve}, "random noise of that size": {0.0: clean, **random}}
    drawn = {"robust_accuracy": partial(figures.curves, shown, "Robust accuracy by budget")}
    if named := _by_threat(answers, lines):
        drawn["threat_models"] = partial(figures.curves, named, "The same films under each threat model")
    untouched = tables.hardly_lost(clean, value)
    return Result(
        effect=measured("robust_accuracy", f"{found.threat} {levels:g}/255", value, n, unit="share", smallest=smallest),
        p_beyond=beyond(value, claim) if not untouched else 1.0,
        p_within=within(value, claim) if found.trusted else 1.0,
        headroom=[headroom.skill(answers, alarms=True)],
        only_beyond="" if found.trusted else MISSED,
        caveat=tables.UPPER_BOUND if answers.subject.differentiable else "",
        only_within=untouched,
        measures=[
            *(
                measured(name, condition, item, n, unit=unit, smallest=smallest)
                for name, condition, item, unit in numbers
            ),
            *tables.flip_sizes(answers, found),
            *_of_all_findings(found, budget),
            *(tables.transfers(answers, rows) if rows is not None else ()),
        ],
        summary=_summary(evidence, found, control, (levels, value, random[budget]), lines),
        figures=drawn,
        tables=_tables(answers, found, lines, rows),
        galleries={"Smallest changes that flip the call": figures.smallest_changes(answers, found)},
    )


def _attacks(evidence: Evidence, threat: str) -> tuple[Attack, Attack]:
    """Return the attack, with what was checked about the subject's gradients at its input, and the random control.

    Gradients are checked once, by the attack on the grey pixels of the input; a reader of another attack is told so.
    """
    answers, profile, cache = evidence.main, evidence.profile, evidence.cache
    found = attack(answers, profile, cache, threat=threat)
    if threat != INPUT and answers.subject.differentiable:
        base = [
            replace(check, detail=f"checked in the attack on the network's input: {check.detail}")
            for check in attack(answers, profile, cache).checks
            if check.name != "no numerical faults"
        ]
        found = replace(found, checks=(*base, no_faults(found.found)))
    return found, attack(answers, profile, cache, threat=threat, protocol="noise")


def _of_all_findings(found: Attack, budget: float) -> list[Measure]:
    """Return the shares of films all of whose findings are called right, on clean films and when any may be turned."""
    if found.together is None:
        return []
    attacked, results = found.together
    return [
        measured(
            EXACT_MATCH, "clean" if not size else f"{found.threat} {size * 255:g}/255", attacked.kept(results, size),
            len(attacked.films), unit="share",
        )
        for size in (0.0, budget)
    ]  # fmt: skip


def _transferred(evidence: Evidence) -> pd.DataFrame | None:
    """Return the rows of transfer between the run's subjects; None where there is one, or none with gradients."""
    everyone = [evidence.main, *evidence.peers.get("main", ())]
    if len(everyone) < 2 or not any(answers.subject.differentiable for answers in everyone):
        return None
    return transferred(everyone, evidence.profile, evidence.cache)


def _by_threat(answers: Answers, lines: list[Line]) -> dict[str, Mapping[float, Sampled]]:
    """Return the curves of the ensembles of the side-by-side table."""
    named: dict[str, Mapping[float, Sampled]] = {}
    for line in lines:
        if line.attack is not None and line.protocol == "ensemble":
            one = line.attack
            at = {size: rate_on(answers, one.index, one.robust(size)) for size in one.budgets if size in COMPARED}
            named[f"{line.threat}, {line.label}"] = {0.0: rate_on(answers, one.index, one.right), **at}
    return named


def _summary(
    evidence: Evidence, found: Attack, control: Attack, at: tuple[float, Sampled, Sampled], lines: list[Line]
) -> str:
    answers, n = evidence.main, len(found.index)
    levels, value, random = at
    of_what = THREATS.get(found.threat, "")
    text = (
        f"With changes of at most {levels:g} of 255 grey levels{of_what}, invisible to a reader, "
        f"{percent(value.estimate)} of {n} films stay right; random noise of that size leaves "
        f"{percent(random.estimate)}."
    )
    if found.together is not None:
        clean, attacked = (item.estimate for item in _of_all_findings(found, levels / 255))
        text += (
            f" An adversary who may turn any finding leaves all of them right on {percent(attacked)} of "
            f"{counted(len(found.together[0].films), 'film')} ({percent(clean)} unchanged)."
        )
    sizes = found.distances[found.distances > 0]
    if len(sizes) and np.isfinite(np.median(sizes)):
        text += f" Half the films that were right fall to {np.median(sizes):.2g} levels."
    elif len(sizes):
        text += f" More than half of the films that were right withstand {found.budgets[-1] * 255:g} levels."
    if not answers.subject.differentiable:
        asked = found.passes + control.passes
        asked += sum(line.attack.passes for line in lines if line.attack and line.protocol == "blank")
        most = requests_at_most(answers, evidence.profile)
        return (
            f"{text} The subject gives no gradients, so it was searched by its answers alone, in {asked} requests "
            f"with the controls (the search may make {most} at most). That can show weakness and never robustness: "
            "white-box attacks are not evaluable."
        )
    text += f" {found.passes / n:.0f} network passes per film."
    if failed := [check.name for check in found.checks if check.blocking and not check.passed]:
        text += f" Sanity checks failed: {', '.join(failed)}; robustness cannot be concluded from this run."
    return text


def _tables(
    answers: Answers, found: Attack, lines: list[Line], transfer: pd.DataFrame | None
) -> dict[str, pd.DataFrame]:
    shown = {}
    if lines:
        shown[SIDE_BY_SIDE] = tables.compared(answers, lines)
        shown["Threat models"] = tables.threat_models(lines)
        shown["Ensembles of this table, by name"] = tables.plans(lines)
    if transfer is not None:
        for size in LEVELS:
            title = f"Transfer: films changed by {size * 255:g} of 255 against one subject, shown to another"
            shown[title] = matrix(transfer, size)
    fallen = [result for result in found.found.results if 0 < result.distance < np.inf]
    shown["Which way the smallest flips go (rows: truth)"] = tables.flips(
        answers, [result.label for result in fallen], [result.prediction for result in fallen]
    )
    shown[TRUST] = tables.trust(found.checks)
    shown["Which attack found the smallest change"] = tables.found_by(found)
    return shown
