"""How is a block of films answered? By one function that runs in this process or in any other.

What it gives depends on nothing but the job and the films: not on who ran it, nor on what was answered before or beside
it. Its result are shards on disk, one for each subject; it returns the receipt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from suites.harness.cache.places import Root
from suites.harness.cache.shards import SET_ASIDE
from suites.harness.cohorts.cohort import Cohort
from suites.harness.errors import FilmUnreadable
from suites.harness.predictions.ahead import ahead
from suites.harness.predictions.batch_size import batch_size
from suites.harness.predictions.blocks import Block, Filed, Receipt, Told, way_to_read
from suites.harness.predictions.conditions import Condition
from suites.harness.predictions.engine import Engine
from suites.harness.predictions.opened import Opened, opened
from suites.harness.predictions.pieces import Asked, Failed, Making, Undefined
from suites.harness.predictions.resolution import Resolution
from suites.harness.subjects.subject import Subject


@dataclass(frozen=True, kw_only=True)
class PredictionJob:
    """The predictions of some subjects under some conditions.

    Attributes:
        conditions: name of a subject -> those it is asked under.
        batches: name of a subject -> films that its network answers at once.
        cohort: how films are read; of its table only the first row.
        seed: of the run.
        cache: where answers are kept, a folder or an address.
        resolution: at which films are perturbed.
        threads: that films are prepared in; decides no answer. `None`: one for each core.
    """

    conditions: Mapping[str, Sequence[Condition]]
    batches: Mapping[str, int]
    cohort: Cohort
    seed: int
    cache: Root
    resolution: Resolution
    threads: int | None = None

    @classmethod
    def of(
        cls, subjects: Mapping[str, tuple[Subject, Sequence[Condition]]], cohort: Cohort, *, seed: int, cache: Path,
        resolution: Resolution, blocks_at: Root | None = None,
    ) -> PredictionJob:  # fmt: skip
        """Return the job of asking these subjects under these conditions.

        Answers are kept in the cache, or at an address of their own.
        """
        return cls(
            conditions={name: list(conditions) for name, (_, conditions) in subjects.items()},
            batches={name: batch_size(subject, cache) for name, (subject, _) in subjects.items()},
            cohort=way_to_read(cohort),
            seed=seed,
            cache=cache if blocks_at is None else blocks_at,
            resolution=resolution,
        )

    def identities(self, name: str) -> list[str]:
        """Return what one subject's answers to a film are known by."""
        return [condition.identity for condition in self.conditions[name]]

    @property
    def per_film(self) -> int:
        """Answers to every film, of all subjects together."""
        return sum(map(len, self.conditions.values()))

    def engines(self, subjects: Mapping[str, Subject]) -> dict[str, Engine]:
        """Return what asks these subjects."""
        return {
            name: Engine(subjects[name], self.batches[name], self.seed, self.cache, self.resolution)
            for name in self.conditions
        }

    def asked(self) -> Iterable[Condition]:
        """Yield the conditions of all subjects, some more than once."""
        return chain.from_iterable(self.conditions.values())

    def in_threads(self, threads: int) -> PredictionJob:
        """Return the same job with films prepared in so many threads."""
        return replace(self, threads=threads)

    def ready(self, subjects: Mapping[str, Subject]) -> Predicting:
        """Return the job with its subjects, by name."""
        return Predicting(self, self.engines(subjects))


@dataclass(frozen=True)
class _LookedUp:
    """What is known of a block before anything is predicted: its films, and the subjects whose answers are missing."""

    films: Sequence[Opened]
    unreadable: Sequence[tuple[str, str]]
    lacking: Mapping[str, Engine]
    set_aside: int


@dataclass(frozen=True)
class Predicting:
    """A job of predictions, and what asks its subjects: made once for many blocks."""

    job: PredictionJob
    engines: Mapping[str, Engine]

    def found_block(self, block: Block, told: Told) -> Receipt | None:
        """Return the receipt of a block whose answers are all in the cache, `None` where some are not."""
        known = _looked_up(self.job, self.engines, block)
        return None if known.lacking else _found(self.job, block, known, told)

    def answer_block(self, block: Block, told: Told) -> Receipt:
        """Return the receipt of a block, whose answers are in the cache when this returns.

        Args:
            block: the films.
            told: how far it is.

        Raises:
            PredictionProblem: a subject answered NaN, infinity or the wrong shape; the image is named.
            UsageProblem: the cache cannot be written, or a film changed while it was read.
        """
        known = _looked_up(self.job, self.engines, block)
        if not known.lacking:
            return _found(self.job, block, known, told)
        told.films(len(known.unreadable), len(known.unreadable) * self.job.per_film)
        failed, broken = _predicted(self.job, known, told)
        readable = [film for film in known.films if film.key not in broken]
        filed = {}
        for name, conditions in self.job.conditions.items():
            ran = [condition.identity for condition in _without(failed, conditions)]
            engine = known.lacking.get(name)
            filed[name] = (
                Filed([film.key for film in readable], ran, engine.computed)
                if engine
                else _all_of(self.job, known, name)
            )
        return Receipt(
            number=block.number,
            films=[film.key for film in readable],
            filed=filed,
            unreadable=[*known.unreadable, *((str(film.row["file"]), broken[film.key]) for film in known.films
                                             if film.key in broken)],
            notes=_notes(readable),
            failed=failed,
            set_aside=SET_ASIDE[known.set_aside :],
        )  # fmt: skip


def _looked_up(job: PredictionJob, engines: Mapping[str, Engine], block: Block) -> _LookedUp:
    aside = len(SET_ASIDE)
    films, unreadable = opened(job.cohort, block.rows, job.threads)
    keys = [film.key for film in films]
    lacking = {
        name: engine
        for name, engine in engines.items()
        if keys and engine.shards.read(keys, job.identities(name)) is None
    }
    return _LookedUp(films, unreadable, lacking, aside)


def _found(job: PredictionJob, block: Block, known: _LookedUp, told: Told) -> Receipt:
    told.films(len(block.rows), len(block.rows) * job.per_film)
    return Receipt(
        number=block.number,
        films=[film.key for film in known.films],
        filed={name: _all_of(job, known, name) for name in job.conditions},
        unreadable=known.unreadable,
        notes=_notes(known.films),
        set_aside=SET_ASIDE[known.set_aside :],
    )


def _predicted(job: PredictionJob, known: _LookedUp, told: Told) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """Predict what is missing of a block; return the conditions that failed, and the films that are broken after all.

    Both with the reason: text of a condition, id and content of a film.
    """
    keys = [film.key for film in known.films]
    wanted = [(engine, job.conditions[name]) for name, engine in known.lacking.items()]
    failed: dict[str, str] = {}
    broken: dict[tuple[str, str], str] = {}
    with ExitStack() as kept:
        for engine, conditions in wanted:
            kept.enter_context(engine.answering(keys, conditions))
        making = Making(wanted, job.seed, job.resolution)
        for film, pieces in ahead(known.films, making.pieces, job.threads):
            made = 0
            try:
                for piece in pieces:
                    match piece:
                        case Failed(condition, how):
                            failed.setdefault(condition.text, how)
                            continue
                        case Undefined(engine, key, condition, reason):
                            engine.note_undefined(key, condition, reason)
                        case Asked(engine, key, condition, views):
                            engine.ask(key, condition, views)
                    made += 1
                    told.done(1)
            except FilmUnreadable as problem:
                broken[film.key] = str(problem)
            told.films(1, job.per_film - made)
        readable = [key for key in keys if key not in broken]
        for engine, conditions in wanted:
            engine.finished(readable, _without(failed, conditions))
    return failed, broken


def _all_of(job: PredictionJob, known: _LookedUp, name: str) -> Filed:
    return Filed([film.key for film in known.films], job.identities(name))


def _notes(films: Sequence[Opened]) -> list[tuple[str, str]]:
    return [(film.key[0], film.note) for film in films if film.note]


def _without(failed: Mapping[str, str], conditions: Sequence[Condition]) -> list[Condition]:
    return [condition for condition in conditions if condition.text not in failed]
