"""The whole-grid result on simulated answers: each number against one worked out another way, each trap caught."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from robustness import benchmark, get, presets
from suites.harness import evaluate
from suites.harness.claims import Claim
from suites.harness.endpoints.failure_modes.stress import harm
from suites.harness.errors import UsageProblem
from suites.harness.formatting import severities
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN, parse
from suites.harness.report import grid_section, parameters
from suites.harness.report.heat_map import heat_map
from suites.harness.stress_grid import relative, stress_grid
from suites.harness.stress_grid.gallery import pick_film
from suites.harness.stress_grid.measuring import measure_grid
from suites.harness.stress_grid.relative import against, against_alexnet
from suites.harness.stress_grid.whole import preset_conditions
from tests.controls.simulated import simulated_answers
from tests.controls.subjects import CLASSES, Reader, cohort_of, subject_of

WORSE = ("scatter@1", "scatter@3", "scatter@5")
SAME = ("jpeg_quality@1", "jpeg_quality@3", "jpeg_quality@5")


def answers_with(shares: dict[str, float], *, films: int = 240, seed: int = 0, name: str = "s") -> Answers:
    """Answers right under `clean` but for 5 %, and wrong on a further share of the films under each condition."""
    subject = replace(subject_of(Reader(), name), name=name)
    made = simulated_answers({CLEAN: 1.0, **dict.fromkeys(shares, 1.0)}, films=films, seed=seed, subject=subject)
    generator = np.random.default_rng(seed)
    table, labels = made.predictions.table.copy(), made.labels
    columns = [f"logit_{k}" for k in range(3)]
    order = generator.random(films)
    for condition in [CLEAN, *shares]:
        wrong = order < 0.05 + shares.get(condition, 0.0)
        logits = generator.normal(0, 0.1, (films, 3))
        logits[np.arange(films), np.where(wrong, (labels + 1) % 3, labels)] += 3
        table.loc[table["condition"] == condition, columns] = logits
    return replace(made, predictions=replace(made.predictions, table=table))


def without(answers: Answers, condition: str, films: int) -> Answers:
    """The same answers with a condition undefined for the first films."""
    table = answers.predictions.table.reset_index(drop=True)
    rows = table.index[table["condition"] == condition][:films]
    table.loc[rows, [f"logit_{k}" for k in range(3)]] = np.nan
    table.loc[rows, "undefined"] = "no lung field"
    return replace(answers, predictions=replace(answers.predictions, table=table))


@pytest.fixture(scope="module")
def answers() -> Answers:
    return answers_with(dict(zip((*WORSE, *SAME), (0.1, 0.3, 0.5, 0.0, 0.0, 0.0), strict=True)))


def grid_of(answers: Answers, *names: str):
    return measure_grid(answers, [parse(name) for name in names])


def test_cells_agree_with_the_stress_endpoint_to_the_last_digit(answers):
    holed = without(answers, "scatter@3", 30)
    cell = grid_of(holed, *WORSE).rows[0].cells[1]
    expected, both = harm(holed, "balanced_accuracy", "scatter@3", np.ones(240, dtype=bool))
    assert cell.films == both.sum() == 210
    assert cell.undefined == 30
    assert cell.drop.estimate == pytest.approx(expected.estimate, abs=1e-12)
    np.testing.assert_allclose(cell.drop.replicates, expected.replicates, atol=1e-12)
    called = holed.called("scatter@3")[both] != holed.called(CLEAN)[both]
    assert cell.flips == pytest.approx(called.mean())


def test_a_rising_perturbation_has_a_trend_and_a_flat_one_has_none(answers):
    grid = grid_of(answers, *WORSE, *SAME)
    rising, flat = grid.rows
    assert rising.holm < 1e-6
    assert flat.holm > 0.01
    truth = answers.labels
    missing = np.stack([1 - answers.probabilities(c)[np.arange(240), truth] for c in WORSE], axis=1)
    patients = pd.DataFrame(missing).groupby(answers.patients).mean().to_numpy()  # two films each
    assert len(patients) == 120
    assert rising.trend == pytest.approx(stats.page_trend_test(patients, method="asymptotic").pvalue)
    assert rising.holm == pytest.approx(2 * rising.trend)


def test_films_of_one_patient_do_not_count_twice_in_the_trend():
    """The same films under the names of 20 patients are less evidence than under those of 240."""
    made = answers_with(dict(zip(WORSE, (0.05, 0.07, 0.09), strict=True)))
    table = made.cohort.table
    few = replace(made, cohort=replace(made.cohort, table=table.assign(patient=[f"p{n % 20}" for n in range(240)])))
    many = replace(made, cohort=replace(made.cohort, table=table.assign(patient=table["id"])))
    assert grid_of(few, *WORSE).rows[0].trend != grid_of(many, *WORSE).rows[0].trend


def test_a_perturbation_undefined_everywhere_is_named_and_not_measured(answers):
    lost = answers
    for name in WORSE:
        lost = without(lost, name, 240)
    grid = grid_of(lost, *WORSE, *SAME)
    assert [row.name for row in grid.rows] == ["jpeg_quality"]
    assert grid.missing == {"scatter": "no lung field"}


def test_relative_scores_are_ratios_of_sums_and_name_what_has_none(answers):
    twice = answers_with(dict(zip((*WORSE, *SAME), (0.2, 0.4, 0.6, 0.0, 0.0, 0.0), strict=True)), name="other")
    grids = [grid_of(item, *WORSE, *SAME) for item in (answers, twice)]
    scores = {score.name: score for score in against(grids[1], grids[0])}

    def summed(item, names):
        return sum(1 - item.correct(name).mean() for name in names)

    expected = [summed(twice, names) / summed(answers, names) for names in (WORSE, SAME)]
    assert scores["mCE"].value == pytest.approx(np.mean(expected))
    assert scores["mCE"].low < scores["mCE"].value < scores["mCE"].high
    assert set(scores["relative mCE"].left_out) == {"jpeg_quality"}  # the reference errs no more than on clean films
    growth = [summed(item, WORSE) - 3 * (1 - item.correct(CLEAN).mean()) for item in (twice, answers)]
    assert scores["relative mCE"].value == pytest.approx(growth[0] / growth[1])
    assert all(score.value == pytest.approx(1) for score in against(grids[0], grids[0]))


def test_controls_count_in_no_mean():
    names = [f"{kind}@{level}" for kind in ("scatter", "brightness_shift") for level in (1, 3, 5)]
    grid = grid_of(answers_with(dict.fromkeys(names, 0.3)), *names)
    assert {score.name: list(score.per_corruption) for score in against(grid, grid)}["mCE"] == ["scatter"]


def test_alexnet_is_compared_on_pneumonia_against_normal_and_negative_denominators_are_named():
    names = [f"{name}@{level}" for name in benchmark.ALEXNET for level in range(1, 6)]
    made = answers_with(dict.fromkeys(names, 0.2))
    found = {score.name: score for score in against_alexnet(grid_of(made, *names))}
    normal = made.labels == CLASSES.index("normal")
    called = made.called("medmnistc_pixelate@2") == CLASSES.index("normal")
    error = 1 - (called[normal].mean() + (~called[~normal]).mean()) / 2
    assert found["BE"].per_corruption["medmnistc_pixelate"] == pytest.approx(
        error / benchmark.ALEXNET["medmnistc_pixelate"]
    )
    assert set(found["rBE"].left_out) == {"medmnistc_contrast_up", "medmnistc_gamma_corr_up"}
    assert relative.ALEXNET in {score.reference for score in found.values()}


def test_the_film_shown_is_right_and_of_median_confidence(answers):
    image = pick_film(answers)
    at, confidence = answers.images.index(image), answers.probabilities().max(axis=1)
    right = answers.correct() == 1
    assert right[at]
    assert (confidence[right] < confidence[at]).sum() == (right.sum() - 1) // 2


def test_unlabelled_films_and_runs_without_perturbations_have_no_grid(answers):
    assert stress_grid([replace(answers, cohort=replace(answers.cohort, table=answers.cohort.table.assign(label="")))],
                       None) is None  # fmt: skip
    clean = replace(answers.predictions, table=answers.predictions.table.query("condition == 'clean'"))
    assert stress_grid([replace(answers, predictions=clean)], None) is None


def test_presets_are_known_and_a_misspelt_one_is_refused():
    assert [len(preset_conditions(name)) > 20 for name in presets.names()] == [True, True, True]
    with pytest.raises(UsageProblem, match="medmnist-c"):
        preset_conditions("medmnistc")


def test_the_heat_map_prints_points_and_leaves_out_what_was_not_run():
    figure = heat_map({"scatter": {1: 0.123, 5: float("nan")}, "softening": {1: -0.02, 3: 0.6}}, [1, 3, 5])
    assert {text.get_text() for text in figure.axes[0].texts} == {"+12.3", "−2.0", "+60.0"}
    figure = heat_map({"scatter": {1: 0.123, 3: 0.2}}, [1, 3], unsure={("scatter", 1)})
    assert {text.get_text() for text in figure.axes[0].texts} == {"(+12.3)", "+20.0"}, "what may be chance says so"


def test_means_are_ranked_only_among_the_same_severities_and_controls_are_marked(tmp_path):
    shares = dict.fromkeys(WORSE, 0.1) | dict.fromkeys(SAME, 0.2)
    shares |= {"whiteout_lobar@4": 0.6, "whiteout_mass@4": 0.7, "sham_opacity@4": 0.0, "roll@3": 0.3}
    made = without(without(answers_with(shares), "scatter@3", 30), "scatter@5", 7)
    part = grid_section._part(grid_of(made, *shares), tmp_path)
    places = part.table.columns.index("severities")
    rows = [(row[0], row[places]) for row in part.table.rows]
    assert rows == [
        ("JPEG compression", "1, 3, 5"), ("scatter", "1, 3, 5"), ("film turned in its plane", "3"),
        ("white-out by a mass", "4"), ("lobar white-out", "4"),
        ("water of a lobar white-out outside the lungs (control)", "4"),
    ]  # fmt: skip
    drawn = (tmp_path / part.picture.file).read_text()
    assert "water of a lobar white-out outside the lungs (control)" in drawn
    assert "(in the cells: points of balanced accuracy lost)" in drawn
    assert part.left_out == ["scatter is undefined for 30 films at severity 3, 7 films at severity 5."]


def test_severities_that_were_run_stand_beside_the_numbers_with_their_units(answers, tmp_path):
    grid = stress_grid([answers_with({"scatter@1": 0.1, "scatter@5": 0.3, "roll@3": 0.1})], None)
    section = grid_section.write_grid(grid, tmp_path)
    told = dict(zip((card.name for card in section.cards), section.captions, strict=True))
    ours = get("scatter").card.severities
    assert told == {"scatter": f"1: {ours[1]}; 5: {ours[5]}", "roll": "3: 9 degrees"}
    file = grid.cells().set_index(["perturbation", "severity"])["severity_in_units"]
    assert file["roll", 3] == "9 degrees"
    assert file["scatter", 5] == get("scatter").card.severities[5]


def test_a_card_that_fails_leaves_its_reason_in_the_report(monkeypatch):
    def reading(cls, level):
        raise RuntimeError("no such number")

    monkeypatch.setattr(type(get("roll")), "reading", classmethod(reading))
    assert "no such number" in severities.card("roll").happens
    assert severities.card("roll").missing


def test_a_condition_of_a_claim_is_printed_in_words():
    assert parameters._text("roll@3") == "film turned in its plane, severity 3"
    for other in ("roll@6", "nobody@3", "clean", "a@b@3", ""):
        assert parameters._text(other) == other
    several = parameters._text(["tubes@3", "clean", "scatter@1-5"])
    assert several == "tubes, severity 3; clean; scatter, severities 1 to 5"
    assert parameters._text(["clahe", "notch_filter"]) == "CLAHE, notch filter"
    assert parameters._text("recall_viral_pneumonia") == "recall viral pneumonia"


def test_a_preset_is_run_reported_and_drawn(tmp_path):
    claim = Claim(
        id="classes.accuracy", section="S", statement="s.", kind="requirement", endpoint="score", margin=0.3,
        parameters={"measure": "accuracy"},
    )  # fmt: skip
    subjects = [replace(subject_of(Reader(read=read), name), name=name)
                for name, read in (("plain", lambda grey: grey), ("dimmed", lambda grey: grey * 0.9))]  # fmt: skip
    run = evaluate(subjects, cohort_of(9), claims=[claim], preset="quick", cache=tmp_path / "cache")
    page = run.report(tmp_path / "report").read_text(encoding="utf-8")
    cells = pd.read_csv(tmp_path / "report" / "stress-grid.csv")
    assert len(cells) == 2 * 8 * 3
    assert set(cells["severity"]) == {1, 3, 5}
    strips = sorted((tmp_path / "report" / "figures").glob("grid.*.jpg"))
    assert len(strips) == 8
    with Image.open(strips[0]) as strip:
        assert strip.width > 4 * 160
    assert (tmp_path / "report" / "figures" / "grid.plain.png").is_file()
    assert 'id="grid"' in page
    cards = (tmp_path / "report" / "perturbations.html").read_text(encoding="utf-8")
    assert cards.count("<dt>Not modelled</dt>") == page.count('href="perturbations.html#') == 8, "one of every series"
    pictures = re.findall(r'<img class="film" src="(figures/grid[^"]+)" alt="[^"]+: clean, severity 1', cards)
    assert len(set(pictures)) == 8, "a series of pictures on every card"
    assert all((tmp_path / "report" / picture).is_file() for picture in pictures)
    assert page.count("scatter to primary 1.2 (contrast x 0.455)") == 1, "told once, beneath the pictures"
    assert "scatter to primary 1.2 (contrast x 0.455)" in cards
    assert "scatter to primary 0.7" in cards, "of a severity that was not run, too"
    assert "mCE" in page
