"""What does JPEG leave of an 8-bit film? The luma plane of a baseline file, as libjpeg writes and reads it.

Its two transforms are carried out in the whole numbers of libjpeg (`islow`), so that on any device every pixel is the
one that a file written and read gives. Nothing else in a JPEG loses anything: what follows is lossless coding.

Sources: ITU-T T.81; Loeffler, Ligtenberg, Moschytz 1989; jfdctint.c and jidctint.c of the Independent JPEG Group.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from robustness.primitives.resampling import continued

LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Steps of quality 50, table K.1 of T.81."""

BITS, FIRST = 13, 2
"""Binary places of the factors, and of what goes from the first to the second pass."""
C_0_298, C_0_390, C_0_541, C_0_765, C_0_899, C_1_175 = 2446, 3196, 4433, 6270, 7373, 9633
C_1_501, C_1_847, C_1_961, C_2_053, C_2_562, C_3_072 = 12299, 15137, 16069, 16819, 20995, 25172


def jpeg(grey: Tensor, quality: int) -> Tensor:
    """An 8-bit film (H, W) after JPEG compression.

    Args:
        grey: (H, W) uint8.
        quality: of libjpeg, 1 to 100.
    """
    if grey.is_cpu:
        stored = cv2.imencode(".jpg", grey.numpy(), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return torch.from_numpy(np.asarray(cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE)))
    height, width = grey.shape
    whole = continued(grey, -height % 8, -width % 8)
    blocks = whole.reshape(whole.shape[0] // 8, 8, whole.shape[1] // 8, 8).int() - 128
    step = steps(quality).to(grey.device)[None, :, None, :]
    waves = _forward(_forward(blocks, 3, first=True), 1, first=False)
    # The transform is eight times what the tables are for.
    levels = (waves.abs() + 4 * step).div(8 * step, rounding_mode="floor") * waves.sign()
    back = _inverse(_inverse(levels * step, 1, BITS - FIRST), 3, BITS + FIRST + 3)
    return (back + 128).clamp(0, 255).to(torch.uint8).reshape(whole.shape)[:height, :width].contiguous()


def steps(quality: int) -> Tensor:
    """(8, 8) int32 steps of the cosine coefficients, 1 to 255, rows of rising frequency down."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(LUMA, dtype=torch.int32) * scale + 50) // 100).clamp(1, 255)


def _rounded(number: Tensor, bits: int) -> Tensor:
    return (number + (1 << (bits - 1))) >> bits


def _rotated(odd: Sequence[Tensor]) -> list[Tensor]:
    """The odd half of both transforms; four waves in and out, of falling frequency."""
    a, b, c, d = odd
    both = (a + b + c + d) * C_1_175
    outer, inner = (a + d) * -C_0_899, (b + c) * -C_2_562
    left, right = (a + c) * -C_1_961 + both, (b + d) * -C_0_390 + both
    return [
        a * C_0_298 + outer + left,
        b * C_2_053 + inner + right,
        c * C_3_072 + inner + left,
        d * C_1_501 + outer + right,
    ]


def _forward(blocks: Tensor, dim: int, *, first: bool) -> Tensor:
    """Cosine transform of eight values along an axis."""
    x = blocks.unbind(dim)
    sums, odd = [x[i] + x[7 - i] for i in range(4)], [x[i] - x[7 - i] for i in (3, 2, 1, 0)]
    low, high = [sums[0] + sums[3], sums[1] + sums[2]], [sums[0] - sums[3], sums[1] - sums[2]]
    shared = (high[0] + high[1]) * C_0_541
    bits = BITS - FIRST if first else BITS + FIRST
    even = [low[0] + low[1], shared + high[0] * C_0_765, low[0] - low[1], shared - high[1] * C_1_847]
    even[0::2] = [wave << FIRST if first else _rounded(wave, FIRST) for wave in even[0::2]]
    even[1::2] = [_rounded(wave, bits) for wave in even[1::2]]
    seven, five, three, one = (_rounded(wave, bits) for wave in _rotated(odd))
    return torch.stack([even[0], one, even[1], three, even[2], five, even[3], seven], dim=dim)


def _inverse(levels: Tensor, dim: int, bits: int) -> Tensor:
    """Eight values along an axis from their cosine transform."""
    x = levels.unbind(dim)
    shared = (x[2] + x[6]) * C_0_541
    low, high = shared - x[6] * C_1_847, shared + x[2] * C_0_765
    plus, minus = (x[0] + x[4]) << BITS, (x[0] - x[4]) << BITS
    even = [plus + high, minus + low, minus - low, plus - high]
    odd = _rotated([x[7], x[5], x[3], x[1]])[::-1]
    ahead = [_rounded(one + other, bits) for one, other in zip(even, odd, strict=True)]
    behind = [_rounded(one - other, bits) for one, other in zip(even, odd, strict=True)]
    return torch.stack([*ahead, *behind[::-1]], dim=dim)
