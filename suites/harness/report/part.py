"""What may a run of part of the claims replace? Another part, and nothing that a whole run has left.

Known before the work (`-k`, one file), such a run is refused; known at its end only (`-x`, Ctrl-C), it is written
beside what it may not replace, so that no finished work is lost.
"""

from __future__ import annotations

import re
from pathlib import Path

from suites.harness.errors import UsageProblem
from suites.harness.foreign_file import read_text
from suites.harness.record import Part
from suites.harness.report.folder import LAST
from suites.harness.report.results import load_results, part_of

TAG = "incomplete-run"
"""A tag in the metadata of a card that tells of part of the claims."""
_METADATA = re.compile(r"\A---\n(.*?)^---$", re.DOTALL | re.MULTILINE)


def is_whole_report(folder: Path) -> bool:
    """Whether a folder holds the report of a whole run, or one that does not say so."""
    if not (folder / LAST).exists():
        return False
    try:
        return part_of(load_results(folder)) is None
    except UsageProblem:
        return True


def is_whole_card(file: Path) -> bool:
    """Whether a file is there that is not the card of part of the claims."""
    if not file.is_file():  # a device keeps nothing that could be lost
        return False
    try:
        metadata = _METADATA.match(read_text(file))
    except (OSError, ValueError):
        return True
    return not (metadata and re.search(rf"^- {TAG}$", metadata[1], re.MULTILINE))


def refuse_to_replace(part: Part, report: Path | None, cards: list[Path]) -> None:
    """Refuse, before anything is predicted, a part that would replace what a whole run has left.

    Args:
        part: what this run will judge.
        report: the folder of its report, if it writes one.
        cards: the files of its cards.

    Raises:
        UsageProblem: it would; the message says what to do.
    """
    whole = [report] if report is not None and is_whole_report(report) else []
    whole += [file for file in cards if is_whole_card(file)]
    if whole:
        what = (
            "the report of a whole run" if whole[0] == report else "the card of a whole run, or what no run has written"
        )
        raise UsageProblem(
            f"{part}: {whole[0]} holds {what}, which it would replace; name another place, or add --force"
        )


def report_place(folder: Path) -> Path:
    """Return where the report of a part is written that was to go to a folder: there, or to `FOLDER.incomplete`."""
    whole = folder.absolute()
    return whole.with_name(f"{whole.name}.incomplete") if is_whole_report(folder) else folder


def card_place(file: Path) -> Path:
    """Return where the card of a part is written that was to go to a file: there, or to `FILE.incomplete.md`."""
    return file.with_name(f"{file.stem}.incomplete{file.suffix}") if is_whole_card(file) else file
