"""Controls of claims under attack and of saliency: weaknesses of known size, and subjects that look at known places.

Saliency is SmoothGrad here: of a linear subject it is the weights themselves, so where it looks is known exactly. The
default, Grad-CAM, needs layers that these subjects do not have; the endpoints treat all methods alike.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from tests.controls.films import SIDE, cohort_of, marked
from tests.controls.registry import Pair, control
from tests.controls.subjects import Distracted, PlaceReader, Reader, subject_of

METHOD = "smoothgrad"


class Fragile(nn.Module):
    """Right on clean films, but adds a checkerboard detector that one grey level is enough to set off."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = Reader(sharpness=60)
        board = torch.ones(SIDE, SIDE)
        board[::2, ::2] = board[1::2, 1::2] = -1
        self.register_buffer("board", board)

    def forward(self, pixels: Tensor) -> Tensor:
        hidden = (pixels.mean(dim=1) * self.board).sum(dim=(1, 2))
        return self.reader(pixels) + hidden[:, None] * torch.tensor([3.0, 0.0, -3.0])


@control("robust_accuracy")
def robust_accuracy(claim, judge, _) -> Pair:
    """One grey level in the right pattern turns the one; the other reads greys that differ by more than ten."""
    return Pair(
        caught=judge(claim, subject_of(Fragile(), "fragile"), films=60),
        cleared=judge(claim, subject_of(Reader(), "smooth"), films=60),
    )


@control("universal_pattern")
def universal_pattern(claim, judge, _) -> Pair:
    """The one's checkerboard is the same on every film, so one pattern sets it off; the other reads larger greys."""
    return Pair(
        caught=judge(claim, subject_of(Fragile(), "fragile"), films=60),
        cleared=judge(claim, subject_of(Reader(), "smooth"), films=60),
    )


@control("looks_at_lesion")
def looks_at_lesion(claim, judge, _) -> Pair:
    """Films with the diagnosis burnt into a corner, lesions in the middle: the one reads the corner, and is right.

    On films whose lesions lie to the side a guess at the middle hits nothing, so nobody can do worse; the sound subject
    must do better there.
    """
    middle = cohort_of(90, name="marked", decode=partial(marked, columns=round(0.2 * SIDE)))
    return Pair(
        caught=judge(claim, subject_of(PlaceReader.corners(), "corners"), cohort=middle, method=METHOD),
        cleared=judge(claim, subject_of(PlaceReader.lungs(), "lungs"), method=METHOD),
    )


@control("looks_at_border")
def looks_at_border(claim, judge, _) -> Pair:
    """The diagnosis stands in the corner and in the lungs: the one reads the corner, the other the lungs."""
    films = cohort_of(90, name="marked", decode=marked)
    return Pair(
        caught=judge(claim, subject_of(PlaceReader.corners(), "corners"), cohort=films, method=METHOD),
        cleared=judge(claim, subject_of(PlaceReader.lungs(), "lungs"), cohort=films, method=METHOD),
    )


@control("looks_off_the_lung")
def looks_off_the_lung(claim, judge, _) -> Pair:
    """The one reads a corner of the films, the other their lungs."""
    strange = {str(claim.parameters["role"]): cohort_of(90, name="strange", labelled=False, decode=marked)}
    return Pair(
        caught=judge(claim, subject_of(PlaceReader.corners(), "corners"), probes=strange, method=METHOD),
        cleared=judge(claim, subject_of(PlaceReader.lungs(), "lungs"), probes=strange, method=METHOD),
    )


@control("map_moves")
def map_moves(claim, judge, _) -> Pair:
    """The one turns from the lungs to the corners when a film is unlike the usual ones, the other never."""
    return Pair(
        caught=judge(claim, subject_of(Distracted(), "distracted"), method=METHOD),
        cleared=judge(claim, subject_of(PlaceReader.lungs(), "lungs"), method=METHOD),
    )
