"""The prediction table: cached, resumable at any moment, identical bytes, nothing lost and nothing invented."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from robustness import content_cache
from suites.harness.cohorts.cohort import Cohort, Film
from suites.harness.errors import FilmUnreadable, PredictionProblem, UsageProblem
from suites.harness.predictions import pieces
from suites.harness.predictions.conditions import expand, parse
from suites.harness.predictions.resolution import AS_STORED, Resolution
from suites.harness.predictions.table import predict as predict_all
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Normalised, Provenance, Subject

CONDITIONS = expand(["clean", "gamma_low@1-5", "window_widening@3"])


def film_of(row) -> Film:
    generator = np.random.default_rng(int(row["number"]))
    shape = (64, 64 + 8 * (int(row["number"]) % 3))
    pixels = np.clip(np.linspace(0.2, 0.8, shape[1])[None] + generator.normal(0, 0.1, shape), 0, 1).astype(np.float32)
    return Film(pixels=pixels, content=hashlib.sha256(pixels.tobytes()).hexdigest())


def cohort_of(n=10, decode=film_of) -> Cohort:
    rows = [
        {"id": f"film{number}", "file": f"film{number}.png", "label": "ab"[number % 2], "patient": f"p{number // 2}",
         "view": "", "age_group": "", "finding": "", "split": "", "number": number}
        for number in range(n)
    ]  # fmt: skip
    return Cohort(name="drawn", spec="drawn", table=pd.DataFrame(rows), decode=decode)


def identified(cohort: Cohort) -> Cohort:
    """The same films, known without being decoded: they are decoded one by one as they are answered."""
    return replace(cohort, identify=lambda row: film_of(row).content)


def subject_of(classes=("a", "b"), seed=0, scale=1.0) -> Subject:
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, len(classes))
    )
    network[-1].weight.data *= scale
    digest = hashlib.sha256(f"{seed}{scale}".encode()).hexdigest()
    return Subject(
        name="toy", classes=classes, network=Normalised(network),
        provenance=Provenance(spec="toy", format="user", source="test", sha256=digest),
        preprocessing=Preprocessing(name="small", short_side=40, size=32),
    )  # fmt: skip


def predict(subject, cohort, conditions, **options):
    return predict_all({subject.name: (subject, conditions)}, cohort, **options)[subject.name]


def test_every_film_and_condition_has_a_row(tmp_path):
    found = predict(subject_of(), cohort_of(), CONDITIONS, seed=0, cache=tmp_path, quiet=True)
    assert len(found.table) == 10 * len(CONDITIONS)
    assert found.table[["logit_0", "logit_1"]].notna().all().all()
    assert found.table["condition"].tolist()[: len(CONDITIONS)] == [item.text for item in CONDITIONS]
    assert found.features.shape == (10, 4)
    assert found.computed == len(found.table)


def test_predictions_are_the_networks_own(tmp_path):
    """Against a plain loop: same film, same perturbation, same preprocessing, one at a time."""
    subject, cohort = subject_of(), cohort_of()
    table = predict(subject, cohort, CONDITIONS, seed=3, cache=tmp_path, quiet=True).table
    for row in table.sample(12, random_state=0).itertuples():
        film = torch.from_numpy(film_of({"number": int(row.image.removeprefix("film"))}).pixels)
        changed = parse(row.condition).apply(film, row.image, seed=3)
        logits = subject.network(subject.pixels(changed))[0].numpy()
        assert np.allclose(logits, [row.logit_0, row.logit_1], atol=1e-5)


def test_second_run_computes_nothing_and_gives_the_same_bytes(tmp_path):
    first = predict(subject_of(), cohort_of(), CONDITIONS, seed=0, cache=tmp_path, quiet=True)
    second = predict(subject_of(), cohort_of(), CONDITIONS, seed=0, cache=tmp_path, quiet=True)
    assert second.computed == 0
    assert first.table.equals(second.table)
    assert np.array_equal(first.features, second.features)


def test_piecewise_runs_equal_one_run(tmp_path):
    """Films and conditions added later meet other neighbours in their batches; not a bit of the logits changes."""
    whole = predict(subject_of(), cohort_of(23), CONDITIONS, seed=0, cache=tmp_path / "one", quiet=True)
    predict(subject_of(), cohort_of(7), CONDITIONS[:3], seed=0, cache=tmp_path / "two", quiet=True)
    predict(subject_of(), cohort_of(15), CONDITIONS[2:], seed=0, cache=tmp_path / "two", quiet=True)
    pieces = predict(subject_of(), cohort_of(23), CONDITIONS, seed=0, cache=tmp_path / "two", quiet=True)
    assert 0 < pieces.computed < whole.computed
    assert whole.table.equals(pieces.table)


@pytest.mark.parametrize("change", ["weights", "seed", "preprocessing", "film"])
def test_the_cache_is_keyed_by_what_decides_the_number(tmp_path, change):
    predict(subject_of(), cohort_of(), CONDITIONS, seed=0, cache=tmp_path, quiet=True)
    subject, cohort, seed = subject_of(), cohort_of(), 0
    if change == "weights":
        subject = subject_of(seed=1)
    elif change == "seed":
        seed = 1
    elif change == "preprocessing":
        subject = replace(subject, preprocessing=Preprocessing(name="small", short_side=36, size=32))
    else:
        cohort = cohort_of(decode=lambda row: film_of({"number": int(row["number"]) + 100}))
    assert predict(subject, cohort, CONDITIONS, seed=seed, cache=tmp_path, quiet=True).computed == 10 * len(CONDITIONS)


def test_unreadable_films_are_named_and_left_out(tmp_path):
    def decode(row):
        if row["number"] == 4:
            raise FilmUnreadable("truncated after 12 bytes")
        return film_of(row)

    found = predict(subject_of(), cohort_of(decode=decode), CONDITIONS, seed=0, cache=tmp_path, quiet=True)
    assert found.excluded.to_dict("records") == [
        {"cohort": "drawn", "file": "film4.png", "reason": "truncated after 12 bytes"}
    ]
    assert "film4" not in set(found.table["image"])


def test_where_no_film_can_be_read_the_table_is_empty_and_says_which(tmp_path):
    def broken(row) -> Film:
        raise FilmUnreadable("is not an image", file=str(row["file"]))

    found = predict(subject_of(), cohort_of(3, broken), CONDITIONS, seed=0, cache=tmp_path, quiet=True)
    assert found.table.empty
    assert {"logit_0", "logit_1", "undefined"} <= set(found.table)
    assert found.excluded["file"].tolist() == ["film0.png", "film1.png", "film2.png"]


def test_undefined_conditions_are_rows_without_logits(tmp_path):
    """White-out needs a lung; noise shows none. The film is counted out, never silently clean."""
    found = predict(
        subject_of(), cohort_of(), expand(["clean", "whiteout_lobar@3"]), seed=0, cache=tmp_path, quiet=True
    )
    rows = found.table[found.table["condition"] == "whiteout_lobar@3"]
    assert rows["logit_0"].isna().all()
    assert rows["undefined"].str.len().min() > 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_subject_that_answers_nonsense_is_stopped_with_the_image_named(tmp_path, value):
    with pytest.raises(PredictionProblem, match=r"image 'film\d+' under .*not finite"):
        predict(subject_of(scale=value), cohort_of(), CONDITIONS, seed=0, cache=tmp_path, quiet=True)


def test_an_unwritable_cache_is_one_clear_line(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(UsageProblem, match="cannot write to the cache"):
        predict(subject_of(), cohort_of(), CONDITIONS, seed=0, cache=blocked, quiet=True)


def test_an_interrupt_keeps_what_is_done(tmp_path):
    seen = []

    def decode(row):
        seen.append(row["id"])
        if len(seen) == 8:
            raise KeyboardInterrupt
        return film_of(row)

    with pytest.raises(KeyboardInterrupt):
        predict(subject_of(), identified(cohort_of(decode=decode)), CONDITIONS, seed=0, cache=tmp_path, quiet=True)
    resumed = predict(subject_of(), cohort_of(), CONDITIONS, seed=0, cache=tmp_path, quiet=True)
    assert resumed.computed < 10 * len(CONDITIONS)


def test_a_broken_shard_is_done_again(tmp_path):
    first = predict(subject_of(), cohort_of(), CONDITIONS, seed=0, cache=tmp_path, quiet=True)
    shard = next(tmp_path.rglob("shard-*.parquet"))
    shard.write_bytes(shard.read_bytes()[:100])
    again = predict(subject_of(), cohort_of(), CONDITIONS, seed=0, cache=tmp_path, quiet=True)
    assert again.computed > 0
    assert first.table.equals(again.table)


SLOW = """
import sys, time
sys.path.insert(0, {here!r})
from suites.harness.cache import block_shards
from pathlib import Path
import test_table as here
block_shards.FLUSH_SECONDS = 0.05
def slowly(row):
    time.sleep(0.05)
    return here.film_of(row)
print("ready", flush=True)
films = here.identified(here.cohort_of(30, slowly))
here.predict(here.subject_of(), films, here.CONDITIONS, seed=0, cache=Path({cache!r}), quiet=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.15, 0.7, 1.3])
def test_killed_runs_resume_to_identical_tables(tmp_path, moment):
    """SIGKILL, no chance to clean up; then once more, and the table is what an undisturbed run gives."""
    script = SLOW.format(here=str(Path(__file__).parent), cache=str(tmp_path / "killed"))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"ready"
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    resumed = predict(subject_of(), cohort_of(30), CONDITIONS, seed=0, cache=tmp_path / "killed", quiet=True)
    whole = predict(subject_of(), cohort_of(30), CONDITIONS, seed=0, cache=tmp_path / "whole", quiet=True)
    assert resumed.table.equals(whole.table)
    for name, table in (("resumed", resumed.table), ("whole", whole.table)):
        table.to_parquet(tmp_path / f"{name}.parquet")
    assert (tmp_path / "resumed.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_views_of_a_remedy_are_averaged_as_probabilities(tmp_path):
    """Test-time augmentation: five shifted views, one answer, the mean of their softmax."""
    subject, chain = subject_of(scale=5), parse("gamma_low@3 | shifts")
    table = predict(subject, cohort_of(5), [parse("clean"), chain], seed=0, cache=tmp_path, quiet=True).table
    views = chain.apply(torch.from_numpy(film_of({"number": 2}).pixels), "film2", seed=0)
    assert len(views) == 5
    expected = subject.network(subject.pixels(views)).softmax(dim=1).mean(dim=0).numpy()
    row = table[(table["image"] == "film2") & (table["condition"] == chain.text)].iloc[0]
    stored = np.exp([row["logit_0"], row["logit_1"]])
    assert np.allclose(stored / stored.sum(), expected, atol=1e-5)


def test_two_subjects_share_the_films_and_not_the_answers(tmp_path):
    """Each film is decoded once for both, and each subject answers as if it were alone."""
    decoded = []

    def decode(row):
        decoded.append(row["id"])
        return film_of(row)

    one, other = subject_of(), replace(subject_of(seed=1), name="other")
    both = predict_all(
        {"toy": (one, CONDITIONS), "other": (other, CONDITIONS[:2])},
        cohort_of(decode=decode),
        seed=0,
        cache=tmp_path,
        quiet=True,
    )
    assert sorted(decoded) == sorted(set(decoded))
    alone = predict(other, cohort_of(), CONDITIONS[:2], seed=0, cache=tmp_path / "alone", quiet=True)
    assert both["other"].table.equals(alone.table)
    assert not both["toy"].table["logit_0"].isin(alone.table["logit_0"]).any()


def test_a_film_only_subject_is_asked_whole_films(tmp_path):
    asked = []

    def respond(films):
        asked.extend(tuple(film.shape) for film in films)
        return torch.stack([torch.tensor([film.mean(), 1 - film.mean()]) for film in films])

    service = replace(subject_of(), network=None, respond=respond)
    found = predict(service, cohort_of(4), CONDITIONS[:2], seed=0, cache=tmp_path, quiet=True)
    assert set(asked) == {(64, 64), (64, 72), (64, 80)}
    assert found.features is None
    assert found.table["logit_0"].between(0, 1).all()


def test_answers_at_different_resolutions_are_never_mixed(tmp_path):
    asked = expand(["clean", "scatter@3"])
    found = [
        predict(subject_of(), cohort_of(2), asked, seed=0, cache=tmp_path, quiet=True, resolution=resolution)
        for resolution in (AS_STORED, Resolution(40), Resolution(40), Resolution(50))
    ]
    assert [one.computed for one in found] == [4, 4, 0, 4]
    stored, small, again, _ = (one.table for one in found)
    pd.testing.assert_frame_equal(small, again)
    changed = (small[["logit_0", "logit_1"]] != stored[["logit_0", "logit_1"]]).any(axis=1)
    assert changed.tolist() == (stored["condition"] != "clean").tolist(), "a clean film is shown as it is stored"


def test_what_a_thread_remembered_of_a_film_goes_with_it(tmp_path):
    """Else every thread holds its last film, all that was found out about it included, for as long as it waits."""
    held = []

    def decode(row) -> Film:
        held.append(content_cache.held())
        return film_of(row)

    predict(subject_of(), cohort_of(12, decode), CONDITIONS, seed=0, cache=tmp_path, quiet=True)
    assert held == [0] * 12


def test_of_a_large_film_memory_is_handed_back_once_it_is_forgotten(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(pieces, "LARGE", 0)
    monkeypatch.setattr(pieces, "give_back", lambda: given.append(content_cache.held()))
    predict(subject_of(), cohort_of(3), CONDITIONS, seed=0, cache=tmp_path, quiet=True)
    assert given == [0, 0] * 3, "before it is perturbed, and after it was forgotten"
