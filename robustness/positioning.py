"""How does the child lie? Rotated, rolled, too near the tube, not breathing in.

A film is flat, so turning the patient can only be imitated: structures are moved by what their usual depth in the chest
would move them. The chest comes from the lung mask that came with the film or from the estimate; without lungs these
perturbations are undefined (roll and magnification excepted).
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from robustness.draws import Draws
from robustness.filters import centred, coordinates, gaussian_blur, smoothstep, turned, warp
from robustness.lungs import lungs_of
from robustness.perturbation import Level, Perturbation, register
from robustness.radiograph import Radiograph
from robustness.thorax import thorax_of

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
    """

    name = "patient_rotation"
    family = "bedside"
    version = 4
    source = "radiographic positioning texts: medial clavicles unequally far from the spine"
    levels = tuple({"degrees": degrees} for degrees in (3.0, 6.0, 10.0, 15.0, 20.0))

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        thorax = thorax_of(lungs_of(film, draws))
        turn = draws.choice("direction", (-1.0, 1.0)) * math.sin(math.radians(level["degrees"]))
        rows, columns = coordinates(film)
        middle = thorax.midline - (film.shape[1] - 1) / 2.0
        across = (columns - middle) / (0.5 * (thorax.right - thorax.left))
        move = 10.0 * SPINE_DEPTH_CM * turn / self.pitch_mm(film) * (1.0 - across.square()).clamp_min(0.0)
        moved = warp(film, rows, columns - move)
        radiograph = Radiograph.of(moved, draws)
        return radiograph.display(radiograph.attenuation + 0.5 * turn * across.clamp(-1.0, 1.0))


@register
class Roll(Perturbation):
    """Crooked in the plane of the film; what was outside the film is mirrored at its edge.

    degrees: of roll; its direction is drawn per film.
    """

    name = "roll"
    family = "bedside"
    version = 3
    eight_bit = True
    source = "radiographic positioning"
    levels = tuple({"degrees": degrees} for degrees in (2.0, 5.0, 9.0, 14.0, 20.0))

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        return turned(film, draws.choice("direction", (-1.0, 1.0)) * level["degrees"])


@register
class Magnification(Perturbation):
    """The tube too near: everything is larger, the heart (in front, far from the detector in AP) most of all.

    distance_cm: source to detector, the film being taken at 180 cm. A structure at height h above the detector is
    magnified by d / (d - h); h is 7.7 cm for the chest and 10.5 cm for the heart.
    """

    name = "magnification"
    family = "bedside"
    version = 3
    eight_bit = True
    source = "central projection; cardiothoracic ratio in AP and PA (PMC3207047)"
    levels = tuple({"distance_cm": distance} for distance in (150.0, 130.0, 110.0, 100.0, 90.0))

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        return warp(film, *_seen_from(film.shape, level["distance_cm"], self.pitch_mm(film)))


@functools.lru_cache(maxsize=2)
def _seen_from(shape: torch.Size, distance_cm: float, pitch_mm: float) -> tuple[Tensor, Tensor]:
    """Rows and columns (H, W) where the pixels of a magnified film come from, the same for all films of a shape."""
    rows, columns = centred(*shape)
    chest, heart = (_magnified(distance_cm, height) for height in (CHEST_TO_DETECTOR_CM, 10.5))
    central = gaussian_hill(rows - 0.08 * shape[0], columns - 0.03 * shape[1], 50.0 / pitch_mm)
    scale = chest + (heart - chest) * central
    return rows / scale, columns / scale


def _magnified(distance_cm: float, height_cm: float) -> float:
    """Magnification at a distance of the tube over that at the reference distance."""
    before = REFERENCE_SID_CM / (REFERENCE_SID_CM - height_cm)
    return distance_cm / (distance_cm - height_cm) / before


def gaussian_hill(rows: Tensor, columns: Tensor, sigma: float) -> Tensor:
    """(H, W), one at the origin, falling like a Gaussian."""
    return (-0.5 * (rows / sigma).square()).exp() * (-0.5 * (columns / sigma).square()).exp()


@register
class LowInspiration(Perturbation):
    """Taken while breathing out: the lungs are shorter and denser, the heart is broader.

    rise: how far the diaphragm is up, as a share of the height of the lungs. The air left makes lungs denser by
    1 / (1 - rise); the heart is broadened by half of the rise.
    """

    name = "low_inspiration"
    family = "bedside"
    version = 4
    source = "radiographic positioning: fewer than eight posterior ribs above the diaphragm"
    levels = tuple({"rise": rise} for rise in (0.05, 0.10, 0.16, 0.24, 0.32))

    LUNG_TISSUE = 0.36
    """Attenuation of the aerated lung of a child itself, 0.0635 / cm over 8 cm, diluted by scatter."""

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        lungs = lungs_of(film, draws)
        thorax = thorax_of(lungs)
        rows, columns = coordinates(film)
        top = thorax.top - (film.shape[0] - 1) / 2.0
        bottom = thorax.bottom - (film.shape[0] - 1) / 2.0
        squeezed = (1.0 - level["rise"]) * thorax.height
        # The lungs are squeezed; the field of view follows, so what is above and below shares the room they leave.
        rest = film.shape[0] - thorax.height
        stretch = (film.shape[0] - squeezed) / max(rest, 0.15 * film.shape[0])
        apex = -film.shape[0] / 2.0 + (top + film.shape[0] / 2.0) * stretch
        above, inside = top + (rows - apex) / stretch, top + (rows - apex) * (thorax.height / squeezed)
        below = bottom + (rows - apex - squeezed) / stretch
        source_rows = above.where(rows < apex, inside.where(rows < apex + squeezed, below))
        middle = thorax.midline - (film.shape[1] - 1) / 2.0
        heart_row = apex + 0.6 * squeezed
        hill = gaussian_hill(rows - heart_row, columns - middle, 0.22 * thorax.height)
        source_columns = middle + (columns - middle) / (1.0 + 0.5 * level["rise"] * hill)
        moved = warp(film, source_rows, source_columns)
        aerated = warp(gaussian_blur(lungs.float(), 2.0), source_rows, source_columns)
        radiograph = Radiograph.of(moved, draws)
        denser = self.LUNG_TISSUE * (1.0 / (1.0 - level["rise"]) - 1.0)
        return radiograph.display(radiograph.attenuation + denser * smoothstep(aerated))
