"""How is a command line tried without the seconds that its imports take? In a fork of a process that has them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

SUITES = str(Path(__file__).parents[2] / "suites")
REFUSALS = (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERRUPTED)
_BROKEN = re.compile(r"^.*(Traceback \(most recent|INTERNALERROR).*$", re.MULTILINE)
_LINES = re.compile(r"^(?:ERROR: |.*no report was written: )(.*?)$", re.MULTILINE)


@dataclass(frozen=True)
class Finished:
    """An ended command line: its exit code and everything it printed."""

    code: int
    text: str

    @property
    def line(self) -> str:
        """The one line that says why nothing was done; what was printed instead where there is none."""
        lines = _LINES.findall(self.text)
        return lines[0] if len(lines) == 1 else f"{len(lines)} lines:\n{self.text[-400:]}"

    @property
    def refused(self) -> bool:
        return self.code in REFUSALS and not self.broken

    @property
    def broken(self) -> str:
        """What no person should read; a code that says neither how it went nor why not."""
        if found := _BROKEN.search(self.text):
            errors = [
                line for line in self.text.splitlines() if re.match(r"(INTERNALERROR> )?\w+(\.\w+)*(Error|Exit)", line)
            ]
            return (errors or [found[0]])[-1]
        return "" if self.code in (0, 1, *REFUSALS) else f"code {self.code}: {self.text[-300:]}"


def suites(place: Path, *words: str, environment: Mapping[str, str] | None = None) -> Finished:
    """Run `pytest suites/ ...` from a folder and return how it ended."""
    printed = place / "printed.txt"
    child = os.fork()
    if not child:
        become(place, printed, words, environment or {})
    _, status = os.waitpid(child, 0)
    return Finished(os.waitstatus_to_exitcode(status), printed.read_text(errors="backslashreplace"))


def become(place: Path, printed: Path, words: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Let this process, a fork, be the command line, and end with its exit code."""
    code = 99
    try:
        os.chdir(place)
        os.environ.update(environment)
        into = os.open(printed, os.O_WRONLY | os.O_CREAT)
        os.dup2(into, 1)
        os.dup2(into, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
        sys.argv = ["pytest", SUITES, *words]
        code = int(pytest.main(sys.argv[1:]))
        sys.stdout.flush()
    finally:
        os._exit(code)
