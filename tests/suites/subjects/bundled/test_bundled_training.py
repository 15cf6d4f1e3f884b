"""How the subjects are made: the same bytes twice, other bytes from another seed, and each step does its work."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from robustness.phantom.several import SEVERAL
from suites.harness.subjects.bundled import cohorts, export, findings, learning, probe, train
from suites.harness.subjects.bundled.cohorts import RESIZED, SIZE, Films, Lessons, Split, batch_of
from suites.harness.subjects.bundled.recipes import RECIPES, SEEN
from suites.harness.subjects.formats import load_subject
from suites.harness.subjects.formats.bundled import NAMES


@pytest.fixture(scope="module")
def lessons() -> Lessons:
    """Return a training in miniature."""
    few = cohorts.rendered(Split("train", 9, 201), SEEN, 1, workers=1)
    side = cohorts.rendered(Split("outliers", 2, 202, view="LATERAL"), SEEN, 1, workers=1)
    return Lessons(few, few, few, side.unanswerable())


@pytest.fixture(scope="module")
def several() -> Lessons:
    """Return one of several findings in miniature."""
    few = cohorts.rendered(Split("train", 9, 201, findings="several", twins=True), workers=1)
    return Lessons(few, few, few, few.shrunk(0))


@pytest.mark.parametrize("name", NAMES)
def test_training_twice_gives_the_same_bytes(name, lessons, several, tmp_path):
    recipe = replace(RECIPES[name], epochs=1, batch=4, variants=min(RECIPES[name].variants, 1))
    lessons = several if recipe.several else lessons
    torch.rand(3)  # the state of the global generator must not matter
    first = train.make(recipe, lessons, tmp_path / "first")
    torch.rand(5)
    second = train.make(recipe, lessons, tmp_path / "second")
    for file in ("model.safetensors", "training.json", "config.json", "preprocessor_config.json"):
        assert (tmp_path / "first" / name / file).read_bytes() == (tmp_path / "second" / name / file).read_bytes()
    other = train.make(replace(recipe, seed=99), lessons, tmp_path / "other")
    assert first["weights_sha256"] == second["weights_sha256"] != other["weights_sha256"]
    assert json.loads((tmp_path / "first" / name / "training.json").read_text()) == json.loads(json.dumps(first))
    assert load_subject(str(tmp_path / "first" / name)).classes == recipe.classes


def test_a_film_of_several_findings_has_a_label_and_a_region_of_each(several):
    """Twins are the same chest: what differs between them is what they show."""
    films = several.train
    table = Split("train", 9, 201, findings="several", twins=True).table()
    assert table.patient.value_counts().eq(3).all()
    for row, finding in enumerate(table.finding):
        shown = [name in finding.split("+") for name in SEVERAL]
        assert films.labels[row].tolist() == [float(one) for one in shown]
        assert (films.regions[row, 2:].sum((1, 2)) > 0).tolist() == shown
    assert films.regions.shape[1] == 2 + len(SEVERAL)
    assert 0.1 < float(films.labels.mean()) < 0.6


def test_what_is_recorded_of_findings_is_what_scikit_learn_says():
    labels = torch.tensor([[1.0, 0, 0, 1, 1], [0, 1, 0, 1, 0], [1, 1, 1, 0, 0], [0, 0, 1, 0, 1]])
    logits = (3 * labels - 1.5).double()
    logits[0, 0] = -2  # one film with the first finding, least of all
    found = findings.measured_findings(logits, labels)
    assert found["findings"][SEVERAL[0]] == {"films_with": 2, "auroc": 0.5, "sensitivity": 0.5, "specificity": 1.0}
    assert found["macro_auroc"] == pytest.approx((0.5 + 4) / 5)
    assert found["temperature"] > findings.temperature_of((3 * labels - 1.5).double(), labels)


def test_a_film_does_not_depend_on_the_films_rendered_beside_it(lessons):
    alone = cohorts.rendered(Split("train", 1, 201), SEEN, 1, workers=1)
    assert torch.equal(alone.pixels[0], lessons.train.pixels[0])
    assert torch.equal(alone.regions[0], lessons.train.regions[0])
    assert not torch.equal(alone.pixels[:, 0], alone.pixels[:, 1])


def test_no_class_is_right_for_an_outlier_and_every_other_film_has_one(monkeypatch):
    """Adults and lateral films carry findings; as examples of them they would make the subject surer, not less."""
    for name in ("TRAIN", "VALIDATION", "HELD_OUT"):
        monkeypatch.setattr(train, name, Split(name, 3, 203))
    for name in ("OUTLIERS", "OUTLIERS_VALIDATION"):
        monkeypatch.setattr(train, name, (Split(name, 2, 204, view="LATERAL"), Split(name, 2, 205, age="adult")))
    made = train.rendered_lessons([replace(RECIPES["hardened"], variants=1)], workers=1)
    assert (made.outliers.labels == -1).all()
    assert len(made.outliers) == 4
    assert (made.train.labels >= 0).all()
    assert (made.held_out.labels >= 0).all()
    assert made.validation.labels[-4:].tolist() == [-1] * 4
    assert len(made.validation.labelled()) == 3
    plain = train.rendered_lessons([replace(RECIPES["fragile"], variants=0)], workers=1)
    assert (len(plain.outliers), len(plain.validation)) == (0, 3)


def test_unanswerable_films_ask_a_tempered_subject_for_doubt(lessons):
    """The same network: what it answers on films without an answer must make its temperature higher, never lower."""
    network = train.untrained(RECIPES["hardened"])
    recipe = replace(RECIPES["hardened"], variants=1)
    sure = replace(lessons, validation=lessons.train)
    doubtful = replace(lessons, validation=lessons.train.joined(lessons.outliers))
    assert train.validated_temperature(network, doubtful, recipe) >= train.validated_temperature(network, sure, recipe)


def test_films_reach_the_network_as_in_a_run(lessons):
    """What training sees as the centre crop is what the repository's recipe makes of the film, to one grey level."""
    row = Split("train", 9, 201).table().iloc[4].to_dict()
    film = cohorts.render_row(row).film[None]
    recipe = replace(cohorts.REPOSITORY, short_side=RESIZED, size=SIZE, channels=1)
    learned = batch_of(lessons.train)[4:5]
    assert torch.equal(learned, (recipe.differentiable(film) * 255).round() / 255)
    difference = ((learned - recipe(film)) * 255).abs()
    assert difference.max() < 1.01
    assert difference.mean() < 0.3


def test_an_adversarial_step_stays_in_its_budget_and_harms():
    network = train.untrained(RECIPES["fragile"])
    taught, generator = learning.Taught(network), torch.Generator().manual_seed(0)
    pixels, targets = torch.rand(6, 1, SIZE, SIZE, generator=generator), torch.eye(3).repeat(2, 1)
    epsilon = torch.full((6, 1, 1, 1), 2 / 255)
    moved = learning.attacked(taught, pixels, targets, epsilon, generator)
    assert float((moved - pixels).abs().max()) <= 2 / 255 + 1e-6
    with torch.inference_mode():
        assert F.cross_entropy(taught(moved)[0], targets) > F.cross_entropy(taught(pixels)[0], targets)


def test_unanswerable_films_get_an_even_target():
    targets = learning.targets_of(torch.tensor([2, -1]), smoothing=0.3)
    torch.testing.assert_close(targets, torch.tensor([[0.1, 0.1, 0.8], [1 / 3, 1 / 3, 1 / 3]]))


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_temperature_is_found(true):
    generator = torch.Generator().manual_seed(1)
    logits = 2 * torch.randn(4000, 3, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    assert learning.fitted_temperature(logits * true, labels) == pytest.approx(true, rel=0.08)


def test_crops_keep_to_the_film_and_mirror_half_of_them():
    theta = learning.random_crops(400, 0.5, torch.Generator().manual_seed(2))
    reach = theta[:, [0, 1], [0, 1]].abs() + theta[:, :, 2].abs()
    assert float(reach.max()) <= 1 + 1e-6
    assert 150 < int((theta[:, 0, 0] < 0).sum()) < 250
    whole = torch.eye(2, 3)[None]
    film = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(learning.cut(film, whole, 32), film)


def test_the_linear_head_separates_what_the_tokens_separate():
    """Films of one grey level per class: any backbone tells them apart, so the fitted head must."""
    labels = torch.arange(3).repeat(8)
    grey = (60 + 60 * labels + torch.arange(24)).to(torch.uint8)
    films = Films(grey[:, None, None, None].expand(-1, 1, RESIZED, RESIZED), labels, torch.zeros(24, 3, 8, 8))
    network = train.untrained(RECIPES["probe"])
    assert learning.accuracy(train.Grey(network), films) < 0.9
    probe.fit_head(network, films)
    assert learning.accuracy(train.Grey(network), films) == 1.0


@pytest.mark.parametrize("name", ["fragile", "probe", "findings"])
def test_export_keeps_every_weight(name, tmp_path):
    network = train.untrained(RECIPES[name]).eval()
    export.write(tmp_path, network.backbone, RECIPES[name])
    back = load_subject(str(tmp_path)).network
    for key, weight in network.backbone.state_dict().items():
        torch.testing.assert_close(back.backbone.state_dict()[key], weight.half().float(), rtol=0, atol=0)


def test_the_command_refuses_unknown_names(capsys):
    with pytest.raises(SystemExit):
        train.main(["strong"])
    assert "known are fragile, hardened, probe, findings" in capsys.readouterr().err
