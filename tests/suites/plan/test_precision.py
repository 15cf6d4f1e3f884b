"""How narrow an interval so many patients give: the textbook's numbers, and which claims stay open on few of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from suites.harness.claims_table import load_claims
from suites.harness.endpoints import get, names
from suites.harness.plan.precision import RULES, WITHOUT, Group, Precision, auroc, gap, paired, precision, rate
from suites.harness.statistics import wilson

FEW = Group({"bacterial_pneumonia": 5, "normal": 8, "viral_pneumonia": 7}, 20, 20)
MANY = Group({"bacterial_pneumonia": 5000, "normal": 8000, "viral_pneumonia": 7000}, 20000, 20000)


def expected(name: str, main: Group, **probes: Group) -> Precision | None:
    claim = next(claim for claim in load_claims() if claim.id == name)
    return precision(claim, get(claim.endpoint).asked(claim), {"main": main, **probes}, {})


def test_a_rate_is_as_sure_as_wilson_says():
    interval = wilson(90, 100)
    assert rate([100], 0.9) == pytest.approx((interval.high - interval.low) / 2, rel=0.05)


def test_a_mean_of_classes_and_a_gap_are_as_sure_as_simulated_ones():
    generator = np.random.default_rng(0)
    drawn = [generator.binomial(count, 0.9, 20_000) / count for count in (40, 90)]
    assert rate([40, 90], 0.9) == pytest.approx(1.96 * np.mean(drawn, axis=0).std(), rel=0.03)
    assert gap(40, 90) == pytest.approx(1.96 * (drawn[0] - drawn[1]).std(), rel=0.03)


def test_a_comparison_is_as_sure_as_simulated_pairs_of_which_one_in_ten_differs():
    generator = np.random.default_rng(0)
    pairs = generator.choice([-1, 0, 1], p=[0.05, 0.9, 0.05], size=(20_000, 150)).mean(axis=1)
    assert paired([150]) == pytest.approx(1.96 * pairs.std(), rel=0.03)


def test_an_auroc_is_as_sure_as_simulated_scores():
    generator, apart = np.random.default_rng(0), 1.8124  # two unit normals whose AUROC is .9
    near, far = generator.normal(0, 1, (4000, 40)), generator.normal(apart, 1, (4000, 60))
    found = (near[:, :, None] < far[:, None, :]).mean(axis=(1, 2))
    assert found.mean() == pytest.approx(0.9, abs=0.003)
    assert auroc(40, 60, 0.9) == pytest.approx(1.96 * found.std(), rel=0.1)


def test_what_has_no_films_is_never_settled_and_no_number_would_be_honest():
    nobody = expected("classes.viral_recall", Group({"normal": 9}, 9, 9))
    assert nobody.open
    assert math.isinf(nobody.half_width)
    assert nobody.wanted is None


@pytest.mark.parametrize(
    "name", ["contrast.scatter", "classes.viral_recall", "classes.recall_gap", "whiteout.sham", "flips.grid"]
)
def test_few_films_leave_open_what_many_settle(name):
    few, many = expected(name, FEW), expected(name, MANY)
    assert few.open
    assert not many.open
    assert few.wanted > few.patients
    enough = few.wanted / few.patients * 1.05
    scaled = {label: math.ceil(count * enough) for label, count in FEW.patients.items()}
    assert not expected(name, Group(scaled, sum(scaled.values()), sum(scaled.values()))).open


def test_a_claim_on_a_probe_rests_on_its_films():
    probe = Group({}, 4, 4)
    assert expected("doubt.lateral", MANY, lateral=probe).open
    assert expected("doubt.lateral", MANY, lateral=MANY).open is False
    assert expected("doubt.lateral", MANY) is None


def test_a_claim_about_another_hospital_rests_on_the_patients_of_both():
    assert expected("external.drop", MANY) is None
    assert expected("external.drop", MANY, external=FEW).open
    many = expected("external.drop", MANY, external=MANY)
    assert not many.open
    assert many.patients == 2 * MANY.everyone


def test_every_endpoint_about_a_subject_has_a_figure_or_is_known_to_have_none():
    known = {claim.endpoint for claim in load_claims() if get(claim.endpoint).about == "subject"}
    assert known == {*RULES, *WITHOUT}
    assert not {*RULES, *WITHOUT} - set(names())
