"""May a file that somebody names be read whole? Regular ones of a sane size, so that no device or bomb hangs a run.

`/dev/zero` has no end, a pipe waits for a writer, and a table of settings of four gigabytes is none: what is read as a
whole is asked for its kind and its size first.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

MIB = 2**20
MOST_SETTINGS = 16 * MIB
"""Bytes of a file of settings (claims, temperature, config.json); a real one has some kilobytes."""


def read_bytes(path: Path, most: int) -> bytes:
    """Return what is in a regular file of at most `most` bytes.

    The kind and the size are those of the file that was opened, whatever its name points to a moment later.

    Raises:
        OSError: it is not there, or may not be read.
        ValueError: its name cannot be one, it is a folder, a device or a pipe, or it is larger.
    """
    # Without O_NONBLOCK the opening of a pipe waits for somebody to write into it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no regular file; name a file, not a folder, a device or a pipe")
        if found.st_size > most:
            raise ValueError(
                f"it holds {size_text(found.st_size)}, more than the {size_text(most)} that are read of such a file"
            )
        data = file.read(found.st_size + 1)  # `most` would be set aside at once, however small the file is
        if len(data) > found.st_size:
            # Files of /proc say that they are empty, and some grow while they are read.
            data += file.read(most + 1 - len(data))
    if len(data) > most:
        raise ValueError(f"it holds more than the {size_text(most)} that are read of such a file")
    return data


def read_text(path: Path, most: int = MOST_SETTINGS) -> str:
    """Return the UTF-8 text of a regular file, without a byte order mark.

    Raises:
        OSError: it is not there, or may not be read.
        ValueError: what `read_bytes` refuses, or it is not UTF-8.
    """
    data = read_bytes(path, most)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise ValueError(f"it is not UTF-8 text (byte {problem.start}); save it as UTF-8") from problem


def size_text(count: float) -> str:
    """Return a number of bytes as people write it: `16 MiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count:.0f} bytes"
        count /= 1024
    return f"{count:.4g} TiB"
