"""What are the verdicts, at a glance on the terminal?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from suites.harness.cache.shards import SET_ASIDE
from suites.harness.claims import Judgement
from suites.harness.errors import one_line
from suites.harness.evaluation import Evaluation
from suites.harness.formatting import wording
from suites.harness.record import PAGE
from suites.harness.subjects.formats.hub import PUBLISHED


class Terminal(Protocol):
    """What is needed of pytest's terminal reporter."""

    def section(self, title: str, sep: str = ..., **markup: bool) -> None: ...  # noqa: D102
    def write(self, content: str, **markup: bool) -> None: ...  # noqa: D102
    def write_line(self, line: str, **markup: bool) -> None: ...  # noqa: D102


MOST = 160
"""Characters of a reason."""


def size(judgement: Judgement) -> str:
    """Return the measured size as the page writes it, and its margin: `+12.3 pp (+10.1 to +15.0), margin 5.0 pp`.

    Where the verdict does not follow from these, why not stands behind them.
    """
    if judgement.result is None:
        return judgement.reason
    effect = judgement.result.effect
    text = f"{wording.estimate(effect)} ({wording.interval(effect)}), margin {wording.margin(judgement.claim, effect)}"
    text += ", exploratory" if effect.exploratory else ""
    return f"{text}; {one_line(wording.spoken(judgement.because), MOST)}" if judgement.because else text


MODELS, FILM_FACTS, PAGE_FACTS = "found on the model", "facts about these films", "facts about a published page"


def _apart(evaluation: Evaluation) -> dict[str, list[Judgement]]:
    """Return the judgements by what they are about: facts about films or a page are nothing found on a subject.

    The published page comes last, unless it is the one of a subject: then first, to be read against what was measured.
    """
    kinds = {evaluation.cohort.name: FILM_FACTS, PAGE: PAGE_FACTS}
    own_page = any(PUBLISHED in subject.provenance.source for subject in evaluation.subjects)
    order = [PAGE_FACTS, MODELS, FILM_FACTS] if own_page else [MODELS, FILM_FACTS, PAGE_FACTS]
    found: dict[str, list[Judgement]] = {kind: [] for kind in order}
    for judgement in evaluation.judgements:
        found[kinds.get(judgement.subject, MODELS)].append(judgement)
    return {kind: group for kind, group in found.items() if group}


def _totals(evaluation: Evaluation) -> Iterator[str]:
    """Yield how many judgements reached each verdict: of every subject, then of the films and the page."""
    told = {evaluation.cohort.name: FILM_FACTS, PAGE: PAGE_FACTS}
    for name in [*(subject.name for subject in evaluation.subjects), *told]:
        found = Counter(judgement.verdict for judgement in evaluation.judgements if judgement.subject == name)
        counted = (words.counted(found[verdict]) for verdict, words in wording.VERDICTS.items() if found[verdict])
        if found:
            yield f"{told.get(name, f'found on {name}')}: {', '.join(counted)}"


def print_summary(terminal: Terminal, evaluation: Evaluation, report: Path | None, problems: Sequence[str]) -> None:
    """Print a line per claim and subject, then totals and where the report lies; of a part, first and last that it is.

    What was found on a model, facts about films and facts about a page stand apart, and are never added up.
    """
    judgements, part = evaluation.judgements, evaluation.part
    if judgements:
        terminal.section("limitations page", sep="=", bold=True)
        if part:
            terminal.write_line(str(part), red=True, bold=True)
        for note in evaluation.notes:
            terminal.write_line(note)
    for kind, group in _apart(evaluation).items():
        terminal.section(kind, sep="-")
        _print_verdicts(terminal, group)
    if judgements:
        terminal.section("in all", sep="-")
        for total in _totals(evaluation):
            terminal.write_line(total, bold=True)
        terminal.write_line("Not a medical device. Synthetic stress is necessary, not sufficient.")
    for note in SET_ASIDE:
        terminal.write_line(note)
    if judgements and part:
        terminal.write_line(str(part), red=True, bold=True)
    for problem in problems:
        terminal.write_line(problem if report else f"no report was written: {problem}", red=True)
    if report:
        terminal.write_line(f"report: {report}", bold=True)


def _print_verdicts(terminal: Terminal, judgements: Sequence[Judgement]) -> None:
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
