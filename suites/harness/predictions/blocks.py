"""What is answered at once? A block of whole films, for all subjects; what travels are its rows and its receipt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import pyarrow as pa

from suites.harness.cache import BlockShards, FilmKey
from suites.harness.cache.places import Root
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.rows import Row
from suites.harness.errors import UsageProblem
from suites.harness.predictions.conditions import Condition
from suites.harness.subjects.subject import Subject

FILMS = 64
"""Films of a block: a second of work on a GPU, and few enough that doing one again is no loss."""


class Told(Protocol):
    """Whoever wants to know how far a block is."""

    def done(self, units: int) -> None:
        """Take note of answers, one for each subject, film and condition."""

    def films(self, count: int, found: int) -> None:
        """Take note of films that are through, and of how many of their answers were there already."""

    def under_way(self, units: float) -> None:
        """Take note that so much more is done of answers that are not finished, by share."""


@dataclass(frozen=True)
class Block:
    """Films that are answered together.

    Attributes:
        number: place among the blocks of a job.
        rows: of the cohort's table.
        asked: what of its films, where a job asks several things.
    """

    number: int
    rows: Sequence[Row]
    asked: str = ""


def cut(rows: Sequence[Row], films: int | None = None, asked: Sequence[str] = ("",)) -> list[Block]:
    """Return the films of a cohort in blocks, in their order, for one question after the other.

    Args:
        rows: of its table.
        films: of a block; `None`: `FILMS`.
        asked: what of them.
    """
    size = FILMS if films is None else films
    parts = [(what, rows[at : at + size]) for what in asked for at in range(0, len(rows), size)]
    return [Block(number, part, what) for number, (what, part) in enumerate(parts)]


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
        failed: text of a condition whose code failed, or what else cannot be answered -> how, or why.
        set_aside: what in the cache could not be believed, a line each.
    """

    number: int
    films: Sequence[FilmKey]
    filed: Mapping[str, Filed]
    unreadable: Sequence[tuple[str, str]] = ()
    notes: Sequence[tuple[str, str]] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    set_aside: Sequence[str] = ()


class Answering(Protocol):
    """A job that has its subjects."""

    @property
    def job(self) -> Job:
        """What is asked."""

    def found_block(self, block: Block, told: Told) -> Receipt | None:
        """Return the receipt of a block whose answers are all in the cache, `None` where some are not."""

    def answer_block(self, block: Block, told: Told) -> Receipt:
        """Return the receipt of a block, whose answers are in the cache when this returns.

        What it gives depends on nothing but the job and the films: not on the process, nor on what was answered before.
        """


class Job(Protocol):
    """Everything that decides answers besides subjects and films; it can be sent to another process."""

    @property
    def cohort(self) -> Cohort:
        """How films are read."""

    @property
    def cache(self) -> Root:
        """Where answers are kept."""

    def asked(self) -> Iterable[Condition]:
        """Yield the conditions that films are answered under."""

    def in_threads(self, threads: int) -> Job:
        """Return the same job with films prepared in so many threads, which decides no answer."""

    def ready(self, subjects: Mapping[str, Subject]) -> Answering:
        """Return the job with its subjects, by name."""


class Nobody:
    """Wants to know nothing."""

    def done(self, units: int) -> None:
        """Take no note."""

    def films(self, count: int, found: int) -> None:
        """Take no note."""

    def under_way(self, units: float) -> None:
        """Take no note."""


def gathered(shards: BlockShards, name: str, receipts: Iterable[Receipt]) -> pa.Table:
    """Return all rows that are filed under a name, in the order of the receipts.

    Raises:
        UsageProblem: a shard that was there a moment ago is not what it was.
    """
    tables = [shards.schema.empty_table()]
    for filed in (receipt.filed[name] for receipt in receipts):
        if filed.films:
            table = shards.read(filed.films, filed.identities)
            if table is None:
                raise UsageProblem(
                    f"a finished block in {shards.place} was removed or damaged while this run was reading it; run "
                    "again: what is lost is computed again"
                )
            tables.append(table.replace_schema_metadata())
    return pa.concat_tables(tables)


def way_to_read(cohort: Cohort) -> Cohort:
    """Return what a job knows of a cohort: of its table only the first row.

    Whoever answers a block is given its rows; a table of a million is needed by nobody else.
    """
    return replace(cohort, table=cohort.table.head(1), notes=())
