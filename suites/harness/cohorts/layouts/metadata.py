"""What do tables beside films tell? Reading them, and laying one over what folders already tell."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from suites.harness.cohorts.decoding import printable
from suites.harness.cohorts.layouts.films import SPLITS, relative_name
from suites.harness.cohorts.layouts.labels import normalise_label
from suites.harness.errors import CohortProblem

SUFFIXES = (".csv", ".tsv", ".parquet")
BESIDE = tuple(f"{stem}{suffix}" for stem in ("manifest", "metadata", "labels") for suffix in SUFFIXES)
TEXT = ("id", "file", "label", "patient", "view", "age_group", "finding", "split", "mask")
ADULT_FROM_YEARS = 18
NAMES = ("id", "file", "label")
_UNKNOWN = ("nan", "NaN", "NA", "N/A", "null", "NULL", "None", "<NA>")
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([YMWDymwd]?)$")
_PER_YEAR = {"": 1.0, "y": 1.0, "m": 12.0, "w": 52.18, "d": 365.25}


def find_beside(folder: Path) -> Path | None:
    """Return the manifest of a folder (`manifest`, `metadata` or `labels`, CSV, TSV or Parquet), if there is one."""
    return next((folder / name for name in BESIDE if (folder / name).is_file()), None)


def read_manifest(path: Path) -> pd.DataFrame:
    """Return a manifest with lower-case column names, texts as written, labels and splits in canonical spelling.

    Of the names in a manifest (`NAMES`) only an empty cell (a null of Parquet) is missing: a class may be called `NA`
    or `None`. In the other columns these words, and `nan`, `null`, say that nothing is known, as an empty cell does.
    Columns that are numbers throughout become numbers, save those of `TEXT` and those with leading zeros. A column
    `age` (years, or DICOM's 003Y, 018M) gives `age_group` where none is written: adult from 18 years.

    Raises:
        CohortProblem: unreadable, not UTF-8, without a column `file`, with an empty file name, or without rows; a quote
            that no line closes, a row of more or fewer cells than the header, a column without a name or given twice.
    """
    where = printable(str(path))
    try:
        raw = pd.read_parquet(path) if path.suffix.lower() == ".parquet" else _read_text(path)
    except UnicodeDecodeError as problem:
        raise CohortProblem(f"{where}: is not UTF-8 text ({problem.reason} at byte {problem.start})") from problem
    except (OSError, ValueError) as problem:  # pandas and pyarrow raise subclasses of ValueError
        raise CohortProblem(f"{where}: cannot be read as a manifest ({printable(str(problem))[:200]})") from problem
    table = raw.rename(columns=lambda name: str(name).strip().lower())
    if repeated := sorted(set(table.columns[table.columns.duplicated()])):
        names = printable(", ".join(repeated))
        raise CohortProblem(f"{where}: column {names} occurs more than once; keep one of them in the header")
    if "file" not in table:
        raise CohortProblem(f"{where}: a manifest needs a column `file`; found {', '.join(map(str, table.columns))}")
    if table.empty:
        raise CohortProblem(f"{where}: holds no row")
    return _normalised(table, where)


def lay_over(rows: list[dict[str, object]], manifest: Path, root: Path) -> tuple[list[dict[str, object]], list[str]]:
    """Return rows of a folder layout completed by the manifest beside it, and notes.

    Patient, view, finding and further columns are taken from the manifest; label and split must agree with it, for a
    contradiction means that one of the two is wrong.

    Raises:
        CohortProblem: label or split of a film contradict each other.
    """
    known = _by_file(read_manifest(manifest), manifest)
    completed, missing, regrouped = [], 0, 0
    for row in rows:
        name = relative_name(str(row["path"]), root)
        told = known.pop(name, None)
        missing += told is None
        for column in ("label", "split"):
            ours, theirs = row.get(column), (told or {}).get(column)
            if ours and theirs and ours != theirs:
                raise CohortProblem(
                    f"{printable(name)}: the folder says {column} {ours!r}, {manifest.name} says {theirs!r}. "
                    f"Correct one of them, or load {manifest.name} itself as the manifest"
                )
        filled = {key: value for key, value in (told or {}).items() if key != "file" and value != ""}
        regrouped += bool(row.get("patient") and filled.get("patient", row["patient"]) != row["patient"])
        completed.append(row | filled)
    notes = [f"{missing} of {len(rows)} films are not in {manifest.name}"] if missing else []
    notes += [f"patients of {regrouped} films are taken from {manifest.name}, not from their names"] * bool(regrouped)
    if known:
        first = printable(next(iter(known)))
        notes.append(f"{manifest.name} names {len(known)} files that are not in the folder, first {first}")
    return completed, notes


def age_group(age: str) -> str:
    """Return `adult`, `child`, or "" for an age in years or in DICOM's form (003Y, 018M).

    >>> age_group("71"), age_group("030M"), age_group("unknown")
    ('adult', 'child', '')
    """
    found = _AGE.match(age.strip())
    if not found:
        return ""
    return "adult" if float(found[1]) / _PER_YEAR[found[2].lower()] >= ADULT_FROM_YEARS else "child"


def _read_text(path: Path) -> pd.DataFrame:
    """Return the cells as they are written; what would move a cell to another row or column is refused.

    A quoted text may not run over the end of its line: that is how a forgotten quote swallows the films up to the next.
    """
    where = printable(str(path))
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
    separator = max("\t;,", key=lines[first].count) if lines[first:] else ","  # some countries' spreadsheets write ;
    rows: list[list[str]] = []
    for number, line in enumerate(lines[first:], start=first + 1):
        try:
            cells = next(csv.reader([line], delimiter=separator, strict=True), [])
        except csv.Error as problem:
            raise CohortProblem(
                f"{where}: cannot be read as a manifest: line {number} holds a quote that is not closed, or a text "
                f"behind a closing one ({problem}); close it on the same line, or write it twice inside a quoted text"
            ) from problem
        if not any(cell.strip() for cell in cells):
            continue
        if rows and len(cells) != len(rows[0]):
            raise CohortProblem(
                f"{where}: line {number} has {len(cells)} cells, the header {len(rows[0])}; "
                "put a cell that holds the separator in quotes, and leave no cell out"
            )
        rows.append(cells)
    if not rows:
        raise ValueError("it is empty")
    table = pd.DataFrame(rows[1:], columns=rows[0], dtype=str)
    nameless = np.array([not name.strip() for name in rows[0]])
    if (filled := nameless & (table != "").to_numpy().any(axis=0)).any():
        raise CohortProblem(f"{where}: column {filled.argmax() + 1} has no name; name it in the header, or remove it")
    return table.loc[:, ~nameless]


def _normalised(table: pd.DataFrame, where: str) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for name in table.columns:
        texts = table[name].map(_text)
        texts = texts if name in NAMES else texts.mask(texts.isin(_UNKNOWN), "")
        is_text = name in TEXT or name.endswith("_mask")
        columns[name] = texts if is_text or not _is_number(texts) else pd.to_numeric(texts)
    table = pd.DataFrame(columns)
    if (table["file"] == "").any():
        raise CohortProblem(f"{where}: row {int((table['file'] == '').argmax()) + 1} names no file")
    if "label" in table:
        table["label"] = table["label"].map(normalise_label)
    if "split" in table:
        table["split"] = table["split"].map(lambda split: SPLITS.get(split.lower(), split))
    if "age" in table and "age_group" not in table:
        table["age_group"] = table["age"].astype(str).map(age_group)
    return table


def _text(value: object) -> str:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _is_number(texts: pd.Series) -> bool:
    if texts.str.match(r"0\d").any() or (texts == "").any():
        return False
    return bool(pd.to_numeric(texts, errors="coerce").notna().all())


def _by_file(told: pd.DataFrame, manifest: Path) -> dict[str, Mapping[str, object]]:
    rows = [{str(key): value for key, value in row.items()} for row in told.to_dict("records")]
    names = [str(row["file"]).replace("\\", "/").removeprefix("./") for row in rows]
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        where = printable(str(manifest))
        raise CohortProblem(f"{where}: names {printable(repeated[0])} more than once; keep one of these rows")
    return dict(zip(names, rows, strict=True))
