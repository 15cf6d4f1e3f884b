"""The one caching loop: what is missing is computed, what is done is kept, what was kept before is found."""

from __future__ import annotations

import errno
import io
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from suites.harness.cache import Keeping, Shards, shards
from suites.harness.claims import Claim
from suites.harness.cohorts.cohort import Film
from suites.harness.errors import UsageProblem
from suites.harness.evaluation import Evaluation
from suites.harness.predictions import engine
from suites.harness.predictions.conditions import expand
from suites.harness.predictions.table import predict
from tests.controls.subjects import Reader, cohort_of, subject_of

COLUMNS = ("film", "level")


def asked(*keys, calls=None, fails=()):
    def compute(key):
        if key in fails:
            raise KeyboardInterrupt
        if calls is not None:
            calls.append(key)
        return {"value": f"{key[0]}{key[1]}"}

    return ((key, lambda key=key: compute(key)) for key in keys)


def test_what_is_missing_is_computed_once_and_comes_back_in_order(tmp_path):
    calls = []
    shards = Shards(tmp_path, "kind", {"k": 1})
    rows = shards.fill(COLUMNS, asked(("a", 1), ("b", 1), ("a", 1), calls=calls))
    assert [row["value"] for row in rows] == ["a1", "b1", "a1"]
    assert calls == [("a", 1), ("b", 1)]
    again = Shards(tmp_path, "kind", {"k": 1}).fill(COLUMNS, asked(("b", 1), ("c", 2), ("a", 1), calls=calls))
    assert [row["value"] for row in again] == ["b1", "c2", "a1"]
    assert calls == [("a", 1), ("b", 1), ("c", 2)]
    assert len(shards.read()) == 3
    assert list(shards.read().columns) == ["film", "level", "value"]
    assert not len(Shards(tmp_path, "kind", {"k": 2}).read())


def test_an_interrupt_keeps_what_is_done(tmp_path):
    shards = Shards(tmp_path, "kind", {})
    with pytest.raises(KeyboardInterrupt):
        shards.fill(COLUMNS, asked(("a", 1), ("b", 1), ("c", 1), fails={("c", 1)}))
    assert shards.read()["film"].tolist() == ["a", "b"]


def test_what_is_known_already_is_not_read_again(tmp_path, monkeypatch):
    shards = Shards(tmp_path, "kind", {})
    known = shards.known(COLUMNS)
    monkeypatch.setattr(Shards, "read", lambda _: pytest.fail("read again"))
    shards.fill(COLUMNS, asked(("a", 1)), known)
    calls = []
    shards.fill(COLUMNS, asked(("a", 1), calls=calls), known)
    assert calls == []


def test_rows_are_written_every_few_seconds_or_by_the_batch(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(shards.time, "monotonic", lambda: now[0])
    kept, written = Shards(tmp_path, "kind", {}), []
    with Keeping(kept, written=written.append) as keeping:
        for second in range(12):
            now[0] = float(second)
            keeping.keep({"second": second})
    assert [len(rows) for rows in written] == [7, 5], "after more than five seconds, and at the end"
    batches = Shards(tmp_path, "batches", {})
    with Keeping(batches, every=4) as keeping:
        for number in range(10):
            now[0] += 100.0
            keeping.keep({"number": number})
    sizes = sorted(pq.read_metadata(path).num_rows for path in batches.folder.glob("shard-*.parquet"))
    assert sizes == [2, 4, 4]


def test_once_computes_where_nothing_is_kept(tmp_path):
    shards = Shards(tmp_path, "kind", {})
    assert shards.once(lambda: pd.DataFrame({"a": [1]}))["a"].tolist() == [1]
    assert shards.once(lambda: pytest.fail("again"))["a"].tolist() == [1]


def test_a_film_is_identified_without_decoding_where_that_can_be_and_decoded_once_where_not():
    decoded = []

    def decode(row):
        decoded.append(row["id"])
        return Film(pixels=np.zeros((16, 16), np.float32), content=f"pixels of {row['id']}")

    cohort = cohort_of(3, decode=decode)
    rows = cohort.rows([2, 0])
    assert [row["id"] for row in rows] == cohort.table["id"].iloc[[2, 0]].tolist()
    assert all(isinstance(name, str) for name in rows[0])
    content, film = cohort.opened(rows[0])
    assert (content, film().content, film().content) == (f"pixels of {rows[0]['id']}",) * 3
    assert decoded == [rows[0]["id"]]
    known = cohort_of(3, decode=decode)
    object.__setattr__(known, "identify", lambda row: f"known {row['id']}")
    assert known.content(rows[1]) == f"known {rows[1]['id']}"
    assert decoded == [rows[0]["id"]]


def test_predictions_of_this_version_are_found_by_later_ones_and_those_of_earlier_ones_left_alone(
    tmp_path, monkeypatch
):
    """Of this key and these columns; libraries and machines are held, for they belong into the key."""
    subject = subject_of(Reader(), "reader")
    monkeypatch.setattr(engine, "decoding", lambda: {"version": 1})
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    known = {"torch": "t", "torchvision": "v", "device": "cpu", "precision": ["highest", "torch.float32"]}
    subject.__dict__["cache_key"] = subject.cache_key | known | {"subject": "fingerprint"}
    asked, films = {"reader": (subject, expand(["clean", "gamma_low@3"]))}, cohort_of(3)
    predict(asked, films, seed=7, cache=tmp_path, quiet=True)
    (folder,) = (tmp_path / "predictions").iterdir()
    assert folder.name == "710070bffb5bdbf920ad7e59"
    assert sorted(json.loads((folder / "key.json").read_text())) == [
        "batch", "decoding", "device", "engine", "precision", "preprocessing", "recipes", "seed", "subject", "threads",
        "torch", "torchvision",
    ]  # fmt: skip
    (shard,) = folder.glob("shard-*.parquet")
    schema = pq.read_schema(shard)
    assert {name: str(schema.field(name).type) for name in schema.names} == {
        "content": "string", "image": "string", "identity": "string", "undefined": "string",
        "features": "binary",
        "logit_0": "float", "logit_1": "float", "logit_2": "float",
    }  # fmt: skip
    assert torch.isfinite(torch.tensor(pq.read_table(shard)["logit_0"].to_pylist())).all()
    assert predict(asked, films, seed=7, cache=tmp_path, quiet=True)["reader"].computed == 0
    monkeypatch.setattr(engine, "ENGINE_VERSION", engine.ENGINE_VERSION - 1)
    assert predict(asked, films, seed=7, cache=tmp_path, quiet=True)["reader"].computed == 6


KNOWN = {"film": "text", "value": "number"}
ROWS = pd.DataFrame({"film": ["a", "b"], "value": [0.25, 0.5]})


def flipped(data: bytes, at: int) -> bytes:
    return data[: at // 8] + bytes([data[at // 8] ^ (1 << at % 8)]) + data[at // 8 + 1 :]


def parquet_of(columns: dict) -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame(columns).to_parquet(buffer)
    return buffer.getvalue()


COLUMN = st.one_of(
    st.lists(st.floats(allow_nan=True), min_size=2, max_size=2),
    st.lists(st.text(st.characters(codec="utf-8"), max_size=5), min_size=2, max_size=2),
    st.lists(st.integers(-9, 9), min_size=2, max_size=2),
    st.lists(st.binary(max_size=5), min_size=2, max_size=2),
)
TABLE = st.dictionaries(st.sampled_from(["film", "value", "level", "claim", ""]), COLUMN, min_size=1)
FOREIGN = st.one_of(
    st.binary(max_size=200),
    TABLE.map(parquet_of),
    st.integers(min_value=0).map(lambda at: lambda data: flipped(data, at % (8 * len(data)))),
    st.integers(min_value=0).map(lambda at: lambda data: data[: at % len(data)]),
)
"""Any bytes, any table, and ours with one bit flipped or cut."""


@settings(max_examples=40)
@given(FOREIGN, st.booleans())
def test_whatever_lies_in_place_of_a_shard_is_set_aside_and_the_same_numbers_come_out(foreign, replaces):
    with tempfile.TemporaryDirectory() as folder:
        kept = Shards(Path(folder), "kind", {"k": 1}, KNOWN)
        kept.add(ROWS)
        (own,) = kept.folder.glob("shard-*.parquet")
        data = foreign(own.read_bytes()) if callable(foreign) else foreign
        place = own if replaces else own.with_name("shard-0f.parquet")
        place.write_bytes(data)
        before = len(shards.SET_ASIDE)
        found = Shards(Path(folder), "kind", {"k": 1}, KNOWN).once(lambda: ROWS)
        pd.testing.assert_frame_equal(found, ROWS)
        assert place.with_suffix(".broken").exists()
        assert place.exists() == replaces, "computed again, it has its old name again"
        assert len(shards.SET_ASIDE) == before + 1
        assert shards.SET_ASIDE[-1].isprintable()
        assert len(shards.SET_ASIDE[-1]) < 300
        del shards.SET_ASIDE[before:]
        pd.testing.assert_frame_equal(Shards(Path(folder), "kind", {"k": 1}, KNOWN).read(), ROWS)


def test_a_shard_of_another_key_or_kind_or_without_its_columns_is_not_believed(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SET_ASIDE", [])
    other = Shards(tmp_path, "kind", {"k": 2}, KNOWN)
    other.add(ROWS)
    (shard,) = other.folder.glob("shard-*.parquet")
    for kind, key in (("kind", {"k": 1}), ("other", {"k": 2})):
        kept = Shards(tmp_path, kind, key, KNOWN)
        (kept.folder / shard.name).write_bytes(shard.read_bytes())
        assert not len(kept.read()), "its values are those of another run"
    assert len(other.read()) == 2
    for rows in ({"film": ["a"]}, {"film": ["a"], "value": ["b"]}, {"film": [1], "value": [0.5]}):
        kept = Shards(tmp_path, "kind", {"k": str(rows)}, KNOWN)
        kept.add(pd.DataFrame(rows))
        assert not len(kept.read())
    (kept.folder / "shard-folder.parquet").mkdir()
    os.mkfifo(kept.folder / "shard-pipe.parquet")
    assert not len(kept.read())
    assert sorted(path.suffix for path in kept.folder.glob("shard-*")) == [".broken"] * 3


@pytest.mark.parametrize("kind", ["predictions", "results", "pictures", "measures"])
def test_a_run_with_any_broken_shard_gives_the_numbers_and_the_report_of_one_without(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(shards, "SET_ASIDE", [])
    claim = Claim(
        id="contrast.a", section="S", statement="s", kind="limitation", endpoint="stress", margin=0.3,
        parameters={"condition": "gamma_low@3", "conditions": ["gamma_low@1-5"]},
    )  # fmt: skip

    def run(to):
        evaluation = Evaluation(
            subjects=[subject_of(Reader(), "reader")], cohort=cohort_of(30), claims=[claim], cache=tmp_path / "c",
            quiet=True,
        ).run()  # fmt: skip
        evaluation.report(tmp_path / to)
        return evaluation.to_pandas()

    first = run("a")
    broken = list((tmp_path / "c" / kind).rglob("shard-*.parquet"))
    assert broken
    for shard in broken:
        table = pq.read_table(shard)
        pq.write_table(table.drop_columns(table.column_names[-1]), shard)
    pd.testing.assert_frame_equal(run("b"), first)
    assert len(shards.SET_ASIDE) == len(broken)
    for name in ("predictions.parquet", "results.csv", "films.csv"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()
    for drawn in (tmp_path / "a" / "figures").iterdir():
        assert (tmp_path / "b" / "figures" / drawn.name).read_bytes() == drawn.read_bytes()


def test_a_full_disk_is_one_line_and_leaves_nothing_behind(tmp_path, monkeypatch):
    kept = Shards(tmp_path, "kind", {})

    def full(path, data):
        with path.open("wb") as file:
            file.write(data[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UsageProblem, match="No space left on device; free some space or pass --cache DIR"):
        kept.add(ROWS)
    assert [path.name for path in kept.folder.iterdir()] == ["key.json"]


def test_without_a_home_the_cache_is_asked_for(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(UsageProblem, match="no home folder for the cache; pass --cache DIR"):
        shards.default_folder()
