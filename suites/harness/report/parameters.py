"""How are a claim's parameters printed? What the table of claims asks for, and which of it this run has judged."""

from __future__ import annotations

import re
from collections.abc import Sequence

from robustness import perturbation
from suites.harness.claims import Judgement
from suites.harness.formatting.severities import card
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
    parameters = dict(judgements[0].claim.parameters)
    if any(judgement.result is not None for judgement in judgements):
        answered = set(record.predictions["condition"].unique())
        for key, judged in (("conditions", named), ("extents", set())):  # of extents whatever was answered is shown
            if isinstance(listed := parameters.get(key), list):
                parameters[key] = [_condition(str(text), judged, answered) for text in listed]
    return {key: _text(value) for key, value in parameters.items()}


def _text(value: object) -> str:
    """Return a parameter as text, each condition with what its severity stands for."""
    if not isinstance(value, list):
        return _with_units(facts.as_text(value))
    told = [_with_units(facts.as_text(item)) for item in value]
    return "; ".join(told) if told != list(map(facts.as_text, value)) else facts.as_text(value)


def _with_units(text: str) -> str:
    """Return a condition of one perturbation with what its severity stands for; anything else as it is."""
    name, _, severity = text.partition("@")
    if severity not in {"1", "2", "3", "4", "5"} or name not in perturbation.names():
        return text
    told = card(name).severities.get(int(severity))
    return f"{text} ({told})" if told else text


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
