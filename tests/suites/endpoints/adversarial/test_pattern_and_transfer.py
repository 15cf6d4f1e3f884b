"""One pattern for all films, and films made against one subject shown to another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from suites.harness.claims import Verdict
from suites.harness.endpoints.adversarial.runs import transfer, universal
from suites.harness.endpoints.adversarial.runs.transfer import matrix, transferred
from suites.harness.endpoints.adversarial.runs.universal import LEVELS, patterns
from suites.harness.errors import NotEvaluable, UsageProblem
from suites.harness.subjects.preprocessing import Preprocessing
from tests.controls.evidence_pairs import Fragile
from tests.controls.films import cohort_of
from tests.controls.subjects import Reader, subject_of
from tests.suites.endpoints.adversarial.conftest import Answering


class Unwilling(torch.autograd.Function):
    """The numbers as they are, without the gradient."""

    @staticmethod
    def forward(_, values):
        return values.clone()

    @staticmethod
    def backward(_, gradient):
        return torch.zeros_like(gradient)


class Masked(nn.Module):
    """As weak as the fragile subject, but its gradients are exactly zero."""

    def __init__(self) -> None:
        super().__init__()
        self.fragile = Fragile()

    def forward(self, pixels: Tensor) -> Tensor:
        return Unwilling.apply(self.fragile(pixels))


def test_the_pattern_turns_films_it_was_not_fitted_on_and_noise_does_not(evidence, tmp_path):
    # A random pattern that happens to lie along the checkerboard turns films, too: one of a few seeds has none such.
    answers = replace(evidence(subject_of(Fragile(), "fragile"), films=60).main, seed=6)
    found = patterns(answers, "quick", tmp_path)
    for budget in LEVELS:
        assert found.robust(budget).mean() < 0.4 < 0.7 < found.robust(budget, "random").mean()
        rows = found.at(budget)
        assert rows["image_id"].tolist() == [answers.images[at] for at in found.index]
        for fold in (0, 1):
            pattern = found.patterns[budget, fold]
            assert float(np.abs(pattern).max()) == pytest.approx(budget, rel=1e-4)
            held = rows[rows["fold"] == fold]
            film = answers.film(held["image_id"].iloc[0]).pixels
            shown = torch.round(torch.from_numpy(film) * 255) / 255 + torch.from_numpy(pattern)
            called = int(answers.subject.network(shown.clamp(0, 1).expand(1, 3, -1, -1)).argmax())
            assert called == held["prediction"].iloc[0], "the pattern of a fold is not the one its films were shown"


def test_finished_patterns_are_read_and_only_missing_budgets_fitted(evidence, tmp_path, monkeypatch):
    answers = evidence(subject_of(Fragile(), "fragile"), films=12).main
    original, fitted = universal.universal_films, []

    def counting(*arguments, budgets, **settings):
        fitted.append(budgets)
        if len(fitted) == 2:
            raise KeyboardInterrupt
        return original(*arguments, budgets=budgets, **settings)

    monkeypatch.setattr(universal, "universal_films", counting)
    with pytest.raises(KeyboardInterrupt):
        patterns(answers, "quick", tmp_path)
    once = patterns(answers, "quick", tmp_path)
    assert fitted == [[LEVELS[0]], [LEVELS[1]], [LEVELS[1]], [LEVELS[2]]]
    twice = patterns(answers, "quick", tmp_path)
    assert len(fitted) == 4
    pd.testing.assert_frame_equal(once.rows, twice.rows)


def test_one_patient_is_too_few_for_a_pattern(evidence, tmp_path):
    answers = evidence(subject_of(Fragile(), "fragile"), films=6).main
    alone = replace(answers, cohort=replace(answers.cohort, table=answers.cohort.table.assign(patient="p")))
    with pytest.raises(NotEvaluable, match="other patients"):
        patterns(alone, "quick", tmp_path)


def test_transfer_is_counted_on_films_that_were_right(evidence, tmp_path):
    fragile, reader = subject_of(Fragile(), "fragile"), subject_of(Reader(), "reader")
    found = evidence(fragile, reader, films=30)
    everyone = [found.main, *found.peers["main"]]
    rows = transferred(everyone, "quick", tmp_path)
    assert set(zip(rows["source"], rows["target"], strict=True)) == {
        (source, target) for source in ("fragile", "reader") for target in ("fragile", "reader")
    }
    table = matrix(rows, 4 / 255).set_index("made against")
    assert table.loc["fragile", "shown to reader: wrong"] == "0 of 24 (0 %)"
    wrong, right = (int(part) for part in table.loc["fragile", "shown to fragile: wrong"].split(" (")[0].split(" of "))
    chosen = rows[(rows["source"] == "fragile") & (rows["target"] == "fragile") & (rows["budget"] == 4 / 255)]
    assert right == (chosen["clean_prediction"] == chosen["label"]).sum() < len(chosen)
    assert wrong > right / 2
    pd.testing.assert_frame_equal(rows, transferred(everyone[::-1], "quick", tmp_path))


def test_finished_batches_are_not_made_again(evidence, tmp_path, monkeypatch):
    found = evidence(subject_of(Fragile(), "fragile"), subject_of(Reader(), "reader"), films=30)
    everyone = [found.main, *found.peers["main"]]
    transferred(everyone, "quick", tmp_path)
    monkeypatch.setattr(transfer, "transfer_films", lambda *_, **__: pytest.fail("made again"))
    transferred(everyone, "quick", tmp_path)


def test_subjects_with_other_resizes_and_without_gradients_are_shown_the_same_film(evidence, tmp_path):
    larger = Preprocessing(name="small", short_side=96, size=64)
    cropped = replace(subject_of(Reader(), "cropped"), preprocessing=larger)
    wall = Answering(Fragile())
    found = evidence(subject_of(Fragile(), "fragile"), cropped, wall.subject(), films=30)
    before = len(wall.asked)
    rows = transferred([found.main, *found.peers["main"]], "quick", tmp_path)
    assert set(rows["source"]) == {"fragile", "cropped"}
    assert rows["image_id"].nunique() == 12
    assert len(wall.asked) - before == 12 * (1 + 2 * len(transfer.LEVELS))
    both = rows[rows["source"] == "fragile"].pivot_table(
        index=["image_id", "budget"], columns="target", values="robust"
    )
    assert (both["fragile"] == both["remote"]).all(), "the same network behind a wall answers the same"


def transferred_onto(judgement) -> int:
    """Return n of the matrix for the films made against the twin."""
    tables = judgement.result.tables
    table = next(table for title, table in tables.items() if title.startswith("Transfer: films changed by 4"))
    return int(table.set_index("made against").loc["twin", "shown to masked: wrong"].split(" of ")[1].split(" ")[0])


def test_films_made_against_a_twin_give_away_a_subject_that_hides_its_gradients(judged):
    masked, twin = subject_of(Masked(), "masked"), subject_of(Fragile(), "twin")
    alone = judged("adversarial.full_film", masked)
    assert not any(title.startswith("Transfer") for title in alone.result.tables)
    judgement = judged("adversarial.full_film", masked, twin)
    checks = judgement.result.tables["Is the attack to be trusted"].set_index("check")
    assert checks.loc["white-box beats transfer", "passed"] == "NO"
    assert judgement.verdict is Verdict.INCONCLUSIVE
    turned = [measure for measure in judgement.result.measures if measure.name == "turned_share"]
    assert [measure.condition for measure in turned] == [
        "linf/film 2/255 made against twin", "linf/film 4/255 made against twin",
    ]  # fmt: skip
    assert turned[1].estimate > 0.5
    rows = transferred_onto(judgement)
    assert 8 <= turned[1].n == rows < 24, "a film that was wrong already cannot be turned"


@pytest.mark.parametrize("levels", [0.0, 3.0, 300.0])
def test_a_pattern_nobody_fitted_is_a_usage_error(judged, levels):
    with pytest.raises(UsageProblem, match=r"`levels` is .*: expected 2, 4 or 8"):
        judged("adversarial.universal", subject_of(Reader(), "reader"), levels=levels)


def test_a_film_without_a_flip_still_shows_the_pattern(judged):
    judgement = judged("adversarial.universal", subject_of(Reader(), "reader"))
    assert judgement.verdict is not Verdict.SUPPORTED
    (pictures,) = judgement.result.galleries.values()
    assert len(pictures) == 4
    pictures[0].draw()
    assert cohort_of(3).patients == 3
