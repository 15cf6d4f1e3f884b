"""What does an attack climb? Functions of (B, K) logits and (B,) labels to (B,), larger = nearer to a wrong answer.

Cross-entropy is the field's default and lies on saturated heads: at logits times 100 its float32 gradient is exactly 0.
The margin has the same sign pattern of gradients at any scale of the logits and exists from two classes up, unlike the
difference-of-logits ratio of AutoAttack, whose denominator needs the third largest logit.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax(z)_y, (B,), >= 0."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Largest over j != y of z_j - z_y, (B,); positive exactly where the prediction is wrong. Valid from K = 2."""
    own = logits.gather(1, labels[:, None]).squeeze(1)
    others = logits.masked_fill(F.one_hot(labels, logits.shape[1]).bool(), -torch.inf)
    return others.amax(1) - own


def towards(target: Tensor) -> Loss:
    """Targeted margin z_t - z_y for one target class per film, (B,) integers; positive where t is preferred to y."""

    def targeted_margin(logits: Tensor, labels: Tensor) -> Tensor:
        picked = logits.gather(1, torch.stack([target, labels], 1))
        return picked[:, 0] - picked[:, 1]

    return targeted_margin


def relative_margin(logits: Tensor, labels: Tensor, reference: Tensor) -> Tensor:
    """The margin in units of the spread max z - min z of reference logits (the clean film's): free of the head's scale.

    Args:
        logits: (B, K).
        labels: (B,).
        reference: (B, K) logits whose spread is the unit.

    Returns:
        (B,); -1 to 0 for a clean film that is classified right, positive where wrong.
    """
    return margin(logits, labels) / (reference.amax(1) - reference.amin(1)).clamp_min(1e-30)


def other_classes(logits: Tensor, labels: Tensor) -> Tensor:
    """All wrong classes of each film, the likeliest first: (B, K - 1) integers."""
    own = F.one_hot(labels, logits.shape[1]).bool()
    return logits.masked_fill(own, -torch.inf).argsort(dim=1, descending=True, stable=True)[:, :-1]


def any_side_left(logits: Tensor, sides: Tensor) -> Tensor:
    """Findings that are each there or not, as classes: 0 where all are as they should be, f + 1 where f is not.

    Class 0 is preferred exactly where every finding lies on its side of 0, and the margin of class 0 is that of the
    finding nearest to leaving it, so every attack on classes is one on the set, untargeted or on one finding.

    Args:
        logits: (B, F), each counted from its operating point.
        sides: (B, F) 1 where a finding should lie above 0, -1 where below, 0 where it does not count.

    Returns:
        (B, F + 1); a finding that does not count lies below all that do, with no gradient. The only label is 0.
    """
    leaving = -sides * logits
    counts = sides != 0
    lowest = leaving.masked_fill(~counts, torch.inf).amin(1, keepdim=True).detach().clamp(max=0.0)
    return torch.cat([torch.zeros_like(lowest), torch.where(counts, leaving, lowest - 1.0)], 1)
