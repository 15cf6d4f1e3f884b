"""Attacks of torchattacks behind our books: film by film, seeded by the film, judged and counted here."""

from __future__ import annotations

import pytest
import torch
import torchattacks
from torch import nn

from robustness.attacks import AttackedNetwork, NotDifferentiable, Protocol, ThreatModel, alone, attack_films, get
from robustness.attacks.films import AttackedFilms, Turn
from robustness.attacks.threat import ROUNDING
from tests.robustness.attacks.conftest import Wrapped

NAMES = ("mifgsm", "torchattacks-fgsm", "torchattacks-pgd", "torchattacks-apgd-ce")
IDS = [f"person{at}" for at in range(6)]
BUDGET = 6 / 255


def run(network, films, labels, name, *, batch=6, order=None, seed=0, **changes):
    order = list(range(len(films))) if order is None else order
    found = attack_films(network, films[order], labels[order], [IDS[at] for at in order], ThreatModel(**changes),
                         budgets=[2 / 255, BUDGET], profile=alone(name), batch_size=batch, seed=seed)  # fmt: skip
    return {result.image_id: result for result in found.results}


@pytest.mark.parametrize("name", NAMES)
def test_a_film_gets_the_same_attack_in_any_company(toys, films, name):
    pixels, labels = films(6, 3, seed=3)
    before = torch.random.get_rng_state()
    together, alone_ = run(toys[3], pixels, labels, name), run(toys[3], pixels, labels, name, batch=1)
    turned = run(toys[3], pixels, labels, name, order=[4, 2, 0, 5, 1, 3], batch=4)
    assert torch.equal(torch.random.get_rng_state(), before), "the caller's random numbers were moved"
    for image in IDS:
        for other in (alone_, turned):
            assert other[image].distance == pytest.approx(together[image].distance, abs=1e-6)
            assert other[image].passes == together[image].passes


def test_another_film_or_seed_is_another_start(toys, films):
    """The random start belongs to film and seed: the same pixels under other names are attacked from elsewhere."""
    pixels, labels = films(1, 3, seed=3)
    for name in ("torchattacks-pgd", "torchattacks-apgd-ce"):
        first = []
        for image, seed in (("a", 0), ("a", 0), ("b", 0), ("a", 1)):
            asked = []
            watched = Wrapped(toys[3], before=lambda x, asked=asked: asked.append(x.detach().clone()) or x).eval()
            attack_films(watched, pixels, labels, [image], budgets=[1e-3], profile=alone(name, steps=1), seed=seed)
            first.append(next(x for x in asked if not torch.equal(x, asked[0])))
        assert torch.equal(first[0], first[1])
        assert not torch.equal(first[0], first[2])
        assert not torch.equal(first[0], first[3])


def test_what_comes_out_is_the_librarys_own(toys, films):
    """With the seed of the film, calling the library directly gives the same point, within its budget."""
    pixels, labels = films(1, 3, seed=3)
    network = AttackedNetwork(toys[3], ThreatModel(tied=False))
    books = AttackedFilms(network, pixels.expand(-1, 3, -1, -1), labels, ["a"])
    turn = Turn(books, "torchattacks-apgd-ce", torch.arange(1), torch.tensor([BUDGET]).double())
    attack = get("torchattacks-apgd-ce", steps=8)
    seeds = []

    class Spied(torchattacks.APGD):
        def __init__(self, *asked, **settings):
            seeds.append(settings["seed"])
            super().__init__(*asked, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(attack), "library", Spied)
        moved = attack._moved(turn)
    theirs = torchattacks.APGD(toys[3], eps=BUDGET, steps=8, seed=seeds[0])(turn.start, labels)
    assert float((moved - theirs.detach()).abs().max()) < 1e-5
    assert float((moved - turn.start).abs().max()) <= BUDGET + ROUNDING


def test_passes_are_counted_as_spent(toys, films):
    pixels, labels = films(6, 3, seed=3)
    right = toys[3](pixels.expand(-1, 3, -1, -1)).argmax(1) == labels
    for name, settings, forward, backward in (
        ("torchattacks-fgsm", {}, 1, 1),
        ("torchattacks-pgd", {"steps": 5}, 5, 5),
        ("torchattacks-apgd-ce", {"steps": 5}, 1 + 1 + 5, 1 + 5),  # it asks for the clean call, and for its start
    ):
        asked = Protocol("one", (get(name, **settings),))
        found = attack_films(toys[3], pixels, labels, IDS, budgets=[1e-5], profile=asked)
        for result, called_right in zip(found.results, right.tolist(), strict=True):
            if called_right:
                assert result.passes[name] == (forward + 1, backward)  # and we look at what it made


@pytest.mark.parametrize("name", NAMES)
def test_a_success_that_is_none_does_not_count(toys, films, name):
    """Points outside the budget, however sure the library is of them, are flips of their own size only."""
    pixels, labels = films(6, 3, seed=3)

    attack = get(name)

    class Far:
        def __init__(self, network, **_):
            self.network = network

        def __call__(self, start, labels):
            self.network(start + 3.0)  # not an image
            return (start + 0.9).clamp(0, 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(attack), "library", Far)
        found = attack_films(toys[3], pixels, labels, IDS, budgets=[BUDGET], profile=Protocol("far", (attack,)))
    sizes = [result.distance for result in found.results]
    assert all(size == 0.0 or size > BUDGET for size in sizes)
    assert any(BUDGET < size < float("inf") for size in sizes), "the far point flips something, at its own size"


@pytest.mark.parametrize("name", NAMES)
def test_cut_gradients_are_refused_by_name(toys, films, name):
    pixels, _ = films(6, 3, seed=3)
    cut = Wrapped(toys[3], before=lambda x: x.detach()).eval()
    cut_behind = Wrapped(toys[3], after=lambda z: z.detach()).eval()
    learns = Wrapped(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3)), before=lambda x: x.detach()).eval()
    for network in (cut, cut_behind, learns):
        books = AttackedFilms(AttackedNetwork(network, ThreatModel()), pixels,
                              network(pixels.expand(-1, 3, -1, -1)).argmax(1), IDS)  # fmt: skip
        with pytest.raises(NotDifferentiable, match="output"):
            get(name)(books, torch.arange(6), BUDGET)


def test_a_gradient_that_vanishes_is_a_fault(toys, films):
    """On a saturated head the cross-entropy has no gradient: nothing is flipped, and the books say why."""
    pixels, labels = films(6, 3, seed=3)
    saturated = Wrapped(toys[3], after=lambda z: 1e6 * z).eval()
    for name in ("torchattacks-pgd", "torchattacks-apgd-ce"):
        found = run(saturated, pixels, labels, name)
        faults = [result.fault for result in found.values() if result.distance == float("inf")]
        assert faults
        assert set(faults) == {"zero gradient"}
        sound = run(toys[3], pixels, labels, name)
        assert not any(result.fault for result in sound.values())


def test_an_8_bit_subject_is_shown_whole_grey_levels(toys, films):
    pixels, labels = films(6, 3, seed=3)
    asked = []

    def note(x):
        asked.append(x.detach().clone())
        return x

    watched = Wrapped(toys[3], before=note).eval()
    found = run(watched, pixels, labels, "torchattacks-pgd", eight_bit=True)
    levels = torch.cat(asked) * 255
    assert float((levels - levels.round()).abs().max()) < 1e-3
    for result in found.values():
        if 0 < result.distance < float("inf"):
            assert result.distance * 255 == pytest.approx(round(result.distance * 255), abs=1e-3)


def test_the_loss_that_fails_at_few_classes_cannot_be_asked_for():
    with pytest.raises(Exception, match="unknown settings"):
        get("torchattacks-apgd-ce", loss="dlr")
