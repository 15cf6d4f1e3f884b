"""What do fixed steps along the gradient find? The reference points of the literature."""

from __future__ import annotations

import torch
from torch import Tensor

from robustness.attacks.attack import Attack, register
from robustness.attacks.errors import AttackError
from robustness.attacks.films import Turn
from robustness.attacks.loss import Loss, cross_entropy, margin

LOSSES: dict[str, Loss] = {"ce": cross_entropy, "margin": margin}


@register
class FGSM(Attack):
    """One step of the whole budget along the gradient (Goodfellow, Shlens, Szegedy 2015, arXiv:1412.6572)."""

    name = "fgsm"
    compared = False

    def run(self, turn: Turn) -> None:
        _, gradient, _ = turn.gradient(turn.start, cross_entropy)
        turn.logits(turn.moved(turn.films.threat.steepest(gradient)))


@register
class PGD(Attack):
    """Projected gradient ascent from random starts (Madry et al. 2018, arXiv:1706.06083).

    Args:
        steps: steps per start.
        restarts: starts; the first is the film itself when `from_film`, the others are uniform in the ball.
        step: step as a fraction of the budget.
        loss: "ce" or "margin".
        from_film: start the first run at the film instead of at random.
    """

    name = "pgd"
    compared = False

    def __init__(
        self,
        *,
        steps: int = 20,
        restarts: int = 5,
        step: float = 0.25,
        loss: str = "ce",
        from_film: bool = False,
    ) -> None:
        if steps < 1 or restarts < 1 or loss not in LOSSES:
            raise AttackError(
                f"pgd: steps {steps}, restarts {restarts}, loss {loss!r}; expected >= 1 and 'ce' or 'margin'"
            )
        self.steps, self.restarts, self.step, self.loss, self.from_film = steps, restarts, step, loss, from_film

    def run(self, turn: Turn) -> None:
        for restart in range(self.restarts):
            turn = turn[turn.open]
            if len(turn) == 0:
                return
            here = turn.start if self.from_film and restart == 0 else random_start(turn, f"start {restart}")
            self._climb(turn, here)

    def _climb(self, turn: Turn, here: Tensor) -> None:
        for _ in range(self.steps):
            _, gradient, _ = turn.gradient(here, LOSSES[self.loss])
            here = turn.moved(turn.films.threat.steepest(gradient), here, self.step)
            keep = turn.open
            if not bool(keep.all()):
                turn, here = turn[keep], here[keep]
            if len(turn) == 0:
                return
        turn.logits(here)


def random_start(turn: Turn, label: str) -> Tensor:
    """(b, c, H, W) a random point of each film's ball: on its surface, as in AutoAttack, then clipped to [0, 1]."""
    noise = turn.uniforms(label, *turn.start.shape[1:]).mul_(2.0).sub_(1.0)
    if turn.films.threat.norm == "l2":
        noise = turn.films.threat.steepest(torch.erfinv(noise.clamp(-0.999999, 0.999999)))
    return turn.moved(noise)
