"""How are thousands of hostile inputs tried in a minute? In processes that are watched, many cases in each.

The supervisor imports everything once and forks workers, so that a new one costs nothing. It asks every few
hundredths of a second how much memory a worker and its children hold and how long its case has taken, and ends it
beyond the limits; the next worker goes on with the next case.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from suites.harness.errors import FilmUnreadable, NotEvaluable, PredictionProblem, UsageProblem
from tests.hostile.case import Case, named
from tests.hostile.command import Finished

DEADLINE = 60.0
MOST_MEMORY = 2 * 2**30
RETIRED_FROM = 2**30
"""What a worker keeps after a large case would count against the next one, so a new worker takes that."""
LONGEST_LINE = 300
LINES = (UsageProblem, FilmUnreadable, PredictionProblem, NotEvaluable)
GOOD, BAD = ("accepted", "refused"), ("traceback", "hang", "memory", "wrong", "message")
_POLL = 0.03
_DEATH_WITH_PARENT = 1


@dataclass(frozen=True)
class Outcome:
    """What came of one case: one of `GOOD` or `BAD`, and the line, the innermost frame or the wrong value."""

    name: str
    verdict: str
    detail: str
    seconds: float
    memory: int

    @property
    def kind(self) -> str:
        return self.name.partition(".")[0]


def run(names: Iterable[str], *, workers: int = 2, deadline: float = DEADLINE) -> Iterator[Outcome]:
    """Try cases and give their outcomes as they come."""
    waiting, root = list(reversed(list(names))), Path(tempfile.mkdtemp(prefix="h"))
    crew: list[_Worker] = []
    try:
        while waiting or crew:
            while waiting and len(crew) < workers:
                crew.append(_Worker(root, waiting.pop()))
            wait([worker.pipe for worker in crew], timeout=_POLL)
            for worker in list(crew):
                outcome = worker.outcome(deadline)
                if outcome is None:
                    continue
                yield outcome
                if worker.alive and waiting:
                    worker.take(waiting.pop())
                else:
                    crew.remove(worker)
                    worker.end()
    finally:
        for worker in crew:
            worker.end()
        shutil.rmtree(root, ignore_errors=True)


class _Worker:
    """A forked process, and the case it has."""

    def __init__(self, root: Path, name: str) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(theirs, root))
        self.process.start()
        theirs.close()
        self.alive = True
        self.take(name)

    def take(self, name: str) -> None:
        self.name, self.since, self.peak = name, time.monotonic(), 0
        self.pipe.send(name)

    def outcome(self, deadline: float) -> Outcome | None:
        """Return what came of its case, once it is known; ends the process where it must be ended."""
        self.peak = max(self.peak, _held(self.process.pid or 0))
        seconds = time.monotonic() - self.since
        try:
            if self.pipe.poll():
                outcome, held = self.pipe.recv()
                self.alive = held < RETIRED_FROM
                return outcome
        except EOFError:
            self.process.join()
            self.alive = False
            return Outcome(self.name, "traceback", f"the process ended: {self.process.exitcode}", seconds, self.peak)
        if self.peak <= MOST_MEMORY and seconds <= deadline:
            return None
        self.end()
        verdict = "hang" if self.peak <= MOST_MEMORY else "memory"
        return Outcome(self.name, verdict, f"ended after {seconds:.1f} s", seconds, self.peak)

    def end(self) -> None:
        """End the process and what it started."""
        self.alive = False
        if self.process.pid and self.process.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()
        self.pipe.close()


def _work(pipe: Connection, root: Path) -> None:
    os.setsid()  # so that a command line it runs is ended with it
    ctypes.CDLL(None).prctl(_DEATH_WITH_PARENT, signal.SIGKILL)
    warnings.simplefilter("ignore")
    silence = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(silence, number)
    while True:
        try:
            name = pipe.recv()
        except EOFError:
            return
        outcome = attempt(name, root)
        pipe.send((outcome, _held(os.getpid())))


def attempt(name: str, root: Path) -> Outcome:
    """Try one case in this process, in a folder of its own."""
    place, home, path, modules = Path(tempfile.mkdtemp(dir=root)), Path.cwd(), list(sys.path), set(sys.modules)
    with contextlib.suppress(OSError):  # the peak is counted anew from here
        Path("/proc/self/clear_refs").write_text("5")
    began = time.monotonic()
    try:
        os.chdir(place)
        case = named(name, place)
        began = time.monotonic()
        verdict, detail = judged(case)
        detail = f"{detail} [{case.what[:200]}]"
    except BaseException as error:  # noqa: BLE001 - a fault of the generator's
        verdict, detail = "wrong", f"the case cannot be made: {_place_of(error)}"
    finally:
        os.chdir(home)
        sys.path[:] = path
        for added in [module for module in sys.modules if module not in modules and module.startswith("hostile_")]:
            del sys.modules[added]
        shutil.rmtree(place, ignore_errors=True)
    peak = _peak()
    if verdict in GOOD and peak > MOST_MEMORY:
        verdict = "memory"
    return Outcome(name, verdict, detail, time.monotonic() - began, peak)


def judged(case: Case) -> tuple[str, str]:
    """Return the verdict on a case, and the line, the frame or the wrong value behind it."""
    try:
        found = case.act()
        if isinstance(found, Finished) and found.refused:
            raise UsageProblem(found.line)  # noqa: TRY301 - judged as if it had been raised
    except LINES as problem:
        line = str(problem)
        if not case.refusable:
            return "wrong", f"refused, but it is good: {line[:400]}"
        unclear = _unclear(line, case.where)
        return ("message", f"{unclear}: {line[:500]!r}") if unclear else ("refused", line)
    except BaseException as error:  # noqa: BLE001 - whatever else is a finding
        return "traceback", _place_of(error)
    if isinstance(found, Finished) and found.broken:
        return "traceback", f"exit code {found.code}: {found.broken[:300]}"
    if case.right is None:
        return "wrong", f"accepted: {str(found)[:200]}"
    try:
        right = case.right(found)
    except Exception as error:  # noqa: BLE001 - what came out is of another shape
        return "wrong", f"the result is not what was to come out: {_place_of(error)}"
    return ("accepted", "") if right is True else ("wrong", str(right)[:300])


def _unclear(line: str, where: str) -> str:
    """Return why a person could not make anything of a message; nothing where one could."""
    if not line.strip():
        return "an empty message"
    if not line.isprintable():
        return "not one printable line"
    if len(line) > LONGEST_LINE:
        return f"{len(line)} characters"
    return "" if any(place in line for place in where.split("|")) else f"does not name {where!r}"


def _place_of(error: BaseException) -> str:
    """Return an error with the innermost of our frames."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "site-packages" not in frame.filename and "/lib/python" not in frame.filename]
    last = ours[-1] if ours else None
    text = " ".join(str(error).split())[:160]
    where = f"{Path(*Path(last.filename).parts[-3:])}:{last.lineno}" if last else "?"
    return f"{type(error).__name__} at {where}: {text}"


def _held(process: int) -> int:
    """Return the bytes that a process and its children hold in memory; 0 where nobody can tell."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        children = []
    return max(_resident(number) for number in (process, *map(int, children)))


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _peak() -> int:
    """Return the most memory this process held since its peak was last counted anew."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the counts by kind and outcome, as text."""
    rows = [f"{'kind':<14}{'cases':>7}" + "".join(f"{word:>11}" for word in (*GOOD, *BAD))]
    for kind in (*sorted({outcome.kind for outcome in outcomes}), "all"):
        mine = [outcome for outcome in outcomes if kind in ("all", outcome.kind)]
        counts = [sum(outcome.verdict == word for outcome in mine) for word in (*GOOD, *BAD)]
        rows.append(f"{kind:<14}{len(mine):>7}" + "".join(f"{count:>11}" for count in counts))
    return "\n".join(rows)
