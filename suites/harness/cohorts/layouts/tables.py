"""How are the cells of a table read, CSV, TSV or Parquet? As texts, within bounds that a table of films keeps.

A table is some megabytes. What claims to be one and is more (a cell of a book's size, columns without end, Parquet that
inflates) is refused before it is held in memory, and so is text that is not UTF-8, with its row. Rows are read as a
stream: only a batch of them is ever held as Python's texts, what is read is held as Arrow's.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from suites.harness.cohorts.layouts.spelling import as_seen
from suites.harness.cohorts.quoting import listed, shown
from suites.harness.errors import CohortProblem
from suites.harness.foreign_file import MIB, read_bytes

MOST_BYTES = 256 * MIB
"""Of a table's file, and of the text in it; the tables of the largest public collections have about 100 MB."""
MOST_ROWS = 1_000_000
MOST_CELLS = 20_000_000
MOST_COLUMNS = 4_096
LONGEST_CELL = 32_767
"""Characters, as many as a cell of a spreadsheet holds."""
_LONGEST_LINE = 2**17  # bytes; the csv module gives up on a cell beyond that
_BATCH = 2**14
_LINE = re.compile(rb"([^\r\n]*)(\r\n|\r|\n|\Z)")
_SEPARATOR = re.compile(r"\"?sep=([^\w\"\r\n])\"?[,;\t|]*", re.IGNORECASE)
_REMEDY = "keep the rows and columns that are needed"


def read_cells(path: Path, *, numbered: bool = False) -> pd.DataFrame:
    """Return the cells of a table as texts, by column as it is named in the file; an empty text is a missing value.

    A name that ends in `.gz` is one of a compressed table. With `numbered`, a first column without a name holds the
    numbers of rows, as pandas writes them, and is left out.

    Of Parquet the columns are read by their Arrow types alone: what pandas left about them in the file (an index, types
    of its own) is not looked at. Columns that hold lists or records are left out.

    Raises:
        CohortProblem: no regular file, larger than a table of films is, not UTF-8, damaged; a quote that no line
            closes, a row of more or fewer cells than the header, a column without a name or given twice.
    """
    where = shown(path)
    try:
        data = read_bytes(path, MOST_BYTES)
        if path.suffix.lower() == ".parquet":
            return _parquet(data, where)
        return _text(_inflated(data, where) if path.suffix.lower() == ".gz" else data, where, numbered=numbered)
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise CohortProblem(f"{where}: cannot be read as a manifest ({shown(reason)})") from problem


def _inflated(data: bytes, where: str) -> bytes:
    """Return what a gzip file holds, whatever number of members it has."""
    whole = b""
    while data:
        reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            whole += reader.decompress(data, MOST_BYTES + 1 - len(whole))
        except zlib.error as problem:
            raise CohortProblem(f"{where}: is no gzip file, or a damaged one ({problem}); get it again") from problem
        if len(whole) > MOST_BYTES:
            raise CohortProblem(f"{where}: inflates to more than {MOST_BYTES // MIB} MiB of text; {_REMEDY}")
        if not reader.eof:
            raise CohortProblem(f"{where}: ends before its compressed text does; get it again")
        data = reader.unused_data
    return whole


def _text(data: bytes, where: str, *, numbered: bool = False) -> pd.DataFrame:
    """Return the cells as they are written; what would move a cell to another row or column is refused.

    The separator is a comma, a semicolon, a tab or a bar, or what Excel's first line `sep=;` says.
    A quoted text may not run over the end of its line: that is how a forgotten quote swallows the films up to the next.
    """
    data = _utf8(data, where)
    _check_size(data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n") - 1, 1, where)
    header: list[str] = []
    batch: list[list[str]] = []
    texts = _Texts()
    separator = told = ""
    for number, line in _lines(data, where):
        if not header:
            if not told and (first := _SEPARATOR.fullmatch(line.rstrip(" ")) or _SEPARATOR.fullmatch(line)):
                told = first[1]
                continue
            separator = told or _separator(line)
        try:
            cells = next(csv.reader([line], delimiter=separator, strict=True), [])
        except csv.Error as problem:
            raise CohortProblem(
                f"{where}: cannot be read as a manifest: line {number} holds a quote that is not closed, or a text "
                "behind a closing one; close it on the same line, or write it twice inside a quoted text"
            ) from problem
        if not any(cell.strip() for cell in cells):
            continue
        if header and len(cells) != len(header):
            raise CohortProblem(
                f"{where}: line {number} has {len(cells)} cells, the header {len(header)}; "
                "put a cell that holds the separator in quotes, and leave no cell out"
            )
        if len(line) > LONGEST_CELL:
            _check_cells(cells, f"line {number}", where)
        if not header:
            header = cells
            _check_size(0, len(header), where)
            _refuse_repeated(header, where)
            continue
        batch.append(cells)
        _check_size(texts.rows + len(batch), len(header), where)
        if len(batch) == _BATCH:
            texts.add(_named(batch, header, where, numbered=numbered))
            batch = []
    if not header:
        raise ValueError("it is empty")
    texts.add(_named(batch, header, where, numbered=numbered))
    return texts.table()


def _named(rows: Sequence[Sequence[str]], header: Sequence[str], where: str, *, numbered: bool) -> dict[str, list[str]]:
    """Return the cells of a batch by the name of their column, without those that have none and hold nothing."""
    columns: dict[str, list[str]] = {}
    for at, name in enumerate(header):
        if as_seen(name):
            columns[name] = [row[at].strip() for row in rows]
        elif any(row[at] for row in rows) and not (numbered and at == 0):
            raise CohortProblem(f"{where}: column {at + 1} has no name; name it in the header, or remove it")
    return columns


class _Texts:
    """The cells of a table as far as they are read, by column, as Arrow holds texts: end to end, no object for each."""

    def __init__(self) -> None:
        self.rows = 0
        self._batches: list[pa.Table] = []

    def add(self, columns: Mapping[str, Sequence[str]]) -> None:
        """Take the next rows."""
        self._batches.append(pa.table({name: pa.array(texts, pa.large_string()) for name, texts in columns.items()}))
        self.rows += self._batches[-1].num_rows

    def table(self) -> pd.DataFrame:
        return pa.concat_tables(self._batches).to_pandas() if self._batches else pd.DataFrame()


def _utf8(data: bytes, where: str) -> bytes:
    """Return the bytes of a text in UTF-8, without a byte order mark; "Unicode text" of Excel is UTF-16."""
    if not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode("utf-16").encode()
    except UnicodeDecodeError as problem:
        raise CohortProblem(
            f"{where}: begins as UTF-16 text and is none ({problem.reason} at byte {problem.start}); save the table as "
            "UTF-8"
        ) from problem


def _separator(header: str) -> str:
    found = max("\t;,", key=header.count)  # some countries' spreadsheets write ;
    return "|" if found not in header and "|" in header else found


def _lines(data: bytes, where: str) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that is not blank."""
    for number, found in enumerate(_LINE.finditer(data), start=1):
        line = found[1]
        if len(line) > _LONGEST_LINE:
            raise CohortProblem(
                f"{where}: line {number} holds {len(line):,} bytes; a row has at most {_LONGEST_LINE:,}. Is it a table?"
            )
        try:
            text = line.decode()
        except UnicodeDecodeError as problem:
            raise CohortProblem(
                f"{where}: is not UTF-8 text ({problem.reason} in line {number}); save the table as UTF-8"
            ) from problem
        if text.strip():
            yield number, text


def _parquet(data: bytes, where: str) -> pd.DataFrame:
    try:
        return _columns(pq.ParquetFile(pa.BufferReader(data)), data, where)
    except (CohortProblem, MemoryError):
        raise
    except Exception as problem:  # a damaged file makes the foreign reader raise anything
        detail = shown(f"{type(problem).__name__}: {problem}")
        raise CohortProblem(f"{where}: cannot be read as a manifest ({detail}); write it again, or as CSV") from problem


def _columns(file: pq.ParquetFile, data: bytes, where: str) -> pd.DataFrame:
    """Return the texts of every flat column, decoded in batches."""
    flat = [field for field in file.schema_arrow if not pa.types.is_nested(_plain(field.type))]
    flat = [field for field in flat if not field.name.startswith("__index_level_")]  # of pandas: numbers of rows
    names = [field.name for field in flat]
    nested = {field.name for field in file.schema_arrow} - set(names)
    if needed := [name for name in sorted(nested) if name.strip().lower() in ("file", "label")]:
        raise CohortProblem(f"{where}: column {needed[0]!r} holds lists or records; write one text for each film")
    _check_size(file.metadata.num_rows, len(names), where)
    _refuse_repeated(names, where)
    _check_inflated(file.metadata, set(names), where)
    wordy = [field.name for field in flat if _is_text(_plain(field.type))]
    # Held as a dictionary, a long text that every row repeats takes memory once.
    file = pq.ParquetFile(pa.BufferReader(data), read_dictionary=wordy, page_checksum_verification=True)
    found = _Texts()
    total = 0
    for batch in file.iter_batches(batch_size=_BATCH, columns=names, use_threads=False):
        columns: dict[str, list[str]] = {}
        for name in names:
            columns[name] = _cells(batch.column(name), f"column {shown(name, 30)}", found.rows, where)
            total += sum(map(len, columns[name]))
            if total > MOST_BYTES:
                raise CohortProblem(f"{where}: inflates to more than {MOST_BYTES // MIB} MiB of text; {_REMEDY}")
        found.add(columns)
    return found.table() if found.rows else pd.DataFrame(dict.fromkeys(names, ()), dtype=str)


def _cells(column: pa.Array, name: str, before: int, where: str) -> list[str]:
    """Return the texts of one batch of a column; `before` it lie that many rows."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if isinstance(column, pa.DictionaryArray):
        known = _values(column.dictionary)
        places = column.indices.to_pylist()
        values = [None if place is None else known[place] for place in places]
    else:
        values = _values(column)
    texts: list[str] = []
    for row, value in enumerate(values, start=before + 1):
        if isinstance(value, bytes):
            raise CohortProblem(f"{where}: {name} is not UTF-8 text in row {row}; write it as UTF-8")
        text = _as_text(value)
        if len(text) > LONGEST_CELL:
            _check_cells([text], f"{name}, row {row},", where)
        texts.append(text)
    return texts


def _values(column: pa.Array) -> list[Any]:
    """Return the values of an array, texts decoded; bytes stay where they are no UTF-8."""
    if not _is_text(column.type):
        return list(column.to_pylist())
    return [_decoded(value) for value in column.cast(pa.large_binary()).to_pylist()]


def _decoded(value: bytes | None) -> str | bytes | None:
    try:
        return value if value is None else value.decode()
    except UnicodeDecodeError:
        return value


def _as_text(value: object) -> str:
    if value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type that an extension stores, or a dictionary's values have."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    kinds = pa.types
    return any(
        is_kind(kind)
        for is_kind in (
            kinds.is_string, kinds.is_large_string, kinds.is_string_view,
            kinds.is_binary, kinds.is_large_binary, kinds.is_binary_view, kinds.is_fixed_size_binary,
        )
    )  # fmt: skip


def _check_inflated(metadata: pq.FileMetaData, names: set[str], where: str) -> None:
    inflated = 0
    for group in range(metadata.num_row_groups):
        chunks = metadata.row_group(group)
        parts = (chunks.column(index) for index in range(chunks.num_columns))
        inflated += sum(part.total_uncompressed_size for part in parts if part.path_in_schema in names)
    if inflated > MOST_BYTES:
        raise CohortProblem(
            f"{where}: inflates to {inflated / MIB:,.0f} MiB; up to {MOST_BYTES // MIB} MiB are read, so {_REMEDY}"
        )


def _check_size(rows: int, columns: int, where: str) -> None:
    if rows > MOST_ROWS or columns > MOST_COLUMNS or rows * columns > MOST_CELLS:
        raise CohortProblem(
            f"{where}: has {rows:,} rows or more and {columns:,} columns; at most {MOST_ROWS:,} rows, "
            f"{MOST_COLUMNS:,} columns and {MOST_CELLS:,} cells are read, {_REMEDY}"
        )


def _check_cells(cells: Sequence[str], place: str, where: str) -> None:
    longest = max(map(len, cells))
    if longest > LONGEST_CELL:
        raise CohortProblem(
            f"{where}: {place} holds a text of {longest:,} characters; a cell has at most {LONGEST_CELL:,}"
        )


def _refuse_repeated(header: Sequence[str], where: str) -> None:
    names = [name for name in (as_seen(written).lower() for written in header) if name]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise CohortProblem(f"{where}: column {listed(repeated)} occurs more than once; keep one of them in the header")
