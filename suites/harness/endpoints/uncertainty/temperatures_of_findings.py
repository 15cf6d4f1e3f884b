"""Which temperatures do the findings of one subject want: one for all, and each its own? As files for `--temperature`.

Of each finding its own logit is divided, so that a finding that is too sure is not paid for by one that is not sure
enough. One for all is fitted on every finding of every film together: a temperature that findings with few films share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from calibration import measures
from calibration.scaling import temperature
from calibration.scoring import nll
from calibration.validation import CalibrationError, FloatArray, IntArray
from suites.harness.claims import Measure
from suites.harness.endpoints.registry import measured
from suites.harness.endpoints.uncertainty.labelled_films import LabelledFilms
from suites.harness.endpoints.uncertainty.recalibration import RANGE
from suites.harness.errors import NotEvaluable
from suites.harness.formatting.wording import slug, spanned
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN
from suites.harness.statistics import Resamples
from suites.harness.subjects.finding import own_finding
from suites.harness.subjects.output_scale import pattern_logits
from suites.harness.subjects.subject import Subject, recipe_digest
from suites.harness.subjects.temperature_file import FittedTemperature, digests


@dataclass(frozen=True, kw_only=True)
class OfFindings:
    """What the findings of a subject want together.

    Attributes:
        sentence: both temperatures, for the summary.
        measures: the one for all.
        files: name -> (text, what it holds): a temperature file with one for all, and one with each its own.
    """

    sentence: str
    measures: Sequence[Measure]
    files: Mapping[str, tuple[str, str]]


def found(answers: Answers) -> OfFindings | None:
    """Return the temperatures of all findings of a subject; None where they stand with another finding, or are none.

    They stand with the first finding that is judged, so that they are fitted once.
    """
    siblings, whole = answers.siblings(), answers.subject.whole
    if whole is None or not siblings or siblings[0].subject.name != answers.subject.name:
        return None
    known: list[tuple[Answers, LabelledFilms]] = []
    for one in siblings:
        try:
            known.append((one, LabelledFilms.of(one.stated, CLEAN)))
        except NotEvaluable:
            continue  # no film of it is labelled and answered
    try:
        return _fitted(whole, known) if known else None
    except CalibrationError as problem:
        return OfFindings(sentence=f"No one temperature fits all findings: {problem}.", measures=[], files={})


def _fitted(whole: Subject, known: Sequence[tuple[Answers, LabelledFilms]]) -> OfFindings:
    logits = np.concatenate([films.logits for _, films in known])
    labels = np.concatenate([films.labels for _, films in known])
    patients = np.concatenate([films.patients for _, films in known])
    # A patient is drawn with all findings of all their films.
    resamples = Resamples.draw(patients, np.zeros(len(labels)), seed=known[0][0].seed)
    pairs = LabelledFilms(logits, labels, patients, resamples, np.ones(len(labels), dtype=bool))
    sampled = pairs.sampled(
        partial(measures.estimate, "temperature", logits, labels), RANGE, pairs.events, averaged=False
    )
    together = measured("temperature_for_all_findings", CLEAN, sampled, len(labels), unit="plain")
    own = {one.subject.name: _own(films) for one, films in known}
    named = {str(one.subject.answers): own[one.subject.name] or together.estimate for one, _ in known}
    each = tuple(float(named.get(name, together.estimate)) for name in whole.classes)
    one_for_all = _file(whole, known, together, logits, labels)
    indices = np.repeat([own_finding(one.subject)[0] for one, _ in known], [len(films.labels) for _, films in known])
    carried = np.array(whole.temperature.divisors if whole.temperature else (1.0,) * len(whole.classes))
    divisors = carried * np.array(each)
    per_finding = replace(
        one_for_all,
        temperatures=tuple(float(one) for one in divisors),
        nll_after=float(np.asarray(nll(logits / np.array(each)[indices][:, None], labels))),
    )
    if whole.temperature and whole.temperature.temperatures:  # one for all on top of each its own is each its own
        one_for_all = replace(one_for_all, temperatures=tuple(float(one) for one in carried * together.estimate))
    stem = slug(whole.name)
    return OfFindings(
        sentence=(
            f"One temperature for all {len(known)} findings would be "
            f"{spanned(together.estimate, together.low, together.high)} on {len(labels):,} films x findings; "
            "both, it and each finding's own, are written for --temperature."
        ),
        measures=[together],
        files={
            f"temperature-{stem}.json": (
                one_for_all.text(), f"one temperature for all findings of {whole.name}, for --temperature"
            ),
            f"temperature-{stem}-per-finding.json": (
                per_finding.text(), f"a temperature for each finding of {whole.name}, for --temperature"
            ),
        },
    )  # fmt: skip


def _own(films: LabelledFilms) -> float | None:
    """Return the temperature of one finding, None where its films have no best one."""
    try:
        return float(np.asarray(temperature(films.logits, films.labels)))
    except CalibrationError:
        return None


def _file(
    whole: Subject, known: Sequence[tuple[Answers, LabelledFilms]], together: Measure, logits: FloatArray,
    labels: IntArray,
) -> FittedTemperature:  # fmt: skip
    """Return the temperature of the weights' own logits, with every film that any finding was fitted on."""
    before = whole.temperature
    carried = before.temperature if before else 1.0
    cohorts = [one.cohort.select(pd.Series(films.keep)) for one, films in known]
    films = pd.concat([cohort.table for cohort in cohorts])
    return FittedTemperature(
        temperature=carried * together.estimate,
        low=carried * min(together.low, together.estimate),
        high=carried * max(together.high, together.estimate),
        subject=whole.name,
        sha256=whole.provenance.sha256,
        classes=whole.classes,
        preprocessing=whole.preprocessing.name,
        cohort=cohorts[0].name,
        fingerprint=cohorts[0].fingerprint,
        films=films["id"].nunique(),
        patients=films["patient"].nunique(),
        nll_before=float(np.asarray(nll(logits, labels))),
        nll_after=float(np.asarray(nll(logits / together.estimate, labels))),
        seen=tuple(sorted(set(digests(films)))),
        answers=before.answers if before else pattern_logits(whole),
        recipe=recipe_digest(whole.preprocessing),
    )
