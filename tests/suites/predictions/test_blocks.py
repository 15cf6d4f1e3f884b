"""Blocks of films: one shard each, named by all that decides it, believed only as written, and nothing done twice."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from suites.harness.cache import block_shards, shards
from suites.harness.cache.shards import note_set_aside
from suites.harness.errors import CohortProblem, UsageProblem
from suites.harness.predictions import blocks, opened
from suites.harness.predictions import table as module
from suites.harness.predictions.answering import PredictionJob
from suites.harness.predictions.blocks import cut
from suites.harness.predictions.conditions import expand
from suites.harness.predictions.resolution import AS_STORED, Resolution
from suites.harness.predictions.table import Predictions, predict
from suites.harness.subjects.preprocessing import Preprocessing
from tests.suites.predictions.mortal import BROKEN, CONDITIONS, cohort_of, draw, named, subject_of

FILMS = 8
"""Of a block, here."""
SEVERAL = 2 * FILMS + 3


@pytest.fixture(autouse=True)
def set_aside(monkeypatch):
    monkeypatch.setattr(blocks, "FILMS", FILMS)
    monkeypatch.setattr(shards, "SET_ASIDE", aside := [])
    for place in ("answering", "dispatching"):
        monkeypatch.setattr(f"suites.harness.predictions.{place}.SET_ASIDE", aside)
    return aside


def asked(cohort, cache, conditions=CONDITIONS, subject=None, seed=0, resolution=AS_STORED) -> Predictions:
    subject = subject or subject_of()
    found = predict(
        {subject.name: (subject, conditions)}, cohort, seed=seed, cache=cache, quiet=True, resolution=resolution
    )
    return found[subject.name]


def files(cache: Path) -> dict[str, bytes]:
    return {str(path.relative_to(cache)): path.read_bytes() for path in sorted(cache.rglob("shard-*.parquet"))}


def same(one: Predictions, other: Predictions) -> bool:
    left = one.excluded.equals(other.excluded) and one.notes == other.notes and one.failed == other.failed
    return left and one.table.equals(other.table) and one.features.tobytes() == other.features.tobytes()


def test_a_cohort_is_cut_into_whole_films_in_their_order():
    rows = cohort_of(SEVERAL).rows()
    blocks = cut(rows)
    assert [len(block.rows) for block in blocks] == [FILMS, FILMS, 3]
    assert [block.number for block in blocks] == [0, 1, 2]
    assert [row for block in blocks for row in block.rows] == list(rows)


@pytest.mark.parametrize("known", [False, True], ids=["decoded to be known", "known at once"])
def test_blocks_done_before_are_found_and_a_lost_one_is_done_again_to_the_same_bytes(tmp_path, known):
    cohort = cohort_of(SEVERAL, known=known)
    first = asked(cohort, tmp_path)
    assert first.computed == (SEVERAL - 1) * len(CONDITIONS)
    assert len(first.notes) == (not known)
    assert first.excluded["file"].tolist() == [f"film{BROKEN}.png"]
    written = files(tmp_path)
    assert len(written) == 3
    again = asked(cohort, tmp_path)
    assert again.computed == 0
    assert same(first, again)
    (tmp_path / list(written)[1]).unlink()
    resumed = asked(cohort, tmp_path)
    assert resumed.computed in {n * len(CONDITIONS) for n in (FILMS - 1, FILMS, 3)}
    assert same(first, resumed)
    assert files(tmp_path) == written


def test_conditions_and_films_added_later_take_over_what_is_there(tmp_path):
    """A run of some claims, then of all of them; a cohort that was limited, then whole: other blocks, the same rows."""
    whole = asked(cohort_of(SEVERAL), tmp_path / "one")
    few = asked(cohort_of(SEVERAL), tmp_path / "two", CONDITIONS[:3])
    assert few.computed == (SEVERAL - 1) * 3
    rest = asked(cohort_of(SEVERAL), tmp_path / "two")
    assert rest.computed == (SEVERAL - 1) * (len(CONDITIONS) - 3)
    assert same(rest, whole)
    asked(cohort_of(6, first=6), tmp_path / "three")
    cut_otherwise = asked(cohort_of(SEVERAL), tmp_path / "three")
    assert cut_otherwise.computed == (SEVERAL - 7) * len(CONDITIONS)
    assert same(cut_otherwise, whole)
    other_order = asked(cohort_of(SEVERAL), tmp_path / "three", CONDITIONS[::-1])
    assert other_order.computed == 0


def test_what_was_answered_when_a_block_was_interrupted_is_taken_over_and_then_tidied_away(tmp_path):
    def decode(row):
        if row["number"] == 7:
            raise KeyboardInterrupt
        return draw(row)

    with pytest.raises(KeyboardInterrupt):
        asked(cohort_of(8, decode, known=True), tmp_path)
    (part,) = tmp_path.rglob("part-*.parquet")
    kept = pq.read_metadata(part).num_rows
    assert kept > 2 * len(CONDITIONS)
    some = asked(cohort_of(8, known=True), tmp_path, CONDITIONS[:2])
    assert part.exists(), "it holds more than these conditions"
    resumed = asked(cohort_of(8, known=True), tmp_path)
    assert not part.exists()
    assert some.computed + resumed.computed == 7 * len(CONDITIONS) - kept
    assert same(resumed, asked(cohort_of(8, known=True), tmp_path / "undisturbed"))


def test_a_slow_block_leaves_parts_for_whoever_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(block_shards, "FLUSH_SECONDS", 0.0)
    left = []
    write = block_shards.BlockShards.write
    monkeypatch.setattr(
        block_shards.BlockShards, "write", lambda *given: left.extend(tmp_path.rglob("part-*")) or write(*given)
    )
    asked(cohort_of(8), tmp_path)
    assert len(left) == 7 * len(CONDITIONS)
    assert not list(tmp_path.rglob("part-*"))


DETERMINANTS = {
    "weights": {"subject": subject_of(seed=1)},
    "recipe": {"subject": replace(subject_of(), preprocessing=Preprocessing(name="small", short_side=38, size=32))},
    "conditions": {"conditions": CONDITIONS[:-1]},
    "severity": {"conditions": [*CONDITIONS[:-1], *expand(["window_widening@4"])]},
    "film contents": {"cohort": cohort_of(6, lambda row: draw({"number": int(row["number"]) + 100}))},
    "film ids": {"cohort": replace(cohort_of(6), table=cohort_of(6).table.assign(id=[f"f{n}" for n in range(6)]))},
    "number of films": {"cohort": cohort_of(7)},
    "order of films": {"cohort": replace(cohort_of(6), table=cohort_of(6).table[::-1].reset_index(drop=True))},
    "seed": {"seed": 1},
    "resolution": {"resolution": Resolution(40)},
}
HELD = {
    "device": ("suites.harness.subjects.subject.device_kind", lambda device: "cuda H200, CUDA 13.0, cuDNN 91300"),
    "version of torch": ("torch.__version__", "9.9.9"),
    "precision": ("torch.get_float32_matmul_precision", lambda: "medium"),
    "threads": ("torch.get_num_threads", lambda: 7),
    "batch size": ("suites.harness.predictions.answering.batch_size", lambda subject, cache: 32),
    "decoders": ("suites.harness.predictions.engine.decoding", lambda: {"version": -1}),
    "version of the engine": ("suites.harness.predictions.engine.ENGINE_VERSION", -1),
}


def names(folder: Path, *, cohort=None, conditions=CONDITIONS, subject=None, seed=0, resolution=AS_STORED) -> set[str]:
    subject, cohort = subject or subject_of(), cohort or cohort_of(6)
    job = PredictionJob.of({"mortal": (subject, conditions)}, cohort, seed=seed, cache=folder, resolution=resolution)
    (one,) = job.engines({"mortal": subject}).values()
    rows = [row for row in cohort.rows() if row["number"] != BROKEN]
    films = [(str(row["id"]), cohort.content(row)) for row in rows]
    return {one.shards.name(films, job.identities("mortal"))}


@pytest.mark.parametrize("what", [*DETERMINANTS, *HELD])
def test_whatever_decides_the_answers_decides_the_name_of_the_shard(tmp_path, monkeypatch, what):
    before = names(tmp_path)
    assert names(tmp_path) == before
    changed: Mapping = DETERMINANTS.get(what, {})
    if what in HELD:
        monkeypatch.setattr(*HELD[what])
    assert not names(tmp_path, **changed) & before


def cut_short(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(at: float):
    return lambda data: (
        data[: int(at * len(data))] + bytes([data[int(at * len(data))] ^ 1]) + data[int(at * len(data)) + 1 :]
    )


DAMAGE = {
    "truncated": cut_short,
    "empty": lambda data: b"",
    "a bit of the logits": flip(0.3),
    "a bit in the middle": flip(0.5),
    "a bit of the footer": flip(0.95),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_shard_is_set_aside_and_done_again_to_the_same_bytes(tmp_path, how, set_aside):
    first = asked(cohort_of(8), tmp_path)
    ((name, data),) = files(tmp_path).items()
    shard = tmp_path / name
    shard.write_bytes(DAMAGE[how](data))
    again = asked(cohort_of(8), tmp_path)
    assert same(first, again)
    if again.computed:
        assert again.computed == 7 * len(CONDITIONS)
        assert shard.read_bytes() == data
        (told,) = set_aside
        assert shard.with_suffix(".broken").exists()
        assert told.isprintable()
        assert len(told) < 300
    else:
        assert how == "a bit of the footer", "one that no value depends on"


def test_a_shard_that_holds_other_rows_than_its_name_says_is_set_aside(tmp_path, set_aside):
    """Whole and by this very code, but of another block, of other conditions, of another seed, or short of a row."""
    first = asked(cohort_of(8), tmp_path)
    (name,) = files(tmp_path)
    shard = tmp_path / name
    impostors = [
        files(here)
        for here, given in (
            (tmp_path / "films", {"cohort": cohort_of(8, first=20)}),
            (tmp_path / "conditions", {"cohort": cohort_of(8), "conditions": CONDITIONS[:2]}),
            (tmp_path / "seed", {"cohort": cohort_of(8), "seed": 1}),
        )
        if asked(cache=here, **given)
    ]
    rows = pq.read_table(shard)
    pq.write_table(rows.slice(0, rows.num_rows - 1), tmp_path / "short.parquet")
    for data in [*(next(iter(one.values())) for one in impostors), (tmp_path / "short.parquet").read_bytes()]:
        shard.write_bytes(data)
        again = asked(cohort_of(8), tmp_path)
        assert again.computed == 7 * len(CONDITIONS)
        assert same(first, again)
    assert len(set_aside) == 4


def test_two_runs_at_once_in_one_folder_do_not_see_half_of_one_another(tmp_path):
    """The second begins and ends in the middle of the first, which then overwrites its shard with the same bytes."""
    others = []

    def decode(row):
        if row["number"] == 6 and not others:
            others.append(None)
            others[0] = asked(cohort_of(8, known=True), tmp_path, CONDITIONS[2:], seed=0)
        return draw(row)

    first = asked(cohort_of(8, decode, known=True), tmp_path)
    assert same(first, asked(cohort_of(8, known=True), tmp_path / "alone"))
    assert others[0].table.equals(asked(cohort_of(8, known=True), tmp_path / "alone", CONDITIONS[2:]).table)


def test_a_film_that_changes_while_it_is_read_ends_the_run_with_one_line_and_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(opened, "HELD", 0)
    decoded = []

    def decode(row):
        decoded.append(row["number"])
        return draw({"number": 500}) if decoded.count(FILMS + 3) == 2 and row["number"] == FILMS + 3 else draw(row)

    with pytest.raises(CohortProblem, match=rf"the film film{FILMS + 3} of drawn changed while it was read") as told:
        asked(cohort_of(2 * FILMS, decode), tmp_path)
    assert len(str(told.value)) < 300
    resumed = asked(cohort_of(2 * FILMS), tmp_path)
    assert resumed.computed <= FILMS * len(CONDITIONS)
    assert same(resumed, asked(cohort_of(2 * FILMS), tmp_path / "undisturbed"))


def test_a_full_disk_is_one_line_and_finished_blocks_stay(tmp_path, monkeypatch):
    write, written, subject = Path.write_bytes, [], subject_of()
    assert subject.fingerprint, "taken before what its code uses is changed"

    def full(path, data):
        if path.name.startswith(".") and written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(path)
        return write(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(UsageProblem, match="No space left on device; free some space or pass --cache DIR"):
            asked(cohort_of(2 * FILMS), tmp_path, subject=subject)
    assert len(files(tmp_path)) == 1
    assert asked(cohort_of(2 * FILMS), tmp_path, subject=subject).computed == FILMS * len(CONDITIONS)


def test_a_shard_that_vanishes_before_it_is_gathered_is_one_line(tmp_path, monkeypatch):
    class Thief:
        def receipts(self, here, blocks, told):
            elsewhere = here.job.ready({"mortal": subject_of()})  # as in another process
            for receipt in module.THIS_PROCESS.receipts(elsewhere, blocks, told):
                for path in tmp_path.rglob("shard-*"):
                    path.unlink()
                yield receipt

    with pytest.raises(UsageProblem, match="removed or damaged while this run was reading it; run again"):
        predict(
            {"mortal": (subject_of(), CONDITIONS)}, cohort_of(3), seed=0, cache=tmp_path, quiet=True, workers=Thief()
        )


def test_films_are_known_by_what_they_hold_and_decoded_once(tmp_path):
    decoded = []

    def decode(row):
        decoded.append(row["id"])
        return draw(row)

    asked(cohort_of(8, decode), tmp_path)
    assert sorted(decoded) == sorted(set(decoded))
    assert named({"number": 1}) != named({"number": 2})
    assert torch.get_num_threads() >= 1


def test_what_a_reader_says_of_a_damaged_file_is_printed_as_one_line(set_aside):
    note_set_aside(["predictions", "key", "shard-0"], OSError("don't know what type: \x0e\n\x1b[2J"))
    assert set_aside == [
        r"cache: predictions/key/shard-0... was set aside and is computed again: don't know what type: \x0e \x1b[2J"
    ]
