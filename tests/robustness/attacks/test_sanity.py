"""The checks pass on an honest subject, and each has a subject that it catches."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from robustness.attacks import AttackError, Protocol, ThreatModel, attack_films, get, masking_checks
from robustness.attacks.masking_checks import SanityCheck, conclusive, sanity_checks

IDS = [f"person{i}" for i in range(8)]


def checks_of(subject: object, pixels: Tensor, labels: Tensor, **settings: object) -> dict[str, SanityCheck]:
    ids = [f"person{i}" for i in range(len(labels))]
    checks = sanity_checks(subject, pixels, labels, ids, films=8, **{"budget": 16 / 255, "queries": 60} | settings)
    assert len({check.name for check in checks}) == len(checks)
    assert all(
        any(letter.isdigit() for letter in check.detail) or check.name in ("outputs are logits", "gradients exist")
        for check in checks
    )
    return {check.name: check for check in checks}


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_honest_subject_passes_every_check(toys, films, outputs: int, norm: str) -> None:
    pixels, labels = films(8, max(outputs, 2), seed=3)
    checks = checks_of(toys[outputs], pixels, labels, threat=ThreatModel(norm))
    assert [check.detail for check in checks.values() if not check.passed] == []
    assert conclusive(checks.values())


def blocked(checks: dict[str, SanityCheck]) -> set[str]:
    assert not conclusive(checks.values())
    return {name for name, check in checks.items() if not check.passed}


def test_stepped_input_is_caught(toys, films, wrapped) -> None:
    """Gradients exactly zero; random search still flips films: masking, not robustness."""
    pixels, labels = films(8, 3, seed=3)
    failed = blocked(checks_of(wrapped(toys[3], before=lambda x: (x * 16).floor() / 16).eval(), pixels, labels,
                               budget=40 / 255, queries=200))  # fmt: skip
    assert {"gradients present", "gradients true", "a large budget reaches zero", "white-box beats black-box"} <= failed


def test_shattered_gradient_is_caught(toys, films, wrapped) -> None:
    """A ripple too small to see in the output and steep enough to own the gradient."""
    pixels, labels = films(8, 3, seed=3)
    shattered = wrapped(toys[3], before=lambda x: x + 0.004 * torch.sin(20000.0 * x)).eval()
    assert "gradients true" in blocked(checks_of(shattered, pixels, labels))


def test_random_subject_is_caught(toys, films, wrapped) -> None:
    pixels, labels = films(8, 3, seed=3)
    noisy = wrapped(toys[3], before=lambda x: x + 0.05 * torch.randn_like(x)).eval()
    assert "deterministic" in blocked(checks_of(noisy, pixels, labels))


def test_softmax_is_caught(toys, films, wrapped) -> None:
    pixels, labels = films(8, 3, seed=3)
    assert "outputs are logits" in blocked(
        checks_of(wrapped(toys[3], after=lambda z: z.softmax(1)).eval(), pixels, labels)
    )


def test_subject_that_never_changes_its_mind_is_caught(films) -> None:
    class Stubborn(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([5 + 0.01 * x.flatten(1).mean(1), -x.flatten(1).mean(1)], 1)

    pixels, _ = films(8, 2, seed=3)
    failed = blocked(checks_of(Stubborn().eval(), pixels, torch.zeros(8, dtype=torch.long)))
    assert failed == {"a large budget reaches zero"}


def test_saturated_head_is_told_and_does_not_block(toys, films, wrapped) -> None:
    pixels, labels = films(8, 3, seed=3)
    checks = checks_of(wrapped(toys[3], after=lambda z: 1000 * z).eval(), pixels, labels)
    assert not checks["head not saturated"].passed
    assert conclusive(checks.values())


def test_nan_gradient_is_caught(toys, films, wrapped) -> None:
    pixels, labels = films(8, 3, seed=3)
    broken = wrapped(toys[3], before=lambda x: x + 0 * torch.sqrt(0 * x)).eval()
    attacked = attack_films(broken, pixels, labels, IDS, budgets=[4 / 255], profile=Protocol("one", (get("fgsm"),)))
    failed = blocked(checks_of(broken, pixels, labels, attacked=attacked))
    assert {"gradients present", "no numerical faults"} <= failed


def test_wrong_way_gradient_is_caught(toys, films) -> None:
    """A subject that hands back the negative of its gradient: every step goes downhill."""

    class Reverse(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx, g: Tensor) -> Tensor:
            return -g

    class Reversed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return toys[3](Reverse.apply(x))

    pixels, labels = films(8, 3, seed=3)
    assert {"gradients true", "loss rises"} <= blocked(checks_of(Reversed().eval(), pixels, labels))


def test_plain_function_is_not_evaluable(toys, films) -> None:
    pixels, labels = films(8, 3, seed=3)
    checks = checks_of(lambda x: toys[3](x).softmax(1).numpy(), pixels, labels)
    assert not checks["gradients exist"].passed
    assert not checks[
        "outputs are logits"
    ].blocking  # a service gives probabilities, and that hides nothing from Square
    assert not conclusive(checks.values())


def test_transfer_that_beats_the_white_box_is_caught(toys, films) -> None:
    pixels, labels = films(8, 3, seed=3)
    attacked = attack_films(toys[3], pixels, labels, IDS, budgets=[1 / 255], profile=Protocol("weak", (get("fgsm"),)))
    rows = pd.DataFrame({"image_id": IDS, "budget": 1 / 255, "robust": np.arange(8) % 2 == 0})
    assert "white-box beats transfer" in blocked(checks_of(toys[3], pixels, labels, attacked=attacked, transfer=rows))
    rows["robust"] = True
    assert checks_of(toys[3], pixels, labels, attacked=attacked, transfer=rows)["white-box beats transfer"].passed


def test_weak_steps_are_caught(toys, films, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attack that wanders off with more steps: the check sees the loss."""

    def broken(name: str, **settings: object) -> object:
        if name == "pgd" and settings["steps"] == 30:
            return get("blank")
        return get(name, **settings)

    monkeypatch.setattr(masking_checks, "get", broken)
    pixels, labels = films(8, 3, seed=3)
    assert blocked(checks_of(toys[3], pixels, labels)) == {"more steps are not weaker"}


def test_non_monotone_attack_is_caught(toys, films, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(100))

    def broken(name: str, **settings: object) -> object:
        if name == "apgd-margin" and settings["steps"] == 10 and next(calls) >= 2:
            return get("blank")
        return get(name, **settings)

    monkeypatch.setattr(masking_checks, "get", broken)
    pixels, labels = films(8, 3, seed=3)
    assert blocked(checks_of(toys[3], pixels, labels)) == {"accuracy falls with the budget"}


def test_nothing_right_is_an_error(toys, films) -> None:
    pixels, _ = films(4, 3, seed=3)
    wrong = (toys[3](pixels.expand(-1, 3, -1, -1)).argmax(1) + 1) % 3
    with pytest.raises(AttackError, match="no film is classified right"):
        checks_of(toys[3], pixels, wrong)


def test_random_signs_do_not_flip_what_an_adversary_flips(toys, films) -> None:
    """The control: at twice the budget that every film falls at, noise flips hardly any."""
    pixels, labels = films(12, 3, seed=3)
    ids = [f"n{i}" for i in range(12)]
    adversary = attack_films(toys[3], pixels, labels, ids, budgets=[20 / 255], profile="quick")
    noise = attack_films(toys[3], pixels, labels, ids, budgets=[20 / 255], profile="noise")
    assert adversary.curve.iloc[0] == 0.0
    assert noise.curve.iloc[0] >= 0.9
    assert attack_films(toys[3], pixels, labels, ids, budgets=[0.1], profile="blank").curve.iloc[0] == 1.0
