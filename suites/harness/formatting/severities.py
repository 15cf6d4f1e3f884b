"""What does a severity stand for? The physics card of a perturbation, and its words beside a condition."""

from __future__ import annotations

from robustness import perturbation
from robustness.card import Card
from robustness.perturbation import PerturbationError
from suites.harness.formatting.wording import opened, plain_name
from suites.harness.predictions.conditions import parse


def card(name: str) -> Card:
    """Return the physics card of a perturbation; of one of a user's that fails, what went wrong."""
    try:
        return perturbation.get(name).card
    except PerturbationError as problem:
        return Card(name=name, happens=str(problem))


def in_units(condition: str) -> str:
    """Return what the severity of a condition stands for: `0.8 of the hemithorax, 4.3 cm of water in its mean`.

    Empty for the clean film, a remedy alone, and where a perturbation tells nothing; of several steps, all that do.
    """
    told = (card(name).severities.get(severity, "") for name, severity in parse(condition).steps if severity)
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
    steps = (f"{plain_name(name)}{f', severity {severity}' if severity else ''}" for name, severity in asked.steps)
    told = ", then ".join(steps) or "clean films"
    return told if inside else opened(told)
