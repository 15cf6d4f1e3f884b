"""Who answers blocks on a Ray cluster? One actor for each GPU, or for each CPU, with the bytes of one process.

Ray schedules and carries names and receipts, and once to every worker its subjects: films are read where they lie, and
answers are written to the cache, which every worker must see. A worker that dies, or leaves with its node, has its
block done again by another; nodes that join are taken in. A cluster that goes ends the run in one line. Ray is imported
by `ray_cluster` only, when there is something to do.
"""

from __future__ import annotations

import os
import socket
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from suites.harness.errors import PredictionProblem, UsageProblem, one_line
from suites.harness.predictions.dispatching import Dispatching, Ended, Worker
from suites.harness.predictions.ray_cluster import RayCluster
from suites.harness.predictions.worker_process import Serving, code_of_project
from suites.harness.subjects.subject import Subject

START_SECONDS = 300.0
"""How long a cluster may have no worker for this run."""
LOOK_SECONDS = 1.0
"""Between two looks at whether the cluster is there, and how many workers it has room for."""


class RayWorker:
    """What runs on the cluster: takes what it is sent, and returns what is to be said of it.

    Args:
        number: of the worker.
        folder: that the run was started in.
        code: what identifies the code of this project there.
    """

    def __init__(self, number: int, folder: str, code: str) -> None:
        if Path(folder).is_dir():  # paths that somebody gave may be relative to it
            os.chdir(folder)
        self._code = code
        self._said: list[object] = []
        self._serving = Serving(number, self._said.append, folder)

    def take(self, data: bytes) -> list[object]:
        """Do one thing."""
        if (mine := code_of_project()) != self._code:
            return [
                UsageProblem(
                    f"a worker on {one_line(socket.gethostname(), 40)} has another version of this project: "
                    f"{one_line(mine, 90)} there, {one_line(self._code, 90)} here; install the same on every node"
                )
            ]
        self._said.clear()
        self._serving.take(data)
        return list(self._said)


@dataclass(eq=False, kw_only=True)
class _RayWorker(Worker):
    """An actor, and what it has not answered yet, in order."""

    actor: Any
    cluster: RayCluster
    pending: list[Any] = field(default_factory=list)

    def send(self, data: bytes) -> None:
        """Send something; that nobody is there to take it shows when it is waited for.

        Raises:
            UsageProblem: the cluster is gone.
        """
        self.take(data)

    def take(self, what: Any) -> None:  # noqa: ANN401 - bytes, or a reference of Ray's to some
        """Send something, or what lies on the cluster already."""
        with self.cluster.asked():
            self.pending.append(self.actor.take.remote(what))


class RayWorkers(Dispatching[_RayWorker]):
    """Workers of a Ray cluster.

    Args:
        address: `ray`: the cluster that this machine belongs to, else one that is started here; or `ray://HOST:PORT`.
        subjects: of the run; each worker loads them once.
    """

    false_starts = 3

    def __init__(self, address: str, subjects: Sequence[Subject]) -> None:
        super().__init__(subjects)
        self.address = address
        self._on_gpus = any(torch.device(subject.device).type == "cuda" for subject in self.subjects)
        self._heard_at = time.monotonic()
        self._over: weakref.finalize[..., Any] | None = None

    def _end(self) -> None:
        """End the workers; of what they were answering they keep what was written, every few seconds."""
        if self._over is not None:
            self._over()
        self.__dict__.pop("_cluster", None)
        self.__dict__.pop("_subjects_there", None)

    @cached_property
    def _cluster(self) -> RayCluster:
        """The cluster, connected.

        Raises:
            UsageProblem: it cannot be used.
        """
        cluster = RayCluster.joined(self.address)
        self._over = weakref.finalize(self, _end, cluster, self._workers)
        self._heard_at = time.monotonic()
        return cluster

    def _resources(self) -> dict[str, float]:
        found: dict[str, float] = self._cluster.told(self._cluster.ray.cluster_resources)
        return found

    def _size(self) -> int:
        return int(self._resources().get("GPU" if self._on_gpus else "CPU", 0))

    def _threads(self) -> int:
        room = self._resources()
        return max(1, int(room.get("CPU", 1) // max(1, room.get("GPU", 1)))) if self._on_gpus else 1

    def _start(self, number: int) -> _RayWorker:
        with self._cluster.asked():
            kind = self._cluster.ray.remote(RayWorker).options(num_cpus=1, num_gpus=int(self._on_gpus))
            actor = kind.remote(number, os.getcwd(), code_of_project())  # noqa: PTH109
        started = _RayWorker(number=number, actor=actor, cluster=self._cluster)
        self._workers.append(started)
        return started

    def _introduce(self, worker: _RayWorker) -> None:
        worker.take(self._subjects_there)

    @cached_property
    def _subjects_there(self) -> Any:  # noqa: ANN401 - a reference of Ray's
        """The subjects, sent to every node once."""
        with self._cluster.asked():
            return self._cluster.ray.put(self._setting)

    def _heard(self) -> Iterator[tuple[_RayWorker, object]]:
        ray = self._cluster.ray
        waiting = {worker.pending[0]: worker for worker in self._workers if worker.pending}
        done = []
        if waiting:
            with self._cluster.asked():
                done, _ = ray.wait(list(waiting), timeout=LOOK_SECONDS)
        else:
            time.sleep(LOOK_SECONDS)
        for reference in done:
            worker = waiting[reference]
            worker.pending.remove(reference)
            self._heard_at = time.monotonic()
            with self._cluster.asked():
                try:
                    said = ray.get(reference)
                except ray.exceptions.RayError as problem:
                    self._cluster.check()  # all workers of a cluster that is gone are
                    said = [Ended(_how(problem))]
            for one in said:
                yield worker, one
        self._lose_patience()

    def _lose_patience(self) -> None:
        if time.monotonic() - self._heard_at > START_SECONDS and not any(worker.ready for worker in self._workers):
            what = "GPU" if self._on_gpus else "CPU"
            raise PredictionProblem(
                f"the Ray cluster {one_line(self.address, 60)} gave this run no worker for {START_SECONDS:.0f} s: no "
                f"{what} is free there (`ray status`). What is finished is kept; run again when there is one"
            )

    def _never_began(self, how: str) -> UsageProblem:
        return UsageProblem(
            f"a Ray worker ended before it could begin ({one_line(how, 120)}); every node needs this project in the "
            "same version, what the run is made of, and about 1 GB of memory for a worker"
        )


def _how(problem: Exception) -> str:
    """Return what Ray says of a worker that is gone: the error that it ended with, or its first words."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    errors = [line for line in lines if line.partition(":")[0].endswith("Error")]
    return one_line((errors or lines or [type(problem).__name__])[-1 if errors else 0], 90)


def _end(cluster: RayCluster, workers: list[_RayWorker]) -> None:
    """End the workers, and the connection where it is ours."""
    if cluster.ray.is_initialized() and not cluster.gone:  # who is gone is not waited for
        with suppress(Exception):
            for worker in workers:
                cluster.ray.kill(worker.actor)
    cluster.leave()
    workers.clear()
