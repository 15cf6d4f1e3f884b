"""Which films do the attacks of a run look at? Decoded once for all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from suites.harness.cohorts.cohort import Cohort, Row
from suites.harness.cohorts.film_disk_cache import KeptFilms


def film_of(cohort: Cohort, row: Row, content: str) -> Tensor:
    """Return a film as (1, H, W) float32 in [0, 1].

    Args:
        cohort: that the film belongs to.
        row: of its table.
        content: from `Cohort.content`: films of the same content have the same pixels.
    """
    return torch.from_numpy(KeptFilms(cohort.decode, lambda _: content)(row).pixels).unsqueeze(0)
