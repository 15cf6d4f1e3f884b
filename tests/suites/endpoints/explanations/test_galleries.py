"""Galleries of every failure mode, and the table of belief: picked by rule, computed once, a failed method marked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from explain import AttributionMap
from explain.attribution import Attribution
from explain.panel import SANITY_WORDS
from explain.selection import Pick
from suites.harness.claims_table import load_claims
from suites.harness.endpoints.adversarial import runs
from suites.harness.endpoints.explanations import attribution, galleries, method_comparison, saliency_work
from suites.harness.evaluation import Evaluation
from suites.harness.predictions.conditions import CLEAN
from suites.harness.report.shots import store_gallery
from tests.controls.films import cohort_of
from tests.controls.subjects import Reader, subject_of


def check(outcome):
    """A sanity check of eight films with this outcome, three of whose maps were lost."""
    return attribution.Checked(outcome, "", np.arange(8), np.repeat([0.2, 0.5], [3, 5]), np.full(8, 0.3))


CONDITIONS = ["window_widening@3", "whiteout_lobar@4", "whiteout_mass@4"]
IG = "integrated gradients"


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    claim = next(claim for claim in load_claims() if claim.id == "explanations.believable")
    claim = replace(claim, parameters={"method": IG, "conditions": CONDITIONS})
    run = Evaluation(
        subjects=[subject_of(Reader(), "reader")],
        cohort=cohort_of(30),
        claims=[claim],
        probes={"unseen": cohort_of(9, name="strange", labelled=False)},
        cache=tmp_path_factory.mktemp("cache"),
        quiet=True,
    )
    return run.evidence("reader")


@pytest.fixture
def counted(monkeypatch):
    """Return the films that were really attributed, in order."""
    asked: list[str] = []
    original = Attribution.__call__

    def call(self, network, pixels, targets, image_ids, seed=0):
        asked.extend(f"{self.name} {name}" for name in image_ids)
        return original(self, network, pixels, targets, image_ids, seed)

    monkeypatch.setattr(Attribution, "__call__", call)
    return asked


def test_every_mode_that_has_films_has_a_gallery_and_the_others_are_named(evidence):
    found, missing = galleries.failure_galleries(evidence, CONDITIONS, {IG: check("passed")})
    assert set(found) == {
        galleries.CALLS, "Low contrast and underexposure", "White-out", "Findings the subject has no class for",
    }  # fmt: skip
    assert {item.facts["condition"] for item in found["White-out"]} == {"whiteout_lobar@4", "whiteout_mass@4"}
    assert all(len(items) <= 4 for items in found.values())
    assert "lateral films (none were given)" in missing
    assert "adversarial examples (no finished attack)" in missing


def test_picks_are_flips_and_one_film_that_is_still_right(evidence):
    answers = evidence.main
    scene = next(scene for scene in galleries.scenes(evidence, CONDITIONS) if scene.condition == "window_widening@3")
    flip, right = scene.picks
    assert (flip.rule, right.rule) == ("largest flip", "random correct")
    assert answers.images[scene.index[0]] == flip.image_id
    assert answers.called()[scene.index[0]] != answers.called("window_widening@3")[scene.index[0]]
    assert answers.correct("window_widening@3")[scene.index[1]] == 1


def test_films_without_a_class_show_the_most_confident_calls(evidence):
    scene = next(scene for scene in galleries.scenes(evidence, []) if scene.condition == "unseen")
    surest = evidence.probes["unseen"].probabilities().max(axis=1)
    assert [pick.rule for pick in scene.picks] == ["most confident call"] * 2
    assert scene.picks[0].score == pytest.approx(surest.max())
    assert scene.after is None


@pytest.mark.parametrize("outcome", ["passed", "failed", "undecided"])
def test_a_failed_method_is_marked_on_every_picture_caption_and_sidecar(evidence, tmp_path, outcome):
    found, _ = galleries.failure_galleries(evidence, CONDITIONS[:1], {IG: check(outcome)})
    items = [item for gallery in found.values() for item in gallery]
    (tmp_path / "figures").mkdir()
    shots = store_gallery(items, tmp_path, "g")
    for item, shot in zip(items, shots, strict=True):
        said = f"{SANITY_WORDS[outcome]} (3 of 8 maps lost)." in shot.caption
        assert said == (outcome != "passed"), "in words, not in the picture; that it passed, its table says once"
        assert shot.facts["sanity check"] == outcome
        assert item.details()["sanity"] == outcome
        assert (tmp_path / shot.sidecar).is_file()
        assert shot.picture.width == len(shot.picture.labels) * shot.picture.height, "equal tiles and nothing else"


def test_maps_are_computed_once_and_read_without_decoding(evidence, counted, monkeypatch):
    answers, index = evidence.main, np.array([3, 4])
    first = attribution.attribute(answers, index, IG, evidence.cache)
    again = len(counted)
    saliency_work._REMEMBERED.clear()
    monkeypatch.setattr(saliency_work, "shown", lambda *_: pytest.fail("a film was decoded"))
    second = attribution.attribute(answers, np.array([4, 3]), IG, evidence.cache)
    assert len(counted) == again, "a finished map was computed again"
    np.testing.assert_array_equal(first.maps.maps, second.maps.maps[::-1])
    np.testing.assert_array_equal(first.maps.completeness_gap, second.maps.completeness_gap[::-1])
    assert first.maps.passes == second.maps.passes
    assert first.maps.relative_gap.max() < 0.05


def test_another_condition_or_target_is_another_map(evidence):
    answers, index = evidence.main, np.array([0])
    clean = attribution.attribute(answers, index, IG, evidence.cache)
    changed = attribution.attribute(answers, index, IG, evidence.cache, "window_widening@3")
    assert not np.array_equal(clean.maps.maps, changed.maps.maps)
    film = attribution.Asked(answers.images[0], "x", 0)
    each = [
        attribution.attribute_each(
            answers, [film._replace(target=target)], IG, evidence.cache, lambda _: attribution.inputs(answers, [0])
        )
        for target in (0, 2)
    ]
    assert not np.array_equal(each[0].maps, each[1].maps)


def test_the_table_tells_a_method_from_an_edge_detector(evidence):
    index = attribution.chosen(evidence.main, "quick", evidence.main.shared(CLEAN))
    table, _, checks = method_comparison.compared(evidence, index)
    rows = table.set_index("method")
    assert checks["edge detector"].outcome == "failed"
    assert rows.loc["edge detector (control)", "SSIM, weights redrawn"] == 1
    assert rows.loc[IG, "completeness gap"] < 0.05
    assert rows.loc[IG, "deletion"] > rows.loc["edge detector (control)", "deletion"]
    assert any(str(name).startswith("grad-cam") for name in rows.index)


def test_only_a_finished_attack_is_shown(evidence, tmp_path):
    answers = evidence.main
    assert runs.finished(answers, "quick", tmp_path) is None
    before = list(tmp_path.rglob("*.parquet"))
    assert before == [], "asking started an attack"


def test_lost_is_said_film_by_film():
    own, others = np.array([0.2, 0.5, 0.99, np.nan]), np.array([0.3, 0.3, 1.0, 0.5])
    checked = attribution.Checked("passed", "", np.arange(4), own, others)
    np.testing.assert_array_equal(checked.lost, [1, 0, 0, np.nan])


def test_adversarial_examples_are_shown_as_stored(evidence, monkeypatch):
    answers = evidence.main
    at = int(np.flatnonzero(answers.called() == 0)[0])
    stored = torch.full((1, 64, 64), 100, dtype=torch.uint8).numpy()

    class Result:
        image_id, distance, stored_logits = answers.images[at], 1 / 255, (0.0, 5.0, 0.0)

    Result.stored = stored
    attack = type("Attack", (), {"index": np.array([at]), "found": type("F", (), {"results": [Result]}), "threat": "t"})
    monkeypatch.setattr(runs, "finished", lambda *_: attack)
    found, missing = galleries.failure_galleries(evidence, [], {IG: check("passed")})
    (item,) = found[galleries.ADVERSARIAL]
    assert item.details()["after"]["predicted"] == answers.subject.classes[1]
    scene = next(scene for scene in galleries.scenes(evidence, []) if scene.title == galleries.ADVERSARIAL)
    assert scene.after is not None
    np.testing.assert_allclose(scene.after.pixels().numpy(), 100 / 255, atol=1e-6)
    assert isinstance(scene.after.maps(IG, scene.targets), AttributionMap)
    assert not any("adversarial" in text for text in missing)
    titles = [label.title for label in item.draw().labels]
    assert titles[-1] == "After − before", "both maps explain the class called in the end, so they compare"
    details = item.details()
    assert details["before"]["explains"] == details["after"]["explains"] == answers.subject.classes[1]


def test_what_a_picture_shows_is_told_alike_beneath_and_beside_it(evidence):
    """A film of a finding without a class is no film of which nothing is known."""
    answers = evidence.main
    table = answers.cohort.table.assign(label="", finding="mass")
    strange = replace(answers, cohort=replace(answers.cohort, table=table))
    side = galleries.side_of(strange, evidence.cache, np.array([0]))
    scene = galleries.Scene("Unseen", "unseen", strange, np.array([0]), [Pick(strange.images[0], 0, "r", 1.0)], side)
    (item,) = galleries.items(scene, IG, check("passed"))
    assert item.caption.endswith("; truth mass")
    assert item.details()["truth"] == item.facts["class"] == "mass"
    film = item.draw().labels[0]
    assert film.tone == "wrong", "whatever it is called, it is none of the classes"
