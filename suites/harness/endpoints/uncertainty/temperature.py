"""Which temperature do the logits want, what does it gain on other patients, and does it survive a shift?

The temperature is handed over as a file for `--temperature`, with the films it has seen.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from calibration import crossfit, diagrams, measures
from calibration.recalibrator import Recalibrator
from calibration.scaling import Temperature
from calibration.scoring import nll
from calibration.validation import CalibrationError, softmax
from suites.harness.claims import Claim, Measure, Result
from suites.harness.endpoints import headroom
from suites.harness.endpoints.parameters import Conditions
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.endpoints.uncertainty import recalibration, temperatures_of_findings
from suites.harness.endpoints.uncertainty.calibration import OF_A_FINDING, named_for
from suites.harness.endpoints.uncertainty.held_out import held_out
from suites.harness.endpoints.uncertainty.labelled_films import LabelledFilms, folds_for, reasoned
from suites.harness.formatting.wording import number, slug, spanned
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN, expand
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import Sampled
from suites.harness.subjects.output_scale import pattern_logits
from suites.harness.subjects.subject import recipe_digest
from suites.harness.subjects.temperature_file import FittedTemperature, digests


@endpoint(
    "temperature",
    parameters={"conditions": Conditions(beside_verdict=True)},
    every_probe=True,
    probes_beside_verdict=True,
)
@reasoned
@held_out
def temperature(evidence: Evidence, claim: Claim) -> Result:
    """The temperature that fits the logits best (T > 1: too sure), and what it gains on other patients."""
    answers = evidence.main
    films = LabelledFilms.of(answers.stated, CLEAN)
    fitted = films.sampled(
        partial(measures.estimate, "temperature", films.logits, films.labels),
        recalibration.RANGE,
        films.events,
        averaged=False,
    )
    effect = measured("temperature", CLEAN, fitted, len(films.labels), unit="plain", smallest=films.smallest)
    try:
        fits = crossfit.cross_fit("temperature", films.logits, films.labels, films.patients, folds=folds_for(films))
    except CalibrationError as problem:  # what it gains cannot be said; the temperature itself stands
        beside = Result(effect=effect, summary=f"What it gains on other patients has no value: {problem}.")
    else:
        beside = _recalibrated(evidence, claim, films, fits, fitted)
    together = temperatures_of_findings.found(answers)
    told, further, files = (together.sentence, together.measures, together.files) if together else ("", [], {})
    which = "best single temperature" if answers.subject.whole is None else "temperature of this finding's own"
    return replace(
        beside,
        p_beyond=beyond(fitted, claim),
        p_within=within(fitted, claim),
        headroom=[headroom.skill(answers)],
        caveat=_unsure(effect, claim),
        summary=(
            f"The {which} is {spanned(effect.estimate, effect.low, effect.high)}; above 1 "
            f"the subject is too sure, below 1 not sure enough. {beside.summary} {told}"
        ).strip(),
        measures=[*beside.measures, *further],
        files={**beside.files, **files},
    )


def _unsure(effect: Measure, claim: Claim) -> str:
    """Return what a claim about overconfidence does not see: a subject that is surely too unsure, by the same factor.

    A margin of 1.1 for T is one of 1/1.1 for the other fault; the calibration error counts both.
    """
    bar = min(claim.margin, 1 / claim.margin) if claim.margin > 0 else 1.0
    if not effect.high < bar:
        return ""
    return (
        f"but its confidence is no good either: it is far too unsure (under-confident), T = "
        f"{spanned(effect.estimate, effect.low, effect.high)} lies below {number(bar)}; this claim is about "
        "overconfidence only, the calibration error counts both"
    )


def _recalibrated(
    evidence: Evidence,
    claim: Claim,
    films: LabelledFilms,
    fits: crossfit.CrossFit[Recalibrator],
    fitted: Sampled,
) -> Result:
    """Return what stands beside a temperature: what it gains on other patients and under shifts, and its file."""
    answers = evidence.main
    effect = measured("temperature", CLEAN, fitted, len(films.labels), unit="plain", smallest=films.smallest)
    recalibrated = crossfit.recalibrated(fits, films.logits)
    shifts = [item.text for item in expand(claim.parameters["conditions"], (3,))]
    survival = recalibration.under_shifts(evidence, films, fits, fitted, shifts)
    ece = named_for(answers.subject)
    compared = recalibration.compared(films, fits.fold, ece)
    before, after = (float(np.asarray(measures.estimate(ece, z, films.labels))) for z in (films.logits, recalibrated))
    stem = slug(answers.subject.name)
    return Result(
        effect=effect,
        measures=[
            measured("nll_gain", row.name, row.gain, row.films, unit="nats", smallest=row.smallest)
            for row in survival
            if row.gain
        ],
        summary=(
            f"Fitted on other patients it takes the ECE from {number(before)} to {number(after)}. "
            f"{recalibration.told(survival)}"
        ),
        figures={
            "before_after": partial(
                diagrams.before_after,
                softmax(films.logits),
                softmax(recalibrated),
                films.labels,
                groups=films.patients,
                view="top-label" if answers.subject.whole is None else OF_A_FINDING,
            )
        },
        tables={
            "One temperature, fitted on clean films of other patients, under each shift": recalibration.survival_table(
                survival
            ),
            "Recalibrations, each fitted on other patients, against doing nothing": recalibration.compared_table(
                compared, ece
            ),
        },
        files={
            **_for_later(answers, films, fits, effect),
            f"temperature-shifts-{stem}.csv": (
                recalibration.survival_numbers(survival).to_csv(index=False),
                f"whether that temperature survives each shift, {answers.subject.name}",
            ),
            f"recalibration-{stem}.csv": (
                recalibration.compared_numbers(compared).to_csv(index=False),
                f"recalibrations compared out of fold, {answers.subject.name}",
            ),
        },
    )


def _for_later(
    answers: Answers, films: LabelledFilms, fits: crossfit.CrossFit[Recalibrator], effect: Measure
) -> dict[str, tuple[str, str]]:
    """Return the file of a temperature; those of all findings of a subject stand with the first of them."""
    if answers.subject.whole is not None:
        return {}
    name = answers.subject.name
    text = _exported(answers, films, fits, effect).text()
    return {f"temperature-{slug(name)}.json": (text, f"the temperature of {name}, for --temperature")}


def _exported(
    answers: Answers, films: LabelledFilms, fits: crossfit.CrossFit[Recalibrator], effect: Measure
) -> FittedTemperature:
    """Return the temperature of the weights' own logits, fitted on all films, with everything its user must know."""
    assert isinstance(fits.pooled, Temperature)  # noqa: S101 - it was fitted as one
    before = answers.subject.temperature
    carried = before.temperature if before else 1.0
    cohort = answers.cohort.select(pd.Series(films.keep))
    return FittedTemperature(
        temperature=carried * fits.pooled.T,
        low=carried * min(effect.low, fits.pooled.T),
        high=carried * max(effect.high, fits.pooled.T),
        subject=answers.subject.name,
        sha256=answers.subject.provenance.sha256,
        classes=answers.subject.classes,
        preprocessing=answers.subject.preprocessing.name,
        cohort=cohort.name,
        fingerprint=cohort.fingerprint,
        films=len(cohort),
        patients=cohort.patients,
        nll_before=float(np.asarray(nll(carried * films.logits, films.labels))),
        nll_after=float(np.asarray(nll(films.logits / fits.pooled.T, films.labels))),
        seen=tuple(sorted(digests(cohort.table))),
        answers=before.answers if before else pattern_logits(answers.subject),
        recipe=recipe_digest(answers.subject.preprocessing),
    )
