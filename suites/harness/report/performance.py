"""Performance on the clean films: confusion matrix and per-class numbers with patient-bootstrap intervals.

Computed from the prediction table alone (condition `clean`, main cohort). Patients are resampled with replacement
within each true class, all their films together; every number of a subject comes from the same resamples.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax
from statsmodels.stats.proportion import proportion_confint

from suites.harness.claims import Measure
from suites.harness.record import Record
from suites.harness.report import scores
from suites.harness.subject import Subject

RESAMPLES = 2000
SMALL_CLASS = 100
"""Fewer films of a class than this make its rates exploratory."""
PREVALENCES = (0.05, 0.15, 0.62)
"""Of pneumonia: screening, an emergency department, the public test set."""
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class CleanAnswers:
    """One subject's answers to the clean films of the main cohort.

    Attributes:
        classes: K predicted class names; `labels` R true ones: the classes first, then labels the subject cannot say.
        truth: (N,) index into `labels`; `probabilities`: (N, K) softmax; `patient`: (N,) cluster of each film.
        seed: of the resampling.
    """

    classes: tuple[str, ...]
    labels: tuple[str, ...]
    truth: Counts
    probabilities: Floats
    patient: Counts
    seed: int

    @cached_property
    def counts(self) -> Counts:
        """(R, K) films of each true label by predicted class."""
        return _count(self.truth, self.probabilities.argmax(1), len(self.labels), len(self.classes))

    @cached_property
    def resamples(self) -> list[tuple[Counts, Counts, Counts]]:
        """Per true label: its films' rows, each row's patient (0..P-1), and (B, P) how often each patient is drawn."""
        drawn = []
        for index, label in enumerate(self.labels):
            rows = np.flatnonzero(self.truth == index)
            patients, member = np.unique(self.patient[rows], return_inverse=True)
            generator = np.random.default_rng([self.seed, zlib.crc32(label.encode())])
            times = generator.multinomial(len(patients), np.full(len(patients), 1 / len(patients)), size=RESAMPLES)
            drawn.append((rows, member, times))
        return drawn

    @cached_property
    def drawn_counts(self) -> Counts:
        """(B, R, K) the confusion matrix of every resample."""
        predicted = self.probabilities.argmax(1)
        tables = [
            times @ _count(member, predicted[rows], times.shape[1], len(self.classes))
            for rows, member, times in self.resamples
        ]
        return np.stack(tables, axis=1)

    def weights(self, block: slice) -> Floats:
        """(B', N) how often each film is drawn in a block of the resamples."""
        drawn = np.zeros((len(range(*block.indices(RESAMPLES))), len(self.truth)))
        for rows, member, times in self.resamples:
            drawn[:, rows] = times[block][:, member]
        return drawn


def clean_answers(record: Record, subject: Subject) -> CleanAnswers | None:
    """Return the subject's answers to the clean, labelled films, or `None` where the run has none."""
    table = record.predictions
    chosen = (
        (table["subject"] == subject.name) & (table["cohort"] == record.cohort.name) & (table["condition"] == "clean")
    )
    films = record.cohort.table[["id", "label", "patient"]].astype(str)
    films = films[~films["label"].isin(["", "nan", "None"])]
    joined = table[chosen].astype({"image": str}).merge(films, left_on="image", right_on="id", validate="one_to_one")
    if joined.empty:
        return None
    present = set(joined["label"])
    labels = [name for name in subject.classes if name in present]
    # A label the subject has no class for still gets its row, so that nothing disappears from the matrix.
    labels += sorted(present - set(subject.classes))
    logits = joined[[f"logit_{index}" for index in range(len(subject.classes))]].to_numpy(dtype=np.float64)
    return CleanAnswers(
        classes=subject.classes,
        labels=tuple(labels),
        truth=np.array([labels.index(name) for name in joined["label"]], dtype=np.int64),
        probabilities=softmax(logits, axis=1),
        patient=pd.factorize(joined["patient"])[0].astype(np.int64),
        seed=record.seed,
    )


def overall(answers: CleanAnswers) -> list[Measure]:
    """Return accuracy, balanced accuracy, macro-F1, Brier score and negative log-likelihood over all films.

    Empty when films carry labels the subject has no class for: right and wrong are then not defined for them.
    """
    if not set(answers.labels) <= set(answers.classes):
        return []
    everyone = np.arange(len(answers.truth))
    target = np.array([answers.classes.index(name) for name in answers.labels])
    measures = [
        _of_counts(answers, "accuracy", partial(_accuracy, target=target), everyone),
        _of_counts(answers, "balanced_accuracy", partial(_balanced, target=target), everyone),
    ]
    if answers.labels == answers.classes:
        measures.append(_of_counts(answers, "macro_f1", _macro_f1, everyone))
        loss = np.log(np.clip(answers.probabilities[everyone, answers.truth], 1e-300, None))
        hits = np.eye(len(answers.classes))[answers.truth]
        brier = ((answers.probabilities - hits) ** 2).sum(1)
        measures.append(_of_films(answers, "brier", partial(scores.mean, values=brier), everyone))
        measures.append(_of_films(answers, "nll", partial(scores.mean, values=-loss), everyone))
    return measures


def per_class(answers: CleanAnswers) -> dict[str, list[Measure]]:
    """Return sensitivity, specificity, PPV, NPV, AUROC and AUPRC of each class against the rest.

    PPV and NPV are those of this cohort's own class mix. Empty unless the films carry exactly the subject's classes.
    """
    if answers.labels != answers.classes:
        return {}
    predicted = answers.probabilities.argmax(1)
    found: dict[str, list[Measure]] = {}
    for index, name in enumerate(answers.classes):
        own, said = answers.truth == index, predicted == index
        films = {"recall": own, "specificity": ~own, "ppv": said, "npv": ~said}
        score = answers.probabilities[:, index]
        found[name] = [
            _of_counts(
                answers, f"{measure}_{name}", partial(_one_vs_rest, index=index, which=measure), np.flatnonzero(rows)
            )
            for measure, rows in films.items()
        ] + [
            _of_films(answers, f"auroc_{name}", partial(scores.auroc, positive=own, score=score), np.arange(len(own))),
            _of_films(answers, f"auprc_{name}", partial(scores.auprc, positive=own, score=score), np.arange(len(own))),
        ]
    return found


def at_prevalence(answers: CleanAnswers) -> list[tuple[float, Measure, Measure]]:
    """Return (prevalence, PPV, NPV) of "any pneumonia" against the class `normal`, at stated prevalences.

    Empty when the subject has no class of that name.
    """
    names = [name.lower() for name in answers.classes]
    if answers.labels != answers.classes or "normal" not in names:
        return []
    normal, everyone = names.index("normal"), np.arange(len(answers.truth))
    return [
        (
            prevalence,
            _of_counts(answers, "ppv", partial(_ppv_at, normal=normal, prevalence=prevalence), everyone),
            _of_counts(answers, "npv", partial(_npv_at, normal=normal, prevalence=prevalence), everyone),
        )
        for prevalence in PREVALENCES
    ]


def row_intervals(answers: CleanAnswers) -> list[list[Measure]]:
    """Return, for each cell of the confusion matrix, its share of the row with an interval."""
    return [
        [
            _of_counts(
                answers, f"share_{label}_as_{said}", partial(_cell, row=row, column=column), answers.resamples[row][0]
            )
            for column, said in enumerate(answers.classes)
        ]
        for row, label in enumerate(answers.labels)
    ]


def _of_counts(answers: CleanAnswers, name: str, statistic: Callable[[Counts], Floats], films: Counts) -> Measure:
    return _measure(answers, name, float(statistic(answers.counts[None])[0]), statistic(answers.drawn_counts), films)


def _of_films(answers: CleanAnswers, name: str, statistic: Callable[[Floats], Floats], films: Counts) -> Measure:
    blocks = [slice(start, start + 200) for start in range(0, RESAMPLES, 200)]
    drawn = np.concatenate([statistic(answers.weights(block)) for block in blocks])
    return _measure(answers, name, float(statistic(np.ones((1, len(answers.truth))))[0]), drawn, films)


def _measure(answers: CleanAnswers, name: str, value: float, drawn: Floats, films: Counts) -> Measure:
    patients = len(np.unique(answers.patient[films]))
    estimator = f"patient bootstrap within class, B={RESAMPLES}, 95 %"
    finite = drawn[np.isfinite(drawn)]
    low, high = np.percentile(finite, [2.5, 97.5]) if len(finite) and np.isfinite(value) else (np.nan, np.nan)
    if low == high and value in (0.0, 1.0) and patients:
        # Without a single error every resample agrees; Wilson over the patients still knows how few they are.
        low, high = proportion_confint(round(value * patients), patients, method="wilson")
        estimator = "Wilson over patients, 95 %"
    involved = np.unique(answers.truth[films])
    smallest = min(answers.counts.sum(1)[involved], default=0)
    return Measure(
        name=name, condition="clean", estimate=value, low=float(low), high=float(high), n=len(films),
        patients=patients, estimator=estimator, exploratory=bool(smallest < SMALL_CLASS),
    )  # fmt: skip


def _count(rows: Counts, columns: Counts, height: int, width: int) -> Counts:
    return np.bincount(rows * width + columns, minlength=height * width).reshape(height, width).astype(np.int64)


def _ratio(top: NDArray[np.generic], bottom: NDArray[np.generic]) -> Floats:
    above, below = np.asarray(top, dtype=np.float64), np.asarray(bottom, dtype=np.float64)
    nothing = np.full(np.broadcast(above, below).shape, np.nan)
    return np.asarray(np.divide(above, below, out=nothing, where=below > 0))


def _right(counts: Counts, target: Counts) -> Counts:
    """(B, R) films answered right."""
    return counts[:, np.arange(len(target)), target]


def _accuracy(counts: Counts, target: Counts) -> Floats:
    return _ratio(_right(counts, target).sum(1), counts.sum((1, 2)))


def _balanced(counts: Counts, target: Counts) -> Floats:
    return np.asarray(_ratio(_right(counts, target), counts.sum(2)).mean(1))


def _macro_f1(counts: Counts) -> Floats:
    hits = counts.diagonal(axis1=1, axis2=2)
    return np.asarray(_ratio(2 * hits, counts.sum(1) + counts.sum(2)).mean(1))


def _one_vs_rest(counts: Counts, index: int, which: str) -> Floats:
    hit, own, said = counts[:, index, index], counts[:, index].sum(1), counts[:, :, index].sum(1)
    every = counts.sum((1, 2))
    neither = every - own - said + hit
    top, bottom = {
        "recall": (hit, own),
        "specificity": (neither, every - own),
        "ppv": (hit, said),
        "npv": (neither, every - said),
    }[which]
    return _ratio(top, bottom)


def _cell(counts: Counts, row: int, column: int) -> Floats:
    return _ratio(counts[:, row, column], counts[:, row].sum(1))


def _pneumonia_rates(counts: Counts, normal: int) -> tuple[Floats, Floats]:
    """Return (B,) sensitivity and specificity of any answer but `normal` for any truth but `normal`."""
    well = counts[:, normal].sum(1)
    ill = counts.sum((1, 2)) - well
    missed = counts[:, :, normal].sum(1) - counts[:, normal, normal]
    return _ratio(ill - missed, ill), _ratio(counts[:, normal, normal], well)


def _ppv_at(counts: Counts, normal: int, prevalence: float) -> Floats:
    sensitivity, specificity = _pneumonia_rates(counts, normal)
    true, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    return _ratio(true, true + false)


def _npv_at(counts: Counts, normal: int, prevalence: float) -> Floats:
    sensitivity, specificity = _pneumonia_rates(counts, normal)
    true, false = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return _ratio(true, true + false)
