"""How does a search ascend without a step size to tune? APGD: momentum, and steps halved where they stop paying.

F. Croce, M. Hein: Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks,
ICML 2020 (arXiv:2003.01690), algorithm 1. Written here because the circulating implementations fail at two and three
classes (their difference-of-logits loss needs three, its targeted form four), share one random state over the batch,
and spend all steps on films that are already flipped. Two things differ from algorithm 1, neither of which can weaken
it: a film leaves at its first flip inside the budget, and where a step from the best point moves nothing at all.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial

import torch
from torch import Tensor

from robustness.attacks.attack import Attack, register
from robustness.attacks.errors import AttackError
from robustness.attacks.films import Turn
from robustness.attacks.gradient import random_start
from robustness.attacks.loss import Loss, cross_entropy, margin, other_classes, towards

RISING_SHARE = 0.75  # rho: a stretch with fewer rising steps than this halves the step
MOMENTUM = 0.75  # alpha
TRIAL = 5
"""Steps after which a film may be given up; on the trained subjects measured, what later steps add is a few percent."""


@dataclass
class Climb:
    """State of the ascent, one entry per film; `best_*` is the highest point so far."""

    here: Tensor
    before: Tensor
    gradient: Tensor
    loss: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    step: Tensor
    rises: Tensor
    checked_loss: Tensor
    just_halved: Tensor

    def keep(self, mask: Tensor) -> Climb:
        """The same state for fewer films."""
        return Climb(**{field.name: getattr(self, field.name)[mask] for field in fields(self)})


def checkpoints(steps: int) -> list[int]:
    """Steps after which the step size is reconsidered (w_0 = 0 left out)."""
    shares, found = [0.0, 0.22], [0, int(0.22 * steps)]
    while shares[-1] < 1.0:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
        found.append(int(shares[-1] * steps))
    return sorted({at for at in found if 0 < at < steps})


def climb(turn: Turn, start: Tensor, loss_of: LossOf, steps: int, *, give_up: float = 0.0) -> tuple[Tensor, Tensor]:
    """Ascend from `start`; films leave once flipped inside their budget.

    Args:
        turn: b films.
        start: (b, c, H, W) where to begin, inside the budget.
        loss_of: the loss of some of the films, given their positions (b',) in `turn`.
        steps: gradient steps.
        give_up: share of the way from the clean margin to 0 that a film must have come after `TRIAL` steps, else it
            leaves; 0: it never does. Only for losses that are margins.

    Returns:
        (b,) highest loss reached and (b, c, H, W) where.
    """
    threat, everyone = turn.films.threat, torch.arange(len(turn), device=start.device)
    loss, gradient, _ = turn.gradient(start, loss_of(everyone))
    top_loss, top = loss.clone(), start
    halved = torch.ones_like(loss, dtype=torch.bool)
    state = Climb(start, start, gradient, loss, start, gradient, loss, 2.0 * turn.budget.float(),
                  torch.zeros_like(loss), loss, halved)  # fmt: skip
    del start, gradient  # held by the state, as long as it needs them
    marks, since = checkpoints(steps), 0
    for number in range(steps):
        ahead = threat.each_pixel(
            partial(_ahead, turn=turn, step=state.step.view(-1, 1, 1, 1), momentum=number > 0),
            turn.start, state.here, state.before, state.gradient,
        )  # fmt: skip
        # Where nothing moves, the best point is a corner of the ball (or its gradient is zero): no step changes it.
        moving = ((ahead != state.here) | (state.here != state.best)).flatten(1).any(1)
        keep = turn.open & moving
        if not bool(keep.all()):
            top = _reached(top, everyone, state.best, ~keep)
            turn, state, ahead, everyone = turn[keep], state.keep(keep), ahead[keep], everyone[keep]
        if len(turn) == 0:
            break
        state.before, state.here = state.here, ahead
        loss, state.gradient, _ = turn.gradient(ahead, loss_of(everyone))
        state.rises = state.rises + (loss > state.loss)
        state.loss = loss
        higher = loss > state.best_loss
        state.best = _either(higher, ahead, state.best)
        state.best_gradient = _either(higher, state.gradient, state.best_gradient)
        state.best_loss = torch.where(higher, loss, state.best_loss)
        top_loss[everyone] = state.best_loss
        since += 1
        if number + 1 in marks:
            _reconsider(state, since)
            since = 0
        if give_up and number + 1 == TRIAL:
            keep = hopeful(turn, state.best_loss, give_up)
            if not bool(keep.all()):
                top = _reached(top, everyone, state.best, ~keep)
                turn, state, everyone = turn[keep], state.keep(keep), everyone[keep]
    return top_loss, _reached(top, everyone, state.best, torch.ones_like(everyone, dtype=torch.bool))


def _ahead(
    film: Tensor, here: Tensor, before: Tensor, gradient: Tensor, *, turn: Turn, step: Tensor, momentum: bool
) -> Tensor:
    """The next point of an ascent, from the last two."""
    threat = turn.films.threat
    ahead = threat.project(here + step * threat.steepest(gradient), film, turn.budget)
    if not momentum:
        return ahead
    return threat.project(here + MOMENTUM * (ahead - here) + (1.0 - MOMENTUM) * (here - before), film, turn.budget)


def _either(mask: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """For each film one image or the other; where it is the same for all, no copy of it."""
    if bool(mask.all()):
        return one
    return torch.where(mask.view(-1, 1, 1, 1), one, other) if bool(mask.any()) else other


def _reached(top: Tensor, everyone: Tensor, best: Tensor, leaving: Tensor) -> Tensor:
    """Where films got that leave, beside where those are that left before; of all at once without a copy."""
    if len(top) == int(leaving.sum()):
        return best
    return top.index_copy(0, everyone[leaving], best[leaving]) if bool(leaving.any()) else top


def hopeful(turn: Turn, best: Tensor, share: float) -> Tensor:
    """(b,) bool: a margin of `best` has come at least this share of the way from the clean margin to 0; any, at 0."""
    if share == 0.0:
        return torch.ones_like(best, dtype=torch.bool)
    return best >= (1.0 - share) * margin(turn.clean_logits, turn.labels)


def _reconsider(state: Climb, since: int) -> None:
    """Halve the step and return to the best point where the last stretch did not pay."""
    slow = state.rises <= RISING_SHARE * since
    stale = ~state.just_halved & (state.checked_loss >= state.best_loss)
    halve = slow | stale
    state.step = torch.where(halve, state.step / 2.0, state.step)
    state.here = _either(halve, state.best, state.here)
    state.gradient = _either(halve, state.best_gradient, state.gradient)
    state.just_halved, state.checked_loss = halve, state.best_loss
    state.rises = torch.zeros_like(state.rises)


class LossOf:
    """The loss of some of the films of a turn, given their positions: targets differ from film to film."""

    def __init__(self, loss: Loss | None = None, target: Tensor | None = None) -> None:
        self.loss, self.target = loss, target

    def __call__(self, positions: Tensor) -> Loss:
        """The loss for the films at these positions."""
        if self.target is not None:
            return towards(self.target[positions])
        assert self.loss is not None  # noqa: S101 - one of the two is always given
        return self.loss


class _APGD(Attack):
    """APGD on one loss.

    Args:
        steps: gradient steps per start.
        restarts: random starts.
    """

    loss: Loss
    give_up: float = 0.0

    def __init__(self, *, steps: int = 100, restarts: int = 1) -> None:
        if steps < 1 or restarts < 1:
            raise AttackError(f"{self.name}: steps {steps}, restarts {restarts}; expected 1 or more")
        self.steps, self.restarts = steps, restarts

    def run(self, turn: Turn) -> None:
        for restart in range(self.restarts):
            turn = turn[turn.open]
            if len(turn) == 0:
                return
            climb(
                turn,
                random_start(turn, f"start {restart}"),
                LossOf(type(self).loss),
                self.steps,
                give_up=self.give_up,
            )


@register
class APGDCrossEntropy(_APGD):
    """APGD on the cross-entropy: the field's default, blind on saturated heads."""

    name = "apgd-ce"
    loss = staticmethod(cross_entropy)


@register
class APGDMargin(_APGD):
    """APGD on the logit margin: valid from two classes, indifferent to the scale of the logits.

    Args:
        steps: gradient steps per start.
        restarts: random starts.
        give_up: a start ends where its best point has come less than this share of the way to a flip after `TRIAL`
            steps: films far from a flip plateau early, and are left to the attacks that follow. 0: never.
        within: only films whose smallest known flip is less than so many budgets, and those without a known flip: where
            a flip is known far outside, the boundary has been met, and a long search inside finds what the short one
            did. None: every film.
    """

    name = "apgd-margin"
    loss = staticmethod(margin)
    version = 3

    def __init__(
        self, *, steps: int = 100, restarts: int = 1, give_up: float = 0.0, within: float | None = None
    ) -> None:
        super().__init__(steps=steps, restarts=restarts)
        self.give_up = _share(self.name, give_up)
        if within is not None and not within > 1.0:
            raise AttackError(f"{self.name}: within {within}; expected more than 1 budget")
        self.within = within

    def run(self, turn: Turn) -> None:
        if self.within is not None:
            flip = turn.films.distance[turn.index]
            turn = turn[flip.isinf() | (flip < self.within * turn.budget)]
        super().run(turn)


@register
class APGDTargeted(Attack):
    """APGD on z_t - z_y for every wrong class t, the likeliest first.

    With `probe`, each class first gets that many steps, and only the class that came nearest gets all of them. With two
    classes the targeted margin is the margin, so that there is nothing to add and the attack asks nothing.

    Args:
        steps: gradient steps of a full run.
        probe: steps per class before choosing; None: a full run for every class.
        targets: only so many classes; None: all K - 1.
        give_up: a film whose nearest class has come less than this share of the way to a flip in its probe gets no full
            run; without `probe`, each run ends as in `APGDMargin`. 0: never.
    """

    name = "apgd-targeted"

    def __init__(
        self, *, steps: int = 100, probe: int | None = None, targets: int | None = None, give_up: float = 0.0
    ) -> None:
        if steps < 1 or (probe is not None and probe < 1) or (targets is not None and targets < 1):
            raise AttackError(f"apgd-targeted: steps {steps}, probe {probe}, targets {targets}; expected 1 or more")
        self.steps, self.probe, self.targets = steps, probe, targets
        self.give_up = _share(self.name, give_up)

    def run(self, turn: Turn) -> None:
        if turn.clean_logits.shape[1] == 2:
            return
        order = other_classes(turn.clean_logits, turn.labels)[:, : self.targets]
        top = torch.full_like(turn.clean_logits[:, 0], -torch.inf)
        nearest, reached = torch.zeros_like(order[:, 0]), turn.start
        for rank in range(order.shape[1]):
            rows = turn.open.nonzero().flatten()
            if len(rows) == 0:
                return
            some = turn[rows]
            begin = random_start(some, f"class {rank}")
            give_up = 0.0 if self.probe else self.give_up
            tops = climb(some, begin, LossOf(target=order[rows, rank]), self.probe or self.steps, give_up=give_up)
            if self.probe:
                # The likelier of two classes that came equally near, and only where it got: there may be many classes.
                nearer = tops[0] > top[rows]
                top[rows[nearer]], nearest[rows[nearer]] = tops[0][nearer], order[rows[nearer], rank]
                reached = _reached(reached, rows, tops[1], nearer)
            del tops
        if not self.probe:
            return
        rows = (turn.open & hopeful(turn, top, self.give_up)).nonzero().flatten()
        if len(rows):
            climb(turn[rows], reached[rows], LossOf(target=nearest[rows]), self.steps)


def _share(name: str, value: float) -> float:
    if not 0.0 <= value < 1.0:
        raise AttackError(f"{name}: give_up {value}; expected a share in [0, 1)")
    return value
