"""How does a bundled subject learn several findings at once? Each by a sigmoid of its own, from films of none to three.

As in `learning`, exact masks stand in for the pre-training on photographs: a map is asked for each finding, of its own
change on the film alone, so that what one film shows of two findings is told apart.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor

from robustness.phantom.several import SEVERAL
from suites.harness.subjects.bundled.cohorts import RESIZED, SIZE, Films
from suites.harness.subjects.bundled.learning import Taught, cut, descend, fitted_temperature, random_crops
from suites.harness.subjects.bundled.recipes import Recipe
from suites.harness.subjects.subject import Normalised


def learn_findings(network: Normalised, films: Films, recipe: Recipe) -> None:
    """Train all weights of a ConvNeXt-V2 by a recipe, in place.

    Args:
        network: with a logit for each of `SEVERAL`.
        films: with labels (N, F).
        recipe: seed, epochs, rate, smallest crop and weight of the maps.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    taught = Taught(network, SEVERAL).to(memory_format=torch.channels_last)

    def loss_of(index: Tensor) -> Tensor:
        theta = random_crops(len(index), recipe.smallest_crop, generator)
        logits, maps = taught(cut(films.pixels[index, 0][:, None].float() / 255, theta, SIZE))
        # The maps cover the centre crop, so a crop of the film is a wider crop of them.
        answer = cut(films.regions[index], theta * (RESIZED / SIZE), maps.shape[-1])
        where = F.binary_cross_entropy_with_logits(maps, answer)
        return F.binary_cross_entropy_with_logits(logits, films.labels[index]) + recipe.masks * where

    descend(taught, loss_of, len(films), recipe, generator)


def temperature_of(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature of least negative log-likelihood over all findings: (N, F) float64 logits, labels 0, 1."""
    pairs = torch.stack([torch.zeros_like(logits), logits], dim=2)
    return fitted_temperature(pairs.flatten(0, 1), labels.flatten().long())


def measured_findings(logits: Tensor, labels: Tensor) -> dict[str, Any]:
    """Return what (N, F) float64 logits are worth on clean films with labels 0, 1; calls are above one half."""
    truth, called = labels.bool(), logits > 0
    each = {
        name: {
            "films_with": int(truth[:, k].sum()),
            "auroc": round(float(roc_auc_score(truth[:, k].numpy(), logits[:, k].numpy())), 4),
            "sensitivity": round(float(called[truth[:, k], k].double().mean()), 4),
            "specificity": round(float((~called[~truth[:, k], k]).double().mean()), 4),
        }
        for k, name in enumerate(SEVERAL)
    }
    return {
        "films": len(labels),
        "findings": each,
        "macro_auroc": round(sum(one["auroc"] for one in each.values()) / len(each), 4),
        "negative_log_likelihood": round(float(F.binary_cross_entropy_with_logits(logits, labels.double())), 4),
        "temperature": round(temperature_of(logits, labels), 3),
    }
