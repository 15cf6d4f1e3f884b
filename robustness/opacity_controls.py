"""Is it where a film is white, or only how much? The dose of a lobar opacity in another place or pattern.

The dose is the sum of the attenuation that whiteout_lobar adds to the same film (see `opacity`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robustness.coarse import Coarse, pieces
from robustness.consolidation import side_of
from robustness.content_cache import remembered
from robustness.draws import Draws
from robustness.filters import coordinates, gaussian_blur, percentiles, smoothstep
from robustness.opacity import EXTENTS, SOURCE, WhiteOutLobar
from robustness.perturbation import Level, Perturbation, PerturbationUndefined, register
from robustness.pleura import pleural_lungs
from robustness.pointwise import exp, in_bytes, numbers
from robustness.primitives.ordering import total
from robustness.radiograph import Radiograph
from robustness.thorax import Thorax, nearness, random_field, thorax_of
from robustness.water_path import Aerated, aerated

FAINT = 0.15
"""Grey value below which a place outside the lungs is taken for air."""
MOST_ROOM = 0.75
"""Share of the room below the white of bone that a dose outside the lungs may take anywhere."""
SWELLING = 1.6
"""Attenuation in the middle of a swelling outside the lungs, over what the dose comes to where all tissue shares it."""
WIDE = 20.0
"""Width, over half the height of the lungs, at which a swelling is the same everywhere."""


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
    revision = 2
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
        counts = apart.radiograph.counts(self.pitch_mm(film))
        return apart.filled(share, draws, counts, film, coarse.block, as_bytes=True)


@register
class ShamOpacity(Perturbation):
    """The same sum of added attenuation as whiteout_lobar, outside the lungs: it should not change the class.

    A swelling without an outline over the abdomen or a shoulder: it fades over centimetres and stays off the lungs, and
    is as faint and as wide as it can be: in its middle little thicker than the dose would be were it spread over all
    tissue outside the lungs. Nowhere does it take more than three quarters of the room that is left below the white of
    bone, and a film where the dose does not fit so is refused.

    extent: that of the lobar opacity whose sum is matched (share of one hemithorax).

    Formula: t' = t + min(a o exp(-d^2 / 2 s^2), 0.75 r), o 1 outside the lungs and 0 in them, r the room below the
    white of bone, d the distance from the middle of the abdomen or shoulder, a 1.6 times the sum of whiteout_lobar
    over that of o, s so that the sum is that of whiteout_lobar; where it is not for any s, a is larger.
    Kept: sum of the added attenuation, lungs, window.
    Not modelled: anything of a hospital: it is a control.
    """

    name = "sham_opacity"
    display = "water of a lobar white-out outside the lungs"
    family = "control"
    version = 10
    revision = 1
    source = SOURCE
    levels = tuple({"extent": extent} for extent in EXTENTS)
    units: ClassVar = {"extent": "sum of a lobar opacity of {} of one hemithorax"}

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        coarse = Coarse.of(film, draws)
        pitch = self.pitch_mm(film) * coarse.block
        thorax, apart, dose = lobar_twin(coarse, level["extent"], pitch, self.field_cm)
        radiograph, room = apart.radiograph, _room(thorax, apart, pitch)
        if room.total < dose:
            raise PerturbationUndefined("there is less room below white outside the lungs than the dose would fill")
        place = draws.choice("place", ("abdomen", "shoulder"))
        rows, columns = coordinates(coarse.film)
        row = (thorax.bottom if place == "abdomen" else thorax.top) - coarse.film.shape[0] / 2.0
        column = (thorax.left if side_of(draws) == "left" else thorax.right) - coarse.film.shape[1] / 2.0
        distance = ((rows - row).square() + (columns - column).square()).sqrt() / (0.5 * thorax.height)

        def swelling(middle: float, width: float) -> Tensor:
            shape = (distance / width).square_().mul_(-0.5)
            shape = exp(shape, out=shape).mul_(middle).mul_(room.outside)
            return torch.minimum(shape, room.most, out=shape)

        middle, width = SWELLING * dose / room.tissue, WIDE
        if total(swelling(middle, WIDE)) >= dose:
            width = _fitting(lambda width: total(swelling(middle, width)), dose, 0.05, WIDE)
        else:
            middle = _fitting(lambda middle: total(swelling(middle, WIDE)), dose, middle, 1e3 * middle)
        after = swelling(middle, width).add_(radiograph.attenuation)
        result = torch.empty_like(film, dtype=torch.uint8)
        for piece in pieces(film, radiograph, coarse.block):
            before, changed = piece.before, piece.of(after)
            changed = changed.clone() if before.detail is None else changed + before.detail
            in_bytes(piece.display(changed, before.weight), out=result[piece.place])
        return result


@dataclass(frozen=True, eq=False)
class _Room:
    """How much may be added to a film outside the lungs, whatever the dose.

    Attributes:
        outside: (H, W) of `outside_lungs`.
        tissue: its sum.
        most: (H, W) attenuation.
        total: its sum.
    """

    outside: Tensor
    tissue: float
    most: Tensor
    total: float


@remembered(1, "cause")
def _room(thorax: Thorax, apart: Aerated, pitch_mm: float) -> _Room:
    attenuation = apart.radiograph.attenuation
    white = max(apart.white, percentiles(attenuation, 99.8)[0])
    outside = outside_lungs(thorax, apart, apart.radiograph.film, pitch_mm)
    room = (white - gaussian_blur(apart.base, 4.0 / pitch_mm)).clamp_min(0.0)
    below_bone = (white - attenuation).clamp_min(0.0)
    most = torch.minimum(outside * room * MOST_ROOM, below_bone)
    return _Room(outside, total(outside), most, total(most))


def _fitting(added: Callable[[float], float], dose: float, low: float, high: float) -> float:
    """What makes the sum of what is added the dose, between two bounds, by halving their ratio; the sum rises with it.

    Where it is too little and where enough is told by a few secants before, and not asked again.
    """
    little, enough = low, high
    near = (low * high) ** 0.5
    known: list[tuple[float, float]] = []
    for _ in range(8):
        known.append((math.log(near), math.log(max(added(near), 1e-30) / dose)))
        little, enough = (little, min(enough, near)) if known[-1][1] >= 0.0 else (max(little, near), enough)
        if len(known) > 1 and known[-1][1] != known[-2][1]:
            (x, y), (x_before, y_before) = known[-1], known[-2]
            near = math.exp(x - y * (x - x_before) / (y - y_before))
        else:
            near *= 0.9 if known[-1][1] > 0.0 else 1.1
        # What a secant leaves between two bounds is smaller than the last halving.
        if not little < near < enough or enough < little * (1.0 + 1e-7):
            near = (little * enough) ** 0.5
    for _ in range(20):
        between = (low * high) ** 0.5
        less = between <= little or (between < enough and added(between) < dose)
        low, high = (between, high) if less else (low, between)
    return high


def outside_lungs(thorax: Thorax, apart: Aerated, film: Tensor, pitch_mm: float) -> Tensor:
    """(H, W) 1 in tissue outside the lungs, 0 in them and in air, smooth over a centimetre or two."""
    lungs = gaussian_blur(numbers(thorax.hemithorax("both")), 8.0 / pitch_mm)
    enclosed = (thorax.lungs.cumsum(1) > 0) & (thorax.lungs.flip(1).cumsum(1).flip(1) > 0)
    tissue = ~(enclosed | apart.radiograph.beam) & (gaussian_blur(film, 3.0 / pitch_mm) > FAINT)
    return smoothstep(1.0 - 6.0 * lungs) * smoothstep(2.0 * gaussian_blur(numbers(tissue), 6.0 / pitch_mm) - 1.0)
