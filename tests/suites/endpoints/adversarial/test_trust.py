"""What cannot be trusted is never called robust, and what was never attacked is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from suites.harness.claims import Verdict
from suites.harness.errors import UsageProblem
from tests.controls.evidence_pairs import Fragile
from tests.controls.subjects import Reader, subject_of
from tests.suites.endpoints.adversarial.test_pattern_and_transfer import Masked

CLAIMS = ("adversarial.one_level", "adversarial.full_film", "adversarial.universal")


class NotNumbers(torch.autograd.Function):
    """The numbers as they are; gradients that are none."""

    @staticmethod
    def forward(_, values):
        return values.clone()

    @staticmethod
    def backward(_, gradient):
        return torch.full_like(gradient, torch.nan)


class Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.reader = Reader()

    def forward(self, pixels: Tensor) -> Tensor:
        return NotNumbers.apply(self.reader(pixels))


@pytest.mark.parametrize("network", [Broken, Masked])
@pytest.mark.parametrize("name", CLAIMS)
def test_gradients_that_are_no_numbers_or_zero_leave_it_open(judged, name, network):
    # 30 films show 70 % to within 22 points: the usual margin of 50 % would leave it open for another reason.
    judgement = judged(name, subject_of(network(), "untrusted"), margin=0.4)
    assert judgement.result.effect.low > judgement.claim.margin
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "no robustness can be concluded" in judgement.reason
    assert "Sanity checks failed" in judgement.result.summary
    assert "gradients present" in judgement.result.summary


def test_the_fault_is_named(judged):
    checks = judged("adversarial.full_film", subject_of(Broken(), "broken")).result.tables[
        "Is the attack to be trusted"
    ]
    told = checks.set_index("check").loc["no numerical faults", "detail"]
    assert "nan gradient on 30 of 30 films" in told


@pytest.mark.parametrize("name", CLAIMS)
def test_a_sound_subject_is_cleared(judged, name):
    """The test above would pass on an endpoint that concludes nothing; this one would not."""
    judgement = judged(name, subject_of(Reader(), "sound"), films=60)
    assert judgement.verdict is Verdict.NOT_SUPPORTED, judgement.reason


@pytest.mark.parametrize("levels", [0.0, -1.0, 3.0, 300.0])
def test_a_budget_nobody_attacked_is_a_usage_error(judged, levels):
    with pytest.raises(UsageProblem, match=r"`levels` is .*: expected 0\.25, 0\.5, 1, 2, 4 or 8"):
        judged("adversarial.one_level", subject_of(Reader(), "reader"), levels=levels)


def test_a_threat_model_nobody_knows_is_a_usage_error(judged):
    with pytest.raises(UsageProblem, match="`threat` is 'linf/green': expected linf/grey"):
        judged("adversarial.one_level", subject_of(Reader(), "reader"), threat="linf/green")


def test_pictures_and_curves_can_be_drawn(judged):
    for name in ("adversarial.one_level", "adversarial.full_film"):
        result = judged(name, subject_of(Fragile(), "fragile")).result
        assert set(result.figures) == {"robust_accuracy"} | ({"threat_models"} if name.endswith("level") else set())
        for draw in result.figures.values():
            draw()
        (pictures,) = result.galleries.values()
        assert pictures
        pictures[0].draw()
        assert "becomes" in pictures[0].caption
