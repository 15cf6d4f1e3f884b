"""Are manifests read as they were meant, whatever wrote them, and refused by row where they cannot be?"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from suites.harness import Cohort, load_cohort
from tests.hostile.case import Case, accepted, either, generator, refused
from tests.hostile.values import json_fragment

SPELT = {
    "normal": ["normal", "NORMAL", "Normal", "healthy"],
    "bacterial_pneumonia": ["bacterial_pneumonia", "BACTERIA", "Pneumonia-Bacterial"],
    "viral_pneumonia": ["viral_pneumonia", "virus", "Viral Pneumonia"],
}
Rows = list[dict[str, Any]]


def drawn(rng: random.Random) -> Rows:
    """Return rows with the truth about each film: file, label as written and as meant, patient, age."""
    rows: Rows = []
    for number in range(rng.randint(2, 12)):
        label = rng.choice(list(SPELT))
        years = rng.choice([3, 17, 18, 58])
        rows.append({"file": f"film {number},é.png" if number % 3 == 0 else f"film{number}.png", "meant": label,
                     "label": rng.choice(SPELT[label]), "patient": f"p{rng.randrange(4):03}",
                     "view": rng.choice(["PA", "AP"]),
                     "age": rng.choice([str(years), f"{years:03}Y"]), "adult": years >= 18})  # fmt: skip
    return rows


def right_table(rows: Rows) -> Callable[[Cohort], object]:
    def right(found: Cohort) -> object:
        told = {Path(str(row["file"])).name: row for row in found.table.to_dict("records")}
        patients = len({row["patient"] for row in rows})
        if len(found) != len(rows) or found.patients != patients:
            return f"{len(found)} films of {found.patients} patients, not {len(rows)} of {patients}"
        for row in rows:
            mine = told[row["file"]]
            seen = (mine["label"], mine["view"], mine["age_group"])
            meant = (row["meant"], row["view"], "adult" if row["adult"] else "child")
            if seen != meant:
                return f"{row['file']}: {seen}, not {meant}"
        return True

    return right


COLUMNS = ("file", "label", "patient", "view", "age")


def _csv(
    rows: Rows, *, separator: str = ",", end: str = "\n", columns: tuple[str, ...] = COLUMNS, upper: bool = False
) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=end)
    writer.writerow([column.upper() if upper else column for column in columns])
    writer.writerows([row[column] for column in columns] for row in rows)
    return text.getvalue()


@generator("tables", share=120)
def text(rng: random.Random, place: Path) -> Case:
    """Separators, line ends, encodings and column orders of spreadsheets in every country."""
    rows, columns = drawn(rng), list(COLUMNS)
    rng.shuffle(columns)
    separator = rng.choice(",;\t|")
    written = _csv(
        rows,
        separator=separator,
        end=rng.choice(["\n", "\r\n"]),
        columns=tuple(columns),
        upper=rng.random() < 0.3,
    )
    written = rng.choice(["", "\n", f"sep={separator}\n"]) + written + rng.choice(["", "\n\n"])
    (place / "films.csv").write_bytes(written.encode(rng.choice(["utf-8", "utf-8-sig", "utf-16"])))
    return accepted(lambda: load_cohort(str(place / "films.csv")), right_table(rows), what="a good CSV")


@generator("tables", share=160)
def broken_text(rng: random.Random, place: Path) -> Case:
    rows = drawn(rng)
    good = _csv(rows)
    lines = good.splitlines()
    at, same = rng.randrange(1, len(lines)), dict(rng.choice(rows))
    path, other = same["file"], rng.choice(["./", "../" + place.name + "/", str(place) + "/", "x/../"])
    damage = {
        "a cell too many": lambda: [*lines[:at], lines[at] + ",x", *lines[at + 1:]],
        "a cell too few": lambda: [*lines[:at], lines[at].rpartition(",")[0], *lines[at + 1:]],
        "an open quote": lambda: [*lines[:at], '"' + lines[at].replace('"', ""), *lines[at + 1:]],
        "a column twice": lambda: [lines[0] + ",label"] + [line + ",normal" for line in lines[1:]],
        "no column file": lambda: [lines[0].replace("file", "path"), *lines[1:]],
        "no rows": lambda: lines[:1],
        "nothing": list,
        "a row twice": lambda: [*lines, rng.choice(lines[1:])],
        "another spelling": lambda: [*lines, f'"{other}{path}",{same["label"]},{same["patient"]},PA,18'],
        "an empty name": lambda: [*lines, ",normal,p1,PA,18"],
        "a null character": lambda: [*lines, '"a\0.png",normal,p1,PA,18'],
        "a long line": lambda: [*lines, f"a.png,{'x' * 200000},p1,PA,18"],
    }  # fmt: skip
    kind = rng.choice([*damage, "not UTF-8", "UTF-16 without a mark", "binary"])
    data = "\n".join(damage[kind]() if kind in damage else lines).encode()
    if kind == "not UTF-8":
        data = data[:-3] + b"\xff\xfe\xe9" + data[-3:]
    elif kind == "UTF-16 without a mark":
        data = good.encode(rng.choice(["utf-16-le", "utf-16-be"]))
    elif kind == "binary":
        data = rng.randbytes(3000)
    (place / "films.csv").write_bytes(data)
    if kind in ("a null character", "a long line"):  # such a film is not there, which its decoding says
        return either(
            lambda: load_cohort(str(place / "films.csv")), lambda found: len(found) == len(rows) + 1, what=kind
        )
    return refused(lambda: load_cohort(str(place / "films.csv")), what=kind, where="films.csv")


def _arrow(rng: random.Random, rows: Rows) -> pa.Table:
    """Return the rows as other programs store them: dictionaries, large or viewed strings, ages as numbers."""
    columns = {}
    for name in COLUMNS:
        values = pa.array([row[name] for row in rows], pa.string())
        if name == "age" and rng.random() < 0.5:
            years = [int(row["age"].strip("Y")) for row in rows]
            kind = rng.choice([pa.int8(), pa.uint64(), pa.float64(), pa.decimal128(5, 1)])
            values = (
                pa.array(years).cast(pa.decimal128(21, 1)).cast(kind)
                if pa.types.is_decimal(kind)
                else pa.array(years, kind)
            )
        elif rng.random() < 0.3:
            values = values.dictionary_encode()
        elif rng.random() < 0.3:
            values = values.cast(pa.large_string())
        columns[name] = values
    return pa.table(columns)


@generator("tables", share=80)
def parquet(rng: random.Random, place: Path) -> Case:
    rows = drawn(rng)
    table = _arrow(rng, rows)
    if rng.random() < 0.3:
        table = table.append_column(
            "taken", pa.array([1730000000000] * len(rows), pa.timestamp("ms", tz="Europe/Paris"))
        )
    pq.write_table(table, place / "films.parquet", row_group_size=rng.choice([1, 1000]))
    what = "; ".join(f"{field.name} {field.type}" for field in table.schema)
    return accepted(lambda: load_cohort(str(place / "films.parquet")), right_table(rows), what=what)


@generator("tables", share=160)
def pandas_metadata(rng: random.Random, place: Path) -> Case:
    """What pandas writes beside the columns decides nothing: neither what is an index, nor which type a column has."""
    rows = drawn(rng)
    frame = pd.DataFrame(rows)[list(COLUMNS)]
    form = rng.choice(["index", "two indices", "dtype", "column_indexes", "fragment", "columns", "text", "deep"])
    if form.endswith(("index", "indices")):
        frame = frame.set_index(["file"] if form == "index" else ["file", "patient"])
    table = pa.Table.from_pandas(frame)
    known = json.loads(table.schema.metadata[b"pandas"])
    if form == "dtype":
        kind = rng.choice(
            [
                "string[python]",
                "category",
                "int64[pyarrow]",
                "no such type",
                "O(3",
                "datetime64[ns, Moon]",
                "x" * 10000,
                "period[Q]",
            ]
        )
        rng.choice(known["columns"])["numpy_type" if rng.random() < 0.7 else "pandas_type"] = kind
    elif form in ("column_indexes", "columns"):
        known[form] = json.loads(rng.choice(["[]", "null", "[{}]", '[{"name": 3}]', '{"a": 1}', "7"]))
    told = json.dumps(known)
    if form in ("fragment", "text", "deep"):
        told = {"fragment": json_fragment(rng), "text": "no JSON", "deep": "[" * 10**5}[form]
    table = table.replace_schema_metadata({b"pandas": told.encode(errors="surrogatepass")})
    pq.write_table(table, place / "films.parquet")
    return accepted(
        lambda: load_cohort(str(place / "films.parquet")), right_table(rows), what=f"pandas metadata: {form}"
    )


@generator("tables", share=100)
def broken_parquet(rng: random.Random, place: Path) -> Case:
    rows = drawn(rng)
    count, file = len(rows), place / "films.parquet"
    names = pa.array([row["file"] for row in rows])
    strange = {
        "lists": pa.array([["normal"]] * count), "structs": pa.array([{"a": 1}] * count),
        "maps": pa.array([[("a", 1)]] * count, pa.map_(pa.string(), pa.int32())),
        "not UTF-8": pa.array([b"\xff\xfe\xe9"] * count, pa.binary()).view(pa.string()),
        "binary": pa.array([b"\xff\0"] * count, pa.binary()),
    }  # fmt: skip
    kind = rng.choice([*strange, "cut", "flipped", "no file", "a file twice", "no rows", "null names", "random"])
    table = pa.table({"file": names, "label": pa.array([row["label"] for row in rows])})
    column = rng.choice(["file", "label", "patient"])
    if kind in strange:
        table = table.drop_columns([column] if column in table.schema.names else []).append_column(
            column, strange[kind]
        )
    elif kind == "no file":
        table = table.rename_columns(["path", "label"])
    elif kind == "a file twice":
        table = pa.concat_tables([table, table.slice(0, 1)])
    elif kind == "no rows":
        table = table.slice(0, 0)
    elif kind == "null names":
        table = table.set_column(0, "file", pa.array([None] * count, pa.string()))
    pq.write_table(table, file, compression="none")
    data = bytearray(file.read_bytes())
    if kind == "cut":
        data = data[: rng.randrange(len(data))]
    elif kind == "flipped":
        for place_of_bit in rng.sample(range(4, len(data)), 8):
            data[place_of_bit] ^= 1 << rng.randrange(8)
    elif kind == "random":
        data = bytearray(b"PAR1" + rng.randbytes(500) + b"PAR1")
    file.write_bytes(data)
    what = f"{column}: {kind}" if kind in strange else kind
    if kind in ("lists", "structs", "maps", "binary"):  # a text of what is none, in as many rows
        return either(lambda: load_cohort(str(file)), lambda found: len(found) == count, what=what)
    if kind == "flipped":
        return either(lambda: load_cohort(str(file)), lambda found: len(found) > 0, what=what, where="films.parquet")
    return refused(lambda: load_cohort(str(file)), what=what, where="films.parquet")


@generator("tables", share=60)
def strange_cells(rng: random.Random, place: Path) -> Case:
    """Numbers without end, infinite ages, classes and patients called like missing values: texts stay as written."""
    cell = rng.choice(
        ["nan", "inf", "-inf", "1e999", "9" * 5000, "NA", "None", "0x10", "1_000", "٣", "-0", "1.0", "TRUE", "é" * 300]
    )
    column = rng.choice(["age", "note", "patient", "view", "finding"])
    rows = [{"file": f"{number}.png", "label": "normal", column: cell} for number in range(3)]
    (place / "films.csv").write_text(_csv(rows, columns=("file", "label", column)))

    def right(found: Cohort) -> object:
        unknown = cell in ("nan", "NA", "None")
        if column in ("view", "finding"):
            return found.table[column].tolist() == ["" if unknown else cell] * 3
        return len(found) == 3 and (column != "patient" or found.patients == (3 if unknown else 1))

    return either(lambda: load_cohort(str(place / "films.csv")), right, what=f"{column} = {cell[:20]}")
