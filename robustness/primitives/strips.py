"""How is a large image worked on without leaving the processor's cache? Some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

STRIP = 2**18
"""Pixels of a strip of rows that is worked on at a time; shorter ones cost more in calls than the cache saves."""


def strips(film: Tensor) -> Iterator[slice]:
    """Rows of a film (H, W), some at a time: as many as stay in the processor's cache, on other devices all.

    Every strip but the last has a multiple of twelve, so that no bin of up to four lies across.
    """
    height, width = film.shape
    step = 12 * max(1, STRIP // (12 * width)) if film.is_cpu else height
    for first in range(0, height, step):
        yield slice(first, min(first + step, height))
