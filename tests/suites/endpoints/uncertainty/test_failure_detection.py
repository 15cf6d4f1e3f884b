"""The table of which score catches which failure: known truths, every score filled in, passes kept and repeatable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from calibration import scores
from suites.harness import evaluate
from suites.harness.claims_table import load_claims
from suites.harness.endpoints.two_cohorts import TwoCohorts
from suites.harness.endpoints.uncertainty import failure_detection
from suites.harness.formatting.cells import NONE
from suites.harness.predictions.feature_and_dropout_passes import dropout_passes, features_under
from tests.controls.simulated import simulated_answers, simulated_evidence
from tests.controls.subjects import cohort_of, subject_of

CLAIM = next(claim for claim in load_claims() if claim.id == "abstention.coverage")
TABLE = "Which score catches which failure: AUROC"


def table_of(result):
    return next(table for title, table in result.tables.items() if title.startswith(TABLE))


class Forgetful(nn.Module):
    """Reads the greys of an 8 x 8 grid through a hidden layer with dropout; `sharpness` scales its logits."""

    def __init__(self, sharpness=20.0, rate=0.3) -> None:
        super().__init__()
        self.sharpness, self.calls = sharpness, 0
        self.layers = nn.Sequential(nn.Linear(64, 24), nn.Tanh(), nn.Dropout(rate), nn.Linear(24, 3))
        generator = torch.Generator().manual_seed(int(sharpness))
        for layer in (self.layers[0], self.layers[3]):
            layer.weight.data = 0.5 * torch.randn(layer.weight.shape, generator=generator)
            layer.bias.data.zero_()

    def forward(self, pixels):
        self.calls += len(pixels)
        greys = nn.functional.adaptive_avg_pool2d(pixels.mean(dim=1), 8).flatten(1)
        return self.sharpness * self.layers(greys - 0.45)


def judged(tmp_path, subjects, profile="standard", films=90):
    probes = {"lateral": cohort_of(60, name="turned", view="LATERAL", labelled=False)}
    run = evaluate(subjects, cohort_of(films), claims=[CLAIM], profile=profile, probes=probes, cache=tmp_path / "cache")
    return run, run.judgements[0].result


def test_features_catch_what_confidence_cannot_and_the_other_way_round(tmp_path):
    """Lateral films with the usual logits and far features; wrong calls with doubtful logits and the usual features."""
    main = simulated_answers({"clean": 1.0, "whiteout_bilateral@4": 0.2}, features=(2.0, 12))
    lateral = simulated_answers({"clean": 1.0}, name="lateral", films=200, features=(-2.0, 12))
    evidence = simulated_evidence(main, tmp_path, probes={"lateral": lateral})
    found = failure_detection.detection(evidence, "whiteout_bilateral@4", "shifts")
    assert found.films == {
        "lateral": (600, 200), "white-out": (600, 600), "misclassified": found.films["misclassified"]
    }  # fmt: skip
    for score in ("mahalanobis", "nearest-neighbours", "vim"):
        assert found.cells[score, "lateral", "AUROC"].low > 0.75, score
        assert (score, "white-out", "AUROC") not in found.cells  # a quick run has no features of white films
    for score in ("max-softmax", "entropy", "margin"):
        blind = found.cells[score, "lateral", "AUROC"]
        assert blind.low < 0.5 < blind.high
        assert found.cells[score, "lateral", "FPR95"].high > 0.9
        assert found.cells[score, "misclassified", "AUROC"].low > 0.65
        assert found.cells[score, "white-out", "AUROC"].low > 0.8
    assert found.cells["mahalanobis", "misclassified", "AUROC"].high < 0.6
    doubt = np.concatenate([scores.get("max-softmax")(answers.logits()) for answers in (main, lateral)])
    judged_by_a_claim = TwoCohorts.of(main, lateral).auroc(doubt).interval()
    assert found.cells["max-softmax", "lateral", "AUROC"] == judged_by_a_claim, "one number has one interval"
    table = found.table().set_index("score")
    assert table.loc["MC dropout", "why empty"] == "profiles standard and full only"
    assert table.loc["vim", "why empty"] == "features of white films: profiles standard and full only"
    assert table.loc["ensemble", "why empty"] == "needs two subjects with the same classes"
    assert table.loc["max-softmax", "why empty"] == ""
    numbers = found.numbers().set_index(["score", "failure", "statistic"])
    exact = found.cells["max-softmax", "white-out", "AUROC"]
    assert numbers.loc[("max-softmax", "white-out", "auroc"), "low"] == exact.low
    assert table.loc["max-softmax", "white-out"].startswith(f"{exact.estimate:.3f} ({exact.low:.3f} to ")


def test_a_white_film_and_its_twin_are_resampled_together(tmp_path):
    """The same answers on both: the AUROC is one half in every resample, which a bootstrap of strangers would miss."""
    main = simulated_answers({"clean": 1.0, "whiteout_bilateral@4": 1.0})
    found = failure_detection.detection(simulated_evidence(main, tmp_path), "whiteout_bilateral@4", "")
    assert found.cells["max-softmax", "white-out", "AUROC"].estimate == 0.5
    own = main.resamples.weights
    twins = next(iter(failure_detection._failures(failure_detection.film_sets(simulated_evidence(main, tmp_path),
                                                                     "whiteout_bilateral@4"))))[1]  # fmt: skip
    assert np.array_equal(twins.resamples.weights, np.concatenate([own, own], axis=1))


def test_a_standard_run_fills_in_every_score_and_computes_it_once(tmp_path):
    one, other = Forgetful(), Forgetful(sharpness=14.0)
    subjects = [subject_of(one, "one"), subject_of(other, "other")]
    _, result = judged(tmp_path, subjects)
    table = table_of(result).set_index("score")
    assert not (table == NONE).any(axis=None), table.to_string()
    assert list(table.columns) == ["lateral", "white-out", "misclassified", "why empty"]
    one.calls = 0
    again = judged(tmp_path, subjects)[1]
    assert one.calls <= 2 + 12  # when a subject is loaded: two grey films in rehearsal, twelve to tell logits by
    assert again.files == result.files


def test_passes_depend_on_film_and_seed_alone(tmp_path):
    """Other neighbours, another order, an emptied cache: the same bytes. Dropout is off again afterwards."""
    network = Forgetful()
    run, _ = judged(tmp_path, subject_of(network, "one"), films=90)
    answers = run._answers["one", "main"]
    passes = dropout_passes(answers, "clean", tmp_path / "cache")
    assert passes.shape == (16, 90, 3)
    assert passes.std(axis=0).max() > 0.01
    assert np.allclose(passes.sum(axis=2), 1, atol=1e-5)
    few = replace(answers, cohort=answers.cohort.select(answers.cohort.table["number"] % 7 == 3))
    part = dropout_passes(few, "clean", tmp_path / "fresh")
    assert np.array_equal(part, passes[:, answers.cohort.table["number"] % 7 == 3])
    assert not np.array_equal(dropout_passes(replace(few, seed=1), "clean", tmp_path / "fresh"), part)
    assert not any(module.training for module in answers.subject.network.modules())
    white = features_under(few, "whiteout_bilateral@4", tmp_path / "fresh")
    assert white.shape == (len(few.cohort), 24)


def test_an_interrupt_keeps_the_passes_that_are_done(tmp_path, monkeypatch):
    network = Forgetful()
    run, _ = judged(tmp_path, subject_of(network, "one"), profile="quick", films=60)
    answers = run._answers["one", "main"]
    asked = []

    def decode(row):
        asked.append(row["id"])
        if len(asked) == 41:
            raise KeyboardInterrupt
        return cohort_of(1).decode(row)

    identify = lambda row: str(row["id"])  # noqa: E731
    halting = replace(answers, cohort=replace(answers.cohort, decode=decode, identify=identify))
    with pytest.raises(KeyboardInterrupt):
        dropout_passes(halting, "clean", tmp_path / "own")
    whole = dropout_passes(halting, "clean", tmp_path / "own")
    assert len(asked) == 41 + 20
    assert np.isfinite(whole).all()


def test_a_subject_without_dropout_says_so(tmp_path):
    _, result = judged(tmp_path, subject_of(Forgetful(rate=0.0), "plain"))
    table = table_of(result).set_index("score")
    assert table.loc["MC dropout", "why empty"] == "the subject has no dropout"
    assert (table.loc["MC dropout", ["lateral", "white-out"]] == NONE).all()
