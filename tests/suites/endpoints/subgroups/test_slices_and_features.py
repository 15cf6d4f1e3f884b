"""A slice is found on some patients and judged on others; what features know is read off other patients, too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.stats import norm
from sklearn.tree import DecisionTreeRegressor

from suites.harness.claims import Verdict
from suites.harness.claims_table import load_claims
from suites.harness.endpoints.subgroups.ceiling import ceiling
from suites.harness.endpoints.subgroups.slices import _first_half, _rule
from tests.controls.group_pairs import judged, lots
from tests.controls.group_pairs import recorded as with_columns
from tests.controls.planted import RIGHT, planted

CLAIMS = {claim.id: claim for claim in load_claims() if claim.id.startswith("subgroup.")}
FILMS = 900


def failing_on(films_of, films: int = FILMS, **columns):
    lot = lots(films)[1]
    truth = np.arange(films) % 3
    calls = np.where(films_of & (lot < 0.6), (truth + 1) % 3, RIGHT)
    return with_columns(planted({"clean": calls}, films=films), **columns)


def test_a_planted_slice_is_found_by_its_rule_and_judged_on_the_other_half(tmp_path):
    generator = np.random.default_rng(0)
    ages, women = generator.uniform(20, 90, FILMS), generator.random(FILMS) < 0.5
    answers = failing_on(women & (ages > 60), age=ages, sex=np.where(women, "F", "M"))
    found = judged(CLAIMS["subgroup.slice"], answers, tmp_path)
    assert found.verdict is Verdict.SUPPORTED
    assert "sex female" in found.result.summary or "not sex male" in found.result.summary.lower()
    assert "age above" in found.result.summary.lower()
    halves = found.result.tables["The slice on both halves"]
    assert halves["films"].sum() == FILMS
    assert halves["half"].tolist() == ["found on"] * 2 + ["tested on"] * 2


def test_halves_share_no_patient_and_every_class_is_in_both():
    patients = [f"p{number // 3}" for number in range(300)]
    answers = with_columns(planted({}, films=300, labels=(np.arange(300) // 3) % 3), patient=patients)
    first = _first_half(answers)
    assert not set(answers.patients[first]) & set(answers.patients[~first])
    for half in (first, ~first):
        assert np.bincount(answers.labels[half], minlength=3).min() >= 48


def test_the_class_that_fails_is_no_slice(tmp_path):
    """Women are viral here, and viral films fail: it is the class, which has claims of its own."""
    truth = np.arange(FILMS) % 3
    women = np.random.default_rng(1).random(FILMS) < np.where(truth == 2, 0.8, 0.2)
    answers = failing_on(truth == 2, sex=np.where(women, "F", "M"))
    found = judged(CLAIMS["subgroup.slice"], answers, tmp_path)
    assert found.verdict is not Verdict.SUPPORTED


def test_a_rule_says_each_limit_once_the_narrowest():
    age = np.arange(100.0)
    tree = DecisionTreeRegressor(max_depth=3, min_samples_leaf=5).fit(age[:, None], (age < 10) + 0.3 * (age < 40))
    youngest, middle = (_rule(tree, int(tree.apply([[value]])[0]), ["age"]) for value in (3.0, 25.0))
    assert youngest == "age up to 9"
    assert middle == "age above 9 and age up to 39"


def test_a_subject_without_wrong_calls_has_no_slice(tmp_path):
    answers = with_columns(planted({}, films=240), sex=np.where(np.arange(240) % 2, "F", "M"))
    found = judged(CLAIMS["subgroup.slice"], answers, tmp_path)
    assert (found.verdict, found.reason) == (
        Verdict.NOT_EVALUABLE, "no recorded column tells wrong calls from right ones on the half that is searched",
    )  # fmt: skip


def with_features(seen: np.ndarray, **columns):
    main = with_columns(planted({}, films=len(seen)), **columns)
    return replace(main, predictions=replace(main.predictions, features=seen.astype(np.float32)))


def test_features_that_know_the_class_alone_tell_no_group_of_it(tmp_path):
    """All women are ill more often: across classes the features would tell them, within a class they do not."""
    films, generator = 600, np.random.default_rng(0)
    truth = np.arange(films) % 3
    women = generator.random(films) < np.where(truth == 1, 0.15, 0.85)
    seen = generator.normal(0, 1, (films, 8))
    seen[:, 0] += 4 * (truth == 1)
    found = judged(CLAIMS["subgroup.features"], with_features(seen, sex=np.where(women, "F", "M")), tmp_path)
    assert found.verdict is Verdict.NOT_SUPPORTED
    assert abs(found.result.effect.estimate - 0.5) < 0.08


def test_chance_is_what_shuffled_groups_show_and_patients_are_not_read_off_their_own_films(tmp_path):
    """Features that know each patient and nothing of the group: read off on the same patients, they would tell all."""
    films, generator = 600, np.random.default_rng(1)
    owner = np.arange(films) // 6
    seen = generator.normal(0, 1, (films // 6, 40))[owner] + generator.normal(0, 0.05, (films, 40))
    women = (generator.random(films // 6) < 0.5)[owner]
    answers = with_columns(
        planted({}, films=films, labels=owner % 3), sex=np.where(women, "F", "M"), patient=[f"p{one}" for one in owner]
    )
    answers = replace(answers, predictions=replace(answers.predictions, features=seen.astype(np.float32)))
    found = judged(CLAIMS["subgroup.features"], answers, tmp_path)
    table = found.result.tables["What the features know, on other patients than it was fitted on"]
    assert abs(found.result.effect.estimate - 0.5) < 0.12
    assert table["chance: 95th percentile"].astype(float).between(0.51, 0.75).all()


def test_without_features_one_line_says_so(tmp_path):
    answers = with_columns(planted({}, films=240), sex=np.where(np.arange(240) % 2, "F", "M"))
    found = judged(CLAIMS["subgroup.features"], answers, tmp_path)
    assert found.verdict is Verdict.NOT_EVALUABLE
    assert "has no features that could be read" in found.reason


def test_the_ceiling_lies_below_the_error_of_the_best_rule_and_near_it():
    """Two classes of normal features two deviations apart: no rule errs on fewer than Phi(-1) = 15.9 %."""
    films, generator = 2000, np.random.default_rng(0)
    labels = np.arange(films) % 2
    seen = generator.normal(0, 1, (films, 1)) + 2 * labels[:, None]
    answers = planted({}, films=films, classes=("normal", "pneumonia"))
    (bound,), told = ceiling(answers, seen.astype(np.float32), np.ones(films, dtype=bool))
    best = float(norm.cdf(-1))
    assert 0.6 * best < bound.low < bound.estimate < best
    assert bound.low < bound.estimate < bound.high
    assert "wrong labels are part of that" in told


def test_a_neighbour_of_the_same_patient_does_not_count():
    films, generator = 400, np.random.default_rng(0)
    seen = np.repeat(generator.normal(0, 1, (films // 2, 5)), 2, axis=0)
    labels = np.repeat(generator.integers(0, 2, films // 2), 2)
    answers = with_columns(
        planted({}, films=films, labels=labels, classes=("normal", "pneumonia")),
        patient=[f"p{number // 2}" for number in range(films)],
    )
    bounds, _ = ceiling(answers, seen.astype(np.float32), np.ones(films, dtype=bool))
    assert bounds[0].estimate > 0.2


def test_twins_tell_how_many_labels_are_wrong_and_neighbours_do_not():
    """600 films are filed twice; 8 % of the labels are wrong, so 2 (.08)(.92) = 14.7 % of the pairs differ."""
    generator = np.random.default_rng(3)
    once, truth = generator.normal(0, 1, (600, 20)), generator.integers(0, 2, 600)
    labels = np.where(generator.random((2, 600)) < 0.08, 1 - truth, truth).ravel()
    answers = planted({}, films=1200, labels=labels, classes=("normal", "pneumonia"))
    twice = np.concatenate([once, once + generator.normal(0, 1e-4, once.shape)]).astype(np.float32)
    bounds, told = ceiling(answers, twice, np.ones(1200, dtype=bool))
    noise = next(one for one in bounds if one.name == "wrong_labels")
    assert noise.low < 0.08 < noise.high
    assert abs(noise.estimate - 0.08) < 0.03
    assert "Of 600 pairs of films that are as good as the same" in told
    apart = (generator.normal(0, 1, (1200, 2)) @ generator.normal(0, 1, (2, 20))).astype(np.float32)
    bounds, told = ceiling(answers, apart, np.ones(1200, dtype=bool))
    assert [one.name for one in bounds] == ["least_error_of_the_features"]
    assert "too few to tell how many labels are wrong" in told


def test_features_of_one_patient_less_than_ten_in_every_class_are_not_read(tmp_path):
    women = np.arange(240) < 12
    seen = np.random.default_rng(0).normal(0, 1, (240, 4))
    found = judged(CLAIMS["subgroup.features"], with_features(seen, sex=np.where(women, "F", "M")), tmp_path)
    assert found.reason == "no group and its others have 10 patients each in one class"
