"""How does a film look when heart and dome have moved? A smooth warp, bones in their places."""

from __future__ import annotations

import torch
from torch import Tensor

from robustness.coarse import PIECE
from robustness.filters import coordinates, smoothstep
from robustness.pointwise import in_bytes
from robustness.primitives.resampling import sampled
from robustness.thorax import Thorax

SPINE = 0.15
"""Half the width of the spine, as a share of half the width of the chest."""
PEAK = 0.56
"""Where a shift is largest, as a share of half the width of the chest."""
STEEPEST = 0.62
"""By which a warp stretches or squeezes at most."""


def moved(
    film: Tensor, thorax: Thorax, away_px: float, up_px: float, side: str, *, block: int = 1, as_bytes: bool = False
) -> Tensor:
    """Shift heart and great vessels away from a side and draw the dome of that side up; bones stay where they are.

    A smooth warp: across, neither the spine nor the chest walls move, what lies half way between them moves by the
    whole shift, less above the hila; the rise is largest at the dome in the middle of the side, and crowds the ribs
    above.

    Args:
        film: (H, W).
        thorax: of the film, or of its coarse film.
        away_px: of the heart, in pixels of the thorax's mask.
        up_px: of the dome, likewise.
        side: "left" or "right".
        block: pixels of the film along each side of one of the mask.
        as_bytes: whether it is wanted in 8 bit, else in floats.
    """
    height, width = thorax.lungs.shape
    down, across, result = *coordinates(film), torch.empty_like(film, dtype=torch.uint8 if as_bytes else None)
    # From centre to centre: the blocks at the lower and right border may go beyond the film.
    rows = down / block + 0.5 * (film.shape[0] / block - height)
    columns = across / block + 0.5 * (film.shape[1] / block - width)
    middle = thorax.midline - (width - 1) / 2.0
    half = 0.5 * (thorax.right - thorax.left)
    sign = 1.0 if side == "left" else -1.0
    out = (columns - middle).abs() / half
    soft = smoothstep((out - SPINE) / (PEAK - SPINE)) * smoothstep((0.98 - out) / (0.98 - PEAK))
    below_apex = smoothstep((rows - thorax.top + (height - 1) / 2.0) / (0.6 * thorax.height))
    most = STEEPEST * min(PEAK - SPINE, 0.98 - PEAK) * half / 1.5
    soft = sign * max(-most, min(most, away_px)) * soft
    dome = thorax.bottom - 0.15 * thorax.height - (height - 1) / 2.0
    along = torch.exp(-0.5 * ((rows - dome) / (0.33 * thorax.height)).square())
    # What is at the lower border of the film stays there, and nothing is stretched to more than twice its length.
    room = 0.47 * height - dome
    along = along * smoothstep((0.47 * height - rows) / max(room, 1.0))
    along = min(up_px, max(room, 0.0) / 3.0) * along
    beside = torch.exp(-0.5 * ((columns - middle + sign * 0.5 * half) / (0.35 * half)).square())
    last_row, last_column = (film.shape[0] - 1) / 2.0, (film.shape[1] - 1) / 2.0
    first_row, places = 0, slice(0, film.shape[1])
    if film.is_cpu and not up_px:
        # Above the apex and beside the chest nothing moves: what is sampled there is what is there.
        first_row, places = _first(below_apex), slice(_first(soft), film.shape[1] - _first(soft.flip(1)))
        result.copy_(in_bytes(film) if as_bytes else film)
    step = max(1, PIECE // max(1, places.stop - places.start))
    for some in (slice(first, first + step) for first in range(first_row, len(film), step)):
        from_rows = down[some] + last_row
        if up_px:
            from_rows = (along[some] * beside).mul_(block).add_(down[some]).add_(last_row)
        from_columns = (soft[:, places] * below_apex[some]).mul_(block)
        from_columns = torch.sub(across[:, places], from_columns, out=from_columns).add_(last_column)
        found = sampled(film, from_rows, from_columns, "border")
        if as_bytes:
            in_bytes(found, out=result[some, places])
        else:
            result[some, places] = found
    return result


def _first(moving: Tensor) -> int:
    """Place of the first number that is not zero; of the last where all are."""
    return int((moving.reshape(-1) != 0.0).to(torch.uint8).argmax()) if moving.any() else moving.numel() - 1
