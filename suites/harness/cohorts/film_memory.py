"""Which costly films has this run made already? Held in memory, many parts of it look at the same ones.

Predictions ask for every simulated film, then attacks, the view guard, maps and galleries ask for some of them again;
of films in files, a dozen attacks ask for the same. What is held is bounded, so memory does not grow with the cohort; a
film that was let go is made again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from suites.harness.cohorts.cohort import Film

BYTES = 128 * 1024**2
"""What is held at most, by all cohorts together; the films asked for longest ago go first."""


@dataclass(frozen=True)
class _Packed:
    """A film as it is held: its pixels as they are, a bit for every pixel of a mask."""

    pixels: NDArray[np.float32]
    masks: Mapping[str, NDArray[np.uint8]]

    @property
    def bytes(self) -> int:
        return self.pixels.nbytes + sum(mask.nbytes for mask in self.masks.values())


_HELD: OrderedDict[str, _Packed] = OrderedDict()
_LOCK = Lock()


def held(content: str) -> Film | None:
    """Return a copy of the film of this content, bit for bit; `None` where it is not held. Any thread may ask."""
    with _LOCK:
        packed = _HELD.get(content)
        if packed is None:
            return None
        _HELD.move_to_end(content)
    shape, size = packed.pixels.shape, packed.pixels.size
    masks = {name: np.unpackbits(bits, count=size).reshape(shape) > 0 for name, bits in packed.masks.items()}
    return Film(pixels=packed.pixels.copy(), content=content, masks=masks)


def hold(content: str, film: Film) -> None:
    """Hold a copy of a film, letting go of those asked for longest ago where memory gets short."""
    packed = _Packed(film.pixels.copy(), {name: np.packbits(mask) for name, mask in film.masks.items()})
    with _LOCK:
        _HELD[content] = packed
        while len(_HELD) > 1 and sum(one.bytes for one in _HELD.values()) > BYTES:
            _HELD.popitem(last=False)
