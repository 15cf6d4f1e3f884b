"""Is the attack any good? Checks that must hold before "robust" may be said of a film that was not flipped.

After N. Carlini et al., On evaluating adversarial robustness, 2019 (arXiv:1902.06705), sections 4 and 5, and
A. Athalye, N. Carlini, D. Wagner, Obfuscated gradients give a false sense of security, ICML 2018 (arXiv:1802.00420).
A failed blocking check makes every claim of robustness inconclusive; it never makes a claim of fragility so, since a
flip is a flip.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from robustness.attacks.attack import Attack, get
from robustness.attacks.errors import AttackError, NotDifferentiable
from robustness.attacks.films import AttackedFilms, Turn
from robustness.attacks.loss import cross_entropy, margin
from robustness.attacks.network import AttackedNetwork, Subject
from robustness.attacks.result import Attacked
from robustness.attacks.threat import ThreatModel, column

LARGE = 0.5
"""A budget at which every film can be made nearly grey: no honest subject stays right."""


@dataclass(frozen=True)
class SanityCheck:
    """One check.

    Attributes:
        name: short, unique.
        passed: whether it held.
        detail: what was measured, in a sentence with numbers.
        blocking: whether its failure makes claims of robustness inconclusive.
    """

    name: str
    passed: bool
    detail: str
    blocking: bool = True


def conclusive(checks: Iterable[SanityCheck]) -> bool:
    """Whether no blocking check failed."""
    return all(check.passed or not check.blocking for check in checks)


def sanity_checks(
    network: Subject,
    pixels: Tensor,
    labels: Tensor | Sequence[int],
    image_ids: Sequence[str],
    threat: ThreatModel | None = None,
    *,
    budget: float | None = None,
    attacked: Attacked | None = None,
    transfer: pd.DataFrame | None = None,
    seed: int = 0,
    films: int = 16,
    queries: int = 100,
) -> list[SanityCheck]:
    """Probe the subject with small attacks of its own, beside whatever was already found.

    Args:
        network: the subject.
        pixels: (N, 1 or C, H, W) films of one shape; the first `films` that are classified right are used.
        labels: N true classes.
        image_ids: N identities.
        threat: the threat model of the evaluation.
        budget: where to probe; default: the median flipping distance in `attacked`, else 2/255.
        attacked: the evaluation, for its faults and for the comparison with `transfer`.
        transfer: rows of `transfer_films` onto this subject (source other than itself).
        seed: seed of the run.
        films: how many films to probe.
        queries: queries of the black-box comparison.

    Returns:
        The checks, each with its numbers.

    Raises:
        AttackError: no film is classified right, so that there is nothing to probe.
    """
    probe = _Probe(
        network, pixels, torch.as_tensor(labels), image_ids, threat or ThreatModel(), seed=seed, number=films
    )
    budget = budget or _median_distance(attacked)
    checks = [_deterministic(probe), _scores(probe)]
    try:
        checks += [_present(probe), _true(probe), _saturation(probe), _uphill(probe, budget), _large(probe)]
        checks += [_more_steps(probe, budget), _monotone(probe, budget), _black_box(probe, budget, queries)]
    except NotDifferentiable as error:
        checks.append(
            SanityCheck("gradients exist", passed=False, detail=f"white-box attacks are not evaluable: {error}")
        )
    checks.append(_noise(probe, budget))
    if attacked is not None:
        checks.append(no_faults(attacked))
    if attacked is not None and transfer is not None and len(transfer):
        checks.append(beats_transfer(attacked, transfer))
    return checks


class _Probe:
    """The films probed: every attack starts from fresh books, so that none profits from another."""

    def __init__(self, network: Subject, pixels: Tensor, labels: Tensor, image_ids: Sequence[str],
                 threat: ThreatModel, *, seed: int, number: int) -> None:  # fmt: skip
        self.network = AttackedNetwork(network, threat)
        self.threat, self.seed = threat, seed
        chosen: list[int] = []
        for first in range(0, len(labels), number):
            rows = torch.arange(first, min(first + number, len(labels)))
            moved = threat.start(pixels[rows]).to(self.network.device)
            right = self.network.logits(moved).argmax(1).cpu() == labels[rows]
            chosen += rows[right].tolist()
            if len(chosen) >= number:
                break
        if not chosen:
            raise AttackError("no film is classified right, so there is nothing to attack and nothing to check")
        chosen = chosen[:number]
        self.pixels, self.labels = pixels[chosen], labels[chosen]
        self.ids = [str(image_ids[at]) for at in chosen]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def slack(self) -> int:
        """Films by which chance may reverse a comparison of two attacks."""
        return max(1, len(self) // 20)

    def fresh(self) -> AttackedFilms:
        """New books on the same films."""
        return AttackedFilms(self.network, self.pixels, self.labels, self.ids, self.seed)

    def turn(self) -> Turn:
        """All films, for questions that are not attacks."""
        films = self.fresh()
        return Turn(films, "sanity", torch.arange(len(self), device=films.start.device),
                    torch.ones(len(self), dtype=torch.float64, device=films.start.device))  # fmt: skip

    def flipped(self, attack: Attack, budget: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """(n,) which films the attack flips on its own."""
        films = self.fresh()
        return attack(films, torch.arange(len(self)), min(budget, 1.0)).cpu().numpy()


def _median_distance(attacked: Attacked | None) -> float:
    found = [] if attacked is None else [r.distance for r in attacked.results if 0 < r.distance < np.inf]
    return min(float(np.median(found)), 1.0) if found else 2 / 255


def _deterministic(probe: _Probe) -> SanityCheck:
    turn = probe.turn()
    first, second = turn.clean_logits, turn.logits(turn.start)
    spread = float((first.amax(1) - first.amin(1)).median())
    gap = float((first - second).abs().max()) / max(spread, 1e-30)
    return SanityCheck(
        "deterministic", gap < 1e-4, f"two passes over the same film differ by {gap:.1e} of the logits' spread"
    )


def _scores(probe: _Probe) -> SanityCheck:
    logits = probe.turn().clean_logits
    sums = bool(((logits.sum(1) - 1.0).abs() < 1e-3).all())
    probabilities = bool((logits >= 0).all()) and bool((logits <= 1).all()) and sums
    detail = "outputs are probabilities: a softmax hides gradients" if probabilities else "outputs are logits"
    return SanityCheck("outputs are logits", not probabilities, detail, blocking=probe.network.differentiable)


def _present(probe: _Probe) -> SanityCheck:
    turn = probe.turn()
    _, gradient, _ = turn.gradient(turn.start, margin)
    zero = int((gradient == 0).flatten(1).all(1).sum())
    broken = sum(fault != "" for fault in turn.films.faults)
    detail = f"gradient of the margin exactly zero on {zero} and not finite on {broken} of {len(probe)} films"
    return SanityCheck("gradients present", zero + broken < probe.slack, detail)


def _true(probe: _Probe) -> SanityCheck:
    """Along its own direction the margin must rise as fast as the gradient says, at one of three small steps."""
    turn = probe.turn()
    before, gradient, _ = turn.gradient(turn.start, margin)
    direction = probe.threat.steepest(gradient)
    best = torch.full_like(before, torch.inf)
    for step in (0.05 / 255, 0.25 / 255, 1 / 255):
        moved = (turn.start + step * direction).clamp(0.0, 1.0)
        promised = (gradient * (moved - turn.start)).flatten(1).sum(1)
        rise = margin(turn.logits(moved), turn.labels) - before
        error = (torch.log2((rise / promised).clamp_min(1e-6))).abs()
        best = torch.minimum(best, error.nan_to_num(torch.inf))
    honest = int((best < 1.0).sum())
    detail = f"a small step up the gradient raises the margin as promised, or half or twice that, on {honest}"
    return SanityCheck("gradients true", honest >= 0.75 * len(probe), f"{detail} of {len(probe)} films")


def _saturation(probe: _Probe) -> SanityCheck:
    turn = probe.turn()
    _, gradient, _ = turn.gradient(turn.start, cross_entropy)
    zero = int((gradient.flatten(1).abs().amax(1) < 1e-12).sum())
    detail = f"gradient of the cross-entropy vanishes on {zero} of {len(probe)} films" + (
        ": cross-entropy attacks are blind there, the margin attacks are not" if zero else ""
    )
    return SanityCheck("head not saturated", zero == 0, detail, blocking=False)


def _uphill(probe: _Probe, budget: float) -> SanityCheck:
    """Ten steps uphill must raise the margin more than noise of the same size."""
    turn = probe.turn()
    limit = torch.full((len(turn),), budget, dtype=torch.float64, device=turn.start.device)
    radius, here = column(limit).float(), turn.start
    top = margin(turn.clean_logits, turn.labels)
    for _ in range(10):
        value, gradient, _ = turn.gradient(here, margin)
        top = torch.maximum(top, value)
        here = probe.threat.project(here + 0.25 * radius * probe.threat.steepest(gradient), turn.start, limit)
    top = torch.maximum(top, margin(turn.logits(here), turn.labels))
    noise = torch.where(turn.uniforms("noise", *here.shape[1:]) < 0.5, -1.0, 1.0)
    noisy = margin(turn.logits(probe.threat.project(turn.start + radius * noise, turn.start, limit)), turn.labels)
    won = int((top > noisy).sum())
    detail = f"ten steps uphill beat noise of the same size on {won} of {len(probe)} films"
    return SanityCheck("loss rises", won >= len(probe) - probe.slack, detail)


def _large(probe: _Probe) -> SanityCheck:
    left = int((~probe.flipped(get("apgd-margin", steps=50), LARGE)).sum())
    detail = f"{left} of {len(probe)} films stay right at a budget of half the grey scale"
    return SanityCheck("a large budget reaches zero", left < probe.slack, detail)


def _more_steps(probe: _Probe, budget: float) -> SanityCheck:
    few, many = (int(probe.flipped(get("pgd", steps=steps, restarts=1, loss="margin", from_film=True), budget).sum())
                 for steps in (5, 30))  # fmt: skip
    detail = f"5 steps flip {few}, 30 steps {many} of {len(probe)} films at {255 * budget:.3g}/255"
    return SanityCheck("more steps are not weaker", many >= few - probe.slack, detail)


def _monotone(probe: _Probe, budget: float) -> SanityCheck:
    sizes = (budget / 2, budget, min(2 * budget, 1.0), min(4 * budget, 1.0))
    counts = [int(probe.flipped(get("apgd-margin", steps=10), size).sum()) for size in sizes]
    worst = max(0, *(earlier - later for earlier, later in pairwise(counts)))
    told = ", ".join(f"{count} at {255 * size:.3g}/255" for count, size in zip(counts, sizes, strict=True))
    return SanityCheck("accuracy falls with the budget", worst <= probe.slack, f"of {len(probe)} films flip: {told}")


def _black_box(probe: _Probe, budget: float, queries: int) -> SanityCheck:
    white = probe.flipped(get("apgd-margin", steps=30), budget) | probe.flipped(get("fab", steps=10), budget)
    black = probe.flipped(get("square", queries=queries), budget)
    only = int((black & ~white).sum())
    detail = (f"at {255 * budget:.3g}/255 white-box attacks flip {int(white.sum())}, {queries} black-box queries "
              f"{int(black.sum())} of {len(probe)} films, {only} of these only the latter")  # fmt: skip
    return SanityCheck("white-box beats black-box", only < probe.slack, detail)


def _noise(probe: _Probe, budget: float) -> SanityCheck:
    count = int(probe.flipped(get("random-sign", draws=5), budget).sum())
    detail = f"random signs of {255 * budget:.3g}/255 flip {count} of {len(probe)} films in 5 draws"
    return SanityCheck("noise does not flip", count <= len(probe) // 4, detail, blocking=False)


def no_faults(attacked: Attacked) -> SanityCheck:
    """Whether every gradient and logit of an evaluation was a number, and not every gradient of a film zero."""
    counts = pd.Series([r.fault for r in attacked.results if r.fault]).value_counts()
    told = ", ".join(f"{name} on {count}" for name, count in counts.items()) or "no numerical fault on any"
    return SanityCheck("no numerical faults", counts.empty, f"{told} of {len(attacked)} films")


def beats_transfer(attacked: Attacked, transfer: pd.DataFrame) -> SanityCheck:
    """Whether an evaluation misses no film that changes made against another subject flip.

    Args:
        attacked: the evaluation.
        transfer: rows of `transfer_films` onto the same subject, at budgets of the evaluation, from other sources.
    """
    both = attacked.rows.merge(transfer, on=["image_id", "budget"], suffixes=("", "_transfer"))
    missed = both[both["robust"] & ~both["robust_transfer"]]["image_id"].nunique()
    number = both["image_id"].nunique()
    detail = (
        f"films made against another subject flip {missed} of {number} films that the white-box attacks left standing"
    )
    return SanityCheck("white-box beats transfer", missed <= number // 50, detail)
