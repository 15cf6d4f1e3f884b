"""What does `--junitxml` say beside the outcomes? Verdict and effect of every claim, and no folder of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from _pytest.junitxml import xml_key

from suites.harness.claims import Judgement
from suites.harness.formatting import wording

CODE = "verdict_code"
"""Name of the verdict as results.json has it, beside the words of page and terminal."""


def properties(judgement: Judgement) -> list[tuple[str, object]]:
    """Return what it carries of a judgement beside the outcome."""
    claim, result = judgement.claim, judgement.result
    told: list[tuple[str, object]] = [("claim", claim.id), ("subject", judgement.subject), ("kind", claim.kind)]
    told += [("verdict", wording.settled_by(judgement).lower()), (CODE, str(judgement.verdict))]
    if result:
        effect = result.effect
        told += [("measure", effect.name), ("effect", effect.estimate), ("low", effect.low), ("high", effect.high)]
        told += [("margin", claim.margin), ("n", effect.n)]
        told += [("patients", effect.patients)] if effect.patients is not None else []
    return told


def say_incomplete(config: pytest.Config, told: str) -> None:
    """Have the file, which pytest writes whatever was there, say of itself that it is of part of a run."""
    if (xml := config.stash.get(xml_key, None)) is not None:
        xml.add_global_property("incomplete", told.removeprefix("incomplete: "))


def locate_skip(report: pytest.TestReport) -> None:
    """Have a skip say the suite that it is of, where pytest says the file in which its own `skip` is defined.

    pytest knows the suite by the path from the root of the run; the line is that of the test.
    """
    if report.skipped and isinstance(report.longrepr, tuple):
        file, line, _ = report.location
        report.longrepr = Path(file).as_posix(), (line or 0) + 1, report.longrepr[2]
