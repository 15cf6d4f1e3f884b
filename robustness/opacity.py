"""What makes a lung white? Attenuation added by cause and extent, and its controls.

Opacity is added to the attenuation t along the ray, never blended into grey values: ``t' = t + f * m``, f the share
of the path through the lung that is opaque, m the attenuation that air takes away from the lung. By physics m is
``dmu * depth / (1 + SPR)``, dmu = 0.195 / cm between consolidated and aerated lung at 45 keV. Since the tone curve of a
processed film is unknown, m is read off the film: a lung without air is as dense as the mediastinum beside it, within a
quarter and one and a half times the physical value. Ribs keep showing through.

Extent is the share of one lung's area (bilateral: of both) that is opaque: 0.2, 0.4, 0.6, 0.8, 1.0; larger extents
contain smaller ones. The side is drawn per film and is the same for every cause, so causes can be compared film by
film.

What differs between causes follows paediatric radiology: consolidation keeps the volume and shows air bronchograms; an
effusion is homogeneous, rises along the chest wall, and pushes the mediastinum away; collapse pulls it in; a mass is
smooth and round; diffuse lung injury is patchy, peripheral and on both sides. A whole white hemithorax is rarely
pneumonia, so the right answer of a classifier without such a class is to be unsure.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import cv2
import torch
from torch import Tensor

from robustness.content_cache import remembered
from robustness.curves import Point, chords
from robustness.draws import Draws
from robustness.filters import blur_within, coordinates, gaussian_blur, percentiles, smoothstep, warp
from robustness.lungs import lungs_of
from robustness.perturbation import Level, Perturbation, PerturbationUndefined, register
from robustness.radiograph import Radiograph
from robustness.thorax import LUNG_DEPTH_CM, Thorax, fill, random_field, thorax_of

DMU = 0.195
"""Attenuation of consolidated less aerated lung, per cm, 45 keV."""
SCATTER_RATIO = 0.4
"""Scatter over primary behind the lung of a child, which dilutes the added attenuation."""
EXTENTS = (0.2, 0.4, 0.6, 0.8, 1.0)
LARGEST_SHIFT_CM = 2.0
FAINT = 0.15
"""Grey value below which a place outside the lungs is taken for air."""

SOURCE = (
    "mu of ICRU lung and soft tissue (NIST XCOM); radiological signs after Iwama 2019 and standard texts on the opaque "
    "hemithorax"
)


class _WhiteOut(Perturbation):
    """One cause of an opaque lung. Subclasses say where opacity comes first, how dense it is, and what moves.

    Formula: t' = t + f m; f the opaque share of the path through the lung, m the attenuation that air takes from it.
    Kept: ribs, window, tone curve, side and place of a film for all extents.
    Not modelled: scatter that rises behind fluid, fissures as borders, a change of the other lung.
    """

    family = "opacity"
    version = 3
    source = SOURCE
    levels = tuple({"extent": extent} for extent in EXTENTS)
    units: ClassVar = {"extent": "{} of the area of the lung"}

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        shift_px = 10.0 * self.shift_cm(level["extent"]) / self.pitch_mm(film)
        lungs = lungs_of(film, draws)
        if shift_px:
            film, lungs = shifted(film, lungs, shift_px, side_of(draws))
        thorax, radiograph = thorax_of(lungs), Radiograph.of(film, draws)
        share = self.share(thorax, level["extent"], draws, self.pitch_mm(film))
        return radiograph.display(radiograph.attenuation + share * missing(thorax, radiograph, self.pitch_mm(film)))

    @abstractmethod
    def share(self, thorax: Thorax, extent: float, draws: Draws, pitch_mm: float) -> Tensor:
        """(H, W) share of the path through the lung that has turned opaque, 0 to 1."""

    def shift_cm(self, extent: float) -> float:
        """How far the mediastinum moves away from (negative: toward) the opaque side."""
        return 0.0 * extent


def side_of(draws: Draws) -> str:
    """Side of the film ("left", "right") on which a film gets its opacity, whatever the cause."""
    return draws.twin("whiteout").choice("side", ("left", "right"))


@remembered(3)
def missing(thorax: Thorax, radiograph: Radiograph, pitch_mm: float) -> Tensor:
    """(H, W) attenuation the lung lacks for being filled with air: what brings it to the level of the mediastinum.

    Not to be changed in place: every cause asks for it.
    """
    physical = thorax.depth * (DMU / (1.0 + SCATTER_RATIO))
    between = thorax.mediastinum
    if not bool(between.any()):
        return physical
    inside = thorax.lungs.float()
    smooth = 8.0 / pitch_mm
    aerated = blur_within(radiograph.attenuation, inside, smooth)
    # The lower third of the grey values between the lungs is soft tissue, the upper one holds the spine.
    soft = percentiles(radiograph.attenuation[between], 35.0)[0]
    thick = DMU * LUNG_DEPTH_CM / (1.0 + SCATTER_RATIO)
    filled = torch.maximum(soft - aerated, 0.25 * physical).clamp_max(1.5 * thick)
    # Toward its edge a mask may cover what is no lung: there, what is dense already gains nothing.
    nearby = torch.maximum(gaussian_blur(radiograph.attenuation, 1.5 / pitch_mm), radiograph.attenuation)
    lacking = (soft - nearby).clamp_min(0.0)
    certainty = smoothstep((thorax.depth / LUNG_DEPTH_CM).square() / 0.95)
    return torch.lerp(torch.minimum(filled, lacking), filled, certainty) * inside


def shifted(film: Tensor, lungs: Tensor, away_px: float, side: str) -> tuple[Tensor, Tensor]:
    """Move the mediastinum by so many pixels away from a side; the outer chest walls stay."""
    thorax = thorax_of(lungs)
    rows, columns = coordinates(film)
    middle = thorax.midline - (film.shape[1] - 1) / 2.0
    half = 0.5 * (thorax.right - thorax.left)
    # The same in every row: a spine that is shifted with the rest must at least stay straight.
    move = away_px * (1.0 if side == "left" else -1.0) * (1.0 - ((columns - middle) / half).square()).clamp_min(0.0)
    moved = warp(lungs.float(), rows, columns - move) > 0.5
    return warp(film, rows, columns - move), moved


@register
class WhiteOutLobar(_WhiteOut):
    """Consolidation: cloudy, from one lobe on, with air bronchograms; volume and mediastinum stay.

    extent: share of the lung's area.
    """

    name = "whiteout_lobar"
    presets = ("quick", "standard")

    def share(self, thorax: Thorax, extent: float, draws: Draws, pitch_mm: float) -> Tensor:
        return _consolidated(thorax, extent, draws.image_id, draws.seed, pitch_mm)


@remembered(1)
def _consolidated(thorax: Thorax, extent: float, image_id: str, seed: int, pitch_mm: float) -> Tensor:
    """(H, W) share of whiteout_lobar, which its controls ask for too."""
    draws = Draws(image_id, WhiteOutLobar.name, seed)
    side = side_of(draws)
    region = thorax.side(side)
    rows, _ = coordinates(thorax.depth)
    clouds = random_field(draws, "clouds", thorax.depth.shape, beta=3.5)
    lobe = draws.choice("lobe", (1.0, -1.0), (0.65, 0.35))
    order = lobe * rows / (0.28 * thorax.height) + clouds
    opaque = fill(order, region, extent, draws.uniform("edge in mm", 2.5, 5.0) / pitch_mm)
    texture = (0.88 + 0.10 * random_field(draws, "texture", thorax.depth.shape, beta=2.5)).clamp(0.5, 1.0)
    air = chords(thorax.depth.shape, bronchi(thorax, side, draws, pitch_mm))
    return opaque * (texture - air * (pitch_mm / 10.0) / thorax.depth.clamp_min(1.0)).clamp_min(0.0)


def bronchi(thorax: Thorax, side: str, draws: Draws, pitch_mm: float) -> list[tuple[list[Point], float]]:
    """Branching air-filled tubes from the hilum, radius 1.5 to 0.5 mm, as polylines with radii in pixels."""
    row, column = thorax.hilum(side)
    outward = -1.0 if side == "left" else 1.0
    tubes: list[tuple[list[Point], float]] = []
    ends = [(row, column, angle) for angle in (-0.9, -0.2, 0.5, 1.1)]
    for generation, radius in enumerate((1.5, 1.1, 0.8)):
        following = []
        for index, (y, x, angle) in enumerate(ends):
            label = f"bronchus {generation} {index}"
            length = thorax.height * draws.uniform(label + " length", 0.09, 0.15)
            bent = angle + draws.uniform(label + " bend", -0.25, 0.25)
            end = (y + length * math.sin(bent), x + outward * length * math.cos(bent))
            tubes.append(([(y, x), end], radius / pitch_mm))
            following += [(*end, bent - 0.35), (*end, bent + 0.35)]
        ends = following
    return tubes


@register
class WhiteOutEffusion(_WhiteOut):
    """Effusion: homogeneous from the base upward, climbing along the chest wall; pushes the mediastinum away (2 cm).

    extent: share of the lung's area.
    """

    name = "whiteout_effusion"

    def share(self, thorax: Thorax, extent: float, draws: Draws, pitch_mm: float) -> Tensor:
        side = side_of(draws)
        region = thorax.side(side)
        rows, columns = coordinates(thorax.depth)
        wall = (thorax.left if side == "left" else thorax.right) - (thorax.depth.shape[1] - 1) / 2.0
        climb = 10.0 * draws.uniform("meniscus height in cm", 2.0, 4.0) / pitch_mm
        reach = 10.0 * draws.uniform("meniscus reach in cm", 1.5, 3.0) / pitch_mm
        order = rows + climb * torch.exp(-(columns - wall).abs() / reach)
        return fill(order, region, extent, 2.0 / pitch_mm)

    def shift_cm(self, extent: float) -> float:
        return LARGEST_SHIFT_CM * extent


@register
class WhiteOutCollapse(_WhiteOut):
    """Collapse: dense next to the mediastinum, which is pulled in (2 cm).

    extent: share of the lung's area.
    """

    name = "whiteout_collapse"

    def share(self, thorax: Thorax, extent: float, draws: Draws, pitch_mm: float) -> Tensor:
        region = thorax.side(side_of(draws))
        rows, columns = coordinates(thorax.depth)
        middle = thorax.midline - (thorax.depth.shape[1] - 1) / 2.0
        half = 0.5 * (thorax.right - thorax.left)
        order = -(columns - middle).abs() / half + 0.35 * rows / thorax.height
        order = order + 0.05 * random_field(draws, "clouds", thorax.depth.shape, beta=3.5)
        return 0.8 * fill(order, region, extent, 3.0 / pitch_mm)

    def shift_cm(self, extent: float) -> float:
        return -LARGEST_SHIFT_CM * extent


@register
class WhiteOutMass(_WhiteOut):
    """Mass: a smooth ball of soft tissue that grows from one place until it fills the lung.

    extent: share of the lung's area.
    """

    name = "whiteout_mass"

    def share(self, thorax: Thorax, extent: float, draws: Draws, pitch_mm: float) -> Tensor:
        side = side_of(draws)
        region = thorax.side(side)
        rows, columns = coordinates(thorax.depth)
        row, column = thorax.hilum(side)
        outward = -1.0 if side == "left" else 1.0
        row += thorax.height * draws.uniform("row", -0.15, 0.25) - (thorax.depth.shape[0] - 1) / 2.0
        column += outward * thorax.height * draws.uniform("column", 0.02, 0.15) - (thorax.depth.shape[1] - 1) / 2.0
        distance = ((rows - row) ** 2 + (columns - column) ** 2).sqrt()
        opaque = fill(-distance, region, extent, 1.0 / pitch_mm)
        radius = distance[opaque > 0.5].max()
        ball = (1.0 - (distance / radius).square()).clamp_min(0.0).sqrt()
        return opaque * (0.55 + 0.45 * ball)


@register
class WhiteOutBilateral(_WhiteOut):
    """Diffuse injury of both lungs: patchy, from the periphery and the bases inward.

    extent: share of the area of both lungs.
    """

    name = "whiteout_bilateral"

    def share(self, thorax: Thorax, extent: float, draws: Draws, pitch_mm: float) -> Tensor:
        rows, _ = coordinates(thorax.depth)
        patches = random_field(draws, "clouds", thorax.depth.shape, beta=3.0)
        rim = -thorax.depth / thorax.depth.max()
        order = 1.2 * rim + 0.6 * rows / thorax.height + 0.6 * patches
        opaque = fill(order, thorax.lungs, extent, 4.0 / pitch_mm)
        texture = (0.70 + 0.15 * random_field(draws, "texture", thorax.depth.shape, beta=2.0)).clamp(0.3, 1.0)
        return opaque * texture


def lobar_twin(film: Tensor, extent: float, draws: Draws, pitch_mm: float) -> tuple[Thorax, Radiograph, Tensor]:
    """The attenuation (H, W) whiteout_lobar adds to the same film, for the controls that match its amount."""
    thorax, radiograph = thorax_of(lungs_of(film, draws)), Radiograph.of(film, draws)
    share = WhiteOutLobar().share(thorax, extent, draws.twin(WhiteOutLobar.name), pitch_mm)
    return thorax, radiograph, share * missing(thorax, radiograph, pitch_mm)


def total(image: Tensor) -> float:
    """Sum of all pixels, the same on any number of threads."""
    return float(cv2.sumElems(image.numpy())[0])


@register
class DiffuseDoseMatched(Perturbation):
    """The same sum of added attenuation as whiteout_lobar, spread over both lungs: tests the pattern, not the amount.

    extent: that of the lobar opacity whose sum is matched.

    Formula: t' = t + m (1 + 0.35 mottle) scaled to the sum of whiteout_lobar.
    Kept: sum of the added attenuation, window.
    Not modelled: anything of a hospital: it is a control.
    """

    name = "diffuse_dose_matched"
    rank = 1
    family = "control"
    version = 3
    source = SOURCE
    levels = tuple({"extent": extent} for extent in EXTENTS)
    units: ClassVar = {"extent": "sum of a lobar opacity of {} of one lung"}

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        thorax, radiograph, lobar = lobar_twin(film, level["extent"], draws, self.pitch_mm(film))
        mottled = (1.0 + 0.35 * random_field(draws, "mottle", film.shape, beta=1.5)).clamp_min(0.1)
        spread = missing(thorax, radiograph, self.pitch_mm(film)) * mottled
        return radiograph.display(radiograph.attenuation + spread.mul_(total(lobar) / total(spread)))


@register
class ShamOpacity(Perturbation):
    """The same sum of added attenuation as whiteout_lobar, outside the lungs: it should not change the class.

    It lies over the abdomen or a shoulder, at least 5 mm off the lungs and not between them. Tissue there is dense
    already, so the display clips part of it.

    extent: that of the lobar opacity whose sum and area are matched.

    Formula: t' = t + a constant over an area outside the lungs, scaled to the sum of whiteout_lobar.
    Kept: sum and area of the added attenuation, lungs, window.
    Not modelled: anything of a hospital: it is a control.
    """

    name = "sham_opacity"
    family = "control"
    version = 3
    source = SOURCE
    levels = tuple({"extent": extent} for extent in EXTENTS)
    units: ClassVar = {"extent": "sum and area of a lobar opacity of {} of one lung"}

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        pitch = self.pitch_mm(film)
        thorax, radiograph, lobar = lobar_twin(film, level["extent"], draws, pitch)
        near_lung = gaussian_blur(thorax.lungs.float(), 5.0 / pitch) > 0.02
        enclosed = (thorax.lungs.cumsum(1) > 0) & (thorax.lungs.flip(1).cumsum(1).flip(1) > 0)
        free = ~(near_lung | enclosed | radiograph.beam) & (gaussian_blur(film, 3.0 / pitch) > FAINT)
        lung = thorax.side(side_of(draws.twin(WhiteOutLobar.name)))
        if int(free.sum()) < int(lung.sum()):
            raise PerturbationUndefined("there is less tissue outside the lungs than one lung covers")
        rows, columns = coordinates(film)
        place = draws.choice("place", ("abdomen", "shoulder"))
        row = (thorax.bottom if place == "abdomen" else thorax.top) - film.shape[0] / 2.0
        column = (thorax.left if side_of(draws) == "left" else thorax.right) - film.shape[1] / 2.0
        distance = ((rows - row) ** 2 + (columns - column) ** 2).sqrt()
        share = level["extent"] * float(lung.sum()) / float(free.sum())
        opaque = fill(-distance, free, share, 3.0 / pitch)
        return radiograph.display(radiograph.attenuation + opaque.mul_(total(lobar) / total(opaque)))
