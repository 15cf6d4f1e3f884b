"""Is a file what it was when it was read? By its path, size and times of change, without opening it.

A file that changed less than a moment before it was looked at is not believed: it may change again within the same tick
of the clock.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

SETTLED_SECONDS = 2.0
"""Since a file changed; the coarsest clocks of file systems tick once in so long."""
Stamp = tuple[str, str]
"""The files of a film, its masks among them, and their sizes and times of change."""


def stamp_of(files: Sequence[Path], besides: str = "") -> Stamp | None:
    """Return sizes and times of change of files, `None` where one is not there or has changed a moment ago.

    Args:
        files: of a film.
        besides: what else decides what is found in them (the boxes that a table has of it); of a stamp it is a part.
    """
    stamps = []
    for file in files:
        try:
            found = os.stat(file)  # noqa: PTH116 - of a million files
        except (OSError, ValueError):
            return None
        if time.time() - max(found.st_mtime, found.st_ctime) < SETTLED_SECONDS:
            return None
        # The time of the last change of anything: whoever restores the time of writing cannot restore that.
        stamps.append(f"{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}")
    if besides:
        stamps.append(hashlib.sha256(besides.encode(errors="surrogatepass")).hexdigest())
    return "\n".join(map(str, files)), " ".join(stamps)
