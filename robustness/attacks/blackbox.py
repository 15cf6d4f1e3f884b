"""What finds a flip from scores alone? The Square attack, which also runs on a service or an ONNX graph."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustness.attacks.attack import Attack, register
from robustness.attacks.errors import AttackError
from robustness.attacks.films import Turn
from robustness.attacks.loss import margin
from robustness.attacks.threat import column

STAGES = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries (of 10 000) after which the share of the image that a square covers is halved."""


@register
class Square(Attack):
    """Random search with squares (Andriushchenko, Croce, Flammarion, Hein 2020, ECCV, arXiv:1912.00049).

    A proposal that raises the margin is kept. Every film has its own random squares, fixed by its identity.

    Args:
        queries: forward passes per film at most; the schedule of square sizes is stretched to them.
        share: share of the image the first squares cover.
        known: so many for a film that a larger change is known to flip. The search is there for films whose gradients
            lead nowhere; where they led to a flip, it only confirms. None: as for every film.
    """

    name = "square"
    white_box = False

    def __init__(self, *, queries: int = 1000, share: float = 0.8, known: int | None = None) -> None:
        if queries < 2 or not 0 < share <= 1 or (known is not None and not 2 <= known <= queries):
            raise AttackError(
                f"square: queries {queries}, share {share}, known {known}; expected 2 or more, a share in (0, 1], and "
                "no more queries where a flip is known"
            )
        self.queries, self.share, self.known = queries, share, known

    def run(self, turn: Turn) -> None:
        if self.known is None:
            self._search(turn, self.queries)
            return
        # Settled before the first query: a flip found on the way must not change how the others are searched.
        known = turn.films.distance[turn.index].isfinite()
        for some, queries in ((known, self.known), (~known, self.queries)):
            if bool(some.any()):
                self._search(turn[some], queries)

    def _search(self, turn: Turn, queries: int) -> None:
        channels, height, width = turn.start.shape[1:]
        propose = _patch if turn.films.threat.norm == "linf" else _bump
        numbers = turn.uniforms("squares", queries, 5 + channels)
        best = _stripes(turn) if turn.films.threat.norm == "linf" else _tiles(turn)
        score = margin(turn.logits(best), turn.labels)
        for query in range(1, queries):
            keep = turn.open
            if not bool(keep.all()):
                turn, best, score, numbers = turn[keep], best[keep], score[keep], numbers[keep]
            if len(turn) == 0:
                return
            side = self._side(query / queries, height, width)
            ahead = turn.project(propose(turn, best, numbers[:, query], side))
            found = margin(turn.logits(ahead), turn.labels)
            higher = found > score
            best = torch.where(column(higher), ahead, best)
            score = torch.where(higher, found, score)

    def _side(self, done: float, height: int, width: int) -> int:
        """Side of the squares in pixels when this share of the queries is spent."""
        share = self.share / 2.0 ** sum(done * 10_000 > stage for stage in STAGES)
        return min(max(round(math.sqrt(share * height * width)), 1), height, width)


def _signs(numbers: Tensor) -> Tensor:
    return torch.where(numbers < 0.5, -1.0, 1.0)


def _stripes(turn: Turn) -> Tensor:
    """Vertical stripes of plus or minus the budget."""
    channels, _, width = turn.start.shape[1:]
    return turn.project(turn.start + turn.radius * _signs(turn.uniforms("stripes", channels, 1, width)))


def _patch(turn: Turn, best: Tensor, numbers: Tensor, side: int) -> Tensor:
    """One square set to plus or minus the budget in each film (L-inf)."""
    height, width = best.shape[2:]
    top = (numbers[:, 0] * (height - side + 1)).long().view(-1, 1, 1, 1)
    left = (numbers[:, 1] * (width - side + 1)).long().view(-1, 1, 1, 1)
    rows = torch.arange(height, device=best.device).view(1, 1, -1, 1)
    columns = torch.arange(width, device=best.device).view(1, 1, 1, -1)
    inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return torch.where(inside, turn.start + turn.radius * _signs(numbers[:, 5:])[:, :, None, None], best)


def _pyramid(side: int, device: torch.device) -> Tensor:
    """Two opposite bumps, (side, side) of unit Euclidean norm: the pattern of the L2 attack."""
    pattern = torch.zeros(side, side, device=device)
    for first, last, sign in ((0, side // 2, 1.0), (side // 2, side, -1.0)):
        rows = (torch.arange(first, last, device=device) - (first + last - 1) / 2.0).abs().view(-1, 1)
        columns = (torch.arange(side, device=device) - (side - 1) / 2.0).abs().view(1, -1)
        pattern[first:last] = sign / (1.0 + torch.maximum(rows, columns)) ** 2
    length: Tensor = torch.linalg.vector_norm(pattern)
    return pattern / length


def _tiles(turn: Turn) -> Tensor:
    """A 5 x 5 tiling of bumps of random sign, on the surface of the ball (L2)."""
    channels, height, width = turn.start.shape[1:]
    side = max(min(height, width) // 5, 2)
    change = torch.zeros_like(turn.start)
    signs = _signs(turn.uniforms("tiles", channels, height // side, width // side))
    bump = _pyramid(side, change.device)
    for row in range(height // side):
        for number in range(width // side):
            where = (..., slice(row * side, (row + 1) * side), slice(number * side, (number + 1) * side))
            change[where] = signs[:, :, row, number, None, None] * bump
    return turn.project(turn.start + turn.radius * turn.films.threat.steepest(change))


def _bump(turn: Turn, best: Tensor, numbers: Tensor, side: int) -> Tensor:
    """Empty one window, put its energy and what is left of the budget as a bump into another (L2)."""
    change = best - turn.start
    channels, height, width = change.shape[1:]
    side = min(max(side, 3), height, width)
    bump = _pyramid(side, change.device)
    whole = (turn.radius.flatten().double() * math.sqrt(channels * height * width)) ** 2
    for film in range(len(turn)):
        own, draw = change[film], numbers[film].tolist()
        tops = [int(number * (height - side + 1)) for number in (draw[0], draw[2])]
        lefts = [int(number * (width - side + 1)) for number in (draw[1], draw[3])]
        new, old = ((slice(None), slice(top, top + side), slice(left, left + side))
                    for top, left in zip(tops, lefts, strict=True))  # fmt: skip
        kept = own[new].clone()
        used = float((own.double() ** 2).sum())
        both = torch.zeros_like(own, dtype=torch.bool)
        both[new] = both[old] = True
        energy = float((own[both].double() ** 2).sum()) + max(float(whole[film]) - used, 0.0)
        fresh = _signs(numbers[film, 5:])[:, None, None] * (bump if draw[4] < 0.5 else bump.T)
        fresh = fresh + kept / kept.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1)
        own[old] = 0.0
        own[new] = fresh / fresh.norm().clamp_min(1e-12) * math.sqrt(energy)
    return turn.start + turn.radius * turn.films.threat.steepest(change)
