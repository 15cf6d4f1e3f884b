"""What is counted of many sides at once is what is counted side by side, film by film and resample by resample."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast
from weakref import WeakValueDictionary

import numpy as np
import pytest

from calibration import null_band
from suites.harness.endpoints.subgroups import reading
from suites.harness.endpoints.subgroups.calibration_gap import _chance
from suites.harness.endpoints.subgroups.statistic import Auroc, DebiasedError, Mean, Side, all_sampled, sampled
from suites.harness.predictions.answers import Answers
from suites.harness.statistics import Resamples
from suites.harness.statistics.by_blocks import Counted
from suites.harness.statistics.side_aurocs import KINDS

FILMS, BINS = 300, 5


def cohort(patients: int, classes: int, seed: int) -> tuple[Answers, np.random.Generator]:
    """Films of patients of whom some have films of several classes."""
    generator = np.random.default_rng(seed)
    owner = generator.integers(0, patients, FILMS)
    labels = generator.integers(0, classes, FILMS)
    resamples = Resamples.draw([f"p{one}" for one in owner], labels, seed=seed, count=50)
    answers = SimpleNamespace(resamples=resamples, labels=labels, patients=owner.astype(str), seed=seed)
    return cast("Answers", answers), generator


def sides_of(generator: np.random.Generator, labels: np.ndarray, groups: int = 3) -> list[Side]:
    """Groups and all others, once as they are and once with films of each class counting more or less."""
    found: list[Side] = []
    for _ in range(groups):
        inside = generator.random(FILMS) < generator.uniform(0.15, 0.7)
        for films in (inside, ~inside):
            mix = generator.uniform(0.2, 3.0, (int(labels.max()) + 1, 2))
            found += [(films, None), (films, mix[labels, (np.arange(FILMS) % 5 == 0).astype(int)])]
    return found


def statistics_of(answers: Answers, generator: np.random.Generator) -> dict[str, object]:
    scores = generator.normal(answers.labels, 1.5, FILMS)
    p = generator.dirichlet(np.ones(int(answers.labels.max()) + 1), FILMS)
    return {
        "mean": Mean(generator.random(FILMS) < 0.1),
        "auroc": Auroc(scores, answers.labels > 0),
        "tied auroc": Auroc(scores.round(0), answers.labels > 0),
        "rarer healthy": Auroc(-scores, answers.labels == 0),
        "error": DebiasedError(p, answers.labels, answers.resamples.cluster, BINS),
    }


@pytest.mark.parametrize(("patients", "classes", "seed"), [(150, 2, 0), (40, 3, 1), (290, 2, 2), (12, 3, 3)])
def test_every_statistic_of_many_sides_is_that_of_each(patients, classes, seed):
    answers, generator = cohort(patients, classes, seed)
    sides = sides_of(generator, answers.labels)
    for name, statistic in statistics_of(answers, generator).items():
        together = all_sampled(answers, sides, statistic, bounds=(-1.0, 1.0), averaged=False)
        for (films, factor), found in zip(sides, together, strict=True):
            alone = sampled(answers, films, statistic, factor=factor, bounds=(-1.0, 1.0), averaged=False)
            assert found.patients == alone.patients
            for what in ("estimate", "replicates", "left_out"):
                np.testing.assert_allclose(
                    getattr(found, what), getattr(alone, what), rtol=1e-9, atol=1e-8 if name == "error" else 1e-12,
                    err_msg=f"{name}, {what}",
                )  # fmt: skip


def test_groups_of_patients_left_out_together_and_patients_of_tiny_bins_change_nothing(monkeypatch):
    """Few films a side, so that bins hold one or two patients, and resamples of which a side has no film."""
    monkeypatch.setattr("suites.harness.statistics.resamples.LEFT_OUT", 20)
    answers, generator = cohort(150, 2, 4)
    sides = [(generator.random(FILMS) < 0.05, None) for _ in range(8)]
    error = DebiasedError(generator.dirichlet(np.ones(2), FILMS), answers.labels, answers.resamples.cluster, BINS)
    for statistic in (error, Mean(generator.random(FILMS))):
        for (films, _), found in zip(sides, all_sampled(answers, sides, statistic), strict=True):
            alone = sampled(answers, films, statistic)
            np.testing.assert_allclose(found.replicates, alone.replicates, rtol=1e-9, atol=1e-8)
            np.testing.assert_allclose(found.left_out, alone.left_out, rtol=1e-9, atol=1e-8)


def test_resamples_that_are_looked_at_in_blocks_are_the_same(monkeypatch):
    answers, generator = cohort(150, 2, 10)
    sides = sides_of(generator, answers.labels)
    statistics = list(statistics_of(answers, generator).values())
    once = [all_sampled(answers, sides, statistic) for statistic in statistics]
    for name, value in (("ARRAY_BYTES", 0), ("BLOCK_BYTES", 8 * 150 * 7), ("_HELD", WeakValueDictionary())):
        monkeypatch.setattr(f"suites.harness.statistics.resamples.{name}", value)
    answers, generator = cohort(150, 2, 10)
    assert isinstance(answers.resamples.weights, Counted)
    assert len(list(answers.resamples.of_patients())) > 2
    for statistic, of_all in zip(statistics, once, strict=True):
        for found, alike in zip(all_sampled(answers, sides, statistic), of_all, strict=True):
            assert found.estimate == pytest.approx(alike.estimate, rel=1e-9)
            np.testing.assert_allclose(found.replicates, alike.replicates, rtol=1e-9, atol=1e-8)


def test_a_side_that_a_resample_passes_by_has_no_value_there():
    answers, generator = cohort(150, 2, 5)
    films = answers.resamples.cluster == 0
    (found,) = all_sampled(answers, [(films, None)], Mean(generator.random(FILMS)))
    empty = answers.resamples.weights[:, films].sum(axis=1) == 0
    assert 0 < empty.sum() < len(empty)
    np.testing.assert_array_equal(np.isnan(found.replicates), empty)


def test_films_of_ever_so_many_kinds_are_counted_part_by_part():
    answers, generator = cohort(150, 2, 6)
    sides = [(generator.random(FILMS) < 0.6, generator.uniform(0.5, 2.0, FILMS)) for _ in range(3)]
    assert len(np.unique(np.array([factor * films for films, factor in sides]).T, axis=0)) > KINDS * len(sides)
    statistic = Auroc(generator.normal(answers.labels, 1.0, FILMS), answers.labels > 0)
    for (films, factor), found in zip(sides, all_sampled(answers, sides, statistic), strict=True):
        alone = sampled(answers, films, statistic, factor=factor)
        np.testing.assert_allclose(found.replicates, alone.replicates, rtol=1e-12)
        np.testing.assert_allclose(found.left_out, alone.left_out, rtol=1e-12)


def test_of_two_sides_that_are_the_same_films_one_is_counted():
    answers, generator = cohort(150, 2, 7)
    women = generator.random(FILMS) < 0.5
    once = np.ones(FILMS)
    found = all_sampled(answers, [(women, None), (~women, None), (women.copy(), None), (women, once)], Mean(women))
    assert found[0] is found[2]
    assert found[0] is not found[3]


@pytest.mark.parametrize("within", [0.0, 0.4])
def test_the_band_of_perfect_calibration_is_that_of_its_samples(within):
    answers, generator = cohort(120, 3, 8)
    p, people = generator.dirichlet(np.ones(3), FILMS), answers.resamples.cluster
    samples = null_band.calibrated_samples(p, groups=people, within=within)

    def error(p, labels, weights, groups):
        return DebiasedError(p, labels, groups, BINS)(np.ones(len(p), dtype=bool), weights)

    np.testing.assert_allclose(_chance(p, people, within).draws, samples.band(error).draws, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("features", [8, 400])
def test_a_group_is_read_off_as_by_ridge_regression_in_its_dual_form(features):
    answers, generator = cohort(120, 2, 9)
    films = generator.random(FILMS) < 0.9
    seen = generator.normal(0, 1, (FILMS, features)).astype(np.float32)
    group = seen[:, 0] + generator.normal(0, 1, FILMS) > 0.3
    scores, shuffled = reading.Reading.of(seen, answers, films).read_off(group)
    labels, owner = answers.labels[films], np.unique(answers.patients[films], return_inverse=True)[1]
    x = reading._within(seen[films].astype(np.float64), labels, 2)
    x /= x.std(axis=0)
    kernel, wanted = x @ x.T / features, group[films].astype(np.float64)[:, None]
    for fold in reading.Reading.of(seen, answers, films).folds:
        mine, others = fold.mine, fold.others
        assert not set(owner[mine]) & set(owner[others])
        solved = np.linalg.solve(
            kernel[np.ix_(others, others)] + np.eye(len(others)), reading._within(wanted[others], labels[others], 2)
        )
        np.testing.assert_allclose(scores[mine], (kernel[np.ix_(mine, others)] @ solved)[:, 0], rtol=1e-8, atol=1e-11)
    assert abs(float(np.median(shuffled)) - 0.5) < 0.05


def test_rank_sums_of_ties_are_averaged():
    generator = np.random.default_rng(0)
    member = generator.random((3, 50)) < 0.4
    for scores in (generator.normal(0, 1, (3, 50)), generator.integers(-3, 3, (3, 50)) * 1.0, np.zeros((3, 50))):
        smaller = (scores[:, None, :] < scores[:, :, None]).sum(axis=2)
        equal = (scores[:, None, :] == scores[:, :, None]).sum(axis=2)
        expected = ((smaller + (equal + 1) / 2) * member).sum(axis=1)
        np.testing.assert_array_equal(reading._rank_sums(scores, member), expected)
