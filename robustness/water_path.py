"""What does a film show when water takes the place of the air in the lung?

Three things happen along a ray on which w cm of aerated lung turn into w cm of soft tissue:

1. Attenuation rises. A lung without air is as dense as the soft tissue around it, so the broad attenuation T of heart,
   abdomen and chest wall is carried into the lung as a membrane is stretched over a frame, raised to what lies beside
   it where heart or abdomen are denser, from where it falls gently. ``T - t`` is what the air takes away; a share f of
   it comes back: ``t' = t + f * (T - t)``. Heart and dome are seen against air: without it there is no step to them
   (`silhouettes` finds where it was), and of the detail what follows their borders is taken away. Lung in the shadow
   of heart and dome gains 3 cm.
2. Contrast falls. The primary beam falls by ``exp(-DMU * w)``, the scatter that comes from all around stays, so the
   scatter-to-primary ratio k grows from 0.3 to ``k * exp(DMU * w)`` and what is left of the contrast of a rib is
   ``(1 + k) / (1 + k * exp(DMU * w))``: 0.90 behind 2 cm, 0.79 behind 4 cm, 0.54 behind 8 cm. Toward heart and dome
   it falls to the contrast that the film shows behind these, where that is less: no rib ends at a silhouette gone.
   What is finer or narrower than ribs, or does not run along them (`ribs`), is mostly vessels, which stand out against
   air only: a share f takes away 0.9 f of it beyond that. What is finest and faint is the grain of film, bone and chest
   wall, of which it takes 0.3 f.
3. Noise follows the signal: quantum noise of variance proportional to the intensity, which falls; on the logarithmic
   display its relative share grows by ``exp(t' / 2)``.

Sources: Beer-Lambert; mu of ICRU lung (0.26 g/cm^3) and soft tissue at 45 keV (NIST XCOM) give DMU; scatter behind lung
and mediastinum after Niklason et al. 1981 (10.1118/1.595027), less for a child, who is half as thick; guided filter:
He, Sun and Tang 2013.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustness.airless import SURFACE_MM, soft_tissue, without_silhouettes
from robustness.coarse import pieces
from robustness.content_cache import remembered
from robustness.draws import Draws
from robustness.facts import fact
from robustness.filters import blur_within, coordinates, gaussian_blur, percentiles, resize, smoothstep
from robustness.pointwise import exp
from robustness.radiograph import Radiograph
from robustness.ribs import along_ribs
from robustness.silhouettes import air_beside_organs, below_domes
from robustness.thorax import SETTING_IN, Thorax, flanks, nearness, outward

DMU = 0.195
"""Attenuation of consolidated less aerated lung, per cm, 45 keV."""
SCATTER_RATIO = 0.3
"""Scatter over primary behind the aerated lung of a child."""
MEDIASTINAL_RATIO = 3.0
"""Scatter over primary behind heart and abdomen."""
HIDDEN_CM = 3.0
"""Path through the lung behind the heart and below the top of the dome."""
RIB_MM = 7.0
"""Half the side of the square over which ribs are averaged away and organs are not."""
RIB_CONTRAST = 0.35
"""Attenuation by which ribs stand out, roughly; organs stand out by 0.8 and more."""
RIB_EDGE_MM, VESSEL_CONTRAST = 2.0, 0.025
"""Half the side of the square over which vessels are averaged away, edges of ribs are not, and their contrast."""
VESSELS_LOST = 0.9
"""Share of what is finer and fainter than ribs that is seen against air only."""
GRAIN_MM, GRAIN_CONTRAST, GRAIN_LOST = 0.6, 0.015, 0.3
"""Sigma over which grain is averaged away, its contrast at most, and share of it that is seen against air only."""
VESSEL_MM, VESSELS_FROM_CM = 4.5, 4.0
"""What is brighter than its surroundings and narrower is a vessel, where the lung is so deep."""
BESIDE_CM, BESIDE_MM = 6.0, 22.0
"""Path through the lung beside heart and dome, and sigma over which it grows shorter from there to the wall."""
LEFTOVER_MM = 14.0
"""Width of what is left of dark lung between the mask and an organ's edge, at most."""
BORDER_MM = 1.0
"""Sigma of the blur of an organ's edge on a film: of the focal spot, and of the heart that beats."""
STEP_MM, STEPS = 1.5, 5
"""Along the border of a lung an outline is sought in steps of so many mm, so many to either side."""
HILAR = 0.3
"""Share of what is seen at the hila that is vessels, the rest are ribs."""
AROUND_MM = 5.0
"""Sigma of the blur that finds what is near that edge."""
AT_THE_WALL = 0.3
"""Share of what is the same along the wall that is lost with the air, the rest are ribs."""
FAINTEST = 0.35
"""Share of a rib that is left at least."""
LEVEL_MM = 10.0
"""Sigma over which ribs and the spaces between them cancel each other."""
EDGE_MM = 2.5
"""Sigma of the blur that finds the edge of heart and dome, where next to nothing of the detail is left."""
ALONG_MM = 18.0
"""Sigma over which it is averaged along the border: two ribs and more."""
CHILD_FIELD_CM = 22.0
"""Field of view that goes with a lung of LUNG_DEPTH_CM; a larger chest is deeper in proportion."""
AERATED = 0.6
"""Where between lung and mediastinum tissue begins."""
BESIDE_SPINE = (0.12, 0.32)
"""Half widths of the chest off its middle up to which all detail is bone, and from which on it is told by its course."""
CORTEX_MM, STEEP = 1.5, (0.025, 0.055)
"""Width of the edge of a rib, and attenuation per mm by which it rises there at least, and where it is one for sure."""


@dataclass(frozen=True, eq=False)
class Aerated:
    """A film taken apart into what water changes and what it does not; its images must not be changed in place.

    Attributes:
        radiograph: the film.
        base: (H, W) attenuation without ribs and vessels, organs with their edges.
        ribs: (H, W) what of the rest is broader than vessels and runs along ribs.
        vessels: (H, W) what is finer, or runs elsewhere.
        grain: (H, W) what is finest: noise, and the texture of bone and chest wall.
        outline: (H, W) what the rest has in common along the borders of the lungs against heart and dome.
        lacking: (H, W) attenuation that the air in the lung takes away, 0 outside the hemithoraces.
        depth_cm: (H, W) path through the lung in cm, that behind heart and dome included.
        fading: (H, W) share of the ribs that is lost besides, toward heart and dome, behind which they are fainter.
        white: attenuation of bone, which no white-out exceeds.
    """

    radiograph: Radiograph
    base: Tensor
    ribs: Tensor
    vessels: Tensor
    grain: Tensor
    outline: Tensor
    lacking: Tensor
    depth_cm: Tensor
    fading: Tensor
    white: float

    def filled(self, share: Tensor, draws: Draws, counts: float, film: Tensor | None = None, block: int = 1) -> Tensor:
        """The film (H, W) with a share (h, w), 0 to 1, of the air along each ray replaced by water.

        Args:
            share: of the path through the lung.
            draws: where the grain comes from, the same for every severity and cause.
            counts: photons a pixel of the film detects where the intensity is typical.
            film: whose coarse film was taken apart; unless given, the film that was.
            block: pixels of the film along each side of one that was taken apart (see `coarse`).
        """
        film = self.radiograph.film if film is None else film
        kept = contrast_left(share * self.depth_cm)
        # An outline that the fill has reached is no detail any more.
        detail = kept * (
            (1.0 - self.fading * share) * self.ribs
            + (1.0 - VESSELS_LOST * share) * self.vessels
            + (1.0 - GRAIN_LOST * share) * self.grain
            + (1.0 - 1.2 * share).clamp_min(0.0) * self.outline
        )
        most = self.radiograph.attenuation.clamp_min(self.white)
        after = torch.minimum(self.base + share * self.lacking + detail, most)
        faded = kept * (1.0 - GRAIN_LOST * share)
        # The grain of the film has faded with its ribs; what a film of this signal shows beyond it is added.
        typical = -math.log(self.radiograph.typical_intensity)
        grain = _grain(draws.image_id, draws.seed, film.shape, film.device)
        result = film.clone()
        # A small film is displayed anew altogether, to the last bit as it always was.
        for piece in pieces(film, self.radiograph, block, share > 0.0 if block > 1 else None):
            before, left = piece.attenuation, piece.of(faded)
            changed = piece.refined(after, left)
            lost = exp(changed - typical) - left.square() * exp(before - typical)
            changed = changed + lost.clamp_min_(0.0).div_(counts).sqrt_().mul_(grain[piece.place])
            result[piece.place] = piece.display(torch.where(piece.of(share) > 0.0, changed, before))
        return result


@remembered(1)
def _grain(image_id: str, seed: int, shape: torch.Size, device: torch.device) -> Tensor:
    """(H, W) standard normal numbers of a film, the same for every severity and cause."""
    return Draws(image_id, "whiteout", seed, device=device).normals("grain", *shape)


def contrast_left(water_cm: Tensor) -> Tensor:
    """Share of the contrast of bone that is left behind so many cm of added water."""
    return (1.0 + SCATTER_RATIO) / (1.0 + SCATTER_RATIO * exp(DMU * water_cm))


@fact(3, "once per film, by opening, relaxing and distances")
def aerated(thorax: Thorax, radiograph: Radiograph, pitch_mm: float, field_cm: float) -> Aerated:
    """Take a film apart (see the module's docstring)."""
    attenuation = radiograph.attenuation
    # Twice, for once leaves a third of the ribs.
    base = attenuation
    for _ in range(2):
        base = _smoothed(base, RIB_MM / pitch_mm, RIB_CONTRAST)
    rest = attenuation - base
    hull = thorax.hemithorax("both").float()
    between = thorax.mediastinum
    most = percentiles(base[between if bool(between.any()) else ~radiograph.beam], 60.0)[0]
    # A mask may go on behind heart and dome, where a film shows no lung.
    dark = percentiles(base[thorax.lungs], 30.0)[0]
    seen = thorax.lungs & (base < dark + AERATED * (most - dark))
    # Deep inside the hemithorax and off the lung that is seen; it thins out toward spine and costophrenic angle.
    hidden = smoothstep(2.0 * gaussian_blur(hull, SETTING_IN * thorax.height) - 1.0)
    hidden = hidden * gaussian_blur((~seen).float(), SETTING_IN * thorax.height)
    behind = hidden * (HIDDEN_CM * DMU / (1.0 + MEDIASTINAL_RATIO))
    inside = nearness(thorax, "both")
    beside = beside_organs(thorax, seen, BESIDE_MM, pitch_mm)
    plain = attenuation - inside * along_ribs(rest, 1.0 - beside, thorax.midline, pitch_mm)
    blurred = 0.5 * (gaussian_blur(attenuation, EDGE_MM / pitch_mm) + base)
    air = air_beside_organs(plain, blurred, seen, thorax, beside, pitch_mm=pitch_mm)
    belly = below_domes(attenuation, air, thorax, pitch_mm)
    regions = (air, belly, 1.0 - air - belly)
    # Each is smoothed by itself, so that ribs are not taken for a part of a border, nor lost along it.
    base = _each_by_itself(attenuation, regions, pitch_mm)
    rest = attenuation - base
    # Ribs are as much brighter as their spaces are darker; what is left of the difference between both sides is not.
    level = beside * sum(region * blur_within(rest, region, LEVEL_MM / pitch_mm) for region in regions)
    outline = level + outline_in(rest - level, air > 0, pitch_mm)
    outline = outline + outline_in(rest - outline, belly > 0, pitch_mm)
    around = gaussian_blur(air, AROUND_MM / pitch_mm)
    # Ribs that run along the wall are no outline of an organ.
    near = beside_organs(thorax, seen, AROUND_MM, pitch_mm)
    outline = (AT_THE_WALL + (1.0 - AT_THE_WALL) * near) * outline
    # Dark or bright lines along heart and dome, which are what was missed.
    lines = narrow(rest - outline, pitch_mm) - narrow(outline - rest, pitch_mm)
    outline = outline + smoothstep(6.0 * around * (1.0 - around)) * near * lines
    # The trunks at the hilum are as broad as ribs, and water as well.
    outline = inside * (outline + HILAR * hila(thorax) * (rest - outline))
    soft = soft_tissue(thorax, radiograph, base + behind, seen, most)
    airless = torch.maximum(base + inside * (soft - base), base + behind)
    lacking = inside * (without_silhouettes(airless, inside, flanks(thorax), pitch_mm) - base).clamp_min(0.0)
    # Gas below the dome is not in the lung: far off what is seen of it, not much is lacking there.
    most_below = 3.0 * behind + 6.0 * gaussian_blur(seen.float(), LEFTOVER_MM / pitch_mm)
    lacking = torch.where(belly > 0.0, torch.minimum(lacking, most_below), lacking)
    # A lung thins out toward the chest wall; beside heart and dome it is as deep as in its middle.
    deep = torch.maximum(thorax.depth, BESIDE_CM * beside * seen)
    detail = rest - outline
    ribs = _smoothed(detail, RIB_EDGE_MM / pitch_mm, VESSEL_CONTRAST)
    ribs = ribs - smoothstep(deep / VESSELS_FROM_CM) * narrow(ribs, pitch_mm)
    # What runs along no rib is a vessel, however broad; at the chest wall ribs stand upright.
    cortex = edges_of_ribs(ribs, pitch_mm) * (detail - ribs)
    ribs = ribs + inside * (along_ribs(ribs, 1.0 - beside, thorax.midline, pitch_mm, cortex) - ribs)
    # Beside the spine it is heads of ribs and transverse processes, and no vessel.
    off = torch.maximum(outward(thorax, "left"), outward(thorax, "right"))
    beyond = smoothstep((off - BESIDE_SPINE[0]) / (BESIDE_SPINE[1] - BESIDE_SPINE[0]))
    ribs = detail + beyond * (ribs - detail)
    depth = torch.maximum(deep, HIDDEN_CM * hidden) * (field_cm / CHILD_FIELD_CM)
    white = percentiles(attenuation[thorax.top : thorax.bottom + 1, thorax.left : thorax.right + 1], 99.0)[0]
    # Behind heart and abdomen ribs are as faint as the film shows them; toward there those of a white lung fade.
    behind_organs = rms_within(ribs, hull - air, pitch_mm) / rms_within(ribs, air, pitch_mm).clamp_min(1e-3)
    fading = beside * (1.0 - behind_organs / contrast_left(depth)).clamp(0.0, 1.0 - FAINTEST)
    vessels = detail - ribs
    # The edges of what is lost are as fine, but stronger.
    grain = (vessels - gaussian_blur(vessels, GRAIN_MM / pitch_mm)).clamp(-GRAIN_CONTRAST, GRAIN_CONTRAST)
    return Aerated(radiograph, base, ribs, vessels - grain, grain, outline, lacking, depth, fading, white)


def beside_organs(thorax: Thorax, seen: Tensor, sigma_mm: float, pitch_mm: float) -> Tensor:
    """(H, W), 1 in the hemithoraces along heart and dome, falling to 0 at the chest wall."""
    hull = thorax.hemithorax("both")
    step = max(1.0, SURFACE_MM / pitch_mm)
    rows, columns = (max(8, round(size / step)) for size in hull.shape)
    organs, lungs = (resize(mask.float(), rows, columns) for mask in (hull & ~seen, seen))
    covered = gaussian_blur(organs, sigma_mm / (step * pitch_mm))
    walls = gaussian_blur((1.0 - organs - lungs).clamp_min(0.0), sigma_mm / (step * pitch_mm))
    return resize(smoothstep(2.0 * covered / (covered + walls).clamp_min(1e-2)), *hull.shape)


def edges_of_ribs(ribs: Tensor, pitch_mm: float) -> Tensor:
    """(H, W), 1 where ribs begin and end, whose cortex is finer than they are, 0 where nothing rises steeply."""
    down, right = torch.gradient(gaussian_blur(ribs, 1.0 / pitch_mm))
    steep = gaussian_blur(down.square() + right.square(), CORTEX_MM / pitch_mm).sqrt() / pitch_mm
    return smoothstep((steep - STEEP[0]) / (STEEP[1] - STEEP[0]))


def rms_within(image: Tensor, region: Tensor, pitch_mm: float) -> Tensor:
    """(H, W) root mean square of an image over the part of a region (0 or 1) that lies near each place."""
    return blur_within(image.square(), region, ALONG_MM / pitch_mm).clamp_min(0.0).sqrt()


def narrow(image: Tensor, pitch_mm: float) -> Tensor:
    """(H, W) what of an image is bright and narrower than ribs: the larger vessels."""
    step = max(1.0, 0.2 * VESSEL_MM / pitch_mm)
    rows, columns = (max(8, round(size / step)) for size in image.shape)
    small = cv2.resize(image.numpy(), (columns, rows), interpolation=cv2.INTER_AREA)
    # No wider: rather a vessel too many than a rib too few.
    size = 2 * int(0.5 * (VESSEL_MM / (step * pitch_mm) - 1.0)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    opened = cv2.morphologyEx(small, cv2.MORPH_OPEN, disc, borderType=cv2.BORDER_REPLICATE)
    return resize(torch.from_numpy(small - opened), *image.shape)


def hila(thorax: Thorax) -> Tensor:
    """(H, W), 1 at the hila, falling like Gaussians within the middle of the lungs."""
    rows, columns = coordinates(thorax.depth)
    height, width = thorax.depth.shape
    found = torch.zeros_like(thorax.depth)
    for side in ("left", "right"):
        row, column = thorax.hilum(side)
        down = (rows - row + (height - 1) / 2.0) / (0.11 * thorax.height)
        across = (columns - column + (width - 1) / 2.0) / (0.09 * thorax.height)
        found = torch.maximum(found, exp(-0.5 * down.square()) * exp(-0.5 * across.square()))
    return found


def outline_in(rest: Tensor, seen: Tensor, pitch_mm: float) -> Tensor:
    """(H, W) what is the same along the border of a region, as a function of the distance to it; ribs cross it.

    Args:
        rest: (H, W) attenuation without its base.
        seen: (H, W) bool, the region.
        pitch_mm: of the pixels.
    """
    inside = seen.numpy().view(np.uint8)
    signed = cv2.distanceTransform(inside, cv2.DIST_L2, 3) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3)
    place = signed * np.float32(pitch_mm / STEP_MM)
    found = torch.zeros_like(rest)
    for step in range(-STEPS, STEPS + 1):
        here = torch.from_numpy(np.maximum(0.0, 1.0 - np.abs(place - np.float32(step))))
        mean = gaussian_blur(rest * here, ALONG_MM / pitch_mm) / gaussian_blur(here, ALONG_MM / pitch_mm).clamp_min(
            1e-3
        )
        found += here * mean
    return found


def _each_by_itself(image: Tensor, regions: Sequence[Tensor], pitch_mm: float) -> Tensor:
    """(H, W) an image without ribs, each of some regions smoothed by itself, their borders as blurred as on a film."""
    found = torch.zeros_like(image)
    for region in regions:
        smooth = image
        for _ in range(2):
            smooth = _smoothed(smooth, RIB_MM / pitch_mm, RIB_CONTRAST, region)
        found += gaussian_blur(region, BORDER_MM / pitch_mm) * smooth
    return found


def _smoothed(image: Tensor, half: float, contrast: float, region: Tensor | None = None) -> Tensor:
    """A guided filter (He et al. 2013) of (H, W) by itself: what varies by less than a contrast is averaged away.

    Of a region, if one is given (1 in it, 0 outside of it), only what lies in it; beyond its reach the image stays.
    """
    size = 2 * max(1, round(half)) + 1
    source = image.numpy()
    weight = None if region is None else region.numpy()
    share = None if weight is None else np.maximum(_boxed(weight, size), np.float32(1e-6))

    def averaged(values: NDArray[Any]) -> NDArray[Any]:
        return _boxed(values, size) if weight is None else _boxed(values * weight, size) / share

    mean = averaged(source)
    variance = np.maximum(averaged(source * source) - mean * mean, 0.0)
    slope = variance / (variance + np.float32(contrast**2))
    smooth = averaged(slope) * source + averaged(mean - slope * mean)
    return torch.from_numpy(smooth if share is None else np.where(share > 1e-3, smooth, source))


def _boxed(image: NDArray[Any], size: int) -> NDArray[Any]:
    return np.asarray(cv2.blur(image, (size, size), borderType=cv2.BORDER_REPLICATE))
