"""How are the label tables of a public collection found and read? By their names and the columns they begin with."""

from __future__ import annotations

import csv
import os
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from suites.harness.cohorts.findings import NEGATIVE, NOT_MENTIONED, POSITIVE, UNCERTAIN
from suites.harness.cohorts.layouts.recorded import of_each
from suites.harness.cohorts.layouts.tables import read_cells
from suites.harness.cohorts.quoting import listed, shown
from suites.harness.counts import counted
from suites.harness.errors import CohortProblem

NUMBERS = {"1": POSITIVE, "0": NEGATIVE, "-1": UNCERTAIN, "": NOT_MENTIONED}
"""How most tables write the four values; `1.0` is read as `1`."""
UNKNOWN = ("nan", "NaN", "None", "NULL")
UNLABELLED = frozenset({"not labelled", "not labeled", "unlabelled", "unlabeled", "unknown", "todo"})
"""Words in a list of findings that say that nobody has labelled the film."""
_HEADER_BYTES = 2**14
_FOLDERS = ("", "annotations", "labels", "csv")


def tables_in(location: Path, name: str) -> list[Path]:
    """Return the tables of a folder, or the one table named itself, whose names match a pattern, in a fixed order.

    Of a table that lies there unpacked and packed, the former.

    Args:
        location: a folder, whose subfolders for tables are looked into as well, or a file.
        name: regular expression of the whole name, whatever its case; `.csv` may be `.csv.gz`.
    """
    fits = re.compile(name.replace(r"\.csv", r"\.csv(\.gz)?"), re.IGNORECASE).fullmatch
    if location.is_file():
        return [location] if fits(location.name) else []
    folders = [location / folder for folder in _FOLDERS if (location / folder).is_dir()]
    found = [entry for folder in folders for entry in folder.iterdir() if fits(entry.name) and entry.is_file()]
    unpacked = {entry for entry in found if entry.suffix != ".gz"}
    return sorted((entry for entry in found if entry.with_suffix("") not in unpacked), key=os.fsencode)


def header_of(table: Path) -> tuple[str, ...]:
    """Return the names of a CSV's columns from its first bytes, none where it has no such line."""
    with table.open("rb") as stream:
        data = stream.read(_HEADER_BYTES)
    try:
        if table.suffix.lower() == ".gz":
            data = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(data, _HEADER_BYTES)
        line = data.splitlines()[0].decode("utf-8-sig")
        return tuple(name.strip() for name in next(csv.reader([line])))
    except (IndexError, StopIteration, UnicodeDecodeError, csv.Error, zlib.error):
        return ()


def holds(location: Path, name: str, columns: Iterable[str] = ()) -> bool:
    """Return whether a table of such a name begins with all of these columns.

    A name that only one collection gives needs none: of a table of another release the loader says what is missing.
    """
    needed = set(columns)
    return location.exists() and any(needed <= set(header_of(table)) for table in tables_in(location, name))


def read_table(path: Path, needed: Sequence[str], release: str) -> pd.DataFrame:
    """Return the cells of a table as texts, "" where nothing is known.

    Args:
        path: of the table.
        needed: columns without which it is none of the release.
        release: what the layout reads, as a message calls it.

    Raises:
        CohortProblem: what `read_cells` refuses, or a column is missing: it is a table of another release.
    """
    table = read_cells(path, numbered=True)
    if missing := [name for name in needed if name not in table]:
        raise CohortProblem(
            f"{shown(path)}: lacks the column(s) {listed(missing, 60)} of {release}, and has {listed(table, 60)}; is "
            "it a table of another release?"
        )
    if table.empty:
        raise CohortProblem(f"{shown(path)}: holds no row")
    return table.mask(table.isin(UNKNOWN), "")


def the_table(location: Path, name: str, what: str) -> Path:
    """Return the one table of such a name.

    Raises:
        CohortProblem: there is none, or there are several.
    """
    found = tables_in(location, name)
    if not found:
        raise CohortProblem(f"{shown(location)}: {what} is missing; put it into that folder")
    if len(found) > 1:
        raise CohortProblem(f"{shown(location)}: holds {listed(path.name for path in found)}; keep one of them")
    return found[0]


def column(table: pd.DataFrame, *names: str) -> pd.Series:
    """Return the first of these columns that a table has; without any, nothing is recorded for its films."""
    found = next((name for name in names if name in table), None)
    return pd.Series("", index=table.index, dtype=object) if found is None else table[found]


def meanings(cells: pd.Series, where: str, known: Mapping[str, str] = NUMBERS) -> tuple[pd.Series, tuple[str, ...]]:
    """Return what the cells of a finding's column mean, and a note on those that mean nothing: they are left out.

    Args:
        cells: texts.
        where: the table and column, as the note calls them.
        known: cell -> one of `findings.VALUES`.
    """
    told = of_each(cells, lambda text: known.get(re.sub(r"\.0+$", "", text), ""))
    other = cells[told == ""]
    if other.empty:
        return told, ()
    written = ", ".join(name or "blank" for name in known)
    note = (
        f"{where}: {len(other)} cell(s) hold {listed(map(repr, other.unique()), 40)}, first in row "
        f"{int(np.flatnonzero(told == '')[0]) + 1}; known are {written}, so these count as not mentioned"
    )
    return told.mask(told == "", NOT_MENTIONED), (note,)


def findings_in(text: str) -> frozenset[str]:
    """Return the findings of a list joined by `|`, none where the film was not labelled."""
    return frozenset(part for part in map(str.strip, text.split("|")) if part and part.lower() not in UNLABELLED)


def joined(
    lists: pd.Series, names: Sequence[str], where: str, nothing: Iterable[str] = ()
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return (N, F) what lists of findings tell of each (named is positive, not named negative), and a note.

    A film without a list mentions nothing. One whose list names a finding that the source does not have was labelled by
    another rule, and mentions only what it names.

    Args:
        lists: of findings by `|`.
        names: the source's findings, in their order.
        where: the table, as the note calls it.
        nothing: words that say that there is no finding.
    """
    parts = [findings_in(text) for text in lists]
    vocabulary = {*names, *nothing}
    foreign = np.array([not found <= vocabulary for found in parts], bool)
    complete = np.array([bool(found) for found in parts], bool) & ~foreign
    told = pd.DataFrame(index=lists.index)
    for name in names:
        named = np.array([name in found for found in parts], bool)
        told[name] = np.select([named, complete], [POSITIVE, NEGATIVE], NOT_MENTIONED)
    if not foreign.any():
        return told, ()
    others = sorted(set().union(*parts) - vocabulary)
    note = (
        f"{where}: {counted(int(foreign.sum()), 'film carries', 'films carry')} labels that are none of its "
        f"{len(names)} findings "
        f"({listed(others, 60)}); of these films only what they name counts, all else as not mentioned"
    )
    return told, (note,)
