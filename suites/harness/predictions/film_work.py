"""How is whatever else is asked of films answered? In blocks and shards of its own, by one function, like predictions.

Passes with dropout, attacks, saliency maps and their measures are kinds of `Work`. What one gives of a block depends on
nothing but the work, its subjects and the films, so it runs in any process, and what is finished is found again. The
films are known by what they held when they were predicted; one that holds something else by now ends the run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from suites.harness.cache import BlockShards, Unfinished
from suites.harness.cache.places import Root
from suites.harness.cache.shards import SET_ASIDE
from suites.harness.cohorts.cohort import IDENTITY, Cohort, Film
from suites.harness.cohorts.rows import Row
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.blocks import Block, Filed, Nobody, Receipt, Told, gathered, way_to_read
from suites.harness.predictions.conditions import Condition
from suites.harness.predictions.opened import Opened, opened
from suites.harness.progress import Progress
from suites.harness.subjects.finding import for_finding
from suites.harness.subjects.subject import Subject

CLASS = "class that is asked about"
"""Under what a row says which class, where the answer depends on one; no column of a table."""
Values = Mapping[str, Any]
"""What is kept of one film, by column."""


class Work(Protocol):
    """What is done with the films of a block; it can be sent to another process."""

    @property
    def kind(self) -> str:
        """What is kept: the folder in the cache."""

    @property
    def columns(self) -> Mapping[str, str]:
        """Columns of a row and their kinds, see `BlockShards`."""

    def conditions(self) -> Iterable[Condition]:
        """Yield the conditions that films are shown under."""

    def key(self, subjects: Sequence[Subject], asked: str) -> Mapping[str, object]:
        """Return everything that decides a row besides film, class and identity.

        Raises:
            NotEvaluable: it cannot be asked of these subjects.
        """

    def identity(self, asked: str, films: Sequence[Opened]) -> str:
        """Return what else decides the rows of a block: a condition, or which films are in it (`together`)."""

    def rows(
        self, subjects: Sequence[Subject], asked: str, films: Sequence[Opened], lacking: Sequence[int], told: Told
    ) -> Iterator[tuple[int, Values]]:
        """Yield the place of a film in its block, and what is found of it, at least for those that are lacking.

        Raises:
            NotEvaluable: it cannot be had; what was yielded is kept.
        """


@dataclass(frozen=True)
class Named:
    """A subject by what any process knows it by: the name of the one whose network is asked, and its finding."""

    name: str
    finding: str = ""
    called: str = ""

    @classmethod
    def of(cls, subject: Subject) -> Named:
        """Return how a subject is named."""
        if subject.whole is None:
            return cls(subject.name)
        return cls(subject.whole.name, subject.answers, subject.classes[-1])

    def among(self, subjects: Mapping[str, Subject]) -> Subject:
        """Return the subject, given those whose networks are asked, by name."""
        whole = subjects[self.name]
        return for_finding(whole, self.finding, self.called) if self.finding else whole


@dataclass(frozen=True, kw_only=True)
class FilmJob:
    """Work that is asked of some subjects on the films of a cohort.

    Attributes:
        work: what is done.
        subjects: with which subjects, in their order.
        cohort: how films are read.
        cache: where rows are kept, a folder or an address.
        threads: that films are prepared in; `None`: one for each core.
    """

    work: Work
    subjects: Sequence[Named]
    cohort: Cohort
    cache: Root
    threads: int | None = None

    def asked(self) -> Iterable[Condition]:
        """Yield the conditions that films are shown under."""
        return self.work.conditions()

    def in_threads(self, threads: int) -> FilmJob:
        """Return the same job with films prepared in so many threads."""
        return replace(self, threads=threads)

    def ready(self, subjects: Mapping[str, Subject]) -> Working:
        """Return the job with its subjects."""
        return Working(self, [named.among(subjects) for named in self.subjects])


@dataclass(frozen=True)
class Working:
    """A job with its subjects."""

    job: FilmJob
    subjects: Sequence[Subject]

    def found_block(self, block: Block, told: Told) -> Receipt | None:  # noqa: ARG002 - whoever asks counts receipts
        """Return the receipt of a block whose rows are all in the cache, `None` where some are not."""
        aside = len(SET_ASIDE)
        films, unreadable = self._opened(block)
        try:
            shards, identity = self.shards(block.asked), self.job.work.identity(block.asked, films)
        except NotEvaluable:
            return None
        if films and shards.read([film.key for film in films], [identity]) is None:
            return None
        return self._receipt(block, films, identity, 0, unreadable=unreadable, set_aside=SET_ASIDE[aside:])

    def answer_block(self, block: Block, told: Told) -> Receipt:
        """Return the receipt of a block, whose rows are in the cache when this returns.

        Where it cannot be answered the receipt says why, and files nothing.

        Raises:
            FilmUnreadable: a film that was predicted cannot be read any more.
            CohortProblem: it holds something else by now.
            UsageProblem: the cache cannot be written.
        """
        aside = len(SET_ASIDE)
        films, unreadable = self._opened(block)
        computed, failed, identity = 0, {}, ""
        try:
            shards, identity = self.shards(block.asked), self.job.work.identity(block.asked, films)
            keys = [film.key for film in films]
            if films and shards.read(keys, [identity]) is None:
                with Unfinished(shards, keys, [identity]) as unfinished:
                    self._fill(unfinished, block.asked, films, identity, told)
                    unfinished.finished(keys, [identity])
                computed = unfinished.computed
        except NotEvaluable as problem:
            failed, films = {block.asked: str(problem)}, []
        return self._receipt(
            block, films, identity, computed, unreadable=unreadable, failed=failed, set_aside=SET_ASIDE[aside:]
        )

    def _fill(self, unfinished: Unfinished, asked: str, films: Sequence[Opened], identity: str, told: Told) -> None:
        lacking = [at for at, (image, content) in enumerate(film.key for film in films)
                   if (content, image, identity) not in unfinished.rows]  # fmt: skip
        wanted = set(lacking)
        for at, values in self.job.work.rows(self.subjects, asked, films, lacking, told):
            if at in wanted:
                image, content = films[at].key
                unfinished.keep({"content": content, "image": image, "identity": identity, **values})
                told.done(1)

    def shards(self, asked: str = "") -> BlockShards:
        """Return where the rows of one question are kept.

        Raises:
            NotEvaluable: it cannot be asked of these subjects.
        """
        return shards_of(self.job.cache, self.job.work, self.subjects, asked)

    def _opened(self, block: Block) -> tuple[list[Opened], list[tuple[str, str]]]:
        """Return the films of a block, each under its content and the class that is asked about."""
        films, unreadable = opened(self.job.cohort, block.rows, self.job.threads)
        return [_asked_about(film) for film in films], unreadable

    def _receipt(self, block: Block, films: Sequence[Opened], identity: str, computed: int, **told: Any) -> Receipt:  # noqa: ANN401 - fields of the receipt
        keys = [film.key for film in films]
        filed = {self.job.work.kind: Filed(keys, [identity], computed)}
        return Receipt(number=block.number, films=keys, filed=filed, **told)


def shards_of(cache: Root, work: Work, subjects: Sequence[Subject], asked: str) -> BlockShards:
    """Return where the rows of one question of some work are kept.

    Raises:
        NotEvaluable: it cannot be asked of these subjects.
    """
    text = json.dumps(work.key(subjects, asked), sort_keys=True, default=str)
    return _shards(cache, work.kind, text, tuple(work.columns.items()))


@lru_cache(maxsize=64)
def _shards(root: Root, kind: str, key: str, columns: tuple[tuple[str, str], ...]) -> BlockShards:
    """Return where rows are kept; many ask for the same, and what the files there hold is looked up once."""
    return BlockShards(root, kind, json.loads(key), dict(columns))


def _asked_about(film: Opened) -> Opened:
    image, content = film.key
    return replace(film, key=(image, f"{content} {film.row[CLASS]}")) if CLASS in film.row else film


def together(films: Sequence[Opened], *columns: str) -> str:
    """Return what tells a block from any other, for work in which what becomes of a film hangs on its neighbours.

    Args:
        films: of the block.
        columns: of their table that decide it, too.
    """
    told = [[*film.key, *(str(film.row[name]) for name in columns)] for film in films]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def known_by_row(row: Row) -> tuple[str, str] | None:
    """Return content and note of a film as its row says."""
    known = row.get(IDENTITY)
    return (known[0], known[1]) if isinstance(known, tuple) else None


def content_of(film: Opened) -> str:
    """Return what identifies the pixels of a film, whatever class is asked about."""
    known = known_by_row(film.row)
    return film.key[1] if known is None else known[0]


def class_of(film: Opened) -> int:
    """Return the class that is asked about."""
    return int(str(film.row[CLASS]))


def rows_of(answers: Answers, index: Iterable[int], classes: Sequence[int] | None = None) -> list[Row]:
    """Return the rows of films as jobs take them: with what they held when they were predicted.

    Args:
        answers: on the films of a cohort.
        index: (M,) positions among these.
        classes: (M,) the class of each that is asked about, where the answer depends on one.
    """
    places = [int(at) for at in index]
    rows: list[Row] = [
        {**row, IDENTITY: (answers.content(answers.images[at]), "")}
        for at, row in zip(places, answers.cohort.rows(places), strict=True)
    ]
    if classes is not None:
        rows = [{**row, CLASS: int(one)} for row, one in zip(rows, classes, strict=True)]
    return rows


@dataclass
class _Counting:
    """Tells the progress of a run how far its blocks are."""

    progress: Progress
    each: int
    part: float = field(default=0.0, init=False)

    def done(self, units: int) -> None:
        self.part = max(0.0, self.part - units)
        self.progress.done(units * self.each)

    def films(self, count: int, found: int) -> None:
        """Take no note: receipts tell."""

    def under_way(self, units: float) -> None:
        self.part += units
        self.progress.under_way(self.part)


@dataclass(frozen=True)
class Asking:
    """Work on the films of a cohort, as whoever judges asks for it.

    Args:
        answers: of the subject on these films.
        work: what is done.
        cache: root of the cache.
        everyone: further answers on the same films, where several subjects take part, the first among them.
        decode: how films are decoded, where that is another way than the cohort's.
        each: units of progress that a film is; 0 where nobody counts them.
        found: whether those count that the cache has.
    """

    answers: Answers
    work: Work
    cache: Path
    everyone: Sequence[Answers] = ()
    decode: Callable[[Row], Film] | None = None
    each: int = 1
    found: bool = False

    @property
    def _working(self) -> Working:
        answers, subjects = self.answers, [one.subject for one in self.everyone or [self.answers]]
        cohort = replace(way_to_read(answers.cohort), remembered=known_by_row)
        job = FilmJob(
            work=self.work,
            subjects=[Named.of(subject) for subject in subjects],
            cohort=cohort if self.decode is None else replace(cohort, decode=self.decode),
            cache=self.cache if answers.blocks_at is None else answers.blocks_at,
        )
        return Working(job, subjects)

    def finished(self, blocks: Sequence[Block]) -> bool:
        """Return whether the cache has all of it."""
        working = self._working
        return all(working.found_block(block, Nobody()) is not None for block in blocks)

    def by_block(self, blocks: Sequence[Block]) -> Iterator[tuple[Block, list[Values] | NotEvaluable]]:
        """Answer what the cache lacks; then yield each block with the rows of its films, or why there are none.

        Raises:
            FilmUnreadable: a film that was predicted cannot be read any more.
            UsageProblem: a finished block was removed meanwhile.
        """
        working, progress = self._working, self.answers.progress
        told: Told = _Counting(progress, self.each) if self.each else Nobody()
        receipts, asked = dict[int, Receipt](), {block.number: block.asked for block in blocks}
        for receipt in self.answers.workers.receipts(working, blocks, told):
            receipts[receipt.number] = receipt
            filed = receipt.filed[self.work.kind]
            if self.found and not receipt.failed:  # what was computed now is no find of whoever asks for it again
                known, where = len(filed.films) - filed.computed, working.shards(asked[receipt.number])
                progress.found(known * self.each, once=where.name(filed.films, filed.identities))
        for block in blocks:
            receipt = receipts[block.number]
            if receipt.failed:
                yield block, NotEvaluable(receipt.failed[block.asked])
            else:
                yield block, gathered(working.shards(block.asked), self.work.kind, [receipt]).to_pylist()

    def rows(self, blocks: Sequence[Block]) -> Iterator[Values]:
        """Yield the rows of all films, in their order.

        Raises:
            NotEvaluable: the first block that could not be answered says why; also what `by_block` raises.
        """
        for _, rows in self.by_block(blocks):
            if isinstance(rows, NotEvaluable):
                raise rows
            yield from rows
