"""Where does an effect's interval lie against the margin? Geometry of small inline bars; the template draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from suites.harness.claims import Claim, Measure
from suites.harness.formatting.wording import estimate, interval, margin

WIDTH = 180.0
EDGE = 6.0


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Positions in pixels from the left of a bar `WIDTH` wide.

    Attributes:
        low, high, middle: the interval's ends and the estimate.
        margin: the threshold; `beyond` the (start, width) of the side that speaks for the claim.
        zero: where zero is, `documented` the admitted size; `None` where out of view or not given.
        label: the same in words, for those who do not see it.
        margin_text: printed at the threshold.
    """

    low: float
    high: float
    middle: float
    margin: float
    beyond: tuple[float, float]
    zero: float | None
    documented: float | None
    label: str
    margin_text: str


def bars(claim: Claim, effects: Sequence[Measure]) -> list[Bar | None]:
    """Return one bar per effect, all on one scale to compare subjects by; `None` for a number that is none."""
    usable = [effect for effect in effects if math.isfinite(effect.estimate)]
    if not usable:
        return [None] * len(effects)
    points = [claim.margin, *(end for effect in usable for end in (effect.estimate, *_ends(effect)))]
    if claim.documented is not None:
        points.append(claim.documented)
    if usable[0].unit == "points" or min(points) <= 0.35 * max(points):
        points.append(0.0)
    left, right = min(points), max(points)
    # Numbers closer than one in a million are one place on the page, and would overflow the scale.
    spread = right - left
    pad = 0.12 * spread if spread > 1e-6 * max(abs(left), abs(right), 0.01) else max(abs(left) * 0.1, 0.01)
    scale = (WIDTH - 2 * EDGE) / (right - left + 2 * pad)

    def place(value: float) -> float:
        return round(EDGE + (value - left + pad) * scale, 2)

    threshold = place(claim.margin)
    beyond = (threshold, WIDTH - threshold) if claim.direction == "above" else (0.0, threshold)
    return [
        Bar(
            low=place(_ends(effect)[0]),
            high=place(_ends(effect)[1]),
            middle=place(effect.estimate),
            margin=threshold,
            beyond=beyond,
            zero=place(0) if left - pad <= 0 <= right + pad else None,
            documented=None if claim.documented is None else place(claim.documented),
            label=_words(claim, effect),
            margin_text=margin(claim, effect),
        )
        if math.isfinite(effect.estimate)
        else None
        for effect in effects
    ]


def _words(claim: Claim, effect: Measure) -> str:
    threshold = f"margin {margin(claim, effect)}, {claim.direction} it counts"
    return f"{estimate(effect)}, interval {interval(effect)}, {threshold}"


def _ends(effect: Measure) -> tuple[float, float]:
    low, high = effect.low, effect.high
    return (low if math.isfinite(low) else effect.estimate, high if math.isfinite(high) else effect.estimate)
