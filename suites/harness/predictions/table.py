"""What did every subject predict for every film and condition? One row each: predict once, judge many.

Every film is decoded once and changed once into each of its conditions, for all subjects together, ahead of the
networks in threads of its own; what the cache holds already is not done again.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from suites.harness.cohorts.cohort import Cohort, Row
from suites.harness.errors import FilmUnreadable, PredictionProblem, one_line
from suites.harness.foreign_code import foreign
from suites.harness.predictions.conditions import CLEAN, Condition, ConditionFailed, apply_all
from suites.harness.predictions.engine import KEY, Engine
from suites.harness.subjects.subject import Subject


@dataclass(frozen=True)
class Predictions:
    """What one subject answered on one cohort.

    Attributes:
        table: columns `subject`, `cohort`, `image`, `condition`, `severity`, `logit_0` ... `logit_{K-1}`, `undefined`
            (why the condition has no meaning for this film, else empty; its logits are then NaN); in cohort order,
            then in the order of the conditions.
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


@dataclass
class _Work:
    """One film on its way: its identity, and per engine the input it still has to answer."""

    film: tuple[str, str]
    asked: list[tuple[Engine, Condition, Tensor]] = field(default_factory=list)
    undefined: list[tuple[Engine, Condition, str]] = field(default_factory=list)
    note: str = ""
    failed: list[tuple[Condition, str]] = field(default_factory=list)


def predict(
    subjects: Mapping[str, tuple[Subject, Sequence[Condition]]],
    cohort: Cohort,
    *,
    seed: int,
    cache: Path,
    quiet: bool = False,
) -> dict[str, Predictions]:
    """Return the predictions of every subject on every film, computing only what the cache lacks.

    Args:
        subjects: name -> subject, and the conditions it is asked under.
        cohort: the films.
        seed: of the run.
        cache: root of the cache.
        quiet: show no progress.

    Raises:
        PredictionProblem: a subject answered NaN, infinity or the wrong shape; the image is named.
        UsageProblem: the cache cannot be written.
    """
    engines = {name: Engine(subject, seed, cache) for name, (subject, _) in subjects.items()}
    wanted = [(engines[name], list(conditions)) for name, (_, conditions) in subjects.items()]
    rows = cohort.rows()
    contents: dict[str, str] = {}
    failed: dict[str, str] = {}
    excluded: list[tuple[str, str, str]] = []
    noted: dict[str, list[str]] = {}
    with (
        tqdm(total=len(rows), unit="film", desc=cohort.name, disable=quiet or None, leave=False) as bar,
        ExitStack() as kept,
    ):
        for engine in engines.values():
            kept.enter_context(engine.keeping)
        for row, work in _ahead(rows, cohort, wanted, seed):
            bar.update()
            if isinstance(work, FilmUnreadable):
                excluded.append((cohort.name, str(row["file"]), str(work)))
                continue
            contents[work.film[0]] = work.film[1]
            if work.note:
                noted.setdefault(work.note, []).append(work.film[0])
            for condition, how in work.failed:
                failed.setdefault(condition.text, how)
            for engine, condition, reason in work.undefined:
                engine.note_undefined(work.film, condition, reason)
            for engine, condition, views in work.asked:
                engine.ask(work.film, condition, views)
        for engine in engines.values():
            engine.finish()
    left_out = pd.DataFrame(excluded, columns=["cohort", "file", "reason"], dtype=str)
    notes = tuple(
        f"{len(films)} of {len(rows)} films of {cohort.name} (first {films[0]}): {note}"
        for note, films in sorted(noted.items())
    )
    found = {}
    for name, engine in engines.items():
        ran = [condition for condition in subjects[name][1] if condition.text not in failed]
        table, features = _collect(engine, cohort, ran, contents)
        found[name] = Predictions(table, features, left_out, engine.computed, contents, notes, failed)
    return found


def _ahead(
    rows: Sequence[Row], cohort: Cohort, wanted: Sequence[tuple[Engine, list[Condition]]], seed: int
) -> Iterator[tuple[Row, _Work | FilmUnreadable]]:
    """Decode and change films ahead of the networks, a few at a time so that memory stays flat."""

    def prepare(row: Row) -> _Work | FilmUnreadable:
        try:
            return _prepare(row, cohort, wanted, seed)
        except FilmUnreadable as unreadable:
            return unreadable

    threads = os.cpu_count() or 1
    # Each film on one core: its operations are so small that a second thread costs more than it does.
    with ThreadPoolExecutor(max_workers=threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        pending: deque[tuple[Row, Future[_Work | FilmUnreadable]]] = deque()
        try:
            for row in rows:
                pending.append((row, pool.submit(prepare, row)))
                if len(pending) > threads:
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        finally:
            for _, future in pending:
                future.cancel()


def _prepare(row: Row, cohort: Cohort, wanted: Sequence[tuple[Engine, list[Condition]]], seed: int) -> _Work:
    """Change one film into what is missing of its conditions, each once for all subjects."""
    image = str(row["id"])
    content, decode = cohort.opened(row)
    work = _Work((image, content), note="" if cohort.identify else decode().note)  # else it is decoded already
    askers: dict[Condition, list[Engine]] = {}
    for engine, conditions in wanted:
        for condition in engine.missing(image, content, conditions):
            askers.setdefault(condition, []).append(engine)
    if not askers:
        return work
    film = decode()
    lungs = torch.from_numpy(film.masks["lung"]) if "lung" in film.masks else None
    for condition, views, reason in apply_all(torch.from_numpy(film.pixels), askers, image, seed=seed, lungs=lungs):
        if isinstance(reason, ConditionFailed):
            work.failed.append((condition, str(reason)))
            continue
        if views is None:
            work.undefined += [(engine, condition, reason) for engine in askers[condition]]
            continue
        inputs: dict[object, Tensor] = {}
        for engine in askers[condition]:
            if engine.subject.network is None:
                work.asked.append((engine, condition, views))
                continue
            recipe = engine.recipe(condition)
            key = type(recipe), tuple(recipe.fingerprint().items())  # a user's recipe has code of its own
            if key not in inputs:
                what = f"the preprocessing {recipe.name!r} failed on image {one_line(image, 40)}"
                with foreign(PredictionProblem, what, at=type(recipe)), torch.inference_mode():
                    inputs[key] = recipe(views)
            work.asked.append((engine, condition, inputs[key]))
    return work


def _collect(
    engine: Engine, cohort: Cohort, conditions: Sequence[Condition], contents: Mapping[str, str]
) -> tuple[pd.DataFrame, npt.NDArray[np.float32] | None]:
    """Return the table in cohort order, and the features of the clean films, from the rows an engine knows."""
    order = pd.DataFrame(
        [
            (contents[image], image, condition.identity, condition.text, condition.severity)
            for image in cohort.table["id"].astype(str)
            if image in contents
            for condition in conditions
        ],
        columns=[*KEY, "condition", "severity"],
    )
    table = order.merge(engine.rows(), on=KEY, how="left", validate="many_to_one")
    clean = table.loc[table["condition"] == CLEAN, "features"]
    features = None
    if len(clean) and clean.notna().all():
        features = np.stack([np.frombuffer(value, np.float32) for value in clean])
    logits = [f"logit_{index}" for index in range(engine.width)]
    table = table.assign(subject=engine.subject.name, cohort=cohort.name)
    table = table[["subject", "cohort", "image", "condition", "severity", *logits, "undefined"]]
    return table.astype(dict.fromkeys(logits, "float32")), features
