"""How is one of several findings judged? As a subject of two classes, whose network is that of all findings.

Its logits are (logit(threshold), z): the second is the subject's own, and the larger where the finding's probability
exceeds its published operating point, so calls, attacks and saliency need to know nothing of thresholds. A confidence
then counts from the operating point, where it is one half; where that is .5 it is the subject's own probability.
Whether the probability itself is right is asked of (0, z), see `Answers.stated`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from suites.harness.subjects.heads import log_odds, operating_point
from suites.harness.subjects.subject import Normalised, Subject

ABSENT = "no "
"""Begins the name of the class of films without the finding."""


class NormalisedFindings(Normalised):
    """A backbone with its normalisation inside whose (B, F) logits stay as they are, also where F is one."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, F) logits for (B, C, S, S) pixels in [0, 1]."""
        logits: Tensor = self.backbone((pixels - self.mean) / self.std)
        return logits


class OneFinding(nn.Module):
    """A network of several findings as one of two classes: (offset, z) for one of its logits z."""

    def __init__(self, network: nn.Module, index: int, offset: float) -> None:
        super().__init__()
        self.network, self.index, self.offset = network, index, offset

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, 2) logits for (B, C, S, S) pixels in [0, 1]."""
        return of_finding(self.network(pixels), self.index, self.offset)


def of_finding(logits: Tensor, index: int, offset: float) -> Tensor:
    """Return (B, 2) logits of one of the findings of (B, F) logits: its operating point's, and its own."""
    there = logits[:, index]
    return torch.stack([torch.full_like(there, offset), there], dim=1)


def own_finding(subject: Subject) -> tuple[int, float]:
    """Return which logit of its whole a subject of one finding is, and the log-odds of its operating point."""
    whole = subject.whole
    if whole is None:
        raise ValueError(f"{subject.name} is no subject of one finding")
    index = whole.classes.index(str(subject.answers))
    return index, log_odds(operating_point(whole.thresholds, index)[0])


def for_finding(subject: Subject, own: str, called: str = "") -> Subject:
    """Return the subject of two classes that answers one finding of a subject with sigmoid heads.

    Args:
        subject: with sigmoid heads.
        own: the finding, as the subject calls it.
        called: as the films call it, which names the classes; by default as the subject does.
    """
    index, called = subject.classes.index(own), called or own
    threshold, published = operating_point(subject.thresholds, index)
    offset, respond = log_odds(threshold), subject.respond
    told = f"{own}: called above a probability of {threshold:.4g}" + ("" if published else " (none is published)")
    return replace(
        subject,
        name=f"{subject.name}: {called}",
        classes=(f"{ABSENT}{called}", called),
        provenance=replace(subject.provenance, notes=(told, *subject.provenance.notes)),
        network=None if subject.network is None else OneFinding(subject.network, index, offset),
        respond=None if respond is None else _answering(respond, index, offset),
        heads="softmax",
        thresholds=None,
        whole=subject,
        answers=own,
    )


def _answering(
    respond: Callable[[Sequence[Tensor]], Tensor], index: int, offset: float
) -> Callable[[Sequence[Tensor]], Tensor]:
    def answer(films: Sequence[Tensor]) -> Tensor:
        return of_finding(respond(films), index, offset)

    return answer
