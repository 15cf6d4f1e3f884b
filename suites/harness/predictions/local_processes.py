"""Who answers blocks on this machine? Several processes, with the bytes of one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from suites.harness.errors import UsageProblem
from suites.harness.predictions.dispatching import Dispatching, Ended, Worker
from suites.harness.predictions.errands import Agenda, Done
from suites.harness.predictions.worker_process import GRACE, work
from suites.harness.subjects.subject import Subject


@dataclass(eq=False, kw_only=True)
class _LocalWorker(Worker):
    """A process of this machine."""

    process: SpawnProcess
    connection: Connection
    away: bool = False
    """On an errand."""

    def send(self, data: bytes) -> None:
        """Send something; that nobody is there to take it shows when it is waited for."""
        with suppress(OSError):
            self.connection.send_bytes(data)

    def end(self) -> None:
        """Tell it to end."""
        self.connection.close()
        self.process.terminate()


class LocalProcesses(Dispatching[_LocalWorker]):
    """Processes on this machine.

    Args:
        count: how many; they share the cores, and each has a GPU of its own where there are as many.
        subjects: of the run; each worker loads them once.
    """

    def __init__(self, count: int, subjects: Sequence[Subject]) -> None:
        super().__init__(subjects)
        self.count = count
        self._over = weakref.finalize(self, _end, self._workers)

    @property
    def standing(self) -> int:
        """How many processes there are."""
        return len(self._workers)

    def through(self, agenda: Agenda) -> None:
        """Have workers do the errands of an agenda until none is left, or no worker.

        Raises:
            UsageProblem: a worker is not of this process's kind; also whatever an errand raises.
        """
        with self._ended_by_faults():
            self._staff(agenda.left)
            while agenda.left or any(worker.away for worker in self._workers):
                for worker in self._workers:
                    if worker.ready and not worker.away and (errand := agenda.next(worker)) is not None:
                        worker.away = True
                        worker.send(errand)
                if all(worker.ready and not worker.away for worker in self._workers):
                    return  # nobody is left, or nothing for those who are
                for worker, said in self._heard():
                    if isinstance(said, Done):
                        worker.away = False
                        agenda.back(worker, said.value)
                    elif not self._stays(worker, said):
                        agenda.lost(worker)

    def ask(self, worker: object, errand: bytes) -> Done | None:
        """Return what a worker says of an errand, `None` where it is no more or has something else to do."""
        asked = next((one for one in self._workers if one is worker), None)
        if asked is None or any(one.away or one.block for one in self._workers):
            return None
        with self._ended_by_faults():
            asked.send(errand)
            while asked in self._workers:
                for one, said in self._heard():
                    if isinstance(said, Done):
                        return said
                    self._stays(one, said)
        return None

    def _end(self) -> None:
        _end(self._workers)

    def _size(self) -> int:
        return self.count

    def _threads(self) -> int:
        return max(1, (os.cpu_count() or 1) // self.count)

    def _start(self, number: int) -> _LocalWorker:
        context = multiprocessing.get_context("spawn")
        with _uninterrupted():
            here, there = context.Pipe()
            process = context.Process(target=work, args=(there, number), daemon=True, name=f"worker {number}")
            process.start()
            there.close()
            started = _LocalWorker(number=number, process=process, connection=here)
            self._workers.append(started)
        return started

    def _heard(self) -> Iterator[tuple[_LocalWorker, object]]:
        for connection in wait([worker.connection for worker in self._workers]):
            worker = next(one for one in self._workers if one.connection is connection)
            try:
                said = worker.connection.recv()
            except (EOFError, OSError):
                said = _buried(worker)
            yield worker, said

    def _never_began(self, how: str) -> UsageProblem:
        return UsageProblem(
            f"a worker process ended before it could begin ({how}); where memory is short pass fewer --workers; a "
            "script that evaluates does so under `if __name__ == '__main__':`, else pass --workers 1"
        )


def _buried(worker: _LocalWorker) -> Ended:
    """Return how a worker ended that nobody told to."""
    worker.process.join(GRACE)
    worker.connection.close()
    code = worker.process.exitcode
    return (
        Ended(f"killed by signal {-code}", killed=True) if code is not None and code < 0 else Ended(f"exit code {code}")
    )


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


def _end(workers: list[_LocalWorker]) -> None:
    for worker in workers:
        worker.end()
    for worker in workers:
        worker.process.join(GRACE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
    workers.clear()
