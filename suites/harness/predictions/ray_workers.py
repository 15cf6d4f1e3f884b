"""Who answers blocks on a Ray cluster? One actor for each GPU, or for each CPU, with the bytes of one process.

Ray schedules and carries names and receipts, and once to every worker its subjects: films are read where they lie, and
answers are written to the cache, which every worker must see. A worker that dies, or leaves with its node, has its
block done again by another; nodes that join are taken in. Ray is imported here only, when there is something to do.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch

from suites.harness.errors import PredictionProblem, UsageProblem, one_line
from suites.harness.foreign_code import foreign
from suites.harness.predictions.dispatching import Dispatching, Ended, Worker
from suites.harness.predictions.worker_process import Serving, code_of_project
from suites.harness.subjects.subject import Subject

START_SECONDS = 300.0
"""How long a cluster may have no worker for this run."""
LOOK_SECONDS = 5.0
"""Between two looks at how many workers the cluster has room for."""
KNOCK_SECONDS = 5.0
OBJECT_STORE = 128 * 2**20
"""Bytes of a cluster that is started here: what travels are subjects, names and receipts."""
_SETTINGS = {
    # Under `uv run` Ray would build this environment again for every worker; nodes have theirs.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def check_cluster(address: str) -> None:
    """Refuse a cluster that cannot be had, before anything is done.

    Args:
        address: `ray` or `ray://HOST:PORT`.

    Raises:
        UsageProblem: Ray is not installed, that is no address, or nobody answers there.
    """
    shown = one_line(address, 60)
    if find_spec("ray") is None:
        raise UsageProblem(
            f"--workers {shown}: Ray is not installed; install the extra `ray` (uv run --extra ray ..., or pip install "
            "'chest-xray-reliability[ray]'), or pass a number of processes"
        )
    if address == "ray":
        given = os.environ.get("RAY_ADDRESS", "")
        if given in ("", "auto", "local"):
            return
        address, shown = given, f"ray (RAY_ADDRESS={one_line(given, 60)})"
    host, port = _host_and_port(address)
    if not host or not port:
        raise UsageProblem(
            f"--workers {shown}: expected ray://HOST:PORT, the port being 10001 unless somebody chose one"
        )
    try:
        _knock(host, port)
    except (OSError, UnicodeError) as problem:
        raise UsageProblem(
            f"--workers {shown}: no cluster there ({one_line(str(problem), 80)}); start one with `ray start --head` on "
            "that machine, whose client port is 10001, or pass a number of processes"
        ) from problem


def _host_and_port(address: str) -> tuple[str, int]:
    """Return host and port of an address, with or without `ray://`; nothing and 0 where it has none."""
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return "", 0
    return host or "", port or 0


def _knock(host: str, port: int) -> None:
    socket.create_connection((host, port), timeout=KNOCK_SECONDS).close()


def cluster_here() -> str:
    """Return the address of the cluster that this machine belongs to, "" where it belongs to none that answers.

    That is what RAY_ADDRESS says, or what `ray start` left word of; Ray would wait a minute for one that is gone.
    """
    given = os.environ.get("RAY_ADDRESS", "")
    if given == "local":
        return ""
    if given not in ("", "auto"):
        return given
    left = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir(), "ray", "ray_current_cluster")
    try:
        address = left.read_text("utf-8").strip()
        _knock(*_host_and_port(address))
    except (OSError, ValueError):
        return ""
    return address


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
    pending: list[Any] = field(default_factory=list)

    def send(self, data: bytes) -> None:
        """Send something; that nobody is there to take it shows when it is waited for."""
        self.pending.append(self.actor.take.remote(data))


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
        self.__dict__.pop("_ray", None)
        self.__dict__.pop("_subjects_there", None)

    @cached_property
    def _ray(self) -> Any:  # noqa: ANN401 - a module that may not be there
        """Ray, connected.

        Raises:
            UsageProblem: the cluster cannot be used.
        """
        for name, setting in _SETTINGS.items():
            os.environ.setdefault(name, setting)
        ray = import_module("ray")
        ours = not ray.is_initialized()
        if ours:
            with _own_sigterm(), foreign(UsageProblem, f"the Ray cluster {one_line(self.address, 60)} cannot be used"):
                _connect(ray, self.address)
        self._over = weakref.finalize(self, _end, ray, self._workers, ours)
        self._heard_at = time.monotonic()
        return ray

    def _resources(self) -> dict[str, float]:
        found: dict[str, float] = self._ray.cluster_resources()
        return found

    def _size(self) -> int:
        return int(self._resources().get("GPU" if self._on_gpus else "CPU", 0))

    def _threads(self) -> int:
        room = self._resources()
        return max(1, int(room.get("CPU", 1) // max(1, room.get("GPU", 1)))) if self._on_gpus else 1

    def _start(self, number: int) -> _RayWorker:
        kind = self._ray.remote(RayWorker).options(num_cpus=1, num_gpus=int(self._on_gpus))
        started = _RayWorker(number=number, actor=kind.remote(number, os.getcwd(), code_of_project()))  # noqa: PTH109
        self._workers.append(started)
        return started

    def _introduce(self, worker: _RayWorker) -> None:
        worker.pending.append(worker.actor.take.remote(self._subjects_there))

    @cached_property
    def _subjects_there(self) -> Any:  # noqa: ANN401 - a reference of Ray's
        """The subjects, sent to every node once."""
        return self._ray.put(self._setting)

    def _heard(self) -> Iterator[tuple[_RayWorker, object]]:
        waiting = {worker.pending[0]: worker for worker in self._workers if worker.pending}
        if waiting:
            done, _ = self._ray.wait(list(waiting), timeout=LOOK_SECONDS)
        else:
            done = []
            time.sleep(LOOK_SECONDS)
        for reference in done:
            worker = waiting[reference]
            worker.pending.remove(reference)
            self._heard_at = time.monotonic()
            try:
                said = self._ray.get(reference)
            except self._ray.exceptions.RayError as problem:
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


def _connect(ray: Any, address: str) -> None:  # noqa: ANN401
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    wanted = cluster_here() if address == "ray" else address
    if wanted:
        ray.init(wanted, **quiet)
    else:  # nobody else is to reach it
        ray.init(
            "local", **quiet, include_dashboard=False, object_store_memory=OBJECT_STORE, _node_ip_address="127.0.0.1"
        )


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep what this process does when it is told to end; Ray sets what it would do."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _how(problem: Exception) -> str:
    """Return what Ray says of a worker that is gone: the error that it ended with, or its first words."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    errors = [line for line in lines if line.partition(":")[0].endswith("Error")]
    return one_line((errors or lines or [type(problem).__name__])[-1 if errors else 0], 90)


def _end(ray: Any, workers: list[_RayWorker], ours: bool) -> None:  # noqa: ANN401
    """End the workers, and the connection where it is ours."""
    if ray.is_initialized():
        for worker in workers:
            ray.kill(worker.actor)
        if ours:
            ray.shutdown()
    workers.clear()
