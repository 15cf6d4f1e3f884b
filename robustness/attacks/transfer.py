"""Do films made against one subject turn the others?

Made at the whole budget by momentum ascent (Dong et al. 2018, arXiv:1710.06081) on the margin in units of the clean
spread, from the film, without stopping at the source's flip: what barely flips the source rarely flips another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from robustness.attacks.errors import AttackError
from robustness.attacks.loss import relative_margin
from robustness.attacks.network import AttackedNetwork, Subject
from robustness.attacks.threat import BUDGETS, ThreatModel, check_budgets, column


def craft(source: AttackedNetwork, start: Tensor, labels: Tensor, budget: float, steps: int = 10) -> Tensor:
    """Points of the whole budget that the source gets as wrong as it can: (B, c, H, W), `steps` passes per film.

    Raises:
        NotDifferentiable: the source gives no gradients.
    """
    threat = source.threat
    limit = torch.full((len(start),), budget, dtype=torch.float64, device=start.device)
    clean = source.logits(start)
    here, momentum = start, torch.zeros_like(start)
    for step in range(steps):
        _, gradient, _ = source.gradient(here, labels, lambda logits, own: relative_margin(logits, own, clean))
        gradient = gradient.nan_to_num_(0.0)
        momentum += gradient.div_(column(gradient.flatten(1).abs().mean(1)).clamp_min(1e-38))
        del gradient
        rate = 2.5 * budget / steps * (1.0 - 0.5 * step / steps)
        here = threat.each_pixel(partial(_onwards, threat=threat, rate=rate, limit=limit), start, here, momentum)
    return here


def _onwards(
    film: Tensor, here: Tensor, momentum: Tensor, *, threat: ThreatModel, rate: float, limit: Tensor
) -> Tensor:
    return threat.project(here + rate * threat.steepest(momentum), film, limit)


def transfer_films(
    networks: Mapping[str, Subject],
    pixels: Tensor,
    labels: Tensor | Sequence[int],
    image_ids: Sequence[str],
    threat: ThreatModel | None = None,
    *,
    budgets: Sequence[float] = BUDGETS,
    steps: int = 10,
    batch_size: int = 16,
) -> pd.DataFrame:
    """Attack every subject with films made against every other.

    A plain function (service, ONNX) has no gradients: it is a target only. Subjects with their own resize take part
    when the resize is inside their network.

    Args:
        networks: name -> subject; all take the same pixels and have the same classes.
        pixels: (N, 1 or C, H, W) in [0, 1].
        labels: N true classes.
        image_ids: N identities.
        threat: default L-inf on the grey pixel.
        budgets: each in (0, 1].
        steps: gradient steps.
        batch_size: films per pass.

    Returns:
        One row per source, target, film and budget: source, target, image_id, label, threat, budget, clean_prediction,
        robust (False where the target's clean answer is already wrong), prediction. `source` equal to `target` is
        the white-box case.
    """
    threat, grid = threat or ThreatModel(), check_budgets(budgets)
    attacked = {name: AttackedNetwork(network, threat) for name, network in networks.items()}
    truth = torch.as_tensor(labels, dtype=torch.long)
    if not len(pixels) == len(truth) == len(image_ids):
        raise AttackError(f"{len(pixels)} films, {len(truth)} labels, {len(image_ids)} image ids: the numbers differ")
    rows = []
    for first in range(0, len(truth), batch_size):
        part = slice(first, first + batch_size)
        start, own = threat.start(pixels[part]), truth[part]
        clean = {name: _classes(network, start) for name, network in attacked.items()}
        for source, network in attacked.items():
            if not network.differentiable:
                continue
            for budget in grid:
                made = craft(network, start.to(network.device), own.to(network.device), budget, steps)
                for target, other in attacked.items():
                    answers = zip(image_ids[part], own.tolist(), clean[target], _classes(other, made), strict=True)
                    rows += [
                        {"source": source, "target": target, "image_id": str(image_id), "label": label,
                         "threat": threat.name, "budget": budget, "clean_prediction": before,
                         "robust": before == label == after, "prediction": after}
                        for image_id, label, before, after in answers
                    ]  # fmt: skip
    return pd.DataFrame(rows)


def _classes(network: AttackedNetwork, moved: Tensor) -> list[int]:
    return [int(number) for number in network.logits(moved.to(network.device)).argmax(1).tolist()]
