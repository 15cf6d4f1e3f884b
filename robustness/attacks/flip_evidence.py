"""What proves a flip? The smallest change along its line, and images that can be stored and replayed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from robustness.attacks.films import LINE_SEARCH, AttackedFilms, Turn
from robustness.attacks.loss import margin
from robustness.attacks.threat import column, requantise

CLOSE = 0.005
"""The line search ends when the flip is known to this share of its size."""


def shrink(films: AttackedFilms, index: Tensor, evaluations: int = 4) -> None:
    """Scale each found change down to where the film just flips; the books keep the smallest.

    False position on the margin (exact for a linear subject after one pass), alternating with bisection.

    Args:
        films: the batch with its books.
        index: (b,) positions of films; those without a flip are left alone.
        evaluations: forward passes per film at most.
    """
    found = (films.distance[index] > 0) & films.distance[index].isfinite()
    everything = torch.ones(int(found.sum()), dtype=torch.float64, device=index.device)
    turn = Turn(films, LINE_SEARCH, index[found], everything)
    if len(turn) == 0:
        return
    change = films.adversarial[turn.index] - turn.start
    low, high = torch.zeros(len(turn), device=change.device), torch.ones(len(turn), device=change.device)
    low_margin, high_margin = margin(turn.clean_logits, turn.labels), margin(films.logits[turn.index], turn.labels)
    for number in range(evaluations):
        share = low_margin / (low_margin - high_margin).clamp(max=-1e-30)
        if number % 2:
            share = torch.full_like(share, 0.5)
        # A touch beyond the predicted crossing, so that a good prediction ends on the flipped side.
        middle = low + (high - low) * (share + 0.002).clamp(0.02, 0.98)
        point = films.threat.each_pixel(partial(_along, column(middle)), turn.start, change)
        ahead = margin(turn.logits(point), turn.labels)
        del point
        wrong = ahead > 0
        low, high = torch.where(wrong, low, middle), torch.where(wrong, middle, high)
        low_margin, high_margin = torch.where(wrong, low_margin, ahead), torch.where(wrong, ahead, high_margin)
        keep = (high - low) > CLOSE * high
        if bool(keep.all()):
            continue
        turn, change, low, high = turn[keep], change[keep], low[keep], high[keep]
        low_margin, high_margin = low_margin[keep], high_margin[keep]
        if len(turn) == 0:
            return


def _along(share: Tensor, film: Tensor, change: Tensor) -> Tensor:
    return film + share * change


@dataclass(frozen=True)
class Witness:
    """What a budget does to the films that fall within it.

    Attributes:
        logits: (B, K) at the found change extended to the whole budget where that is still wrong, else at the smallest
            change; not a number for films without a flip inside the budget.
        stored: (B, c, H, W) uint8 images.
        stored_logits: (B, K) at the stored images.
        stored_flips: (B,) bool: the stored image lies inside the budget, measured again, and is classified wrong.
    """

    logits: Tensor
    stored: Tensor
    stored_logits: Tensor
    stored_flips: Tensor


def witness(films: AttackedFilms, budget: float) -> Witness:
    """Extend each flip to the whole budget, store it in 8 bits, and ask the subject about both: two passes per film."""
    logits = torch.full_like(films.clean_logits, torch.nan)
    stored = films.threat.each_pixel(
        lambda film: (film * 255.0).round_().to(torch.uint8), films.start, dtype=torch.uint8
    )
    stored_logits, stored_flips = logits.clone(), torch.zeros_like(films.labels, dtype=torch.bool)
    wrong = films.distance == 0
    logits[wrong] = films.clean_logits[wrong]
    fallen = ((films.distance > 0) & (films.distance <= budget)).nonzero().flatten()
    if len(fallen):
        turn = Turn(
            films, "evidence", fallen, torch.full((len(fallen),), budget, dtype=torch.float64, device=fallen.device)
        )
        found = films.adversarial if turn.start is films.start else films.adversarial[fallen]
        scale = column(turn.budget / films.distance[fallen]).float()
        extended = films.threat.each_pixel(
            lambda film, there: films.threat.project(film + (there - film) * scale, film, turn.budget),
            turn.start, found,
        )  # fmt: skip
        smallest = films.logits[fallen].clone()
        there = turn.logits(extended)
        still = there.argmax(1) != turn.labels
        logits[fallen] = torch.where(still[:, None], there, smallest)
        moved = films.threat.each_pixel(
            lambda film, there, further: torch.where(column(still), further, film + (there - film)),
            turn.start, found, extended,
        )  # fmt: skip
        del extended
        images, inside = requantise(moved, turn.start, turn.budget, films.threat)
        answers = films.as_classes(films.network.logits(images.float() / 255.0), fallen)
        films.count("evidence", fallen, forward=1)
        stored[fallen], stored_logits[fallen] = images, answers
        stored_flips[fallen] = inside & (answers.argmax(1) != turn.labels) & answers.isfinite().all(1)
    return Witness(logits, stored, stored_logits, stored_flips)
