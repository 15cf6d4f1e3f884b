"""Attacks of torchattacks, judged by our books.

torchattacks is right for deterministic L-inf gradient attacks; its ensemble is not (it fails at two and three classes),
and its random starts depend on the batch. To wrap another of its attacks, subclass `TorchAttack` and name the class.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torchattacks
from torch import Tensor, nn

from robustness.attacks.attack import Attack, register
from robustness.attacks.films import Turn


class Booked(nn.Module):
    """The subject of a turn as the plain network a library expects; every pass is judged and counted."""

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.turn = turn
        self.anchor = nn.Parameter(torch.zeros(1, device=turn.start.device), requires_grad=False)

    def forward(self, moved: Tensor) -> Tensor:
        """(b, c, H, W) points of the whole turn -> (b, K) logits."""
        turn, films = self.turn, self.turn.films
        logits = films.network(moved)
        films.count(turn.attack, turn.index, forward=1)
        # Only what is an image counts; the library clips its points itself.
        image = ((moved >= 0.0) & (moved <= 1.0)).flatten(1).all(1) & torch.isfinite(logits).all(1)
        films.judge(turn.attack, turn.index[image], moved.detach()[image], logits.detach()[image])
        if moved.requires_grad:
            moved.register_hook(self._backward)  # type: ignore[no-untyped-call]
        return logits  # type: ignore[no-any-return]

    def _backward(self, gradient: Tensor) -> None:
        turn = self.turn
        turn.films.count(turn.attack, turn.index, backward=1)
        bad = ~torch.isfinite(gradient).flatten(1).all(1)
        if bool(bad.any()):
            turn.films.fault(turn.index[bad], "nan gradient")


class TorchAttack(Attack):
    """An attack of torchattacks with an L-inf budget.

    Args:
        settings: arguments of the library's class besides `eps`; a step `alpha` is given as a fraction of the budget.
    """

    library: ClassVar[type[torchattacks.attack.Attack]]
    defaults: ClassVar[dict[str, Any]]
    norms = ("linf",)

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - the library's own arguments
        unknown = sorted(set(settings) - set(self.defaults))
        if unknown:
            raise TypeError(f"unknown settings {unknown}; it has {sorted(self.defaults)}")
        self.settings = {**self.defaults, **settings}

    def run(self, turn: Turn) -> None:
        settings = dict(self.settings)
        if "alpha" in settings:
            settings["alpha"] = settings["alpha"] * turn.radius
        attack = self.library(Booked(turn), eps=turn.radius, **settings)
        turn.logits(attack(turn.start, turn.labels))


@register
class MIFGSM(TorchAttack):
    """Momentum iterative FGSM (Dong et al. 2018, arXiv:1710.06081), as torchattacks has it."""

    name = "mifgsm"
    library = torchattacks.MIFGSM
    defaults = {"steps": 10, "alpha": 0.25, "decay": 1.0}  # noqa: RUF012
