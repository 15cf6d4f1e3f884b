"""Every threat model and attack on the same films, each line no stronger than the ensemble of its threat model."""

from __future__ import annotations

import numpy as np
import pytest

from suites.harness.attacking import attack
from suites.harness.attacking.side_by_side import side_by_side
from suites.harness.endpoints import attack_tables
from tests.controls.evidence_pairs import Fragile
from tests.controls.subjects import Reader, subject_of


@pytest.fixture
def lines(evidence, tmp_path):
    answers = evidence(subject_of(Fragile(), "fragile"), films=60).main
    return answers, side_by_side(answers, "quick", tmp_path)


def test_every_line_rests_on_the_same_films_and_is_named(lines):
    answers, rows = lines
    assert {line.threat for line in rows} == {"linf/grey", "l2/grey", "linf/colour", "linf/film"}
    assert len({tuple(line.attack.index) for line in rows}) == 1
    table = attack_tables.compared(answers, rows).set_index("attack")
    assert len(table) == 9
    assert set(table["films"]) == {"24"}
    assert table.loc["linf/film, ensemble", "0.5/255"] == "—"
    right = 100 * (answers.correct()[rows[0].attack.index]).mean()
    clean = table["clean"].str.split(" ").str[0].astype(int)
    # A whole film is not rounded to 8 bits on its way in, which turns a call or two here.
    assert clean.drop("linf/film, ensemble").tolist() == [round(right)] * 8
    assert attack_tables.threat_models(rows)["threat model"].tolist() == [
        "linf/grey", "l2/grey", "linf/colour", "linf/film",
    ]  # fmt: skip


def test_the_ensemble_is_the_strongest_and_the_controls_the_weakest(lines):
    _, rows = lines
    named = {(line.threat, line.label.split(",")[0].split(" (")[0]): line.attack for line in rows}
    ensemble = named["linf/grey", "ensemble"]
    for budget in (0.5 / 255, 1 / 255, 2 / 255):
        for label in ("FGSM", "PGD", "Square", "random signs", "blank step"):
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
