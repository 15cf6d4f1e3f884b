"""Does the answer hang on the border? Cover border or corners and count the predictions that flip.

No lung lies there, so a flip means that the network reads collimation, markers or text. Covering changes a film in any
place, so every cover has a control: a cover of the same shape shifted to a random place inside, where it hides anatomy
and may well flip more. What convicts is flips at the border beyond a few; what acquits is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from explain.network import Network, generator_for, logits_of
from explain.reference import reference_film
from explain.regions import BORDER_FRACTION, Mask, border_mask, corner_mask


def standard_covers(side: int) -> dict[str, Mask]:
    """Return the covers that are tried: the whole border and the four corners."""
    return {"border": border_mask(side, BORDER_FRACTION), "corners": corner_mask(side)}


def inner_square(image_id: str, side: int, area: int, seed: int = 0) -> Mask:
    """Return a square of `area` pixels inside the film, its place drawn from (image id, seed)."""
    edge = max(1, min(round(area**0.5), side - 2))
    start = (
        torch.randint(1, side - edge, (2,), generator=generator_for(image_id, "inner square", seed))
        if side - edge > 1
        else (1, 1)
    )
    top, left = int(start[0]), int(start[1])
    mask = np.zeros((side, side), dtype=bool)
    mask[top : top + edge, left : left + edge] = True
    return mask


def cover(pixels: Tensor, masks: Sequence[Mask], filling: str = "mean grey") -> Tensor:
    """Return films (B, C, S, S) with each film's mask (S, S) replaced by its reference film."""
    if len(masks) != len(pixels):
        raise ValueError(f"{len(pixels)} films need as many masks, got {len(masks)}")
    hidden = torch.from_numpy(np.stack(masks)).to(pixels.device)[:, None]
    return torch.where(hidden, reference_film(pixels, filling), pixels)


def shortcut_probe(
    predict: Network,
    pixels: Tensor,
    image_ids: Sequence[str],
    *,
    covers: Mapping[str, Mask] | None = None,
    filling: str = "mean grey",
    seed: int = 0,
    batch: int = 64,
) -> pd.DataFrame:
    """Cover each film's border and corners, and as control an inner square of the same area, and compare predictions.

    Args:
        predict: network or any callable to logits; no gradients are needed.
        pixels: (B, C, S, S) in [0, 1].
        image_ids: B names.
        covers: name to (S, S) mask; `standard_covers` if not given.
        filling: reference film that fills the cover.
        seed: of the control's place.
        batch: films per pass.

    Returns:
        One row per film and cover: image_id, cover, control (True for the inner square), area (share of the film),
        predicted_before, predicted_after, flipped, logit_shift (fall of the class predicted before, relative to the
        mean of the logits).
    """
    side = pixels.shape[-1]
    chosen = standard_covers(side) if covers is None else covers
    before = logits_of(predict, pixels, batch)
    rows = []
    for name, mask in chosen.items():
        squares = [inner_square(image_id, side, int(mask.sum()), seed) for image_id in image_ids]
        for control, masks in ((False, [mask] * len(pixels)), (True, squares)):
            after = logits_of(predict, cover(pixels, masks, filling), batch)
            for film, image_id in enumerate(image_ids):
                first, second = int(before[film].argmax()), int(after[film].argmax())
                fall = (before[film][first] - before[film].mean()) - (after[film][first] - after[film].mean())
                rows.append(
                    {
                        "image_id": image_id,
                        "cover": name,
                        "control": control,
                        "area": float(masks[film].mean()),
                        "predicted_before": first,
                        "predicted_after": second,
                        "flipped": first != second,
                        "logit_shift": float(fall),
                    }
                )
    return pd.DataFrame(rows)
