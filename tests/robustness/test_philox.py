"""Are the random bits the published ones, and the same wherever they are computed?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustness import philox
from robustness.draws import Draws

# Random123, kat_vectors: philox4x64 10, counter, key, result.
VECTORS = [
    (
        (0, 0, 0, 0), (0, 0),
        (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B),
    ),
    (
        (2**64 - 1,) * 4, (2**64 - 1,) * 2,
        (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0),
    ),
    (
        (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89),
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
        (0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6),
    ),
]  # fmt: skip


def signed(word: int) -> int:
    return word - 2**64 if word >> 63 else word


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_published_vectors(counter, key, expected):
    words = philox.permuted(tuple(torch.tensor(signed(word)) for word in counter), key)
    assert tuple(int(word) % 2**64 for word in words) == expected


@given(key=st.integers(0, 2**128 - 1), count=st.integers(0, 41))
@settings(max_examples=60)
def test_torch_and_numpy_agree_bit_for_bit(key, count):
    counters = torch.arange(1, (count + 3) // 4 + 1)
    assert torch.equal(philox.words(key, count), philox.blocks(key, counters).reshape(-1)[:count])


def test_a_longer_draw_begins_with_the_shorter_one():
    assert torch.equal(philox.words(7, 100)[:33], philox.words(7, 33))


def test_another_device_takes_the_arithmetic_of_torch():
    assert philox.words(7, 33, "meta").shape == (33,)
    assert Draws("film", "noise", device="meta").normals("field", 5, 7).is_meta


def test_fields_are_the_same_by_either_arithmetic(monkeypatch):
    here = Draws("film", "noise", seed=3)
    fields = here.normals("field", 31, 33), here.uniforms("field", 31, 33)

    def in_torch(key, count, device="cpu"):
        return philox.blocks(key, torch.arange(1, (count + 3) // 4 + 1)).reshape(-1)[:count]

    monkeypatch.setattr("robustness.draws.words", in_torch)
    assert torch.equal(here.normals("field", 31, 33), fields[0])
    assert torch.equal(here.uniforms("field", 31, 33), fields[1])


def test_fields_have_the_distribution_they_are_named_for():
    draws = Draws("film", "noise")
    normal, uniform = draws.normals("a", 1000, 1000).double(), draws.uniforms("b", 1000, 1000).double()
    assert abs(float(normal.mean())) < 5e-3
    assert abs(float(normal.var()) - 1.0) < 7e-3
    assert 0.0 <= float(uniform.min()) < 1e-5
    assert 1.0 - 1e-5 < float(uniform.max()) < 1.0
    assert abs(float(uniform.mean()) - 0.5) < 1.5e-3
    counts = np.histogram(uniform.numpy(), bins=100, range=(0.0, 1.0))[0]
    assert ((counts - 1e4) ** 2 / 1e4).sum() < 170.0  # chi-squared of 99 degrees of freedom, p = 1e-5
