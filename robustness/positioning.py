"""How does the child lie? Rotated, rolled, too near the tube, not breathing in.

A film is flat, so turning the patient can only be imitated: structures are moved by what their usual depth in the chest
would move them. The chest comes from the lung mask that came with the film or from the estimate; without lungs these
perturbations are undefined (roll and magnification excepted).
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from robustness.content_cache import remembered
from robustness.draws import Draws
from robustness.filters import coordinates, gaussian_blur, smoothstep, turned, warp
from robustness.lungs import lungs_of
from robustness.perturbation import Level, Perturbation, register
from robustness.pointwise import numbers
from robustness.primitives.ordering import read_off
from robustness.primitives.resampling import sampled
from robustness.primitives.strips import strips
from robustness.radiograph import Radiograph
from robustness.raw_beam import beam_blocks, in_pixels
from robustness.thorax import Thorax, thorax_of

SPINE_DEPTH_CM = 5.0
"""Spine behind, and sternum before, the axis a small child turns about."""
HALF_DEPTH_CM = 6.7
CHEST_TO_DETECTOR_CM = 7.7
"""Distance of the middle of a child's chest from the detector."""
REFERENCE_SID_CM = 180.0


@register
class PatientRotation(Perturbation):
    """Turned about the long axis: the mediastinum moves off the midline, the raised side gets lighter.

    degrees: of rotation; its direction is drawn per film. The midline moves by 5 cm * sin(degrees) between chest walls
    that stay; the side further from the detector gains up to 0.5 sin(degrees) of attenuation, the other loses it.

    Formula: x' = x + 5 cm sin(degrees) (1 - (x / w)^2), t' = t + 0.5 sin(degrees) x / w; w half the distance of the
    chest walls.
    Kept: chest walls, window, noise.
    Not modelled: ribs and scapulae that turn, a heart that turns about another axis; markers over the chest move with
    it.
    """

    name = "patient_rotation"
    family = "bedside"
    version = 4
    revision = 1
    source = "radiographic positioning texts: medial clavicles unequally far from the spine"
    levels = tuple({"degrees": degrees} for degrees in (3.0, 6.0, 10.0, 15.0, 20.0))
    units: ClassVar = {"degrees": "{} degrees"}

    @classmethod
    def reading(cls, level: Level) -> str:
        return f"midline moves by {10.0 * SPINE_DEPTH_CM * math.sin(math.radians(level['degrees'])):.0f} mm"

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        thorax = thorax_of(lungs_of(film, draws))
        turn = draws.choice("direction", (-1.0, 1.0)) * math.sin(math.radians(level["degrees"]))
        rows, columns = coordinates(film)
        middle = thorax.midline - (film.shape[1] - 1) / 2.0
        across = (columns - middle) / (0.5 * (thorax.right - thorax.left))
        move = 10.0 * SPINE_DEPTH_CM * turn / self.pitch_mm(film) * (1.0 - across.square()).clamp_min(0.0)
        moved = warp(film, rows, columns - move)
        radiograph = Radiograph.of_changed(moved, draws)
        lighter = 0.5 * turn * across.clamp(-1.0, 1.0)
        return radiograph.display_rows(lambda some: radiograph.attenuation[some] + lighter)


@register
class Roll(Perturbation):
    """Crooked in the plane of the film; what was outside it is as at its edge, without letters: tissue, beam, or black.

    degrees: of roll; its direction is drawn per film.

    Formula: rotation about the centre of the film, bilinear.
    Kept: size, grey values.
    Not modelled: what lies outside the film: its border goes on there, without what is narrower than 13 mm; black where
    most of the border is.
    """

    name = "roll"
    display = "film turned in its plane"
    family = "bedside"
    version = 5
    eight_bit = True
    source = "radiographic positioning"
    levels = tuple({"degrees": degrees} for degrees in (2.0, 5.0, 9.0, 14.0, 20.0))
    units: ClassVar = {"degrees": "{} degrees"}

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        return turned(film, draws.choice("direction", (-1.0, 1.0)) * level["degrees"], 13.0 / self.pitch_mm(film))


@register
class Magnification(Perturbation):
    """The tube too near: everything is larger, the heart (in front, far from the detector in AP) most of all.

    distance_cm: source to detector, the film being taken at 180 cm. A structure at height h above the detector is
    magnified by d / (d - h); h is 7.7 cm for the chest and 10.5 cm for the heart.

    Formula: m = d / (d - h), relative to d = 180 cm, about the centre of the film; the heart's by a smooth hill of 5
    cm.
    Kept: grey values, blur and noise of the film.
    Not modelled: blur of the focal spot, markers and collimator that would stay, ribs in front and behind magnified
    apart.
    """

    name = "magnification"
    family = "bedside"
    version = 3
    eight_bit = True
    source = "central projection; cardiothoracic ratio in AP and PA (PMC3207047)"
    levels = tuple({"distance_cm": distance} for distance in (150.0, 130.0, 110.0, 100.0, 90.0))
    units: ClassVar = {"distance_cm": "tube at {} cm"}

    @classmethod
    def reading(cls, level: Level) -> str:
        chest, heart = (_magnified(level["distance_cm"], height) for height in (CHEST_TO_DETECTOR_CM, 10.5))
        return f"chest x {chest:.3f}, heart x {heart:.3f} of those at 180 cm"

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        (height, width), (rows, columns) = film.shape, coordinates(film)
        chest, heart = (_magnified(level["distance_cm"], height) for height in (CHEST_TO_DETECTOR_CM, 10.5))
        down, across = rows - 0.08 * height, columns - 0.03 * width
        found = torch.empty_like(film)
        for some in strips(film):
            hill = gaussian_hill(down[some], across, 50.0 / self.pitch_mm(film))
            scale = hill.mul_(heart - chest).add_(chest)
            source_rows = torch.div(rows[some], scale).add_((height - 1) / 2.0)
            source_columns = torch.div(columns, scale, out=scale).add_((width - 1) / 2.0)
            found[some] = sampled(film, source_rows, source_columns, "border")
        return found


def _magnified(distance_cm: float, height_cm: float) -> float:
    """Magnification at a distance of the tube over that at the reference distance."""
    before = REFERENCE_SID_CM / (REFERENCE_SID_CM - height_cm)
    return distance_cm / (distance_cm - height_cm) / before


def gaussian_hill(rows: Tensor, columns: Tensor, sigma: float) -> Tensor:
    """(H, W), one at the origin, falling like a Gaussian."""
    return (-0.5 * (rows / sigma).square()).exp() * (-0.5 * (columns / sigma).square()).exp()


@register
class LowInspiration(Perturbation):
    """Taken while breathing out: the diaphragm stands higher, the lungs are shorter and denser, the heart is broader.

    rise: how far the diaphragm is up, as a share of the height of the lungs; a tenth is one posterior rib less above
    it. Apices, shoulders and what lies beside the chest (arms, markers) stay; the abdomen fills the room below, a film
    shows no more of it than it did. The air left makes lungs denser by 1 / (1 - rise); the heart is broadened by half
    of the rise.

    Formula: rows move up by rise x height x (depth below the apex)^1.5; t' = t + 0.36 (1 / (1 - rise) - 1) in the
    lungs.
    Kept: shoulders, markers beside the chest, edges of the exposed field, window, noise.
    Not modelled: ribs that turn, a narrower chest, more abdomen than the film shows (what is there is stretched, up to
    twofold), a basal air-poor zone.
    """

    name = "low_inspiration"
    family = "bedside"
    version = 5
    revision = 1
    source = "radiographic positioning: fewer than eight of ten posterior ribs above the diaphragm"
    levels = tuple({"rise": rise} for rise in (0.03, 0.06, 0.09, 0.13, 0.17))
    units: ClassVar = {"rise": "diaphragm up by {} of the lungs' height"}

    LUNG_TISSUE = 0.36
    """Attenuation of the aerated lung of a child itself, 0.0635 / cm over 8 cm, diluted by scatter."""
    WALL_CM = 2.5
    """Beyond the outer edges of the lungs the movement fades out over this distance."""

    @classmethod
    def reading(cls, level: Level) -> str:
        return f"{10.0 * level['rise']:.1f} of ten posterior ribs less"

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        thorax = thorax_of(lungs_of(film, draws))
        rows, columns = coordinates(film)
        middle = (film.shape[1] - 1) / 2.0
        beside = torch.maximum(thorax.left - (columns + middle), columns + middle - thorax.right)
        breathing = smoothstep(1.0 - beside * self.pitch_mm(film) / (10.0 * self.WALL_CM))
        exposed = _exposed_rows(film, thorax)
        lower = _breathed_out(thorax, level["rise"], (len(film), exposed))[:, None] - rows
        midline = thorax.midline - middle
        heart_row = thorax.top + 0.6 * (1.0 - level["rise"]) * thorax.height - (film.shape[0] - 1) / 2.0
        soft = _softened(thorax)
        # Nothing of the lungs comes further off the midline than this.
        reach = 1.0 + 0.5 * level["rise"]
        left, right = (thorax.midline + reach * (edge - thorax.midline) for edge in (thorax.left - 8, thorax.right + 8))
        inside = slice(max(0, math.floor(left)), max(1, math.ceil(right) + 1))
        moved, aerated = torch.empty_like(film), torch.empty_like(soft[:, inside])
        for some in strips(film):
            source_rows = (breathing * lower[some]).add_(rows[some]).add_((film.shape[0] - 1) / 2.0)
            hill = gaussian_hill(rows[some] - heart_row, columns - midline, 0.22 * thorax.height)
            broader = hill.mul_(0.5 * level["rise"]).add_(1.0)
            source_columns = torch.div(columns - midline, broader, out=broader).add_(midline).add_(middle)
            moved[some] = sampled(film, source_rows, source_columns, "border")
            aerated[some] = sampled(soft, source_rows[:, inside], source_columns[:, inside], "border")
        radiograph = Radiograph.of_changed(moved, draws)
        denser = self.LUNG_TISSUE * (1.0 / (1.0 - level["rise"]) - 1.0)

        def changed(some: slice) -> Tensor:
            attenuation = radiograph.attenuation[some].clone()
            attenuation[:, inside].add_(denser * smoothstep(aerated[some]))
            return attenuation

        return radiograph.display_rows(changed)


@remembered(2, "drawn")
def _softened(thorax: Thorax) -> Tensor:
    """(H, W) its lungs with a soft outline, the same for every severity."""
    return gaussian_blur(numbers(thorax.lungs), 2.0)


@remembered(1)
def _exposed_rows(film: Tensor, thorax: Thorax) -> int:
    """How many rows of a film lie above the penumbra at the lower edge of the exposed field."""
    height = film.shape[0]
    beam = numbers(in_pixels(beam_blocks(film), film)[:, thorax.left : thorax.right + 1])
    exposed = torch.nonzero(beam.mean(1) < 0.5)
    last = int(exposed.max()) + 1 if len(exposed) else height
    return max(last if last == height else last - round(0.015 * height), thorax.bottom + 1)


def _breathed_out(thorax: Thorax, rise: float, rows: tuple[int, int]) -> Tensor:
    """(H,) centred rows where the rows of an expiratory film come from.

    Nothing moves above the apices and from the lower edge of the exposed field on; the diaphragm, taken a little below
    the lowest recess, moves by the whole rise, and the lung above it the more, the lower it lies (power 1.5). Where the
    film shows so little abdomen that it would be stretched more than twofold, the movement fades out from higher up.
    """
    height, exposed = rows
    row = torch.arange(height, dtype=torch.float64, device=thorax.lungs.device)
    most = LowInspiration.levels[-1]["rise"] * thorax.height
    dome = min(thorax.bottom + 0.15 * (exposed - thorax.bottom), exposed - most)
    lung = ((row - thorax.top) / (dome - thorax.top)).clamp(0.0, 1.0).pow(1.5)
    abdomen = ((exposed - row) / (exposed - dome)).clamp(0.0, 1.0)
    up = rise * thorax.height * torch.minimum(lung, abdomen)
    return (read_off(row, row - up, row) - (height - 1) / 2.0).float()
