"""How is the report's folder written? Whole or not at all, and never over somebody else's files.

Everything is first written into a partial folder inside the target, then renamed into place, `index.html` last. The
manifest names what we wrote; a folder that holds anything else is refused.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from suites.harness.errors import UsageProblem

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
        raise UsageProblem(f"{folder}: the report cannot be written ({error.strerror or error})") from None


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}


def _manifest(folder: Path) -> set[str]:
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return {str(name) for name in content["files"]}
    except FileNotFoundError:
        return set()
    except (ValueError, KeyError, TypeError):
        raise UsageProblem(f"{folder / MANIFEST} is damaged; remove the folder or name another one") from None


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
