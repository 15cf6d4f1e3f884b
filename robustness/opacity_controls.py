"""Is it where a film is white, or only how much? The dose of a lobar opacity in another place or pattern.

The dose is the sum of the attenuation that whiteout_lobar adds to the same film (see `opacity`).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from robustness.coarse import Coarse, pieces
from robustness.draws import Draws
from robustness.filters import coordinates, gaussian_blur, percentiles, smoothstep
from robustness.opacity import EXTENTS, SOURCE, WhiteOutLobar, side_of
from robustness.perturbation import Level, Perturbation, PerturbationUndefined, register
from robustness.pleura import pleural_lungs
from robustness.pointwise import exp
from robustness.primitives.ordering import total
from robustness.radiograph import Radiograph
from robustness.thorax import Thorax, nearness, random_field, thorax_of
from robustness.water_path import Aerated, aerated

FAINT = 0.15
"""Grey value below which a place outside the lungs is taken for air."""
LEAST_ROOM, MOST_ROOM = 0.25, 1.0
"""Share of the room below the white of bone that a dose outside the lungs takes in its middle."""


def lobar_twin(coarse: Coarse, extent: float, pitch_mm: float, field_cm: float) -> tuple[Thorax, Aerated, float]:
    """The coarse film taken apart, and the sum of the attenuation whiteout_lobar adds to it."""
    draws = coarse.draws
    thorax = thorax_of(pleural_lungs(coarse.film, draws, pitch_mm))
    apart = aerated(thorax, Radiograph.of(coarse.film, draws), pitch_mm, field_cm)
    share = WhiteOutLobar().share(thorax, extent, draws.twin(WhiteOutLobar.name), pitch_mm)
    return thorax, apart, total(share * apart.lacking)


@register
class DiffuseDoseMatched(Perturbation):
    """The same sum of added attenuation as whiteout_lobar, spread over both lungs: tests the pattern, not the amount.

    extent: that of the lobar opacity whose sum is matched (share of one hemithorax).

    Formula: t' = t + f (T - t), f = c (1 + 0.2 mottle) in both lungs, c so that the sum is that of whiteout_lobar.
    Kept: sum of the added attenuation, window.
    Not modelled: anything of a hospital: it is a control.
    """

    name = "diffuse_dose_matched"
    display = "water of a lobar white-out spread over both lungs"
    rank = 1
    family = "control"
    version = 9
    source = SOURCE
    levels = tuple({"extent": extent} for extent in EXTENTS)
    units: ClassVar = {"extent": "sum of a lobar opacity of {} of one hemithorax"}

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        coarse = Coarse.of(film, draws)
        pitch = self.pitch_mm(film) * coarse.block
        thorax, apart, dose = lobar_twin(coarse, level["extent"], pitch, self.field_cm)
        mottled = (1.0 + 0.2 * random_field(draws, "mottle", coarse.film.shape, beta=2.0)).clamp_min(0.1)
        spread = mottled * nearness(thorax, "both")
        share = (spread * (dose / max(total(spread * apart.lacking), 1e-6))).clamp_max(1.0)
        return apart.filled(share, draws, apart.radiograph.counts(self.pitch_mm(film)), film, coarse.block)


@register
class ShamOpacity(Perturbation):
    """The same sum of added attenuation as whiteout_lobar, outside the lungs: it should not change the class.

    A swelling without an outline over the abdomen or a shoulder: it fades over centimetres, stays off the lungs, and
    is as faint and as wide as it can be: in its middle it takes a quarter of the room that is left there below the
    white of bone, more only where the dose would not fit.

    extent: that of the lobar opacity whose sum is matched (share of one hemithorax).

    Formula: t' = t + a r exp(-d^2 / 2 s^2), r the room below the white of bone outside the lungs, d the distance from
    the middle of the abdomen or shoulder, s so that the sum is that of whiteout_lobar.
    Kept: sum of the added attenuation, lungs, window.
    Not modelled: anything of a hospital: it is a control.
    """

    name = "sham_opacity"
    display = "water of a lobar white-out outside the lungs"
    family = "control"
    version = 9
    source = SOURCE
    levels = tuple({"extent": extent} for extent in EXTENTS)
    units: ClassVar = {"extent": "sum of a lobar opacity of {} of one hemithorax"}

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        coarse = Coarse.of(film, draws)
        pitch = self.pitch_mm(film) * coarse.block
        thorax, apart, dose = lobar_twin(coarse, level["extent"], pitch, self.field_cm)
        radiograph = apart.radiograph
        white = max(apart.white, percentiles(radiograph.attenuation, 99.8)[0])
        room = room_outside(thorax, apart, coarse.film, pitch, white)
        below_bone = (white - radiograph.attenuation).clamp_min(0.0)
        most = total(torch.minimum(room, below_bone))
        if most * MOST_ROOM < dose:
            raise PerturbationUndefined("there is less room below white outside the lungs than the dose would fill")
        # As faint and as wide as the film allows.
        taken = min(max(1.6 * dose / most, LEAST_ROOM), MOST_ROOM)
        place = draws.choice("place", ("abdomen", "shoulder"))
        rows, columns = coordinates(coarse.film)
        row = (thorax.bottom if place == "abdomen" else thorax.top) - coarse.film.shape[0] / 2.0
        column = (thorax.left if side_of(draws) == "left" else thorax.right) - coarse.film.shape[1] / 2.0
        distance = ((rows - row).square() + (columns - column).square()).sqrt() / (0.5 * thorax.height)
        low, high = 0.05, 20.0
        for _ in range(16):
            wide = (low * high) ** 0.5
            added = torch.minimum(room * (taken * exp(-0.5 * (distance / wide).square())), below_bone)
            low, high = (wide, high) if total(added) < dose else (low, wide)
        result, after = torch.empty_like(film), radiograph.attenuation + added
        for piece in pieces(film, radiograph, coarse.block):
            result[piece.place] = piece.display(piece.refined(after))
        return result


def room_outside(thorax: Thorax, apart: Aerated, film: Tensor, pitch_mm: float, white: float) -> Tensor:
    """(H, W) attenuation that could be added outside the lungs before a place is as white as bone; smooth."""
    lungs = gaussian_blur(thorax.hemithorax("both").float(), 8.0 / pitch_mm)
    enclosed = (thorax.lungs.cumsum(1) > 0) & (thorax.lungs.flip(1).cumsum(1).flip(1) > 0)
    tissue = ~(enclosed | apart.radiograph.beam) & (gaussian_blur(film, 3.0 / pitch_mm) > FAINT)
    off = smoothstep(1.0 - 6.0 * lungs) * smoothstep(2.0 * gaussian_blur(tissue.float(), 6.0 / pitch_mm) - 1.0)
    return off * (white - gaussian_blur(apart.base, 4.0 / pitch_mm)).clamp_min(0.0)
