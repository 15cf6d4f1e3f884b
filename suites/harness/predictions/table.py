"""What did every subject predict for every film and condition? One row each: predict once, judge many.

Films are answered in blocks, for all subjects together, by this process or by several; what the cache holds already is
not done again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pandas.api.types import union_categoricals
from tqdm import tqdm

from suites.harness.cache.block_shards import KEY
from suites.harness.cache.places import Root
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.identities import Identities
from suites.harness.cohorts.texts import TextByName
from suites.harness.errors import one_line
from suites.harness.predictions.answering import PredictionJob
from suites.harness.predictions.blocks import Filed, Receipt, cut, gathered
from suites.harness.predictions.conditions import CLEAN, Condition
from suites.harness.predictions.dispatching import THIS_PROCESS, Workers
from suites.harness.predictions.engine import Engine
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
    answered: dict[str, dict[int, pa.Table]] = {name: {} for name in predicting.engines}
    with _following(progress or Progress(), cohort, quiet=quiet) as told, identities:
        for receipt in workers.receipts(predicting, blocks, told):
            identities.keep(blocks[receipt.number].rows, receipt.films, receipt.notes)
            receipts.append(receipt)
            for name, engine in predicting.engines.items():  # now, while the shard is at hand
                answered[name][receipt.number] = gathered(engine.shards, name, [receipt]).drop_columns(list(KEY))
    receipts.sort(key=lambda receipt: receipt.number)
    contents = TextByName((image, content) for receipt in receipts for image, content in receipt.films)
    failed = {text: how for receipt in reversed(receipts) for text, how in receipt.failed.items()}
    excluded = [(cohort.name, file, reason) for receipt in receipts for file, reason in receipt.unreadable]
    left_out = pd.DataFrame(excluded, columns=["cohort", "file", "reason"], dtype=str)
    notes = _notes(receipts, cohort)
    found = {}
    for name, engine in predicting.engines.items():
        ran = [condition for condition in subjects[name][1] if condition.text not in failed]
        filed = [receipt.filed[name] for receipt in receipts]
        table, features = _collect(engine, filed, receipts, answered[name], cohort=cohort, conditions=ran)
        computed = sum(one.computed for one in filed)
        found[name] = Predictions(table, features, left_out, computed, contents, notes, failed)
    del blocks, receipts, job, predicting, identities
    give_back()  # of many films: what is known of them, and the tables of their blocks
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


def _collect(
    engine: Engine,
    filed_here: Sequence[Filed],
    receipts: Sequence[Receipt],
    answered: dict[int, pa.Table],
    *,
    cohort: Cohort,
    conditions: Sequence[Condition],
) -> tuple[pd.DataFrame, npt.NDArray[np.float32] | None]:
    """Return the table in cohort order, and the features of the clean films.

    Args:
        engine: that answered.
        filed_here: what of its answers is in which block, in the order of `receipts`.
        receipts: of the blocks in their order.
        answered: number of a block -> its rows: film by film, within a film by identity; they are taken out one by one.
        cohort: the films.
        conditions: that every film was asked under.
    """
    readable = {image for receipt in receipts for image, _ in receipt.films}
    clean = [place for place, condition in enumerate(conditions) if condition.text == CLEAN]
    images: list[str] = []
    each = len(conditions)
    logits = [f"logit_{index}" for index in range(engine.width)]
    room = sum(len(filed.films) for filed in filed_here) * each
    numbers = {name: np.empty(room, dtype=np.float32) for name in logits}
    reasons, known = np.zeros(room, dtype=np.int32), {"": 0}
    features: list[npt.NDArray[np.float32]] = []
    for receipt, filed in zip(receipts, filed_here, strict=True):
        rows = answered.pop(receipt.number)
        place = {identity: at for at, identity in enumerate(sorted(set(filed.identities)))}
        own = np.array([place[condition.identity] for condition in conditions], dtype=np.int64)
        films = [film for film, (image, _) in enumerate(filed.films) if image in readable]
        here = slice(len(images) * each, (len(images) + len(films)) * each)
        images += [filed.films[film][0] for film in films]
        at = np.array(films, dtype=np.int64)[:, None] * len(place) + own
        for name, values in numbers.items():
            values[here] = rows[name].to_numpy()[at.ravel()]
        told = rows["undefined"].combine_chunks().dictionary_encode()
        codes = np.array([known.setdefault(text, len(known)) for text in told.dictionary.to_pylist()], dtype=np.int32)
        reasons[here] = codes[told.indices.to_numpy()[at.ravel()]] if len(codes) else 0
        seen = rows["features"].take(at[:, clean].ravel())
        if len(seen) and not seen.null_count:
            features.append(np.stack([np.frombuffer(value, np.float32) for value in seen.to_pylist()]))
    rows_in_all = len(images) * each
    columns: dict[str, object] = {
        "subject": _repeated([engine.subject.name], np.zeros(rows_in_all, dtype=np.int8)),
        "cohort": _repeated([cohort.name], np.zeros(rows_in_all, dtype=np.int8)),
        "image": _repeated(images, np.repeat(np.arange(len(images), dtype=np.int32), each)),
        "condition": _repeated(
            [condition.text for condition in conditions], np.tile(np.arange(each, dtype=np.int16), len(images))
        ),
        "severity": np.tile(np.array([condition.severity for condition in conditions], dtype=np.int8), len(images)),
        **{name: values[:rows_in_all] for name, values in numbers.items()},
        "undefined": _repeated(list(known), reasons[:rows_in_all]),
    }
    table = pd.DataFrame(columns, copy=False)
    whole = np.concatenate(features) if sum(map(len, features)) == len(images) * len(clean) and features else None
    return table, whole


def _repeated(texts: Sequence[str], places: npt.NDArray[np.signedinteger[Any]]) -> pd.Series:
    """Return a column of texts, each named by its place among a few, without an object for each row."""
    codes, known = pd.factorize(np.array(texts, dtype=object))
    small = codes.astype(np.min_scalar_type(-len(known) - 1))
    categories = pd.Index(known, dtype="str")
    found = pd.Series(pd.Categorical.from_codes(small[places], categories), copy=False)
    # pandas has made an object of each text to see that there are no two of a kind, and would keep them all.
    getattr(categories, "_cache", {}).pop("_engine", None)
    return found


def together(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return prediction tables one below the other; one alone is not copied."""
    if len(tables) == 1:
        return tables[0].reset_index(drop=True)
    found = pd.concat(tables, ignore_index=True)
    texts = [name for name in TEXTS if all(isinstance(table[name].dtype, pd.CategoricalDtype) for table in tables)]
    return found.assign(**{name: union_categoricals([table[name] for table in tables]) for name in texts})
