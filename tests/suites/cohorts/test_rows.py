"""Rows of a table are made as they are looked at, few at a time; sent elsewhere they are a list."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pyarrow as pa

from suites.harness.cohorts import rows as module
from suites.harness.cohorts.rows import Rows, made_of
from suites.harness.cohorts.texts import among, places, texts_of

FILMS = 23


def table() -> pd.DataFrame:
    return pd.DataFrame({
        "id": [f"film {number}" for number in range(FILMS)],
        "label": pd.array([None if number % 5 == 0 else "ab"[number % 2] for number in range(FILMS)], dtype="str"),
        "number": range(FILMS), "share": np.linspace(0, 1, FILMS), "any": [(number,) for number in range(FILMS)],
    })  # fmt: skip


def told(rows) -> list[str]:
    return [repr(dict(row)) for row in rows]


def test_rows_are_those_of_the_whole_table_wherever_somebody_looks(monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 4)
    whole, rows = made_of(table()), Rows(table())
    assert told(rows) == told(whole)
    assert len(rows) == FILMS
    assert told(rows[at] for at in (22, 0, -1, 7)) == told(whole[at] for at in (22, 0, -1, 7))
    for part in (slice(3, 9), slice(20, 99), slice(None, None, -2), slice(5, 5)):
        assert told(rows[part]) == told(whole[part])
    assert told(rows[3:15][2:4]) == told(whole[5:7])
    assert {type(row["number"]) for row in rows} == {int}
    sent = pickle.loads(pickle.dumps(rows[6:8]))
    assert type(sent) is list
    assert told(sent) == told(whole[6:8])


def test_no_more_rows_are_held_than_are_made_together(monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 4)
    made = []
    rows = Rows(table(), lambda row: made.append(row["number"]) or {**row, "more": 1})
    assert made == []
    assert [row["more"] for row in rows[8:12]] == [1] * 4
    assert [row["number"] for row in rows[8:12]] == made == [8, 9, 10, 11], "whoever looks twice has them made once"
    assert rows[0]["number"] == 0
    assert made[4:] == [0, 1, 2, 3]
    assert len(rows._source.made[1]) == 4


def test_texts_are_found_as_pandas_finds_them():
    column = pd.Series(["b", "a", "c", "a", "d"])
    known = texts_of(pd.Series(["a", "x", "b"]))
    for told_as in (column, column.astype(object), column.astype("category"), pd.Series(pd.Categorical(column))):
        assert texts_of(told_as).to_pylist() == column.tolist()
        assert among(texts_of(told_as), known).tolist() == column.isin(["a", "b"]).tolist()
        assert places(texts_of(told_as), known).tolist() == [2, 0, -1, 0, -1]
    assert texts_of(pd.Series([3, 10])).to_pylist() == ["3", "10"]
    assert places(pa.array([], pa.large_string()), known).tolist() == []
