"""What must not flip a film that only an adversary can flip? Controls."""

from __future__ import annotations

import torch

from robustness.attacks.attack import Attack, register
from robustness.attacks.errors import AttackError
from robustness.attacks.films import Turn


@register
class RandomSign(Attack):
    """Noise of the same size without intent: every pixel moves by plus or minus the budget at random.

    The sign pattern has the full budget under both norms. An attack that does no better than this says nothing.

    Args:
        draws: independent patterns per film.
    """

    name = "random-sign"
    white_box = False

    def __init__(self, *, draws: int = 10) -> None:
        if draws < 1:
            raise AttackError(f"random-sign: draws is {draws}; expected 1 or more")
        self.draws = draws

    def run(self, turn: Turn) -> None:
        for number in range(self.draws):
            turn = turn[turn.open]
            if len(turn) == 0:
                return
            noise = torch.where(turn.uniforms(f"draw {number}", *turn.start.shape[1:]) < 0.5, -1.0, 1.0)
            turn.logits(turn.moved(noise))


@register
class Blank(Attack):
    """The film itself, asked again: a flip means that the subject is not deterministic."""

    name = "blank"
    white_box = False

    def run(self, turn: Turn) -> None:
        turn.logits(turn.start)
