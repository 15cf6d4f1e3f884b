"""What if somebody ends the run from outside, as CI does with a job that is cancelled? SIGTERM ends it as Ctrl-C does.

What was judged is then written as an incomplete report, and the exit code is that of an interrupted run. While the
report is written nothing interrupts it any more: whoever sends SIGTERM after Ctrl-C waits for that. What ended the run
is said in one plain line, without the place in our code where pytest noticed.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

import pytest


class Termination:
    """Listens to SIGTERM while a run judges, unless the process has a handler of its own already.

    Args:
        config: of pytest, whose terminal is told how the run ended.

    Attributes:
        received: whether it was sent.
    """

    def __init__(self, config: pytest.Config | None = None) -> None:
        self.received = False
        self._config = config
        self._ending = False
        self._listening = (
            threading.current_thread() is threading.main_thread()  # no other may ask for signals
            and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        )
        if self._listening:
            signal.signal(signal.SIGTERM, self._end)

    @property
    def how(self) -> str:
        """How an interrupted run was, in a word or two."""
        return "terminated" if self.received else "interrupted"

    def _end(self, _signal: int, _frame: FrameType | None) -> None:
        if not self._ending:
            self._ending = self.received = True
            raise KeyboardInterrupt("terminated (SIGTERM)")

    @pytest.hookimpl(trylast=True)  # pytest's terminal has made up by now what it will say
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Have the terminal say what ended the run in one line: the problem itself, or that somebody ended it."""
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
