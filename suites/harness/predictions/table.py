"""What did every subject predict for every film and condition? One row each: predict once, judge many.

Every film is decoded once and changed once into each of its conditions, for all subjects together, ahead of the
networks in threads of its own; what the cache holds already is not done again.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from robustness.content_cache import forget
from suites.harness.cohorts.cohort import Cohort, Row
from suites.harness.errors import FilmUnreadable, PredictionProblem, one_line
from suites.harness.foreign_code import foreign
from suites.harness.predictions.ahead import AT_WORK, Room, ahead
from suites.harness.predictions.conditions import CLEAN, Condition, ConditionFailed, apply_all
from suites.harness.predictions.engine import KEY, Engine
from suites.harness.predictions.resolution import AS_STORED, Resolution
from suites.harness.process import give_back
from suites.harness.progress import Progress
from suites.harness.subjects.subject import Subject

STORED_IMAGES, WORKING_IMAGES = 12, 40
"""Images of the size of a film, as stored and as it is perturbed, that are in use at once, what is remembered of it
included."""

LARGE = 16 * 1024**2
"""Bytes of a film from which on freed memory is handed back after it: its pieces fit nothing else."""
HUGE = 48 * 1024**2
"""Bytes of a film from which on it is handed back after each condition: half a gigabyte would lie idle else."""


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


@dataclass(frozen=True)
class _Opened:
    """A film that could be read: its identity, and what must be known of how it was."""

    film: tuple[str, str]
    note: str


@dataclass(frozen=True)
class _Asked:
    """What an engine is asked about a film under a condition."""

    engine: Engine
    film: tuple[str, str]
    condition: Condition
    views: Tensor


@dataclass(frozen=True)
class _Undefined:
    """Why an engine is not asked about a film under a condition."""

    engine: Engine
    film: tuple[str, str]
    condition: Condition
    reason: str


@dataclass(frozen=True)
class _Failed:
    """A condition whose code failed, and how."""

    condition: Condition
    how: str


_Piece = _Opened | _Asked | _Undefined | _Failed


def predict(
    subjects: Mapping[str, tuple[Subject, Sequence[Condition]]],
    cohort: Cohort,
    *,
    seed: int,
    cache: Path,
    quiet: bool = False,
    resolution: Resolution = AS_STORED,
    progress: Progress | None = None,
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

    Raises:
        PredictionProblem: a subject answered NaN, infinity or the wrong shape; the image is named.
        UsageProblem: the cache cannot be written.
    """
    engines = {name: Engine(subject, seed, cache, resolution) for name, (subject, _) in subjects.items()}
    wanted = [(engines[name], list(conditions)) for name, (_, conditions) in subjects.items()]
    progress = progress or Progress()
    rows, per_film = cohort.rows(), sum(len(conditions) for _, conditions in wanted)
    contents: dict[str, str] = {}
    failed: dict[str, str] = {}
    excluded: list[tuple[str, str, str]] = []
    noted: dict[str, list[str]] = {}
    with (
        tqdm(total=len(rows), unit="film", desc=cohort.name, disable=quiet or None, leave=False) as bar,
        progress.doing("predicting", one_line(cohort.name, 30)),
        ExitStack() as kept,
    ):
        for engine in engines.values():
            kept.enter_context(engine.keeping)
        for row, pieces in ahead(rows, _Making(cohort, wanted, seed, resolution).pieces):
            made = 0
            try:
                for piece in pieces:
                    match piece:
                        case _Opened(film, note):
                            contents[film[0]] = film[1]
                            if note:
                                noted.setdefault(note, []).append(film[0])
                        case _Failed(condition, how):
                            failed.setdefault(condition.text, how)
                        case _Undefined(engine, film, condition, reason):
                            engine.note_undefined(film, condition, reason)
                            made += 1
                            progress.done()
                        case _Asked(engine, film, condition, views):
                            engine.ask(film, condition, views)
                            made += 1
                            progress.done()
            except FilmUnreadable as unreadable:
                excluded.append((cohort.name, str(row["file"]), str(unreadable)))
            bar.update()
            progress.found(per_film - made)
            progress.decoded()
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


@dataclass(frozen=True)
class _Making:
    """How a film becomes what the engines are asked about it.

    Attributes:
        cohort: it is of.
        wanted: engines, and the conditions each is asked under.
        seed: of the run.
        resolution: at which it is perturbed.
        room: for films that are worked on at once.
    """

    cohort: Cohort
    wanted: Sequence[tuple[Engine, list[Condition]]]
    seed: int
    resolution: Resolution
    room: Room = field(default_factory=lambda: Room(AT_WORK))

    def pieces(self, turn: int, row: Row) -> Generator[tuple[_Piece, int]]:
        """Yield what is missing of a film's conditions, each made once for all subjects, with the bytes of each."""
        large = False
        try:
            image = str(row["id"])
            content, decode = self.cohort.opened(row)
            identity = (image, content)
            yield _Opened(identity, "" if self.cohort.identify else decode().note), 0  # else it is decoded already
            askers: dict[Condition, list[Engine]] = {}
            for engine, conditions in self.wanted:
                for condition in engine.missing(image, content, conditions):
                    askers.setdefault(condition, []).append(engine)
            if not askers:
                return
            film = decode()
            large = film.pixels.nbytes > LARGE
            with self.room.holding(turn, _needed(film.pixels, self.resolution)):
                for condition, views, reason in apply_all(
                    film, askers, image, seed=self.seed, resolution=self.resolution
                ):
                    if isinstance(reason, ConditionFailed):
                        yield _Failed(condition, str(reason)), 0
                    elif views is None:
                        yield from ((_Undefined(one, identity, condition, reason), 0) for one in askers[condition])
                    else:
                        yield from _inputs(askers[condition], identity, condition, views)
                    if film.pixels.nbytes > HUGE and (condition.native or self.resolution.side is None):
                        give_back()
        finally:
            forget()
            if large:
                give_back()
            self.room.passed(turn)


def _needed(film: npt.NDArray[np.float32], resolution: Resolution) -> int:
    """Return the bytes that are in use while a film is perturbed: images of it, and of what is worked on of it."""
    height, width = film.shape
    shorter = min(height, width)
    scale = 1.0 if resolution.side is None else min(1.0, resolution.side / shorter)
    return round(film.nbytes * (STORED_IMAGES + WORKING_IMAGES * scale * scale))


def _inputs(
    engines: Sequence[Engine], film: tuple[str, str], condition: Condition, views: Tensor
) -> Iterator[tuple[_Piece, int]]:
    """Yield what each engine is asked about a film's views; the same recipe is run once."""
    inputs: dict[object, Tensor] = {}
    for engine in engines:
        if engine.subject.network is None:
            yield _Asked(engine, film, condition, views), views.nbytes
            continue
        recipe = engine.recipe(condition)
        key = type(recipe), tuple(recipe.fingerprint().items())  # a user's recipe has code of its own
        if key not in inputs:
            what = f"the preprocessing {recipe.name!r} failed on image {one_line(film[0], 40)}"
            with foreign(PredictionProblem, what, at=type(recipe)), torch.inference_mode():
                inputs[key] = recipe(views)
        yield _Asked(engine, film, condition, inputs[key]), inputs[key].untyped_storage().nbytes()


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
