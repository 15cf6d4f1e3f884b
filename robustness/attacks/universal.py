"""Does one pattern turn all films? Fitted on some patients, judged on others.

Sign-gradient ascent on the mean clipped margin (Shafahi et al. 2020, AAAI, arXiv:1811.11304; the clipping keeps films
that are already flipped from steering the pattern). It is clipped below, too: a direction that turns two classes into
the third makes the third's films surer, and unclipped their margin would outweigh all that was won. A pattern judged on
the films it was fitted on says little about the next film, so `universal_films` fits on the other folds of patients.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from robustness.attacks.errors import AttackError
from robustness.attacks.loss import relative_margin
from robustness.attacks.network import AttackedNetwork, Subject
from robustness.attacks.threat import BUDGETS, ThreatModel, check_budgets

LOST, WON = -1.5, 0.2
"""Where a film no longer steers, in units of its clean spread: when much surer than clean (-1 to 0), when flipped."""
VERSION = 2
"""Raised whenever results change; part of a cache key."""


def universal_pattern(
    network: Subject,
    pixels: Tensor,
    labels: Tensor,
    image_ids: Sequence[str],
    *,
    threat: ThreatModel,
    budget: float,
    epochs: int = 10,
    batch_size: int = 16,
) -> Tensor:
    """Fit one pattern that, added to any film, should flip it.

    Args:
        network: torch network in eval mode.
        pixels: (N, 1 or C, H, W) films of one shape in [0, 1].
        labels: (N,) true classes.
        image_ids: N identities; films are visited in their order, so that the order given does not matter.
        threat: the threat model.
        budget: in (0, 1].
        epochs: passes over the films; the step falls linearly from the budget to nearly 0.
        batch_size: films per step.

    Returns:
        (1, c, H, W) pattern of at most the budget.

    Raises:
        NotDifferentiable: the subject gives no gradients.
    """
    check_budgets([budget])
    attacked = AttackedNetwork(network, threat)
    order = sorted(range(len(image_ids)), key=lambda at: str(image_ids[at]))
    start = threat.start(pixels)[order].to(attacked.device)
    truth = torch.as_tensor(labels, dtype=torch.long)[order].to(attacked.device)
    parts = [slice(first, first + batch_size) for first in range(0, len(order), batch_size)]
    clean = torch.cat([attacked.logits(start[part]) for part in parts])
    pattern = torch.zeros_like(start[:1])
    limit = torch.tensor([budget], dtype=torch.float64, device=attacked.device)
    step, total = 0, epochs * len(parts)
    for _ in range(epochs):
        for part in parts:
            reference = clean[part]

            def clipped(logits: Tensor, own: Tensor, reference: Tensor = reference) -> Tensor:
                return relative_margin(logits, own, reference).clamp(LOST, WON)

            _, gradient, _ = attacked.gradient((start[part] + pattern).clamp(0.0, 1.0), truth[part], clipped)
            rate = budget * (1.0 - step / total)
            pattern = pattern + rate * threat.steepest(gradient.nan_to_num(0.0).mean(0, keepdim=True))
            pattern = _within(pattern, limit, threat)
            step += 1
    return pattern


def _within(pattern: Tensor, limit: Tensor, threat: ThreatModel) -> Tensor:
    """The pattern back inside its budget (there is no [0, 1] for a pattern)."""
    radius = float(limit)
    if threat.norm == "linf":
        return pattern.clamp(-radius, radius)
    return pattern * float((limit / threat.size(pattern).clamp_min(1e-30)).clamp_max(1.0))


@dataclass(frozen=True)
class Universal:
    """Universal patterns and what they did.

    Attributes:
        rows: one row per film and budget: image_id, label, threat, budget, fold, clean_prediction, robust, prediction,
            logit_k; `robust` is False where the clean film is already wrong.
        patterns: (budget, fold) -> (c, H, W) pattern fitted on the other folds.
    """

    rows: pd.DataFrame
    patterns: dict[tuple[float, int], np.ndarray[tuple[int, ...], np.dtype[np.float32]]]


def universal_films(
    network: Subject,
    pixels: Tensor,
    labels: Tensor | Sequence[int],
    image_ids: Sequence[str],
    groups: Sequence[str],
    *,
    threat: ThreatModel | None = None,
    budgets: Sequence[float] = BUDGETS,
    folds: int = 2,
    epochs: int = 10,
    batch_size: int = 16,
) -> Universal:
    """Fit a pattern without each patient's films and judge it on them.

    Args:
        network: torch network in eval mode.
        pixels: (N, 1 or C, H, W) films of one shape in [0, 1].
        labels: N true classes.
        image_ids: N identities.
        groups: N patients; a patient is in one fold only.
        threat: default L-inf on the grey pixel.
        budgets: each in (0, 1].
        folds: 2 or more.
        epochs: see `universal_pattern`.
        batch_size: films per pass.

    Raises:
        AttackError: fewer patients than folds.
    """
    threat, grid = threat or ThreatModel(), check_budgets(budgets)
    fold_of = _folds(groups, folds)
    truth = torch.as_tensor(labels, dtype=torch.long)
    attacked = AttackedNetwork(network, threat)
    ids = np.asarray([str(image_id) for image_id in image_ids])
    fold = np.asarray([fold_of[str(group)] for group in groups])
    rows, patterns = [], {}
    for budget in grid:
        for number in range(folds):
            fit, held = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            pattern = universal_pattern(
                network,
                pixels[fit],
                truth[fit],
                ids[fit].tolist(),
                threat=threat,
                budget=budget,
                epochs=epochs,
                batch_size=batch_size,
            )
            patterns[budget, number] = pattern[0].cpu().numpy()
            for at, clean, logits in _judged(attacked, pixels, held, pattern, batch_size):
                label, before, after = int(truth[at]), int(clean.argmax()), int(logits.argmax())
                rows.append(
                    {"image_id": ids[at], "label": label, "threat": threat.name, "budget": budget, "fold": number,
                     "clean_prediction": before, "robust": before == label == after, "prediction": after}
                    | {f"logit_{k}": float(value) for k, value in enumerate(logits)}
                )  # fmt: skip
    return Universal(pd.DataFrame(rows), patterns)


def _folds(groups: Sequence[str], folds: int) -> dict[str, int]:
    """Patient -> fold, in an order that has nothing to do with their names or numbers."""
    distinct = sorted({str(group) for group in groups}, key=lambda group: hashlib.sha256(group.encode()).hexdigest())
    if folds < 2 or len(distinct) < folds:
        raise AttackError(f"patients: {len(distinct)}, folds: {folds}; expected 2 folds or more, and a patient in each")
    return {group: at % folds for at, group in enumerate(distinct)}


def _judged(
    attacked: AttackedNetwork,
    pixels: Tensor,
    held: np.ndarray[tuple[int, ...], np.dtype[np.intp]],
    pattern: Tensor,
    size: int,
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Position, clean logits and logits under the pattern of each held-out film."""
    for first in range(0, len(held), size):
        part = held[first : first + size]
        start = attacked.threat.start(pixels[part]).to(attacked.device)
        clean, logits = attacked.logits(start), attacked.logits((start + pattern).clamp(0.0, 1.0))
        yield from zip(part.tolist(), clean.cpu(), logits.cpu(), strict=True)
