"""What can go wrong in an attack, by name? Every message says what was wrong and what to do."""

from __future__ import annotations


class AttackError(ValueError):
    """The input of an attack is wrong."""


class BudgetError(AttackError):
    """A budget is not a number in (0, 1]: budgets are fractions of the grey scale, 1/255 is one grey level."""


class NotDifferentiable(AttackError):
    """A white-box attack was asked of a subject that gives no gradients (a service, an ONNX graph, a plain function).

    Black-box attacks ("square", "random-sign") still run.
    """
