"""The evaluation as a whole: what one attack misses the ensemble finds, and its books are right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustness.attacks import (
    AttackedFilms,
    AttackedNetwork,
    AttackError,
    BudgetError,
    NotDifferentiable,
    Protocol,
    ThreatModel,
    alone,
    attack_each,
    attack_films,
    ensemble,
    gather,
    get,
)
from robustness.attacks.threat import ROUNDING

GRID = tuple(level / 255 for level in (2, 4, 8, 16, 32))
FAST = Protocol(
    "fast", (get("fab", steps=8, targets=2, patience=3), get("apgd-margin", steps=8), get("square", queries=8))
)


def names(number: int) -> list[str]:
    return [f"person{i}" for i in range(number)]


class Decoy(nn.Module):
    """Three classes: class 1 comes close uphill and can never win; class 2 wins downhill, within a small budget."""

    def forward(self, x: Tensor) -> Tensor:
        u = (x.mean(1).flatten(1)[:, ::2].mean(1) - x.mean(1).flatten(1)[:, 1::2].mean(1)) / 2 * 255  # grey levels
        decoy = -0.05 - 4.0 * torch.relu(0.5 - u) - 0.01 * torch.relu(4.0 - u)
        return torch.stack([torch.zeros_like(u), decoy, -3.0 - 1.0 * u], 1)


def test_every_pass_of_a_batch_is_told_before_its_films_are_done() -> None:
    subject, films = Decoy().eval(), torch.full((4, 1, 8, 8), 0.5)
    told: list[int] = []
    records = attack_each(
        subject, films, torch.zeros(4, dtype=torch.long), names(4), budgets=GRID, profile=FAST, batch_size=2,
        watch=told.append,
    )  # fmt: skip
    first = next(records)
    assert len(told) > 8, "while a batch is attacked, not once at its end"
    spent = [first, *records]
    assert sum(told) == sum(result.forward + result.backward - 1 for result in spent), "all but the clean pass"


def test_three_classes_where_cross_entropy_climbs_the_wrong_hill() -> None:
    subject, films = Decoy().eval(), torch.full((4, 1, 32, 32), 0.5)
    labels, budget = torch.zeros(4, dtype=torch.long), [4 / 255]
    for weak in ("apgd-ce", "apgd-margin"):
        # Of ten starts about one lies on the right hill already.
        attacked = attack_films(
            subject, films, labels, names(4), budgets=budget, profile=Protocol(weak, (get(weak),)), seed=1
        )
        assert attacked.curve.tolist() == [1.0], weak
    for profile in ("quick", "standard"):
        attacked = attack_films(subject, films, labels, names(4), budgets=budget, profile=profile)
        assert attacked.curve.tolist() == [0.0]
        assert set(attacked.films["prediction"]) == {2}
        assert attacked.films["distance"].to_numpy() == pytest.approx(3 / 255, rel=0.01)
    targeted = attack_films(subject, films, labels, names(4), budgets=budget, profile=alone("apgd-targeted", probe=10))
    assert targeted.curve.tolist() == [0.0]


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_saturated_head_blinds_cross_entropy_and_nothing_else(toys, films, wrapped, outputs: int) -> None:
    """Same decisions, logits times 1000: the cross-entropy gradient is exactly zero in float32."""
    pixels, labels = films(8, max(outputs, 2), seed=3)
    saturated = wrapped(toys[outputs], after=lambda z: 1000 * z).eval()
    blind = attack_films(
        saturated, pixels, labels, names(8), budgets=GRID[-1:], profile=Protocol("ce", (get("apgd-ce"),))
    )
    assert blind.curve.iloc[0] >= 0.75
    plain = attack_films(toys[outputs], pixels, labels, names(8), budgets=GRID, profile="quick")
    attacked = attack_films(saturated, pixels, labels, names(8), budgets=GRID, profile="quick")
    assert attacked.curve.iloc[-1] == 0.0
    assert attacked.films["distance"].to_numpy() == pytest.approx(plain.films["distance"].to_numpy(), rel=0.1)


@pytest.mark.parametrize("outputs", [2, 3])
def test_subject_without_slopes_falls_to_the_black_box_attack(toys, films, wrapped, outputs: int) -> None:
    pixels, labels = films(6, outputs, seed=3)
    stepped = wrapped(toys[outputs], before=lambda x: (x * 16).floor() / 16).eval()
    wide = Protocol("all", (get("apgd-ce", steps=10), get("apgd-margin", steps=10), get("square", queries=150)))
    attacked = attack_films(stepped, pixels, labels, names(6), budgets=[64 / 255], profile=wide)
    right = attacked.films[attacked.films["distance"] > 0]
    assert (right["attack"] == "square").mean() > 0.5
    assert set(right["fault"]) == {"zero gradient"}


def test_ten_classes_and_one_logit(linear, toys, films) -> None:
    pixels, labels = films(8, 2, seed=4)
    one = attack_films(toys[1], pixels, labels, names(8), budgets=GRID, profile="quick")
    assert one.curve.iloc[-1] == 0.0
    assert {"logit_0", "logit_1"} <= set(one.films)
    assert (one.films["clean_logit_0"] == 0.0).all()
    flat = wrapped_to_vector(toys[1])
    assert attack_films(flat, pixels, labels, names(8), budgets=GRID, profile=FAST).curve.iloc[-1] == 0.0


def wrapped_to_vector(network: nn.Module) -> nn.Module:
    class Vector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x)[:, 0]

    return Vector().eval()


def test_rows_replay_on_the_subject(toys, films) -> None:
    """Every flip is shown to the bare subject again: inside its budget, in float and in 8 bits, with its logits."""
    pixels, labels = films(10, 3, seed=3)
    labels[0] = (labels[0] + 1) % 3  # one film is wrong before any attack
    attacked = attack_films(toys[3], pixels, labels, names(10), budgets=GRID, profile="quick")
    wrong = attacked.results[0]
    assert (wrong.distance, wrong.attack, wrong.forward) == (0.0, "clean", 1)
    assert not any(at.robust for at in wrong.at)
    for result in attacked.results[1:]:
        assert 0 < result.distance <= GRID[-1]
        moved = torch.from_numpy(result.adversarial)[None]
        assert float((moved - torch.from_numpy(result.film)).abs().max()) == pytest.approx(result.distance)
        logits = toys[3](moved.expand(-1, 3, -1, -1))[0]
        assert int(logits.argmax()) == result.prediction != result.label
        assert logits.tolist() == pytest.approx(result.logits, abs=1e-4)
        stored = torch.from_numpy(result.stored).float()[None] / 255
        measured = float((stored - torch.from_numpy(result.film)).abs().max())
        smallest = min(at.budget for at in result.at if not at.robust_8bit)
        assert measured == pytest.approx(result.stored_distance, abs=1e-7)
        assert measured <= smallest + ROUNDING
        assert int(toys[3](stored.expand(-1, 3, -1, -1)).argmax()) != result.label
        assert result.perturbation.shape == (1, 16, 16)


def test_curve_is_monotone_and_agrees_with_distances(toys, films) -> None:
    pixels, labels = films(12, 3, seed=6)
    attacked = attack_films(toys[3], pixels, labels, names(12), budgets=GRID, profile=FAST)
    assert np.all(np.diff(attacked.curve) <= 0)
    distance = attacked.films["distance"].to_numpy()
    assert attacked.curve.tolist() == [float((distance > budget + ROUNDING).mean()) for budget in GRID]
    told = attacked.rows.query("robust")
    assert (told["prediction"] == told["label"]).all()
    assert told[["logit_0", "logit_1", "logit_2"]].isna().all(axis=None)
    assert not attacked.rows.query("not robust")["logit_0"].isna().any()


def test_one_run_equals_one_run_per_budget(toys, films) -> None:
    """The decisive budget alone gives what attacking every budget on its own gives."""
    pixels, labels = films(10, 3, seed=8)
    plan = (get("fab", steps=10), get("apgd-margin", steps=20))
    once = attack_films(toys[3], pixels, labels, names(10), budgets=GRID, profile=Protocol("once", plan)).curve

    def at(budget: float) -> float:
        return attack_films(
            toys[3], pixels, labels, names(10), budgets=[budget], profile=Protocol("each", plan)
        ).curve.iloc[0]

    each = [at(budget) for budget in GRID]
    assert np.all(np.abs(once.to_numpy() - each) <= 0.1)
    assert once.mean() <= np.mean(each) + 1e-9


def test_passes_are_counted(toys, films) -> None:
    """The books equal what a hook on the network itself sees."""
    pixels, labels = films(6, 3, seed=3)
    seen = {"forward": 0, "backward": 0}

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = toys[3]

        def forward(self, x: Tensor) -> Tensor:
            seen["forward"] += len(x)
            if x.requires_grad:
                x.register_hook(lambda g: seen.__setitem__("backward", seen["backward"] + len(g)))
            return self.network(x)

    for profile in ("quick", alone("mifgsm"), alone("pgd", steps=3, restarts=2)):
        seen.update(forward=0, backward=0)
        attacked = attack_films(Watched().eval(), pixels, labels, names(6), budgets=GRID[1:3], profile=profile)
        assert seen == {"forward": attacked.films["forward"].sum(), "backward": attacked.films["backward"].sum()}
        assert attacked.results[1].forward == sum(forward for forward, _ in attacked.results[1].passes.values())


def test_order_and_batch_do_not_matter(toys, films) -> None:
    pixels, labels = films(9, 3, seed=3)
    ids = names(9)
    together = attack_films(toys[3], pixels, labels, ids, budgets=GRID, profile=FAST, batch_size=9).films
    order = [4, 1, 8, 0, 3, 2, 7, 6, 5]
    apart = attack_films(toys[3], pixels[order], labels[order], [ids[i] for i in order], budgets=GRID, profile=FAST,
                         batch_size=2).films  # fmt: skip
    apart = apart.set_index("image_id").loc[ids]
    # Only the network's own rounding, which depends on the batch size, may differ.
    assert apart["distance"].to_numpy() == pytest.approx(together["distance"].to_numpy(), rel=1e-2)
    assert (apart["prediction"].to_numpy() == together["prediction"].to_numpy()).all()


def test_seed_matters_only_through_random_attacks(toys, films) -> None:
    pixels, labels = films(4, 3, seed=3)
    square = Protocol("square", (get("square", queries=60),))

    def distances(seed: int) -> list[float]:
        return (
            attack_films(toys[3], pixels, labels, names(4), budgets=[0.3], profile=square, seed=seed)
            .films["distance"]
            .tolist()
        )

    assert distances(0) == distances(0)
    assert distances(0) != distances(1)


def test_resuming_is_bit_identical(toys, films) -> None:
    pixels, labels = films(7, 3, seed=3)

    def run(done: set[str]):
        return attack_each(toys[3], pixels, labels, names(7), budgets=GRID, profile=FAST, batch_size=3, done=done)

    whole = {result.image_id: result for result in run(set())}
    stored = {}
    for result in run(set()):
        stored[result.image_id] = result
        if len(stored) == 4:  # killed inside the second batch
            break
    resumed = list(run(set(stored)))
    assert [result.image_id for result in resumed] == names(7)[3:]
    stored |= {result.image_id: result for result in resumed}
    assert set(stored) == set(whole)
    for image_id, result in whole.items():
        assert result.summary() == stored[image_id].summary()
        assert np.array_equal(result.adversarial, stored[image_id].adversarial)
    assert list(run(set(whole))) == []
    assert len(gather([])) == 0
    assert gather([]).curve.empty


def test_plain_function_runs_black_box_only(toys, films) -> None:
    pixels, labels = films(4, 3, seed=3)

    def service(x: Tensor) -> np.ndarray:
        return toys[3](x).softmax(1).detach().numpy()

    attacked = attack_films(service, pixels, labels, names(4), budgets=[0.3], profile="quick")
    assert attacked.results[0].not_evaluable == ("fab", "apgd-ce", "apgd-margin", "apgd-targeted")
    assert attacked.results[0].backward == 0
    assert not attacked.results[0].conclusive
    assert set(attacked.films["attack"]) <= {"square", ""}
    assert attacked.curve.iloc[0] < 1.0


def test_white_box_on_a_subject_without_gradients_is_named(toys, films) -> None:
    pixels, labels = films(2, 3, seed=3)
    cut = AttackedFilms(AttackedNetwork(toys[3].forward, ThreatModel()), pixels, labels, names(2))
    with pytest.raises(NotDifferentiable, match="black-box"):
        get("pgd")(cut, torch.arange(2), 0.1)

    class Detached(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return toys[3](x.detach()).detach()

    films_of_detached = AttackedFilms(AttackedNetwork(Detached().eval(), ThreatModel()), pixels, labels, names(2))
    with pytest.raises(NotDifferentiable, match="cut from its input"):
        get("apgd-ce")(films_of_detached, torch.arange(2), 0.1)


def test_nan_gradients_are_named(toys, films, wrapped) -> None:
    pixels, labels = films(4, 3, seed=3)
    broken = wrapped(toys[3], before=lambda x: x + 0 * torch.sqrt(0 * x)).eval()
    attacked = attack_films(broken, pixels, labels, names(4), budgets=GRID, profile=FAST)
    right = attacked.films["distance"] > 0
    assert set(attacked.films["fault"][right]) == {"nan gradient"}
    assert not any(result.conclusive for result in attacked.results if result.distance > 0)
    library = attack_films(broken, pixels, labels, names(4), budgets=GRID, profile=alone("mifgsm"))
    assert set(library.films["fault"][right]) == {"nan gradient"}


def test_nan_logits_never_count_as_a_flip(toys, films, wrapped) -> None:
    pixels, labels = films(4, 3, seed=3)
    clean = pixels.expand(-1, 3, -1, -1)

    def poisoned(x: Tensor) -> Tensor:
        moved = (x - clean[: len(x)]).abs().flatten(1).amax(1) > 0
        return x + torch.where(moved, torch.nan, 0.0).view(-1, 1, 1, 1)

    attacked = attack_films(
        wrapped(toys[3], before=poisoned).eval(), pixels, labels, names(4), budgets=GRID, profile="noise"
    )
    assert attacked.rows["robust"].all()
    assert set(attacked.films["fault"]) == {"nan logits"}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"budgets": [0]}, BudgetError, "outside"),
        ({"budgets": [1.5]}, BudgetError, "outside"),
        ({"profile": "quik"}, AttackError, "no attack profile"),
        ({"labels": torch.tensor([0, 1, 7])}, AttackError, "classes 0..2"),
        ({"labels": torch.tensor([0, 1])}, AttackError, "numbers differ"),
        ({"image_ids": ["a", "a", "b"]}, AttackError, "twice"),
        ({"batch_size": 0}, AttackError, "batch_size"),
    ],
)
def test_wrong_input_is_refused(toys, films, change: dict, error: type, message: str) -> None:
    pixels, labels = films(3, 3)
    arguments = {"labels": labels, "image_ids": names(3), "budgets": GRID, "profile": FAST} | change
    with pytest.raises(error, match=message):
        list(attack_each(toys[3], pixels, **arguments))


def test_network_in_training_mode_is_refused(linear, films) -> None:
    pixels, labels = films(2, 2, side=8)
    with pytest.raises(AttackError, match="eval"):
        attack_films(linear(2).train(), pixels, labels, names(2))


def test_unknown_attack_suggests_the_nearest() -> None:
    with pytest.raises(AttackError, match=r"did you mean square\?"):
        get("sqare")
    with pytest.raises(AttackError, match="fgsm"):
        get("fgsm", steps=3)
    with pytest.raises(AttackError, match="unknown settings"):
        get("mifgsm", step=3)


def test_batches_are_bounded_in_bytes_and_each_film_is_asked_for_once(monkeypatch):
    class Films(list):
        asked: list[int] = []  # noqa: RUF012

        def __getitem__(self, at):
            self.asked.append(at)
            return super().__getitem__(at)

    films = Films(torch.zeros(1, 8, 8 + 8 * (at > 4)) for at in range(9))
    monkeypatch.setattr(ensemble, "MOST", 3 * films[8].nbytes)
    Films.asked.clear()
    assert [batch for batch, _ in ensemble._batches(films, 9, 4)] == [[0, 1, 2, 3], [4], [5, 6, 7], [8]]
    assert Films.asked == list(range(9))
