"""How do blocks reach whoever answers them? One after the other to a worker that is free, until all receipts are there.

A worker that dies has its block done again by another, from what it kept of it. What goes wrong in a worker is raised
here as if it had gone wrong here. Where workers run is for others to say: see `local_processes` and `ray_workers`.
"""

from __future__ import annotations

import json
import pickle
import uuid
import weakref
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch

from robustness import perturbation
from suites.harness.cache.places import Root, place_of
from suites.harness.cache.shards import SET_ASIDE
from suites.harness.errors import CohortProblem, FilmUnreadable, UsageProblem, one_line
from suites.harness.foreign_code import foreign
from suites.harness.predictions.blocks import Answering, Block, Job, Receipt, Told
from suites.harness.predictions.tolerance import keep_others
from suites.harness.predictions.worker_process import HARDWARE, LOGITS, Setting, Tally, Task, standing
from suites.harness.subjects.subject import Subject

MOST_DEATHS = 3
"""Workers that may die over one block."""


class Workers(Protocol):
    """Whoever answers blocks."""

    def receipts(self, here: Answering, blocks: Sequence[Block], told: Told) -> Iterator[Receipt]:
        """Yield the receipt of every block, in any order, when its answers are in the cache.

        Args:
            here: the job, with the subjects of this process.
            blocks: the films.
            told: how far they are.
        """


class ThisProcess:
    """Answers one block after the other."""

    def receipts(self, here: Answering, blocks: Sequence[Block], told: Told) -> Iterator[Receipt]:
        """Yield the receipts in the order of the blocks."""
        return (here.answer_block(block, told) for block in blocks)


THIS_PROCESS = ThisProcess()


@dataclass(frozen=True)
class Ended:
    """Said of a worker that will say nothing any more.

    Attributes:
        how: it ended, in a few words.
        killed: by whoever else; another one may do better.
    """

    how: str
    killed: bool = False


@dataclass(eq=False)
class Worker(ABC):
    """A process somewhere, what it is doing, and how much of that it has told."""

    number: int
    ready: bool = False
    block: Block | None = None
    tally: Tally = field(default_factory=Tally)

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send something; that nobody is there to take it shows when it is waited for."""


@dataclass
class _Course:
    """How far the blocks of a cohort are.

    Attributes:
        task: the job as it is sent.
        left: blocks that nobody is at.
        deaths: number of a block -> workers that died over it.
        false_starts: workers that ended before they began, since one began.
    """

    job: Job
    task: bytes
    left: deque[Block]
    told: Told
    deaths: Counter[int] = field(default_factory=Counter)
    false_starts: int = 0

    def finished(self, worker: Worker, receipt: Receipt) -> Receipt:
        """Return the receipt of a block, now that the worker is free.

        Raises:
            CohortProblem: it could not read a film that this process can read.
        """
        if worker.block is not None:
            _check_unreadable(self.job, worker.block, receipt)
        SET_ASIDE.extend(receipt.set_aside)
        worker.block = None
        return receipt

    def lost(self, worker: Worker, how: str) -> None:
        """Put back what a worker was at that died.

        Raises:
            UsageProblem: it is not the first to die over it.
        """
        if (block := worker.block) is None:
            return
        self.deaths[block.number] += 1
        if self.deaths[block.number] >= MOST_DEATHS:
            first, last = (one_line(str(block.rows[at]["id"]), 40) for at in (0, -1))
            raise UsageProblem(
                f"{MOST_DEATHS} worker processes died while they answered the films {first} to {last} ({how}): "
                "memory may be short; pass fewer --workers. What is finished is kept"
            )
        self.left.appendleft(block)
        _tell(self.told, worker.tally, back=True)


W = TypeVar("W", bound=Worker)


class Dispatching(ABC, Generic[W]):
    """Workers of one kind, started when there is something to do and kept for the next cohort.

    Args:
        subjects: of the run; each worker loads them once.

    Attributes:
        others: hardware of workers that differs from this process's, where a tolerance allows that -> how far apart
            their logits for test films were.
    """

    false_starts = 1
    """Workers that may end before they begin, one after the other, until there is no use in starting more."""

    def __init__(self, subjects: Sequence[Subject]) -> None:
        self.subjects = list(subjects)
        self._here = standing(self.subjects)  # before anybody changes the code that runs here
        self._workers: list[W] = []
        self.others: dict[str, float] = {}
        self._marks: dict[Root, str] = {}
        self._unmarked = weakref.finalize(self, _remove, self._marks)

    def receipts(self, here: Answering, blocks: Sequence[Block], told: Told) -> Iterator[Receipt]:
        """Yield the receipts as they come.

        Raises:
            UsageProblem: a worker is not of this process's kind, or they die; also what `answer_block` raises.
            CohortProblem: a worker does not see the films that this process sees.
        """
        left = deque[Block]()
        for block in blocks:
            # Where films are known without being decoded, a run that finds everything needs no workers.
            receipt = here.found_block(block, told) if here.job.cohort.mostly_known(block.rows) else None
            if receipt is None:
                left.append(block)
            else:
                yield receipt
        with self._ended_by_faults():
            if left:
                yield from self._answered(here.job, left, told)

    def close(self) -> None:
        """End the workers; they keep what they have answered."""
        self._end()
        _remove(self._marks)

    @abstractmethod
    def _end(self) -> None:
        """End the workers."""

    @abstractmethod
    def _size(self) -> int:
        """Return how many workers there may be now."""

    @abstractmethod
    def _threads(self) -> int:
        """Return the threads that one of them prepares films in."""

    @abstractmethod
    def _start(self, number: int) -> W:
        """Return a new worker."""

    @abstractmethod
    def _heard(self) -> Iterator[tuple[W, object]]:
        """Wait until workers say something, and yield what; `Ended` of those that are no more."""

    @abstractmethod
    def _never_began(self, how: str) -> UsageProblem:
        """Return what to say of workers that end before they begin."""

    def _answered(self, job: Job, left: deque[Block], told: Told) -> Iterator[Receipt]:
        course = _Course(job, _task(job.in_threads(self._threads()), self._mark(job.cache)), left, told)
        for worker in self._workers:
            if worker.ready:
                worker.send(course.task)
        while left or any(worker.block for worker in self._workers):
            self._staff(len(left) + sum(worker.block is not None for worker in self._workers))
            for worker in self._workers:
                if left and worker.ready and worker.block is None:
                    worker.block, worker.tally = left.popleft(), Tally()
                    worker.send(pickle.dumps(worker.block))
            for worker, said in self._heard():
                if isinstance(said, Receipt):
                    yield course.finished(worker, said)
                else:
                    self._take(worker, said, course)

    def _mark(self, cache: Root) -> str:
        """Return the name of a file in the cache by which workers know that theirs is the same.

        It stays as long as there are workers: one that is late may look for it after all blocks are answered.
        """
        if cache not in self._marks:
            self._marks[cache] = f".workers-{uuid.uuid4().hex}"
            place_of(cache).write(self._marks[cache], b"A run hands blocks to other processes.")
        return self._marks[cache]

    def _take(self, worker: W, said: object, course: _Course) -> None:
        self._stays(worker, said)
        match said:
            case Ended(how, killed):
                course.false_starts = 0 if worker.ready else course.false_starts + 1
                if course.false_starts >= (MOST_DEATHS if killed else self.false_starts):
                    raise self._never_began(how)
                course.lost(worker, how)
            case dict():
                keep_others(course.job.cache, self.subjects, self.others)
                worker.send(course.task)
            case Tally():
                worker.tally += said
                _tell(course.told, said)

    @contextmanager
    def _ended_by_faults(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _stays(self, worker: W, said: object) -> bool:
        """Take what a worker says of itself, or of a fault; return whether it is still there.

        Raises:
            UsageProblem: it is not of this process's kind; also whatever it says that went wrong.
        """
        match said:
            case Ended():
                self._workers.remove(worker)
                return False
            case BaseException():
                raise said
            case dict():
                self._admit(said)
                worker.ready = True
        return True

    def _staff(self, wanted: int) -> None:
        """Have so many workers, or as many as there may be, or as there are already."""
        most = self._size() if len(self._workers) < wanted else 0
        started = []
        while len(self._workers) < min(wanted, most):
            # Whoever takes the place of one that died takes its GPU.
            number = min(set(range(most)) - {worker.number for worker in self._workers})
            started.append(self._start(number))
        for worker in started:  # which takes until it runs: the others start meanwhile
            self._introduce(worker)

    def _introduce(self, worker: W) -> None:
        worker.send(self._setting)

    @cached_property
    def _setting(self) -> bytes:
        setting = Setting(
            subjects=[_on_cpu(subject) for subject in self.subjects],
            devices=[subject.device for subject in self.subjects],
            threads=torch.get_num_threads(),
            matmul=torch.get_float32_matmul_precision(),
            dtype=torch.get_default_dtype(),
        )
        return _pickled(setting, " and ".join(subject.name for subject in self.subjects))

    def _admit(self, there: Mapping[str, str]) -> None:
        """Refuse a worker that may give other digits than this process, or further ones than a tolerance allows.

        Raises:
            UsageProblem: it is of another kind.
        """
        tolerated = all(subject.tolerance is not None for subject in self.subjects)
        apart = 0.0
        for name in dict.fromkeys([*self._here, *there]):
            if (mine := self._here.get(name, "not there")) != (other := there.get(name, "not there")):
                if tolerated and name.startswith(LOGITS):
                    apart = max(apart, self._tolerated(name.removeprefix(LOGITS), mine, other))
                    continue
                if tolerated and name in HARDWARE:
                    continue
                raise UsageProblem(
                    f"a worker process would give other digits than this one: {one_line(name, 60)} is "
                    f"{one_line(other, 60)} there, {one_line(mine, 60)} here; run again with one environment, or with "
                    "--workers 1"
                )
        kind = ", ".join(f"{name} {there[name]}" for name in HARDWARE if there.get(name) != self._here.get(name))
        if kind:
            self.others[kind] = max(apart, self.others.get(kind, 0.0))

    def _tolerated(self, subject: str, mine: str, other: str) -> float:
        """Return how far apart a subject's logits for the test films are on two machines.

        Raises:
            UsageProblem: further than its tolerance.
        """
        tolerance = next(one.tolerance for one in self.subjects if one.name == subject) or 0.0
        apart = float(np.abs(np.subtract(json.loads(mine), json.loads(other))).max())
        if not apart <= tolerance:
            raise UsageProblem(
                f"{one_line(subject, 40)} answers test films with logits up to {apart:.2g} apart on a worker, and "
                f"--tolerance allows {tolerance:g}; leave that machine out, or allow more"
            )
        return apart


def _check_unreadable(job: Job, block: Block, receipt: Receipt) -> None:
    """Refuse to leave out films that only the worker cannot read: on another machine their folder may not be there.

    Raises:
        CohortProblem: this process can read one of them.
    """
    reasons = dict(receipt.unreadable)
    for row in block.rows:
        if (reason := reasons.get(str(row["file"]))) is None:
            continue
        try:
            job.cohort.opened(row)[1]()
        except FilmUnreadable:
            continue
        raise CohortProblem(
            f"the film {one_line(str(row['id']), 60)} can be read by this process and not by a worker "
            f"({one_line(reason, 90)}); put films where every worker sees them under the same path, then run again"
        )


def _tell(told: Told, tally: Tally, *, back: bool = False) -> None:
    """Pass on how far a block is, or take back what was said of one that is done again."""
    sign = -1 if back else 1
    told.done(sign * tally.done)
    told.films(sign * tally.films, sign * tally.found)
    told.under_way(sign * tally.under_way)


def _remove(marks: dict[Root, str]) -> None:
    for cache, mark in marks.items():
        place_of(cache).remove(mark)
    marks.clear()


def _task(job: Job, mark: str) -> bytes:
    conditions = {condition.text: condition for condition in job.asked()}
    names = {name for condition in conditions.values() for name, severity in condition.steps if severity}
    code = [type(perturbation.get(name)) for name in sorted(names)]
    identities = {text: condition.identity for text, condition in conditions.items()}
    task = Task(job=job, identities=identities, code=code, mark=mark)
    return _pickled(task, f"what reads {job.cohort.name}, or a perturbation")


def _pickled(value: object, what: str) -> bytes:
    """Return what other processes are sent.

    Raises:
        UsageProblem: it is made of what no other process can have, such as a function within a function.
    """
    told = (
        f"{one_line(what, 60)} cannot be handed to worker processes; define its code in a module, or pass --workers 1"
    )
    with foreign(UsageProblem, told):
        return pickle.dumps(value)


def _on_cpu(subject: Subject) -> Subject:
    """Return a subject as it can be sent: its network leaves no copy on a GPU that is not the receiver's."""
    if torch.device(subject.device).type == "cpu":
        return subject
    return replace(subject, network=deepcopy(subject.network), device="cpu")
