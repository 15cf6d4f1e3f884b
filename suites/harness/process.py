"""How does this process use cores and memory? Called before torch and numpy read such settings.

On a machine with other work on it, idle OpenMP threads that spin for the next tiny operation take the core the working
thread needs, and so do those of numpy's OpenBLAS, whose matrices here are too small for two. Handing the memory of
every layer's output back to the system, only to fault it in again page by page, costs as much as a small network
itself.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of glibc's mallopt(3)
_ALWAYS_KEEP, _ONE_GIB = 2**31 - 1, 2**30
LARGE = 16 * 1024**2
"""Bytes of an image from which on freed memory is handed back after it: its pieces fit nothing else."""
_ARENAS = 2
"""Pools of memory: what each keeps the others cannot use, and by default there are eight a core."""
_LOCK = Lock()
_MAPPED: list[int] = []
"""The sizes from which on blocks are mapped now, one for everybody who asked."""


def settle() -> None:
    """Let idle threads sleep, and keep freed memory for the next layer. What the user has set already stays."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # GNU's OpenMP: long enough for the next operation of a small network to come, too short to be in anybody's way.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Arrow's own pool keeps what it frees for itself: of 100,000 films 30 MB that nobody else could use.
    if os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system") == "system" and "pyarrow" in sys.modules:
        arrow = sys.modules["pyarrow"]  # has looked at its setting already
        arrow.set_memory_pool(arrow.system_memory_pool())
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, _ONE_GIB)
        libc.mallopt(_TRIM_THRESHOLD, _ALWAYS_KEEP)
        libc.mallopt(_ARENA_MAX, _ARENAS)


@contextmanager
def mapping(size: int) -> Iterator[None]:
    """Have every block of so many bytes or more from the system and hand it back at once, where glibc gives memory out.

    For work on images that are too large to be kept: aligned, a block does not fit again where one of its size was
    freed, as soon as something small has taken a place beside it, and a dozen images of work would hold thirty. Costs a
    fault for every page. Any thread may ask, and all get it. Whatever else makes such images must ask, too: what it
    would leave free among kept memory is filled first, and is not handed back.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    with _LOCK:
        _MAPPED.append(size)
        libc.mallopt(_MMAP_THRESHOLD, min(_MAPPED))
    try:
        yield
    finally:
        with _LOCK:
            _MAPPED.remove(size)
            libc.mallopt(_MMAP_THRESHOLD, min(_MAPPED, default=_ONE_GIB))


def give_back() -> None:
    """Hand freed memory back to the system, where glibc or Arrow keeps it; a few milliseconds."""
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
