"""How far is the softmax number off, and what would conformal sets hold?

Everything is computed from the prediction table. A recalibration or a conformal threshold is fitted on other patients
than it is judged on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from calibration import conformal, crossfit, diagrams, measures, null_band
from calibration.validation import CalibrationError, softmax
from suites.harness.claims import Claim, Measure, Result
from suites.harness.endpoints import headroom
from suites.harness.endpoints.parameters import ConditionName, Conditions, Number
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.endpoints.uncertainty import netcal_table
from suites.harness.endpoints.uncertainty.held_out import held_out
from suites.harness.endpoints.uncertainty.labelled_films import LabelledFilms, folds_for, reasoned
from suites.harness.errors import NotEvaluable
from suites.harness.formatting.cells import NONE, cell, percent, whole_percent
from suites.harness.formatting.severities import in_words
from suites.harness.predictions.conditions import CLEAN, expand
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import Integers, Sampled
from suites.harness.subjects.subject import Subject

ECE = "ece/top-label/15/equal-width"
BESIDE = (
    "ece/top-label/15/equal-mass",
    "ece/top-label/15/array-split",
    "ece/class-wise/15/equal-mass",
    "debiased-l2/top-label/15/equal-mass",
    "kumar-l2/top-label/15/array-split",
    "smooth-ece/top-label",
    "mce/top-label/15/equal-width",
    "brier",
    "nll",
    "slope/top-label",
    "intercept/top-label",
)
OF_A_FINDING = "class-1"
"""The view in place of the winning class where a finding is asked about: its probability against whether it is there. A
finding that is said too surely is else made up for by one that is denied too timidly."""
METHODS = {"accelerated": "accelerated patient bootstrap", "inverted": "inverted test over patients"}
CURVE_FILMS = 200
"""Films per class below which a calibration curve is exploratory."""


def named_for(subject: Subject, name: str = ECE) -> str:
    """Return the full name of a measure as it is taken of a subject: of one finding, of the finding's probability."""
    return name if subject.whole is None else name.replace("/top-label", f"/{OF_A_FINDING}")


@endpoint(
    "calibration_error",
    parameters={"condition": ConditionName(CLEAN), "conditions": Conditions(beside_verdict=True)},
)
@reasoned
@held_out
def calibration_error(evidence: Evidence, claim: Claim) -> Result:
    """ECE of the call, beside what a perfectly calibrated subject with these confidences would show on these films.

    Of one finding it is that of the finding's own probability.
    """
    answers, condition = evidence.main, claim.parameters["condition"]
    ece, view = named_for(answers.subject), "top-label" if answers.subject.whole is None else OF_A_FINDING
    everyone = LabelledFilms.of(answers.stated, condition)
    films = everyone.among(everyone.sample())
    probabilities = softmax(films.logits)
    together = null_band.patient_correlation(probabilities, films.labels, films.patients, view)
    found = measures.measured(
        (ece,),
        films.logits,
        films.labels,
        groups=films.patients,
        weights=films.resamples.weights,
        left_out=films.resamples.left_out,
        within=together,
        beside=[named_for(answers.subject, name) for name in BESIDE],
    )
    band = found[ece].band
    if band is None or found[ece].interval is None:
        raise NotEvaluable(f"{ece} has no null band")
    printed = [_printed(name, condition, value, films) for name, value in found.items() if np.isfinite(value.estimate)]
    few, many = len(films.labels), len(everyone.labels)
    sampled = f" From {few:,} of {many:,} films, a random sample of whole patients." if few < many else ""
    surely = "more than" if band.exceeded_by(found[ece].estimate) else "no more than"
    return Result(
        effect=printed[0],
        p_beyond=band.p_value(found[ece].estimate),
        headroom=[headroom.skill(answers)],
        measures=printed[1:],
        summary=(
            f"ECE ({ece}) is {found[ece].estimate:.3f}; perfect calibration would show {band.mean:.3f} on these "
            f"films, and up to {band.upper:.3f} in 95 of 100 cohorts, so this is {surely} chance.{sampled}"
        ),
        figures={
            "reliability": partial(
                diagrams.reliability,
                probabilities,
                films.labels,
                groups=films.patients,
                weights=films.resamples.weights,
                views=_views(answers.subject),
                within=together,
            ),
            "confidence": partial(diagrams.confidence_histogram, probabilities, films.labels),
            **_by_severity(evidence, claim, together),
        },
        tables={
            "Calibration measures by their full names": _named(found),
            netcal_table.TITLE: netcal_table.beside_netcal(films.logits, films.labels),
        },
    )


def _views(subject: Subject) -> dict[str, str]:
    """Return view -> title of the reliability diagrams: of one finding that of its probability alone."""
    if subject.whole is not None:
        return {OF_A_FINDING: subject.classes[-1]}
    return {"top-label": "Winning class"} | {f"class-{index}": name for index, name in enumerate(subject.classes)}


def _printed(name: str, condition: str, value: measures.Measured, films: LabelledFilms) -> Measure:
    interval = value.interval
    low, high = (interval.low, interval.high) if interval else (np.nan, np.nan)  # equal ends would say it is exact
    missing = f"no interval: {value.problem}" if value.problem else "no interval that covers is known"
    how = f"{name}, {METHODS[interval.method]} 95 %" if interval else f"{name}, {missing}"
    return Measure(
        name=name.split("/", maxsplit=1)[0].replace("-", "_"),
        condition=condition,
        unit="nats" if name == "nll" else "plain",
        estimate=value.estimate,
        low=low,
        high=high,
        n=value.films,
        patients=value.patients,
        estimator=how,
        exploratory=films.smallest < CURVE_FILMS,
        smallest=films.smallest,
    )


def _named(found: Mapping[str, measures.Measured]) -> pd.DataFrame:
    rows = []
    for name, value in found.items():
        ends = (value.interval.low, value.interval.high) if value.interval else (np.nan, np.nan)
        limits = (value.band.mean, value.band.upper) if value.band else (np.nan, np.nan)
        rows.append((name, value.estimate, *ends, *limits, value.problem))
    columns = ["measure", "estimate", "low", "high", "calibrated: mean", "calibrated: 95th percentile", "no value"]
    table = pd.DataFrame(rows, columns=columns)
    return table if any(value.problem for value in found.values()) else table.drop(columns="no value")


def _by_severity(evidence: Evidence, claim: Claim, together: float) -> dict[str, Callable[[], Figure]]:
    """Return a figure of the ECE under each severity of the conditions a claim lists."""
    answers, ece = evidence.main, named_for(evidence.subject)
    chains: dict[str, list[tuple[int, str]]] = {}
    for item in expand(claim.parameters["conditions"], evidence.severities):
        chains.setdefault(item.perturbation, [(0, CLEAN)]).append((item.severity, item.text))
    if not chains:
        return {}

    def draw() -> Figure:
        series = {}
        for name, levels in chains.items():
            points = []
            for _, text in levels:
                films = LabelledFilms.of(answers.stated, text)
                films = films.among(films.sample())
                value = measures.measured(
                    (), films.logits, films.labels, groups=films.patients, weights=films.resamples.weights,
                    within=together, draws=200, beside=(ece,),
                )[ece]  # fmt: skip
                ends = value.interval
                points.append(
                    (
                        value.estimate,
                        ends.low if ends else np.nan,
                        ends.high if ends else np.nan,
                        value.band.upper if value.band else np.nan,
                    )
                )
            columns = list(zip(*points, strict=True))
            series[name] = diagrams.SeveritySeries([level for level, _ in levels], *columns)
        return diagrams.error_by_severity(series)

    return {"by_severity": draw}


@endpoint(
    "conformal_coverage",
    parameters={
        "condition": ConditionName(CLEAN),
        "conditions": Conditions(beside_verdict=True),
        "alpha": Number(0.1, low=0.001, high=0.999),
    },
)
@reasoned
@held_out
def conformal_coverage(evidence: Evidence, claim: Claim) -> Result:
    """Coverage under `condition` of 90 % conformal sets fitted on clean films of other patients."""
    answers, condition = evidence.main, claim.parameters["condition"]
    alpha, classes = claim.parameters["alpha"], len(answers.subject.classes)
    rows, printed = [], []
    clean = LabelledFilms.of(answers, CLEAN)
    fold = crossfit.patient_folds(clean.labels, clean.patients, folds=folds_for(clean))
    found: dict[str, Sampled] = {}
    for text in dict.fromkeys(
        [condition, CLEAN, *(item.text for item in expand(claim.parameters["conditions"], (3,)))]
    ):
        try:
            films = LabelledFilms.of(answers, CLEAN, text)
            sets = _sets(films, clean, fold, alpha)
        except (NotEvaluable, CalibrationError):
            if text == condition:
                raise
            rows.append((text, NONE, np.nan))
            continue  # a further condition that cannot be had takes nothing from this one
        found[text] = films.sampled(partial(conformal.coverage, sets, films.labels), (0.0, 1.0))
        size = films.sampled(partial(conformal.set_size, sets), (0.0, float(classes)))
        printed.append(
            measured("coverage", text, found[text], len(films.labels), unit="share", smallest=films.smallest)
        )
        printed.append(measured("set_size", text, size, len(films.labels), unit="plain", smallest=films.smallest))
        rows.append((text, cell(found[text].interval(), "share"), size.estimate))
    where = "of clean films" if condition == CLEAN else f"under {in_words(condition, inside=True)}"
    return Result(
        effect=printed[0],
        p_beyond=beyond(found[condition], claim),
        p_within=within(found[condition], claim),
        headroom=[headroom.skill(answers), headroom.coverage_without_looking(printed[1], classes, claim.margin)],
        measures=printed[1:],
        summary=(
            f"Sets that promise to hold the truth in {whole_percent(1 - alpha)} of films do so in "
            f"{percent(printed[0].estimate)} {where} "
            "(class-conditional split conformal, score LAC, 1 − probability; threshold the ceil((n + 1)(1 − alpha))-th "
            "smallest of n calibration patients, not interpolated; fitted on clean films of other patients)."
        ),
        finding=(
            f"Sets of classes that promise to hold the truth in {whole_percent(1 - alpha)} of films do so in "
            f"{percent(printed[0].estimate)} {where}."
        ),
        tables={
            "Coverage and size of the sets": pd.DataFrame(rows, columns=["condition", "coverage (95 %)", "mean size"])
        },
    )


def _sets(films: LabelledFilms, clean: LabelledFilms, fold: Integers, alpha: float) -> npt.NDArray[np.bool_]:
    """Return (n, K) the sets of some films, each by the rule that was fitted on the clean films of other folds."""
    inside = films.keep[clean.keep]
    sets = np.zeros(films.logits.shape, dtype=bool)
    for held in np.unique(fold):
        others, mine = fold != held, fold[inside] == held
        rule = conformal.fit_sets(
            softmax(clean.logits[others]),
            clean.labels[others],
            alpha=alpha,
            per_class=True,
            groups=clean.patients[others],
        )
        sets[mine] = rule.sets(softmax(films.logits[mine]))
    return sets
