"""What if code of somebody else's fails? One line with their file and line, at whatever door it was called.

A factory, a network, a perturbation or an endpoint of a user's may raise anything, call `sys.exit`, or return anything.
Each door to such code is a `with foreign(...)` block; what passes a door already speaks for itself. Ctrl-C stays
Ctrl-C: a `KeyboardInterrupt` counts as the code's own only where a line of theirs raised it.
"""

from __future__ import annotations

import dis
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from robustness.registration import defined_in
from suites.harness.errors import FilmUnreadable, NotEvaluable, PredictionProblem, UsageProblem, one_line
from suites.import_names import PACKAGES

SPEAKING: tuple[type[BaseException], ...] = (
    UsageProblem,
    FilmUnreadable,
    PredictionProblem,
    NotEvaluable,
    MemoryError,
)
"""What passes a door as it is: it says already what is wrong, or is nobody's fault."""
__all__ = ["defined_in", "foreign", "interrupted", "no_memory", "place_of", "told", "written_in"]
_ROOT = Path(__file__).resolve().parents[2]
_OURS = tuple(str(_ROOT / name) + os.sep for name in PACKAGES)
_LIBRARIES = tuple(
    {str(sysconfig.get_path(name)).rstrip(os.sep) + os.sep for name in ("purelib", "platlib", "stdlib", "platstdlib")}
)
_LONGEST_PLACE = 70


@contextmanager
def foreign(
    problem: type[Exception],
    what: str,
    *,
    at: object = None,
    only_theirs: bool = False,
    passing: tuple[type[BaseException], ...] = (),
) -> Iterator[None]:
    """Turn whatever the code in the block raises into one line: what failed, why, in which file and line.

    Args:
        problem: kind of exception to raise in its place.
        what: what was being done, the beginning of the line.
        at: the function or class that is called; its place is named where the traceback shows none of theirs.
        only_theirs: let pass what no line of theirs had a hand in: that is a fault of ours, with its traceback.
        passing: what the code may raise by its contract, besides what speaks for itself everywhere.

    Raises:
        MemoryError: memory ran out, in whatever way torch says it.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, SPEAKING + passing) or interrupted(error):
            raise
        if isinstance(error, GeneratorExit) and not place_of(error):  # of ours: a loop over films that is given up
            raise
        if no_memory(error):
            raise MemoryError(one_line(str(error), 120)) from error
        place = place_of(error)
        if only_theirs and not place:
            raise
        place = place or (written_in(at) if at is not None else "")
        raise problem(f"{what} ({told(error)}){f' in {place}' if place else ''}") from error


def told(error: BaseException) -> str:
    """Return what an exception says, on one line."""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({one_line(repr(error.code), 40)})"
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - the exception itself is the user's code
        text = ""
    kind = one_line(type(error).__name__, 40)
    return f"{kind}: {one_line(text, 110)}" if text.strip() else kind


def interrupted(error: BaseException) -> bool:
    """Whether the user pressed Ctrl-C: Python then raises on any line, a line that says `raise` is somebody's own."""
    if not isinstance(error, KeyboardInterrupt):
        return False
    last = _innermost(error.__traceback__)
    if last is None or not _is_theirs(last.tb_frame.f_code.co_filename):
        return True
    return dis.opname[last.tb_frame.f_code.co_code[last.tb_lasti]] != "RAISE_VARARGS"


def no_memory(error: BaseException) -> bool:
    """Whether memory ran out, as Python, the allocator of torch or a GPU says it."""
    words = ("can't allocate memory", "cannot allocate memory", "out of memory", "bad_alloc")
    known = isinstance(error, MemoryError | RuntimeError | ImportError | OSError)
    return isinstance(error, MemoryError) or (known and any(word in str(error).lower() for word in words))


def place_of(error: BaseException) -> str:
    """Return the innermost file and line of somebody's own code in a traceback, `model.py, line 12`; '' without one."""
    if isinstance(error, SyntaxError) and error.filename and _is_theirs(error.filename):
        return _place(error.filename, error.lineno or 0)
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    theirs = [place for place in frames if _is_theirs(place[0])]
    return _place(*theirs[-1]) if theirs else ""


def written_in(code: object) -> str:
    """Return file and line of what was called; of a network those of the outermost module that somebody wrote."""
    modules = getattr(code, "modules", None)
    known = list(modules()) if callable(modules) and not isinstance(code, type) else [code]
    files = [str(getattr(sys.modules.get(type(one).__module__), "__file__", None) or "") for one in known]
    theirs = (one for one, file in zip(known, files, strict=True) if _is_theirs(file))
    return defined_in(next(theirs, known[0]) if len(known) > 1 else code)


def _innermost(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def _is_theirs(file: str) -> bool:
    return not file.startswith(("<", *_OURS, *_LIBRARIES))


def _place(file: str, line: int) -> str:
    here = os.getcwd() + os.sep  # noqa: PTH109 - as text, as the traceback has it
    name = one_line(file.removeprefix(here), 4096)
    return f"{name if len(name) <= _LONGEST_PLACE else f'...{name[-_LONGEST_PLACE:]}'}, line {line}"
