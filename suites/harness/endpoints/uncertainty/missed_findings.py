"""How many findings are missed where the operating point was set so that few are? Conformal risk control, judged."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from calibration import crossfit, risk_control
from calibration.validation import CalibrationError
from suites.harness.claims import Claim, Headroom, Measure, Result
from suites.harness.endpoints import headroom
from suites.harness.endpoints.parameters import ClassName, ConditionName, Conditions, Number
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.endpoints.spoken import films_of_class
from suites.harness.endpoints.uncertainty.held_out import held_out
from suites.harness.endpoints.uncertainty.labelled_films import LabelledFilms, folds_for, reasoned
from suites.harness.errors import NotEvaluable
from suites.harness.formatting.cells import NONE, cell, percent, whole_percent
from suites.harness.formatting.severities import in_words
from suites.harness.formatting.wording import plain_name
from suites.harness.predictions.conditions import CLEAN, expand
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import Integers, Sampled


@endpoint(
    "missed_findings",
    parameters={
        "of": ClassName(""),
        "condition": ConditionName(CLEAN),
        "conditions": Conditions(beside_verdict=True),
        "alpha": Number(0.1, low=0.001, high=0.999),
    },
)
@reasoned
@held_out
def missed_findings(evidence: Evidence, claim: Claim) -> Result:
    """Share of films of class `of` missed under `condition`, at a threshold that promises `alpha` on clean films.

    The class is by default the second of two. The threshold is fitted by conformal risk control on clean films of other
    patients.
    """
    answers, condition, alpha = evidence.main, claim.parameters["condition"], claim.parameters["alpha"]
    of = claim.parameters["of"] or answers.subject.classes[-1]
    ill = answers.class_index(of)
    clean = LabelledFilms.of(answers, CLEAN)
    fold = crossfit.patient_folds(clean.labels, clean.patients, folds=folds_for(clean))
    rows, printed = [], []
    found: dict[str, Sampled] = {}
    further = expand(claim.parameters["conditions"], (3,))
    for text in dict.fromkeys([condition, CLEAN, *(item.text for item in further)]):
        try:
            films = LabelledFilms.of(answers, CLEAN, text)
            claimed = _claimed(films, clean, fold, ill, alpha)
        except (NotEvaluable, CalibrationError):
            if text == condition:
                raise
            rows.append((text, NONE, NONE))
            continue  # a further condition that cannot be had takes nothing from this one
        there = (films.labels == ill).astype(np.int64)
        events = len(np.unique(films.patients[(there == 1) & ~claimed]))
        found[text] = films.sampled(partial(risk_control.missed_share, claimed, there), (0.0, 1.0), events)
        alarms = films.sampled(partial(risk_control.missed_share, ~claimed, 1 - there), (0.0, 1.0))
        printed += [_share("missed_share", text, found[text], int(there.sum()))]
        printed += [_share("false_alarm_share", text, alarms, int((1 - there).sum()))]
        rows.append((text, cell(found[text].interval(), "share"), cell(alarms.interval(), "share")))
    where = "of clean films" if condition == CLEAN else f"of films under {in_words(condition, inside=True)}"
    name = plain_name(of)
    return Result(
        effect=printed[0],
        p_beyond=beyond(found[condition], claim),
        p_within=within(found[condition], claim),
        headroom=[headroom.skill(answers), Headroom(measure=printed[1], bar=1 - claim.margin, side="below")],
        films=films_of_class(answers, of),
        measures=printed[1:],
        summary=(
            f"An operating point that promises to miss {name} on at most {whole_percent(alpha)} of the films that show "
            f"it misses it on {percent(printed[0].estimate)} {where}, and claims it on "
            f"{percent(printed[1].estimate)} of those that do not show it (conformal risk control of the false "
            "negative rate, fitted on clean films of other patients)."
        ),
        finding=(
            f"Where at most {whole_percent(alpha)} of {name} should be missed, {percent(printed[0].estimate)} {where} "
            "is."
        ),
        tables={
            "Missed and falsely claimed at that operating point": pd.DataFrame(
                rows, columns=["condition", "missed (95 %)", "falsely claimed (95 %)"]
            )
        },
    )


def _share(name: str, condition: str, sampled: Sampled, films: int) -> Measure:
    return measured(name, condition, sampled, films, unit="share")


def _claimed(
    films: LabelledFilms, clean: LabelledFilms, fold: Integers, ill: int, alpha: float
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return (n,) whether the finding is claimed, each film by the threshold fitted on clean films of other folds."""
    inside = films.keep[clean.keep]
    claimed = np.zeros(len(films.labels), dtype=bool)
    for held in np.unique(fold):
        others, mine = fold != held, fold[inside] == held
        rule = risk_control.control_missed(
            _score(clean, ill)[others], (clean.labels[others] == ill) * 1, alpha=alpha, groups=clean.patients[others]
        )
        claimed[mine] = rule.claimed(_score(films, ill)[mine])
    return claimed


def _score(films: LabelledFilms, ill: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return (n,) how much more a film looks like the class than like any other."""
    others = np.delete(films.logits, ill, axis=1).max(axis=1)
    return np.asarray(films.logits[:, ill] - others, dtype=np.float64)
