"""A number with its interval as a table's cell, the way a paper prints it."""

from __future__ import annotations

import math

from suites.harness.statistics import Interval

NONE = "\N{EN DASH}"


def cell(value: Interval | None, digits: int = 2) -> str:
    """Return `0.81 (0.74-0.87)`, or a dash where there is no number."""
    if value is None or not math.isfinite(value.estimate):
        return NONE
    low, high = (f"{end:.{digits}f}" for end in (value.low, value.high))
    between = " to " if value.low < 0 else "-"
    return f"{value.estimate:.{digits}f} ({low}{between}{high})"


def columns(value: Interval | None) -> tuple[float, float, float]:
    """Return estimate, low and high as numbers for a CSV, NaN where there are none."""
    return (math.nan, math.nan, math.nan) if value is None else (value.estimate, value.low, value.high)
