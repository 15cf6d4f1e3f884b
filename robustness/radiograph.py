"""How does one come from grey values back to transmitted X-ray intensity, and forward again?

Display is modelled as ``g = ((t - T0) / DT) ** gamma`` with ``t = -ln(I / I0)`` the attenuation along the ray and
white = dense. A child's lung has t about 0.9, the mediastinum about 3.5 to 3.9, hence T0 = 0.9 and DT = 3.0 (an
adult: 1.5 and 4.0). The tone curve of a film is unknown; its exponent is drawn once per film from U(0.8, 1.25), the
same for every perturbation.

Sources: Beer-Lambert; IEC 62494-1 (exposure index); IEC 62220-1 (fluence at RQA5: 30 174 photons / mm^2 / uGy).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from robustness.content_cache import remembered
from robustness.draws import Draws
from robustness.filters import gaussian_blur, percentiles, resize
from robustness.perturbation import PerturbationUndefined
from robustness.pointwise import affine, exp, in_bytes, log, power
from robustness.primitives.ordering import columns_below, places, ranked, taken
from robustness.primitives.resampling import averaged
from robustness.primitives.strips import strips
from robustness.raw_beam import beam_blocks, blocks_of_changed, in_pixels

T0 = 0.9
DT = 3.0
GAMMA = (0.8, 1.25)
TISSUE = 1.0 - 1e-6
"""Weight from which on a pixel is tissue: that of a kernel that adds up to one but for its last digits."""
Rows = Callable[[slice], Tensor]
"""What gives those rows of an image (H, W), computed anew each time, to be changed in place."""

FLUENCE = 30_174.0
"""Photons per mm^2 and uGy of air kerma at RQA5."""
DQE = 0.6
KERMA_UGY = 2.5
"""Air kerma behind the lung at the exposure index a chest film aims at (EI 250)."""


@dataclass(frozen=True, eq=False)
class Radiograph:
    """A film with its attenuation, as the physics of exposure needs it; its images must not be changed in place.

    Attributes:
        film: (H, W) float32 in [0, 1], as displayed; or 8 bit, where no image is asked for that follows from it.
        blocks: raw beam or collimated, left alone, bool by blocks of 2 x 2 pixels; None where there is none.
        gamma: exponent of the tone curve.
        weight: (H, W) float32, 0 in the raw beam, 1 in tissue a few pixels off it; None where there is no raw beam.
        finer: pixels of the detector along each side of one of the film.
    """

    film: Tensor
    blocks: Tensor | None
    gamma: float
    weight: Tensor | None = None
    finer: float = 1.0

    @classmethod
    def of(cls, film: Tensor, draws: Draws) -> Radiograph:
        """Take a film back to attenuation.

        Raises:
            PerturbationUndefined: less than a tenth of the film is tissue, or it shows no contrast at all.
        """
        return _taken_back(film, tone(draws), draws.finer)

    @classmethod
    def of_changed(cls, film: Tensor, draws: Draws) -> Radiograph:
        """As `of`, for a film that is not asked about again: it takes the place of none that is remembered."""
        return _computed(film, blocks_of_changed(film), tone(draws), draws.finer)

    @cached_property
    def attenuation(self) -> Tensor:
        """(H, W) float32, t = -ln(I / I0), T0 to T0 + DT."""
        return affine(self.line(self.film), DT, T0)

    def line(self, grey: Tensor) -> Tensor:
        """Where in the window grey values in [0, 1] of any shape lie, 0 to 1: the tone curve taken off."""
        return power(grey, 1.0 / self.gamma)

    def toned(self, line: Tensor) -> Tensor:
        """Grey values of what runs from 0 to 1 over the window, of any shape; it is overwritten."""
        return power(line, self.gamma, most=1.0, out=line)

    @cached_property
    def intensity(self) -> Tensor:
        """(H, W), I / I0, primary and scatter together as recorded."""
        negative = -self.attenuation
        return exp(negative, out=negative)

    @cached_property
    def typical_intensity(self) -> float:
        """Intensity that exposure control sees."""
        return self.typical(self.intensity)

    @cached_property
    def typical_attenuation(self) -> float:
        """Attenuation that exposure control sees."""
        return self.typical(self.attenuation)

    @cached_property
    def typical_grey(self) -> float:
        """Grey value of what exposure control sees."""
        typical = self.typical(self.film)
        return float(np.float32(typical) / np.float32(255.0)) if self.film.dtype == torch.uint8 else typical

    @cached_property
    def beam(self) -> Tensor:
        """(H, W) bool, raw beam."""
        return in_pixels(self.blocks, self.film)

    @cached_property
    def _exposed(self) -> tuple[tuple[slice, ...], Tensor | None]:
        """Where exposure control looks: a part of the film, and indices into that part (None: all of it)."""
        part = tuple(slice(side // 5, side - side // 5, 2) for side in self.film.shape)
        if self.blocks is None:
            return part, None
        # Each of every second pixel lies in a block of its own, and those are neighbours.
        rows, columns = (
            slice(span.start // 2, span.start // 2 + len(range(*span.indices(span.stop)))) for span in part
        )
        tissue = ~self.blocks[rows, columns]
        inside = places(tissue)
        if not len(inside):
            part, tissue = (slice(None), slice(None)), ~self.beam
            inside = places(tissue)
        if not len(inside):
            raise PerturbationUndefined("the whole film is unexposed or raw beam")
        return part, inside if len(inside) < tissue.numel() else None

    def typical(self, image: Tensor | Rows) -> float:
        """Median of (H, W) over the central 60 % x 60 % of the film without raw beam: what exposure control sees.

        One pixel in four is looked at.
        """
        (rows, columns), inside = self._exposed
        values = (image[rows] if isinstance(image, Tensor) else image(rows))[:, columns].reshape(-1)
        values = values if inside is None else taken(values, inside)
        return ranked(values, (len(values) - 1) // 2)[0]

    def display(self, attenuation: Tensor) -> Tensor:
        """Attenuation to film through the film's own window and tone curve; raw beam as it was."""
        return self.on_tissue(self.toned((attenuation - T0).div_(DT)))

    def display_rows(self, attenuation: Rows, *, spared: bool = True) -> Tensor:
        """As `display`, in 8 bit, of attenuation by rows; the raw beam too unless `spared`."""
        return self._shown(lambda rows: attenuation(rows).sub_(T0).div_(DT), spared)

    def _shown(self, line: Rows, spared: bool) -> Tensor:
        """Display in 8 bit what runs from 0 to 1 over the window; a strip at a time, which stays in the cache."""
        film = torch.empty(self.film.shape, dtype=torch.uint8, device=self.film.device)
        for rows in strips(film):
            changed = self.toned(line(rows))
            in_bytes(self._spared(changed, rows) if spared else changed, out=film[rows])
        return film

    def on_tissue(self, changed: Tensor) -> Tensor:
        """The changed film (H, W) where there is tissue, the old one in the raw beam; they merge over three pixels.

        The changed film may be overwritten.
        """
        for rows in strips(changed):
            self._spared(changed[rows], rows)
        return changed

    def _spared(self, changed: Tensor, rows: slice) -> Tensor:
        """As `on_tissue`, of those rows of the film, one of `strips`; in place."""
        if self.weight is not None:
            for columns in self._beside_tissue[rows.start]:
                part = changed[:, columns]
                torch.lerp(self.film[rows, columns], part, self.weight[rows, columns], out=part)
        return changed

    @cached_property
    def _beside_tissue(self) -> dict[int, list[slice]]:
        """By the first row of a strip the columns in which not all is tissue, near ones together."""
        if self.weight is None:
            return {}
        return {rows.start: columns_below(self.weight[rows], TISSUE) for rows in strips(self.weight)}

    def display_auto(self, intensity: Rows, *, spared: bool = True) -> Tensor:
        """Display in 8 bit as a digital system does: its window is fitted to the histogram, whatever the exposure was.

        The fit maps the 1st and 99th percentile of the attenuation (of a binned image, as the exposure analysis of a
        detector does) to where they were on the film, so that nothing changes when nothing was changed.
        """
        computed = {rows.start: intensity(rows) for rows in strips(self.film)}  # once: it is looked at twice
        (low, high), (new_low, new_high) = self._fitted, self._window(computed.values())

        def line(rows: slice) -> Tensor:
            # From the logarithm to the window in one line: low + slope * (attenuation - new_low), less T0, over DT.
            clamped = computed.pop(rows.start).clamp_min_(1e-6)
            return affine(log(clamped, out=clamped), -slope / DT, (low - slope * new_low - T0) / DT)

        if min(high - low, new_high - new_low) < 1e-3:
            raise PerturbationUndefined("the film shows no contrast, a window cannot be fitted")
        slope = (high - low) / (new_high - new_low)
        return self._shown(line, spared)

    @cached_property
    def _fitted(self) -> tuple[float, float]:
        """Where the window lies on the film as it came."""
        return self._window([self.intensity])

    def _window(self, intensity: Iterable[Tensor]) -> tuple[float, float]:
        """1st and 99th percentile of the attenuation of tissue, of a binned image."""
        size, tissue = self._bins
        attenuation = attenuation_of(torch.cat([binned(strip, size) for strip in intensity]))
        if tissue is not None:
            attenuation = taken(attenuation, tissue)
        if attenuation.numel() < 16:
            raise PerturbationUndefined("too little of the film is tissue, a window cannot be fitted")
        low, high = percentiles(attenuation, 1.0, 99.0)
        return low, high

    @cached_property
    def _bins(self) -> tuple[int, Tensor | None]:
        """Side of the bins a window is fitted to, and indices of those that hold tissue only (None: all do).

        Four pixels of the detector: of a film that was averaged down as many as come nearest to that.
        """
        size = 4 if min(self.film.shape) >= 64 else 2
        size = max(1, round(size / self.finer))
        if self.blocks is None:
            return size, None
        height, width = (side // size for side in self.film.shape)
        if size % 2:
            return size, places(binned((~self.beam).view(torch.uint8) * 255, size) == 255)
        beam = self.blocks[: height * size // 2, : width * size // 2]
        if size == 4:
            beam = beam[::2, ::2] | beam[1::2, ::2] | beam[::2, 1::2] | beam[1::2, 1::2]
        return size, places(~beam)

    def display_shifted(self, intensity: Rows, *, spared: bool = True) -> Tensor:
        """Display in 8 bit in a window as wide as the film's, moved so that the typical attenuation stays as it was."""
        attenuation = torch.empty(self.film.shape, dtype=torch.float32, device=self.film.device)
        for rows in strips(self.film):
            attenuation_of(intensity(rows), out=attenuation[rows])
        shift = -math.log(self.typical_intensity) - self.typical(attenuation)
        return self._shown(lambda rows: attenuation[rows].add_(shift - T0).div_(DT), spared)

    def counts(self, pitch_mm: float) -> float:
        """Detected photons where the intensity is typical, at the exposure a chest film aims at, per detector's pixel.

        Args:
            pitch_mm: of the film.
        """
        return FLUENCE * DQE * KERMA_UGY * (pitch_mm / self.finer) ** 2


@remembered(1)
def _taken_back(film: Tensor, gamma: float, finer: float) -> Radiograph:
    return _computed(film, beam_blocks(film), gamma, finer)


def _computed(film: Tensor, blocks: Tensor | None, gamma: float, finer: float) -> Radiograph:
    return Radiograph(film, blocks, gamma, _weight(blocks, film), finer)


def binned(image: Tensor, size: int) -> Tensor:
    """Means of (H, W) over blocks of size x size pixels; rows and columns that fill no block are left out."""
    height, width = (side // size for side in image.shape)
    return averaged(image[: height * size, : width * size], height, width)


def _weight(blocks: Tensor | None, film: Tensor) -> Tensor | None:
    if blocks is None:
        return None
    small = gaussian_blur((~blocks).view(torch.uint8).float(), 0.86)
    small = small.mul_(2.0).sub_(1.0).clamp_(0.0, 1.0)
    return resize(small, 2 * len(blocks), 2 * blocks.shape[1])[: film.shape[0], : film.shape[1]].contiguous()


def tone(draws: Draws) -> float:
    """Exponent of the film's tone curve, the same for every perturbation of the film."""
    return draws.twin("radiograph").uniform("gamma", *GAMMA)


def attenuation_of(intensity: Tensor, out: Tensor | None = None) -> Tensor:
    """-ln(I / I0), with the intensity, which is overwritten, held above one part in a million."""
    clamped = torch.clamp_min(intensity, 1e-6, out=intensity if out is None else out)
    return log(clamped, out=clamped).neg_()
