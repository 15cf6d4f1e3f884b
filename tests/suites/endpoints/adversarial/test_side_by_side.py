"""Every threat model and attack on the same films, each line no stronger than the ensemble of a claim, and named."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robustness.attacks import attack as contract
from robustness.attacks.loss import margin
from suites.harness.endpoints.adversarial import tables
from suites.harness.endpoints.adversarial.runs import attack
from suites.harness.endpoints.adversarial.runs.protocols import further, plan_of
from suites.harness.endpoints.adversarial.runs.side_by_side import side_by_side
from tests.controls.evidence_pairs import Fragile
from tests.controls.subjects import Reader, subject_of
from tests.suites.endpoints.adversarial.conftest import evidence_kept_in
from tests.suites.endpoints.adversarial.test_pattern_and_transfer import Masked


class Detached(torch.nn.Module):
    """A sound reader behind a wall that no gradient passes."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = Reader()

    def forward(self, pixels):
        return self.reader(pixels.detach()).detach()


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """The answers and what `side_by_side` finds, which nothing changes."""
    folder = tmp_path_factory.mktemp("lines")
    answers = evidence_kept_in(folder / "cache")(subject_of(Fragile(), "fragile"), films=60).main
    return answers, side_by_side(answers, "quick", folder)


def test_every_line_rests_on_the_same_films_and_is_named(lines):
    answers, rows = lines
    assert {line.threat for line in rows} == {"linf/grey", "l2/grey", "linf/colour", "linf/film"}
    assert len({tuple(line.attack.index) for line in rows}) == 1
    table = tables.compared(answers, rows).set_index("attack")
    assert len(table) == 10
    assert set(table["films"]) == {"24"}
    assert table.loc["linf/film, ensemble (quick)", "0.5/255"] == "—"
    right = 100 * (answers.correct()[rows[0].attack.index]).mean()
    clean = table["clean"].str.split(" ").str[0].astype(float)
    # A whole film is not rounded to 8 bits on its way in, which turns a call or two here.
    assert clean.drop("linf/film, ensemble (quick)").tolist() == [round(right, 1)] * 9
    library = "torchattacks"
    assert table.index[table["library"] == library].tolist() == [
        "linf/grey, FGSM", "linf/grey, PGD, cross-entropy, 10 steps", "linf/grey, APGD, cross-entropy, 10 steps",
    ]  # fmt: skip
    assert tables.threat_models(rows)["threat model"].tolist() == [
        "linf/grey", "l2/grey", "linf/colour", "linf/film",
    ]  # fmt: skip


def test_the_ensemble_is_the_strongest_and_the_controls_the_weakest(lines):
    _, rows = lines
    named = {(line.threat, line.label.split(",")[0].split(" (")[0]): line.attack for line in rows}
    ensemble = named["linf/grey", "ensemble"]
    for budget in (0.5 / 255, 1 / 255, 2 / 255):
        for label in ("FGSM", "PGD", "APGD", "Square", "random signs", "blank step"):
            assert (ensemble.robust(budget) <= named["linf/grey", label].robust(budget)).all(), label
        np.testing.assert_array_equal(named["linf/grey", "blank step"].robust(budget), ensemble.right)
        # What grey can do, colour can do.
        assert named["linf/colour", "ensemble"].robust(budget).mean() <= ensemble.robust(budget).mean() + 0.05
    assert ensemble.robust(1 / 255).mean() < 0.2 < named["linf/grey", "random signs"].robust(1 / 255).mean()
    with pytest.raises(KeyError, match="3/255 was not attacked"):
        ensemble.robust(3 / 255)


def test_a_claims_attack_on_more_films_is_the_same_on_these(evidence, tmp_path):
    answers = evidence(subject_of(Reader(), "reader"), films=60).main
    whole = attack(answers, "quick", tmp_path)
    rows = side_by_side(answers, "quick", tmp_path)
    part = rows[0].attack
    assert len(whole.index) == 60
    assert len(part.index) == 24
    np.testing.assert_array_equal(whole.robust(1 / 255)[np.isin(whole.index, part.index)], part.robust(1 / 255))


def test_only_claims_pay_for_the_long_search(lines):
    """What the table alone asks about runs a shorter ensemble, named with its attacks."""
    _, rows = lines
    plans = {line.threat: line.label for line in rows if line.protocol == "ensemble"}
    assert plans == {
        "linf/grey": "ensemble (quick)", "l2/grey": "ensemble (brief)", "linf/colour": "ensemble (brief)",
        "linf/film": "ensemble (quick)",
    }  # fmt: skip
    told = tables.plans(rows).set_index("ensemble")["attacks in their order"]
    assert set(told.index) == {"ensemble (quick)", "ensemble (brief)"}
    assert told["ensemble (quick)"].startswith(told["ensemble (brief)"]), "brief is how quick begins"
    assert "square" in told["ensemble (quick)"]
    for profile in ("quick", "standard", "full"):
        long, short = (plan_of("ensemble", profile, compared=compared) for compared in (False, True))
        assert long.name != short.name
    brief = next(line.attack for line in rows if line.threat == "linf/colour")
    assert set(brief.found.films["attack"]) <= {"fab", "apgd-ce", "apgd-margin", "clean", ""}


def test_an_attack_without_gradients_is_not_a_sign_of_robustness(evidence, tmp_path):
    """On a subject that hides its gradient the literature's attacks flip nothing, and the table says why."""
    answers = evidence(subject_of(Masked(), "masked"), films=30).main
    table = tables.compared(answers, side_by_side(answers, "quick", tmp_path))
    theirs = table[table["library"] == "torchattacks"]
    assert theirs["attack"].str.contains("zero gradient on").all()


def test_cut_gradients_are_said_so(evidence, tmp_path):
    answers = evidence(subject_of(Detached(), "detached"), films=30).main
    table = tables.compared(answers, side_by_side(answers, "quick", tmp_path))
    theirs = table[table["library"] == "torchattacks"]
    assert theirs["attack"].str.endswith("not evaluable, no gradients").all()
    assert (theirs["1/255"] == "—").all()


def test_an_attack_that_is_added_gets_a_line_of_its_own(evidence, tmp_path, monkeypatch):
    monkeypatch.setattr(contract, "_REGISTRY", dict(contract._REGISTRY))

    @contract.register
    class TwoSteps(contract.Attack):
        """Half the budget along the gradient, twice."""

        name = "two-steps"

        def run(self, turn):
            here = turn.start
            for _ in range(2):
                _, gradient, _ = turn.gradient(here, margin)
                here = turn.project(here + 0.5 * turn.radius * turn.films.threat.steepest(gradient))
            turn.logits(here)

    assert further() == ["two-steps"]
    answers = evidence(subject_of(Fragile(), "fragile"), films=30).main
    rows = side_by_side(answers, "quick", tmp_path)
    assert "linf/grey, two-steps" in tables.compared(answers, rows)["attack"].tolist()
    assert rows[-1].attack is not None
    assert rows[-1].attack.robust(4 / 255).mean() < rows[-1].attack.right.mean()
