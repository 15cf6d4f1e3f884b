"""The stress suites catch a subject that fails by construction, and clear one that does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from suites.harness.claims import Verdict
from tests.controls.subjects import CLASSES, Reader, cohort_of, draw, rewindowed, subject_of


class LineReader(nn.Module):
    """Right about everything on clean films, and calls a film bacterial when a single spatial frequency stands out."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = Reader()
        drawn = [[draw({"number": n, "label": label, "finding": ""}).pixels for n in range(40)] for label in CLASSES]
        self.register_buffer("templates", torch.from_numpy(np.array(drawn)).mean(dim=1))

    def forward(self, pixels: Tensor) -> Tensor:
        rest = pixels.mean(dim=1)[:, None] - self.templates
        nearest = rest[torch.arange(len(rest)), rest.square().mean(dim=(2, 3)).argmin(dim=1)]
        spectrum = torch.fft.rfft2(nearest - nearest.mean(dim=(1, 2), keepdim=True)).abs().flatten(1)
        alarm = (spectrum.max(dim=1).values / spectrum.median(dim=1).values > 6).float()
        return self.reader(pixels) + 100 * alarm[:, None] * torch.tensor([1.0, 0.0, 0.0])


class Calm(nn.Module):
    """Calls every film normal, hardly more surely than chance."""

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.tensor([0.0, 0.1, 0.0]).expand(len(pixels), 3) + 0 * pixels.mean()


def test_clean_films_are_read_right(judge):
    assert judge("classes.balanced_accuracy", subject_of(Reader(), "reader")).verdict is Verdict.MET
    assert judge("classes.balanced_accuracy", subject_of(Calm(), "calm")).verdict is Verdict.VIOLATED


def test_low_contrast_is_caught_and_a_rewindowing_subject_cleared(judge):
    caught = judge("contrast.window", subject_of(Reader(), "reader"), remedies=[])
    assert caught.verdict is Verdict.SUPPORTED, caught.reason
    cleared = judge("contrast.window", subject_of(Reader(read=rewindowed), "rewindowing"), remedies=[], films=330)
    assert cleared.verdict is Verdict.NOT_SUPPORTED, cleared.reason


def test_stripes_are_caught_and_a_blind_subject_cleared(judge):
    caught = judge("grid.stripes", subject_of(LineReader(), "lines"), remedies=[])
    assert caught.verdict is Verdict.SUPPORTED, caught.reason
    cleared = judge("grid.stripes", subject_of(Reader(), "reader"), remedies=[])
    assert cleared.verdict is not Verdict.SUPPORTED, cleared.reason


def test_white_out_called_bacterial_is_caught_and_abstaining_cleared(judge):
    """The reader calls whatever is denser on the left bacterial; the calm one never says bacterial."""

    def inside(grey: Tensor) -> Tensor:
        return grey[:, 16:48, 8:56].mean(dim=(1, 2))

    usual = inside(torch.from_numpy(draw({"number": 1, "label": "normal", "finding": ""}).pixels)[None])

    class Dense(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            more = inside(pixels.mean(dim=1)) - usual - 0.01
            return 200 * torch.stack([more, -more, -torch.ones_like(more)], dim=1)

    caught = judge("whiteout.bacterial", subject_of(Dense(), "dense"))
    assert caught.verdict is Verdict.SUPPORTED, caught.reason
    cleared = judge("whiteout.bacterial", subject_of(Calm(), "calm"))
    assert cleared.verdict is Verdict.NOT_SUPPORTED, cleared.reason


@pytest.mark.parametrize("role", ["lateral", "adult", "unseen"])
def test_confidence_on_strange_films_is_caught_and_doubt_cleared(judge, role):
    strange = {role: cohort_of(60, name="strange", labelled=False)}
    sure = judge(f"probes.{role}", subject_of(Reader(sharpness=400), "sure"), probes=strange)
    assert sure.verdict is Verdict.SUPPORTED, sure.reason
    unsure = judge(f"probes.{role}", subject_of(Calm(), "calm"), probes=strange)
    assert unsure.verdict is Verdict.NOT_SUPPORTED, unsure.reason


def test_probes_that_were_not_given_are_not_evaluable(judge):
    assert judge("probes.lateral", subject_of(Calm(), "calm")).verdict is Verdict.NOT_EVALUABLE


def test_classes_of_the_controls_are_the_published_ones():
    assert subject_of(Calm(), "calm").classes == CLASSES
