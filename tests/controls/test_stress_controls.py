"""The stress suites catch a subject that fails by construction, and clear one that does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.stats import binom
from torch import Tensor, nn

from suites.harness.claims import Verdict
from suites.harness.claims_table import load_claims
from suites.harness.endpoints import get
from suites.harness.predictions.answers import Answers
from suites.harness.verdicts import judge_section
from tests.controls.films import CLASSES
from tests.controls.simulated import simulated_answers, simulated_evidence
from tests.controls.subjects import Calm, Reader, line_strength, rewindowed, subject_of


class LineReader(nn.Module):
    """Right about everything on clean films, and calls a film bacterial when a single spatial frequency stands out."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = Reader()

    def forward(self, pixels: Tensor) -> Tensor:
        alarm = (line_strength(pixels.mean(dim=1)) > 6).float()
        return self.reader(pixels) + 100 * alarm[:, None] * torch.tensor([1.0, 0.0, 0.0])


def test_clean_films_are_read_right(judge):
    assert judge("classes.balanced_accuracy", subject_of(Reader(), "reader")).verdict is Verdict.MET
    assert judge("classes.balanced_accuracy", subject_of(Calm(), "calm")).verdict is Verdict.VIOLATED


def test_low_contrast_is_caught_and_a_rewindowing_subject_cleared(judge):
    caught = judge("contrast.window", subject_of(Reader(), "reader"), remedies=[])
    assert caught.verdict is Verdict.SUPPORTED, caught.reason
    cleared = judge("contrast.window", subject_of(Reader(read=rewindowed), "rewindowing"), remedies=[], films=330)
    assert cleared.verdict is Verdict.NOT_SUPPORTED, cleared.reason


def test_stripes_are_caught_and_a_blind_subject_cleared(judge):
    caught = judge("grid.stripes", subject_of(LineReader(), "lines"), remedies=[])
    assert caught.verdict is Verdict.SUPPORTED, caught.reason
    cleared = judge("grid.stripes", subject_of(Reader(), "reader"), remedies=[])
    assert cleared.verdict is not Verdict.SUPPORTED, cleared.reason


def losing(harm: float, condition: str, seed: int, films: int = 600) -> Answers:
    """Answers that are right on 80 of 100 films, and on `harm` fewer under a condition; two films per patient."""
    answers = simulated_answers({"clean": 1.0, condition: 1.0}, films=films, seed=seed)
    generator = np.random.default_rng([seed, 5])
    shown = answers.predictions.table.copy()
    for name, right in (("clean", 0.8), (condition, 0.8 - harm)):
        calls = np.where(generator.random(films) < right, answers.labels, (answers.labels + 1) % 3)
        rows = shown["condition"] == name
        shown.loc[rows, [f"logit_{index}" for index in range(3)]] = 3.0 * np.eye(3)[calls]
    return replace(answers, predictions=replace(answers.predictions, table=shown))


def test_a_loss_of_exactly_the_margin_is_called_neither_way_more_often_than_the_level_allows(tmp_path):
    claim = next(item for item in load_claims() if item.id == "contrast.window")
    claim = replace(claim, parameters={"condition": claim.parameters["condition"]})
    found = []
    for seed in range(20):
        evidence = simulated_evidence(losing(claim.margin, claim.parameters["condition"], seed), tmp_path)
        result = get(claim.endpoint)(evidence, claim)
        found.append(judge_section([claim], "s", {claim.id: result})[0].verdict)
    allowed = binom.ppf(0.999, len(found), 0.025)
    assert found.count(Verdict.SUPPORTED) <= allowed
    assert found.count(Verdict.NOT_SUPPORTED) <= allowed


def test_a_loss_well_beyond_the_margin_is_found_whatever_the_seed(tmp_path):
    """The test above would pass on an endpoint that never settles anything; this one would not."""
    claim = next(item for item in load_claims() if item.id == "contrast.window")
    claim = replace(claim, parameters={"condition": claim.parameters["condition"]})
    for seed in range(5):
        evidence = simulated_evidence(losing(claim.margin + 0.2, claim.parameters["condition"], seed), tmp_path)
        result = get(claim.endpoint)(evidence, claim)
        assert judge_section([claim], "s", {claim.id: result})[0].verdict is Verdict.SUPPORTED


def test_probes_that_were_not_given_are_not_evaluable(judge):
    assert judge("probes.lateral", subject_of(Calm(), "calm")).verdict is Verdict.NOT_EVALUABLE


def test_classes_of_the_controls_are_the_published_ones():
    assert subject_of(Calm(), "calm").classes == CLASSES
