"""What does a worker process do? It is given the subjects once, then blocks of films, and returns their receipts.

It also does errands (see `errands`), and returns what these found.

Film pixels, network inputs and answers never travel: a worker reads films where they lie and writes its answers into
the cache. It ends with the process that started it, and keeps what it has answered of a block when it is told to end.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import re
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import NoReturn

import torch

from suites.harness.cache.code_digest import OUR_PACKAGES, decoding, digest_of
from suites.harness.cache.places import place_of
from suites.harness.cache.versions import library_versions
from suites.harness.errors import UsageProblem, one_line
from suites.harness.foreign_code import SPEAKING, foreign
from suites.harness.predictions.blocks import Answering, Block, Job
from suites.harness.predictions.conditions import parse
from suites.harness.predictions.engine import ENGINE_VERSION
from suites.harness.predictions.errands import Desk, Done, Errand, unpacked
from suites.harness.subjects.subject import Subject, device_kind

GRACE = 10.0
"""Seconds that a worker has to keep what it has answered, once it is told to end."""
LOGITS = "logits of test films by "
"""How `standing` begins the name of what is compared within a tolerance."""
HARDWARE = ("device", "driver of the GPU", "instructions of the CPU")
"""What of `standing` may differ within a tolerance."""
TEST_FILMS, TEST_SIDE = 8, 256
TELLING = 0.2
"""Seconds between two words on how far a block is."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a worker is, beside the blocks that it answers.

    Attributes:
        subjects: with their networks on the CPU; `devices`: where each goes, just `cuda` to a GPU in turn.
        threads: that a network's operation is divided among, as in the process that started it: they decide the last
            digits of a logit.
        matmul: torch's precision of matrix products; `dtype`: its default type.
    """

    subjects: Sequence[Subject]
    devices: Sequence[str]
    threads: int
    matmul: str
    dtype: torch.dtype

    def taken(self, number: int) -> dict[str, Subject]:
        """Set torch up, and return the subjects by name, with nothing remembered of the process they come from.

        Args:
            number: of the worker.
        """
        torch.set_num_threads(self.threads)
        torch.set_float32_matmul_precision(self.matmul)
        torch.set_default_dtype(self.dtype)
        pairs = zip(self.subjects, self.devices, strict=True)
        return {subject.name: replace(subject, device=_own(device, number)) for subject, device in pairs}


@dataclass(frozen=True, kw_only=True)
class Task:
    """A job as it is sent.

    Attributes:
        job: what is asked.
        identities: text of each of its conditions -> what it is known by in the process that sent it.
        code: the perturbations of these conditions; unpickling them imports, and so registers, those of a user.
        mark: name of a file in the cache of the process that sent it.
    """

    job: Job
    identities: dict[str, str]
    code: Sequence[type]
    mark: str

    def taken(self) -> Job:
        """Return the job.

        Raises:
            UsageProblem: a condition is another one here, or the cache is.
        """
        if self.mark not in (place := place_of(self.job.cache)).names(self.mark):
            raise UsageProblem(
                f"the cache {one_line(str(place), 90)} of a worker on {one_line(socket.gethostname(), 40)} is not that "
                "of the process that started it; name a --cache that every worker sees under the same path or address"
            )
        for text, identity in self.identities.items():
            if parse(text).identity != identity:
                raise UsageProblem(
                    f"{one_line(text, 60)} is {one_line(parse(text).identity, 60)} in a worker process and "
                    f"{one_line(identity, 60)} where it was started: its code changed meanwhile; run again"
                )
        return self.job


@dataclass(frozen=True)
class Tally:
    """How much was done since the last word."""

    done: int = 0
    films: int = 0
    found: int = 0
    under_way: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.done + other.done,
            self.films + other.films,
            self.found + other.found,
            self.under_way + other.under_way,
        )


class _Telling:
    """Tells how far a block is, a few times a second."""

    def __init__(self, say: Callable[[object], object]) -> None:
        self._say, self._tally, self._last = say, Tally(), time.monotonic()

    def done(self, units: int) -> None:
        self._add(Tally(done=units))

    def films(self, count: int, found: int) -> None:
        self._add(Tally(films=count, found=found))

    def under_way(self, units: float) -> None:
        self._add(Tally(under_way=units))

    def _add(self, more: Tally) -> None:
        self._tally += more
        if time.monotonic() - self._last > TELLING:
            self.tell()

    def tell(self) -> None:
        """Say what has not been said."""
        self._say(self._tally)
        self._tally, self._last = Tally(), time.monotonic()


def code_of_project() -> str:
    """Return what tells this version of this project from any other."""
    digests = (digest_of(package, "**/*.py")[:16] for package in OUR_PACKAGES)
    return " ".join([library_versions(()).get("chest-xray-reliability", "no version"), *digests])


def _driver() -> str:
    """Return the version of the driver of NVIDIA's GPUs."""
    try:
        found = re.search(r"Kernel Module\D*([\d.]+)", Path("/proc/driver/nvidia/version").read_text("utf-8"))
    except OSError:
        found = None
    return found[1] if found else "unknown"


def standing(subjects: Sequence[Subject]) -> dict[str, str]:
    """Return everything about a process that decides its answers, in words: two that differ here may differ there."""
    devices = [device_kind(subject.device) for subject in subjects]
    versions = library_versions(devices, [subject.precision for subject in subjects if subject.network is not None])
    told = {name: version for name, version in versions.items() if name != "platform"}
    told["instructions of the CPU"] = torch.backends.cpu.get_cpu_capability()
    told["threads of torch"] = str(torch.get_num_threads())
    told["decoders of films"] = json.dumps(decoding(), sort_keys=True)
    told["engine"] = str(ENGINE_VERSION)
    told["code of this project"] = code_of_project()
    if any(torch.device(subject.device).type == "cuda" for subject in subjects):
        told["driver of the GPU"] = _driver()
    for one in subjects:
        told[f"the subject {one.name}"] = json.dumps(one.cache_key, sort_keys=True)
        if one.tolerance is not None and one.network is not None:
            told[f"{LOGITS}{one.name}"] = json.dumps(_test_logits(one))
    return told


def _test_logits(subject: Subject) -> list[float]:
    """Return what a subject answers to a few films that are the same everywhere."""
    ramp = torch.linspace(0, 1, TEST_SIDE)
    waves = [torch.sin(number * ramp[:, None] + ramp[None, :] * 40).mul(0.3).add(0.5) for number in range(TEST_FILMS)]
    logits, _ = subject.answer(subject.pixels(torch.stack(waves)))
    return [float(logit) for logit in logits.detach().to("cpu", torch.float64).flatten()]


def _own(device: str, number: int) -> str:
    return f"cuda:{number % torch.cuda.device_count()}" if device == "cuda" else device


def work(connection: Connection, number: int) -> NoReturn:
    """Do what is sent until nobody sends any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the first one decides
    signal.signal(signal.SIGTERM, _told_to_end)
    threading.Thread(target=_end_with_parent, daemon=True, name="ends with its parent").start()
    code = 1
    with suppress(EOFError, OSError, SystemExit):
        _serve(connection, number)
        code = 0
    sys.stdout.flush()
    os._exit(code)  # threads that prepare films have nobody to make them for


def _serve(connection: Connection, number: int) -> None:
    serving = Serving(number, connection.send)
    while serving.take(connection.recv_bytes()):
        pass


class Serving:
    """Does what it is sent: it is told what it is (a `Setting`), then what is asked (a `Task`), then `Block`s.

    There may be `Errand`s between them.

    Args:
        number: of the worker.
        say: sends an answer: what decides its digits (`standing`) to a setting, to a block `Tally`s and the receipt,
            to an errand what it returns (`Done`), and whatever went wrong.
        folder: that modules of the user's are found in besides the one this process runs in.
    """

    def __init__(self, number: int, say: Callable[[object], object], folder: str | None = None) -> None:
        self._number, self._say = number, say
        self._folders = list(dict.fromkeys(filter(None, [os.getcwd(), folder])))  # noqa: PTH109 - as the import system
        self._desk = Desk({})
        self._answering: Answering | None = None

    def take(self, data: bytes) -> bool:
        """Do one thing; return whether it could be done."""
        try:
            match self._unpickled(data):
                case Setting() as setting:
                    self._desk = Desk(setting.taken(self._number))
                    self._say(standing(list(self._desk.subjects.values())))
                case Task() as task:
                    self._answering = task.taken().ready(self._desk.subjects)
                case Block() as block if self._answering is not None:
                    telling = _Telling(self._say)
                    receipt = self._answering.answer_block(block, telling)
                    telling.tell()
                    self._say(receipt)
                case Errand() as errand:
                    self._say(Done(errand.run(self._desk)))
        except (EOFError, BrokenPipeError, SystemExit):
            raise
        except BaseException as problem:  # noqa: BLE001 - raised again in the process that waits for the answer
            self._say(_sendable(problem))
            return False
        return True

    def _unpickled(self, data: bytes) -> object:
        """Return what was sent; modules of the user's are found where the run was started, too."""
        sys.path[:0] = self._folders
        try:
            with foreign(UsageProblem, "a worker process cannot have what the run is made of; pass --workers 1"):
                return unpacked(data, self._desk)
        finally:
            del sys.path[: len(self._folders)]


def _sendable(problem: BaseException) -> BaseException:
    """Return a problem as it can be sent; a fault of ours with its traceback."""
    if not isinstance(problem, SPEAKING):
        problem.add_note("in a worker process:\n" + "".join(traceback.format_exception(problem)))
    try:
        pickle.loads(pickle.dumps(problem))  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - whatever its class does when it is copied
        return RuntimeError("".join(traceback.format_exception(problem)))
    return problem


def _told_to_end(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(1)
