"""All that is said to a white film: every class, whatever the classes are, by cause, extent, side and film before."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration import selective
from robustness.draws import Draws
from robustness.opacity import side_of
from suites.harness.claims import Verdict
from suites.harness.claims_table import load_claims
from suites.harness.endpoints import get
from suites.harness.endpoints.failure_modes import white_films
from suites.harness.predictions.evidence import Evidence
from suites.harness.verdicts import judge_section
from tests.controls.planted import RIGHT, planted
from tests.controls.simulated import simulated_answers, simulated_evidence

CLAIMS = {claim.id: claim for claim in load_claims()}
CAUSES = CLAIMS["whiteout.confident"].parameters["conditions"]
LOBAR, BILATERAL = "whiteout_lobar@4", "whiteout_bilateral@4"
NORMAL = 1


def result_of(name, answers, folder, profile="quick"):
    claim = CLAIMS[name]
    evidence = simulated_evidence(answers, folder)
    return get(claim.endpoint)(
        Evidence(**{**vars(evidence), "profile": profile}) if profile != "quick" else evidence, claim
    )


CLASS_NAMES = st.lists(
    st.sampled_from(["a", "b+", "Ünt", "normal", "TB", "not_ill"]), min_size=2, max_size=4, unique=True
)


@given(CLASS_NAMES, st.integers(0, 1000))
@settings(max_examples=12, deadline=None)
def test_shares_are_those_of_the_films_they_speak_of(classes, seed):
    """Whatever the classes are called and how many there are; groups and sides are counted by hand."""
    generator = np.random.default_rng(seed)
    calls = generator.integers(0, len(classes), 48)
    labels = generator.integers(-1, len(classes), 48)
    labels[:2] = 0, 1
    answers = planted({LOBAR: calls}, films=48, classes=classes, labels=labels)
    rows = white_films.said(answers, LOBAR, np.ones(48, dtype=bool))
    side = np.array([side_of(Draws(image, "whiteout_lobar", answers.seed)) for image in answers.images])
    assert {row.side for row in rows} <= {"any", "left", "right"}
    if "normal" not in classes:
        assert {row.before for row in rows} == {"all"}
    for row in rows:
        normal = labels == (classes.index("normal") if "normal" in classes else -2)
        mine = {"all": labels >= -1, "normal": normal, "ill": (labels >= 0) & ~normal, "not labelled": labels < 0}
        films = mine[row.before] & ((side == row.side) | (row.side == "any"))
        assert row.n == films.sum() == row.patients
        assert list(row.called) == list(classes)
        for index, name in enumerate(classes):
            assert row.called[name].estimate == pytest.approx((calls[films] == index).mean())
    for before in {row.before for row in rows}:
        sizes = {row.side: row.n for row in rows if row.before == before}
        assert sizes.pop("any") == sum(sizes.values())


def test_a_white_out_of_both_lungs_has_no_side():
    rows = white_films.said(planted({BILATERAL: np.zeros(30)}, films=30), BILATERAL, np.ones(30, dtype=bool))
    assert {row.side for row in rows} == {"both"}


def test_the_rule_that_abstains_is_that_of_the_claims_about_abstention():
    answers = simulated_answers({"clean": 1.0, LOBAR: 0.01}, films=300)
    wrong = answers.correct() == 0
    left = white_films.abstains(answers, "clean")
    kept = 1 - selective.selective(-answers.probabilities().max(axis=1), wrong, risk=0.05).coverage
    assert left.mean() == pytest.approx(kept)
    assert 0 < left.mean() < 1
    assert white_films.abstains(answers, LOBAR).mean() > 0.99, "hardly surer than chance"
    nothing_right = planted({"clean": (np.arange(30) + 1) % 3}, films=30)
    assert white_films.abstains(nothing_right, "clean") is None


def answered(call, films=120, **more):
    conditions = [*CAUSES, "sham_opacity@4", "diffuse_dose_matched@4"]
    return planted({name: np.full(films, call) for name in conditions}, films=films, **more)


@pytest.mark.parametrize(
    ("name", "whose"),
    [("whiteout.normal", "Normal films"), ("whiteout.ill_called_normal", "Films of other classes than normal")],
)
def test_normal_although_white_is_a_verdict_of_its_own(name, whose, tmp_path):
    claim = CLAIMS[name]
    verdicts = {}
    for call in (NORMAL, 0):
        result = result_of(name, answered(call), tmp_path)
        (judgement,) = judge_section([claim], "s", {claim.id: result})
        verdicts[call] = judgement.verdict
        assert result.summary.startswith(
            f"{whose} made white are called normal in {100 * (call == NORMAL)}.0 % of cases"
        )
        assert result.effect.n == (40 if name == "whiteout.normal" else 80)
    assert verdicts == {NORMAL: Verdict.SUPPORTED, 0: Verdict.NOT_SUPPORTED}


def test_the_page_is_judged_as_it_was_and_its_table_has_every_class(tmp_path):
    calls = {name: np.where(np.arange(120) % 2, 0, 2) for name in CAUSES}
    answers = planted(
        calls | {"sham_opacity@4": np.full(120, RIGHT), "diffuse_dose_matched@4": np.full(120, RIGHT)}, films=120
    )
    result = result_of("whiteout.bacterial", answers, tmp_path)
    assert result.effect.estimate == pytest.approx(0.5)
    table = result.tables["What it says to them"]
    assert list(table["cause"]) == ["lobar", "effusion", "collapse", "mass", "bilateral", "total"]
    assert set(table["film before"]) == {"normal"}
    assert table["called viral pneumonia"].str.startswith("50.0 % (").all()
    assert set(table["severity"]) == {4}, "what it stands for is told once, below the pictures of the grid"
    assert "All calls: bacterial pneumonia 50.0 %, normal 0.0 %, viral pneumonia 50.0 %." in result.summary


def test_the_table_the_file_and_the_measures_hold_the_same_numbers(tmp_path):
    result = result_of("whiteout.confident", answered(NORMAL), tmp_path)
    ((name, (text, _)),) = result.files.items()
    assert name.startswith("white-films-")
    numbers = pd.read_csv(io.StringIO(text))
    assert set(numbers.condition) == set(CAUSES)
    assert set(numbers.white_side) == {"any", "both", "left of the picture", "right of the picture"}
    assert numbers.severity_in_units.str.contains("cm of water").all()
    whole = numbers[numbers.white_side.isin(["any", "both"])]
    found = {(one.name, one.condition): one.estimate for one in result.measures}
    for row in whole.itertuples():
        assert found["called_normal", f"{row.condition}, {row.film_before} films"] == row.called_normal == 1.0
    ((title, whole_table),) = result.tables.items()
    assert len(whole_table) == 12, "six causes x two groups"
    assert len(numbers) - len(whole) == 20, "five of them have sides, which the file tells"
    assert f"by the side of the picture that is white in {name}" in title
    assert {"lobar", "total"} <= set(whole_table["cause"])
    result.figures["white_films"]()


def test_extents_are_run_and_shown_where_the_profile_has_time_for_them(tmp_path):
    claim = CLAIMS["whiteout.confident"]
    endpoint = get(claim.endpoint)
    quick = [one.text for one in endpoint.conditions(claim, (1, 3, 5), thorough=False)]
    whole = [one.text for one in endpoint.conditions(claim, (1, 2, 3, 4, 5), thorough=True)]
    assert quick == CAUSES
    assert len(whole) == 30
    answers = planted({name: np.full(60, NORMAL) for name in whole}, films=60)
    for profile, conditions in (("quick", 6), ("standard", 30)):
        table, *_ = result_of("whiteout.confident", answers, tmp_path, profile).tables.values()
        assert len(table) == 2 * conditions
    assert list(table["severity"])[:10:2] == [1, 2, 3, 4, 5], "one cause after the other, by extent"


def test_a_subject_of_two_classes_without_normal_gets_its_table(tmp_path):
    result = result_of("whiteout.confident", answered(1, classes=("tb-", "tb+")), tmp_path)
    table, *_ = result.tables.values()
    assert set(table["film before"]) == {"all"}
    assert table["called tb+"].str.startswith("100.0 % (").all()


def test_a_sham_that_no_film_allows_is_said_and_the_claim_judged(tmp_path):
    refused = {"sham_opacity@4": dict.fromkeys(range(120), "sham_opacity is undefined: there is less room")}
    answers = answered(NORMAL, undefined=refused)
    result = result_of("whiteout.normal", answers, tmp_path)
    assert result.effect.estimate == 1
    assert result.summary.endswith(
        "The control, water of a lobar white-out outside the lungs, severity 4, is evaluable on none of them."
    )
