"""What does a grid in the wrong place cut off? Primary radiation, unevenly; and a plate seen from behind.

Where the middle of the film loses radiation, its display keeps the typical attenuation where it was: a uniform loss
then shows as noise and as contrast lost to scatter, an uneven one as shading. Where the middle loses none, the
measuring field of the exposure control notices nothing and the sides get light.

Source: geometry of focused grids (IAEA, Diagnostic Radiology Physics, ch. 6); x-raygrid.com for how each case looks.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from robustness.antiscatter_grid import primary_transmission, scatter_ratio_map
from robustness.content_cache import remembered
from robustness.draws import Draws, Source
from robustness.exposure import detector_noise
from robustness.filters import centred, coordinates, smoothstep
from robustness.perturbation import Level, Perturbation, register
from robustness.pointwise import root
from robustness.radiograph import Radiograph, Rows, attenuation_of
from robustness.scatter import spread

RESIDUAL_SCATTER = 0.3
"""Scatter over primary that passes a grid in its place, where the film is typical."""


class _Cutoff(Perturbation):
    """A focused grid out of place; lamellae run along the film's height three times in four, else across.

    Formula: T = max(0, 1 - r |(x - b) / f1 - x / f0 + tan(tilt)|), I' = I (S + T) / (S + 1) and the noise of the
    photons lost; S the scatter to primary behind the grid, 0.3 where typical.
    Kept: scatter, anatomy, tone curve. The beam beside the patient is cut off as the rest.
    Not modelled: lines of the grid, absorption of scatter by a grid out of place, exposure control with several fields.
    """

    version = 6
    revision = 1
    units: ClassVar = {
        "off_centre_cm": "{} cm off centre",
        "tilt_deg": "tilted {} degrees",
        "source_cm": "tube at {} cm, focus 100 cm",
        "ratio": "grid ratio {}:1",
        "upside_down": "",
    }

    RATIOS: ClassVar = (6.0, 8.0, 10.0, 12.0)
    midline_loses: ClassVar[bool] = True

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        radiograph = Radiograph.of(film, draws)
        intensity = radiograph.intensity
        pitch = self.pitch_mm(film)
        rows, columns = coordinates(film)
        across = columns if draws.choice("lamellae", ("height", "width"), (0.75, 0.25)) == "height" else rows
        ratio = level.get("ratio") or draws.choice("grid ratio", self.RATIOS)
        side = draws.choice("side", (-1.0, 1.0))
        transmitted = primary_transmission(
            side * across * pitch / 10.0,
            ratio,
            off_centre_cm=level.get("off_centre_cm", 0.0),
            tilt_deg=level.get("tilt_deg", 0.0),
            source_cm=level.get("source_cm", 100.0),
            upside_down=level.get("upside_down", False),
        )
        scattered = scatter_ratio_map(radiograph, RESIDUAL_SCATTER, pitch)
        transmitted = transmitted.expand(film.shape)
        noise, a_photon = detector_noise(film, draws, pitch), radiograph.typical_intensity / radiograph.counts(pitch)

        def cut(rows: slice) -> Tensor:
            kept = (scattered[rows] + transmitted[rows]).div_(scattered[rows] + 1.0)
            # Noise of the photons that are left, less the noise the film already shows (now scaled by `kept`).
            left = intensity[rows] * kept
            missing = (1.0 - kept).mul_(left).mul_(a_photon)
            return left.add_(root(missing, out=missing).mul_(noise[rows])).clamp_min_(1e-6)

        return self.shown(radiograph, cut)

    def shown(self, radiograph: Radiograph, cut: Rows) -> Tensor:
        """Display what is left of the intensity (H, W).

        The beam beside the patient is cut off too. Held as it was, the blackest part of it would stand as a jagged rim
        beside the rest, which gets lighter.
        """
        if self.midline_loses:
            return radiograph.display_shifted(cut, spared=False)
        return radiograph.display_rows(lambda rows: attenuation_of(cut(rows)), spared=False)


@register
class GridOffCentre(_Cutoff):
    """The tube beside the grid's midline: primary is lost evenly, scatter stays.

    off_centre_cm: lateral distance in cm. The grid ratio is drawn per film from 6, 8, 10, 12; focus 100 cm.
    """

    name = "grid_off_centre"
    rank = 1
    family = "grid"
    source = "focused-grid geometry"
    levels = tuple({"off_centre_cm": value} for value in (1.0, 2.0, 3.0, 5.0, 7.0))


@register
class GridTilt(_Cutoff):
    """The grid tilted against the beam: primary is lost evenly, scatter stays.

    tilt_deg: degrees. The grid ratio is drawn per film from 6, 8, 10, 12; focus 100 cm.
    """

    name = "grid_tilt"
    rank = 1
    family = "grid"
    source = "focused-grid geometry"
    levels = tuple({"tilt_deg": value} for value in (0.5, 1.0, 2.0, 3.0, 4.0))


@register
class GridOffFocus(_Cutoff):
    """The tube too far away for the grid: both sides of the film get too little.

    source_cm: distance of the tube in cm, the grid's focus being 100 cm. Ratio drawn per film from 6, 8, 10, 12.
    """

    name = "grid_off_focus"
    rank = 1
    family = "grid"
    midline_loses = False
    source = "focused-grid geometry"
    levels = tuple({"source_cm": value} for value in (110.0, 120.0, 130.0, 140.0, 160.0))


@register
class GridCutoff(_Cutoff):
    """Off-centre, tilted and off-focus at once: one side of the film dark, the other light.

    off_centre_cm, tilt_deg, source_cm: as in the single ones.
    """

    name = "grid_cutoff"
    family = "grid"
    source = "focused-grid geometry"
    levels = tuple(
        {"off_centre_cm": b, "tilt_deg": tilt, "source_cm": f1}
        for b, tilt, f1 in (
            (1.0, 0.5, 110.0),
            (2.0, 1.0, 120.0),
            (3.0, 2.0, 130.0),
            (5.0, 3.0, 140.0),
            (7.0, 4.0, 160.0),
        )
    )


@register
class GridUpsideDown(_Cutoff):
    """A focused grid put in upside down: the midline exposed, both sides cut.

    Beyond 50 cm / ratio from the midline no primary is left. The detector fits its window to what remains (with a
    window of the original film the sides would be plain white), so the sides are pale and flat, the midline dark. The
    beam beside the patient is cut off as well and turns as pale as the sides.

    ratio: grid ratio. Grids have 4 to 16, so severity 5 is the weakest real one and the others lead up to it. With a
    higher ratio the exposed strip gets narrower but a fitted film does not change more (on 25 of 104 films less).

    Formula: as grid_cutoff with T = max(0, 1 - 2 r |x| / f0), f0 = 100 cm, in a fitted window.
    """

    name = "grid_upside_down"
    rank = 1
    family = "grid"
    version = 6
    source = "focused-grid geometry with s = -1"
    levels = tuple({"ratio": ratio, "upside_down": True} for ratio in (1.0, 1.75, 2.5, 3.25, 4.0))

    @classmethod
    def reading(cls, level: Level) -> str:
        return f"no primary beyond {50.0 / level['ratio']:.1f} cm from the midline"

    def shown(self, radiograph: Radiograph, cut: Rows) -> Tensor:
        return radiograph.display_auto(cut, spared=False)


@register
class BackscatterGhost(Perturbation):
    """Radiation scattered back from behind the detector draws its frame and electronics, blurred, onto the film.

    amplitude: of the intensity in the neighbourhood (1 cm).

    Formula: I' = I + amplitude blur(I) pattern, blur over 1 cm, pattern 0 to 1.
    Kept: window, noise, anatomy.
    Not modelled: the drawing of a real detector's electronics: boards lie at random.
    """

    name = "backscatter_ghost"
    rank = 1
    family = "grid"
    version = 3
    revision = 1
    source = "backscatter of portable detectors without lead backing"
    levels = tuple({"amplitude": value} for value in (0.01, 0.02, 0.04, 0.06, 0.10))
    units: ClassVar = {"amplitude": "{} of the intensity nearby"}

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        radiograph = Radiograph.of(film, draws)
        intensity = radiograph.intensity
        pitch = self.pitch_mm(film)
        nearby = spread(radiograph, 10.0 / pitch)
        pattern = plate_pattern(draws.source, film.shape, pitch)

        def added(rows: slice) -> Tensor:
            return attenuation_of((level["amplitude"] * nearby[rows]).mul_(pattern[rows]).add_(intensity[rows]))

        return radiograph.display_rows(added)


@remembered(2, "drawn")
def plate_pattern(source: Source, shape: torch.Size, pitch_mm: float) -> Tensor:
    """(H, W) between 0 and 1: a frame and a few boards and ribs of random place, edges 3 mm soft."""
    draws, (rows, columns) = source.draws, centred(shape[0], shape[1], source.device)
    height, width = (side * pitch_mm / 10.0 for side in shape)
    pattern = torch.zeros(shape, device=source.device)
    for board in range(6):
        tall = draws.uniform(f"height {board}", 1.0, 0.45 * height)
        wide = draws.uniform(f"width {board}", 0.8, 0.35 * width)
        top = draws.uniform(f"row {board}", -0.5 * height, 0.5 * height)
        left = draws.uniform(f"column {board}", -0.5 * width, 0.5 * width)
        weight = draws.uniform(f"weight {board}", 0.3, 0.7)
        pattern += weight * _plateau(rows, top, tall, pitch_mm) * _plateau(columns, left, wide, pitch_mm)
    return pattern.clamp_max_(1.0)


def _plateau(position: Tensor, centre_cm: float, size_cm: float, pitch_mm: float) -> Tensor:
    """1 inside an interval, 0 outside, 3 mm soft."""
    inside_mm = 5.0 * size_cm - (position * pitch_mm - 10.0 * centre_cm).abs()
    return smoothstep(inside_mm / 3.0 + 0.5)
