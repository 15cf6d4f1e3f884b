"""Attacks resume from the cache bit for bit, on the film they name, and what is stored can be replayed."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from robustness.attacks import AttackError, ThreatModel, attack_films
from suites.harness.cohorts import film_memory
from suites.harness.endpoints.adversarial.runs import attack, decoded, finished, job, protocols
from suites.harness.endpoints.adversarial.runs.access import FILM, threat_of
from suites.harness.endpoints.adversarial.runs.stored import from_row, to_row
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.opened import Opened
from suites.harness.subjects.preprocessing import Preprocessing
from tests.controls.evidence_pairs import Fragile
from tests.controls.films import cohort_of, draw
from tests.controls.subjects import Reader, subject_of

LARGER = Preprocessing(name="small", short_side=48, size=40, eight_bit=False)


def test_an_interrupted_attack_goes_on_where_it_stopped(evidence, tmp_path, monkeypatch):
    answers = evidence(subject_of(Fragile(), "fragile"), films=36).main
    whole = attack(answers, "quick", tmp_path / "whole")
    original, seen = job.attack_each, []

    def dying(*arguments, **settings):
        for result in original(*arguments, **settings):
            if len(seen) == 20:
                raise KeyboardInterrupt
            seen.append(result.image_id)
            yield result

    monkeypatch.setattr(job, "attack_each", dying)
    with pytest.raises(KeyboardInterrupt):
        attack(answers, "quick", tmp_path / "cut")
    assert finished(answers, "quick", tmp_path / "cut") is None
    asked = []
    monkeypatch.setattr(
        job, "attack_each", lambda *a, **k: asked.extend(set(a[3]) - set(k["done"])) or original(*a, **k)
    )
    again = attack(answers, "quick", tmp_path / "cut")
    assert set(asked) == set(answers.images) - set(seen)
    for one, other in zip(whole.found.results, again.found.results, strict=True):
        mine, theirs = asdict(one), asdict(other)
        for name in ("film", "stored"):
            np.testing.assert_array_equal(mine.pop(name), theirs.pop(name))
        assert str(mine) == str(theirs)  # as text, so that not-a-number equals itself
    assert finished(answers, "quick", tmp_path / "cut") is not None


def test_an_attack_says_how_far_it_is_within_a_batch(evidence, tmp_path, monkeypatch):
    answers, seen = evidence(subject_of(Reader(), "reader"), films=9).main, []
    work, told = answers.progress.work["attacking"], answers.progress.under_way
    monkeypatch.setattr(answers.progress, "under_way", lambda units: (told(units), seen.append(work.done + work.part)))
    attack(answers, "quick", tmp_path, protocol="noise")
    assert len(set(seen)) >= 5
    assert seen == sorted(seen)
    assert 0 < min(seen) < max(seen) < 9 == work.done


def test_fewer_films_are_among_the_more(evidence):
    answers = evidence(subject_of(Reader(), "reader"), films=90).main
    chosen = [set(protocols.chosen_films(answers, number)) for number in (12, 24, 60)]
    assert chosen[0] < chosen[1] < chosen[2]
    labels = answers.labels[sorted(chosen[0])]
    assert np.bincount(labels).tolist() == [4, 4, 4]


def test_films_without_labels_cannot_be_attacked(evidence, tmp_path):
    answers = evidence(subject_of(Reader(), "reader"), films=9).main
    answers = replace(answers, cohort=replace(answers.cohort, table=answers.cohort.table.assign(label="")))
    with pytest.raises(NotEvaluable, match="carries a label"):
        attack(answers, "quick", tmp_path)
    assert finished(answers, "quick", tmp_path) is None


def test_a_record_comes_back_as_it_was_stored():
    """Three colours as well as one grey value, and a film that nothing flipped."""
    pixels = (torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 255).round() / 255
    network = (
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3)).eval().requires_grad_(requires_grad=False)
    )
    labels = network(pixels).argmax(1)
    for threat, films in ((ThreatModel(tied=False), pixels), (ThreatModel(), pixels[:, :1].expand(-1, 3, -1, -1))):
        labels = network(films).argmax(1)
        found = attack_films(network, films, labels, ["a", "b", "c"], threat, profile="quick", budgets=[1 / 255, 1.0])
        for result in found.results:
            back = from_row(pd.DataFrame([to_row(result)]).to_dict("records")[0])
            mine, theirs = (
                replace(back, film=None, stored=None),
                replace(result, film=None, stored=None, adversarial=None),
            )
            assert str(mine) == str(theirs)  # as text, so that not-a-number equals itself
            np.testing.assert_allclose(back.film, result.film, atol=1e-6)
            if result.stored is None:
                assert back.stored is None
            else:
                np.testing.assert_array_equal(back.stored, result.stored)


def test_a_stored_whole_film_goes_wrong_through_the_subjects_own_resize(evidence, tmp_path):
    """Films of twice the side: only what survives the resize reaches the network."""
    subject = subject_of(Fragile(), "fragile")
    answers = evidence(subject, cohort=cohort_of(30, decode=partial(draw, side=128))).main
    found = attack(answers, "quick", tmp_path, threat=FILM)
    assert found.threat == "linf/film"
    assert found.budgets == protocols.WHOLE_LEVELS
    turned = [result for result in found.found.results if result.stored is not None and result.distance > 0]
    assert len(turned) > 15
    for result in turned:
        film = answers.film(result.image_id).pixels
        stored = torch.from_numpy(result.stored.astype(np.float32) / 255)
        assert stored[0].shape == film.shape == (128, 128)
        eight_bit = torch.from_numpy(film).mul(255).round() / 255
        assert float((stored[0] - eight_bit).abs().max()) <= result.stored_distance + 1e-6
        assert int(subject.network(subject.preprocessing(stored)).argmax()) != result.label, (
            "by the recipe's own kernel"
        )
        assert result.film is None, "a whole film is decoded again, not kept"


def test_of_large_films_only_what_is_shown_is_kept(evidence, tmp_path, monkeypatch):
    answers = evidence(subject_of(Fragile(), "fragile"), cohort=cohort_of(30, decode=partial(draw, side=128))).main
    everything = attack(answers, "quick", tmp_path / "all", threat=FILM)
    easy = [one.image_id for one in job.easiest(everything.found.results)]
    assert len(easy) == job.EXAMPLES < sum(one.stored is not None for one in everything.found.results)
    monkeypatch.setattr(job, "MOST_EXAMPLES", 30 * 128 * 128 - 1)
    for _ in range(2):  # worked out, then read
        few = attack(answers, "quick", tmp_path / "few", threat=FILM)
        assert {one.image_id for one in few.found.results if one.stored is not None} == set(easy)
        assert [one.image_id for one in job.easiest(few.found.results)] == easy
        assert few.distances.tolist() == everything.distances.tolist()


def test_of_large_films_idle_memory_is_handed_back_at_every_pass_and_no_film_is_stored(evidence, tmp_path, monkeypatch):
    answers = evidence(subject_of(Fragile(), "fragile"), cohort=cohort_of(6, decode=partial(draw, side=128))).main
    small = attack(answers, "quick", tmp_path / "small", threat=FILM)
    given, rows = [], []
    monkeypatch.setattr(job, "give_back", lambda: given.append(1))
    attack(answers, "quick", tmp_path / "also", threat=FILM)
    assert len(given) == 2, "before a batch and after"
    monkeypatch.setattr(job, "LARGE", 0)
    monkeypatch.setattr(job, "from_row", lambda row: rows.append(row) or from_row(row))
    large = attack(answers, "quick", tmp_path / "large", threat=FILM)
    assert len(given) > 10
    assert large.distances.tolist() == small.distances.tolist()
    assert all(row["film"] is None for row in rows)
    assert any(row["example"] for row in rows)


def test_what_an_adversary_moves_is_what_the_network_gets():
    subject = replace(subject_of(Reader(), "reader"), preprocessing=LARGER)
    film = torch.rand(2, 1, 64, 80)
    assert torch.equal(threat_of(subject, FILM).pixels(film), LARGER.differentiable(film[:, 0]))
    assert threat_of(subject, "l2/grey").name == "l2/grey"
    assert threat_of(subject, "linf/colour").name == "linf/colour"
    for wrong in ("linf/green", "l7/grey", "grey"):
        with pytest.raises(AttackError, match="no threat model"):
            threat_of(subject, wrong)
    grey = replace(subject, preprocessing=replace(LARGER, channels=1))
    with pytest.raises(NotEvaluable, match="no colour"):
        threat_of(grey, "linf/colour")


def test_a_film_is_decoded_once_for_all_attacks(evidence, tmp_path, monkeypatch):
    answers = evidence(subject_of(Reader(), "reader"), films=9).main
    film_memory._HELD.clear()
    table = answers.cohort.table.to_dict("records")
    contents = [answers.cohort.decode(row).content for row in table]
    counted = []
    cohort = replace(
        answers.cohort,
        decode=lambda row: counted.append(row["id"]) or cohort_of(9).decode(row),
        identify=lambda row: contents[int(row["number"])],
    )
    answers = replace(answers, cohort=cohort)
    attack(answers, "quick", tmp_path, protocol="noise")
    attack(answers, "quick", tmp_path, protocol="blank", compared=True)
    assert sorted(counted) == sorted(answers.images)
    room = 3 * next(iter(film_memory._HELD.values())).bytes  # of a film with its masks
    monkeypatch.setattr(film_memory, "BYTES", room)
    for row, content in zip(table, contents, strict=True):
        decoded.pixels_of(Opened(row, (str(row["id"]), content + "again"), "", partial(cohort.decode, row)))
    assert len(film_memory._HELD) == 3
