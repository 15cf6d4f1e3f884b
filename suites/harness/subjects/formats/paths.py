"""Which file or folder does a spec name, if any? Whatever somebody typed may be asked.

Of `os.path` and not of `pathlib`, which raises for a name that is too long, for `~user` without a home and for a zero
byte; nothing can be called so, hence nothing is there.
"""
# ruff: noqa: PTH110, PTH111, PTH112, PTH113

from __future__ import annotations

import os
from pathlib import Path


def local_path(text: str) -> Path:
    """Return the path that a text names; `~user` stays as it is where nobody is called so, or can be."""
    try:
        return Path(os.path.expanduser(text))
    except ValueError:  # a zero byte, or half of a surrogate pair, in the name of a user
        return Path(text)


def exists(path: str | Path) -> bool:
    """Whether something is there."""
    return os.path.exists(path)


def is_listed(path: Path) -> bool:
    """Whether a folder lists the name, be it of a device or of a link to nothing: what is so is asked for, and read."""
    return os.path.lexists(path)


def is_folder(path: str | Path) -> bool:
    """Whether a folder is there."""
    return os.path.isdir(path)


def is_file(path: str | Path) -> bool:
    """Whether a regular file is there: no folder, no device that has no end, no pipe that waits."""
    return os.path.isfile(path)
