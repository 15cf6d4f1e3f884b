"""How is contrast equalised tile by tile? CLAHE as OpenCV computes it, on any device.

Source: Zuiderveld 1994, Graphics Gems IV; redistribution of what the limit cuts off as in OpenCV's clahe.cpp.
"""

from __future__ import annotations

import cv2
import torch
from torch import Tensor

from robustness.primitives.smoothing import mirrored_edge


def equalised(grey: Tensor, clip: float, tiles: int = 8) -> Tensor:
    """Contrast-limited adaptive histogram equalisation.

    Args:
        grey: (H, W) uint8.
        clip: limit of a histogram bin over its mean.
        tiles: of each side.

    Returns:
        (H, W) uint8.
    """
    if grey.is_cpu:
        return torch.from_numpy(cv2.createCLAHE(clip, (tiles, tiles)).apply(grey.numpy()))
    (height, width), down, across = grey.shape, -grey.shape[0] % tiles, -grey.shape[1] % tiles
    # OpenCV adds a whole row and column of tiles' worth where only one side does not divide.
    if down or across:
        down, across = tiles - height % tiles, tiles - width % tiles
    whole = mirrored_edge(grey, down, across)
    rows, columns = whole.shape[0] // tiles, whole.shape[1] // tiles
    parts = whole.reshape(tiles, rows, tiles, columns).permute(0, 2, 1, 3).reshape(tiles * tiles, -1).long()
    tables = _tables(parts, clip).reshape(-1)
    first, second = (_between(size, step, tiles, grey.device) for size, step in ((height, rows), (width, columns)))
    mixed = torch.zeros(grey.shape, device=grey.device)
    for tile_row, row_share in first:
        line = torch.zeros(grey.shape, device=grey.device)
        for tile_column, column_share in second:
            place = (tile_row[:, None] * tiles + tile_column[None, :]) * 256 + grey
            line += tables[place] * column_share[None, :]
        mixed += line * row_share[:, None]
    return mixed.round_().clamp_(0.0, 255.0).to(torch.uint8)


def _tables(parts: Tensor, clip: float) -> Tensor:
    """(N, 256) new grey values of N tiles from their pixels (N, area)."""
    count, area = parts.shape
    tile = torch.arange(count, device=parts.device)[:, None] * 256
    found = torch.zeros(count * 256, dtype=torch.int64, device=parts.device)
    found = found.scatter_add_(0, (parts + tile).reshape(-1), torch.ones_like(parts).reshape(-1)).reshape(count, 256)
    limit = max(int(clip * area / 256.0), 1)
    cut = (found - limit).clamp_min(0).sum(dim=1, keepdim=True)
    rest = cut % 256
    # What cannot be shared out evenly goes to bins at equal distances.
    stride = torch.div(256, rest.clamp_min(1), rounding_mode="floor")
    bins = torch.arange(256, device=parts.device)[None, :]
    extra = (bins % stride == 0) & (torch.div(bins, stride, rounding_mode="floor") < rest)
    filled = found.clamp_max(limit) + torch.div(cut, 256, rounding_mode="floor") + extra.long()
    return (filled.cumsum(dim=1).float() * (255.0 / area)).round_().clamp_(0.0, 255.0)


def _between(size: int, step: int, tiles: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """The two tiles between whose middles each pixel of a side lies, with their shares."""
    place = torch.arange(size, dtype=torch.float32, device=device) * (1.0 / step) - 0.5
    below = place.floor()
    share = place - below
    return [(below.clamp(0, tiles - 1).long(), 1.0 - share), ((below + 1.0).clamp(0, tiles - 1).long(), share)]
