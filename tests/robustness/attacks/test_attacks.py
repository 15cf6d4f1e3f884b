"""Each attack: reference results, capabilities, and the universal and transferred ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import torchattacks
import torchvision.transforms.v2.functional as TF
from PIL import Image
from torch import Tensor, nn

from robustness.attacks import (
    BUDGETS,
    Attack,
    AttackedFilms,
    AttackedNetwork,
    AttackError,
    NotDifferentiable,
    Protocol,
    ThreatModel,
    Turn,
    alone,
    attack_films,
    get,
    names,
    register,
)
from robustness.attacks import attack as register_module
from robustness.attacks.apgd import checkpoints
from robustness.attacks.loss import margin, other_classes, relative_margin, towards
from robustness.attacks.threat import ROUNDING
from robustness.attacks.transfer import craft, transfer_films
from robustness.attacks.universal import universal_films, universal_pattern

SHORT = {"pgd": {"steps": 8, "restarts": 1}, "apgd-ce": {"steps": 15}, "apgd-margin": {"steps": 15},
         "apgd-targeted": {"steps": 15}, "fab": {"steps": 8}, "deepfool": {"steps": 8},
         "cw": {"steps": 30, "searches": 3}, "square": {"queries": 150}}  # fmt: skip
CONTROLS = {"random-sign", "blank"}


def books(
    network: nn.Module, pixels: Tensor, labels: Tensor, threat: ThreatModel | None = None, seed: int = 0
) -> AttackedFilms:
    ids = [f"person{i}" for i in range(len(labels))]
    return AttackedFilms(AttackedNetwork(network, threat or ThreatModel()), pixels, labels, ids, seed)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("name", names())
def test_every_registered_attack(toys, films, name: str, outputs: int, norm: str) -> None:
    """Runs from two classes up, inside the budget, and flips most films at a generous one; controls flip none."""
    attack = get(name, **SHORT.get(name, {}))
    if norm not in attack.norms:
        with pytest.raises(AttackError, match="not for"):
            attack(books(toys[outputs], *films(2, 2), threat=ThreatModel(norm)), torch.arange(2), 0.1)
        return
    if name == "apgd-targeted" and outputs == 1:
        return  # with two classes there is no second target; tested below
    pixels, labels = films(6, max(outputs, 2), seed=3)
    found = books(toys[outputs], pixels, labels, ThreatModel(norm))
    flipped = attack(found, torch.arange(6), 30 / 255 if name != "square" else 60 / 255)
    limit = 1.0 if not attack.budgeted else 60 / 255
    assert torch.equal(found.start, pixels)
    assert float(found.distance[flipped].max() if flipped.any() else 0.0) <= limit + ROUNDING
    if name in CONTROLS:
        assert not flipped.any()
    else:
        assert int(flipped.sum()) >= (3 if name == "fgsm" else 5)
        assert set(found.found_by) <= {name, "clean", ""}
    assert (found.passes[name][:, 1].sum() > 0) == attack.white_box


def test_two_classes_have_nothing_to_target(toys, films) -> None:
    found = books(toys[2], *films(2, 2))
    get("apgd-targeted")(found, torch.arange(2), 0.1)
    assert "apgd-targeted" not in found.passes


def test_fgsm_and_iterated_fgsm_equal_torchattacks(toys, films) -> None:
    pixels, labels = films(8, 3, seed=3)
    wide, budget = pixels.expand(-1, 3, -1, -1).contiguous(), 6 / 255
    threat = ThreatModel(tied=False)
    for ours, theirs in (
        (get("fgsm"), torchattacks.FGSM(toys[3], eps=budget)),
        (
            get("pgd", steps=7, restarts=1, from_film=True),
            torchattacks.BIM(toys[3], eps=budget, alpha=budget / 4, steps=7),
        ),
        (get("mifgsm", steps=7), torchattacks.MIFGSM(toys[3], eps=budget, alpha=budget / 4, steps=7)),
    ):
        turn = Turn(
            books(toys[3], wide, labels, threat), "cross-check", torch.arange(8), torch.full((8,), budget).double()
        )
        asked: list[Tensor] = []
        original = Turn._checked

        def spy(self: Turn, moved: Tensor, asked: list[Tensor] = asked, original=original) -> Tensor:
            asked.append(moved.detach())
            return original(self, moved)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Turn, "_checked", spy)
            patch.setattr(Turn, "open", property(lambda self: torch.ones(len(self), dtype=torch.bool)))
            ours.run(turn)
        reference = theirs(wide, labels)
        # A pixel whose gradient is zero up to rounding may step either way.
        assert float(((asked[-1] - reference).abs() < 1e-5).float().mean()) > 0.999


def test_apgd_is_as_strong_as_the_reference_port(toys, films) -> None:
    """Same budget, steps and loss as torchattacks' APGD on five classes, each film's worst loss compared."""
    pixels, labels = films(15, 5, seed=3)
    wide = pixels.expand(-1, 3, -1, -1).contiguous()
    for level in (8, 12, 16):
        reference = torchattacks.APGD(toys[5], eps=level / 255, steps=30, loss="ce", seed=0)(wide, labels)
        theirs = float((toys[5](reference).argmax(1) == labels).float().mean())
        ids = [str(i) for i in range(15)]
        ours = attack_films(toys[5], wide, labels, ids, ThreatModel(tied=False), budgets=[level / 255],
                            profile=Protocol("ce", (get("apgd-ce", steps=30),))).curve.iloc[0]  # fmt: skip
        assert ours <= theirs + 1e-9


def test_more_steps_and_restarts_are_never_weaker(toys, films) -> None:
    pixels, labels = films(12, 3, seed=3)
    index, budget = torch.arange(12), 14 / 255

    def flips(name: str, **settings: object) -> int:
        return int(get(name, **settings)(books(toys[3], pixels, labels), index, budget).sum())

    assert flips("pgd", steps=4, restarts=1) <= flips("pgd", steps=4, restarts=3) <= flips("pgd", steps=40, restarts=3)
    assert flips("apgd-margin", steps=5) <= flips("apgd-margin", steps=60)
    assert flips("square", queries=20) <= flips("square", queries=150)
    assert flips("fab", steps=1) <= flips("fab", steps=20)


def test_checkpoints_follow_the_paper() -> None:
    assert checkpoints(100)[:6] == [22, 41, 57, 70, 80, 87]
    assert checkpoints(1) == []


def test_losses() -> None:
    logits, labels = torch.tensor([[2.0, 1.0, -1.0], [0.0, 3.0, 1.0]]), torch.tensor([0, 0])
    assert margin(logits, labels).tolist() == [-1.0, 3.0]
    assert relative_margin(100 * logits, labels, 100 * logits).tolist() == pytest.approx([-1 / 3, 1.0])
    assert towards(torch.tensor([2, 2]))(logits, labels).tolist() == [-3.0, 1.0]
    assert other_classes(logits, labels).tolist() == [[1, 2], [1, 2]]


def test_an_attack_in_fifteen_lines_and_none_can_cheat(toys, films, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new attack only asks; points outside the budget or the image are measured where they are."""
    monkeypatch.setattr(register_module, "_REGISTRY", dict(register_module._REGISTRY))

    @register
    class Cheat(Attack):
        """Asks far outside its budget, outside [0, 1], and for nonsense."""

        name = "cheat"
        white_box = False

        def run(self, turn: Turn) -> None:
            for value in (5.0, -3.0, torch.nan):
                turn.logits(turn.start + value)

    pixels, labels = films(6, 3, seed=3)
    found = books(toys[3], pixels, labels)
    flipped = get("cheat")(found, torch.arange(6), 1 / 255)
    assert not flipped.any()
    far = found.distance[found.distance > 0]
    assert bool((far > 0.2).all())  # white or black films: flips, but of their true size
    assert found.faults == ["nan gradient"] * 6
    with pytest.raises(AttackError, match="two attacks are called 'cheat'"):
        register(Cheat)


def test_universal_pattern_beats_noise_on_unseen_patients(linear) -> None:
    """On films of one class of a linear subject one pattern flips unseen patients; noise of its size does not."""
    subject = linear(2).eval()
    pixels = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(4))
    pixels = pixels[subject(pixels.expand(-1, 3, -1, -1)).argmax(1) == 0][:12]
    labels = torch.zeros(12, dtype=torch.long)
    ids, patients = [str(i) for i in range(12)], [f"p{i // 2}" for i in range(12)]
    found = universal_films(subject, pixels, labels, ids, patients, budgets=[0.02, 0.3], epochs=5)
    rows = found.rows
    assert len(rows) == 24
    assert rows.groupby("image_id")["fold"].nunique().max() == 1
    patient_of = dict(zip(ids, patients, strict=True))
    assert rows.assign(patient=rows["image_id"].map(patient_of)).groupby("patient")["fold"].nunique().max() == 1
    assert rows.query("budget == 0.3")["robust"].mean() < 0.5
    noise = attack_films(subject, pixels, labels, ids, budgets=[0.3], profile=alone("random-sign", draws=1))
    assert noise.curve.iloc[0] > rows.query("budget == 0.3")["robust"].mean() + 0.3
    for (budget, _), pattern in found.patterns.items():
        assert pattern.shape == (1, 8, 8)
        assert np.abs(pattern).max() <= budget + ROUNDING


def test_universal_pattern_does_not_depend_on_the_order(toys, films) -> None:
    pixels, labels = films(8, 3, seed=3)
    ids, order = [str(i) for i in range(8)], [3, 1, 7, 0, 2, 6, 5, 4]
    arguments = {"threat": ThreatModel("l2"), "budget": 0.05, "epochs": 2}
    first = universal_pattern(toys[3], pixels, labels, ids, **arguments)
    second = universal_pattern(toys[3], pixels[order], labels[order], [ids[i] for i in order], **arguments)
    assert torch.equal(first, second)
    assert float(ThreatModel("l2").size(first)) <= 0.05 + ROUNDING


def test_universal_needs_patients_and_gradients(toys, films) -> None:
    pixels, labels = films(4, 3)
    with pytest.raises(AttackError, match="patients: 1, folds: 2;"):
        universal_films(toys[3], pixels, labels, list("abcd"), ["p"] * 4)
    with pytest.raises(NotDifferentiable):
        universal_films(toys[3].forward, pixels, labels, list("abcd"), list("pqrs"))


def test_films_made_on_one_subject_flip_its_twin(toys, films, wrapped) -> None:
    pixels, labels = films(12, 3, seed=3)
    twin = wrapped(toys[3], after=lambda z: 50 * z).eval()
    service = toys[3].forward
    subjects, ids = {"toy": toys[3], "twin": twin, "service": service}, [str(i) for i in range(12)]
    rows = transfer_films(subjects, pixels, labels, ids,
                          budgets=[1 / 255, 20 / 255], batch_size=5)  # fmt: skip
    assert set(rows["source"]) == {"toy", "twin"}  # a service has no gradients, so it is a target only
    assert set(rows["target"]) == {"toy", "twin", "service"}
    right = rows[rows["clean_prediction"] == rows["label"]]
    flipped = 1 - right.pivot_table(index=["budget", "source"], columns="target", values="robust", aggfunc="mean")
    matrix = flipped.loc[20 / 255]
    # The twin decides alike at another scale of the logits, so films made on either flip both.
    assert matrix.to_numpy() == pytest.approx(np.full((2, 3), matrix.loc["toy", "toy"]), abs=0.1)
    assert matrix.loc["toy", "toy"] >= 0.75
    assert flipped.loc[1 / 255].to_numpy().max() <= 0.1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_crafted_films_stay_inside(toys, films, norm: str) -> None:
    pixels, labels = films(4, 3)
    threat = ThreatModel(norm)
    made = craft(AttackedNetwork(toys[3], threat), pixels, labels, 5 / 255)
    assert float(threat.size(made - pixels).max()) <= 5 / 255 + ROUNDING
    assert float(threat.size(made - pixels).min()) > 4 / 255


@pytest.mark.realdata
@pytest.mark.slow
def test_stand_in_weights_fall_within_a_few_grey_levels(shared) -> None:
    """Undefended weights on real films: most fall below 2/255 and noise of that size flips hardly any."""
    transformers = pytest.importorskip("transformers")

    class StandIn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = transformers.ConvNextV2ForImageClassification.from_pretrained(
                shared / "weights/kermany-convnextv2-atto"
            )

        def forward(self, x: Tensor) -> Tensor:
            mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
            return self.network((x - mean.view(3, 1, 1)) / std.view(3, 1, 1)).logits

    table = pd.read_csv(shared / "data/kermany/metadata.csv").query("split == 'test'")
    table = table.groupby("label").head(2).reset_index()
    classes = ["bacterial_pneumonia", "normal", "viral_pneumonia"]
    films = []
    for file in table["file"]:
        film = torch.from_numpy(np.array(Image.open(shared / "data/kermany" / file).convert("L")))[None]
        films.append(TF.center_crop(TF.resize(film, [255], antialias=True), [224, 224]) / 255)
    labels = table["label"].map(classes.index).tolist()
    subject = StandIn().eval()
    plan = Protocol("short", (get("fab", steps=6, targets=1, patience=2), get("apgd-margin", steps=5)))
    attacked = attack_films(
        subject, torch.stack(films), labels, table["file"].tolist(), budgets=BUDGETS[2:], profile=plan
    )
    noise = attack_films(
        subject, torch.stack(films), labels, table["file"].tolist(), budgets=[2 / 255], profile="noise"
    )
    assert attacked.curve.iloc[-1] == 0.0
    assert attacked.curve.loc[2 / 255] <= 0.2
    assert noise.curve.iloc[0] >= (attacked.films["distance"] > 0).mean() - 0.2
