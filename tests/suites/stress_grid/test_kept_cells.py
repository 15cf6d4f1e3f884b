"""Cells that are found again are those that were measured, to the last bit."""

from __future__ import annotations

from functools import partial

import numpy as np

from suites.harness.predictions.conditions import parse
from suites.harness.stress_grid import kept_cells
from suites.harness.stress_grid.kept_cells import KeptCells
from suites.harness.stress_grid.measuring import measure, measure_grid
from tests.suites.stress_grid.test_stress_grid import answers_with, without

NAMES = ("scatter@1", "scatter@3", "scatter@5", "grid_cutoff@1")


def test_what_is_found_again_is_what_was_measured(tmp_path, monkeypatch):
    answers = answers_with({name: 0.1 * at for at, name in enumerate(NAMES)})
    answers = without(answers, "grid_cutoff@1", len(answers.images))
    conditions = [parse(name) for name in NAMES]
    asked = []

    def ask():
        asked.append(1)
        return measure(answers, conditions)

    kept = KeptCells(tmp_path, {"seed": 0})
    once = partial(kept.once, "subject", len(answers.images), NAMES, ask)
    assert measure_grid(answers, conditions, once()).missing == {"grid_cutoff": "no lung field"}
    assert (len(asked), list(tmp_path.iterdir())) == (1, []), "few films are not kept"
    monkeypatch.setattr(kept_cells, "DENSE", 10)
    first, again = once(), once()
    assert len(asked) == 2
    np.testing.assert_equal(again.trends, first.trends)
    for one, other in zip(again.cells, first.cells, strict=True):
        for name in ("severity", "films", "undefined", "flips", "recall_drops"):
            np.testing.assert_equal(getattr(one, name), getattr(other, name))
        for name in ("error", "before", "plain", "plain_before", "drop"):
            np.testing.assert_equal(vars(getattr(one, name)), vars(getattr(other, name)))
    KeptCells(tmp_path, {"seed": 1}).once("subject", len(answers.images), NAMES, ask)
    assert len(asked) == 3, "other answers have other cells"
