"""How is robust accuracy evaluated? One run over a batch of films gives the whole curve.

A film that flips at one budget flips at every larger one, and any flip can be scaled down along its line. So each film
is attacked at its *decisive* budget only, the largest one of the grid below its smallest known flip:

1. attacks that seek the smallest change give a first flip;
2. the protocol's attacks run, in order, at the decisive budget; a flip is scaled down, which makes a smaller budget
   decisive, and the film goes back to the first attack;
3. a film that withstands all attacks at its decisive budget is done (or, in independent protocols, moves on to the next
   smaller budget). So is a film flipped at the smallest budget.

Films classified wrong are never attacked. The films of one call differ in budget, attack and fate, and share only
their passes through the network.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from robustness.attacks.attack import Attack
from robustness.attacks.errors import AttackError, BudgetError, NotDifferentiable
from robustness.attacks.films import AttackedFilms
from robustness.attacks.flip_evidence import shrink, witness
from robustness.attacks.network import AttackedNetwork, Subject
from robustness.attacks.protocols import Protocol, protocol_of
from robustness.attacks.result import AtBudget, Attacked, AttackResult, gather
from robustness.attacks.threat import BUDGETS, ROUNDING, ThreatModel, check_budgets

MOST = 32 * 1024**2
"""Bytes of the films of a batch, unless one alone has more: an attack works on some fifteen images of each."""


def attack_films(
    network: Subject,
    pixels: Tensor | Sequence[Tensor],
    labels: Sequence[int] | Tensor,
    image_ids: Sequence[str],
    threat: ThreatModel | None = None,
    *,
    budgets: Sequence[float] = BUDGETS,
    profile: str | Protocol = "standard",
    seed: int = 0,
    batch_size: int = 16,
    examples: bool = True,
) -> Attacked:
    """Attack all films; see `attack_each` for the arguments.

    Returns:
        Records per film, with the frames `rows` (one row per film and budget) and `films` (smallest distances).
    """
    return gather(
        attack_each(
            network,
            pixels,
            labels,
            image_ids,
            threat,
            budgets=budgets,
            profile=profile,
            seed=seed,
            batch_size=batch_size,
            examples=examples,
        )
    )


def attack_each(
    network: Subject,
    pixels: Tensor | Sequence[Tensor],
    labels: Sequence[int] | Tensor,
    image_ids: Sequence[str],
    threat: ThreatModel | None = None,
    *,
    budgets: Sequence[float] = BUDGETS,
    profile: str | Protocol = "standard",
    seed: int = 0,
    batch_size: int = 16,
    done: Collection[str] = (),
    examples: bool = True,
    watch: Callable[[int], None] | None = None,
    sides: Tensor | None = None,
) -> Iterator[AttackResult]:
    """Attack films batch by batch and yield one record per film, so that a caller can store each and resume.

    Random numbers belong to the film, so that results do not depend on order or batch, except that a network's own
    floating point does (about 1e-6 in the logits). To resume bit for bit, give the same films in the same order and the
    stored ids as `done`: batches are cut in the same places, and a batch is left out only when all of it is done.

    Args:
        network: torch network in eval mode, (B, C, S, S) in [0, 1] -> (B, K) logits or (B, 1) one logit, normalisation
            inside; or a plain function of the same shape (service, ONNX), on which only black-box attacks run.
        pixels: (N, 1 or C, H, W) in [0, 1], or a sequence of N films (1 or C, H, W) of any shapes.
        labels: N true classes.
        image_ids: N distinct identities.
        threat: default: L-inf on the grey pixel of the network's input.
        budgets: fractions of the grey scale, in (0, 1].
        profile: a protocol or its name: "brief", "quick", "standard", "thorough", "black-box", "noise", "blank".
        seed: seed of the run.
        batch_size: films per batch; fewer where they are large (`MOST`).
        done: ids whose records the caller already has.
        examples: keep film, adversarial film and stored 8-bit image in the record.
        watch: told of the batch at work, whenever some passes were made, how many, forward and backward, film by film.
        sides: (N, F) where the network answers F findings, of which an adversary may turn any: see
            `loss.any_side_left`. The labels are then 0.

    Returns:
        One `AttackResult` per film, in order (films of a partly done batch come again, with the same values).

    Raises:
        BudgetError: a budget outside (0, 1].
        AttackError: films, labels or ids do not fit together, or pixels are not in [0, 1].
    """
    threat, plan, grid = threat or ThreatModel(), protocol_of(profile), check_budgets(budgets)
    if threat.eight_bit and threat.norm == "linf" and grid[0] < 1 / 255:
        raise BudgetError(f"budget {grid[0] * 255:g}/255 moves no pixel of an 8-bit image: the least is 1/255")
    ids = [str(image_id) for image_id in image_ids]
    targets = torch.as_tensor(labels, dtype=torch.long)
    if not len(pixels) == len(targets) == len(ids):
        raise AttackError(f"{len(pixels)} films, {len(targets)} labels, {len(ids)} image ids: the numbers differ")
    if len(set(ids)) < len(ids):
        twice = next(image_id for number, image_id in enumerate(ids) if image_id in ids[:number])
        raise AttackError(f"image id {twice!r} occurs twice; random numbers and caches go by the id")
    if batch_size < 1:
        raise AttackError(f"batch_size is {batch_size}; expected 1 or more")
    attacked, finished = AttackedNetwork(network, threat), frozenset(done)

    def records() -> Iterator[AttackResult]:
        for batch, moved in _batches(pixels, len(ids), batch_size):
            if all(ids[at] in finished for at in batch):
                continue
            mine = None if sides is None else sides[batch]
            films = AttackedFilms(
                attacked, torch.stack(moved), targets[batch], [ids[at] for at in batch], seed, sides=mine
            )
            moved.clear()
            films.watch = watch
            barred = _run(films, grid, plan)
            yield from _records(films, grid, plan, barred, examples=examples)
            del films, mine  # before the next are there

    return records()  # a generator of its own, so that wrong input is refused at the call and not at the first film


def _batches(
    pixels: Tensor | Sequence[Tensor], number: int, batch_size: int
) -> Iterator[tuple[list[int], list[Tensor]]]:
    """Neighbouring films of one shape, at most `batch_size` of them and `MOST` bytes, with their positions."""
    batch: list[int] = []
    moved: list[Tensor] = []
    for at in range(number):
        film = pixels[at]
        full = len(batch) == batch_size or (len(batch) + 1) * film.nbytes > MOST
        if batch and (full or film.shape != moved[0].shape):
            yield batch, moved
            batch, moved = [], []
        batch.append(at)
        moved.append(film)
        del film
    if batch:
        yield batch, moved


def _run(films: AttackedFilms, grid: tuple[float, ...], plan: Protocol) -> tuple[str, ...]:
    """Attack the batch; returns the names of attacks the subject does not allow."""
    barred: list[str] = []
    device = films.start.device
    fresh = (films.distance > 0).nonzero().flatten()
    for attack in plan.attacks:
        if not attack.budgeted and _allowed(attack, films, fresh, torch.full((len(fresh),), grid[-1]), barred):
            shrink(films, fresh)
    stages = [attack for attack in plan.attacks if attack.budgeted]
    limit = [len(grid)] * len(films.ids)  # budgets from here on are settled
    stage = [0] * len(films.ids)
    while True:
        decisive = [_decisive(films, film, grid, limit[film]) for film in range(len(films.ids))]
        pending = [film for film, at in enumerate(decisive) if at >= 0 and stage[film] < len(stages)]
        if not pending:
            break
        lowest = min(stage[film] for film in pending)
        chosen = [film for film in pending if stage[film] == lowest]
        index = torch.tensor(chosen, device=device)
        budget = torch.tensor([grid[decisive[film]] for film in chosen], dtype=torch.float64)
        before = films.distance[index].clone()
        if _allowed(stages[lowest], films, index, budget, barred):
            shrink(films, index[films.distance[index] < before])
        fallen = (films.distance[index] <= budget.to(device) + ROUNDING).tolist()
        for film, flipped in zip(chosen, fallen, strict=True):
            if flipped:
                stage[film] = 0
            elif lowest + 1 == len(stages) and plan.independent:
                stage[film], limit[film] = 0, decisive[film]
            else:
                stage[film] = lowest + 1
    shrink(films, (films.distance > 0).nonzero().flatten())
    return tuple(barred)


def _decisive(films: AttackedFilms, film: int, grid: tuple[float, ...], limit: int) -> int:
    """Position of the largest unsettled budget below the film's smallest flip; -1 where none is left."""
    distance = float(films.distance[film])
    return max((at for at in range(limit) if grid[at] + ROUNDING < distance), default=-1)


def _allowed(attack: Attack, films: AttackedFilms, index: Tensor, budget: Tensor, barred: list[str]) -> bool:
    """Run an attack; note it where the subject gives no gradients."""
    try:
        attack(films, index, budget)
    except NotDifferentiable:
        if attack.name not in barred:
            barred.append(attack.name)
        return False
    return True


def _records(
    films: AttackedFilms, grid: tuple[float, ...], plan: Protocol, barred: tuple[str, ...], *, examples: bool
) -> Iterator[AttackResult]:
    """The batch's books as records."""
    witnesses = [witness(films, budget) for budget in grid]
    for film, image_id in enumerate(films.ids):
        label, distance = int(films.labels[film]), float(films.distance[film])
        clean_wrong = distance == 0
        at, first = [], None
        for budget, seen in zip(grid, witnesses, strict=True):
            robust = distance > budget + ROUNDING
            if first is None and bool(seen.stored_flips[film]):
                first = seen
            logits = seen.logits[film]
            prediction = label if robust else int(logits.argmax())
            at.append(AtBudget(budget, robust, first is None and not clean_wrong, prediction, _numbers(logits)))
        asked, zero = films.gradients[film].tolist()
        passes = {
            name: (int(book[film, 0]), int(book[film, 1])) for name, book in films.passes.items() if book[film].any()
        }
        stored = None if first is None else first.stored[film]
        size = torch.inf if stored is None else _size(films, film, stored)
        keep = examples and distance < torch.inf
        yield AttackResult(
            image_id=image_id,
            label=label,
            threat=films.threat.name,
            profile=plan.name,
            seed=films.seed,
            clean_prediction=int(films.clean_logits[film].argmax()),
            clean_logits=_numbers(films.clean_logits[film]),
            distance=distance,
            attack=films.found_by[film],
            prediction=int(films.logits[film].argmax()),
            logits=_numbers(films.logits[film]),
            forward=sum(forward for forward, _ in passes.values()),
            backward=sum(backward for _, backward in passes.values()),
            passes=passes,
            fault=films.faults[film] or ("zero gradient" if asked and asked == zero else ""),
            not_evaluable=barred,
            at=tuple(at),
            film=_array(films.start[film]) if examples else None,
            adversarial=_array(films.adversarial[film]) if keep else None,
            stored=stored.cpu().numpy().astype(np.uint8) if stored is not None and examples else None,
            stored_distance=size,
            stored_logits=() if first is None else _numbers(first.stored_logits[film]),
        )


def _size(films: AttackedFilms, film: int, stored: Tensor) -> float:
    return float(films.threat.size(stored[None].float() / 255.0 - films.start[film : film + 1])[0])


def _numbers(row: Tensor) -> tuple[float, ...]:
    return tuple(float(value) for value in row.tolist())


def _array(image: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return image.detach().cpu().numpy().astype(np.float32)
