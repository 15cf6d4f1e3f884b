"""Tables of films: read by what they hold, within bounds, whatever else their file says."""

from __future__ import annotations

import csv
import json
import os
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.decoding import printable
from suites.harness.cohorts.layouts import load_cohort, tables
from suites.harness.cohorts.layouts.labels import normalise_label
from suites.harness.cohorts.layouts.tables import LONGEST_CELL, MOST_COLUMNS, MOST_ROWS, read_cells
from suites.harness.errors import CohortProblem

Films = Callable[..., Path]
FILES = ["a.png", "b.png"]


def refused(path: Path, reason: str) -> None:
    """Expect one line, short whatever the table holds, that says why."""
    with pytest.raises(CohortProblem, match=reason) as caught:
        load_cohort(str(path))
    message = str(caught.value)
    assert len(message) < 300
    assert message.isprintable()


def write(path: Path, *, metadata: dict[bytes, bytes] | None = None, **columns: object) -> Path:
    """Write Parquet with metadata of anybody's."""
    table = pa.table({"file": pa.array(FILES), **columns})
    pq.write_table(table.replace_schema_metadata(metadata or {}), path)
    return path


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"file,label\na.png,{'x' * (LONGEST_CELL + 1)}\n", "line 2 holds a text of 32,768 characters; a cell has at"),
        (f"file,patient\na.png,{'x' * 10_000_000}\n", r"line 2 holds 10,000,006 bytes; a row has at most 131,072"),
        ("file," + "," * MOST_COLUMNS + "\n", "4,098 columns; at most 1,000,000 rows, 4,096 columns"),
        ("file\n" + "\n" * (MOST_ROWS + 1), "has 1,000,001 rows or more"),
        ("file\ra.png\r\n\rb\0.png\n", "row 2 names a file with a null character"),
        ("file,label\na.png,\xff\n".encode("latin-1"), "not UTF-8 text .invalid start byte in line 2"),
        (f"file_name,{'y' * 5000}\n a,b\n", "rename 'file_name' to file"),
        (f"file,{'y' * 500},{'Y' * 500}\na,b,c\n", "occurs more than once"),
        (f"file,mask\n{'x/' * 3000}a.png,\n{'x/' * 3000}a.png,", "rows 1 and 2 name .* more than once"),
    ],
)
def test_texts_beyond_the_bounds_of_a_table(tmp_path: Path, text: str | bytes, reason: str) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(path, reason)


ROWS = [("file", "label", "patient"), ("a.png", "Normal", "p, q; r"), ("b.png", "virus", "é|x")]


@given(
    separator=st.sampled_from([",", ";", "\t", "|"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    first=st.sampled_from(["", "sep={}\n", '"sep={}"\n', "SEP={}\r\n", "\nsep={}\n"]),
)
def test_separators_and_encodings_of_spreadsheets(separator: str, encoding: str, first: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "list.csv")
        with path.open("w", encoding=encoding, newline="") as file:
            file.write(first.format(separator))
            csv.writer(file, delimiter=separator).writerows(ROWS)
        table = read_cells(path)
    assert [tuple(table), *table.itertuples(index=False, name=None)] == ROWS


def test_a_separator_that_only_the_first_line_tells(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("sep=^\nfile^a,b\nx.png^1\n")
    assert read_cells(tmp_path / "list.csv").to_dict("list") == {"file": ["x.png"], "a,b": ["1"]}
    (tmp_path / "list.csv").write_text("file\na|b.png\n")
    assert read_cells(tmp_path / "list.csv")["file"].tolist() == ["a|b.png"]
    (tmp_path / "list.csv").write_text(",,\nfile;a\nx.png;1\n")
    assert read_cells(tmp_path / "list.csv").to_dict("list") == {"file": ["x.png"], "a": ["1"]}
    (tmp_path / "odd.csv").write_bytes(b"\xff\xfef\0i")
    refused(tmp_path / "odd.csv", r"begins as UTF-16 text and is none .* save the table as UTF-8")


SEEN = st.text(st.sampled_from("aéñ Åö7-"), min_size=1, max_size=6).filter(str.strip)
UNSEEN = st.sampled_from("\u200b\u200e\ufeff\xad\u2060")


@settings(max_examples=40)
@given(SEEN, st.integers(0, 6), UNSEEN)
def test_one_patient_in_two_ways_of_writing_is_one(name: str, at: int, unseen: str) -> None:
    composed, split = (unicodedata.normalize(form, name.strip()) for form in ("NFC", "NFD"))
    ways = [composed, split, composed[:at] + unseen + composed[at:]]
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"{place}.png,{way},{way}" for place, way in enumerate(ways)]
        Path(folder, "list.csv").write_text("\n".join(["file,patient,view\u200b", *lines]), encoding="utf-8")
        cohort = load_cohort(f"{folder}/list.csv")
        assert (set(cohort.table["patient"]), set(cohort.table["view"])) == ({composed}, {composed})
        assert len(load_cohort(f"{folder}/list.csv?patient={quote(split)}")) == 3


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "films.csv")
    refused(tmp_path / "films.csv", "is a device or a pipe, where a folder or a regular file is expected")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    refused(tmp_path / "zero.csv", "is a device or a pipe")
    with pytest.raises(CohortProblem, match="it is no regular file"):
        read_cells(tmp_path / "films.csv")


def test_parquet_that_inflates_is_refused_before_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = write(tmp_path / "long.parquet", label=["normal", "x" * 80_000])
    refused(long, "column label, row 2, holds a text of 80,000 characters; a cell has at most 32,767")
    monkeypatch.setattr(tables, "MOST_BYTES", 2**20)
    rows = 5_000
    repeated = pa.table({"file": [f"{at}.png" for at in range(rows)], "note": pa.array(["x" * 9_000] * rows)})
    pq.write_table(repeated, tmp_path / "repeated.parquet", compression="zstd")  # one text, held once in the file
    refused(tmp_path / "repeated.parquet", "inflates to more than 1 MiB of text; keep the rows and columns")
    pq.write_table(repeated, tmp_path / "plain.parquet", compression="zstd", use_dictionary=False)
    assert (tmp_path / "plain.parquet").stat().st_size < tables.MOST_BYTES
    refused(tmp_path / "plain.parquet", r"inflates to 43 MiB; up to 1 MiB are read")
    pq.write_table(pa.table({"file": pa.array([None] * (MOST_ROWS + 1), pa.string())}), tmp_path / "many.parquet")
    refused(tmp_path / "many.parquet", "has 1,000,001 rows or more")


@pytest.mark.parametrize(
    "told",
    [
        b"not json",
        b"\xff" * 40,
        b"[" * 3000,
        json.dumps({"index_columns": ["file"], "columns": []}).encode(),
        json.dumps({"index_columns": [{"kind": "range", "stop": 10**30, "step": 0}], "columns": []}).encode(),
        json.dumps({"index_columns": [], "columns": [
            {"name": name, "field_name": name, "pandas_type": "unicode", "numpy_type": "no_such_type", "metadata": []}
            for name in ("file", "label")]}).encode(),
    ],
)  # fmt: skip
def test_what_pandas_says_of_a_parquet_file_is_not_believed(tmp_path: Path, told: bytes) -> None:
    write(tmp_path / "list.parquet", metadata={b"pandas": told}, label=pa.array(["normal", "virus"]))
    table = load_cohort(str(tmp_path / "list.parquet")).table
    assert table["id"].tolist() == FILES
    assert table["label"].tolist() == ["normal", "viral_pneumonia"]


def test_columns_are_read_by_their_arrow_types(tmp_path: Path) -> None:
    kinds = {
        "label": pa.array([b"normal", b"virus"], pa.binary()),
        "patient": pa.array([7, None], pa.int64()),
        "view": pa.array(["PA", None]).dictionary_encode(),
        "dose": pa.array([1.5, 2.0], pa.float32()),
        "count": pa.array([2**53 + 1, 3], pa.uint64()),
        "day": pa.array([0, 86_400_000_000_000], pa.timestamp("ns")),
        "box": pa.array([[1, 2], None], pa.list_(pa.int8())),
        "huge": pa.array(["9" * 400, "1e999"], pa.large_string()),
    }
    table = load_cohort(str(write(tmp_path / "list.parquet", **kinds))).table
    assert table["label"].tolist() == ["normal", "viral_pneumonia"]
    assert table["patient"].tolist() == ["7", "b.png"]
    assert table["view"].tolist() == ["PA", ""]
    assert table["dose"].tolist() == [1.5, 2]
    assert table["count"].tolist() == [2**53 + 1, 3]
    assert table["day"].tolist() == ["1970-01-01 00:00:00", "1970-01-02 00:00:00"]
    assert table["huge"].tolist() == ["9" * 400, "1e999"]
    assert "box" not in table
    index = pd.DataFrame({"file": FILES}, index=[5, 9])
    index.set_index("file").assign(view="PA").to_parquet(tmp_path / "index.parquet")
    assert load_cohort(str(tmp_path / "index.parquet")).table["id"].tolist() == FILES
    index.to_parquet(tmp_path / "numbers.parquet")
    assert list(read_cells(tmp_path / "numbers.parquet")) == ["file"]


def test_invalid_text_in_parquet_is_refused_by_row(tmp_path: Path) -> None:
    for kind in (pa.binary(), pa.string()):
        broken = pa.Array.from_buffers(
            kind, 2, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\3\0\0\0"), pa.py_buffer(b"a\xff\xfe")]
        )
        refused(write(tmp_path / "list.parquet", label=broken), "column label is not UTF-8 text in row 2")


def read_or_refused(spec: str) -> Cohort | None:
    """Return the cohort, or nothing where it is refused in one short line."""
    try:
        return load_cohort(spec, split=None)
    except CohortProblem as problem:
        message = str(problem)
    assert len(message) < 300
    assert message.isprintable()
    return None


WRITTEN = st.text(st.characters(exclude_characters="\0/\\", exclude_categories=["Cs"]), max_size=8)
CELL = st.one_of(st.sampled_from(["normal", "virus", "NA", "", "0", "1e400", "=1+1", '"', "a,b", "\\", "007"]), WRITTEN)
HEADERS = [("file", "label", "patient"), ("File", "x", "view"), ("label", "label", "file"), ("", "a", "")]


@settings(max_examples=80)
@given(
    cells=st.lists(st.tuples(WRITTEN, CELL, CELL), max_size=6),
    kind=st.sampled_from(["csv", "tsv", "parquet"]),
    header=st.sampled_from(HEADERS),
    damage=st.one_of(st.none(), st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=3))),
    told=st.one_of(st.binary(max_size=30), st.text(max_size=30).map(lambda text: json.dumps([text]).encode())),
)
def test_any_table_is_read_as_it_is_or_refused_in_one_line(
    cells: list[tuple[str, str, str]],
    kind: str,
    header: tuple[str, str, str],
    damage: tuple[int, bytes] | None,
    told: bytes,
) -> None:
    rows = [(f"{at}{name}", first, second) for at, (name, first, second) in enumerate(cells)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"list.{kind}")
        if kind == "parquet":
            columns = [
                pa.array([row[at].encode() for row in rows], (pa.binary(), pa.string())[at % 2]) for at in range(3)
            ]
            table = pa.Table.from_arrays(columns, names=list(header)).replace_schema_metadata({b"pandas": told})
            pq.write_table(table, path)
        else:
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, delimiter="," if kind == "csv" else "\t").writerows([header, *rows])
        if damage:
            data, (at, garbage) = path.read_bytes(), damage
            path.write_bytes(data[:at] + garbage + data[at + len(garbage) :])
        cohort = read_or_refused(str(path))
    if damage:
        return
    on_one_line = kind == "parquet" or not any({"\r", "\n"} & set("".join(row)) for row in rows)
    if header in HEADERS[:2] and rows and on_one_line:
        assert cohort is not None
    if cohort is not None:
        assert len(cohort) == len(rows)
        found = dict(zip(cohort.table["file"].map(lambda file: Path(file).name), cohort.table["label"], strict=True))
        labels = {shown_name(row[0]): normalise_label(row[1]) if "label" in header else "" for row in rows}
        assert found == labels


def shown_name(cell: str) -> str:
    """Return the name of a file as a cohort's table holds it."""
    return printable(cell.strip())
