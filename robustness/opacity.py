"""What makes a lung white? Water in place of air by cause and extent.

A share of the air along each ray is replaced by water, in attenuation, never blended into grey values; what that does
to brightness, ribs, vessels and grain stands in `water_path`. Causes differ in where the water is, in its border, and
in what moves. The lung goes on behind heart and diaphragm (`Thorax.hemithorax`), and so does its water. All of it is
found on at most 400,000 pixels, and brought onto a larger film with the detail that only that one shows (`coarse`).

Extent is the share of one hemithorax (bilateral: of both) that is opaque: 0.2, 0.4, 0.6, 0.8, 1.0; larger extents
contain smaller ones. It is counted on the lung field: of most films that is the lung that is seen, and what is hidden
goes along; a mask that goes on behind heart and dome (as that of phantoms does) is counted whole, and of 0.2 low in it
little may be seen. In a child of three a ray through the middle of the lung crosses up to 8 cm of water, 5.6 in the
mean of the lung (scaled with the field for a larger chest). The side is drawn per film and is the same for every cause,
so causes can be compared film by film.

A whole white hemithorax is rarely pneumonia, so the right answer of a classifier without such a class is to be unsure.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from robustness.coarse import Coarse
from robustness.consolidation import HALFWAY, LOBAR, SMALL, TOWARD_ORGANS, consolidated, near_organs, side_of
from robustness.content_cache import remembered
from robustness.displacement import moved
from robustness.draws import Draws
from robustness.filling import beside_first, cloudy, spread
from robustness.filters import coordinates, gaussian_blur, smoothstep
from robustness.perturbation import Level, Perturbation, register
from robustness.pleura import pleural_lungs
from robustness.pointwise import root
from robustness.primitives.ordering import ranked
from robustness.radiograph import Radiograph
from robustness.thorax import Thorax, nearness, opacified, opacified_by, outward, random_field, thorax_of
from robustness.water_path import CHILD_FIELD_CM, aerated

EXTENTS = (0.2, 0.4, 0.6, 0.8, 1.0)
MEAN_DEPTH_CM = 5.6
"""Mean path through one lung of a child whose deepest is LUNG_DEPTH_CM; 5.4 to 5.8 on phantoms and children's films."""
LARGEST_SHIFT_CM = 1.4
"""By which the heart moves in a child whose hemithorax is white altogether; more would stretch it visibly."""
LARGEST_RISE_CM = 2.0
"""By which the dome of a lung without air is drawn up."""

VEIL, SUPINE_VEIL = 0.25, 0.5
"""Share of the water that is the same everywhere, if it has no border, and if it is fluid behind a lung."""
MASS_RISE = 1.6
"""Thickness of a mass over that of the lung, in its middle; what is more than the lung is deep counts as all of it."""

SOURCE = (
    "mu of ICRU lung and soft tissue (NIST XCOM); scatter after Niklason 1981; radiological signs after Iwama 2019 and "
    "standard texts on the opaque hemithorax"
)


def levels_of(density: float) -> tuple[Level, ...]:
    """Extents, and the mean thickness of the water over the opaque side of a child, where `density` of a path is water.

    `water_cm` follows from the extent and is there to be read; a larger chest holds more in proportion.
    """
    return tuple({"extent": extent, "water_cm": round(extent * density * MEAN_DEPTH_CM, 1)} for extent in EXTENTS)


class _WhiteOut(Perturbation):
    """One cause of an opaque lung. Subclasses say which share of each path is water, and what moves.

    Formula: t' = t + f (T - t), f the share of the path that is water, T the attenuation of a chest without air; of the
    contrast of ribs behind w cm of it 1.3 / (1 + 0.3 exp(0.195 w)) is left.
    Kept: window, tone curve, nothing above the white of bone; side and place of a film for all extents.
    Not modelled: support devices, a change of the other lung, calcium, cavities and air-fluid levels.
    """

    family = "opacity"
    version = 9
    revision = 2
    source = SOURCE
    levels = levels_of(1.0)
    units: ClassVar = {"extent": "{} of the hemithorax", "water_cm": "{} cm of water in its mean"}

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        coarse, extent = Coarse.of(film, draws), level["extent"]
        pitch = self.pitch_mm(film) * coarse.block
        thorax = thorax_of(pleural_lungs(coarse.film, coarse.draws, pitch))
        radiograph = Radiograph.of(coarse.film, draws)
        share = self.share(thorax, extent, coarse.draws, pitch)
        counts = radiograph.counts(self.pitch_mm(film))
        shift, rise = self.shift_cm(extent, draws), self.rise_cm(extent)
        moves = bool(shift or rise)
        apart = aerated(thorax, radiograph, pitch, self.field_cm)
        white = apart.filled(share, draws, counts, film, coarse.block, as_bytes=not moves)
        if not moves:
            return white
        per_cm = 10.0 / pitch * self.field_cm / CHILD_FIELD_CM
        return moved(white, thorax, shift * per_cm, rise * per_cm, side_of(draws), block=coarse.block, as_bytes=True)

    @abstractmethod
    def share(self, thorax: Thorax, extent: float, draws: Draws, pitch_mm: float) -> Tensor:
        """(H, W) share of the path through the lung that is water, 0 to 1."""

    def shift_cm(self, extent: float, draws: Draws) -> float:
        """How far the mediastinum moves away from (negative: toward) the opaque side."""
        return 0.0 * extent

    def rise_cm(self, extent: float) -> float:
        """How far the dome of the opaque side is drawn up."""
        return 0.0 * extent


@register
class WhiteOutLobar(_WhiteOut):
    """Consolidation: one lobe, then its neighbours, alveoli full of fluid; volume and mediastinum stay.

    Homogeneous but for faint air bronchograms (radius 1.5 to 0.5 mm) and, until all of the lung is full, places away
    from heart and dome that hold up to 0.6 of their air yet. Where it advances it is ragged and ill defined (4 mm here,
    14 mm there), where an upper lobe ends at the horizontal fissure, which is bowed, it is sharper in part (2 mm). A
    lower lobe that is full goes on along the mediastinum first. An upper lobe fills up from its lower end, then the
    lung below it from the mediastinum on, so that air is left at the side of the base. In front of heart or dome the
    silhouette is lost.

    extent: share of the hemithorax that is opaque, 0.2 to 1; up to 95 % of each path there is water.
    water_cm: mean thickness of the water over that side of a child, 1.1 to 5.3 cm.
    """

    name = LOBAR
    display = "lobar white-out"
    presets = ("quick", "standard")
    levels = levels_of(0.95)

    def share(self, thorax: Thorax, extent: float, draws: Draws, pitch_mm: float) -> Tensor:
        return consolidated(thorax, extent, draws.image_id, draws.seed, pitch_mm)


@register
class WhiteOutEffusion(_WhiteOut):
    """Effusion: fluid in the pleural space, without bronchograms; pushes the heart away (1.4 cm).

    Upright (three films in five) it fills the base, hides costophrenic angle and dome, and its upper border is a
    meniscus, 4 to 7 cm higher at the chest wall, that thins out over 2 to 5 cm. Supine it layers behind the lung: a
    veil over all of the hemithorax, half of the fluid, the rest where it is deepest: beside the heart and over the
    dome, which are lost first; air is left at apex and flank.

    extent: share of the hemithorax that is opaque (supine: of its depth that is fluid), 0.2 to 1.
    water_cm: mean thickness of the fluid over that side of a child, 1.1 to 5.6 cm.
    """

    name = "whiteout_effusion"
    display = "white-out by an effusion"

    def share(self, thorax: Thorax, extent: float, draws: Draws, pitch_mm: float) -> Tensor:
        side = side_of(draws)
        rows, _ = coordinates(thorax.depth)
        away = outward(thorax, side)
        if draws.choice("posture", ("upright", "supine"), (0.6, 0.4)) == "supine":
            later = beside_first(thorax, side, self.name, draws.image_id, draws.seed)
            return spread(later, extent, SUPINE_VEIL) * nearness(thorax, side)
        climb = draws.uniform("meniscus height in cm", 4.0, 7.0) * 10.0 / pitch_mm
        reach = draws.uniform("meniscus reach in half widths", 0.22, 0.36)
        order = rows + climb * torch.exp((away - 1.0) / reach) + 0.25 * climb * torch.exp(-away / reach)
        # Fluid is a wedge: it thins out at its surface and is deepest at the base.
        surface, wedge = opacified_by(order, thorax, side, extent, 9.0 / pitch_mm, 25.0 / pitch_mm)
        return 0.7 * surface + 0.3 * wedge

    def shift_cm(self, extent: float, draws: Draws) -> float:
        return LARGEST_SHIFT_CM * extent


@register
class WhiteOutCollapse(_WhiteOut):
    """Collapse: a lung that loses its air with its volume; the heart pulled over (1.4 cm), dome up (2 cm).

    Dense beside the mediastinum, behind the heart first, with a border that runs from the hilum outward to the dome
    (2.5 mm where it is a fissure, up to 9 mm elsewhere). A smooth warp draws heart and dome over and crowds the ribs of
    the side.

    extent: share of the hemithorax that is opaque, 0.2 to 1; 90 % of each path there is water, all beside the heart.
    water_cm: mean thickness of the water over that side of a child, 1.0 to 5.0 cm.
    """

    name = "whiteout_collapse"
    display = "white-out by a collapse"
    levels = levels_of(0.9)

    def share(self, thorax: Thorax, extent: float, draws: Draws, pitch_mm: float) -> Tensor:
        side = side_of(draws)
        rows, _ = coordinates(thorax.depth)
        order = 0.9 * rows / thorax.height - outward(thorax, side)
        order = order + 0.06 * random_field(draws, "clouds", thorax.depth.shape, beta=4.0)
        # No air is left beside the heart, or its border would be seen against it.
        water = 0.9 + 0.1 * near_organs(thorax, side)
        return water * cloudy(order, thorax, side, extent, draws, edge_px=(2.5 / pitch_mm, 9.0 / pitch_mm))

    def shift_cm(self, extent: float, draws: Draws) -> float:
        return -LARGEST_SHIFT_CM * extent

    def rise_cm(self, extent: float) -> float:
        return LARGEST_RISE_CM * extent


@register
class WhiteOutMass(_WhiteOut):
    """Mass, or round pneumonia: a lobed lump of soft tissue that grows until it fills the hemithorax.

    Its thickness is that of a ball, so it is densest in the middle and thins toward its border, which is sharp (1 mm)
    in places and ill defined (5 mm, with strands) in others. Ribs run through it. A large one reaches heart and dome
    before it does apex and flank, and pushes the heart away (up to 1.4 cm).

    extent: share of the hemithorax that is opaque, 0.2 to 1.
    water_cm: mean thickness of the tissue over that side of a child, 1.1 to 5.6 cm.
    """

    name = "whiteout_mass"
    display = "white-out by a mass"

    def share(self, thorax: Thorax, extent: float, draws: Draws, pitch_mm: float) -> Tensor:
        lump, side = _lump(thorax, draws.image_id, draws.seed), side_of(draws)
        inside = thorax.seen_in(lump.radius, side)
        (border,) = ranked(inside, max(1, round(extent * len(inside))) - 1)
        reach = float(np.float32(border) * np.float32(1.0 + 0.5 * max(0.0, extent - 0.8) / 0.2))
        clear, vague = (
            root((distance / reach).square_().neg_().add_(1.0).clamp_min_(0.0)).mul_(MASS_RISE).clamp_max_(1.0)
            for distance in (lump.radius, lump.ragged)
        )
        clear, vague = gaussian_blur(clear, 0.8 / pitch_mm), gaussian_blur(vague, 5.0 / pitch_mm)
        return (lump.sharp * clear + (1.0 - lump.sharp) * vague) * lump.texture * nearness(thorax, side)

    def shift_cm(self, extent: float, draws: Draws) -> float:
        return LARGEST_SHIFT_CM * max(0.0, extent - HALFWAY) / (1.0 - HALFWAY)


@dataclass(frozen=True, eq=False)
class _Lump:
    """What is the same for every extent of whiteout_mass, all (H, W).

    Attributes:
        radius: distance from the middle, in radii.
        ragged: the same with strands.
        sharp: 1 where it meets aerated lung sharply, 0 where it grows into it.
        texture: share of a path that is tissue where it is thick.
    """

    radius: Tensor
    ragged: Tensor
    sharp: Tensor
    texture: Tensor


@remembered(1, "cause")
def _lump(thorax: Thorax, image_id: str, seed: int) -> _Lump:
    draws = Draws(image_id, WhiteOutMass.name, seed, device=thorax.depth.device)
    side = side_of(draws)
    rows, _ = coordinates(thorax.depth)
    half = thorax.midline - thorax.left if side == "left" else thorax.right - thorax.midline
    row = thorax.top + draws.uniform("row", 0.40, 0.60) * thorax.height - (thorax.depth.shape[0] - 1) / 2.0
    away = outward(thorax, side) - draws.uniform("column", 0.45, 0.6)
    shape = thorax.depth.shape
    lobes = 1.0 + 0.17 * random_field(draws, "outline", shape, beta=3.2).clamp(-2.0, 2.0)
    radius = (((rows - row) / (1.15 * half)).square() + away.square()).sqrt() * lobes
    # Once it is large it reaches heart and dome before it does apex and flank.
    beside = near_organs(thorax, side)
    radius = radius - TOWARD_ORGANS * beside * (radius - SMALL).clamp_min(0.0)
    texture = (0.96 + 0.05 * random_field(draws, "texture", shape, beta=2.5)).clamp(0.8, 1.0)
    return _Lump(
        radius=radius,
        # Here it meets aerated lung sharply, there it grows into it with strands.
        ragged=radius * (1.0 + 0.10 * random_field(draws, "strands", shape, beta=1.8)),
        sharp=smoothstep(0.45 + 0.8 * random_field(draws, "sharpness", shape, beta=4.0)),
        texture=texture + beside * (1.0 - texture),
    )


@register
class WhiteOutBilateral(_WhiteOut):
    """Oedema-like: both lungs, from the hila and bases outward, without borders, cloudy; nothing moves.

    extent: share of both lungs that is opaque, 0.2 to 1; there 57 to 85 % of each path is water.
    water_cm: mean thickness of the water over both sides of a child, 0.6 to 4.8 cm.
    """

    name = "whiteout_bilateral"
    display = "white-out of both lungs"
    levels = tuple(
        {"extent": extent, "water_cm": round(extent * (0.5 + 0.35 * extent) * MEAN_DEPTH_CM, 1)} for extent in EXTENTS
    )
    units: ClassVar = {"extent": "{} of both lungs", "water_cm": "{} cm of water in their mean"}

    def share(self, thorax: Thorax, extent: float, draws: Draws, pitch_mm: float) -> Tensor:
        rows, columns = coordinates(thorax.depth)
        shape = thorax.depth.shape
        clouds = random_field(draws, "clouds", shape, beta=3.0)
        near = torch.zeros_like(thorax.depth)
        for side in ("left", "right"):
            row, column = thorax.hilum(side)
            across = (columns - column + (shape[1] - 1) / 2.0) / (0.35 * (thorax.right - thorax.left))
            along = (rows - row - 0.1 * thorax.height + (shape[0] - 1) / 2.0) / (0.5 * thorax.height)
            near = torch.maximum(near, torch.exp(-across.square() - along.square()))
        opaque = opacified(near + 0.10 * clouds, thorax, "both", extent, 14.0 / pitch_mm)
        mottle = 1.0 + 0.10 * random_field(draws, "texture", shape, beta=2.0)
        return opaque * ((0.5 + 0.35 * extent) * mottle).clamp(0.0, 1.0)


@register
class WhiteOutTotal(_WhiteOut):
    """All of one side white, whatever the cause: no border, no bronchograms; the air goes out of it.

    A quarter of the water is the same everywhere. The rest comes beside the heart and along the dome first, whose
    silhouettes are lost from an extent of 0.6 on, and leaves air at apex and flank, without a border between them. The
    heart moves away (two films in five), over (two) or not at all, by up to 1.4 cm.

    extent: share of the air of the hemithorax that is replaced, 0.2 to 1, in its mean.
    water_cm: mean thickness of the water over that side of a child, 1.1 to 5.6 cm.
    """

    name = "whiteout_total"
    display = "white-out of all of one side"
    units: ClassVar = {"extent": "{} of the air of the hemithorax", "water_cm": "{} cm of water in its mean"}

    def share(self, thorax: Thorax, extent: float, draws: Draws, pitch_mm: float) -> Tensor:
        side = side_of(draws)
        later = beside_first(thorax, side, self.name, draws.image_id, draws.seed)
        return spread(later, extent, VEIL) * nearness(thorax, side)

    def shift_cm(self, extent: float, draws: Draws) -> float:
        return LARGEST_SHIFT_CM * extent * draws.choice("moved", (1.0, -1.0, 0.0), (0.4, 0.4, 0.2))
