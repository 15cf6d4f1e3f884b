"""What do recalibrations gain? All of them on clean films out of fold, one temperature under each shift of the run.

The paired interval of a difference of two ECEs is not printed: its bias grows as the error shrinks, and in simulation
(600 films, T = 1.15 and 2, nominal 95 %) the percentile interval held the truth in 66 and 8 % of samples. That of the
debiased squared error held it in 98 to 100 %, so that one is shown; log loss and Brier have no such bias.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd

from calibration import crossfit, measures, recalibrator
from calibration.interval import MISSING, interval
from calibration.recalibrator import Recalibrator
from calibration.validation import CalibrationError, FloatArray, IntArray
from suites.harness.cohorts.probes import FILMS
from suites.harness.endpoints.uncertainty.calibration import ECE, named_for
from suites.harness.endpoints.uncertainty.labelled_films import LabelledFilms
from suites.harness.errors import NotEvaluable
from suites.harness.foreign_code import foreign
from suites.harness.formatting.cells import cell, columns
from suites.harness.formatting.severities import in_words
from suites.harness.formatting.wording import condition_words, number
from suites.harness.predictions.conditions import CLEAN
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import Interval, Sampled, combined, difference

RANGE = (0.0, math.inf)
"""Temperatures there are."""
GAINS = {"debiased-l2/top-label/15/equal-mass": "debiased squared error", "nll": "log loss", "brier": "Brier score"}
FAR = (-math.inf, math.inf)


@dataclass(frozen=True, kw_only=True)
class UnderShift:
    """One temperature under one shift: what the shift itself would want, and what the clean one does there.

    Attributes:
        name: condition, or the role of a labelled probe.
        films: labelled films answered under it; `smallest` of them in one class.
        own: the temperature refitted there; `ratio` to the clean one on the same resamples (1 = it survives).
        before, after: ECE without and with the clean temperature of other patients.
        gain: fall of the log loss by it, above 0 where it helps.
        problem: why there are no numbers.
    """

    name: str
    films: int
    smallest: int = 0
    own: Sampled | None = None
    ratio: Sampled | None = None
    before: float = math.nan
    after: float = math.nan
    gain: Sampled | None = None
    problem: str = ""

    @property
    def word(self) -> str:
        """Whether the clean temperature still helps: `helps`, `harms`, or `unclear` where the interval spans 0."""
        if self.gain is None:
            return self.problem
        ends = self.gain.interval()
        return "helps" if ends.low > 0 else "harms" if ends.high < 0 else "unclear"


def under_shifts(
    evidence: Evidence,
    clean: LabelledFilms,
    fits: crossfit.CrossFit[Recalibrator],
    fitted: Sampled,
    conditions: Sequence[str],
) -> list[UnderShift]:
    """Return how a temperature fitted on clean films fares on clean films, under each condition and on each probe.

    Films of the cohort are recalibrated by the fit that never saw their patient, probes (other films) by the pooled.
    """
    rows, ece = [], named_for(evidence.subject)
    for name in dict.fromkeys([CLEAN, *conditions]):
        try:
            films = LabelledFilms.of(evidence.main.stated, CLEAN, name)
        except NotEvaluable as reason:
            rows.append(UnderShift(name=name, films=0, problem=str(reason)))
            continue
        inside = films.keep[clean.keep]
        there = crossfit.CrossFit(fits.fold[inside], fits.models, fits.pooled)
        rows.append(_under_shift(name, films, crossfit.recalibrated(there, films.logits), fitted, ece))
    for role, probe in evidence.probes.items():
        try:
            films = LabelledFilms.of(probe.stated, CLEAN)
        except NotEvaluable:
            continue  # no labels of the subject's classes: nothing to calibrate against
        rows.append(_under_shift(role, films, fits.pooled.transform(films.logits), fitted, ece))
    return rows


def _under_shift(name: str, films: LabelledFilms, recalibrated: FloatArray, fitted: Sampled, ece: str) -> UnderShift:
    n, smallest = len(films.labels), films.smallest
    try:
        own = films.sampled(
            partial(measures.estimate, "temperature", films.logits, films.labels), RANGE, films.events, averaged=False
        )
    except CalibrationError as problem:
        return UnderShift(name=name, films=n, smallest=smallest, problem=str(problem))
    if np.isnan(own.replicates).mean() > MISSING:
        told = "more than 1 % of the resamples have no best temperature"
        return UnderShift(name=name, films=n, smallest=smallest, problem=told)
    replicates, left_out = combined(np.divide, own, fitted)
    ratio = Sampled(
        own.estimate / fitted.estimate,
        replicates,
        own.patients,
        (0.0, math.inf),
        left_out=left_out,
        events=own.events,
        averaged=False,
    )
    before, after = (float(np.asarray(measures.estimate(ece, z, films.labels))) for z in (films.logits, recalibrated))
    gain = _gained("nll", films, films.logits, recalibrated)
    return UnderShift(
        name=name, films=n, smallest=smallest, own=own, ratio=ratio, before=before, after=after, gain=gain
    )


def _gained(name: str, films: LabelledFilms, before: FloatArray, after: FloatArray) -> Sampled:
    """Return by how much a measure falls from one set of logits to another, on the same resamples."""
    return difference(_sampled(name, films, before), _sampled(name, films, after))


def _sampled(name: str, films: LabelledFilms, logits: FloatArray) -> Sampled:
    """Return a measure of some logits with its resamples."""
    options = {"groups": films.patients} if measures.MEASURES[name.split("/", maxsplit=1)[0]].patients else {}
    return films.sampled(partial(measures.estimate, name, logits, films.labels, **options), FAR)


def told(rows: Sequence[UnderShift]) -> str:
    """Return in one sentence where a temperature fitted on clean films helps and harms, and what is left."""
    shifted = [row for row in rows if row.name != CLEAN]
    parts = []
    for word, words in (("helps", "helps somewhat"), ("harms", "harms")):
        places = [
            f"{f'on {FILMS[row.name]}' if row.name in FILMS else f'under {in_words(row.name, inside=True)}'} "
            f"(ECE from {number(row.before)} to {number(row.after)})"
            for row in shifted if row.word == word
        ]  # fmt: skip
        parts += [f"{words} {', '.join(places)}"] if places else []
    return f"Fitted on clean films it {'; it '.join(parts)}." if parts else ""


def survival_table(rows: Sequence[UnderShift]) -> pd.DataFrame:
    """Return the table of the report."""
    return pd.DataFrame(
        [
            (
                condition_words(row.name),
                row.films,
                cell(row.own.interval() if row.own else None),
                cell(row.ratio.interval() if row.ratio else None),
                number(row.before),
                number(row.after),
                cell(row.gain.interval() if row.gain else None),
                row.word,
            )
            for row in rows
        ],
        columns=[
            "films under", "films", "temperature refitted there", "relative to clean", "ECE before",
            "ECE with the clean temperature", "fall of the log loss", "verdict",
        ],
    )  # fmt: skip


def survival_numbers(rows: Sequence[UnderShift]) -> pd.DataFrame:
    """Return the same as numbers."""
    three = ("", "_low", "_high")
    parts = {"temperature": "own", "relative_to_clean": "ratio", "nll_gain": "gain"}
    names = [f"{part}{end}" for part in parts for end in three]
    values = [
        (row.name, row.films, *_flat([getattr(row, key) for key in parts.values()]), row.before, row.after, row.word)
        for row in rows
    ]
    return pd.DataFrame(
        values, columns=["films_under", "films", *names, "ece_before", "ece_after", "clean_temperature"]
    )


def _flat(parts: Sequence[Sampled | None]) -> list[float]:
    return [number for part in parts for number in columns(part.interval() if part else None)]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One recalibration out of fold: its errors, and what it gains on doing nothing (above 0: better).

    ridge: chosen by cross-validation over patients for the fit to all films, None where the method has none.
    """

    method: str
    ridge: float | None = None
    errors: dict[str, Interval] = field(default_factory=dict)
    gains: dict[str, Interval] = field(default_factory=dict)
    problem: str = ""


def compared(films: LabelledFilms, fold: IntArray, ece: str = ECE) -> list[Compared]:
    """Return every recalibration, fitted on the patients outside each fold and judged inside it, by the named ECE."""
    before = {name: _sampled(name, films, films.logits) for name in GAINS}  # the same for every method
    rows = [Compared(method="none", errors=_errors(films, films.logits, ece, before))]
    for method in recalibrator.names():
        try:
            with foreign(CalibrationError, f"{method} failed", only_theirs=True):
                fits = crossfit.cross_fit(method, films.logits, films.labels, films.patients, folds=int(fold.max()) + 1)
                recalibrated = crossfit.recalibrated(fits, films.logits)
        except CalibrationError as problem:
            rows.append(Compared(method=method, problem=str(problem)))
            continue
        after = {name: _sampled(name, films, recalibrated) for name in GAINS}
        gains = {name: difference(before[name], after[name]).interval() for name in GAINS}
        rows.append(
            Compared(
                method=method,
                ridge=getattr(fits.pooled, "ridge", None),
                errors=_errors(films, recalibrated, ece, after),
                gains=gains,
            )
        )
    return rows


def _errors(films: LabelledFilms, logits: FloatArray, ece: str, known: Mapping[str, Sampled]) -> dict[str, Interval]:
    """Return ECE, log loss and Brier with the interval that is right for each, of many films from a sample.

    `known` has log loss and Brier of these logits on all films, so that of few films they are not resampled again.
    """
    places = films.sample()
    few = len(places) < len(films.labels)
    films, logits = films.among(places), logits[places]
    found = measures.measured(
        (ece, "nll", "brier") if few else (ece,),
        logits,
        films.labels,
        groups=films.patients,
        weights=films.resamples.weights,
        left_out=films.resamples.left_out,
        draws=0,
    )
    ends = {name: (one.estimate, one.interval) for name, one in found.items()}
    for name in () if few else ("nll", "brier"):
        one = known[name]
        told = interval(one.estimate, one.replicates, "accelerated", left_out=one.left_out, patients=one.patients)
        ends[name] = one.estimate, told
    return {
        name: Interval(estimate, *((told.low, told.high) if told else (math.nan, math.nan)))
        for name, (estimate, told) in ends.items()
    }


def compared_table(rows: Sequence[Compared], ece: str = ECE) -> pd.DataFrame:
    """Return the table of the report."""
    values = [
        (
            row.method if row.ridge is None else f"{row.method} (ridge {row.ridge:g})",
            *(cell(row.errors.get(name)) for name in (ece, "nll", "brier")),
            *(cell(row.gains.get(name)) for name in GAINS),
            row.problem,
        )
        for row in rows
    ]
    gained = [f"fall of the {name}" for name in GAINS.values()]
    table = pd.DataFrame(values, columns=["recalibration", "ECE", "log loss", "Brier", *gained, "problem"])
    return table if any(row.problem for row in rows) else table.drop(columns="problem")


def compared_numbers(rows: Sequence[Compared]) -> pd.DataFrame:
    """Return the same as numbers, one row per recalibration and measure."""
    values = [
        (row.method, kind, name, *columns(value), row.problem)
        for row in rows
        for kind, found in (("value", row.errors), ("gained", row.gains))
        for name, value in found.items()
    ]
    values += [(row.method, "", "", *columns(None), row.problem) for row in rows if row.problem]
    return pd.DataFrame(values, columns=["recalibration", "kind", "measure", "estimate", "low", "high", "problem"])
