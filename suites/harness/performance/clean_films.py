"""How well does a subject do on clean films? Per-class numbers with patient-bootstrap intervals.

Computed from the prediction table alone (condition `clean`, main cohort), on the very resamples the claims are judged
on, so that the same number has the same interval everywhere on the page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax

from calibration import ood
from calibration.operating import PREVALENCES, negative_value, positive_value
from suites.harness.cache.code_digest import digest_of_table
from suites.harness.cache.measures import KeptMeasures
from suites.harness.claims import Measure, Unit
from suites.harness.cohorts import class_roles
from suites.harness.cohorts.texts import places, texts_of
from suites.harness.performance import confusion_matrix
from suites.harness.performance.predictive_value import predictive
from suites.harness.process import give_back
from suites.harness.record import Record
from suites.harness.statistics import Resamples, Rows, Sampled, keyed, ranked
from suites.harness.subjects.subject import Subject

SMALL_CLASS = 100
"""Fewer films of a class than this make its rates exploratory."""
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class CleanAnswers:
    """One subject's answers to the clean films of the main cohort.

    Attributes:
        classes: K predicted class names; `labels` R true ones: the classes first, then labels the subject cannot say.
        truth: (N,) index into `labels`; `probabilities`: (N, K) softmax.
        resamples: of the patients of these films; `drawn_from`, where it is known, tells them from all others.
        kept: where measures that are slow to resample are found again; `None`: nowhere.
    """

    classes: tuple[str, ...]
    labels: tuple[str, ...]
    truth: Counts
    probabilities: Floats
    resamples: Resamples
    drawn_from: str = ""
    kept: KeptMeasures | None = None

    @property
    def decided_by(self) -> dict[str, object]:
        """What decides every measure of these answers, besides our code."""
        answers = hashlib.sha256(self.truth.tobytes() + self.probabilities.tobytes()).hexdigest()
        return {"classes": self.classes, "labels": self.labels, "answers": answers, "drawn from": self.drawn_from}

    @cached_property
    def counts(self) -> Floats:
        """(R, K) films of each true label by predicted class."""
        counts = self._cells.sum(0, dtype=np.float64)
        return np.asarray(counts.reshape(len(self.labels), len(self.classes)))

    @cached_property
    def drawn_counts(self) -> Floats:
        """(B, R, K) the same in every resample."""
        return self._counted(self.resamples.weights)

    @cached_property
    def left_out_counts(self) -> Floats:
        """(L, R, K) the same with one patient left out at a time."""
        return self._counted(self.resamples.left_out)

    def _counted(self, weights: Floats | Rows) -> Floats:
        return np.asarray((weights @ self._cells).reshape(-1, len(self.labels), len(self.classes)))

    @property
    def _cells(self) -> NDArray[np.uint8]:
        cell = self.truth * len(self.classes) + self.probabilities.argmax(1)
        return np.asarray(np.eye(len(self.labels) * len(self.classes), dtype=np.uint8)[cell])


def clean_answers(record: Record, subject: Subject) -> CleanAnswers | None:
    """Return the subject's answers to the clean, labelled films, or `None` where the run has none."""
    films, table = record.films_of(subject.name).table, record.predictions
    own = (table["subject"] == subject.name) & (table["cohort"] == record.cohort.name) & (table["condition"] == "clean")
    columns = [f"logit_{index}" for index in range(len(subject.classes))]
    if not own.any():
        return None
    answers = table.loc[own, columns].to_numpy(dtype=np.float64)
    at = places(texts_of(films["id"]), texts_of(table.loc[own, "image"]))
    logits = np.where((at >= 0)[:, None], answers[at], np.nan)
    names, name_of = keyed(films["label"].fillna("").astype(str))
    keep = np.isfinite(logits).all(1) & (names != "")[name_of]
    if not keep.any():
        return None
    present = set(names[np.unique(name_of[keep])].tolist())
    labels = [name for name in subject.classes if name in present]
    # A label the subject has no class for still gets its row, so that nothing disappears from the matrix.
    labels += sorted(present - set(subject.classes))
    resamples = Resamples.draw(films["patient"].astype(str), films["label"].astype(str), seed=record.seed)
    drawn_from = _drawn_from(films, keep, record.seed) if record.kept else ""
    index = np.array([labels.index(name) if name in present else -1 for name in names.tolist()], dtype=np.int64)
    truth, logits = index[name_of[keep]], logits[keep]
    del own, answers, at, name_of
    give_back()  # of many films: what was made to find their answers
    return CleanAnswers(
        classes=subject.classes,
        labels=tuple(labels),
        truth=truth,
        probabilities=softmax(logits, axis=1),
        resamples=resamples.subset(keep),
        drawn_from=drawn_from,
        kept=record.kept,
    )


def _drawn_from(films: pd.DataFrame, keep: NDArray[np.bool_], seed: int) -> str:
    """Return what tells the resamples of some films of a cohort from all others: everything they are drawn from."""
    return f"{seed} {digest_of_table(films[['patient', 'label']].astype(str).assign(keep=keep))}"


def overall(answers: CleanAnswers) -> list[Measure]:
    """Return accuracy, balanced accuracy, macro-F1, Brier score and negative log-likelihood over all films.

    Empty when films carry labels the subject has no class for: right and wrong are then not defined for them.
    """
    if not set(answers.labels) <= set(answers.classes):
        return []
    return _kept(answers, "all films", lambda: {"all": _overall(answers)})["all"]


def _overall(answers: CleanAnswers) -> list[Measure]:
    everyone = np.ones(len(answers.truth), dtype=bool)
    target = np.array([answers.classes.index(name) for name in answers.labels])
    by_class = _patients_by_class(answers)
    measures = [
        _of_counts(answers, "accuracy", partial(confusion_matrix.accuracy, target=target), everyone),
        _of_counts(
            answers,
            "balanced_accuracy",
            partial(confusion_matrix.balanced, target=target),
            everyone,
            by_class,
            of=_recalls(answers, target) if len(by_class) > 1 else (),  # else some patients are of two classes
        ),
    ]
    if answers.labels == answers.classes:
        # No plain mean of rates of the classes: the class with the fewest patients, the most doubtful one, bounds it.
        measures.append(
            _of_counts(answers, "macro_f1", confusion_matrix.macro_f1, everyone, (min(by_class),), unit="plain")
        )
        hits = np.eye(len(answers.classes))[answers.truth]
        brier = ((answers.probabilities - hits) ** 2).sum(1)
        loss = -np.log(np.clip((answers.probabilities * hits).sum(1), 1e-300, None))
        measures.append(_of_films(answers, "brier", partial(_mean, values=brier), highest=2.0))
        measures.append(_of_films(answers, "nll", partial(_mean, values=loss), highest=np.inf, unit="nats"))
    return measures


def per_class(answers: CleanAnswers) -> dict[str, list[Measure]]:
    """Return sensitivity, specificity, PPV, NPV, AUROC and AUPRC of each class against the rest.

    PPV and NPV are those of this cohort's own class mix. Empty unless the films carry exactly the subject's classes.
    Found again where they were found before: ranks in every resample of many films take longer than anything else here.
    """
    if answers.labels != answers.classes:
        return {}
    return _kept(answers, "each class", partial(_per_class, answers))


def _kept(answers: CleanAnswers, of: str, compute: Callable[[], dict[str, list[Measure]]]) -> dict[str, list[Measure]]:
    return compute() if answers.kept is None else answers.kept.once({"of": of, **answers.decided_by}, compute)


def _per_class(answers: CleanAnswers) -> dict[str, list[Measure]]:
    predicted = answers.probabilities.argmax(1)
    found: dict[str, list[Measure]] = {}
    for index, name in enumerate(answers.classes):
        own, said = answers.truth == index, predicted == index
        films = {"recall": own, "specificity": ~own, "ppv": said, "npv": ~said}
        score = answers.probabilities[:, index]
        fewest = (min(_patients(answers, own), _patients(answers, ~own)),)
        found[name] = [
            _of_counts(
                answers, f"{measure}_{name}", partial(confusion_matrix.one_vs_rest, index=index, which=measure), rows
            )
            for measure, rows in films.items()
        ] + [
            _of_ranks(answers, f"auroc_{name}", partial(ood.auroc, score, own), fewest),
            _of_ranks(answers, f"auprc_{name}", partial(ood.aupr, score, own), fewest),
        ]
    return found


def at_prevalence(answers: CleanAnswers) -> list[tuple[float, Measure, Measure]]:
    """Return (prevalence, PPV, NPV) of "any pneumonia" against the healthy class, at stated prevalences.

    Empty when the subject has no such class.
    """
    healthy = class_roles.healthy(answers.classes)
    if answers.labels != answers.classes or healthy is None:
        return []
    normal = answers.classes.index(healthy)
    well = answers.truth == normal
    found = (
        confusion_matrix.pneumonia_rates(counts, normal)
        for counts in (answers.counts[None], answers.drawn_counts, answers.left_out_counts)
    )
    rates = [
        Sampled(float(estimate[0]), drawn, _patients(answers, films), left_out=left_out)
        for estimate, drawn, left_out, films in zip(*found, (~well, well), strict=True)
    ]
    return [
        (
            prevalence,
            _predictive(answers, "ppv", partial(positive_value, prevalence=prevalence), rates),
            _predictive(answers, "npv", partial(negative_value, prevalence=prevalence), rates),
        )
        for prevalence in PREVALENCES
    ]


def row_intervals(answers: CleanAnswers) -> list[list[Measure]]:
    """Return, for each cell of the confusion matrix, its share of the row with an interval."""
    found = _kept(answers, "each cell", partial(_row_intervals, answers))
    return [found[label] for label in answers.labels]


def _row_intervals(answers: CleanAnswers) -> dict[str, list[Measure]]:
    return {
        label: [
            _of_counts(
                answers,
                f"share_{label}_as_{said}",
                partial(confusion_matrix.cell, row=row, column=column),
                answers.truth == row,
            )
            for column, said in enumerate(answers.classes)
        ]
        for row, label in enumerate(answers.labels)
    }


def _mean(weights: Floats | Rows, values: Floats) -> Floats:
    """Return (B,) means of (N,) values under (B, N) weights."""
    return np.asarray((weights @ values) / weights.sum(1))


def _patients(answers: CleanAnswers, films: NDArray[np.bool_]) -> int:
    return len(np.unique(answers.resamples.cluster[films]))


def _patients_by_class(answers: CleanAnswers) -> tuple[int, ...]:
    """Return the patients of each class that a mean over the classes rests on, the fewest alone where some have two."""
    counts = tuple(_patients(answers, answers.truth == label) for label in range(len(answers.labels)))
    apart = sum(counts) == _patients(answers, np.ones(len(answers.truth), dtype=bool))
    return counts if apart else (min(counts),)


def _predictive(
    answers: CleanAnswers, name: str, value: Callable[[Floats, Floats], Floats], rates: list[Sampled]
) -> Measure:
    """Return a predictive value of (sensitivity, specificity) as a measure of all films."""
    found = predictive(value, rates)
    everyone = np.ones(len(answers.truth), dtype=bool)
    measure = _measure(answers, name, (found.value, found.drawn, found.left_out), everyone, unit="share")
    if not np.isfinite(found.value):
        return measure
    return replace(measure, low=found.low, high=found.high, estimator=found.estimator)


def _of_counts(
    answers: CleanAnswers,
    name: str,
    statistic: Callable[[Floats], Floats],
    films: NDArray[np.bool_],
    parts: tuple[int, ...] = (),
    *,
    unit: Unit = "share",
    of: tuple[Sampled, ...] = (),
) -> Measure:
    value = float(statistic(answers.counts[None])[0])
    found = value, statistic(answers.drawn_counts), statistic(answers.left_out_counts)
    return _measure(answers, name, found, films, unit=unit, parts=parts, of=of)


def _recalls(answers: CleanAnswers, target: NDArray[np.int64]) -> tuple[Sampled, ...]:
    """Return the recall of each class among the films, whose mean is the balanced accuracy."""
    found = []
    for row, column in enumerate(target):
        recall = partial(confusion_matrix.cell, row=row, column=int(column))
        estimate, drawn, alone = map(recall, (answers.counts[None], answers.drawn_counts, answers.left_out_counts))
        found.append(Sampled(float(estimate[0]), drawn, _patients(answers, answers.truth == row), left_out=alone))
    return tuple(found)


def _of_films(
    answers: CleanAnswers,
    name: str,
    statistic: Callable[[Floats | Rows], Floats],
    *,
    highest: float = 1.0,
    unit: Unit = "plain",
) -> Measure:
    everyone = np.ones(len(answers.truth), dtype=bool)
    value = float(statistic(np.ones((1, len(everyone))))[0])
    found = value, statistic(answers.resamples.weights), statistic(answers.resamples.left_out)
    return _measure(answers, name, found, everyone, unit=unit, highest=highest)


def _of_ranks(answers: CleanAnswers, name: str, statistic: Callable[..., object], parts: tuple[int, ...]) -> Measure:
    """Return the measure of how well a score ranks films, a statistic called with `weights=` (see `ranked`)."""
    everyone = np.ones(len(answers.truth), dtype=bool)
    drawn, left_out, coarse = ranked(statistic, answers.resamples)
    found = float(np.asarray(statistic())), drawn, left_out
    return _measure(answers, name, found, everyone, unit="plain", parts=parts, coarse=float(coarse))


def _measure(
    answers: CleanAnswers,
    name: str,
    found: tuple[float, Floats, Floats | None],
    films: NDArray[np.bool_],
    *,
    unit: Unit,
    parts: tuple[int, ...] = (),
    highest: float = 1.0,
    coarse: float = 0.0,
    of: tuple[Sampled, ...] = (),
) -> Measure:
    """Return the measure of a statistic and its replicates.

    Args:
        answers: of the subject.
        name: of the measure.
        found: the value on the films, (B,) on the resamples, and (L,) with one patient left out at a time.
        films: those it rests on.
        unit: in which it is printed.
        parts: patients of the parts that bound it where nothing varies (see `Sampled.strata`); none for a ratio over
            all its films, whatever their class.
        highest: value it can take.
        coarse: see `Sampled.coarse`.
        of: the statistics of the classes it is the plain mean of, see `Sampled.of`.
    """
    n = int(films.sum())
    value, drawn, left_out = found
    # Over all films the smallest class counts; a ratio over some (those called so) is as small as these are together.
    sizes = np.bincount(answers.truth)
    smallest = int(sizes[sizes > 0].min()) if films.all() else n
    sampled = Sampled(value, drawn, _patients(answers, films), (0.0, highest), parts, left_out, coarse=coarse, of=of)
    ends = sampled.interval() if np.isfinite(value) else None
    return Measure(
        name=name,
        condition="clean",
        unit=unit,
        estimate=value,
        low=ends.low if ends else np.nan,
        high=ends.high if ends else np.nan,
        n=n,
        patients=sampled.patients,
        estimator=sampled.estimator,
        exploratory=smallest < SMALL_CLASS,
        smallest=smallest if smallest < n else 0,
    )
