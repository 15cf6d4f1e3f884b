"""Who answers the blocks of a cohort? This process, or several local ones, with the same bytes.

A worker that dies has its block done again by another, from what it kept of it. What goes wrong in a worker is raised
here as if it had gone wrong here.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import weakref
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Protocol

import torch

from robustness import perturbation
from suites.harness.cache.shards import SET_ASIDE
from suites.harness.errors import UsageProblem, one_line
from suites.harness.foreign_code import foreign
from suites.harness.predictions.blocks import Answering, Block, Job, Receipt, Told
from suites.harness.predictions.worker_process import GRACE, Setting, Tally, Task, standing, work
from suites.harness.subjects.subject import Subject

MOST_DEATHS = 3
"""Workers that may die over one block."""
MOST_WORKERS = 256


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


@dataclass(eq=False)
class _Worker:
    """A process, what it is doing, and how much of that it has told."""

    number: int
    process: SpawnProcess
    connection: Connection
    ready: bool = False
    block: Block | None = None
    tally: Tally = field(default_factory=Tally)

    def send(self, data: bytes) -> None:
        """Send something; that nobody is there to take it shows when it is waited for."""
        with suppress(OSError):
            self.connection.send_bytes(data)

    def end(self) -> None:
        """Tell it to end."""
        self.connection.close()
        self.process.terminate()


class LocalProcesses:
    """Processes on this machine, started when there is something to do and kept for the next cohort.

    Args:
        count: how many; they share the cores, and each has a GPU of its own where there are as many.
        subjects: of the run; each worker loads them once.

    """

    def __init__(self, count: int, subjects: Sequence[Subject]) -> None:
        self.count, self.subjects = count, list(subjects)
        self._here = standing(self.subjects)  # before anybody changes the code that runs here
        self._workers: list[_Worker] = []
        self._over = weakref.finalize(self, _end, self._workers)

    def receipts(self, here: Answering, blocks: Sequence[Block], told: Told) -> Iterator[Receipt]:
        """Yield the receipts as they come.

        Raises:
            UsageProblem: a worker is not of this process's kind, or they die; also what `answer_block` raises.
        """
        left = deque[Block]()
        for block in blocks:
            # Where films are known without being decoded, a run that finds everything needs no workers.
            receipt = here.found_block(block, told) if here.job.cohort.identify is not None else None
            if receipt is None:
                left.append(block)
            else:
                yield receipt
        try:
            if left:
                yield from self._answered(here.job, left, told)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the workers; they keep what they have answered."""
        _end(self._workers)

    def _answered(self, job: Job, left: deque[Block], told: Told) -> Iterator[Receipt]:
        task = _task(job.in_threads(max(1, (os.cpu_count() or 1) // self.count)))
        deaths = Counter[int]()
        for worker in self._workers:
            worker.send(task)
        self._start(min(self.count, len(left)))
        while left or any(worker.block for worker in self._workers):
            for worker in self._workers:
                if left and worker.ready and worker.block is None:
                    worker.block, worker.tally = left.popleft(), Tally()
                    worker.send(pickle.dumps(worker.block))
            for connection in wait([worker.connection for worker in self._workers]):
                worker = next(one for one in self._workers if one.connection is connection)
                try:
                    said = worker.connection.recv()
                except (EOFError, OSError):
                    self._mourn(worker, left, deaths, told)
                    continue
                match said:
                    case BaseException():
                        raise said
                    case dict():
                        self._admit(said)
                        worker.ready = True
                        worker.send(task)
                    case Tally():
                        worker.tally += said
                        _tell(told, said)
                    case Receipt():
                        SET_ASIDE.extend(said.set_aside)
                        worker.block = None
                        yield said

    def _start(self, count: int) -> None:
        """Have so many workers, or as many as there are already."""
        setting, context = self._setting, multiprocessing.get_context("spawn")
        started = []
        with _uninterrupted():
            while len(self._workers) < count:
                here, there = context.Pipe()
                # Whoever takes the place of one that died takes its GPU.
                number = min(set(range(count)) - {worker.number for worker in self._workers})
                process = context.Process(target=work, args=(there, number), daemon=True, name=f"worker {number}")
                process.start()
                there.close()
                started.append(_Worker(number, process, here))
                self._workers.append(started[-1])
        for worker in started:  # which takes until it runs: the others start meanwhile
            worker.send(setting)

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
        """Refuse a worker that may give other digits than this process.

        Raises:
            UsageProblem: it is of another kind.
        """
        for name in dict.fromkeys([*self._here, *there]):
            if (mine := self._here.get(name, "not there")) != (other := there.get(name, "not there")):
                raise UsageProblem(
                    f"a worker process would give other digits than this one: {one_line(name, 60)} is "
                    f"{one_line(other, 60)} there, {one_line(mine, 60)} here; run again with one environment, or with "
                    "--workers 1"
                )

    def _mourn(self, worker: _Worker, left: deque[Block], deaths: Counter[int], told: Told) -> None:
        """Have another worker do again what one that died was doing.

        Raises:
            UsageProblem: it died before it could begin, or is not the first to die over this block.
        """
        self._workers.remove(worker)
        worker.process.join(GRACE)
        how = f"exit code {worker.process.exitcode}"
        if worker.process.exitcode is not None and worker.process.exitcode < 0:
            how = f"killed by signal {-worker.process.exitcode}"
        worker.connection.close()
        if worker.block is None and not worker.ready:
            raise UsageProblem(
                f"a worker process ended before it could begin ({how}); a script that evaluates does so under `if "
                "__name__ == '__main__':`, else pass --workers 1"
            )
        if worker.block is not None:
            deaths[worker.block.number] += 1
            if deaths[worker.block.number] >= MOST_DEATHS:
                first, last = (one_line(str(worker.block.rows[at]["id"]), 40) for at in (0, -1))
                raise UsageProblem(
                    f"{MOST_DEATHS} worker processes died while they answered the films {first} to {last} ({how}): "
                    "memory may be short; pass fewer --workers. What is finished is kept"
                )
            left.appendleft(worker.block)
            _tell(told, worker.tally, back=True)
        self._start(min(self.count, len(self._workers) + 1))


def workers_of(count: int, subjects: Sequence[Subject]) -> Workers:
    """Return whoever answers with so many processes: this one alone, or others.

    Raises:
        UsageProblem: that is no number of processes.
    """
    return THIS_PROCESS if checked(count) == 1 else LocalProcesses(count, subjects)


def checked(count: int) -> int:
    """Return a number of processes.

    Raises:
        UsageProblem: it is none.
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_WORKERS:
        raise UsageProblem(
            f"workers is {one_line(repr(count), 40)}; expected a number of processes, 1 to {MOST_WORKERS}"
        )
    return count


def _tell(told: Told, tally: Tally, *, back: bool = False) -> None:
    """Pass on how far a block is, or take back what was said of one that is done again."""
    sign = -1 if back else 1
    told.done(sign * tally.done)
    told.films(sign * tally.films, sign * tally.found)


def _task(job: Job) -> bytes:
    conditions = {condition.text: condition for condition in job.asked()}
    names = {name for condition in conditions.values() for name, severity in condition.steps if severity}
    code = [type(perturbation.get(name)) for name in sorted(names)]
    identities = {text: condition.identity for text, condition in conditions.items()}
    return _pickled(Task(job=job, identities=identities, code=code), f"what reads {job.cohort.name}, or a perturbation")


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


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Start processes that never hear of Ctrl-C, not even while they start; it reaches this one after the block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.end()
    for worker in workers:
        worker.process.join(GRACE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
    workers.clear()
