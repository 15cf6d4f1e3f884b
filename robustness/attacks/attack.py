"""What is an attack? The contract, and the registry of all of them.

To add one, write a class in a new file of this folder; it only moves points and asks about them. It is then found by
`get`, and a line of the report's table of threat models and attacks::

    from robustness.attacks.attack import Attack, register
    from robustness.attacks.films import Turn
    from robustness.attacks.loss import cross_entropy

    @register
    class FGSM(Attack):
        '''One step of the budget along the sign of the gradient (Goodfellow et al. 2015).'''

        name = "fgsm"

        def run(self, turn: Turn) -> None:
            _, gradient, _ = turn.gradient(turn.start, cross_entropy)
            turn.logits(turn.project(turn.start + turn.radius * turn.films.threat.steepest(gradient)))

`Attack.__call__` and `Turn` validate, clip, measure, count passes, and keep the smallest flip.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeVar, final

import torch
from torch import Tensor

from robustness.attacks.errors import AttackError, NotDifferentiable
from robustness.attacks.films import AttackedFilms, Turn
from robustness.attacks.threat import check_budgets
from robustness.registration import defined_in, taken, unknown_name


class Attack(ABC):
    """One way to look for a change that flips a film.

    Attributes:
        name: unique; also the name its passes are booked under and its random numbers come from.
        white_box: needs gradients.
        budgeted: False for attacks that look for the smallest change whatever the budget.
        norms: norms it is defined for.
        compared: whether it gets a line of its own in the report's table of threat models and attacks, where no
            protocol of the suite runs it.
        version: raised whenever results change; part of every cache key.
    """

    name: ClassVar[str]
    white_box: ClassVar[bool] = True
    budgeted: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    compared: ClassVar[bool] = True
    version: ClassVar[int] = 2

    @abstractmethod
    def run(self, turn: Turn) -> None:
        """Ask about points of `turn` (see `Turn.logits` and `Turn.gradient`); what flips is kept by the books."""

    @final
    def __call__(self, films: AttackedFilms, index: Tensor, budget: Tensor | float) -> Tensor:
        """Attack some of the films.

        Args:
            films: the batch with its books.
            index: (b,) positions of the films to attack.
            budget: (b,) budgets or one for all, each in (0, 1].

        Returns:
            (b,) bool: a flip of at most the budget is known now.

        Raises:
            NotDifferentiable: a white-box attack on a subject without gradients.
            AttackError: the norm is not one of this attack's.
            BudgetError: a budget outside (0, 1].
        """
        if films.threat.norm not in self.norms:
            raise AttackError(f"{self.name} is defined for {' and '.join(self.norms)}, not for {films.threat.norm}")
        if self.white_box and not films.network.differentiable:
            raise NotDifferentiable(f"{self.name} needs gradients and the subject gives none; use black-box attacks")
        index = torch.as_tensor(index, dtype=torch.long).to(films.start.device)
        budget = torch.as_tensor(budget, dtype=torch.float64).to(index.device).expand(len(index))
        if len(index) == 0:
            return torch.zeros(0, dtype=torch.bool, device=index.device)
        check_budgets(budget.tolist())
        turn = Turn(films, self.name, index, budget)
        self.run(turn)
        return ~turn.open

    @property
    def identity(self) -> str:
        """Name, version and settings: what a cache of results must depend on."""
        settings = ",".join(f"{key}={value}" for key, value in sorted(vars(self).items()))
        return f"{self.name}/v{self.version}({settings})"

    def __repr__(self) -> str:
        return self.identity


_REGISTRY: dict[str, type[Attack]] = {}
A = TypeVar("A", bound=type[Attack])


def register(attack: A) -> A:
    """Class decorator: make an attack known by its name.

    Raises:
        AttackError: the name is taken.
    """
    if not isinstance(getattr(attack, "name", None), str):
        raise AttackError(f"{attack.__name__} ({defined_in(attack)}) does not declare `name`")
    if attack.name in _REGISTRY:
        raise AttackError(taken("attack", attack.name, _REGISTRY[attack.name], attack))
    _REGISTRY[attack.name] = attack
    return attack


def get(name: str, **settings: Any) -> Attack:  # noqa: ANN401 - settings belong to the attack that takes them
    """An attack by name.

    Raises:
        AttackError: unknown name (the message lists the nearest ones), or a setting it does not have.
    """
    if name not in _REGISTRY:
        raise AttackError(unknown_name("attack", name, names()))
    try:
        return _REGISTRY[name](**settings)
    except TypeError as error:
        raise AttackError(f"attack {name!r}: {error}") from error


def names() -> list[str]:
    """Names of all registered attacks."""
    return sorted(_REGISTRY)
