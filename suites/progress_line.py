"""How does a person see that a run is alive? One line past pytest's capture, and the plan before it.

On a terminal the line is drawn anew several times a second and wiped before pytest writes; elsewhere (the log of a CI
job) a plain line is written every 30 seconds, never more often. Nothing is shown with `-q`, nor where pytest has no
terminal reporter.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

import pytest

from suites.harness.claims import Claim
from suites.harness.errors import UsageProblem
from suites.harness.evaluation import Evaluation
from suites.harness.plan import note_judged, plan
from suites.harness.progress import Progress, duration
from suites.options import value

EVERY = {True: 0.25, False: 30.0}
"""Seconds between two lines, by whether there is a terminal."""
ENDED_EARLY = (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERNAL_ERROR)
WORTH_TELLING = 10.0
"""Seconds of a plan or a run from which on the error of the plan is told."""


class ProgressLine:
    """Draws what a run is doing while it is doing it.

    pytest sends whatever is written during a test elsewhere, so this writes to a copy of the terminal's descriptor,
    taken while nothing is captured; its thread writes only while a block of `showing` runs, in which pytest does not.

    Args:
        progress: gives the line.
        descriptor: of the terminal or log.
        width: gives the columns of the terminal; None where it is none.
        column: gives the column that pytest has written to.
        every: seconds between two lines.
        clock: gives seconds.
    """

    def __init__(
        self,
        progress: Progress,
        descriptor: int,
        *,
        width: Callable[[], int] | None,
        column: Callable[[], int] = lambda: 0,
        every: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.progress, self.descriptor, self.width, self.column, self.clock = progress, descriptor, width, column, clock
        self.every = EVERY[width is not None] if every is None else every
        self._last = clock()
        self._drawn = False
        self._lock = threading.Lock()

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show the line while the block runs; nobody else writes to the terminal meanwhile."""
        over = threading.Event()
        thread = threading.Thread(target=self._tick, args=(over,), daemon=True, name="progress line")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.wipe()

    def _tick(self, over: threading.Event) -> None:
        while not over.wait(max(0.0, self._last + self.every - self.clock())):
            self.draw()

    def draw(self) -> None:
        """Write the line, unless one was written just now."""
        with self._lock:
            columns = None if self.width is None else max(1, self.width() - 1)
            now, line = self.clock(), self.progress.line(columns)
            if not line or now - self._last < self.every:
                return
            self._last = now
            if columns is None:
                self._write(("\n" if self.column() else "") + f"{fitted(line)}\n")
            else:
                start = "\r\x1b[2K" if self._drawn or not self.column() else "\n"
                self._write(start + fitted(line, columns))
                self._drawn = True

    def wipe(self) -> None:
        """Take the line away and leave the cursor where pytest left it."""
        with self._lock:
            if self._drawn:
                column = self.column()
                self._write("\r\x1b[2K" + (f"\x1b[A\x1b[{column + 1}G" if column else ""))
                self._drawn = False

    def _write(self, text: str) -> None:
        with suppress(OSError):  # a terminal that was closed is no reason to end the run
            os.write(self.descriptor, text.encode("utf-8", "replace"))


class Run:
    """A run as its user follows it: the plan first, cheap claims before costly ones, the line while something is done.

    Args:
        evaluation: the run.
        config: of pytest.
    """

    def __init__(self, evaluation: Evaluation, config: pytest.Config) -> None:
        self.evaluation, self.only_plan = evaluation, bool(value(config, "--plan"))
        self.line = line_of(config, evaluation.progress)
        self.refused = ""
        self._planned_at: float | None = None
        self._noted: frozenset[str] = frozenset()

    def showing(self) -> AbstractContextManager[None]:
        """Show the line while a block runs, where somebody looks."""
        return self.line.showing() if self.line else nullcontext()

    @pytest.hookimpl(trylast=True)  # after -k and -m have had their say
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Judge what is cheap first; among claims of one cost the order of the command line stays."""
        items.sort(key=self._cost)

    def _cost(self, item: pytest.Item) -> int:
        claim = (
            item.callspec.params.get("claim")
            if isinstance(item, pytest.Function) and hasattr(item, "callspec")
            else None
        )
        return self.evaluation.cost(claim) if isinstance(claim, Claim) else 0

    def pytest_report_collectionfinish(self, config: pytest.Config, items: list[pytest.Item]) -> list[str]:
        """Say what the run will do, what its films cannot tell, and what it will cost."""
        quiet = config.getoption("verbose", 0) < 0 and not self.only_plan
        if config.option.collectonly or not items or quiet:
            return []
        with self.showing(), self.evaluation.progress.doing("checking", "how fast this machine is"):
            try:
                made = plan(self.evaluation, report=bool(value(config, "--report")))
            except UsageProblem as problem:
                raise pytest.UsageError(" ".join(str(problem).split())) from problem
        made.announce(self.evaluation.progress)
        self.refused, self._planned_at = made.refused, time.monotonic()
        return made.lines(every_claim=self.only_plan, refusal=False)  # which ends the run, as its last line

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> bool | None:
        """Judge nothing where only the plan was asked for, or where it has shown that the run would be refused."""
        if self.refused:
            raise pytest.UsageError(self.refused)
        return True if self.only_plan else None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        """Show the line while a claim is judged; what is finished needs no planning, wherever the run may end."""
        try:
            with self.showing():
                return (yield)
        finally:  # a verdict may be told by raising
            self._noted |= note_judged(self.evaluation, drawn=False, besides=self._noted)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
        """Say how far off the plan of a whole run was, where it or the run came to more than some seconds."""
        if self._planned_at is None or self.only_plan or self.refused:
            return
        expected, took = self.evaluation.progress.expected, time.monotonic() - self._planned_at
        if self.evaluation.stopped or exitstatus in ENDED_EARLY:
            terminalreporter.write_line(f"ended after {duration(took)}")
        elif max(expected, took) >= WORTH_TELLING:
            terminalreporter.write_line(f"planned: {duration(expected)}; took: {duration(took)}{_off(expected, took)}")

    @pytest.hookimpl(wrapper=True, trylast=True)  # within the terminal reporter's own, which writes after it
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        """Show the line while the report is drawn; what was drawn needs no planning the next time."""
        with self.showing():
            result = yield
        drawn = value(session.config, "--report") and session.exitstatus != pytest.ExitCode.INTERRUPTED
        if drawn and not self.only_plan and self.evaluation.judgements:
            note_judged(self.evaluation, drawn=True)
        return result


def _off(expected: float, took: float) -> str:
    """Say how many times longer or shorter a run was than planned, where that is twice or more."""
    longer, times = took > expected, max(took, expected) / max(min(took, expected), 1.0)
    return f" ({times:.0f} times {'longer' if longer else 'shorter'} than planned)" if times >= 2 else ""


def fitted(line: str, columns: int | None = None) -> str:
    """Return as much of a line as fits, wide characters counted as two; names of films may hold what moves a cursor."""
    shown, used = [], 0
    for character in line:
        safe = character if character.isprintable() else "?"
        used += 2 if unicodedata.east_asian_width(safe) in "WF" else 1
        if columns is not None and used > columns:
            break
        shown.append(safe)
    return "".join(shown)


def line_of(config: pytest.Config, progress: Progress) -> ProgressLine | None:
    """Return the line of a run, None where nobody looks; called while nothing is captured, as in `pytest_configure`."""
    if config.getoption("verbose", 0) < 0 or not config.pluginmanager.hasplugin("terminal"):
        return None
    try:
        descriptor = os.dup(sys.stdout.fileno())
    except (AttributeError, OSError, ValueError):  # no file: pytest within pytest, or a notebook
        return None

    def column() -> int:
        reporter = config.pluginmanager.getplugin("terminalreporter")
        return int(reporter._tw.width_of_current_line) if reporter is not None else 0  # noqa: SLF001 - pytest offers no other way

    width = (lambda: shutil.get_terminal_size().columns) if os.isatty(descriptor) else None
    return ProgressLine(progress, descriptor, width=width, column=column)
