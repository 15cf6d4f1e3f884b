"""What does a reviewer see of a run in CI? A page of Markdown: verdicts counted, the three worst, the gate.

GitHub shows what a job appends to the file that $GITHUB_STEP_SUMMARY names; `--summary FILE` writes it anywhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from suites.harness.claims import Judgement, Verdict
from suites.harness.errors import UsageProblem, reason
from suites.harness.formatting import wording
from suites.harness.report.card import SPECIAL
from suites.harness.report.findings import Harm, harms
from suites.harness.report.gate import GateOutcome

WORST = 3
_LONGEST = 300


def job_summary(
    judgements: Sequence[Judgement],
    *,
    subjects: Sequence[str] = (),
    notes: Sequence[str] = (),
    gate: GateOutcome | None = None,
    problem: str = "",
    who: str = "patients",
) -> str:
    """Return the summary of a run as Markdown, everything that came from files escaped.

    Args:
        judgements: of the run.
        subjects: names of its subjects; the worst are theirs, what is found of a page or of films is no harm of one.
        notes: what every reader must be told first.
        gate: outcome of the release gate, where there was one.
        problem: why the run did not end as it should; empty where it did.
        who: whose films they are, for the scale of the harms.
    """
    return "\n".join(_lines(judgements, subjects, notes, gate, problem=problem, who=who)) + "\n"


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
    judgements: Sequence[Judgement],
    names: Sequence[str],
    notes: Sequence[str],
    gate: GateOutcome | None,
    *,
    problem: str,
    who: str,
) -> Iterator[str]:
    yield "## How reliable is this chest X-ray classifier?"
    yield ""
    yield "> **Not a medical device.** For research and education. Synthetic stress is necessary, not sufficient."
    for note in notes:
        yield f"> {_text(wording.opened(note))}"
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
    judged = dict.fromkeys(judgement.subject for judgement in judgements)
    subjects = sorted(judged, key=lambda name: name not in names)  # those of the run first
    yield f"| | {' | '.join(map(_text, subjects))} |"
    yield f"| --- |{' ---: |' * len(subjects)}"
    counted = Counter((judgement.verdict, judgement.subject) for judgement in judgements)
    for verdict, words in wording.VERDICTS.items():
        yield f"| {words.word} | {' | '.join(str(counted[verdict, subject]) for subject in subjects)} |"
    yield ""
    if violated := [judgement for judgement in judgements if judgement.verdict is Verdict.VIOLATED]:
        yield "### Requirements violated"
        yield ""
        yield from (f"- {_text(judgement.subject)}: {_text(wording.sized(judgement))}" for judgement in violated)
        yield ""
    own = [judgement for judgement in judgements if judgement.subject in names or not names]
    if worst := [harm for harm in harms(own, who, most=WORST) if harm.settled]:
        yield "### The worst"
        yield ""
        yield from (f"{place}. {_told(harm)}" for place, harm in enumerate(worst, start=1))
    else:
        yield "No harm was confirmed on these films, which is not the same as safe."


def _told(harm: Harm) -> str:
    effect = harm.judgement.result.effect if harm.judgement.result else None
    few = " (exploratory, for few films)" if effect is not None and effect.exploratory else ""
    word = wording.VERDICTS[harm.judgement.verdict].word
    told = f"**{_text(harm.sentence).rstrip('.')}.** {_text(harm.judgement.subject)}: {word.lower()}{few}."
    return f"{told} {_text(harm.scale)}" if harm.scale else told


def _text(text: str) -> str:
    """Return text that Markdown prints as it is: one line, every special character escaped."""
    plain = re.sub(r"\s+", " ", text).strip()
    return SPECIAL.sub(r"\\\1", plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}…")
