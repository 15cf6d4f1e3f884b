"""What if somebody ends the run from outside, as CI does with a job that is cancelled? SIGTERM ends it as Ctrl-C does.

What was judged is then written as an incomplete report, and the exit code is that of an interrupted run. While the
report is written nothing interrupts it any more: whoever sends SIGTERM after Ctrl-C waits for that. What ended the run
is said in one plain line, without the place in our code where pytest noticed.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Generator
from types import FrameType

import pytest

UNHEARD = 10.0
"""Seconds after Ctrl-C in which a further one is not heard, unless pytest has said before how the run ended: both the
terminal and whoever started the process may send it, and pytest looks through all its frames for a second or more."""


class Termination:
    """Listens to SIGTERM and Ctrl-C while a run judges, unless the process has a handler of its own already.

    Args:
        config: of pytest, whose terminal is told how the run ended.

    Attributes:
        received: whether it was sent.
    """

    def __init__(self, config: pytest.Config | None = None) -> None:
        self.received = False
        self._config = config
        self._ending = False
        self._interrupted = -UNHEARD
        in_main = threading.current_thread() is threading.main_thread()  # no other may ask for signals
        self._listening = in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        if self._listening:
            signal.signal(signal.SIGTERM, self._end)
        self._hearing = in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._hearing:
            signal.signal(signal.SIGINT, self._interrupt)

    @property
    def how(self) -> str:
        """How an interrupted run was, in a word or two."""
        return "terminated" if self.received else "interrupted"

    def _end(self, _signal: int, _frame: FrameType | None) -> None:
        if not self._ending:
            self._ending = self.received = True
            raise KeyboardInterrupt("terminated (SIGTERM)")

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        if time.monotonic() - self._interrupted >= UNHEARD:
            self._interrupted = time.monotonic()
            raise KeyboardInterrupt

    @pytest.hookimpl(wrapper=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Generator[None, None, None]:
        """Have the terminal say what ended the run in one line: the problem itself, or that somebody ended it."""
        self._interrupted = time.monotonic()
        yield  # pytest's terminal makes up what it will say
        self._interrupted = -UNHEARD
        self._told(excinfo)

    def _told(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        reporter = self._config and self._config.pluginmanager.getplugin("terminalreporter")
        if not reporter or (self._config and self._config.option.fulltrace):
            return
        problem = excinfo.value.msg if isinstance(excinfo.value, pytest.exit.Exception) else None
        told = f"{self.how} ({'SIGTERM' if self.received else 'Ctrl-C'})" if problem is None else f"ERROR: {problem}"
        reporter._report_keyboardinterrupt = lambda: reporter.write_line(told, red=True)  # noqa: SLF001 - pytest offers no other way

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Let the report be written, whatever comes."""
        self._ending = True

    def pytest_unconfigure(self) -> None:
        """Leave the process as it was."""
        if self._listening:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self._hearing:
            signal.signal(signal.SIGINT, signal.default_int_handler)
