"""Where a network lies on a GPU its films are made there: what is asked is what a CPU asks, and nothing goes back."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
import torch

from robustness import facts, tone_curve
from suites.harness.cohorts.cohort import Film
from suites.harness.predictions import answering, pieces
from suites.harness.predictions.conditions import expand
from suites.harness.predictions.engine import Engine, films_on
from suites.harness.predictions.opened import Opened
from suites.harness.predictions.pieces import Asked, Failed, Making, Undefined
from suites.harness.predictions.resolution import AS_STORED, Resolution
from suites.harness.predictions.table import predict
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Subject
from tests.robustness.conftest import draw_chest
from tests.robustness.elsewhere import DEVICE, Elsewhere, fetched
from tests.robustness.test_any_device import CLEAR, nothing_but_torch
from tests.suites.predictions.test_table import cohort_of, subject_of

RECIPE = Preprocessing(name="small", short_side=24, size=20)
WORKING = Resolution.enough_for([RECIPE])
GRID = expand(
    ["clean", "gamma_high@2", "scatter@3", "underexposure@4", "grid_stripes@3 | notch", "jpeg_quality@1-5",
     "aspect_squeeze@3", "whiteout_lobar@3", "clahe@2", "patient_rotation@2"],
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_inference_mode(monkeypatch):
    """Tensors of an emulated device cannot be made in it, nor from tables that were."""
    tone_curve._table.cache_clear()
    monkeypatch.setattr(torch, "inference_mode", torch.no_grad)


def chest(number: int) -> Film:
    pixels, lungs = (image.numpy() for image in draw_chest(number))
    return Film(pixels=pixels, content=f"{number}", masks={"lung": lungs} if number else {})


def decode(row) -> Film:
    return chest(int(row["number"]))


def placed(device: object) -> Subject:
    made = subject_of()
    return Subject(
        name=made.name, classes=made.classes, network=made.network, provenance=made.provenance, preprocessing=RECIPE,
        device=str(device),
    )  # fmt: skip


class Missing(Engine):
    """Asks for everything, without a block on disk."""

    def missing(self, image, content, conditions):
        return list(conditions)


def made(film: Film, device: object, conditions, cache, resolution=WORKING) -> list[pieces.Piece]:
    engine = Missing(placed(device), 16, 0, cache, resolution)
    making = Making([(engine, conditions)], 0, resolution)
    opened = Opened({}, ("film", film.content), "", lambda: film, film.pixels.shape)
    return [piece for piece, _ in making.pieces(0, opened)]


def in_this_thread(films, make, threads=None):
    """As `ahead`, without threads: an emulated device is there in one only."""
    for turn, film in enumerate(films):
        yield film, (piece for piece, _ in make(turn, film))


@pytest.mark.parametrize("resolution", [WORKING, AS_STORED])
def test_what_is_asked_there_is_what_a_cpu_asks(tmp_path, resolution):
    expected = {piece.condition: piece.views for piece in made(chest(1), "cpu", GRID, tmp_path, resolution)}
    with Elsewhere(facts._on_cpu):
        found = {piece.condition: fetched(piece.views) for piece in made(chest(1), DEVICE, GRID, tmp_path, resolution)}
    assert set(found) == set(expected) == set(GRID)
    assert WORKING.side < 128, "the film is averaged down"
    for condition, views in expected.items():
        assert found[condition].shape == views.shape
        apart = (found[condition] - views).abs() * 255
        assert float(apart.max()) < 2.01, condition
        assert float((apart > 0.01).double().mean()) < 0.03, condition


def test_a_film_goes_there_once_and_nothing_comes_back(tmp_path, monkeypatch):
    film, given = chest(1), []
    known = torch.from_numpy
    conditions = expand([f"{name}@3" for name in CLEAR if not name.startswith("medmnistc")])
    with Elsewhere():
        made(film, DEVICE, conditions, tmp_path)  # tables of grey values are written down once
    with Elsewhere() as device, nothing_but_torch(monkeypatch), monkeypatch.context() as patch:

        def from_numpy(array):
            assert array is film.pixels or array is film.masks["lung"], "only the film itself"
            given.append(array)
            return known(array)

        patch.setattr(torch, "from_numpy", from_numpy)
        found = made(film, DEVICE, conditions, tmp_path)
    assert len(found) == len(conditions)
    assert [piece for piece in found if isinstance(piece, Failed)] == []
    assert all(piece.views.device == DEVICE for piece in found)
    assert len(given) == 2, "pixels and lungs"
    assert not device.crossed


def test_equally_large_films_are_resized_as_one_batch(tmp_path, monkeypatch):
    batches, resize = [], Preprocessing.__call__

    def counted(recipe, films):
        batches.append(len(films))
        return resize(recipe, films)

    monkeypatch.setattr(Preprocessing, "__call__", counted)
    with Elsewhere(facts._on_cpu):
        made(chest(1), DEVICE, GRID, tmp_path)
    assert sum(batches) == len(GRID)
    assert len(batches) <= 6, "as stored, squeezed, averaged down; in bytes, and those that are no bytes"
    batches.clear()
    monkeypatch.setattr(pieces, "TOGETHER", 3 * 4 * 96 * 132)  # three films in floats, or twelve in bytes
    with Elsewhere(facts._on_cpu):
        made(chest(1), DEVICE, GRID, tmp_path)
    assert max(batches) <= 4, "bounded in bytes"
    assert len(batches) > 6
    batches.clear()
    made(chest(1), "cpu", GRID, tmp_path)
    assert batches == [1] * len(GRID)


def test_a_condition_without_meaning_is_told_there_too(tmp_path):
    blank = Film(pixels=np.full((128, 160), 0.5, np.float32), content="blank")
    with Elsewhere(facts._on_cpu):
        kinds = {piece.condition.text: type(piece) for piece in made(blank, DEVICE, GRID, tmp_path)}
    assert kinds["whiteout_lobar@3"] is Undefined
    assert kinds["clean"] is Asked


def test_a_whole_run_gives_the_logits_of_a_cpu_and_never_finds_theirs(tmp_path, monkeypatch):
    cohort = cohort_of(3, decode)
    asked = {"seed": 0, "cache": tmp_path, "quiet": True, "resolution": WORKING}
    expected = predict({"one": (placed("cpu"), GRID)}, cohort, **asked)["one"]
    monkeypatch.setattr(answering, "ahead", in_this_thread)
    with Elsewhere(facts._on_cpu, Engine._answer) as device:
        found = predict({"one": (placed(DEVICE), GRID)}, cohort, **asked)["one"]
    assert found.computed == expected.computed == 3 * len(GRID), "kept under a key of its own"
    assert device.crossed["_answer"] == 2 * -(-3 * len(GRID) // 16), "logits and features, a batch at a time"
    logits = [f"logit_{index}" for index in range(2)]
    assert found.table["undefined"].tolist() == expected.table["undefined"].tolist()
    np.testing.assert_allclose(found.table[logits], expected.table[logits], atol=1e-4)


@pytest.mark.parametrize(("device", "recipe", "expected"), [
    ("cpu", RECIPE, "cpu"),
    ("meta", RECIPE, "meta"),
    ("meta", type("Theirs", (Preprocessing,), {})(name="theirs"), "cpu"),
])  # fmt: skip
def test_films_are_made_where_the_network_is_unless_a_recipe_may_not_know_it(device, recipe, expected):
    subject = placed("cpu")
    object.__setattr__(subject, "device", device)
    object.__setattr__(subject, "preprocessing", recipe)
    assert films_on(subject) == torch.device(expected)


def test_what_acts_on_the_stored_film_comes_first_and_each_perturbation_at_once(tmp_path):
    order = [piece.condition for piece in made(chest(1), "cpu", list(reversed(GRID)), tmp_path)]
    assert [native for native, _ in groupby(order, key=lambda condition: condition.native)] == [True, False]
    assert len([1 for _ in groupby(order, key=lambda condition: condition.perturbation)]) == 10
