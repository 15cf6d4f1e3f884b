"""What are the verdicts, at a glance on the terminal?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from suites.harness.cache.shards import SET_ASIDE
from suites.harness.claims import Judgement, Verdict
from suites.harness.evaluation import Evaluation

WORDS = {
    Verdict.SUPPORTED: ("known limitation", "yellow"),
    Verdict.NOT_SUPPORTED: ("limitation not found", "green"),
    Verdict.MET: ("requirement met", "green"),
    Verdict.VIOLATED: ("REQUIREMENT VIOLATED", "red"),
    Verdict.INCONCLUSIVE: ("inconclusive", "cyan"),
    Verdict.NOT_EVALUABLE: ("not evaluable", "cyan"),
}
BEYOND = ("BEYOND DOCUMENTED SIZE", "red")


class Terminal(Protocol):
    """What is needed of pytest's terminal reporter."""

    def section(self, title: str, sep: str = ..., **markup: bool) -> None: ...  # noqa: D102
    def write(self, content: str, **markup: bool) -> None: ...  # noqa: D102
    def write_line(self, line: str, **markup: bool) -> None: ...  # noqa: D102


def size(judgement: Judgement) -> str:
    """Return the measured size with its interval and margin, e.g. `+0.123 [+0.101, +0.150] vs 0.05`."""
    if judgement.result is None:
        return judgement.reason
    effect = judgement.result.effect
    text = f"{effect.estimate:+.3f} [{effect.low:+.3f}, {effect.high:+.3f}] vs {judgement.claim.margin:g}"
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
        word, colour = BEYOND if judgement.beyond_documented else WORDS[judgement.verdict]
        terminal.write("  ")
        terminal.write(f"{word:<22}", **{colour: True})
        terminal.write_line(f"  {judgement.claim.id:<38} {judgement.subject:<20} {size(judgement)}")
    if judgements:
        terminal.write_line("Not a medical device. Synthetic stress is necessary, not sufficient.")
    for note in SET_ASIDE:
        terminal.write_line(note)
    if judgements and part:
        terminal.write_line(str(part), red=True, bold=True)
    for problem in problems:
        terminal.write_line(problem if report else f"no report was written: {problem}", red=True)
    if report:
        terminal.write_line(f"report: {report}", bold=True)
