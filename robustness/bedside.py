"""What lies on, in and around a sick child? Leads, tubes, markers, collimation.

Attenuation at 60 keV: copper 14.3 / cm (0.1 mm of wire adds 0.14), lead letters about 3 in all, tubes by their barium
stripe. Lengths are in mm of the patient; see `Perturbation.pitch_mm`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from robustness.curves import Point, box_around, chords, smooth_curve, tube_chords
from robustness.draws import Draws
from robustness.filters import smoothstep
from robustness.perturbation import Level, Perturbation, register
from robustness.pointwise import in_bytes, power
from robustness.primitives.collimator import collimated
from robustness.primitives.ordering import places, taken
from robustness.radiograph import DT, tone
from robustness.raw_beam import beam_blocks

MU_COPPER = 1.43
"""Attenuation of copper per mm at 60 keV."""


def laid_over(film: Tensor, added: Tensor, draws: Draws, top: int = 0, left: int = 0) -> Tensor:
    """The film with attenuation (h, w) added from a row and column on, raw beam included: metal shows there too.

    It is 8 bit; most of it is as it was.
    """
    beam_blocks(film)  # only to refuse a film that shows no tissue
    gamma, inside = tone(draws), places(added)
    under = inside
    if added.shape != film.shape:
        under = (inside // added.shape[1] + top) * film.shape[1] + inside % added.shape[1] + left
    covered = power(taken(film, under), 1.0 / gamma)
    covered.add_(taken(added, inside), alpha=1.0 / DT).clamp_(0.0, 1.0)
    drawn = in_bytes(power(covered, gamma, out=covered)).reshape(-1)
    return in_bytes(film).reshape(-1).scatter_(0, under, drawn).reshape(film.shape)


def wire(film: Tensor, draws: Draws, label: str, *, clipped: bool) -> list[Point]:
    """A cable across the chest in gentle bends, off the film at its lower edge; no end of it lies free on the patient.

    It comes from an electrode beside the upper chest where it is clipped to one, else from beyond the film's side.
    """
    height, width = film.shape
    inward = draws.uniform(label + " inward", 0.10, 0.22) if clipped else -0.03
    side = draws.choice(label + " start side", (inward, 1.0 - inward))
    start = (draws.uniform(label + " start row", 0.10, 0.6), side)
    end = (draws.uniform(label + " end row", 1.02, 1.08), draws.uniform(label + " end column", 0.1, 0.9))
    points = [start]
    for knot in (1, 2, 3):
        share = knot / 4.0
        points.append(
            (
                start[0] + share * (end[0] - start[0]) + draws.uniform(f"{label} row {knot}", -0.07, 0.07),
                start[1] + share * (end[1] - start[1]) + draws.uniform(f"{label} column {knot}", -0.07, 0.07),
            )
        )
    points.append(end)
    return smooth_curve([(row * height, column * width) for row, column in points])


@register
class EcgLeads(Perturbation):
    """Monitoring leads: wires across the chest from round electrodes, or from beyond the film, to its lower edge.

    wires: how many. radius_mm: of a wire. copper_mm: copper a ray meets in the middle of a wire. electrodes: how many.
    electrode_mm: their radius.

    Formula: t' = t + 1.43 / mm x copper along the ray (60 keV); electrodes 0.25, their snaps 1.5.
    Kept: anatomy, window, noise; one tone curve per film.
    Not modelled: clips and plugs, scatter, leads drawn with real slack.
    """

    name = "ecg_leads"
    presets = ("quick", "standard")
    family = "bedside"
    version = 3
    source = "attenuation of copper (NIST XCOM); Sirazitdinov et al. 2022 (POTHER): leads as confounder"
    levels = tuple(
        {"wires": w, "radius_mm": r, "copper_mm": c, "electrodes": e, "electrode_mm": s}
        for w, r, c, e, s in (
            (1, 0.5, 0.05, 0, 5.0),
            (2, 0.6, 0.1, 1, 5.0),
            (3, 0.7, 0.2, 2, 6.0),
            (3, 0.8, 0.3, 3, 8.0),
            (5, 1.0, 0.5, 3, 10.0),
        )
    )
    units: ClassVar = {
        "wires": "wires: {}",
        "radius_mm": "radius {} mm",
        "copper_mm": "{} mm of copper",
        "electrodes": "electrodes: {}",
        "electrode_mm": "of {} mm radius",
    }

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        pitch = self.pitch_mm(film)
        clipped = level["electrodes"]
        wires = [wire(film, draws, f"wire {index}", clipped=index < clipped) for index in range(level["wires"])]
        radius = level["radius_mm"] / pitch
        path = chords(film.shape, [(points, radius) for points in wires], film.device)
        added = path.mul_(MU_COPPER * level["copper_mm"] / (2.0 * radius))
        for index in range(clipped):
            add_electrode(added, wires[index][0], level["electrode_mm"] / pitch)
        return laid_over(film, added, draws)


def add_electrode(added: Tensor, centre: Point, radius_px: float) -> None:
    """Add the attenuation of an adhesive electrode to (H, W): a faint disc with a dense snap in its middle."""
    box = box_around(tuple(added.shape), np.asarray([centre], dtype=np.float32), radius_px + 1.0)
    if box is None:
        return
    rows, columns = (torch.arange(part.start, part.stop, dtype=torch.float32, device=added.device) for part in box)
    distance = ((rows - centre[0])[:, None].square() + (columns - centre[1])[None].square()).sqrt()
    disc = 0.25 * smoothstep(radius_px - distance + 0.5)
    added[box] += disc + 1.5 * smoothstep(0.35 * radius_px - distance + 0.5)


@register
class Tubes(Perturbation):
    """Tubes and lines: feeding tube, nasogastric tube, endotracheal tube, central line, added in this order.

    feeding, gastric, tracheal, central: whether present (1) or not (0). stripe: attenuation of the radio-opaque stripe.
    Outer diameters 2 mm (feeding), 3.5 (gastric), 4.5 (tracheal), 1.5 (central); the wall adds a fifth of the stripe.

    Formula: t' = t + stripe along the marked line + stripe / 5 in the wall.
    Kept: anatomy, window, noise.
    Not modelled: tubes in a wrong place, holes, connectors.
    """

    name = "tubes"
    family = "bedside"
    version = 2
    source = "paediatric tube sizes; barium sulphate stripe with attenuation 0.2 to 0.6"
    levels = tuple(
        {"feeding": f, "gastric": g, "tracheal": t, "central": c, "stripe": s}
        for f, g, t, c, s in (
            (1, 0, 0, 0, 0.2),
            (0, 1, 0, 0, 0.35),
            (0, 1, 1, 0, 0.4),
            (0, 1, 1, 0, 0.55),
            (0, 1, 1, 1, 0.6),
        )
    )
    units: ClassVar = {
        "feeding": "feeding tube {}",
        "gastric": "gastric {}",
        "tracheal": "tracheal {}",
        "central": "central line {}",
        "stripe": "stripe {} in attenuation",
    }

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        pitch = self.pitch_mm(film)
        height, width = film.shape
        middle = width * draws.uniform("midline", 0.48, 0.52)
        sway = [width * draws.uniform(f"sway {knot}", -0.012, 0.012) for knot in range(5)]
        down = [(-0.05, 0.0), (0.25, sway[0]), (0.50, sway[1]), (0.72, sway[2] + 0.02 * width)]
        gastric = [*down, (0.88, 0.08 * width + sway[3])]
        tracheal = [(-0.05, 0.005 * width), (0.12, sway[4]), (0.28, sway[4] + 0.004 * width)]
        side = draws.choice("side of the line", (-1.0, 1.0))
        central = [(0.18, side * 0.28 * width), (0.16, side * 0.14 * width), (0.22, side * 0.04 * width)]
        central.append((0.42, side * 0.035 * width))
        added = torch.zeros_like(film)
        for present, route, diameter in (
            (level["feeding"], gastric, 2.0),
            (level["gastric"], gastric, 3.5),
            (level["tracheal"], tracheal, 4.5),
            (level["central"], central, 1.5),
        ):
            if present:
                points = smooth_curve([(row * height, middle + column) for row, column in route])
                add_tube(added, points, diameter / pitch, level["stripe"])
        return laid_over(film, added, draws)


def add_tube(added: Tensor, points: Sequence[Point], diameter_px: float, stripe: float) -> None:
    """Add the attenuation of a hollow tube with a radio-opaque stripe along its middle to (H, W)."""
    radii = (diameter_px / 2.0, diameter_px / 3.0, max(0.35, diameter_px / 10.0))
    box, (outer, inner, line) = tube_chords(tuple(added.shape), points, radii, added.device)
    wall = (outer - inner).clamp_min(0.0)
    if wall.numel():
        added[box] += 0.2 * stripe * wall / wall.max().clamp_min(1e-6) + stripe * line / line.max().clamp_min(1e-6)


@register
class Collimation(Perturbation):
    """Collimated too tightly: an unexposed black border on all four sides.

    border: share of the film's height and width lost on each side. Its edge is 1 to 3 pixels soft, drawn per film. At
    severity 5 the median film keeps 97 % (phantom), 99 % (children) or all (adults) of its lungs, one in ten less than
    89, 95 or 97 %: what is measured is the frame and not a missing organ.

    Formula: g' = g smooth(distance from the edge / softness), softness 1 to 3 pixels.
    Kept: grey values inside the field: the window is not fitted anew.
    Not modelled: fields off centre, turned or not rectangular, less scatter in a smaller field.
    """

    name = "collimation"
    family = "bedside"
    version = 3
    eight_bit = True
    source = "collimator shadow with the penumbra of the focal spot"
    levels = tuple({"border": border} for border in (0.02, 0.04, 0.06, 0.08, 0.10))
    units: ClassVar = {"border": "{} of each side"}

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        return collimated(film, level["border"], draws.uniform("softness", 1.0, 3.0))


@register
class Markers(Perturbation):
    """Lead letters in a corner of the film: L, R, PORTABLE or AP SUPINE.

    height: letter height as a share of the film's height. Lead adds 3 to the attenuation: white.

    Formula: t' = t + 3 under the letters.
    Kept: everything else.
    Not modelled: markers of a hospital's own shape, digital annotation, markers over the anatomy.
    """

    name = "markers"
    native = "letters are drawn on the pixels of the file"
    family = "bedside"
    version = 2
    source = "Zech et al. 2018 (doi:10.1371/journal.pmed.1002683): markers tell the hospital"
    levels = tuple({"height": height} for height in (0.02, 0.03, 0.04, 0.06, 0.08))
    units: ClassVar = {"height": "letters {} of the film's height"}

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        text = draws.choice("text", ("L", "R", "PORTABLE", "AP SUPINE"))
        letters = _letters(text, max(4, round(level["height"] * film.shape[0]))).to(film.device)
        height, width = letters.shape
        if width > film.shape[1] - 2:
            letters = letters[:, : film.shape[1] - 2]
            width = letters.shape[1]
        top = round((film.shape[0] - height) * draws.uniform("row", 0.03, 0.12))
        left = round((film.shape[1] - width) * draws.choice("column", (0.04, 0.96)))
        return laid_over(film, 3.0 * letters, draws, top, left)


@functools.lru_cache(maxsize=256)
def _letters(text: str, height: int) -> Tensor:
    """Coverage (h, w), 0 to 1, of a line of text whose capital letters are `height` pixels high."""
    font = ImageFont.load_default(round(height / 0.7))
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("L", (math.ceil(right - left) + 2, math.ceil(bottom - top) + 2))
    ImageDraw.Draw(image).text((1 - left, 1 - top), text, fill=255, font=font)
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255.0)
