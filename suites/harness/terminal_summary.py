"""What are the verdicts, at a glance on the terminal?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from suites.harness.cache.shards import SET_ASIDE
from suites.harness.claims import Judgement
from suites.harness.evaluation import Evaluation
from suites.harness.formatting import wording


class Terminal(Protocol):
    """What is needed of pytest's terminal reporter."""

    def section(self, title: str, sep: str = ..., **markup: bool) -> None: ...  # noqa: D102
    def write(self, content: str, **markup: bool) -> None: ...  # noqa: D102
    def write_line(self, line: str, **markup: bool) -> None: ...  # noqa: D102


def size(judgement: Judgement) -> str:
    """Return the measured size as the page writes it, and its margin: `+12.3 pp (+10.1 to +15.0), margin 5.0 pp`."""
    if judgement.result is None:
        return judgement.reason
    effect = judgement.result.effect
    text = f"{wording.estimate(effect)} ({wording.interval(effect)}), margin {wording.margin(judgement.claim, effect)}"
    return f"{text}, exploratory" if effect.exploratory else text


def print_summary(terminal: Terminal, evaluation: Evaluation, report: Path | None, problems: Sequence[str]) -> None:
    """Print one line per claim and subject, then where the report lies; of a part, first and last that it is one."""
    judgements, part = evaluation.judgements, evaluation.part
    if judgements:
        terminal.section("limitations page", sep="=", bold=True)
        if part:
            terminal.write_line(str(part), red=True, bold=True)
        for note in evaluation.notes:
            terminal.write_line(note)
    heading = None
    for judgement in judgements:
        if judgement.claim.section != heading:
            heading = judgement.claim.section
            terminal.write_line(heading, bold=True)
        told = wording.VERDICTS[judgement.verdict]
        word, colour = (wording.BEYOND, "red") if judgement.beyond_documented else (told.word, told.colour)
        terminal.write("  ")
        terminal.write(f"{word:<26}", **{colour: True})
        terminal.write_line(f"  {judgement.claim.id:<38} {judgement.subject:<20} {size(judgement)}")
    if judgements:
        found = Counter(judgement.verdict for judgement in judgements)
        counted = (words.counted(found[verdict]) for verdict, words in wording.VERDICTS.items() if found[verdict])
        terminal.write_line(", ".join(counted), bold=True)
        terminal.write_line("Not a medical device. Synthetic stress is necessary, not sufficient.")
    for note in SET_ASIDE:
        terminal.write_line(note)
    if judgements and part:
        terminal.write_line(str(part), red=True, bold=True)
    for problem in problems:
        terminal.write_line(problem if report else f"no report was written: {problem}", red=True)
    if report:
        terminal.write_line(f"report: {report}", bold=True)
