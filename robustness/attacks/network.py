"""How does an adversary meet the subject? Points of the threat model in, (B, K >= 2) logits and gradients out.

A head with one sigmoid logit z becomes the two logits [0, z], so that every loss and attack works on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustness.attacks.errors import AttackError, NotDifferentiable
from robustness.attacks.loss import Loss
from robustness.attacks.threat import ThreatModel

Subject = nn.Module | Callable[[Tensor], Any]
"""A torch network, or any function from (B, C, S, S) pixels in [0, 1] to (B, K) scores (then: black-box only)."""


class AttackedNetwork(nn.Module):
    """A subject behind a threat model.

    Args:
        subject: network in eval mode with the normalisation inside, or a plain function (no gradients).
        threat: what the adversary moves.

    Raises:
        AttackError: the network is in training mode, where dropout and batch statistics change its answers.
    """

    def __init__(self, subject: Subject, threat: ThreatModel) -> None:
        super().__init__()
        if isinstance(subject, nn.Module) and any(module.training for module in subject.modules()):
            raise AttackError("the network is in training mode; call network.eval() before attacking it")
        self.subject = subject
        self.threat = threat
        self.differentiable = isinstance(subject, nn.Module)
        parameter = next(subject.parameters(), None) if isinstance(subject, nn.Module) else None
        self.device = parameter.device if parameter is not None else torch.device("cpu")
        self.eval()

    def forward(self, moved: Tensor) -> Tensor:
        """(B, c, H, W) points -> (B, K) logits, K >= 2, float32, with the graph where the subject has one.

        Raises:
            AttackError: the subject's output is not one row of numbers per image.
        """
        scores = self.subject(self.threat.pixels(moved))
        if not isinstance(scores, Tensor):
            scores = torch.from_numpy(np.asarray(scores))
        scores = scores.to(moved.device, torch.float32)
        if scores.ndim == 1:
            scores = scores[:, None]
        if scores.ndim != 2 or len(scores) != len(moved) or scores.shape[1] == 0:
            raise AttackError(
                f"the subject gave {tuple(scores.shape)} for {len(moved)} images; expected (batch, classes)"
            )
        if scores.shape[1] == 1:
            scores = torch.cat([torch.zeros_like(scores), scores], dim=1)
        return scores

    @torch.no_grad()
    def logits(self, moved: Tensor) -> Tensor:
        """(B, K) logits without a graph: one forward pass per film."""
        return self(moved)  # type: ignore[no-any-return]

    def gradient(self, moved: Tensor, labels: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, its gradient and the logits: one forward and one backward pass per film.

        Args:
            moved: (B, c, H, W) points.
            labels: (B,) true classes.
            loss: function of (logits, labels), (B,).

        Returns:
            (B,) loss, (B, c, H, W) gradient, (B, K) logits, all detached.

        Raises:
            NotDifferentiable: the subject is a plain function, or its output is cut from its input.
        """
        if not self.differentiable:
            raise NotDifferentiable("the subject is a plain function without gradients; use black-box attacks")
        moved = moved.detach().requires_grad_()
        with torch.enable_grad():
            logits = self(moved)
            values = loss(logits, labels)
            if not values.requires_grad:
                raise NotDifferentiable("the subject's output is cut from its input (detached, or computed elsewhere)")
            (gradient,) = torch.autograd.grad(values.sum(), moved, allow_unused=True)
        if gradient is None:
            raise NotDifferentiable("the subject's output does not depend on its input through torch operations")
        return values.detach(), gradient.detach(), logits.detach()
