"""How does a paper print numbers in the cells of a table and in sentences?"""

from __future__ import annotations

import math

from suites.harness.claims import Unit
from suites.harness.formatting.wording import number, rounded, spanned
from suites.harness.statistics import Interval

NONE = "\N{EM DASH}"


def percent(share: float) -> str:
    """Return a measured share, `82.4 %`, with the digits it has wherever it is printed."""
    return number(share, "share")


def whole_percent(share: float) -> str:
    """Return a share that is a setting, or how sure one film was called: `95 %`.

    Nearly none and nearly all have a further digit, as on the galleries of `explain`: `99.4 %`, `>99.9 %`.
    """
    if 0 < share < 0.001 or 0.999 < share < 1:
        return "<0.1 %" if share < 0.5 else ">99.9 %"
    digits = 1 if 0 < share < 0.01 or 0.99 < share < 1 else 0
    return f"{rounded(share, digits, times=100)} %"


def points(difference: float, *, signed: bool = True) -> str:
    """Return a difference of shares in points, `+41.6`, `−0.9`, `0.0`: never a sign before nothing."""
    text = number(difference, "points").removesuffix(" pp")
    return text if signed else text.removeprefix("+")


def cell(value: Interval | None, unit: Unit = "plain") -> str:
    """Return `0.810 (0.742 to 0.871)`, the number alone where it has no interval; a dash for none."""
    if value is None or not math.isfinite(value.estimate):
        return NONE
    return spanned(value.estimate, value.low, value.high, unit)


def columns(value: Interval | None) -> tuple[float, float, float]:
    """Return estimate, low and high as numbers for a CSV, NaN where there are none."""
    return (math.nan, math.nan, math.nan) if value is None else (value.estimate, value.low, value.high)
