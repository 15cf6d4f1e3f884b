"""How are a claim's parameters printed? What the table of claims asks for, and which of it this run has judged."""

from __future__ import annotations

import re
from collections.abc import Sequence

from suites.harness.claims import Judgement
from suites.harness.cohorts.class_roles import parameters_of_findings
from suites.harness.formatting.wording import condition_words
from suites.harness.record import Record
from suites.harness.report import facts
from suites.harness.report.results import all_measures

RANGE = re.compile(r"@([1-5])-([1-5])")


def printed(judgements: Sequence[Judgement], record: Record) -> dict[str, str]:
    """Return the parameters of one claim as text, a range of severities with those the run has judged.

    A profile runs some of the severities of a range, and some endpoints only the middle one. Those that the claim's
    measures name are the ones judged; an endpoint that draws them only has used whatever was answered.
    """
    named = {
        part.strip()
        for judgement in judgements
        for measure in all_measures(judgement)
        for part in measure.condition.split(" - ")
    }
    claim, subjects = judgements[0].claim, {subject.name: subject for subject in record.subjects}
    findings = all(one.subject in subjects and subjects[one.subject].whole is not None for one in judgements)
    parameters = dict(parameters_of_findings(claim) if findings else claim.parameters)
    if any(judgement.result is not None for judgement in judgements):
        answered = set(record.predictions["condition"].unique())
        for key, judged in (("conditions", named), ("extents", set())):  # of extents whatever was answered is shown
            if isinstance(listed := parameters.get(key), list):
                parameters[key] = [_condition(str(text), judged, answered) for text in listed]
    return {key: _text(value) for key, value in parameters.items()}


def _text(value: object) -> str:
    """Return a parameter in words; what its severities stand for is told once, below the pictures of the grid."""
    if not isinstance(value, list):
        return _words(facts.as_text(value))
    told = [_words(facts.as_text(item)) for item in value]
    return ("; " if any(", " in text for text in told) else ", ").join(told)


def _words(text: str) -> str:
    """Return a name or a condition in words; anything else as it is."""
    return condition_words(text)


def _condition(text: str, named: set[str], answered: set[str]) -> str:
    """Return a condition, behind a range the severities of it that were judged where these are not all."""
    span = RANGE.search(text)
    if span is None:
        return text
    asked = range(int(span[1]), int(span[2]) + 1)
    known = {level: text.replace(span[0], f"@{level}", 1) for level in asked}
    run = [level for level in asked if known[level] in named] or [level for level in asked if known[level] in answered]
    if run == list(asked):
        return text
    return f"{text} (in this run {', '.join(map(str, run)) or 'none'})"
