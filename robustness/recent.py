"""What was computed for the last few films, remembered by their pixels.

Every cause and extent of an opacity asks for the lungs of the same film again. The key is the content itself, so that a
changed film is never mistaken for the one before; the memory is bounded, whatever the number of films.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

T = TypeVar("T")
FILMS = 8


def remembered(function: Callable[[Tensor], T]) -> Callable[[Tensor], T]:
    """Remember the results, or ValueErrors, of a function of one image for the last FILMS images."""
    known: OrderedDict[tuple[object, ...], T | ValueError] = OrderedDict()

    @functools.wraps(function)
    def looked_up(image: Tensor) -> T:
        key = (image.detach().cpu().contiguous().numpy().tobytes(), image.shape, image.dtype, image.device)
        if key in known:
            known.move_to_end(key)
            found = known[key]
        else:
            try:
                found = function(image)
            except ValueError as refusal:
                found = refusal
            known[key] = found
            while len(known) > FILMS:
                known.popitem(last=False)
        if isinstance(found, ValueError):
            raise found
        return found

    return looked_up
