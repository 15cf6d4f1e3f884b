"""How is the report's folder written? Whole or not at all, and never over somebody else's files.

Everything is first written into a partial folder inside the target, then renamed into place, `index.html` last. The
manifest names what we wrote; a folder that holds anything else is refused.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import filelock

from suites.harness.errors import UsageProblem, reason
from suites.harness.foreign_file import read_text
from suites.harness.strict_json import check, parse_json

MANIFEST = ".report-manifest.json"
DRAFT = ".report-manifest.draft"
LOCK = ".report.lock"
PARTIAL = ".partial-"
LAST = "index.html"
SYSTEM_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


@contextmanager
def report_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to write into; on leaving without an error its content becomes the report's.

    Args:
        folder: the report's folder; it and its parents are created. An earlier report in it is replaced.

    Raises:
        UsageProblem: the folder holds files that are not ours, is a file, is being written by another run, cannot be
            written, or the disk is full. What was there before is then untouched.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / LOCK).exists():  # taking it makes a file, which would stay behind in somebody else's folder
            _refuse_foreign(folder)
        with filelock.FileLock(folder / LOCK, timeout=0):
            _refuse_foreign(folder)
            for leftover in folder.glob(f"{PARTIAL}*"):
                shutil.rmtree(leftover)
            partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=folder))
            try:
                yield partial
                _move(partial, folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except filelock.Timeout:
        raise UsageProblem(
            f"{folder}: another run is writing its report there; wait for it or name another folder"
        ) from None
    except OSError as error:
        raise UsageProblem(f"{folder}: the report cannot be written ({_cause(folder, error)})") from None


def refuse_unwritable_folder(folder: Path) -> None:
    """Find out before a run what would keep its report from being written after it.

    Raises:
        UsageProblem: as of `report_folder`.
    """
    try:
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
        for path in made:
            path.rmdir()
    except (OSError, ValueError) as error:
        raise UsageProblem(
            f"{folder}: the report cannot be written ({_cause(folder, error)}); name another folder"
        ) from None


def _cause(folder: Path, error: OSError | ValueError) -> str:
    """Return why a folder cannot be made or used, where the system's words say only that it was refused."""
    for path in (folder, *folder.parents):
        if os.path.exists(path) and not os.path.isdir(path):  # noqa: PTH110, PTH112 - pathlib's raise on long names
            return "it is a file, not a folder" if path == folder else f"{path} is a file, not a folder"
    return "no folder can be made there" if isinstance(error, FileNotFoundError) else reason(error)


def belongs(files: Sequence[Path]) -> None:
    """Say that files which were written into the folder of a report are part of it, and go with it."""
    for file in files:
        if (file.parent / MANIFEST).exists():
            _write_manifest(file.parent, _manifest(file.parent) | {file.name})


def refuse_unwritable_file(path: Path, what: str) -> None:
    """Find out before a run what would keep one file from being written after it.

    Args:
        path: the file.
        what: what it is to hold, for the message.

    Raises:
        UsageProblem: its folder is missing or may not be written to, or it is a folder itself.
    """
    try:
        there = path.exists()
        with path.open("ab"):
            pass
        if not there:
            path.unlink()
    except (OSError, ValueError) as error:
        raise UsageProblem(f"cannot write {what} {path}: {reason(error)}; name another file") from None


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}


def _manifest(folder: Path) -> set[str]:
    try:
        content = parse_json(read_text(folder / MANIFEST))
        check(content, _SCHEMA)
    except FileNotFoundError:
        return set()
    except ValueError:
        raise UsageProblem(f"{folder / MANIFEST} is damaged; remove the folder or name another one") from None
    names = set(content["files"])
    # Files of an earlier report are removed by these names, so none may lead out of the folder.
    if any(PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts for name in names):
        raise UsageProblem(f"{folder / MANIFEST} names files outside its folder; remove it or name another folder")
    return names


_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["files"],
    "properties": {"files": {"type": "array", "items": {"type": "string", "pattern": r"^[^\x00]+$"}}},
}


def _refuse_foreign(folder: Path) -> None:
    ours = _manifest(folder) | {MANIFEST, DRAFT, LOCK}
    foreign = sorted(
        name
        for name in _files(folder) - ours
        if not name.startswith(PARTIAL) and name.rpartition("/")[2] not in SYSTEM_FILES
    )
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise UsageProblem(
            f"{folder} holds files that no report wrote ({', '.join(foreign[:3])}{more}); nothing was overwritten. "
            "Name an empty folder with --report DIR"
        )


def _move(partial: Path, folder: Path) -> None:
    before, now = _manifest(folder), _files(partial)
    _write_manifest(folder, before | now)
    for name in sorted(now, key=lambda name: (name == LAST, name)):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (partial / name).replace(target)
    for name in before - now:
        (folder / name).unlink(missing_ok=True)
    _write_manifest(folder, now)


def _write_manifest(folder: Path, names: set[str]) -> None:
    draft = folder / DRAFT
    draft.write_text(json.dumps({"schema": 1, "files": sorted(names)}, indent=1), encoding="utf-8")
    draft.replace(folder / MANIFEST)
