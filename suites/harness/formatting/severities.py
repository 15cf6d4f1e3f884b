"""What does a severity stand for? The physics card of a perturbation, and its words beside a condition."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from robustness import perturbation
from robustness.card import Card
from robustness.perturbation import PerturbationError
from suites.harness.formatting.wording import opened, plain_name, signs, stress
from suites.harness.predictions.conditions import parse


def card(name: str) -> Card:
    """Return the physics card of a perturbation, numbers with their printed signs; of one that fails, what went wrong.

    A perturbation of a user's may fail when its card is asked for.
    """
    told = _told(name)
    printed = {one.name: _signs(getattr(told, one.name)) for one in fields(told)}
    return Card(**printed)


def _told(name: str) -> Card:
    try:
        return perturbation.get(name).card
    except PerturbationError as problem:
        return Card(name=name, happens=str(problem))


def _signs(value: Any) -> Any:  # noqa: ANN401 - a text of the card, or its texts by severity
    return signs(value) if isinstance(value, str) else {level: signs(text) for level, text in value.items()}


def in_units(condition: str, *, plain: bool = False) -> str:
    """Return what the severity of a condition stands for: `0.8 of the hemithorax, 4.3 cm of water in its mean`.

    Empty for the clean film, a remedy alone, and where a perturbation tells nothing; of several steps, all that do.

    Args:
        condition: canonical text.
        plain: with the signs that a program writes, for a file that programs read.
    """
    read = _told if plain else card
    told = (read(name).severities.get(severity, "") for name, severity in parse(condition).steps if severity)
    return "; then ".join(filter(None, told))


def with_units(condition: str) -> str:
    """Return a condition as words inside a sentence, with what its severity stands for in brackets."""
    told, spoken = in_units(condition), in_words(condition, inside=True)
    return f"{spoken} ({told})" if told else spoken


def in_words(condition: str, *, inside: bool = False) -> str:
    """Return a condition as a sentence starts, or `inside` one: `Window widening, severity 3`, `The recipe hub`."""
    asked = parse(condition)
    if asked.preprocessing is not None and not asked.steps:
        told = f"the recipe {plain_name(asked.preprocessing)}"
        return told if inside else opened(told)
    steps = (f"{stress(name)}{f', severity {severity}' if severity else ''}" for name, severity in asked.steps)
    told = ", then ".join(steps) or "clean films"
    return told if inside else opened(told)
