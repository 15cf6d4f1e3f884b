"""What do too few or too many photons do, the wrong window, the wrong tube voltage?

On a digital system the display is fitted to the histogram, so underexposure shows as noise and hardly as brightness;
on a system with a fixed window (and on film) it shows as a light, overexposure as a dark image. Both are here. Noise
is that of the pixels the film comes with: a film already reduced to 256 pixels averages so many detector elements
that a realistic loss of exposure is nearly invisible on it. The stress track uses photon numbers no hospital would
accept, in order to find where a classifier breaks.

The deviation index of IEC 62494-1 is DI = 10 log10(exposure / target): -3 is half of it.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from robustness.content_cache import remembered
from robustness.draws import Draws, Source
from robustness.filters import gaussian_blur, gaussian_kernel
from robustness.perturbation import Level, Perturbation, register
from robustness.pointwise import root
from robustness.quantum_noise import added_quantum_noise, poisson
from robustness.radiograph import DT, Radiograph, attenuation_of
from robustness.scatter import scatter
from robustness.tone_curve import TissueCurve

DETECTOR_BLUR_MM = 0.15
"""Sigma of the detector's point spread (CsI); it correlates noise only where pixels are finer than it."""

STRESS_SIDE = 256
"""Photon numbers of the stress track are per pixel of a film whose shorter side has this many."""

ENERGIES = (45.0, 50.0, 60.0, 70.0)
LUNG_CONTRAST = (0.1930, 0.1793, 0.1621, 0.1515)
"""mu of consolidated minus inflated lung, per cm, at ENERGIES (keV)."""
BONE_CONTRAST = (0.7170, 0.5596, 0.3808, 0.2870)
"""mu of cortical bone minus soft tissue, per cm, at ENERGIES (keV)."""


def deviation_index(dose: float) -> str:
    """The deviation index of an exposure, the target having been met by the film."""
    return f"DI {10.0 * math.log10(dose):+.1f}"


def detector_noise(film: Tensor, draws: Draws, pitch_mm: float) -> Tensor:
    """(H, W) standard normal numbers, correlated by the detector's blur where pixels are fine enough to show it.

    Of a film that was averaged down they are what is left of those of the pixels it was stored with: of the same power
    at every frequency that pixels of both sizes show. Blurred noise keeps its variance (averaging over less than its
    width takes nothing of it), white noise loses what averaging takes.

    Every severity of a film has the same; they are remembered for the next, and not to be changed in place.
    """
    return _detector_noise(draws.source, film.shape, pitch_mm, draws.finer)


@remembered(2, "drawn")
def _detector_noise(source: Source, shape: torch.Size, pitch_mm: float, finer: float) -> Tensor:
    noise = source.draws.normals("quantum noise", *shape)
    if is_blurred(pitch_mm):
        noise = gaussian_blur(noise, DETECTOR_BLUR_MM / pitch_mm).div_(_left_by_blur(pitch_mm))
    if finer == 1.0:
        return noise
    stored_mm = pitch_mm / finer
    # Noise of low frequency per area is that of a pixel over what the blur leaves of it, times the pixel's side.
    return noise.mul_((stored_mm / _left_by_blur(stored_mm)) / (pitch_mm / _left_by_blur(pitch_mm)))


def _left_by_blur(pitch_mm: float) -> float:
    """Standard deviation that the detector's blur leaves of white noise of pixels: along each axis sum(k^2) of it."""
    return float(gaussian_kernel(DETECTOR_BLUR_MM / pitch_mm).square().sum()) if is_blurred(pitch_mm) else 1.0


def is_blurred(pitch_mm: float) -> bool:
    """Whether pixels are so fine that the detector's blur correlates the noise of neighbours."""
    return DETECTOR_BLUR_MM / pitch_mm >= 0.4


@register
class Underexposure(Perturbation):
    """Fewer photons on a system that fits its window: noise, most of it in the mediastinum and under the diaphragm.

    dose: exposure as a fraction of what the film had (DI -3, -6, -9, -12, -15).

    Formula: I' = I + sqrt(I Iv (1 / dose - 1) / N) z, shown as -ln I' in a fitted window; Iv the typical intensity, N =
    30 174 x 0.6 x 2.5 uGy x pixel area in mm^2 the photons of a pixel there, z normal, blurred by 0.15 mm.
    Kept: anatomy, contrast, mean brightness; the noise that the film has already.
    Not modelled: read-out noise (see electronic_noise), a change of scatter, processing that smooths noise.
    """

    name = "underexposure"
    family = "exposure"
    version = 5
    revision = 2
    source = "IEC 62494-1; photon statistics with 30 174 photons/mm^2/uGy, DQE 0.6, 2.5 uGy behind the lung"
    levels = tuple({"dose": dose} for dose in (0.5, 0.25, 0.125, 0.062, 0.031))
    units: ClassVar = {"dose": "{} of the exposure"}

    @classmethod
    def reading(cls, level: Level) -> str:
        return deviation_index(level["dose"])

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        radiograph = Radiograph.of(film, draws)
        intensity = radiograph.intensity
        pitch = self.pitch_mm(film)
        noise, typical, counts = (
            detector_noise(film, draws, pitch),
            radiograph.typical_intensity,
            radiograph.counts(pitch),
        )

        def noisy(rows: slice) -> Tensor:
            return added_quantum_noise(intensity[rows], typical, counts, level["dose"], noise[rows])

        return radiograph.display_auto(noisy)


@register
class UnderexposureStress(Perturbation):
    """Photon noise far beyond practice, window fitted: a stress test, not a film anybody would read.

    On a linear tone curve that is noise of 85 / sqrt(photons) of 255 grey levels where the film is typical. At severity
    5 films of the phantom have 4.7 in the lungs, 5.5 where they are typical and 8 behind spine and diaphragm, on
    anatomy of a hundred: it is seen there first, and hardly on the lungs of a small picture. Few photons in pixels of
    0.9 mm are the 120th part of a usual exposure; that it shows so little is the physics of large pixels.

    photons: detected per pixel of a film with a shorter side of 256 pixels, where the intensity is typical of the
    chest.

    Formula: I' = Poisson(photons I / Iv) Iv / photons, shown as -ln I' in a fitted window; Iv the typical intensity.
    Kept: anatomy, mean brightness; noise per area, whatever the size of the film's pixels.
    Not modelled: blur of the noise by the detector, read-out noise; a film that anybody would take.
    """

    name = "underexposure_stress"
    display = "extreme underexposure"
    native = "photons are counted pixel by pixel, and what black and white cut off of them does not average out"
    presets = ("quick", "standard")
    family = "exposure"
    version = 4
    revision = 2
    source = "Poisson statistics; PneumoniaMNIST-C's shot noise (300 to 80 photons at 224 pixels) is of this order"
    levels = tuple({"photons": photons} for photons in (5000, 2500, 1200, 600, 300))
    units: ClassVar = {"photons": "{} photons per pixel"}

    @classmethod
    def reading(cls, level: Level) -> str:
        return f"noise of {255.0 / DT / math.sqrt(level['photons']):.1f} of 255 grey levels where the film is typical"

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        radiograph = Radiograph.of(film, draws)
        intensity = radiograph.intensity
        photons = level["photons"] * (STRESS_SIDE / min(film.shape)) ** 2
        per_intensity = photons / radiograph.typical_intensity
        noise = draws.remembered_normals("quantum noise", *film.shape)
        return radiograph.display_auto(
            lambda rows: poisson(intensity[rows] * per_intensity, noise[rows]).clamp_min_(0.5).div_(per_intensity)
        )


@register
class UnderexposureFixedWindow(Perturbation):
    """Too little exposure on film or with a fixed window: light and noisy, the mediastinum runs into white.

    dose: exposure as a fraction; 0.25 lifts the grey value by 118 of 255 on a linear tone curve.

    Formula: t' = -ln(I + noise) - ln(dose), noise as in underexposure, in the film's own window of 3.0 in attenuation.
    Kept: window and tone curve, anatomy.
    Not modelled: toe and shoulder of an emulsion.
    """

    name = "underexposure_fixed_window"
    display = "underexposure in a fixed window"
    presets = ("quick", "standard")
    family = "exposure"
    version = 6
    revision = 2
    source = "t -> t - ln(dose) on a fixed display window of 3.0 in attenuation"
    levels = tuple({"dose": dose} for dose in (0.80, 0.65, 0.50, 0.35, 0.25))
    units: ClassVar = {"dose": "{} of the exposure"}

    @classmethod
    def reading(cls, level: Level) -> str:
        return f"{deviation_index(level['dose'])}, {-255.0 * math.log(level['dose']) / DT:+.0f} of 255 grey levels"

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        radiograph = Radiograph.of(film, draws)
        pitch = self.pitch_mm(film)
        noise = detector_noise(film, draws, pitch)
        counts, typical = radiograph.counts(pitch), radiograph.typical_intensity

        def lighter(rows: slice) -> Tensor:
            noisy = added_quantum_noise(radiograph.intensity[rows], typical, counts, level["dose"], noise[rows])
            return attenuation_of(noisy).sub_(math.log(level["dose"]))

        return radiograph.display_rows(lighter)


@register
class OverexposureFixedWindow(TissueCurve):
    """Too much exposure on film or with a fixed window: dark, the lungs run into black. Its noise does not show.

    dose: exposure as a multiple.

    Formula: t' = t - ln(dose) in the film's own window of 3.0 in attenuation.
    Kept: window and tone curve, anatomy, noise (less of it cannot be taken off a film).
    Not modelled: toe and shoulder of an emulsion, saturation of a detector.
    """

    name = "overexposure_fixed_window"
    display = "overexposure in a fixed window"
    family = "exposure"
    version = 5
    revision = 1
    source = "t -> t - ln(dose) on a fixed display window of 3.0 in attenuation"
    levels = tuple({"dose": dose} for dose in (1.25, 1.6, 2.0, 3.0, 4.0))
    units: ClassVar = {"dose": "{} times the exposure"}

    @classmethod
    def reading(cls, level: Level) -> str:
        return f"{deviation_index(level['dose'])}, {-255.0 * math.log(level['dose']) / DT:+.0f} of 255 grey levels"

    def curve(self, grey: Tensor, level: Level, radiograph: Radiograph) -> Tensor:
        return radiograph.toned(radiograph.line(grey).sub_(math.log(level["dose"]) / DT))


@register
class TubeVoltage(Perturbation):
    """Higher tube voltage: bone fades first, then soft tissue; the mean level is kept by exposure control.

    kev: effective energy in keV, the film being taken at 45 keV (60-70 kVp, child). Bone is estimated as what stands
    out of its surroundings (1 cm) on the white side; it fades with mu(bone - soft), the rest with mu(consolidated -
    inflated lung), both interpolated in log energy.

    Formula: t' = c_lung t + (c_bone - c_lung) b + (1 - c_lung) t_typical; c the contrast left of that at 45 keV, b the
    bone.
    Kept: typical attenuation, window, noise, scatter.
    Not modelled: more scatter and less dose at a higher voltage, beam hardening; which kVp gives an effective energy
    depends on filter and patient (45 keV are 60 to 70 kVp of a child), so none is told.
    """

    name = "tube_voltage"
    family = "exposure"
    version = 3
    revision = 1
    source = "attenuation coefficients of NIST XCOM / xraylib, 45 to 70 keV"
    levels = tuple({"kev": kev} for kev in (50.0, 55.0, 60.0, 65.0, 70.0))
    units: ClassVar = {"kev": "{} keV effective"}

    @classmethod
    def reading(cls, level: Level) -> str:
        left = (contrast_at(level["kev"], table) for table in (LUNG_CONTRAST, BONE_CONTRAST))
        return "contrast of lung x {:.2f}, of bone x {:.2f}".format(*left)

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        radiograph = Radiograph.of(film, draws)
        attenuation = radiograph.attenuation
        middle, around = radiograph.typical_attenuation, _surroundings(radiograph, 10.0 / self.pitch_mm(film) / 2.0)
        lung_left, bone_left = (contrast_at(level["kev"], table) for table in (LUNG_CONTRAST, BONE_CONTRAST))

        def changed(rows: slice) -> Tensor:
            bone = (attenuation[rows] - around[rows]).clamp_min_(0.0)
            left = (attenuation[rows] * lung_left).add_(bone, alpha=bone_left - lung_left)
            return left.add_(middle * (1.0 - lung_left))

        return radiograph.display_rows(changed)


@remembered(2, "around")
def _surroundings(radiograph: Radiograph, sigma: float) -> Tensor:
    """(H, W) blurred attenuation, the same for every severity."""
    return gaussian_blur(radiograph.attenuation, sigma)


def contrast_at(kev: float, contrast: tuple[float, ...]) -> float:
    """Contrast at an energy as a fraction of that at 45 keV; log-log interpolation of a table over ENERGIES."""
    for low, high, left, right in zip(ENERGIES, ENERGIES[1:], contrast, contrast[1:], strict=False):
        if low <= kev <= high:
            share = math.log(kev / low) / math.log(high / low)
            return float(left ** (1.0 - share) * right**share / contrast[0])
    raise ValueError(f"{kev} keV is outside {ENERGIES[0]} to {ENERGIES[-1]} keV")


@register
class ElectronicNoise(Perturbation):
    """Read-out noise of the detector on a film taken with a quarter of its exposure (at full exposure it is invisible).

    sigma: standard deviation in units of the square root of the photon number at full exposure.
    dose: exposure as a fraction.

    Formula: I' = I + photon noise of underexposure + sigma Iv / (dose sqrt(N)) z.
    Kept: exposure, anatomy, mean brightness.
    Not modelled: fixed patterns, lines, defective pixels.
    """

    name = "electronic_noise"
    native = "photons are counted pixel by pixel, and what black and white cut off of them does not average out"
    family = "exposure"
    version = 4
    revision = 2
    source = "additive Gaussian read-out noise, independent of the signal"
    levels = tuple({"sigma": sigma, "dose": 0.25} for sigma in (0.3, 0.6, 1.0, 1.5, 2.0))
    units: ClassVar = {"sigma": "read-out noise {} of the photon noise at full exposure", "dose": "{} of the exposure"}

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        radiograph = Radiograph.of(film, draws)
        intensity = radiograph.intensity
        pitch = self.pitch_mm(film)
        counts = radiograph.counts(pitch)
        typical = radiograph.typical_intensity
        spread = level["sigma"] * typical / (level["dose"] * math.sqrt(counts))
        electronic = draws.remembered_normals("electronic noise", *film.shape)
        quantum = detector_noise(film, draws, pitch) if is_blurred(pitch) else None
        # A detector clips at zero signal; half a photon stands for it before the logarithm.
        least = 0.5 * typical / (level["dose"] * counts)

        def noisy(rows: slice) -> Tensor:
            if quantum is not None:
                grainy = added_quantum_noise(intensity[rows], typical, counts, level["dose"], quantum[rows])
                return grainy.add_(electronic[rows], alpha=spread).clamp_min_(least)
            # The sum of two independent normal numbers is one, of the sum of their variances.
            variance = intensity[rows] * (typical / counts * (1.0 / level["dose"] - 1.0))
            both = root(variance.add_(spread**2), out=variance).mul_(electronic[rows])
            return both.add_(intensity[rows]).clamp_min_(least)

        return radiograph.display_auto(noisy)


@register
class BadPortable(Perturbation):
    """A poor bedside film: no grid, hence scatter, and too little exposure, window fitted.

    dose: exposure as a fraction. ratio: added scatter over primary. Scatter spreads over 3 to 6 cm, drawn per film.

    Formula: I' = I + ratio blur(I), then the noise of underexposure, shown in a fitted window.
    Kept: anatomy, mean brightness.
    Not modelled: position of the patient, magnification, motion.
    """

    name = "bad_portable"
    display = "poor portable film"
    family = "exposure"
    version = 5
    revision = 2
    source = "combination of the models of underexposure and scatter"
    levels = tuple(
        {"dose": dose, "ratio": ratio}
        for dose, ratio in ((0.5, 0.5), (0.35, 0.8), (0.25, 1.2), (0.18, 2.0), (0.12, 3.0))
    )
    units: ClassVar = {"dose": "{} of the exposure", "ratio": "scatter to primary {}"}

    SPREAD_CM: ClassVar[tuple[float, float]] = (3.0, 6.0)

    @classmethod
    def reading(cls, level: Level) -> str:
        return f"{deviation_index(level['dose'])}, contrast x {1.0 / (1.0 + level['ratio']):.2f}"

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        radiograph = Radiograph.of(film, draws)
        pitch = self.pitch_mm(film)
        sigma = 10.0 * draws.uniform("scatter spread in cm", *self.SPREAD_CM) / pitch
        intensity = scatter(radiograph, level["ratio"], sigma)
        noise, counts, typical = (
            detector_noise(film, draws, pitch),
            radiograph.counts(pitch),
            radiograph.typical(intensity),
        )

        def noisy(rows: slice) -> Tensor:
            return added_quantum_noise(intensity(rows), typical, counts, level["dose"], noise[rows]).clamp_min_(1e-6)

        return radiograph.display_auto(noisy)
