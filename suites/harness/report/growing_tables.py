"""In what kind of file is a table kept that grows with the films? In CSV, of a large cohort in Parquet.

A CSV of a million rows opens in no spreadsheet, and takes ten times the bytes and the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from suites.harness.process import give_back

MOST_CSV = 20_000
"""Films of a run up to which its tables of films are CSV."""
FILMS_AT_ONCE = 4_000
"""Of a run, whose rows are made together."""
MOST_ROWS = 2**16
"""Of a table that are made at once."""
SUFFIXES = (".csv", ".parquet")


def named(stem: str, films: int) -> str:
    """Return the name of a table of a run of so many films."""
    return f"{stem}{SUFFIXES[films > MOST_CSV]}"


def write_table(table: pd.DataFrame, folder: Path, stem: str, *, films: int) -> str:
    """Write a table of a run of so many films, and return the name of its file."""
    name = named(stem, films)
    if films > MOST_CSV:
        table.to_parquet(folder / name, index=False)
    else:
        table.to_csv(folder / name, index=False)
    return name


def write_rows(tables: Iterable[Callable[[slice], pd.DataFrame]], path: Path, *, films: int) -> None:
    """Write tables of several rows for each film into one file of Parquet, one below the other.

    Args:
        tables: from some of the films to their rows; of a large cohort they are made a part at a time.
        path: of the file.
        films: of the run.
    """
    if films <= FILMS_AT_ONCE:
        pd.concat([table(slice(None)) for table in tables], ignore_index=True).to_parquet(path, index=False)
        return
    starts = range(0, films, FILMS_AT_ONCE)
    write_parts((table(slice(at, at + FILMS_AT_ONCE)) for table in tables for at in starts), path)


def write_parts(parts: Iterable[pd.DataFrame], path: Path) -> None:
    """Write tables of the same columns into one file of Parquet, one below the other."""
    with ExitStack() as opened:
        writer: pq.ParquetWriter | None = None
        for part in parts:
            rows = pa.Table.from_pandas(part, preserve_index=False)
            writer = writer or opened.enter_context(pq.ParquetWriter(path, rows.schema))
            writer.write_table(rows)
            del part, rows  # before the next is made
            give_back()  # no two parts are of a size: kept, what one took does not fit the next


def table_in(folder: Path, stem: str) -> Path | None:
    """Return the file of such a table in a report's folder, `None` where there is none."""
    return next((path for suffix in SUFFIXES if (path := folder / f"{stem}{suffix}").exists()), None)
