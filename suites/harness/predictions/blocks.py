"""What is answered at once? A block of whole films, for all subjects; what travels are its rows and its receipt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from suites.harness.cache import FilmKey
from suites.harness.cohorts.cohort import Cohort, Row
from suites.harness.predictions.batch_size import batch_size
from suites.harness.predictions.conditions import Condition
from suites.harness.predictions.engine import Engine
from suites.harness.predictions.resolution import Resolution
from suites.harness.subjects.subject import Subject

FILMS = 64
"""Films of a block: a second of work on a GPU, and few enough that doing one again is no loss."""


class Told(Protocol):
    """Whoever wants to know how far a block is."""

    def done(self, units: int) -> None:
        """Take note of answers, one for each subject, film and condition."""

    def films(self, count: int, found: int) -> None:
        """Take note of films that are through, and of how many of their answers were there already."""


@dataclass(frozen=True)
class Block:
    """Films that are answered together.

    Attributes:
        number: place among the blocks of a cohort.
        rows: of its table.
    """

    number: int
    rows: Sequence[Row]


def cut(rows: Sequence[Row]) -> list[Block]:
    """Return the films of a cohort in blocks, in their order."""
    return [Block(at // FILMS, rows[at : at + FILMS]) for at in range(0, len(rows), FILMS)]


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that decides the answers besides subjects and films; it can be sent to another process.

    Attributes:
        conditions: name of a subject -> those it is asked under.
        batches: name of a subject -> films that its network answers at once.
        cohort: how films are read; of its table only the first row.
        seed: of the run.
        cache: root of the cache.
        resolution: at which films are perturbed.
        threads: that films are prepared in; decides no answer. `None`: one for each core.
    """

    conditions: Mapping[str, Sequence[Condition]]
    batches: Mapping[str, int]
    cohort: Cohort
    seed: int
    cache: Path
    resolution: Resolution
    threads: int | None = None

    @classmethod
    def of(
        cls, subjects: Mapping[str, tuple[Subject, Sequence[Condition]]], cohort: Cohort, *, seed: int, cache: Path,
        resolution: Resolution,
    ) -> Job:  # fmt: skip
        """Return the job of asking these subjects under these conditions."""
        return cls(
            conditions={name: list(conditions) for name, (_, conditions) in subjects.items()},
            batches={name: batch_size(subject, cache) for name, (subject, _) in subjects.items()},
            # Whoever answers a block is given its rows; a table of a million is needed by nobody else.
            cohort=replace(cohort, table=cohort.table.head(1), notes=()),
            seed=seed,
            cache=cache,
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


@dataclass(frozen=True)
class Filed:
    """Under which films and conditions one subject's answers to a block are found in the cache.

    Attributes:
        films: id and content of each.
        identities: of the conditions.
        computed: rows that were not there before.
    """

    films: Sequence[FilmKey]
    identities: Sequence[str]
    computed: int = 0


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What became of a block.

    Attributes:
        number: of the block.
        films: id and content of those that could be read.
        filed: name of a subject -> where its answers are.
        unreadable: file of a film, and why it could not be read.
        notes: id of a film, and what must be known of how it was read.
        failed: text of a condition whose code failed -> how.
        set_aside: what in the cache could not be believed, a line each.
    """

    number: int
    films: Sequence[FilmKey]
    filed: Mapping[str, Filed]
    unreadable: Sequence[tuple[str, str]] = ()
    notes: Sequence[tuple[str, str]] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    set_aside: Sequence[str] = ()
