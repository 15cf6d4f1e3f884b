"""At how many pixels is a film perturbed? At no more than its subjects can tell from more.

A recipe that low-passes as it resizes to a short side of 255 passes nothing on that a film averaged down to four times
as many pixels has lost: the mean over four pixels or fewer takes 3 % off its highest frequencies, and nothing else. So
a larger film is averaged over areas first, and everything that follows costs the same for any size of film. Lengths
stay what they are, for the pitch of pixels follows from their number (`Perturbation.pitch_mm`); photons are counted by
pixels of the detector, so a perturbation is told how many of them were averaged (`Draws.finer`); what acts on the
pixels of the file (compression, bit depth) is given the film as it is stored (`Perturbation.native`), as is a clean
film. The same goes for subjects that do not low-pass, or resize nobody knows how.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustness.primitives.resampling import averaged
from suites.harness.subjects.preprocessing import Preprocessing

OVERSAMPLED = 4
"""Pixels of a film that is perturbed for every pixel that its recipe resizes to."""


@dataclass(frozen=True)
class Resolution:
    """What a film is averaged down to before it is perturbed.

    Attributes:
        side: pixels of the shorter side; smaller films stay as they are. `None`: all do.
    """

    side: int | None = None

    @classmethod
    def enough_for(cls, recipes: Iterable[Preprocessing]) -> Resolution:
        """Return the resolution that is enough for all of these recipes: the finest, as stored without any."""
        sides = [_enough(recipe) for recipe in recipes]
        known = [side for side in sides if side is not None]
        return cls(max(known) if known and len(known) == len(sides) else None)

    def working(self, film: Tensor, lungs: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return a film (H, W), float32 in [0, 1], and its lung mask (H, W), averaged down where they are larger.

        On whatever device they lie.
        """
        side, (height, width) = self.side, film.shape
        if side is None or min(height, width) <= side:
            return film, lungs
        scale = side / min(height, width)
        rows, columns = max(side, round(height * scale)), max(side, round(width * scale))
        small = averaged(film, rows, columns).clamp_(0.0, 1.0)
        return small, None if lungs is None else averaged(lungs.to(torch.float32), rows, columns) >= 0.5

    def __str__(self) -> str:
        if self.side is None:
            return "films are perturbed as stored"
        return (
            f"films with a shorter side of more than {self.side} pixels are averaged down to {self.side} before they "
            "are perturbed, but for what acts on the pixels of the file"
        )


AS_STORED = Resolution()


def _enough(recipe: Preprocessing) -> int | None:
    """Return the shorter side that is enough for a recipe, `None` where only the film as stored is."""
    if not recipe.antialias or type(recipe) is not Preprocessing:
        return None
    return OVERSAMPLED * (recipe.size if recipe.short_side is None else recipe.short_side)
