"""Which files below a folder are films? Not masks, nor what systems leave behind; links are followed, once each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from suites.harness.cohorts.quoting import shown
from suites.harness.counts import counted
from suites.harness.errors import CohortProblem

MOST_FILMS = 500_000
"""Of a cohort; the largest public collections have about 400,000."""
# What operating systems and archives leave behind; everything else in a film folder counts as a film.
_CLUTTER = frozenset({"thumbs.db", "desktop.ini", "__macosx", "dicomdir"})
_MASKS = frozenset(
    {
        "mask", "masks", "lungmask", "lungmasks", "leftmask", "rightmask", "manualmask", "manualmasks",
        "segmentation", "segmentations", "segmentationmask", "segmentationmasks", "groundtruth", "groundtruths",
    }
)  # fmt: skip
_MASK_OF = re.compile(r"(.+)[_-]mask$", re.IGNORECASE)


@dataclass(frozen=True)
class Listing:
    """What lies below a folder, in a fixed order.

    Attributes:
        films: every file that counts as a film.
        masks: files in a folder of masks that lies beside films, and `x_mask.png` beside `x.png`.
    """

    films: tuple[Path, ...]
    masks: tuple[Path, ...]


def list_films(folder: Path, *, deep: bool = True) -> Listing:
    """Return the films and masks of a folder, without hidden files and what operating systems leave.

    A link to a folder is followed, unless that folder was walked already or holds the one asked about.

    Raises:
        CohortProblem: a folder cannot be read, or holds more than `MOST_FILMS` files.
    """
    films: list[Path] = []
    masks: list[Path] = []
    for path, is_mask in _walk(folder, deep=deep):
        (masks if is_mask else films).append(path)
        if len(films) > MOST_FILMS:
            raise CohortProblem(f"{shown(folder)}: holds more than {MOST_FILMS:,} files; name the folder of the films")
    beside = {(path.parent, path.stem) for path in films if _MASK_OF.fullmatch(path.stem) is None}
    named = {path for path in films if (of := _MASK_OF.fullmatch(path.stem)) and (path.parent, of[1]) in beside}
    return Listing(
        tuple(sorted((path for path in films if path not in named), key=os.fsencode)),
        tuple(sorted([*masks, *named], key=os.fsencode)),
    )


def films_below(folder: Path, *, deep: bool = True) -> list[Path]:
    """Return the films alone, see `list_films`."""
    return list(list_films(folder, deep=deep).films)


def folders_in(folder: Path) -> list[Path]:
    """Return the subfolders in a fixed order, without hidden ones and masks; none where the folder cannot be read."""
    try:
        entries = sorted(folder.iterdir(), key=os.fsencode)
        found = [entry for entry in entries if entry.is_dir() and not _is_clutter(entry.name)]
    except OSError:
        return []
    films = [entry for entry in found if not _is_mask_folder(entry)]
    return films or found


def true_paths(paths: Iterable[object]) -> list[str]:
    """Return where each of some absolute paths leads to when every link is followed, as `os.path.realpath` does."""
    parents: dict[str, str] = {}  # films share a few folders, so that each is asked about once
    found = []
    for path in map(str, paths):
        parent, name = os.path.split(path)
        if name in ("", "..", ".") or os.path.islink(path):  # noqa: PTH114 - there are many, and pathlib is slow
            found.append(os.path.realpath(path))
            continue
        if parent not in parents:
            parents[parent] = os.path.realpath(parent)
        found.append(os.path.join(parents[parent], name))  # noqa: PTH118
    return found


def mask_folders_in(folder: Path) -> list[Path]:
    """Return the folders of masks that `folders_in` leaves out."""
    kept = set(folders_in(folder))
    found = [entry for entry in folder.iterdir() if entry.is_dir() and not _is_clutter(entry.name)]
    return sorted((entry for entry in found if entry not in kept), key=os.fsencode)


def mask_note(masks: tuple[Path, ...], root: Path) -> tuple[str, ...]:
    """Return the note about masks that are no films, none where there are none."""
    if not masks:
        return ()
    first = shown(os.path.relpath(masks[0], root))
    told = counted(len(masks), "file is a mask beside a film", "files are masks beside films")
    return (f"{told} and left out, first {first}",)


def _is_clutter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _CLUTTER


def _is_mask_folder(folder: Path) -> bool:
    return re.sub(r"[\W_]+", "", folder.name.lower()) in _MASKS


def _walk(top: Path, *, deep: bool) -> Iterator[tuple[Path, bool]]:
    """Yield the files below a folder, and whether each lies among masks: those reached by no link first."""
    whole = os.path.realpath(top)
    walked: set[str] = set()
    waiting = [(top, False)]
    while waiting:
        start, is_mask = waiting.pop(0)
        target = os.path.realpath(start)
        if start != top and (target in walked or _holds(target, whole)):
            continue
        for place, folders, files in os.walk(start, onerror=_stop):
            real = os.path.realpath(place)
            if real in walked:
                folders.clear()
                continue
            walked.add(real)
            kept = [name for name in files if not _is_clutter(name)]
            yield from ((Path(place, name), is_mask) for name in kept)
            inside = [Path(place, name) for name in sorted(folders) if deep and not _is_clutter(name)]
            aside = {path for path in inside if not is_mask and _is_mask_folder(path)}
            if len(aside) == len(inside) and not kept:
                aside.clear()  # nothing beside them that they could be masks of
            folders[:] = [path.name for path in inside if path not in aside and not path.is_symlink()]
            links = [path for path in inside if path not in aside and path.is_symlink()]
            waiting = [*((path, True) for path in sorted(aside)), *waiting, *((path, is_mask) for path in links)]


def _holds(folder: str, other: str) -> bool:
    return other == folder or other.startswith(folder.rstrip(os.sep) + os.sep)


def _stop(problem: OSError) -> None:
    raise CohortProblem(f"{shown(problem.filename)}: cannot be read ({problem.strerror})") from problem
