"""Are two subjects compared film by film under stress, is chance told from harm, and is one told which way is worse?"""

from __future__ import annotations

import math
from dataclasses import replace

import jsonschema
import numpy as np
import pytest

from suites.harness import statistics
from suites.harness.performance.paired_comparison import Pair, PairedMeasure, compare
from suites.harness.predictions.conditions import CLEAN, parse
from suites.harness.report import results
from suites.harness.report.comparison_section import comparison_document, comparison_table, write_comparison
from suites.harness.report.forest_plot import forest_plot
from suites.harness.stress_grid.measuring import measure_grid
from suites.harness.stress_grid.paired import pairs_under_stress
from tests.suites.stress_grid.test_stress_grid import answers_with, without

SCATTER = ("scatter@1", "scatter@3", "scatter@5")
JPEG = ("jpeg_quality@1", "jpeg_quality@3", "jpeg_quality@5")
CONTROL = ("brightness_shift@1", "brightness_shift@3", "brightness_shift@5")
CONDITIONS = [parse(text) for text in (*SCATTER, *JPEG, *CONTROL)]


def subject(name: str, scatter: float, seed: int = 0):
    shares = dict.fromkeys(SCATTER, scatter) | dict.fromkeys(JPEG, 0.02) | dict.fromkeys(CONTROL, 0.02)
    return replace(answers_with(shares, seed=seed, name=name))


@pytest.fixture(scope="module")
def two():
    return [measure_grid(subject(name, share), CONDITIONS) for name, share in (("weak", 0.4), ("sound", 0.05))]


@pytest.fixture(scope="module")
def pair(two):
    return pairs_under_stress(two)[0]


def harm_of(pair, name):
    return next(harm for harm in pair.harms if harm.perturbation == name)


def test_the_difference_is_that_of_the_losses_film_by_film(two, pair):
    def loss(answers, condition):
        def balanced(name):
            right = answers.correct(name)
            return np.mean([right[answers.labels == k].mean() for k in range(3)])

        return balanced(CLEAN) - balanced(condition)

    expected = np.mean([loss(two[0].answers, c) - loss(two[1].answers, c) for c in SCATTER])
    assert harm_of(pair, "scatter").difference == pytest.approx(expected, abs=1e-12)


def test_a_difference_that_is_there_is_settled_and_one_that_is_not_is_not(pair):
    scatter, jpeg = harm_of(pair, "scatter"), harm_of(pair, "jpeg_quality")
    assert scatter.settled
    assert scatter.low > 0.2
    assert not jpeg.settled
    assert jpeg.low < 0 < jpeg.high
    assert [harm.perturbation for harm in pair.worse("weak")] == ["scatter"]
    assert pair.worse("sound") == []


def test_the_other_way_round_every_sign_turns(two, pair):
    back = pairs_under_stress(two[::-1])[0]
    for harm in pair.harms:
        turned = harm_of(back, harm.perturbation)
        assert (turned.difference, turned.first) == pytest.approx((-harm.difference, harm.second))
        assert (turned.low, turned.high) == pytest.approx((-harm.high, -harm.low))
        assert turned.p == pytest.approx(harm.p)


def test_the_same_subject_twice_differs_in_nothing(two):
    for harm in pairs_under_stress([two[0], two[0]])[0].harms:
        assert harm.difference == 0
        assert harm.p == 1
        assert not harm.settled


def test_controls_are_shown_and_corrected_for_nobody(pair):
    control = harm_of(pair, "brightness_shift")
    assert math.isfinite(control.difference)
    assert math.isnan(control.holm)
    assert not control.settled
    tested = [harm for harm in pair.harms if math.isfinite(harm.holm)]
    assert [harm.holm for harm in tested] == pytest.approx(list(statistics.holm([harm.p for harm in tested])))


def test_answers_to_other_films_are_not_paired(two):
    other = measure_grid(without(two[1].answers, "scatter@3", 5), CONDITIONS)
    harm = harm_of(pairs_under_stress([two[0], other])[0], "scatter")
    assert "different films" in harm.reason
    assert math.isnan(harm.difference)
    assert not harm.settled


def test_a_second_subject_that_errs_less_has_a_corruption_error_below_one(pair):
    score = next(score for score in pair.corruption_error if score.name == "mCE")
    assert (score.subject, score.reference) == ("sound", "weak")
    assert score.high < 1


def test_clean_films_are_compared_by_who_alone_is_right(two):
    first, second = (grid.answers for grid in two)
    found = compare([first, second])[0]
    right = [answers.correct() for answers in (first, second)]
    assert found.only_first == int(((right[0] == 1) & (right[1] == 0)).sum())
    assert found.only_second == int(((right[0] == 0) & (right[1] == 1)).sum())
    assert found.films == len(first.images)
    assert found.accuracy.difference == pytest.approx(right[0].mean() - right[1].mean())


@pytest.mark.parametrize(
    ("low", "high", "p", "told"),
    [
        (0.008, 0.080, 0.062, "leaves out 0"),
        (-0.001, 0.080, 0.03, "holds 0"),
        (0.008, 0.080, 0.01, ""),
        (-0.02, 0.080, 0.4, ""),
    ],
)
def test_where_interval_and_test_disagree_it_is_said(low, high, p, told):
    accuracy = PairedMeasure(
        measure="accuracy", first=0.9, second=0.858, difference=0.042, low=low, high=high, films=120, patients=120
    )
    pair = Pair(first="a", second="b", measures=(accuracy,), films=120, patients=80, only_first=7, only_second=2,
                mcnemar=p, sign_flip=0.05)  # fmt: skip
    assert (told in pair.disagreement) if told else not pair.disagreement
    assert ("not settled" in pair.disagreement) == bool(told)


def test_page_file_and_document_tell_the_same(two, pair, tmp_path):
    clean = compare([grid.answers for grid in two])
    section = write_comparison(clean, [pair], tmp_path)
    (document,) = results._plain(comparison_document(clean, [pair]))
    jsonschema.validate(document, {"$ref": "#/$defs/pair", "$defs": results._schema()["$defs"]})
    table = comparison_table(clean, [pair]).set_index(["perturbation", "measure"])
    stored = next(harm for harm in document["stress"] if harm["perturbation"] == "scatter")
    assert table.loc[("scatter", "loss_of_balanced_accuracy"), "difference"] == stored["difference"]
    assert stored["settled"]
    assert any("1 of 2 stresses surely cost weak more: scatter" in text for text in section.pairs[0].sentences)
    assert any("sound surely errs less" in text for text in section.pairs[0].sentences)
    assert (tmp_path / section.forests[0].file).is_file()


def test_settled_differences_are_filled_and_others_hollow(pair):
    axes = forest_plot([pair]).axes[0]
    points = {
        round(float(line.get_xdata()[0]), 9): line for line in axes.lines if line.get_marker() not in ("", "None")
    }
    filled = points[round(harm_of(pair, "scatter").difference, 9)]
    hollow = points[round(harm_of(pair, "jpeg_quality").difference, 9)]
    assert filled.get_markerfacecolor() != "white"
    assert hollow.get_markerfacecolor() == "white"
