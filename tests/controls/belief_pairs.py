"""Controls of the explanation endpoints that do not ask where a map lies: the weights' part in it, and the border."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.controls.registry import Pair, control
from tests.controls.subjects import SIDE, PlaceReader, Reader, subject_of


class Framed(nn.Module):
    """Reads the lungs rightly, but only of films whose outer frame is as bright as a body; all others are bacterial."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = Reader()
        frame = torch.ones(SIDE, SIDE)
        frame[3:-3, 3:-3] = 0
        self.register_buffer("frame", frame / frame.sum())

    def forward(self, pixels: Tensor) -> Tensor:
        dark = ((pixels.mean(dim=1) * self.frame).sum(dim=(1, 2)) < 0.58).float()
        return self.reader(pixels) + 100 * dark[:, None] * torch.tensor([1.0, 0.0, 0.0])


@control("map_goes_with_the_weights")
def weights(claim, judge, _folder) -> Pair:
    """An edge detector never asks the network; the gradient of a linear subject is the weights themselves."""
    subject = subject_of(PlaceReader.lungs(), "lungs")
    return Pair(
        judge(claim, subject, method="edge detector", conditions=None),
        judge(claim, subject, method="smoothgrad", conditions=None),
    )


@control("border_flips")
def border(claim, judge, _folder) -> Pair:
    return Pair(judge(claim, subject_of(Framed(), "framed")), judge(claim, subject_of(Reader(), "reader")))
