"""Which films do the attacks of a run look at? Decoded once for all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from suites.harness.cohorts.film_disk_cache import KeptFilms
from suites.harness.predictions.film_work import content_of
from suites.harness.predictions.opened import Opened


def pixels_of(film: Opened) -> Tensor:
    """Return a film as (1, H, W) float32 in [0, 1]; films of the same content have the same pixels."""
    kept = KeptFilms(lambda _: film.decode(), lambda _: content_of(film))
    return torch.from_numpy(kept(film.row).pixels).unsqueeze(0)
