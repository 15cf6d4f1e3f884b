"""How do files become a cohort? Its table, and the reader that decodes its rows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from suites.harness.cohorts.cohort import COLUMNS, Film
from suites.harness.cohorts.decoding import decode_image, decode_mask, printable
from suites.harness.errors import CohortProblem

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
# What operating systems and archives leave behind; everything else in a film folder counts as a film.
_CLUTTER = frozenset({"thumbs.db", "desktop.ini", "__macosx", "dicomdir"})


@dataclass(frozen=True)
class FilmReader:
    """Decodes a row of the table, masks included.

    Attributes:
        masks: mask name -> column holding the mask's file.
        unprintable: id -> true path of files whose names cannot be printed (and so differ from the column `file`).
    """

    masks: Mapping[str, str] = field(default_factory=dict)
    unprintable: Mapping[str, str] = field(default_factory=dict)

    def path(self, row: Mapping[str, object]) -> Path:
        """Return the file of a row."""
        return Path(self.unprintable.get(str(row["id"]), str(row["file"])))

    def __call__(self, row: Mapping[str, object]) -> Film:
        """Return the film of a row; raises `FilmUnreadable`.

        With masks, `content` covers their files too, because a perturbation may depend on them.
        """
        film = decode_image(self.path(row))
        height, width = film.pixels.shape
        masks, contents = {}, [film.content]
        for name, column in self.masks.items():
            if row[column]:
                masks[name], content = decode_mask(str(row[column]), (height, width))
                contents.append(f"{name}:{content}")
        if not masks:
            return film
        content = hashlib.sha256("\n".join(contents).encode()).hexdigest()
        return Film(pixels=film.pixels, content=content, masks=masks, note=film.note)


def film_table(rows: Sequence[Mapping[str, object]], root: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the table sorted by id, and the `unprintable` paths for the reader.

    Args:
        rows: each with `path` (absolute) and whatever columns are known; an unknown patient becomes the film's own id.
        root: ids are paths relative to it, with forward slashes.
    """
    complete, unprintable = [], {}
    for row in rows:
        path = str(row["path"])
        identity = str(row.get("id") or printable(relative_name(path, root)))
        if not path.isprintable():
            unprintable[identity] = path
        known = {key: value for key, value in row.items() if key != "path"}
        filled = {column: str(row.get(column) or "") for column in COLUMNS}
        filled |= {"id": identity, "file": printable(path), "patient": filled["patient"] or identity}
        complete.append(known | filled)
    table = pd.DataFrame(complete, columns=None if complete else list(COLUMNS))
    table = table.fillna(dict.fromkeys(table.select_dtypes(["object", "string"]), ""))
    ordered = [*COLUMNS, *(column for column in table if column not in COLUMNS)]
    return table[ordered].sort_values("id", kind="stable", ignore_index=True), unprintable


def relative_name(path: str, root: Path) -> str:
    """Return a path relative to the root where it lies below it, with forward slashes (much faster than pathlib)."""
    return path.removeprefix(f"{root}{os.sep}").replace(os.sep, "/")


def films_below(folder: Path, *, deep: bool = True) -> list[Path]:
    """Return the files of a folder in a fixed order, without hidden files and what operating systems leave.

    Raises:
        CohortProblem: a folder cannot be read.
    """
    return sorted(_walk(folder, deep=deep), key=os.fsencode)


def folders_in(folder: Path) -> list[Path]:
    """Return the subfolders in a fixed order, without hidden ones; none where the folder cannot be read."""
    try:
        found = [entry for entry in folder.iterdir() if entry.is_dir() and not _is_clutter(entry.name)]
    except OSError:
        return []
    return sorted(found, key=os.fsencode)


def by_own_patients(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the note for films that count as their own patients, none if every patient is known."""
    count = int((table["patient"] == table["id"]).sum())
    if not count:
        return ()
    return (f"{count} of {len(table)} films have no patient key; each counts as a patient of its own",)


def _is_clutter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _CLUTTER


def _walk(folder: Path, *, deep: bool) -> Iterator[Path]:
    def stop(problem: OSError) -> None:
        where = printable(str(problem.filename))
        raise CohortProblem(f"{where}: cannot be read ({problem.strerror})") from problem

    for place, folders, files in os.walk(folder, onerror=stop):
        folders[:] = [name for name in folders if deep and not _is_clutter(name)]
        yield from (Path(place) / name for name in files if not _is_clutter(name))
