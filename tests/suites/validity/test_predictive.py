"""A stress that foretells the drop at a hospital is told from one that does not, over subjects made to order."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import permutation_test, spearmanr

from suites.harness.report.hospitals_section import FILES, HospitalsSection
from suites.harness.validity.drops import Drops
from suites.harness.validity.in_report import _part
from suites.harness.validity.predictive import Validity, no_stress, validities
from suites.harness.validity.write import sentence, write_validity


def table(measured: np.ndarray, **predicted: np.ndarray) -> pd.DataFrame:
    rows = [
        {"report": "r", "subject": f"s{at}", "hospital": "north", "perturbation": name, "severity": 3,
         "condition": f"{name}@3", "predicted": foretold[at], "measured": lost, "low": lost - 0.05, "high": lost + 0.05,
         "at_home": 0.9 - (at % 3) / 10, "patients": 50, "predicted_low": foretold[at] - 0.1,
         "predicted_high": foretold[at] + 0.1}
        for name, foretold in predicted.items()
        for at, lost in enumerate(measured)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def found(measured: np.ndarray, **predicted: np.ndarray) -> dict[str, Validity]:
    return {one.condition.split("@")[0]: one for one in validities(table(measured, **predicted))}


LOST = np.linspace(0.02, 0.3, 8)


def test_a_stress_that_foretells_exactly_and_one_that_says_nothing():
    unrelated = np.array([1, 2, 2, 1, 1, 2, 2, 1]) * 0.1
    told = found(LOST, gamma_low=LOST, scatter=unrelated, jpeg_quality=LOST / 2, low_resolution=-LOST)
    exact, nothing, half, wrong = (told[name] for name in ("gamma_low", "scatter", "jpeg_quality", "low_resolution"))
    assert (exact.rank.estimate, exact.error.estimate, exact.slope.estimate) == pytest.approx((1, 0, 1))
    assert exact.rank.low == pytest.approx(1)
    assert exact.word == "ranks subjects as the hospital does"
    assert nothing.rank.estimate == pytest.approx(0)
    assert nothing.rank.low < -0.5 < 0.5 < nothing.rank.high
    assert nothing.word == "not settled by these subjects"
    many = np.arange(60) / 200
    shuffled = np.random.default_rng(0).permutation(many)
    assert found(many, scatter=shuffled)["scatter"].word == "predicts little"
    assert (half.rank.estimate, half.slope.estimate) == pytest.approx((1, 2))
    assert half.error.high < 0
    assert wrong.word == "ranks them the wrong way round"
    assert "2 surely rank these 8 subjects" in sentence([exact, nothing, half, wrong], exact.rank)


def test_rank_correlation_and_p_are_scipy_s():
    generator = np.random.default_rng(1)
    measured, predicted = generator.random(6), generator.random(6)
    one = found(measured, scatter=predicted)["scatter"]
    assert one.rank.estimate == pytest.approx(spearmanr(predicted, measured).statistic)
    exact = permutation_test(
        (predicted,), lambda x: spearmanr(x, measured).statistic, permutation_type="pairings", n_resamples=np.inf
    )
    assert one.p == pytest.approx(exact.pvalue)
    assert one.holm == pytest.approx(one.p)


def test_what_accuracy_at_home_alone_says_stands_beside():
    rows = table(LOST, scatter=LOST, gamma_low=LOST)
    assert no_stress(rows.assign(at_home=0.5 + rows["measured"])).estimate == pytest.approx(1)
    alone = no_stress(rows)
    assert alone.estimate == pytest.approx(spearmanr([0.9 - (at % 3) / 10 for at in range(8)], LOST).statistic)
    assert "alone, without any stress, ranks them with" in sentence(validities(rows), alone)


def test_few_subjects_and_a_stress_that_costs_all_the_same_are_said():
    assert found(LOST[:3], scatter=LOST[:3])["scatter"].problem == "needs 4 subjects"
    flat = found(LOST, scatter=np.full(8, 0.1))["scatter"]
    assert flat.problem == "the same for every subject"
    assert math.isnan(flat.rank.estimate)


def test_a_hospital_with_few_patients_of_a_class_has_no_drop_to_foretell():
    few = table(LOST, scatter=LOST).assign(patients=4)
    told = validities(few)
    assert [one.word for one in told] == ["what was lost there is not known: 4 patients of a class"]
    assert math.isnan(no_stress(few).estimate)
    assert sentence(told, no_stress(few)).endswith("4 patients of a class.")


def test_chance_alone_finds_a_stress_no_more_often_than_the_level_allows():
    """Forty studies of seven subjects with twelve unrelated stresses each: any sure one is a false alarm."""
    generator = np.random.default_rng(5)
    names = ["scatter", "gamma_low", "gamma_high", "jpeg_quality", "low_resolution", "underexposure"]
    alarms = 0
    for _ in range(40):
        told = found(generator.random(6), **{name: generator.random(6) for name in names})
        alarms += any(one.holm < 0.05 for one in told.values())
    assert alarms <= 6


def test_the_page_the_figure_and_the_tables(tmp_path):
    drops = Drops(table(LOST, scatter=LOST, gamma_low=LOST[::-1]), ("<b> was left out.",), {"north": "Read as ill."})
    page = write_validity(drops, tmp_path / "out").read_text(encoding="utf-8")
    assert "Fewer than 10 subjects" in page
    assert "&lt;b&gt; was left out." in page
    assert "Read as ill." in page
    again = write_validity(drops, tmp_path / "again")
    for file in sorted((tmp_path / "out").iterdir()):
        assert file.read_bytes() == (again.parent / file.name).read_bytes(), file.name
    written = pd.read_csv(tmp_path / "out" / "validity.csv")
    assert list(written["rank"]) == pytest.approx([1, -1])


def test_the_section_of_a_run_speaks_of_subjects_only_where_there_are_enough(tmp_path):
    drops = Drops(table(LOST, scatter=LOST, gamma_low=LOST[::-1]), (), {"north": "Read as ill."})
    many = _part("north", drops, 0)
    assert many.over_subjects is not None
    assert many.over_subjects.rows[0][0] == "Scatter, severity 3"
    assert list(many.figures) == ["Drop at the hospital against the drop under stress"]
    few = _part("north", replace(drops, table=drops.table[drops.table["subject"] == "s7"]), 0)
    assert few.over_subjects is None
    assert "cannot be told from 1 subject; 4 are the fewest" in few.told
    assert few.lost == {"s7": "+30.0 (+25.0 to +35.0)"}
    assert few.drops["s7"].rows[0][1] == "+30.0 (+20.0 to +40.0)"
    tables = {name: drops.table for name, _ in FILES}
    pictures = HospitalsSection(parts=[many, few], left_out=(), tables=tables).write(tmp_path)["north"]
    assert [picture.problem for picture in pictures] == [""]
    assert {path.name for path in tmp_path.iterdir()} == {"figures", "validity.csv", "validity-drops.csv"}
