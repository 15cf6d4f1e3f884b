"""What does a reviewer see of a run in CI? A page of Markdown: verdicts counted, the three worst, the gate.

GitHub shows what a job appends to the file that $GITHUB_STEP_SUMMARY names; `--summary FILE` writes it anywhere.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from suites.harness.claims import Judgement, Verdict
from suites.harness.errors import UsageProblem, reason
from suites.harness.formatting import wording
from suites.harness.report.card import SPECIAL
from suites.harness.report.gate import GateOutcome

WORST = 3
_LONGEST = 300
_OF_SHARES = ("share", "points", "width")


def job_summary(
    judgements: Sequence[Judgement], *, notes: Sequence[str] = (), gate: GateOutcome | None = None, problem: str = ""
) -> str:
    """Return the summary of a run as Markdown, everything that came from files escaped.

    Args:
        judgements: of the run.
        notes: what every reader must be told first.
        gate: outcome of the release gate, where there was one.
        problem: why the run did not end as it should; empty where it did.
    """
    return "\n".join(_lines(judgements, notes, gate, problem)) + "\n"


def write_job_summary(text: str, file: Path, *, append: bool) -> None:
    """Write a summary, behind what is there where several steps of a job share the file.

    Raises:
        UsageProblem: the file cannot be written.
    """
    try:
        with file.open("a" if append else "w", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise UsageProblem(f"cannot write the summary {file}: {reason(error)}; name another file") from error


def _lines(
    judgements: Sequence[Judgement], notes: Sequence[str], gate: GateOutcome | None, problem: str
) -> Iterator[str]:
    yield "## How reliable is this chest X-ray classifier?"
    yield ""
    yield "> **Not a medical device.** For research and education. Synthetic stress is necessary, not sufficient."
    for note in notes:
        yield f"> {_text(note)}"
    yield ""
    if problem:
        yield from (f"**Not finished:** {_text(problem)}", "")
    if gate is not None:
        yield f"### Release gate: {'passed' if gate.passed else 'FAILED'}"
        yield ""
        yield from (f"- {_text(line.strip())}" for line in gate.lines())
        yield ""
    if not judgements:
        yield "Nothing was judged."
        return
    yield "### Verdicts"
    yield ""
    subjects = list(dict.fromkeys(judgement.subject for judgement in judgements))
    yield f"| | {' | '.join(map(_text, subjects))} |"
    yield f"| --- |{' ---: |' * len(subjects)}"
    counted = Counter((judgement.verdict, judgement.subject) for judgement in judgements)
    for verdict, words in wording.VERDICTS.items():
        yield f"| {words.word} | {' | '.join(str(counted[verdict, subject]) for subject in subjects)} |"
    yield ""
    if worst := sorted(filter(_found, judgements), key=_badness)[:WORST]:
        yield "### The worst"
        yield ""
        yield from (f"{place}. {_told(judgement)}" for place, judgement in enumerate(worst, start=1))
    else:
        yield "No harm was confirmed on these films, which is not the same as safe."


def _found(judgement: Judgement) -> bool:
    return judgement.result is not None and judgement.verdict in (Verdict.VIOLATED, Verdict.SUPPORTED)


def _badness(judgement: Judgement) -> tuple[bool, bool, bool, float]:
    """Sort what fails the run first, then by how far beyond its margin the effect lies, shares before other units."""
    effect = judgement.result.effect if judgement.result else None
    beyond = abs(effect.estimate - judgement.claim.margin) if effect else 0.0
    fails = judgement.beyond_documented or judgement.verdict is Verdict.VIOLATED
    shares = effect is not None and effect.unit in _OF_SHARES
    return not fails, not shares, effect is not None and effect.exploratory, -beyond if math.isfinite(beyond) else 0.0


def _told(judgement: Judgement) -> str:
    lead = _text(judgement.claim.statement).rstrip(".")
    if judgement.verdict is Verdict.VIOLATED:
        lead = f"Required and not met: {lead}"
    told = f"**{lead}.** {_text(judgement.subject)}"
    if judgement.result is None:
        return told
    effect = judgement.result.effect
    size = f"{_text(wording.plain_name(effect.name))} {wording.estimate(effect)} ({wording.interval(effect)})"
    few = "; exploratory, for few films" if effect.exploratory else ""
    return f"{told}: {size}, margin {wording.margin(judgement.claim, effect)}{few}."


def _text(text: str) -> str:
    """Return text that Markdown prints as it is: one line, every special character escaped."""
    plain = re.sub(r"\s+", " ", text).strip()
    return SPECIAL.sub(r"\\\1", plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}…")
