"""How much memory does an attack take of a film that is larger than all else?"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from robustness.attacks import Protocol, ThreatModel, attack_films, get
from robustness.attacks import threat as threats
from robustness.attacks.minimal import reach
from robustness.attacks.transfer import transfer_films

IMAGES = 10.5
"""Of one film, float32, that are in use at once; 9.3 are measured, 19 where nothing is worked on strip by strip."""
PLAN = Protocol(
    "each once",
    (
        get("fab", steps=3),
        get("apgd-margin", steps=4),
        get("apgd-targeted", steps=3, probe=2),
        get("random-sign", draws=1),
    ),
)


class Linear(nn.Module):
    """A network of sixteen numbers, so that all that is held is of the film."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 4)
        generator = torch.Generator().manual_seed(0)
        nn.init.normal_(self.layer.weight, 0.0, 0.3, generator=generator)
        nn.init.zeros_(self.layer.bias)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.layer(F.adaptive_avg_pool2d(pixels, 4).flatten(1))


@pytest.fixture(scope="module")
def case() -> tuple[nn.Module, Tensor, int]:
    network = Linear().eval()
    film = torch.rand(1, 1, 550, 500, generator=torch.Generator().manual_seed(0))
    return network, film, int(network(film).argmax())


def images_at_once(work, film: Tensor) -> float:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    held = most = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most / film.nbytes


def test_an_attack_holds_few_images_of_a_whole_film(case, monkeypatch):
    monkeypatch.setattr(threats, "PART", 2**14)
    monkeypatch.setattr("robustness.attacks.minimal.PART", 2**14)
    network, film, label = case
    threat = ThreatModel(preprocess=lambda moved: moved * 1.0, channels=1)

    def attack() -> None:
        attack_films(network, film, [label], ["film"], threat, budgets=[1 / 255, 4 / 255], profile=PLAN)

    assert images_at_once(attack, film) < IMAGES


def test_films_made_against_another_subject_hold_few_images(case, monkeypatch):
    monkeypatch.setattr(threats, "PART", 2**14)
    network, film, label = case

    def transfer() -> None:
        transfer_films({"own": network}, film, [label], ["film"], ThreatModel(channels=1), budgets=[1 / 255], steps=3)

    assert images_at_once(transfer, film) < IMAGES


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_nearest_point_of_a_plane_is_the_same_in_parts(norm, monkeypatch):
    point, normal = (torch.rand(2, 1, 40, 50, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    normal, offset = normal - 0.4, torch.tensor([3.0, -5.0])
    whole = reach(point, normal, offset, norm)
    monkeypatch.setattr("robustness.attacks.minimal.PART", 300)
    parts = reach(point, normal, offset, norm)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close((normal * parts).flatten(1).sum(1), offset, rtol=1e-4, atol=0)


def test_every_step_of_an_attack_is_the_same_in_strips(case, monkeypatch):
    network, film, label = case
    small = film[:, :, :90, :70].contiguous()
    label = int(network(small).argmax())
    threat = ThreatModel(preprocess=lambda moved: moved * 1.0, channels=1)
    plan = Protocol("ascents", (get("apgd-margin", steps=6), get("pgd", steps=3), get("random-sign", draws=2)))
    found = []
    for part in (2**20, 700):
        monkeypatch.setattr(threats, "PART", part)
        (result,) = attack_films(
            network, small, [label], ["film"], threat, budgets=[1 / 255, 60 / 255], profile=plan
        ).results
        found.append(result)
    one, other = found
    assert one.distance < float("inf")
    assert one.logits == other.logits
    assert (one.stored == other.stored).all()
    assert (one.adversarial == other.adversarial).all()
