"""Films decoded once for all the attacks of a run: a dozen of them look at the same films."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor

from suites.harness.cohort import Cohort

BYTES = 256 * 1024**2
"""What is held at most; the films asked for longest ago go first."""

_HELD: OrderedDict[str, Tensor] = OrderedDict()


def content_of(cohort: Cohort, row: Mapping[str, object]) -> str:
    """Return the identity of a film's pixels."""
    if cohort.identify:
        return cohort.identify(row)
    return cohort.decode(row).content


def film_of(cohort: Cohort, row: Mapping[str, object], content: str) -> Tensor:
    """Return a film as (1, H, W) float32 in [0, 1], not to be changed in place.

    Args:
        cohort: that the film belongs to.
        row: of its table.
        content: from `content_of`: films of the same content have the same pixels.
    """
    if content in _HELD:
        _HELD.move_to_end(content)
        return _HELD[content]
    film = torch.from_numpy(cohort.decode(row).pixels).unsqueeze(0)
    _HELD[content] = film
    while len(_HELD) > 1 and sum(one.numel() * 4 for one in _HELD.values()) > BYTES:
        _HELD.popitem(last=False)
    return film
