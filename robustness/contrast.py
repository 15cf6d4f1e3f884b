"""What takes contrast from a film? Scattered radiation, a wide window, a bent tone curve."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from robustness.draws import Draws
from robustness.perturbation import Level, Perturbation, register
from robustness.pointwise import power
from robustness.radiograph import Radiograph, attenuation_of
from robustness.scatter import scatter
from robustness.tone_curve import TissueCurve, ToneCurve


@register
class Scatter(Perturbation):
    """Scattered radiation without a grid: contrast falls to 1 / (1 + ratio), more in dense than in aerated regions.

    In floats the contrast of fine stripes on a uniform film is 0.456, 0.335 and 0.202 at ratios 1.2, 2 and 4, where
    1 / (1 + ratio) is 0.455, 0.333 and 0.200 (the rest is what the blur leaves of the stripes). Stored in 8 bit, a
    pattern of a few grey levels reads anything from 0 to 0.6, for it is rounded to none or one of them; over the noise
    of a film it is right again on average. On a film the ratio is that of the place, blur(I) / I times the typical one.

    ratio: added scatter over primary. It spreads over 3 to 6 cm (sigma, drawn per film); exposure control keeps the
    typical intensity, the window stays.

    Formula: I' = I + ratio blur(I), scaled to the typical intensity it had; contrast falls to I / (I + ratio blur(I)),
    where the film is uniform 1 / (1 + ratio).
    Kept: typical intensity, window, noise.
    Not modelled: noise of the scattered photons, scatter that the film has already, a kernel that depends on the place.
    """

    name = "scatter"
    presets = ("quick", "standard")
    family = "contrast"
    version = 3
    revision = 1
    source = "Niklason, Sorenson, Nelson 1981 (doi:10.1118/1.595027): without a grid 90 % scatter in the mediastinum"
    levels = tuple({"ratio": ratio} for ratio in (0.3, 0.7, 1.2, 2.0, 4.0))
    units: ClassVar = {"ratio": "scatter to primary {}"}

    @classmethod
    def reading(cls, level: Level) -> str:
        return f"contrast x {1.0 / (1.0 + level['ratio']):.3f}"

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        radiograph = Radiograph.of(film, draws)
        sigma = 10.0 * draws.uniform("scatter spread in cm", 3.0, 6.0) / self.pitch_mm(film)
        scattered = scatter(radiograph, level["ratio"], sigma)
        return radiograph.display_rows(lambda rows: attenuation_of(scattered(rows)))


@register
class WindowWidening(TissueCurve):
    """A display window that is too wide, centred on the typical grey value of the chest.

    width: window width over the right one; contrast is its reciprocal (0.83, 0.67, 0.53, 0.40, 0.30).

    Formula: g' = c + (g - c) / width, c the typical grey value.
    Kept: typical grey value, noise relative to the anatomy.
    Not modelled: sigmoid windows.
    """

    name = "window_widening"
    family = "contrast"
    version = 3
    revision = 1
    source = "linear window of DICOM PS3.3 C.11.2"
    levels = tuple({"width": width} for width in (1.2, 1.5, 1.9, 2.5, 3.3))
    units: ClassVar = {"width": "window {} times as wide"}

    @classmethod
    def reading(cls, level: Level) -> str:
        return f"contrast x {1.0 / level['width']:.2f}"

    def curve(self, grey: Tensor, level: Level, radiograph: Radiograph) -> Tensor:
        centre = radiograph.typical_grey
        return (grey - centre).div_(level["width"]).add_(centre)


@register
class GammaLow(TissueCurve):
    """A tone curve that lifts: light and flat in dense regions.

    gamma: exponent on the grey value.

    Formula: g' = g ^ gamma.
    Kept: black and white, order of all grey values, raw beam.
    Not modelled: curves of vendors, which are sigmoid and depend on the histogram.
    """

    name = "gamma_low"
    display = "brightened mid-greys (gamma)"
    family = "contrast"
    version = 2
    revision = 1
    source = "power-law tone curve"
    levels = tuple({"gamma": gamma} for gamma in (0.85, 0.72, 0.60, 0.50, 0.40))
    units: ClassVar = {"gamma": "exponent {}"}

    # The raw beam stays black: lifting its noise to mid-grey is no tone curve of a radiograph.
    def curve(self, grey: Tensor, level: Level, radiograph: Radiograph) -> Tensor:
        return power(grey, level["gamma"])


@register
class GammaHigh(ToneCurve):
    """A tone curve that depresses: dark and flat in the lungs.

    gamma: exponent on the grey value.

    Formula: g' = g ^ gamma.
    Kept: black and white, order of all grey values, raw beam.
    Not modelled: curves of vendors, which are sigmoid and depend on the histogram.
    """

    name = "gamma_high"
    display = "darkened mid-greys (gamma)"
    family = "contrast"
    version = 3
    source = "power-law tone curve"
    levels = tuple({"gamma": gamma} for gamma in (1.18, 1.4, 1.7, 2.0, 2.5))
    units: ClassVar = {"gamma": "exponent {}"}

    def curve(self, grey: Tensor, level: Level) -> Tensor:
        return power(grey, level["gamma"])
