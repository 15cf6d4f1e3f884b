"""Which random bits belong to a key? Philox 4x64 with ten rounds: the same ones on every device, at any place.

A counter-based generator has no state that runs on: block c of a key is a function of (key, c) alone, so a GPU computes
all blocks at once and gets bit for bit what a CPU gets one after the other. On a CPU numpy's own implementation is
used, five times as fast as the same arithmetic in torch.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11 (Random123).
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

ROUNDS = 10
MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_LOW = 0xFFFFFFFF


def words(key: int, count: int, device: torch.device | str = "cpu") -> Tensor:
    """The first random words of a key: of the blocks 1, 2, 3, ..., four words each.

    Args:
        key: 0 to 2^128 - 1.
        count: of words.
        device: where they are wanted and computed.

    Returns:
        (count,) int64, all 64 bits of each random.
    """
    if torch.device(device).type == "cpu":
        return torch.from_numpy(np.random.Philox(key=key).random_raw(count).view(np.int64))
    counters = torch.arange(1, (count + 3) // 4 + 1, dtype=torch.int64, device=device)
    return blocks(key, counters).reshape(-1)[:count]


def blocks(key: int, counters: Tensor) -> Tensor:
    """Blocks of a key, in torch arithmetic on the device of the counters.

    Args:
        key: 0 to 2^128 - 1.
        counters: (N,) int64, the lowest word of each block's counter; its three others are zero.

    Returns:
        (N, 4) int64.
    """
    zero = torch.zeros_like(counters)
    return torch.stack(permuted((counters, zero, zero, zero), (key & (2**64 - 1), key >> 64)), dim=1)


def permuted(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """The bijection itself: four words (int64, any shape) of a counter under two words of a key."""
    first, second, third, fourth = counter
    for turn in range(ROUNDS):
        keys = (_signed(word + turn * step) for word, step in zip(key, WEYL, strict=True))
        (high_a, low_a), (high_b, low_b) = _product(first, MULTIPLIERS[0]), _product(third, MULTIPLIERS[1])
        first, second, third, fourth = high_b ^ second ^ next(keys), low_b, high_a ^ fourth ^ next(keys), low_a
    return first, second, third, fourth


def _product(word: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """High and low word of the unsigned 128-bit product; int64 wraps as unsigned words do, only its shift does not."""
    low, high = word & _LOW, _shifted(word)
    factor_low, factor_high = factor & _LOW, factor >> 32
    middle = high * factor_low + _shifted(low * factor_low)
    rest = low * factor_high + (middle & _LOW)
    return high * factor_high + _shifted(middle) + _shifted(rest), word * _signed(factor)


def _shifted(word: Tensor) -> Tensor:
    """The upper 32 bits of an unsigned word."""
    return (word >> 32) & _LOW


@functools.cache
def _signed(word: int) -> int:
    """An unsigned word as the int64 of the same bits."""
    word &= 2**64 - 1
    return word - 2**64 if word >> 63 else word
