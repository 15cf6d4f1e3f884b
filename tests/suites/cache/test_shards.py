"""The one caching loop: what is missing is computed, what is done is kept, what was kept before is found."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from suites.harness.cache import Keeping, Shards, shards
from suites.harness.cohorts.cohort import Film
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


def test_predictions_of_earlier_versions_are_found(tmp_path, monkeypatch):
    """The key and the columns are those of 50c0f40; libraries and machines are held, for they belong into the key."""
    subject = subject_of(Reader(), "reader")
    monkeypatch.setattr(engine, "decoding", lambda: {"version": 1})
    known = {"torch": "t", "torchvision": "v", "device": "cpu", "precision": ["highest", "torch.float32"]}
    subject.__dict__["cache_key"] = subject.cache_key | known | {"subject": "fingerprint"}
    predict({"reader": (subject, expand(["clean", "gamma_low@3"]))}, cohort_of(3), seed=7, cache=tmp_path, quiet=True)
    (folder,) = (tmp_path / "predictions").iterdir()
    assert folder.name == "f4d767f77b06ab5e1a2726a2"
    assert sorted(json.loads((folder / "key.json").read_text())) == [
        "batch", "decoding", "device", "engine", "precision", "preprocessing", "recipes", "seed", "subject", "torch",
        "torchvision",
    ]  # fmt: skip
    (shard,) = folder.glob("shard-*.parquet")
    schema = pq.read_schema(shard)
    assert {name: str(schema.field(name).type) for name in schema.names} == {
        "content": "large_string", "image": "large_string", "identity": "large_string", "undefined": "large_string",
        "features": "binary",
        "logit_0": "float", "logit_1": "float", "logit_2": "float",
    }  # fmt: skip
    assert torch.isfinite(torch.tensor(pq.read_table(shard)["logit_0"].to_pylist())).all()
