"""Attack and saliency claims on subjects whose weakness, or whose evidence, is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from suites.harness.claims import Verdict
from tests.controls.evidence_pairs import Fragile
from tests.controls.films import SIDE
from tests.controls.subjects import Reader, subject_of


class BorderReader(nn.Module):
    """Decides by the outer frame alone: no lung, no lesion."""

    def __init__(self) -> None:
        super().__init__()
        frame = torch.ones(SIDE, SIDE)
        frame[4:-4, 4:-4] = 0
        self.register_buffer("frame", frame / frame.sum())
        self.mix = nn.Conv2d(3, 8, 1)
        self.head = nn.Linear(8, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        seen = torch.relu(self.mix(pixels) + 0.5)
        return self.head((seen * self.frame).sum(dim=(2, 3)))


def test_a_fragile_subject_falls_and_a_smooth_one_stands(judge):
    caught = judge("adversarial.one_level", subject_of(Fragile(), "fragile"))
    assert caught.verdict is Verdict.SUPPORTED, caught.reason
    cleared = judge("adversarial.one_level", subject_of(Reader(), "smooth"))
    assert cleared.verdict is Verdict.NOT_SUPPORTED, cleared.reason


@pytest.mark.parametrize("method", ["integrated gradients"])
def test_a_border_reader_is_caught_and_a_lung_reader_cleared(judge, method):
    torch.manual_seed(0)
    caught = judge("explanations.border", subject_of(BorderReader(), "border"), method=method)
    assert caught.result is not None
    assert caught.result.effect.estimate > 0.5, caught.reason
    assert caught.verdict in {Verdict.VIOLATED, Verdict.INCONCLUSIVE}
    cleared = judge("explanations.border", subject_of(Reader(), "lung"), method=method)
    assert cleared.result is not None
    assert cleared.result.effect.estimate < 0.0, cleared.reason
    assert cleared.verdict is not Verdict.VIOLATED
