"""How does a paper print numbers in the cells of a table and in sentences?"""

from __future__ import annotations

import math

from suites.harness.formatting.wording import MINUS, number
from suites.harness.statistics import Interval

NONE = "\N{EN DASH}"


def percent(share: float, digits: int = 0) -> str:
    """Return `95 %`; with further digits where it would otherwise be rounded to none or all without being that."""
    while digits < 4 and 0 < share < 1 and round(100 * share, digits) in {0.0, 100.0}:
        digits += 1
    return f"{100 * share:.{digits}f} %".replace("-", MINUS)


def points(difference: float, *, signed: bool = True) -> str:
    """Return a difference of shares in points, `+41.6`, `−0.9`, `0.0`: never a sign before nothing."""
    text = number(difference, "points").removesuffix(" pp")
    return text if signed else text.removeprefix("+")


def below_one(value: float) -> str:
    """Return two digits of a number in [0, 1], or as many as it takes not to call it 1 (`0.995`)."""
    digits = 2
    while digits < 5 and value < 1 and round(value, digits) == 1:
        digits += 1
    return f"{value:.{digits}f}"


def cell(value: Interval | None, digits: int = 2) -> str:
    """Return `0.81 (0.74-0.87)`, the number alone where it has no interval, or a dash where there is no number."""
    if value is None or not math.isfinite(value.estimate):
        return NONE
    if math.isnan(value.low) or math.isnan(value.high):
        return f"{value.estimate:.{digits}f}"
    low, high = (f"{end:.{digits}f}" for end in (value.low, value.high))
    between = " to " if value.low < 0 else "-"
    return f"{value.estimate:.{digits}f} ({low}{between}{high})"


def columns(value: Interval | None) -> tuple[float, float, float]:
    """Return estimate, low and high as numbers for a CSV, NaN where there are none."""
    return (math.nan, math.nan, math.nan) if value is None else (value.estimate, value.low, value.high)
