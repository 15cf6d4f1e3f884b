"""How do files become a cohort? Its table, and the reader that decodes its rows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import pandas as pd

from suites.harness.cohorts.cohort import COLUMNS, Film
from suites.harness.cohorts.decoding import decode_image, decode_mask
from suites.harness.cohorts.patient_facts import with_patient_facts
from suites.harness.errors import printable

_BATCH = 2**14
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class FilmReader:
    """Decodes a row of the table, masks included.

    Attributes:
        masks: mask name -> column holding the mask's file.
        unprintable: what stands in the table for a file whose name cannot be printed -> its true path.
    """

    masks: Mapping[str, str] = field(default_factory=dict)
    unprintable: Mapping[str, str] = field(default_factory=dict)

    def path(self, row: Mapping[str, object]) -> Path:
        """Return the file of a row."""
        return self._true(row["file"])

    def files(self, row: Mapping[str, object]) -> list[Path]:
        """Return all files of a row, those of its masks behind that of the film."""
        return [self.path(row), *(self._true(row[column]) for column in self.masks.values() if row[column])]

    def _true(self, file: object) -> Path:
        return Path(self.unprintable.get(str(file), str(file)))

    def __call__(self, row: Mapping[str, object]) -> Film:
        """Return the film of a row; raises `FilmUnreadable`.

        With masks, `content` covers their files too, because a perturbation may depend on them.
        """
        film = decode_image(self.path(row))
        height, width = film.pixels.shape
        masks, contents = {}, [film.content]
        for name, column in self.masks.items():
            if row[column]:
                masks[name], content = decode_mask(self._true(row[column]), (height, width))
                contents.append(f"{name}:{content}")
        if not masks:
            return film
        return replace(film, content=hashlib.sha256("\n".join(contents).encode()).hexdigest(), masks=masks)


def film_table(
    rows: Iterable[Mapping[str, object]], root: Path, masks: Sequence[str] = ()
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the table sorted by id, and the `unprintable` paths for the reader.

    Args:
        rows: each with `path` (absolute) and whatever columns are known; an unknown patient becomes the film's own id.
        root: ids are paths relative to it, with forward slashes; of films elsewhere relative to the folder that holds
            them all, since ids are published.
        masks: columns that hold files of masks.
    """
    unprintable: dict[str, str] = {}

    def as_printed(path: str) -> str:
        if not path.isprintable():
            unprintable[printable(path)] = path
        return printable(path)

    def filled(row: Mapping[str, object]) -> dict[str, object]:
        known = {key: value for key, value in row.items() if key != "path"}
        texts = {column: str(row.get(column) or "") for column in (*COLUMNS, *masks)}
        texts |= {column: as_printed(texts[column]) for column in masks}
        return known | texts | {"file": as_printed(str(row["path"]))}

    # A batch at a time, so that no more of them are ever held as Python's objects.
    complete = map(filled, rows)
    parts = [pd.DataFrame(batch) for batch in iter(lambda: list(islice(complete, _BATCH)), [])]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS), dtype=str)
    table = table.fillna(dict.fromkeys(table.select_dtypes(["object", "string"]), ""))
    table["id"] = _ids(table, [unprintable.get(path, path) for path in table["file"]], root)
    table["patient"] = table["patient"].where(table["patient"] != "", table["id"])
    table = with_patient_facts(table)
    ordered = [*COLUMNS, *(column for column in table if column not in COLUMNS)]
    return table[ordered].sort_values("id", kind="stable", ignore_index=True), unprintable


def _ids(table: pd.DataFrame, paths: Sequence[str], root: Path) -> list[str]:
    """Return (N,) the id of each film: as told, else its path as `film_table` says."""
    below = f"{root}{os.sep}"
    elsewhere = [path for path in paths if not path.startswith(below)]
    holding = os.path.commonpath([os.path.dirname(path) for path in elsewhere]) if elsewhere else ""  # noqa: PTH120

    def named(path: str) -> str:
        if path.startswith(below):
            return relative_name(path, root)
        return f"../{os.path.basename(holding)}/{relative_name(path, Path(holding))}"  # noqa: PTH119

    return [told or printable(named(path)) for told, path in zip(table["id"], paths, strict=True)]


def relative_name(path: str, root: Path) -> str:
    """Return a path relative to the root where it lies below it, with forward slashes (much faster than pathlib)."""
    return path.removeprefix(f"{root}{os.sep}").replace(os.sep, "/")


def by_own_patients(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the note for films that count as their own patients, none if every patient is known."""
    count = int((table["patient"] == table["id"]).sum())
    if not count:
        return ()
    return (f"{count} of {len(table)} films have no patient key; each counts as a patient of its own",)
