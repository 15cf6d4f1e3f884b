"""Where does a film's randomness come from? Fixed by what it is for and by nothing else.

A number depends on (image id, name of the perturbation, seed, label of the draw). It depends neither on the severity
(so the five severities of one film share their random numbers and a severity curve is paired), nor on the order or
size of the batch, nor on any global state, nor on the device: fields are counted out by Philox (see `philox`).
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from robustness.content_cache import remembered
from robustness.philox import words

T = TypeVar("T")


class Source(NamedTuple):
    """What all random numbers follow from that one perturbation draws for a film; what is drawn is remembered by it."""

    image_id: str
    name: str
    seed: int
    device: torch.device

    @property
    def draws(self) -> Draws:
        """The draws themselves, without a lung mask."""
        return Draws(self.image_id, self.name, self.seed, device=self.device)


class Draws:
    """The random numbers and the lung mask that belong to one film.

    Args:
        image_id: identity of the film in its cohort.
        name: name of the perturbation that draws.
        seed: seed of the run.
        lungs: (H, W) bool lung mask that came with the film, or None.
        device: where fields of random numbers are wanted; their bits do not depend on it.
        finer: pixels of the film as stored along each side of one of the film that is perturbed.
    """

    def __init__(
        self,
        image_id: str,
        name: str,
        seed: int = 0,
        *,
        lungs: Tensor | None = None,
        device: torch.device | str = "cpu",
        finer: float = 1.0,
    ) -> None:
        self.image_id = image_id
        self.name = name
        self.seed = seed
        self.lungs = lungs
        self.device = device
        self.finer = finer

    @property
    def source(self) -> Source:
        """What the random numbers follow from."""
        return Source(self.image_id, self.name, self.seed, torch.device(self.device))

    def twin(self, name: str) -> Draws:
        """The draws another perturbation makes for the same film: a control shares the choices of what it controls."""
        return Draws(self.image_id, name, self.seed, lungs=self.lungs, device=self.device, finer=self.finer)

    def _digest(self, label: str) -> int:
        """128 bits from everything the number may depend on (a JSON list, so that no two inputs run together)."""
        return _digest(self.image_id, self.name, self.seed, label)

    def generator(self, label: str) -> np.random.Generator:
        """A generator of its own, for what is not offered below."""
        return np.random.Generator(np.random.Philox(key=self._digest(label)))

    def uniform(self, label: str, low: float = 0.0, high: float = 1.0) -> float:
        """One number, uniform in [low, high)."""
        return low + (high - low) * (self._digest(label) >> 75) / 2.0**53

    def normal(self, label: str) -> float:
        """One number, standard normal."""
        return float(special.ndtri(self.uniform(label, 2.0**-54)))

    def integer(self, label: str, low: int, high: int) -> int:
        """One integer, uniform in low..high, both included."""
        return low + int(self.uniform(label) * (high - low + 1))

    def choice(self, label: str, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
        """One of the options; weights need not add up to one."""
        if weights is None:
            return options[self.integer(label, 0, len(options) - 1)]
        edges = np.cumsum(np.asarray(weights, dtype=np.float64))
        return options[int(np.searchsorted(edges, self.uniform(label) * edges[-1], side="right"))]

    def uniforms(self, label: str, *shape: int) -> Tensor:
        """Tensor of the given shape, float32, uniform in [0, 1): the upper 24 of 32 random bits each."""
        count = math.prod(shape)
        halves = words(self._digest(label), (count + 1) // 2, self.device).view(torch.int32)[:count]
        return (halves.bitwise_right_shift(8) & 0xFFFFFF).to(torch.float32).mul_(2.0**-24).reshape(shape)

    def normals(self, label: str, *shape: int) -> Tensor:
        """Tensor of the given shape, float32, standard normal: 16 random bits each pick one of `quantiles`."""
        count = math.prod(shape)
        bits = words(self._digest(label), (count + 3) // 4, self.device)
        if not bits.is_cpu:
            picks = bits.view(torch.int16)[:count].to(torch.int64) & 0xFFFF
            return _quantiles_on(bits.device)[picks].reshape(shape)
        sixteen = bits.numpy().astype("<u8", copy=False).view("<u2")[:count]
        return torch.from_numpy(_taken_at(sixteen).reshape(shape))

    def remembered_normals(self, label: str, *shape: int) -> Tensor:
        """As `normals`, remembered for the next severity; not to be changed in place."""
        return _normals(self.source, label, shape)


@functools.lru_cache(maxsize=1024, typed=True)
def _digest(*what: str | int) -> int:
    key = json.dumps(what).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=16).digest(), "little")


@remembered(2, "drawn")
def _normals(source: Source, label: str, shape: tuple[int, ...]) -> Tensor:
    return source.draws.normals(label, *shape)


def _taken_at(picks: NDArray[np.uint16]) -> NDArray[np.float32]:
    """(N,) `quantiles` at (N,) places."""
    if picks.size and int(cv2.__version__.split(".")[0]) >= 5:
        # A table of 16 bit, which OpenCV knows since its fifth version, in a quarter of the time.
        return np.asarray(cv2.LUT(picks.reshape(1, -1), quantiles()), dtype=np.float32).reshape(-1)
    values = np.empty(picks.size, dtype=np.float32)
    for first in range(0, picks.size, 32768):  # numpy widens its indices to 64 bit; this many stay in the cache
        part = slice(first, first + 32768)
        quantiles().take(picks[part], out=values[part], mode="clip")
    return values


@functools.cache
def _quantiles_on(device: torch.device) -> Tensor:
    return torch.from_numpy(quantiles()).to(device)


@functools.cache
def quantiles() -> NDArray[np.float32]:
    """The standard normal distribution as 2^16 values of equal probability, up to 4.3, of mean 0 and variance 1.

    A film in 8 bit cannot tell them from a continuum, and looking one up takes a fifth of the time of a sampler.
    """
    values = special.ndtri((np.arange(65536) + 0.5) / 65536)
    table: NDArray[np.float32] = (values / values.std()).astype(np.float32)
    return table
