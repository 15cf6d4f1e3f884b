"""Which Ray cluster is it, is it there, and is it there still?

A driver of Ray's is ended by Ray itself, without a word to the code that runs in it, a minute after the head of its
cluster is gone, or the node of its own machine. So whoever asks Ray for something looks first whether both still listen
(`RayCluster.asked`), a thread looks while nobody asks, and a cluster that does not is let go. What only the head can
answer is asked by a thread (`RayCluster.told`): Ray waits for a head that goes meanwhile, and cannot be interrupted.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from suites.harness.errors import UsageProblem, one_line
from suites.harness.foreign_code import SPEAKING, foreign, told

KNOCK_SECONDS = 5.0
WATCH_SECONDS = 2.0
"""Between two looks while nobody asks for anything."""
AWAY_SECONDS = 10.0
"""How long the head of a cluster may not answer: it may be started again. The node of this machine comes back never."""
OBJECT_STORE = 128 * 2**20
"""Bytes of a cluster that is started here: what travels are subjects, names and receipts."""
SETTINGS = {
    # Under `uv run` Ray would build this environment again for every worker; nodes have theirs.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Else Ray ends this process, whatever it is doing, a minute after a head is gone that somebody waits for.
    "RAY_gcs_rpc_server_reconnect_timeout_s": str(24 * 60 * 60),
}
CLIENT_STARTS = 3
"""How often a head is asked to start what answers a client of `ray://`: on a busy machine that fails now and then."""

T = TypeVar("T")


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


def told_of_cluster(address: str) -> str:
    """Return which cluster a run will use, and why that one: of several on a machine Ray takes the latest, as we do.

    Args:
        address: `ray` or `ray://HOST:PORT`.
    """
    if address != "ray":
        return f"the Ray cluster {one_line(address, 60)}"
    joined = one_line(cluster_here(), 60)
    if not joined:
        return "a Ray cluster of its own on this machine"
    if os.environ.get("RAY_ADDRESS", "") not in ("", "auto"):
        return f"the Ray cluster {joined}, which RAY_ADDRESS names"
    return f"the Ray cluster {joined}, the last started on this machine (RAY_ADDRESS=local: one of its own)"


@dataclass
class RayCluster:
    """Ray, connected to a cluster.

    Attributes:
        ray: the module.
        address: as somebody gave it.
        ours: whether the connection was made here, and is ended here.
        head: where the head listens; `node`: where the node of this machine does, `None` for a client of `ray://`.
        gone: how the cluster was found to be no more, "" while it is there.
    """

    ray: Any
    address: str
    ours: bool
    head: tuple[str, int]
    node: tuple[str, int] | None
    gone: str = ""
    _asking: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _left: threading.Event = field(default_factory=threading.Event, repr=False)

    @classmethod
    def joined(cls, address: str) -> RayCluster:
        """Return the cluster of an address, as `RayWorkers` takes it; one that is connected already stays.

        Raises:
            UsageProblem: it cannot be used.
        """
        for name, setting in SETTINGS.items():
            os.environ.setdefault(name, setting)
        ray = import_module("ray")
        ours = not ray.is_initialized()
        with _own_sigterm(), foreign(UsageProblem, f"the Ray cluster {one_line(address, 60)} cannot be used"):
            if ours:
                _connect(ray, address)
            client = _client_of(address)
            head = _host_and_port(client or ray.get_runtime_context().gcs_address)
            found = cls(ray, address, ours, head, node=None)
            if not client:
                found.node = found.told(partial(_node_here, ray))
        if ours:
            found.watch()
        return found

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Ask Ray for something, where its cluster is there.

        Raises:
            UsageProblem: it is gone, or Ray raises what is no answer of a worker.
        """
        with self._asking:
            self.check()
            try:
                yield
            except SPEAKING:
                raise
            except Exception as problem:  # not Ctrl-C, nor SIGTERM, which end a run as they do anywhere
                self.check()
                raise UsageProblem(
                    f"the Ray cluster {one_line(self.address, 60)} failed this run ({told(problem)}); look at it with "
                    "`ray status`. What is finished is kept; run again to go on"
                ) from problem

    def told(self, question: Callable[[], T]) -> T:
        """Return what only the head of the cluster knows.

        Raises:
            UsageProblem: it is gone, or went without an answer; also what `asked` raises.
        """
        found: Future[T] = Future()

        def ask() -> None:
            try:
                found.set_result(question())
            except Exception as problem:  # noqa: BLE001 - raised where the answer is waited for
                found.set_exception(problem)

        with self.asked():
            threading.Thread(target=ask, daemon=True, name="asks the head of the Ray cluster").start()
            while not wait([found], timeout=WATCH_SECONDS).done:
                self.check()
            return found.result()

    def check(self) -> None:
        """Look whether the cluster is there.

        Raises:
            UsageProblem: it is not.
        """
        self.gone = self.gone or self._silent()
        if self.gone:
            raise UsageProblem(
                f"the Ray cluster {one_line(self.address, 60)} is gone: {self.gone} does not answer any more. What is "
                "finished is kept; run again, with a cluster that is up, to go on"
            )

    def _silent(self) -> str:
        """Return who of those that the connection hangs on does not answer any more, "" where all do."""
        if self.node is not None and not _answers(self.node):
            return f"the node of this machine ({one_line(self.node[0], 60)}:{self.node[1]})"
        since = time.monotonic()
        while not _answers(self.head):
            if time.monotonic() - since > AWAY_SECONDS:
                return f"its head ({one_line(self.head[0], 60)}:{self.head[1]})"
            time.sleep(AWAY_SECONDS / 20)
        return ""

    def watch(self) -> None:
        """Look from now on while nobody asks for anything: a run may judge for long after its workers are done."""
        threading.Thread(target=self._watched, daemon=True, name="looks whether the Ray cluster is there").start()

    def _watched(self) -> None:
        while not self._left.wait(WATCH_SECONDS):
            with self._asking:
                self.gone = self.gone or self._silent()
                if self.gone:
                    self.leave()

    def leave(self) -> None:
        """End the connection, where it was made here."""
        self._left.set()
        if self.ours and self.ray.is_initialized():
            with suppress(Exception):  # that it cannot be ended properly is of no use to anybody
                self.ray.shutdown()


def _client_of(address: str) -> str:
    """Return the address that a client of `ray://` talks to, "" where this process belongs to a node of the cluster."""
    wanted = address if address != "ray" else os.environ.get("RAY_ADDRESS", "")
    return wanted if "://" in wanted else ""


def _node_here(ray: Any) -> tuple[str, int]:  # noqa: ANN401
    """Return where the node of this machine listens."""
    mine = next(node for node in ray.nodes() if node["NodeID"] == ray.get_runtime_context().get_node_id())
    return str(mine["NodeManagerAddress"]), int(mine["NodeManagerPort"])


def _answers(door: tuple[str, int]) -> bool:
    """Return whether somebody listens."""
    try:
        _knock(*door)
    except OSError:
        return False
    return True


def _connect(ray: Any, address: str) -> None:  # noqa: ANN401
    _hush()
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    wanted = cluster_here() if address == "ray" else address
    if wanted:
        _join(ray, wanted, quiet)
    else:  # nobody else is to reach it
        ray.init(
            "local", **quiet, include_dashboard=False, object_store_memory=OBJECT_STORE, _node_ip_address="127.0.0.1"
        )


def _join(ray: Any, address: str, quiet: Mapping[str, object]) -> None:  # noqa: ANN401
    """Connect to a cluster; of a client, also where its head needs another try to start what answers it."""
    for left in reversed(range(CLIENT_STARTS)):
        try:
            ray.init(address, **quiet)
        except ConnectionAbortedError:
            if not left:
                raise
        else:
            return


def _hush() -> None:
    """Keep Ray from printing what it thinks of a cluster that is gone; there is no public switch for it.

    The last lines of the log of a node that has died, and of a client that it tries to connect again.
    """
    for part in ("logsclient", "dataclient", "worker"):
        logging.getLogger(f"ray.util.client.{part}").disabled = True  # their level Ray sets again
    inner = vars(import_module("ray._private.worker"))
    if "_worker_logs_enabled" in inner:
        inner["_worker_logs_enabled"] = False


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
