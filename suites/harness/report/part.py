"""What may a run of part of the claims replace? A part that is no larger, and nothing that a whole run has left.

Known before the work (`-k`, one file), such a run is refused; known at its end only (`-x`, Ctrl-C), it is written
beside what it may not replace, so that no finished work is lost.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from suites.harness.errors import UsageProblem
from suites.harness.foreign_file import read_text
from suites.harness.record import Part
from suites.harness.report.folder import LAST
from suites.harness.report.results import load_results, part_of

TAG = "incomplete-run"
"""A tag in the metadata of a card that tells of part of the claims."""
_METADATA = re.compile(r"\A---\n(.*?)^---$", re.DOTALL | re.MULTILINE)
_TOLD = re.compile(r"^> \*\*Incomplete: (\d+) of \d+ ", re.MULTILINE)
"""How a card says of how many claims it tells."""
WHOLE = math.inf
"""Stands for what a whole run judged: more than any part."""


def judged_in_report(folder: Path) -> float:
    """Return how many judgements a folder holds the report of: `WHOLE`, also of one that does not say; 0 of none."""
    if not (folder / LAST).exists():
        return 0
    try:
        part = part_of(load_results(folder))
    except UsageProblem:
        return WHOLE
    return part.judged if part else WHOLE


def judged_in_card(file: Path) -> float:
    """Return how many judgements a card tells of: `WHOLE`, also of a file that is no such card; 0 where none is."""
    if not file.is_file():  # a device keeps nothing that could be lost
        return 0
    try:
        text = read_text(file)
    except (OSError, ValueError):
        return WHOLE
    metadata = _METADATA.match(text)
    if not metadata or not re.search(rf"^- {TAG}$", metadata[1], re.MULTILINE):
        return WHOLE
    told = _TOLD.search(text)
    return int(told[1]) if told else 0


def refuse_to_replace(part: Part, report: Path | None, cards: list[Path]) -> None:
    """Refuse, before anything is predicted, a part that would replace what a whole run or a larger part has left.

    Args:
        part: what this run will judge.
        report: the folder of its report, if it writes one.
        cards: the files of its cards.

    Raises:
        UsageProblem: it would; the message says what to do.
    """
    there = [("report", report, judged_in_report(report))] if report is not None else []
    there += [("card", file, judged_in_card(file)) for file in cards]
    for what, place, judged in there:
        if judged > part.judged:
            raise UsageProblem(
                f"{part}: {place} holds {_left(what, judged)}, which it would replace; name another place, or add "
                "--force"
            )


def _left(what: str, judged: float) -> str:
    """Return what a place holds, in words."""
    if judged < WHOLE:
        return f"the {what} of more of them ({judged:.0f})"
    return f"the {what} of a whole run" + (", or what no run has written" if what == "card" else "")


def report_place(part: Part, folder: Path) -> Path:
    """Return where the report of a part is written that was to go to a folder: there, or beside what must stay.

    That is `FOLDER.incomplete`; where a larger part lies there, too, `FOLDER.incomplete-2` and so on.
    """
    whole = folder.absolute()
    beside = (whole.with_name(f"{whole.name}{ending}") for ending in _endings())
    return _first(part, judged_in_report, folder, beside)


def card_place(part: Part, file: Path) -> Path:
    """Return where the card of a part is written that was to go to a file: there, or to `FILE.incomplete.md`, ..."""
    beside = (file.with_name(f"{file.stem}{ending}{file.suffix}") for ending in _endings())
    return _first(part, judged_in_card, file, beside)


def _endings() -> Iterator[str]:
    return (".incomplete" if number == 1 else f".incomplete-{number}" for number in count(1))


def _first(part: Part, judged: Callable[[Path], float], wanted: Path, beside: Iterator[Path]) -> Path:
    if judged(wanted) <= part.judged:
        return wanted
    return next(place for place in beside if judged(place) <= part.judged)
