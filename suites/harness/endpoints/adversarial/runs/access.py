"""What does an adversary get hold of? The network's input or the whole film, gradients or answers only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from robustness.attacks import AttackError, ThreatModel
from suites.harness.errors import NotEvaluable
from suites.harness.subjects.subject import Subject

INPUT, FILM = "linf/grey", "linf/film"
"""The two threat models of the claims: each grey pixel of the network's input, each pixel of the film as it came."""


def threat_of(subject: Subject, name: str) -> ThreatModel:
    """Return a threat model on a subject, by name: `linf/grey`, `l2/grey`, `linf/colour`, `linf/film`, `l2/film`.

    A subject without a network takes whole films in 8 bits, so any change of the input is one of the film there. Where
    a recipe resizes 8-bit films, an attack on the whole film moves it in whole grey levels and is judged on the
    recipe's own pixels; only its gradients come from the resize in floats.

    Raises:
        AttackError: no such threat model.
        NotEvaluable: colour, on a subject that takes one grey channel.
    """
    norm, _, space = name.partition("/")
    if norm not in ("linf", "l2") or space not in ("grey", "colour", "film"):
        raise AttackError(f"no threat model {name!r}; expected linf or l2, and grey, colour or film: {INPUT!r}")
    kind: Literal["linf", "l2"] = "linf" if norm == "linf" else "l2"
    recipe = subject.preprocessing
    if not subject.differentiable:
        return ThreatModel(kind, preprocess=_untouched, channels=1, eight_bit=True)
    if space == "film":
        return ThreatModel(
            kind,
            preprocess=lambda films: recipe.straight_through(films[:, 0]),
            channels=recipe.channels,
            eight_bit=recipe.eight_bit,
        )
    if space == "colour" and recipe.channels == 1:
        raise NotEvaluable(f"{subject.name} takes one grey channel: there is no colour to change")
    return ThreatModel(kind, tied=space == "grey", channels=recipe.channels)


def network_of(subject: Subject) -> nn.Module | Callable[[Tensor], Any]:
    """Return what answers: the network, or for a subject without one a function of (B, 1, H, W) films."""
    if subject.network is not None:
        return subject.network
    return lambda films: subject.reply([film[0] for film in films.cpu()])


def _untouched(films: Tensor) -> Tensor:
    return films


class FromOperatingPoints(nn.Module):
    """A network of several findings, some of its logits, each counted from its operating point."""

    index: Tensor
    offset: Tensor

    def __init__(self, network: nn.Module, findings: Mapping[int, float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("index", torch.tensor(list(findings), dtype=torch.long))
        self.register_buffer("offset", torch.tensor(list(findings.values()), dtype=torch.float32))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, F) logits for (B, C, S, S) pixels in [0, 1]; a finding is called above 0."""
        logits: Tensor = self.network(pixels)
        return logits[:, self.index] - self.offset
