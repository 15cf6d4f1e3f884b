"""What makes the quick protocol cheap: films far from a flip are given up early, a known flip is only confirmed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robustness.attacks import AttackedFilms, AttackedNetwork, AttackError, ThreatModel, get
from robustness.attacks.apgd import TRIAL


def books(network: nn.Module, pixels: Tensor, labels: Tensor) -> AttackedFilms:
    ids = [f"person{i}" for i in range(len(labels))]
    return AttackedFilms(AttackedNetwork(network, ThreatModel()), pixels, labels, ids)


def test_films_far_from_a_flip_are_given_up_early_and_near_ones_are_not(toys, films) -> None:
    pixels, labels = films(12, 3, seed=3)
    index = torch.arange(12)
    far, near = 4 / 255, 14 / 255

    def spent(budget: float, **settings: float) -> tuple[list[bool], int]:
        book = books(toys[3], pixels, labels)
        flipped = get("apgd-margin", steps=20, **settings)(book, index, budget)
        return flipped.tolist(), int(book.passes["apgd-margin"].sum())

    assert spent(far, give_up=0.6)[0] == spent(far)[0] == [False] * 12
    assert spent(far, give_up=0.6)[1] <= 12 * 2 * (TRIAL + 1) < spent(far)[1]
    assert spent(near, give_up=0.6)[0] == spent(near)[0]
    assert any(spent(near)[0])


def test_a_probed_class_that_came_near_still_gets_its_full_run(toys, films) -> None:
    pixels, labels = films(12, 3, seed=3)
    book, patient = books(toys[3], pixels, labels), books(toys[3], pixels, labels)
    budget, probe = 10 / 255, {"steps": 20, "probe": 2}
    get("apgd-targeted", **probe, give_up=0.6)(book, torch.arange(12), budget)
    get("apgd-targeted", **probe)(patient, torch.arange(12), budget)
    assert torch.isfinite(book.distance).tolist() == torch.isfinite(patient.distance).tolist()
    few, many = (int(item.passes["apgd-targeted"].sum()) for item in (book, patient))
    assert few <= many


@pytest.mark.parametrize("name", ["apgd-margin", "apgd-targeted"])
@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_of_the_way_must_be_one(name: str, share: float) -> None:
    with pytest.raises(AttackError, match="give_up"):
        get(name, give_up=share)


def test_square_asks_less_only_where_a_flip_is_known(toys, films) -> None:
    pixels, labels = films(6, 3, seed=3)
    book = books(toys[3], pixels, labels)
    known = torch.arange(3)
    get("fab", steps=20)(book, known, 1.0)
    assert torch.isfinite(book.distance[:3]).all()
    get("square", queries=30, known=5)(book, torch.arange(6), 0.25 / 255)
    assert book.passes["square"][:, 0].tolist() == [5, 5, 5, 30, 30, 30]
    with pytest.raises(AttackError, match="known"):
        get("square", queries=30, known=31)
