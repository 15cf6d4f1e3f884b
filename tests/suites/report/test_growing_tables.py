"""Are the tables that grow with the films the same table, in CSV for a small cohort and in Parquet for a large one?"""

from __future__ import annotations

from functools import partial

import pandas as pd
import pyarrow.parquet as pq
import pytest

from suites.harness.report import growing_tables, stored_run
from suites.harness.report.growing_tables import named, table_in, write_rows, write_table


def films(count: int) -> pd.DataFrame:
    return pd.DataFrame({
        "cohort": "c", "id": [f"NA{number}" for number in range(count)], "label": ["a", ""] * (count // 2),
        "patient": [f"{number:03d}" for number in range(count)],
    })  # fmt: skip


@pytest.mark.parametrize(("most", "suffix"), [(10, ".csv"), (9, ".parquet")])
def test_films_are_read_back_as_they_were_written(tmp_path, monkeypatch, most, suffix):
    monkeypatch.setattr(growing_tables, "MOST_CSV", most)
    table = films(10)
    name = write_table(table, tmp_path, "films", films=10)
    assert name == named("films", 10) == f"films{suffix}"
    found = stored_run._films(table_in(tmp_path, "films"), {"cohort": {"name": "c"}})
    pd.testing.assert_frame_equal(found, table)
    assert table_in(tmp_path, "other") is None


def test_parquet_of_films_that_holds_other_than_texts_is_refused_by_the_column(tmp_path):
    films(4).assign(patient=[1, 2, 3, 4]).to_parquet(tmp_path / "films.parquet")
    with pytest.raises(ValueError, match=r"films.parquet: column patient holds int64"):
        stored_run._films(tmp_path / "films.parquet", {"cohort": {"name": "c"}})


def test_rows_written_in_parts_are_the_rows_written_at_once(tmp_path, monkeypatch):
    table = films(10).assign(right=pd.Series([True, None] * 5).astype("boolean"))

    def rows(which: slice, times: int) -> pd.DataFrame:
        return pd.concat([table[which]] * times, ignore_index=True)

    tables = [partial(rows, times=times) for times in (2, 3)]
    write_rows(tables, tmp_path / "whole.parquet", films=10)
    for name in ("MOST_CSV", "FILMS_AT_ONCE"):
        monkeypatch.setattr(growing_tables, name, 4)
    write_rows(tables, tmp_path / "parts.parquet", films=10)
    assert [pq.ParquetFile(tmp_path / f"{name}.parquet").num_row_groups for name in ("whole", "parts")] == [1, 6]
    whole, parts = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("whole", "parts"))
    order = ["id", "right"]
    assert len(whole) == 50
    pd.testing.assert_frame_equal(
        whole.sort_values(order, ignore_index=True), parts.sort_values(order, ignore_index=True)
    )
