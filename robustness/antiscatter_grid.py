"""What does an anti-scatter grid leave on a film? Its lines, their aliases, the shadows of a misplaced one.

A grid of f lines/mm sampled with pixel pitch p shows stripes of frequency ``|f - n / p|``, n the nearest integer to f
p. Most of them die in an antialiased reduction to the input of a classifier; what is left is low-frequency moire and
the shading of cutoff. `grid_lines` takes real pairs of grid and pitch through the reduction to the film's own pixels;
`grid_stripes` puts stripes at the frequencies a classifier with 224 pixels can still see.

Lines are a fraction of the primary radiation, so behind the mediastinum, where most radiation is scattered, they fade.

Sources: aliasing and the Fourier series of a bar pattern; Lin et al. 2006 (PMC3045157) on moire being confined to a
narrow band; Rana et al. (nihms864608) on stationary grids and fine pixels.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from robustness.content_cache import remembered
from robustness.draws import Draws
from robustness.filters import coordinates
from robustness.perturbation import Level, Perturbation, register
from robustness.pointwise import log, sine
from robustness.radiograph import Radiograph, Rows
from robustness.scatter import local_mean

SCATTER_SIGMA_CM = 4.0
MODEL_SIDE = 255
"""Periods "at the classifier's input" are pixels of a film resized to this shorter side, as published recipes do."""

STRIP_MM = {4.0: 0.045, 5.2: 0.040, 6.0: 0.036, 7.0: 0.036}
"""Lead strip thickness of a grid by its lines per mm."""
DETECTOR_MTF = {4.0: 0.25, 5.2: 0.144, 6.0: 0.10, 7.0: 0.06}
"""Modulation a CsI detector leaves at the grid's frequency (lines per mm)."""


def alias_frequency(lines_per_mm: float, pitch_mm: float) -> float:
    """Frequency (line pairs per mm) at which a grid shows after sampling with a pixel pitch."""
    sampling = 1.0 / pitch_mm
    return abs(lines_per_mm - round(lines_per_mm / sampling) * sampling)


def line_amplitude(lines_per_mm: float, scatter_ratio: float) -> float:
    """Amplitude of the fundamental of a grid's lines as a fraction of the local intensity.

    ``2 sin(pi D f) / pi / (1 - D f) * MTF(f) / (1 + SPR)`` with D the strip thickness and SPR the scatter-to-primary
    ratio behind the grid.
    """
    filled = STRIP_MM[lines_per_mm] * lines_per_mm
    fundamental = 2.0 * math.sin(math.pi * filled) / math.pi / (1.0 - filled)
    return fundamental * DETECTOR_MTF[lines_per_mm] / (1.0 + scatter_ratio)


def primary_transmission(
    offset_cm: Tensor,
    ratio: float,
    *,
    off_centre_cm: float = 0.0,
    tilt_deg: float = 0.0,
    source_cm: float = 100.0,
    focus_cm: float = 100.0,
    upside_down: bool = False,
) -> Tensor:
    """Share of the primary radiation a focused grid lets through.

    ``max(0, 1 - ratio * |(x - b) / f1 - s x / f0 + tan(tilt)|)``, s = -1 for a grid put in upside down.

    Args:
        offset_cm: x, distance from the grid's midline across the lamellae, any shape.
        ratio: grid ratio r, strip height over interspace.
        off_centre_cm: b, lateral distance of the tube from the midline.
        tilt_deg: angle between the central ray and the grid's normal.
        source_cm: f1, distance of the tube.
        focus_cm: f0, distance for which the grid was made.
        upside_down: tube side and detector side exchanged.
    """
    sign = -1.0 if upside_down else 1.0
    lean = (offset_cm - off_centre_cm) / source_cm - sign * offset_cm / focus_cm + math.tan(math.radians(tilt_deg))
    return (1.0 - ratio * lean.abs()).clamp_min(0.0)


@remembered(2, "around")
def scatter_ratio_map(radiograph: Radiograph, typical_ratio: float, pitch_mm: float) -> Tensor:
    """(H, W) scatter-to-primary ratio, `typical_ratio` where the film is typical, higher behind dense regions."""
    return _scatter_ratios(radiograph, typical_ratio, pitch_mm)


@remembered(2, "around")
def _dilution(radiograph: Radiograph, pitch_mm: float) -> Tensor:
    """(H, W) all radiation over primary, 1.5 where the film is typical; the same for every severity."""
    return _scatter_ratios(radiograph, 0.5, pitch_mm).add_(1.0)


def _scatter_ratios(radiograph: Radiograph, typical_ratio: float, pitch_mm: float) -> Tensor:
    intensity = radiograph.intensity
    relative = local_mean(radiograph, intensity, 10.0 * SCATTER_SIGMA_CM / pitch_mm) / intensity
    return relative.mul_(typical_ratio / radiograph.typical(relative))


def stripe_phase(film: Tensor, draws: Draws, cycles_per_pixel: float, axis: str) -> Rows:
    """Phase in radians, by rows, of slightly curved, slightly tilted stripes.

    Args:
        film: gives the shape.
        draws: tilt N(0, 0.1 degree), curvature U(-0.03, 0.03) at the corner, phase U(0, 2 pi).
        cycles_per_pixel: frequency at the centre of the film.
        axis: "vertical" stripes, "horizontal" ones, or "oblique" (up to 10 degrees off vertical).
    """
    rows, columns = coordinates(film)
    angle = math.radians(0.1 * draws.normal("tilt"))
    if axis == "oblique":
        angle += math.radians(draws.uniform("oblique angle", -10.0, 10.0))
    if axis == "horizontal":
        angle += math.pi / 2.0
    turns = 2.0 * math.pi * cycles_per_pixel
    across, down = columns * (turns * math.cos(angle)), rows * (turns * math.sin(angle))
    corner = film.shape[0] ** 2 / 4.0 + film.shape[1] ** 2 / 4.0
    curvature = draws.uniform("curvature", -0.03, 0.03) / corner
    bend_down, bend_across = 1.0 + curvature * rows**2, curvature * columns**2
    start = draws.uniform("phase", 0.0, 2.0 * math.pi)
    return lambda some: (across + down[some]).mul_(bend_down[some] + bend_across).add_(start)


def modulated(radiograph: Radiograph, amplitude: float, pattern: Rows, pitch_mm: float) -> Tensor:
    """Multiply the intensity by 1 + amplitude * pattern, weaker where scatter dominates, and display it."""
    diluted = _dilution(radiograph, pitch_mm)
    attenuation = radiograph.attenuation

    def changed(rows: slice) -> Tensor:
        change = pattern(rows).mul_(1.5 * amplitude).div_(diluted[rows]).add_(1.0).clamp_min_(0.05)
        return torch.sub(attenuation[rows], log(change, out=change), out=change)

    return radiograph.display_rows(changed)


class _Stripes(Perturbation):
    """Sinusoidal stripes with a period that is given in pixels of the classifier's input.

    Formula: I' = I (1 + A 1.5 / (1 + s) sin(2 pi x / period)), s the scatter-to-primary ratio of the place, 0.5 where
    typical.
    Kept: mean intensity, window, noise.
    Not modelled: harmonics, breaks of the lines where detector panels meet, suppression of grid lines by the vendor.
    """

    version = 3
    revision = 1
    units: ClassVar = {
        "amplitude": "{} of the intensity",
        "period": "period {} pixels of a 255-pixel film",
        "crossed": "crossed with probability {}",
    }

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        pattern = self.pattern(film, level, draws)
        return modulated(Radiograph.of(film, draws), level["amplitude"], pattern, self.pitch_mm(film))

    def pattern(self, film: Tensor, level: Level, draws: Draws) -> Rows:
        """Stripes between -1 and 1, by rows."""
        period = draws.uniform("period", *level["period"]) * min(film.shape) / MODEL_SIDE
        axis = draws.choice("axis", ("vertical", "horizontal", "oblique"), (0.68, 0.27, 0.05))
        stripes = stripes_of(stripe_phase(film, draws, 1.0 / period, axis))
        if draws.uniform("crossed") >= level["crossed"]:
            return stripes
        others = "vertical" if axis == "horizontal" else "horizontal"
        across = stripes_of(stripe_phase(film, draws, 1.0 / period, others))
        return lambda rows: stripes(rows).add_(across(rows)).mul_(0.5)


def stripes_of(phase: Rows) -> Rows:
    """Stripes between -1 and 1 of that phase in radians."""

    def stripes(rows: slice) -> Tensor:
        turned = phase(rows)
        return sine(turned, out=turned)

    return stripes


STRIPE_LEVELS = (
    (0.010, (2.2, 4.0), 0.00),
    (0.020, (2.5, 6.0), 0.05),
    (0.035, (3.0, 10.0), 0.10),
    (0.055, (4.0, 16.0), 0.15),
    (0.080, (5.0, 24.0), 0.20),
)


@register
class GridStripes(_Stripes):
    """Stripes or moire of a grid at frequencies that reach the classifier.

    amplitude: fraction of the intensity where the film is typical. period: pixels at the classifier's input, drawn per
    film from a range. crossed: probability of a second, perpendicular set.
    """

    name = "grid_stripes"
    presets = ("quick", "standard")
    family = "grid"
    source = "amplitudes of 40 to 70 lines/cm grids behind a CsI detector: 0.014 to 0.085 of the intensity"
    levels = tuple({"amplitude": a, "period": p, "crossed": c} for a, p, c in STRIPE_LEVELS)


@register
class GridCrossed(_Stripes):
    """Two perpendicular sets of stripes: a crossed grid, or a grid over a detector with its own.

    amplitude, period: as in grid_stripes. crossed: always.
    """

    name = "grid_crossed"
    family = "grid"
    source = "as grid_stripes"
    levels = tuple({"amplitude": a, "period": p, "crossed": 1.0} for a, p, _ in STRIPE_LEVELS)


@register
class GridLines(Perturbation):
    """Real grids on real detectors: lines sampled with the detector's pitch, then averaged to the film's pixels.

    What rises with severity is the amplitude, not what the eye makes of it: the alias of each pair has a period of its
    own (5.1, 3.5, 1.9, 5.0, 21 mm), and at 5 it is so wide that it reads as shading and looks fainter than 3 or 4. On
    films of 256 pixels the amplitudes left are 1.4, 1.8, 2.8, 3.7 and 4.2 % of the intensity; on finer ones 3 and 4 are
    equally strong, and a viewer that reduces the film makes aliases of its own.

    lines_per_mm and pitch_mm: grid and detector. scatter_ratio: scatter over primary behind the grid, which sets the
    amplitude. A film with pixels coarser than the detector's shows the alias reduced by sinc(f p) of its pixel.

    Formula: as grid_stripes with frequency |f - n / p| and A = 2 sin(pi D f) / pi / (1 - D f) MTF(f) / (1 + scatter
    ratio), D the strip's thickness, times sinc of the film's pixel.
    Kept: mean intensity, window, noise.
    Not modelled: harmonics, grids that move, suppression of grid lines by the vendor.
    """

    name = "grid_lines"
    family = "grid"
    version = 3
    revision = 1
    source = "stationary grids of 52 to 70 lines/cm and detector pitches of 0.139 to 0.2 mm"
    levels = tuple(
        {"lines_per_mm": lines, "pitch_mm": pitch, "scatter_ratio": ratio}
        for lines, pitch, ratio in (
            (7.0, 0.139, 1.5),
            (6.0, 0.175, 1.5),
            (5.2, 0.175, 0.8),
            (5.2, 0.2, 0.8),
            (6.0, 0.168, 0.2),
        )
    )
    units: ClassVar = {
        "lines_per_mm": "{} lines/mm",
        "pitch_mm": "detector pitch {} mm",
        "scatter_ratio": "scatter to primary {}",
    }

    @classmethod
    def reading(cls, level: Level) -> str:
        frequency = alias_frequency(level["lines_per_mm"], level["pitch_mm"])
        amplitude = 100.0 * line_amplitude(level["lines_per_mm"], level["scatter_ratio"])
        return f"alias {frequency:.2f} lp/mm, period {1.0 / frequency:.1f} mm, amplitude {amplitude:.1f} %"

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        pixel = self.pitch_mm(film)
        frequency = alias_frequency(level["lines_per_mm"], level["pitch_mm"])
        amplitude = line_amplitude(level["lines_per_mm"], level["scatter_ratio"])
        if pixel > level["pitch_mm"]:
            blur = math.pi * frequency * pixel
            amplitude *= abs(math.sin(blur) / blur)
        axis = draws.choice("axis", ("vertical", "horizontal"), (0.75, 0.25))
        stripes = stripes_of(stripe_phase(film, draws, frequency * pixel, axis))
        return modulated(Radiograph.of(film, draws), amplitude, stripes, pixel)
