"""What do tables beside films tell? Reading them, and laying one over what folders already tell."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from suites.harness.cohorts.findings import NOT_MENTIONED, PREFIX
from suites.harness.cohorts.layouts.films import SPLITS, relative_name
from suites.harness.cohorts.layouts.labels import merged_spellings, normalise_label
from suites.harness.cohorts.layouts.manifest_findings import told_findings
from suites.harness.cohorts.layouts.spelling import as_seen
from suites.harness.cohorts.layouts.tables import read_cells
from suites.harness.cohorts.layouts.walk import true_paths
from suites.harness.cohorts.patient_facts import age_in_years
from suites.harness.cohorts.quoting import listed, shown
from suites.harness.counts import counted
from suites.harness.errors import CohortProblem

SUFFIXES = (".csv", ".tsv", ".parquet")
BESIDE = tuple(f"{stem}{suffix}" for stem in ("manifest", "metadata", "labels") for suffix in SUFFIXES)
TEXT = ("id", "file", "label", "patient", "view", "age_group", "finding", "split", "mask")
ADULT_FROM_YEARS = 18
_BATCH = 2**14
NAMES = ("id", "file", "label")
_SEEN = frozenset({"patient", "view", "age_group", "finding", "split"})
_NOT_PLAIN = ("//", "/./", "\\") if os.sep == "/" else ("/", "\\")
_UNKNOWN = ("nan", "NaN", "NA", "N/A", "null", "NULL", "None", "<NA>")
_FILES = frozenset(
    {"filename", "filepath", "path", "image", "imagepath", "imagefile", "imageindex", "img", "film", "dicom"}
)


def find_beside(folder: Path) -> Path | None:
    """Return the manifest of a folder (`manifest`, `metadata` or `labels`, CSV, TSV or Parquet), if there is one."""
    return next((folder / name for name in BESIDE if (folder / name).is_file()), None)


def not_read_beside(manifest: Path) -> tuple[str, ...]:
    """Return the note about further tables of a manifest's folder that it would have been, none without any."""
    others = [name for name in BESIDE if name != manifest.name and (manifest.parent / name).is_file()]
    if not others:
        return ()
    return (f"{manifest.name} is read, {', '.join(others)} beside it not; to use another, name it, or merge the two",)


def read_manifest(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return a manifest with lower-case column names, labels and splits in canonical spelling, and notes on labels.

    Patients, views and findings are as they are seen (`as_seen`), other texts as written.

    Of the names in a manifest (`NAMES`) only an empty cell (a null of Parquet) is missing: a class may be called `NA`
    or `None`. In the other columns these words, and `nan`, `null`, say that nothing is known, as an empty cell does.
    Columns that are numbers throughout become numbers, save those of `TEXT` and those with leading zeros. A column
    `age` (years, or DICOM's 003Y, 018M) gives `age_group` where none is written: adult from 18 years.

    Raises:
        CohortProblem: what `read_cells` refuses; without a column `file`, with an empty file name or one that no file
            can have, or without rows.
    """
    where = shown(path)
    raw = read_cells(path)
    table = raw.rename(columns=_column_name)
    if "file" not in table:
        likely = next((name for name in map(str, table) if re.sub(r"\W|_", "", name) in _FILES), "")
        advice = f"; rename {shown(likely, 30)!r} to file" if likely else ""
        raise CohortProblem(f"{where}: a manifest needs a column `file`; found {listed(table.columns, 60)}{advice}")
    if table.empty:
        raise CohortProblem(f"{where}: holds no row")
    notes = merged_spellings(table["label"].unique()) if "label" in table else ()
    known, more = told_findings(_normalised(table, where), shown(path.name, 60))
    return known, (*notes, *more)


@dataclass(frozen=True)
class RowsOf(Iterable[dict[str, object]]):
    """The rows of a manifest, by column; made anew whenever they are walked through, and none of them kept.

    Attributes:
        told: its cells.
    """

    told: pd.DataFrame

    def __iter__(self) -> Iterator[dict[str, object]]:
        """Yield the rows, from a batch of the cells at a time."""
        names = [str(name) for name in self.told]
        for at in range(0, len(self.told), _BATCH):
            part = self.told.iloc[at : at + _BATCH]
            for values in zip(*(part[name].tolist() for name in part), strict=True):
                yield dict(zip(names, values, strict=True))


def files_named(told: pd.DataFrame, manifest: Path) -> list[str]:
    """Return the (N,) absolute paths that a manifest names, once each.

    Backslashes of a manifest written on Windows are understood.

    Raises:
        CohortProblem: two rows name one film, be it by two spellings or through a link: it would count twice.
    """
    root = manifest.parent
    located = [located_file(root, str(name)) for name in told["file"]]
    true = true_paths(located)
    if len(set(true)) < len(true):
        first: dict[str, int] = {}
        row = next(row for row, path in enumerate(true) if first.setdefault(path, row) != row)
        raise CohortProblem(f"{shown(manifest)}: {_named_twice(told, first[true[row]], row)}")
    return located


def located_file(root: Path, name: str) -> str:
    """Return the absolute path of a file that a manifest below `root` names."""
    path = os.path.join(root, name)  # noqa: PTH118 - pathlib takes ten times as long, and there are many
    if "\\" in name and not os.path.exists(path):  # noqa: PTH110 - it answers no where pathlib raises: a name too long
        path = os.path.join(root, name.replace("\\", "/"))  # noqa: PTH118
    # pathlib only takes away what stands for nothing in a path, and there are many.
    plain = (
        not any(sign in path for sign in _NOT_PLAIN) and not path.startswith("./") and not path.endswith(("/", "/."))
    )
    return path if plain else str(Path(path))


def lay_over(rows: list[dict[str, object]], manifest: Path, root: Path) -> tuple[list[dict[str, object]], list[str]]:
    """Return rows of a folder layout completed by the manifest beside it, and notes.

    Patient, view, finding and further columns are taken from the manifest; label and split must agree with it, for a
    contradiction means that one of the two is wrong.

    Raises:
        CohortProblem: label or split of a film contradict each other, or two rows name one film.
    """
    told, spelt = read_manifest(manifest)
    known = dict(zip(true_paths(files_named(told, manifest)), RowsOf(told), strict=True))
    completed, missing, regrouped = [], 0, 0
    unsaid = {str(name): NOT_MENTIONED for name in told if str(name).startswith(PREFIX)}
    for row, true in zip(rows, true_paths(row["path"] for row in rows), strict=True):
        told_of = known.pop(true, None)
        missing += told_of is None
        for column in ("label", "split"):
            ours, theirs = row.get(column), (told_of or {}).get(column)
            if ours and theirs and ours != theirs:
                raise CohortProblem(
                    f"{shown(relative_name(str(row['path']), root), 80)}: the folder says {column} "
                    f"{shown(ours, 30)!r}, {manifest.name} says {shown(theirs, 30)!r}. "
                    f"Correct one of them, or load {manifest.name} itself as the manifest"
                )
        filled = {key: value for key, value in (told_of or {}).items() if key != "file" and value != ""}
        regrouped += bool(row.get("patient") and filled.get("patient", row["patient"]) != row["patient"])
        completed.append(row | unsaid | filled)
    notes = [*spelt, *[f"{missing} of {len(rows)} films are not in {manifest.name}"] * bool(missing)]
    notes += [f"patients of {counted(regrouped, 'film')} are taken from {manifest.name}, not from their names"] * bool(
        regrouped
    )
    if known:
        first = shown(next(iter(known.values()))["file"])
        notes.append(
            f"{manifest.name} names {counted(len(known), 'file that is', 'files that are')} not in the folder, "
            f"first {first}"
        )
    return completed, [*notes, *not_read_beside(manifest)]


def age_group(age: str) -> str:
    """Return `adult`, `child`, or "" for an age as `age_in_years` reads it (71, 003Y, 018M).

    >>> age_group("71"), age_group("030M"), age_group("unknown")
    ('adult', 'child', '')
    """
    years = age_in_years(age)
    return "" if math.isnan(years) else "adult" if years >= ADULT_FROM_YEARS else "child"


def _normalised(table: pd.DataFrame, where: str) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for name in table.columns:
        texts = table[name] if name in NAMES else table[name].mask(table[name].isin(_UNKNOWN), "")
        is_text = name in TEXT or name.endswith("_mask") or name.startswith(PREFIX)
        numbers = None if is_text else _numbers(texts)
        columns[name] = texts if numbers is None else numbers
    table = pd.DataFrame(columns)
    if (table["file"] == "").any():
        raise CohortProblem(f"{where}: row {int((table['file'] == '').argmax()) + 1} names no file")
    if (impossible := table["file"].str.contains("\0", regex=False)).any():
        raise CohortProblem(f"{where}: row {int(impossible.argmax()) + 1} names a file with a null character")
    for name in _SEEN.intersection(table):
        table[name] = table[name].map(as_seen)
    if "label" in table:
        table["label"] = table["label"].map(normalise_label)
    if "split" in table:
        table["split"] = table["split"].map(lambda split: SPLITS.get(split.lower(), split))
    if "age" in table and "age_group" not in table:
        table["age_group"] = table["age"].astype(str).map(age_group)
    return table


def _column_name(written: str) -> str:
    """Return a column's name in lower case; a finding keeps the spelling of its source."""
    name = as_seen(str(written))
    is_finding = name.lower().startswith(PREFIX)
    return f"{PREFIX}{name[len(PREFIX) :].strip()}" if is_finding else name.lower()


def _numbers(texts: pd.Series) -> pd.Series | None:
    """Return a column that is numbers throughout as such, none where it is text."""
    if texts.str.match(r"0\d").any() or (texts == "").any():
        return None
    numbers = pd.to_numeric(texts, errors="coerce")
    return numbers if numbers.dtype.kind in "iuf" and np.isfinite(numbers).all() else None


def _named_twice(told: pd.DataFrame, first: int, second: int) -> str:
    """Return how two rows that name one film stand to each other."""
    rows = f"rows {first + 1} and {second + 1} name {shown(told['file'].iloc[second], 60)} more than once"
    for column in told.columns.drop("file"):
        one, other = told[column].iloc[[first, second]]
        if one != other and "" not in (one, other):
            return (
                f"{rows} and contradict each other in {shown(column, 30)} ({shown(one, 20)}, {shown(other, 20)}); "
                "keep the right one"
            )
    return f"{rows}; keep one of them"
