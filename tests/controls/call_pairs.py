"""Controls of claims about calls: on clean films, under perturbations, on films the subject was never meant for."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from suites.harness.predictions.conditions import parse
from suites.harness.subjects.preprocessing import Preprocessing
from tests.controls.films import CLASSES, SIDE, boned, cohort_of, draw, exposed, inverted
from tests.controls.registry import Pair, control
from tests.controls.subjects import Memoriser, Mistaken, Oracle, Reader, subject_of

SIDES = {"softening": 128}
"""Side of the films in pixels where the usual 64 are too few: a blur of .8 pixels at a side of 256 is none at 64."""


@control("stress")
def stress(claim, judge, _) -> Pair:
    """One that knows its films by heart loses them at any change; an oracle compares the lungs, and loses nothing.

    Nothing varies in the second, so 75 films per class are what the exact bound needs to stay below five points.
    """
    bare = {"remedies": [], "conditions": [], "control": None}
    side = SIDES.get(parse(str(claim.parameters["condition"])).perturbation, SIDE)
    few, many = cohort_of(30, decode=partial(draw, side=side)), cohort_of(225, decode=partial(exposed, side=side))
    return Pair(
        caught=judge(claim, subject_of(Memoriser(few), "memoriser", side=side), cohort=few, **bare),
        cleared=judge(claim, subject_of(Oracle(), "oracle", side=side), cohort=many, **bare),
    )


@control("flip_rate")
def flip_rate(claim, judge, _) -> Pair:
    """One that knows its films by heart calls them otherwise at any change; an oracle compares the lungs."""
    few = cohort_of(30)
    return Pair(
        caught=judge(claim, subject_of(Memoriser(few), "memoriser"), cohort=few),
        cleared=judge(claim, subject_of(Oracle(), "oracle"), cohort=cohort_of(120, decode=exposed)),
    )


@control("score")
def score(claim, judge, _) -> Pair:
    """Half of the films of a class, or of all classes, are called wrong; or none."""
    measure = str(claim.parameters["measure"])
    failing = Mistaken(0.5)
    if measure.startswith("recall_"):
        start = measure.removeprefix("recall_")
        failing = Mistaken(0.5, start, CLASSES[CLASSES.index(start) - 1])
    return Pair(
        caught=judge(claim, subject_of(failing, "mistaken"), films=330),
        cleared=judge(claim, subject_of(Reader(), "reader"), films=330),
    )


@control("confusion_rate")
def confusion_rate(claim, judge, _) -> Pair:
    """The one confuses in the direction of the claim, the other as often in the opposite one."""
    start, end = str(claim.parameters["from"]), str(claim.parameters["towards"])
    share = claim.margin + 0.2
    return Pair(
        caught=judge(claim, subject_of(Mistaken(share, start, end), "there"), films=330),
        cleared=judge(claim, subject_of(Mistaken(share, end, start), "back"), films=330),
    )


@control("recall_gap")
def recall_gap(claim, judge, _) -> Pair:
    """The one errs on one of the classes; the other on both alike, which 1200 films show to three points."""
    better, worse = str(claim.parameters["better"]), str(claim.parameters["worse"])
    third = next(name for name in CLASSES if name not in {better, worse})
    return Pair(
        caught=judge(claim, subject_of(Mistaken(claim.margin + 0.2, worse, third), "unfair"), films=330),
        cleared=judge(claim, subject_of(Mistaken(0.01), "fair"), films=1200),
    )


@control("operating_point")
def operating_point(claim, judge, _) -> Pair:
    """The one calls a third of the viral films normal; the other errs between the two kinds of pneumonia only."""
    assert claim.parameters["side"] == "sensitivity", "write the control of the other side"
    return Pair(
        caught=judge(claim, subject_of(Mistaken(0.35, "viral_pneumonia", "normal"), "missing"), films=330),
        cleared=judge(claim, subject_of(Mistaken(0.35, "viral_pneumonia", "bacterial_pneumonia"), "ill"), films=330),
    )


class DetailReader(nn.Module):
    """Calls a film bacterial if the body above the lungs is grainy, else normal; resampling takes the grain away."""

    def forward(self, pixels: Tensor) -> Tensor:
        across = pixels[..., :8, 1:] - pixels[..., :8, :-1]
        more = 255 * (across.abs().mean(dim=(1, 2, 3)) - 0.0137)
        return torch.stack([more, -more, -10 - more.abs()], dim=1)


@control("disagreement")
def disagreement(claim, judge, _) -> Pair:
    """Two recipes: one leaves the film as it is, one enlarges it a little, as the published two do."""
    other = str(claim.parameters["second"]).removeprefix("preprocessing:")
    recipes = {other: Preprocessing(name=other, short_side=SIDE + 4, size=SIDE, interpolation="bicubic")}
    return Pair(
        caught=judge(claim, subject_of(DetailReader(), "detail", recipes=recipes), films=90),
        cleared=judge(claim, subject_of(Reader(), "grey", recipes=recipes), films=330),
    )


class Dense(nn.Module):
    """Calls whatever makes a film denser inside bacterial, else normal; it knows no cause."""

    def __init__(self) -> None:
        super().__init__()
        usual = draw({"number": 1, "label": "normal", "finding": ""}).pixels
        self.usual = float(usual[16:48, 8:56].mean())

    def forward(self, pixels: Tensor) -> Tensor:
        more = pixels[:, :, 16:48, 8:56].mean(dim=(1, 2, 3)) - self.usual - 0.01
        return 200 * torch.stack([more, -more, -torch.ones_like(more)], dim=1)


@control("called_whatever_the_cause")
def called_whatever_the_cause(claim, judge, _) -> Pair:
    """The one calls density bacterial; the other compares the lungs, so that it depends on which one is white.

    Where the claim is that white films are called normal: two that know their films by heart, and call all others
    normal, or never.
    """
    if claim.parameters["class"] == "normal":
        few = cohort_of(111)  # 37 films of one class bound a share of none below one in ten
        two = {"conditions": claim.parameters["conditions"][:2], "sham": None, "matched": None}
        return Pair(
            caught=judge(claim, subject_of(Memoriser(few, otherwise="normal"), "spared"), cohort=few, **two),
            cleared=judge(claim, subject_of(Memoriser(few, otherwise="viral_pneumonia"), "ill"), cohort=few, **two),
        )
    return Pair(
        caught=judge(claim, subject_of(Dense(), "dense"), films=60),
        cleared=judge(claim, subject_of(Oracle(), "oracle"), cohort=cohort_of(120, decode=exposed)),
    )


@control("confident_whatever_the_cause")
def confident_whatever_the_cause(claim, judge, _) -> Pair:
    """Both know their films by heart; of all others the one is as sure, the other not."""
    few, two = cohort_of(45), {"conditions": claim.parameters["conditions"][:2]}
    return Pair(
        caught=judge(claim, subject_of(Memoriser(few), "sure"), cohort=few, **two),
        cleared=judge(claim, subject_of(Memoriser(few, doubt=0.01), "doubts"), cohort=few, **two),
    )


@control("recall_of_every_class")
def recall_of_every_class(claim, judge, _) -> Pair:
    """One that knows its films by heart, so that one class loses everything; an oracle compares the lungs."""
    few, many = cohort_of(45, decode=boned), cohort_of(210, decode=partial(boned, decode=exposed))
    return Pair(
        caught=judge(claim, subject_of(Memoriser(few, otherwise="normal"), "memoriser"), cohort=few),
        cleared=judge(claim, subject_of(Oracle(), "oracle"), cohort=many),
    )


class Wary(nn.Module):
    """Reads films right, and is hardly surer than chance where the body is darker than the lungs: a negative."""

    def __init__(self, sharpness: float = 60.0) -> None:
        super().__init__()
        self.reader = Reader(sharpness)

    def forward(self, pixels: Tensor) -> Tensor:
        negative = pixels[..., :4, :].mean(dim=(1, 2, 3)) < 0.5
        return torch.where(negative, 0.001, 1.0)[:, None] * self.reader(pixels)


def righted(grey: Tensor) -> Tensor:
    """Turn a negative into a film."""
    negative = grey[:, :4].mean(dim=(1, 2)) < 0.5
    return torch.where(negative[:, None, None], 1 - grey, grey)


@control("confident_on_probe")
def confident_on_probe(claim, judge, _) -> Pair:
    """The one is sure of anything; the other of the films it was made for, but not of negatives."""
    role = str(claim.parameters["role"])
    strange = cohort_of(60, name="strange", labelled=False)
    negatives = cohort_of(60, name="negatives", labelled=False, decode=inverted)
    return Pair(
        caught=judge(claim, subject_of(Reader(sharpness=400), "sure"), probes={role: strange}),
        cleared=judge(claim, subject_of(Wary(sharpness=400), "wary"), probes={role: negatives}),
    )


@control("probe_detection")
def probe_detection(claim, judge, _) -> Pair:
    """Films in negative: the one reads them like any film and is as sure, the other doubts."""
    strange = {str(claim.parameters["role"]): cohort_of(60, name="negatives", labelled=False, decode=inverted)}
    return Pair(
        caught=judge(claim, subject_of(Reader(read=righted), "sure"), probes=strange),
        cleared=judge(claim, subject_of(Wary(), "wary"), probes=strange),
    )
