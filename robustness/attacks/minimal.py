"""What is the smallest change that flips a film, whatever the budget?

They run first: where they succeed, it is known which budgets are lost, and only the next smaller one need be attacked.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from robustness.attacks.attack import Attack, register
from robustness.attacks.errors import AttackError
from robustness.attacks.films import Turn
from robustness.attacks.loss import margin, other_classes, towards
from robustness.attacks.threat import PART, column, largest


def reach(point: Tensor, normal: Tensor, offset: Tensor, norm: str) -> Tensor:
    """Smallest change that puts each point on its hyperplane without leaving [0, 1].

    The optimum moves every pixel along its sign by min(t * p, room), with p = 1 (L-inf) or |normal| (L2), where room is
    the pixel's distance to 0 or 1. The reach of t is concave and piecewise linear, so Newton's method from t = 0 climbs
    to the root and meets it after finitely many steps.

    Args:
        point: (b, c, H, W) in [0, 1].
        normal: (b, c, H, W) w.
        offset: (b,) c; wanted is w . change = c.
        norm: "linf" or "l2".

    Returns:
        (b, c, H, W) change; where the hyperplane does not meet [0, 1], the change that comes nearest to it.
    """
    where, along = point.flatten(1), normal.flatten(1)
    sign = torch.where(offset < 0, -1.0, 1.0)[:, None]
    scale = largest(along)[:, None].clamp_min(1e-38)
    wanted = offset.abs()[:, None] / scale
    ones, far = torch.ones_like(wanted), torch.zeros_like(wanted)

    def weighed(part: slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sign, weight, pace and room of some pixels: of a whole film found again each time, as they find no place."""
        flat = along[:, part] * sign
        weight, room = flat.abs() / scale, torch.where(flat > 0, 1.0 - where[:, part], where[:, part])
        return flat.sign_(), weight, ones if norm == "linf" else weight, room

    parts = _parts(where)
    known = [weighed(parts[0])] if len(parts) == 1 else None
    for _ in range(50):
        missing, slope = wanted, torch.zeros_like(wanted)
        for _, weight, pace, room in known or map(weighed, parts):
            missing = missing - torch.minimum(far * pace, room).mul_(weight).sum(1, keepdim=True)
            slope = slope + (weight * pace).mul_(far * pace < room).sum(1, keepdim=True)
        onwards = (missing > 1e-6 * wanted) & (slope > 0)
        if not bool(onwards.any()):
            break
        far = torch.where(onwards, far + missing / slope.clamp_min(1e-38), far)
    change = torch.empty_like(where, memory_format=torch.contiguous_format)
    for part, (towards_it, _, pace, room) in zip(parts, known or map(weighed, parts), strict=True):
        change[:, part] = torch.minimum(far * pace, room).mul_(towards_it)
    return change.view_as(point)


def _parts(flat: Tensor) -> list[slice]:
    """Parts of the (b, n) pixels of films: of each film the same, whatever the others beside it."""
    return [slice(first, first + PART) for first in range(0, flat.shape[1], PART)]


def _rise(gradient: Tensor, there: Tensor, here: Tensor) -> Tensor:
    """(b,) what a linear function with this gradient rises by from here to there."""
    slope, end, begin = gradient.flatten(1), there.flatten(1), here.flatten(1)
    rise = torch.zeros_like(slope[:, 0])
    for part in _parts(slope):
        rise = rise + (slope[:, part] * (end[:, part] - begin[:, part])).sum(1)
    return rise


@register
class FAB(Attack):
    """Targeted fast adaptive boundary attack (Croce, Hein 2020, ICML, arXiv:1907.02044), several wrong classes.

    Each step linearises z_t - z_y, projects the point and the film onto its zero, and mixes the two, so that the point
    creeps along the boundary towards the film. Unlike the original the flip is read from the pass that gives the next
    gradient (one forward pass fewer per step), and a film leaves a class after `patience` steps without a gain of 1 %.

    Args:
        steps: steps per class and start.
        targets: wrong classes tried, the likeliest first; None: all.
        restarts: the first starts at the film, others half way to the smallest flip, at random.
        patience: steps without improvement after which a film leaves; the likeliest class gets twice as many before
            its first flip.
    """

    name = "fab"
    budgeted = False
    version = 3

    def __init__(self, *, steps: int = 20, targets: int | None = None, restarts: int = 1, patience: int = 4) -> None:
        if steps < 1 or restarts < 1 or patience < 1 or (targets is not None and targets < 1):
            raise AttackError(f"fab: steps {steps}, targets {targets}, restarts {restarts}, patience {patience}; "
                              "expected 1 or more")  # fmt: skip
        self.steps, self.targets, self.restarts, self.patience = steps, targets, restarts, patience

    def run(self, turn: Turn) -> None:
        order = other_classes(turn.clean_logits, turn.labels)[:, : self.targets]
        for restart in range(self.restarts):
            for rank in range(order.shape[1]):
                self._towards(turn, order[:, rank], restart)

    def _towards(self, turn: Turn, target: Tensor, restart: int) -> None:
        threat, books = turn.films.threat, turn.films
        here = turn.start
        if restart > 0:
            radius = column(books.distance[turn.index].clamp(max=0.5).float()) / 2.0
            here = (here + radius * (2.0 * turn.uniforms(f"start {restart}", *here.shape[1:]) - 1.0)).clamp(0.0, 1.0)
        best = books.distance[turn.index].clone()
        idle = torch.zeros(len(turn), dtype=torch.long, device=here.device)
        for _ in range(self.steps):
            ahead, gradient, _ = turn.gradient(here, towards(target))
            reached = books.distance[turn.index]
            gain = reached < 0.99 * best
            idle = torch.where(gain, 0, idle + 1)
            best = torch.minimum(best, reached)
            patience = torch.where(best.isfinite(), self.patience, 2 * self.patience)
            keep = (idle <= patience) & (gradient != 0).flatten(1).any(1)
            if not bool(keep.all()):
                turn, target, here, best, idle = turn[keep], target[keep], here[keep], best[keep], idle[keep]
                ahead, gradient = ahead[keep], gradient[keep]
            if len(turn) == 0:
                return
            # Beyond the boundary: step back towards the film (beta = 0.9) along the same linearisation.
            beyond = column(ahead > 0)
            back = threat.each_pixel(partial(_back, beyond), turn.start, here)
            ahead = ahead + _rise(gradient, back, here)
            here = back
            del back
            to_plane = reach(here, gradient, -ahead, threat.norm)
            film_offset = -ahead + _rise(gradient, here, turn.start)
            from_film = reach(turn.start, gradient, film_offset, threat.norm)
            near, far = threat.size(to_plane), threat.size(from_film)
            mix = column((near / (near + far).clamp_min(1e-30)).clamp(0.0, 0.1).float())
            del gradient
            here = threat.each_pixel(partial(_mixed, mix), turn.start, here, to_plane, from_film)
            del to_plane, from_film
        turn.logits(here)


def _back(beyond: Tensor, film: Tensor, here: Tensor) -> Tensor:
    return torch.where(beyond, film + 0.9 * (here - film), here)


def _mixed(mix: Tensor, film: Tensor, here: Tensor, to_plane: Tensor, from_film: Tensor) -> Tensor:
    return ((here + 1.05 * to_plane) * (1.0 - mix) + (film + 1.05 * from_film) * mix).clamp_(0.0, 1.0)


@register
class DeepFool(Attack):
    """Steps to the nearest linearised boundary until flipped (Moosavi-Dezfooli et al. 2016, arXiv:1511.04599).

    One backward pass per wrong class and step; the boundary of the box [0, 1] is respected.

    Args:
        steps: at most so many steps.
        overshoot: relative length added to each step.
        targets: wrong classes considered, the likeliest first; None: all.
    """

    name = "deepfool"
    compared = False
    budgeted = False
    version = 3

    def __init__(self, *, steps: int = 20, overshoot: float = 0.02, targets: int | None = None) -> None:
        if steps < 1 or overshoot < 0 or (targets is not None and targets < 1):
            raise AttackError(f"deepfool: steps {steps}, overshoot {overshoot}, targets {targets} are not positive")
        self.steps, self.overshoot, self.targets = steps, overshoot, targets

    def run(self, turn: Turn) -> None:
        norm, books = turn.films.threat.norm, turn.films
        order = other_classes(turn.clean_logits, turn.labels)[:, : self.targets]
        here, before = turn.start, books.distance[turn.index].clone()
        for _ in range(self.steps):
            changes = []
            for rank in range(order.shape[1]):
                ahead, gradient, logits = turn.gradient(here, towards(order[:, rank]))
                changes.append(reach(here, gradient, -ahead, norm))
            sizes = torch.stack([books.threat.size(change) for change in changes], 1)
            pick = sizes.masked_fill(sizes == 0, torch.inf).argmin(1)
            change = torch.stack(changes, 1)[torch.arange(len(turn), device=pick.device), pick]
            ahead_now = (here + (1.0 + self.overshoot) * change).clamp(0.0, 1.0)
            keep = margin(logits, turn.labels) <= 0
            turn, order, here, before = turn[keep], order[keep], ahead_now[keep], before[keep]
            if len(turn) == 0:
                return
        turn.logits(here)


@register
class CarliniWagner(Attack):
    """C&W: minimises ||change||^2 + c max(0, z_y - max z_j) in tanh space, searching c (2017, arXiv:1608.04644).

    Measured in the threat's norm like every other attack, but made for L2. Slow: steps * searches passes per film.

    Args:
        steps: Adam steps per value of c.
        searches: values of c tried by bisection (in logarithm).
        rate: Adam's learning rate in tanh space.
    """

    name = "cw"
    compared = False
    budgeted = False
    norms = ("l2",)

    def __init__(self, *, steps: int = 100, searches: int = 5, rate: float = 0.01) -> None:
        if steps < 1 or searches < 1 or not rate > 0:
            raise AttackError(f"cw: steps {steps}, searches {searches}, rate {rate}; expected positive numbers")
        self.steps, self.searches, self.rate = steps, searches, rate

    def run(self, turn: Turn) -> None:
        low = torch.full((len(turn),), -6.0, device=turn.start.device)  # log10 of c in units of the clean spread
        high = torch.full_like(low, 4.0)
        for _ in range(self.searches):
            middle = (low + high) / 2.0
            flipped = self._minimise(turn, 10.0**middle)
            low, high = torch.where(flipped, low, middle), torch.where(flipped, middle, high)

    def _minimise(self, turn: Turn, weight: Tensor) -> Tensor:
        """Adam from the film; (b,) whether a flip was met."""
        spread = (turn.clean_logits.amax(1) - turn.clean_logits.amin(1)).clamp_min(1e-30)
        hidden = torch.atanh((2.0 * turn.start - 1.0) * 0.999999)
        mean, square = torch.zeros_like(hidden), torch.zeros_like(hidden)
        flipped = torch.zeros(len(turn), dtype=torch.bool, device=hidden.device)
        number = turn.start[0].numel()
        for step in range(1, self.steps + 1):
            here = (torch.tanh(hidden) + 1.0) / 2.0
            ahead, gradient, _ = turn.gradient(here, margin)
            flipped |= ahead > 0
            push = gradient * column(weight / spread * (ahead <= 0))
            slope = (2.0 * (here - turn.start) / number - push) * (1.0 - torch.tanh(hidden) ** 2) / 2.0
            mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
            hidden = hidden - self.rate * (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-12)
        return flipped
