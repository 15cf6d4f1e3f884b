"""Performance on the clean films: confusion matrix and per-class numbers with patient-bootstrap intervals.

Computed from the prediction table alone (condition `clean`, main cohort), on the very resamples the claims are judged
on, so that the same number has the same interval everywhere on the page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from suites.harness.claims import Measure
from suites.harness.record import Record
from suites.harness.report import scores
from suites.harness.statistics import Resamples, Sampled
from suites.harness.subject import Subject

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
        truth: (N,) index into `labels`; `probabilities`: (N, K) softmax.
        resamples: of the patients of these films.
    """

    classes: tuple[str, ...]
    labels: tuple[str, ...]
    truth: Counts
    probabilities: Floats
    resamples: Resamples

    @cached_property
    def counts(self) -> Floats:
        """(R, K) films of each true label by predicted class."""
        return np.asarray(self._cells.sum(0).reshape(len(self.labels), len(self.classes)))

    @cached_property
    def drawn_counts(self) -> Floats:
        """(B, R, K) the same in every resample."""
        drawn = self.resamples.weights @ self._cells
        return np.asarray(drawn.reshape(-1, len(self.labels), len(self.classes)))

    @property
    def _cells(self) -> Floats:
        cell = self.truth * len(self.classes) + self.probabilities.argmax(1)
        return np.asarray(np.eye(len(self.labels) * len(self.classes))[cell])


def clean_answers(record: Record, subject: Subject) -> CleanAnswers | None:
    """Return the subject's answers to the clean, labelled films, or `None` where the run has none."""
    films, table = record.cohort.table, record.predictions
    own = (table["subject"] == subject.name) & (table["cohort"] == record.cohort.name) & (table["condition"] == "clean")
    columns = [f"logit_{index}" for index in range(len(subject.classes))]
    if not own.any():
        return None
    answers = table[own].set_index(table.loc[own, "image"].astype(str))[columns].astype(np.float64)
    logits = answers.reindex(films["id"].astype(str)).to_numpy(dtype=np.float64)
    names = films["label"].fillna("").astype(str).to_numpy()
    keep = np.isfinite(logits).all(1) & ~np.isin(names, ["", "nan", "None"])
    if not keep.any():
        return None
    present = set(names[keep])
    labels = [name for name in subject.classes if name in present]
    # A label the subject has no class for still gets its row, so that nothing disappears from the matrix.
    labels += sorted(present - set(subject.classes))
    resamples = Resamples.draw(films["patient"].astype(str), films["label"].astype(str), seed=record.seed)
    return CleanAnswers(
        classes=subject.classes,
        labels=tuple(labels),
        truth=np.array([labels.index(name) for name in names[keep]], dtype=np.int64),
        probabilities=softmax(logits[keep], axis=1),
        resamples=resamples.subset(keep),
    )


def overall(answers: CleanAnswers) -> list[Measure]:
    """Return accuracy, balanced accuracy, macro-F1, Brier score and negative log-likelihood over all films.

    Empty when films carry labels the subject has no class for: right and wrong are then not defined for them.
    """
    if not set(answers.labels) <= set(answers.classes):
        return []
    everyone = np.ones(len(answers.truth), dtype=bool)
    target = np.array([answers.classes.index(name) for name in answers.labels])
    measures = [
        _of_counts(answers, "accuracy", partial(_accuracy, target=target), everyone),
        _of_counts(answers, "balanced_accuracy", partial(_balanced, target=target), everyone),
    ]
    if answers.labels == answers.classes:
        measures.append(_of_counts(answers, "macro_f1", _macro_f1, everyone))
        hits = np.eye(len(answers.classes))[answers.truth]
        brier = ((answers.probabilities - hits) ** 2).sum(1)
        loss = -np.log(np.clip((answers.probabilities * hits).sum(1), 1e-300, None))
        measures.append(_of_films(answers, "brier", partial(scores.mean, values=brier), highest=2.0))
        measures.append(_of_films(answers, "nll", partial(scores.mean, values=loss), highest=np.inf))
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
            _of_counts(answers, f"{measure}_{name}", partial(_one_vs_rest, index=index, which=measure), rows)
            for measure, rows in films.items()
        ] + [
            _of_films(answers, f"auroc_{name}", partial(scores.auroc, positive=own, score=score)),
            _of_films(answers, f"auprc_{name}", partial(scores.auprc, positive=own, score=score)),
        ]
    return found


def at_prevalence(answers: CleanAnswers) -> list[tuple[float, Measure, Measure]]:
    """Return (prevalence, PPV, NPV) of "any pneumonia" against the class `normal`, at stated prevalences.

    Empty when the subject has no class of that name.
    """
    names = [name.lower() for name in answers.classes]
    if answers.labels != answers.classes or "normal" not in names:
        return []
    normal, everyone = names.index("normal"), np.ones(len(answers.truth), dtype=bool)
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
                answers, f"share_{label}_as_{said}", partial(_cell, row=row, column=column), answers.truth == row
            )
            for column, said in enumerate(answers.classes)
        ]
        for row, label in enumerate(answers.labels)
    ]


def _of_counts(
    answers: CleanAnswers, name: str, statistic: Callable[[Floats], Floats], films: NDArray[np.bool_]
) -> Measure:
    return _measure(answers, name, float(statistic(answers.counts[None])[0]), statistic(answers.drawn_counts), films)


def _of_films(answers: CleanAnswers, name: str, statistic: Callable[[Floats], Floats], highest: float = 1.0) -> Measure:
    everyone = np.ones(len(answers.truth), dtype=bool)
    drawn = np.concatenate([statistic(block) for block in np.array_split(answers.resamples.weights, 10)])
    value = float(statistic(np.ones((1, len(everyone))))[0])
    return _measure(answers, name, value, drawn, everyone, highest=highest)


def _measure(
    answers: CleanAnswers, name: str, value: float, drawn: Floats, films: NDArray[np.bool_], *, highest: float = 1.0
) -> Measure:
    """Return the measure of a statistic and its replicates; `films` are those it rests on."""
    involved, sizes = np.unique(answers.truth[films], return_counts=True)
    clusters = [len(np.unique(answers.resamples.cluster[films & (answers.truth == label)])) for label in involved]
    # Where nothing varies the bound is that of the class with the fewest patients, the most doubtful one.
    sampled = Sampled(value, drawn, min(clusters, default=0), (0.0, highest))
    ends = sampled.interval() if np.isfinite(value) else None
    return Measure(
        name=name,
        condition="clean",
        estimate=value,
        low=ends.low if ends else np.nan,
        high=ends.high if ends else np.nan,
        n=int(films.sum()),
        patients=len(np.unique(answers.resamples.cluster[films])),
        estimator=sampled.estimator,
        exploratory=bool(min(sizes, default=0) < SMALL_CLASS),
    )


def _ratio(top: NDArray[np.generic], bottom: NDArray[np.generic]) -> Floats:
    above, below = np.asarray(top, dtype=np.float64), np.asarray(bottom, dtype=np.float64)
    nothing = np.full(np.broadcast(above, below).shape, np.nan)
    return np.asarray(np.divide(above, below, out=nothing, where=below > 0))


def _right(counts: Floats, target: Counts) -> Floats:
    """(B, R) films answered right."""
    return counts[:, np.arange(len(target)), target]


def _accuracy(counts: Floats, target: Counts) -> Floats:
    return _ratio(_right(counts, target).sum(1), counts.sum((1, 2)))


def _balanced(counts: Floats, target: Counts) -> Floats:
    return np.asarray(_ratio(_right(counts, target), counts.sum(2)).mean(1))


def _macro_f1(counts: Floats) -> Floats:
    hits = counts.diagonal(axis1=1, axis2=2)
    return np.asarray(_ratio(2 * hits, counts.sum(1) + counts.sum(2)).mean(1))


def _one_vs_rest(counts: Floats, index: int, which: str) -> Floats:
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


def _cell(counts: Floats, row: int, column: int) -> Floats:
    return _ratio(counts[:, row, column], counts[:, row].sum(1))


def _pneumonia_rates(counts: Floats, normal: int) -> tuple[Floats, Floats]:
    """Return (B,) sensitivity and specificity of any answer but `normal` for any truth but `normal`."""
    well = counts[:, normal].sum(1)
    ill = counts.sum((1, 2)) - well
    missed = counts[:, :, normal].sum(1) - counts[:, normal, normal]
    return _ratio(ill - missed, ill), _ratio(counts[:, normal, normal], well)


def _ppv_at(counts: Floats, normal: int, prevalence: float) -> Floats:
    sensitivity, specificity = _pneumonia_rates(counts, normal)
    true, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    return _ratio(true, true + false)


def _npv_at(counts: Floats, normal: int, prevalence: float) -> Floats:
    sensitivity, specificity = _pneumonia_rates(counts, normal)
    true, false = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return _ratio(true, true + false)
