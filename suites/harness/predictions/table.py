"""What did every subject predict for every film and condition? One row each: predict once, judge many.

Films are answered in blocks, for all subjects together, by this process or by several; what the cache holds already is
not done again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pandas.api.types import union_categoricals
from tqdm import tqdm

from suites.harness.cache.places import Root
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.identities import Identities
from suites.harness.cohorts.texts import TextByName, as_arrow
from suites.harness.errors import one_line
from suites.harness.predictions.answering import PredictionJob
from suites.harness.predictions.blocks import Receipt, cut
from suites.harness.predictions.collecting import Collected
from suites.harness.predictions.conditions import Condition
from suites.harness.predictions.dispatching import THIS_PROCESS, Workers
from suites.harness.predictions.resolution import AS_STORED, Resolution
from suites.harness.process import give_back
from suites.harness.progress import Progress
from suites.harness.subjects.subject import Subject

TEXTS = ("subject", "cohort", "image", "condition", "undefined")
"""Columns of a table of predictions that say the same of many rows."""


@dataclass(frozen=True)
class Predictions:
    """What one subject answered on one cohort.

    Attributes:
        table: columns `subject`, `cohort`, `image`, `condition`, `severity`, `logit_0` ... `logit_{K-1}`, `undefined`
            (why the condition has no meaning for this film, else empty; its logits are then NaN); in cohort order,
            then in the order of the conditions; texts are categories, of which there are few, severities one byte.
        features: (N, D) float32 penultimate features of the clean films, rows as the clean rows of the table.
        excluded: columns `cohort`, `file`, `reason`: the films that could not be read.
        computed: rows that were not in the cache.
        contents: what identifies the pixels of each film, by its id.
        notes: what a reader must know of how films were read, a sentence each.
        failed: text of a condition whose code failed on a film -> how; it is in no row of the table.
    """

    table: pd.DataFrame
    features: npt.NDArray[np.float32] | None
    excluded: pd.DataFrame
    computed: int
    contents: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)


def predict(
    subjects: Mapping[str, tuple[Subject, Sequence[Condition]]],
    cohort: Cohort,
    *,
    seed: int,
    cache: Path,
    quiet: bool = False,
    resolution: Resolution = AS_STORED,
    progress: Progress | None = None,
    workers: Workers = THIS_PROCESS,
    blocks_at: Root | None = None,
) -> dict[str, Predictions]:
    """Return the predictions of every subject on every film, computing only what the cache lacks.

    Args:
        subjects: name -> subject, and the conditions it is asked under.
        cohort: the films.
        seed: of the run.
        cache: root of the cache.
        quiet: show no progress.
        resolution: at which films are perturbed.
        progress: told of every film and condition that is answered, for each subject.
        workers: who does it; the answers are the same.
        blocks_at: where finished blocks are kept, where that is not the cache.

    Raises:
        PredictionProblem: a subject answered NaN, infinity or the wrong shape; the image is named.
        UsageProblem: the cache cannot be written, or a film changed while it was read.
    """
    identities = Identities(cohort, cache)
    job = PredictionJob.of(
        subjects, identities.cohort, seed=seed, cache=cache, resolution=resolution, blocks_at=blocks_at
    )
    predicting = job.ready({name: subject for name, (subject, _) in subjects.items()})
    blocks = cut(identities.rows)
    receipts: list[Receipt] = []
    films: dict[int, list[pa.Array]] = {}  # ids and contents
    answered = {name: Collected(name, engine, subjects[name][1], blocks) for name, engine in predicting.engines.items()}
    with _following(progress or Progress(), cohort, quiet=quiet) as told, identities:
        for receipt in workers.receipts(predicting, blocks, told):
            identities.keep(blocks[receipt.number].rows, receipt.films, receipt.notes)
            for collected in answered.values():
                collected.take(receipt)
            films[receipt.number] = [as_arrow(column) for column in zip(*receipt.films, strict=True)]
            receipts.append(replace(receipt, films=(), filed={}))  # of many films names and contents are many objects
    receipts.sort(key=lambda receipt: receipt.number)
    contents = TextByName(
        pair
        for receipt in receipts
        for pair in zip(*(column.to_pylist() for column in films.pop(receipt.number)), strict=True)
    )
    failed = {text: how for receipt in reversed(receipts) for text, how in receipt.failed.items()}
    excluded = [(cohort.name, file, reason) for receipt in receipts for file, reason in receipt.unreadable]
    left_out = pd.DataFrame(excluded, columns=["cohort", "file", "reason"], dtype=str)
    notes = _notes(receipts, cohort)
    found = {}
    for name in predicting.engines:
        collected = answered.pop(name)
        ran = [condition for condition in subjects[name][1] if condition.text not in failed]
        table, features = collected.table(cohort.name, ran)
        found[name] = Predictions(table, features, left_out, collected.computed, contents, notes, failed)
        del collected
    del blocks, receipts, job, predicting, identities
    give_back()  # of many films: what is known of them, and what their blocks were read from
    return found


@dataclass(frozen=True)
class _Following:
    """Tells the progress of a run how far its blocks are."""

    progress: Progress
    bar: tqdm[NoReturn]

    def done(self, units: int) -> None:
        self.progress.done(units)

    def films(self, count: int, found: int) -> None:
        self.bar.update(count)
        self.progress.found(found)
        self.progress.decoded(count)

    def under_way(self, units: float) -> None:
        """Take no note: a pass is over in a moment."""


@contextmanager
def _following(progress: Progress, cohort: Cohort, *, quiet: bool) -> Iterator[_Following]:
    with (
        tqdm(total=len(cohort), unit="film", desc=cohort.name, disable=quiet or None, leave=False) as bar,
        progress.doing("predicting", one_line(cohort.name, 30)),
    ):
        yield _Following(progress, bar)


def _notes(receipts: Sequence[Receipt], cohort: Cohort) -> tuple[str, ...]:
    noted: dict[str, list[str]] = {}
    for receipt in receipts:
        for image, note in receipt.notes:
            noted.setdefault(note, []).append(image)
    return tuple(
        f"{len(films)} of {len(cohort)} films of {cohort.name} (first {films[0]}): {note}"
        for note, films in sorted(noted.items())
    )


def together(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return prediction tables one below the other; one alone is not copied."""
    if len(tables) == 1:
        return tables[0].reset_index(drop=True)
    found = pd.concat(tables, ignore_index=True)
    texts = [name for name in TEXTS if all(isinstance(table[name].dtype, pd.CategoricalDtype) for table in tables)]
    return found.assign(**{name: union_categoricals([table[name] for table in tables]) for name in texts})
