"""What does a perturbation of this run stand for? Its physics card, or why there is none."""

from __future__ import annotations

from robustness import perturbation
from robustness.card import Card
from robustness.perturbation import PerturbationError


def card(name: str) -> Card:
    """Return the physics card of a perturbation; of one of a user's that fails, what went wrong."""
    try:
        return perturbation.get(name).card
    except PerturbationError as problem:
        return Card(name=name, happens=str(problem))
