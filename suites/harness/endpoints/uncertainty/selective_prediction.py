"""Which films should be left to a person, and which score knows what the subject cannot?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd

from calibration import decision_diagrams, ood, operating
from calibration import selective as abstention
from calibration.validation import CalibrationError, FloatArray, Weights, softmax
from suites.harness.claims import Claim, Result
from suites.harness.cohorts.probes import films_of
from suites.harness.endpoints import headroom
from suites.harness.endpoints.parameters import ConditionName, Number, OneOf, Role, Views
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.endpoints.two_cohorts import TwoCohorts, against_chance
from suites.harness.endpoints.uncertainty import failure_detection, scores, view_guard
from suites.harness.endpoints.uncertainty.labelled_films import LabelledFilms, reasoned
from suites.harness.endpoints.uncertainty.scores import FilmSet, logit_scores
from suites.harness.errors import NotEvaluable
from suites.harness.formatting.cells import NONE, cell, percent, whole_percent
from suites.harness.formatting.wording import number, opened, plain_name, slug, spanned
from suites.harness.performance.predictive_value import predictive
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import Floats, Sampled

AREA = (
    "AURC: mean over films of the risk at their coverage; excess: above an oracle that leaves out the wrong first, "
    "Geifman et al. 2019"
)
WHERE_RARE = "Where one film in twenty shows {}, a positive call would be right in"


@endpoint(
    "selective",
    parameters={
        "risk": Number(0.05, low=0.0, high=1.0),
        "whiteout": ConditionName("", beside_verdict=True),
        "views": Views(of="whiteout", beside_verdict=True),
    },
    every_probe=True,
    probes_beside_verdict=True,
)
@reasoned
def selective(evidence: Evidence, claim: Claim) -> Result:
    """Share of films that can be answered at an error of at most `risk` when the least sure are left out."""
    answers, risk = evidence.main, claim.parameters["risk"]
    films = LabelledFilms.of(answers, CLEAN)
    wrong = films.logits.argmax(axis=1) != films.labels
    if not wrong.any() or wrong.all():
        raise NotEvaluable("every film is called right, or every film wrong: abstention has nothing to sort")
    uncertainty_by = {name: score(films.logits) for name, score in logit_scores(films.logits).items()}

    found: list[tuple[FloatArray, Weights | None, abstention.Selective]] = []  # three numbers of one pass

    def part(name: str, uncertainty: FloatArray, weights: Weights | None = None, *, orders: bool = False) -> object:
        for score, rows, known in found:
            if score is uncertainty and rows is weights:
                return getattr(known, name)
        one = abstention.selective(uncertainty, wrong, risk=risk, weights=weights, orders=orders)
        if weights is None or (isinstance(weights, np.ndarray) and not weights.flags.writeable):
            found.append((uncertainty, weights, one))  # kept as long as the films are; never a block of more weights
        return getattr(one, name)

    first = uncertainty_by["max-softmax"]
    kept = films.sampled(partial(part, "coverage", first), (0.0, 1.0), films.events)  # it jumps: no bins
    failure = films.sampled(partial(abstention.failure_auroc, first, wrong), (0.0, 1.0), films.events, by_rank=True)
    area = films.sampled(partial(part, "excess_aurc", first), (0.0, 1.0), by_rank=True)
    n = len(films.labels)
    caught = _caught(evidence, claim)
    effect = measured(f"coverage_at_{100 * risk:g}_percent_risk", CLEAN, kept, n, unit="share", smallest=films.smallest)
    rows = [
        (name, percent(float(np.asarray(part("coverage", uncertainty)))),
         *(float(np.asarray(part(key, uncertainty))) for key in ("aurc", "excess_aurc")),
         float(np.asarray(abstention.failure_auroc(uncertainty, wrong))))
        for name, uncertainty in uncertainty_by.items()
    ]  # fmt: skip
    return Result(
        effect=effect,
        p_beyond=beyond(kept, claim),
        p_within=within(kept, claim),
        headroom=[headroom.skill(answers)],
        measures=[
            measured("failure_auroc", CLEAN, failure, n, unit="plain", smallest=films.smallest),
            measured("excess_aurc", CLEAN, area, n, unit="plain", smallest=films.smallest),
        ],
        summary=(
            f"If the least sure films were left to a person, {percent(effect.estimate)} of films could be answered "
            f"with at most {whole_percent(risk)} errors; a wrong call is less sure than a right one with probability "
            f"{number(failure.estimate)}.{caught.problem}"
        ),
        figures={"risk_coverage": partial(decision_diagrams.risk_against_coverage, uncertainty_by, wrong, risk=risk)},
        tables={
            f"Abstention by score ({AREA})": pd.DataFrame(
                rows,
                columns=["score", f"coverage at {whole_percent(risk)} risk", "AURC", "excess AURC", "failure AUROC"],
            ),
            **caught.tables,
        },
        files=caught.files,
    )


@dataclass(frozen=True)
class _Caught:
    """Which score catches which failure, as table and file; where that cannot be had, why."""

    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    files: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    problem: str = ""


def _caught(evidence: Evidence, claim: Claim) -> _Caught:
    """Return which score catches which failure; the verdict stands without."""
    name = evidence.subject.name
    file = f"uncertainty-scores-{slug(name)}.csv"
    try:
        found = failure_detection.detection(evidence, claim.parameters["whiteout"], claim.parameters["views"])
    except (NotEvaluable, CalibrationError) as reason:
        return _Caught(problem=f" Which score catches which failure cannot be said: {reason}.")
    title = f"Which score catches which failure: AUROC (false alarms where 95 % are caught: {file})"
    told = f"which uncertainty score catches which failure, {name}"
    return _Caught({title: found.table()}, {file: (found.numbers().to_csv(index=False), told)})


@endpoint("probe_detection", parameters={"role": Role()})
@reasoned
def probe_detection(evidence: Evidence, claim: Claim) -> Result:
    """AUROC with which the subject's own confidence tells a probe (`role`) from the cohort; other scores beside it."""
    main, probe = evidence.main, evidence.probe(claim.parameters["role"])
    role, both = claim.parameters["role"], TwoCohorts.of(main, probe)
    rows, found = [], {}
    pairs = _scored(main, probe, role)
    for name, (usual, strange) in pairs.items():
        values = np.concatenate([usual, strange])
        found[name] = both.auroc(values)
        ends = found[name].interval()
        missed = float(np.asarray(ood.fpr_at_tpr(values, both.outside)))
        rows.append((name, cell(ends), percent(missed)))
    own, size = found["max-softmax"], {"smallest": both.smallest, "needed": 50}
    guards = [view_guard.guard(evidence, role)] if role == "lateral" else []
    rows += [guard.row for guard in guards]
    best = max(found, key=lambda name: found[name].estimate)
    effect = measured("auroc", f"{role}, max-softmax", own, both.films, unit="plain", **size)
    films = films_of(role, of_findings=main.subject.whole is not None)
    return Result(
        effect=effect,
        p_beyond=beyond(own, claim),
        p_within=within(own, claim),
        headroom=[headroom.skill(main)],
        measures=[
            measured("auroc", f"{role}, {name}", value, both.films, unit="plain", **size)
            for name, value in found.items()
            if name != "max-softmax"
        ]
        + [measure for guard in guards for measure in guard.measures],
        summary=(
            f"The subject's own confidence tells {films} from the usual films with an AUROC of "
            f"{against_chance(own)}; of {len(found)} scores the best on these films (chosen after looking) is {best}, "
            f"with {number(found[best].estimate)}." + "".join(f" {guard.sentence}" for guard in guards)
        ),
        finding=f"Its own confidence tells {films} from the usual films with an AUROC of {against_chance(own)}.",
        # Of the score that is judged, never of the best one: a reader holds the drawing against the verdict.
        figures={
            "scores": partial(
                decision_diagrams.score_histograms,
                pairs["max-softmax"][0],
                {role: pairs["max-softmax"][1]},
                name="max-softmax",
            )
        },
        tables={"Which score catches it": pd.DataFrame(rows, columns=["score", "AUROC (95 %)", "FPR at 95 % TPR"])},
    )


def _scored(main: Answers, probe: Answers, role: str) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Return score -> (on the cohort, on the probe); scores of features are fitted on other patients of the cohort."""
    usual, strange = FilmSet.of(main, "main"), FilmSet.of(probe, role)
    scores.add_logit_scores([usual, strange])
    scores.add_feature_scores([usual, strange])
    return {name: (values, strange.scores[name]) for name, values in usual.scores.items() if name in strange.scores}


@endpoint("operating_point", parameters={"side": OneOf("sensitivity", ("sensitivity", "specificity"))})
@reasoned
def operating_point(evidence: Evidence, claim: Claim) -> Result:
    """Pneumonia against normal, as a clinician asks: `side` sensitivity or specificity, and predictive values."""
    answers, side = evidence.main, claim.parameters["side"]
    whole, films = answers.subject.whole, LabelledFilms.of(answers, CLEAN)
    normal = answers.class_index("normal")
    probabilities = softmax(films.logits)
    risk, sick = operating.pneumonia_view(probabilities, films.labels, normal=normal)
    called, ill = answers.called() != normal, answers.labels != normal
    # Each rests on its own films, and is no surer than their patients allow.
    found = {
        "sensitivity": answers.rate(called, films.keep & ill),
        "specificity": answers.rate(~called, films.keep & ~ill),
    }
    wrong, where = (called, ~ill) if side == "sensitivity" else (~called, ill)
    sizes = {"sensitivity": int(sick.sum()), "specificity": int((1 - sick).sum())}
    printed = {name: measured(name, CLEAN, value, sizes[name], unit="share") for name, value in found.items()}
    rows = [
        (
            whole_percent(prevalence),
            *(
                _predicted(value, prevalence, found.values())
                for value in (operating.positive_value, operating.negative_value)
            ),
        )
        for prevalence in operating.PREVALENCES
    ]
    curve = operating.decision_curve(risk, sick, prevalence=operating.PREVALENCES[1])
    return Result(
        effect=printed[side],
        p_beyond=beyond(found[side], claim),
        p_within=within(found[side], claim),
        headroom=[
            headroom.class_skill(answers, "normal"),
            headroom.rate_without_looking(side, wrong, answers, films.keep & where, claim.margin),
        ],
        films=_whose(answers, side),
        measures=[value for name, value in printed.items() if name != side],
        summary=(
            f"{opened(_ill(answers) or 'pneumonia of either kind')} is called in "
            f"{percent(printed['sensitivity'].estimate)} of the {'films that show it' if whole else 'sick'} and in "
            f"{percent(1 - printed['specificity'].estimate)} of the {'other' if whole else 'healthy'} films."
            + (
                f" {WHERE_RARE.format('it' if whole else 'pneumonia')} {rows[0][1]} of cases."
                if rows[0][1] != NONE
                else ""
            )
        ),
        figures={"decision": partial(decision_diagrams.decision_curves, {answers.subject.name: curve})},
        tables={
            "Predictive values at stated prevalences, with 95 % interval": pd.DataFrame(
                rows, columns=["prevalence", "PPV", "NPV"]
            )
        },
    )


def _predicted(value: Callable[..., Floats], prevalence: float, rates: Iterable[Sampled]) -> str:
    """Return a predictive value with the interval the performance section gives it; a dash where none is called so."""
    found = predictive(partial(value, prevalence=prevalence), list(rates))
    if np.isnan(found.value):
        return NONE
    return spanned(found.value, found.low, found.high, "share")


def _ill(answers: Answers) -> str:
    """Return what the films that are not healthy show, as a subject of two classes names it."""
    healthy = answers.class_index("normal")
    return plain_name(answers.subject.classes[1 - healthy]) if len(answers.subject.classes) == 2 else ""


def _whose(answers: Answers, side: str) -> str:
    """Return in words which films a side of the operating point counts."""
    ill, healthy = _ill(answers) or "pneumonia", "other films" if answers.subject.whole else "normal films"
    return f"films with {ill}" if side == "sensitivity" else healthy
