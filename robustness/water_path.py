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
   What is finer or narrower than ribs, or does not run along them or their edges (`ribs`), is mostly vessels, which
   stand out against air only: a share f takes away 0.9 f of it beyond that, but beside the spine, where it is bone.
   What is finest and faint is the grain of film, bone and chest wall, of which it takes 0.3 f.
3. Noise follows the signal: quantum noise of variance proportional to the intensity, which falls; on the logarithmic
   display its relative share grows by ``exp(t' / 2)``.

Sources: Beer-Lambert; mu of ICRU lung (0.26 g/cm^3) and soft tissue at 45 keV (NIST XCOM) give DMU; scatter behind lung
and mediastinum after Niklason et al. 1981 (10.1118/1.595027), less for a child, who is half as thick.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustness.airless import SURFACE_MM, soft_tissue, without_silhouettes
from robustness.coarse import neighbourhood, pieces
from robustness.content_cache import remembered
from robustness.detail import AROUND_MM, each_by_itself, outlines, ribs_among, rms_within, without_ribs
from robustness.draws import Draws
from robustness.facts import fact
from robustness.filters import gaussian_blur, percentiles, resize, smoothstep
from robustness.pointwise import exp, in_bytes, is_zero, numbers, replaced, root
from robustness.radiograph import Radiograph
from robustness.ribs import along_ribs
from robustness.silhouettes import air_beside_organs, below_domes
from robustness.thorax import SETTING_IN, Thorax, flanks, nearness

DMU = 0.195
"""Attenuation of consolidated less aerated lung, per cm, 45 keV."""
SCATTER_RATIO = 0.3
"""Scatter over primary behind the aerated lung of a child."""
MEDIASTINAL_RATIO = 3.0
"""Scatter over primary behind heart and abdomen."""
HIDDEN_CM = 3.0
"""Path through the lung behind the heart and below the top of the dome."""
VESSELS_LOST = 0.9
"""Share of what is finer and fainter than ribs that is seen against air only."""
GRAIN_MM, GRAIN_CONTRAST, GRAIN_LOST = 0.6, 0.015, 0.3
"""Sigma over which grain is averaged away, its contrast at most, and share of it that is seen against air only."""
BESIDE_CM, BESIDE_MM = 6.0, 22.0
"""Path through the lung beside heart and dome, and sigma over which it grows shorter from there to the wall."""
LEFTOVER_MM = 14.0
"""Width of what is left of dark lung between the mask and an organ's edge, at most."""
FAINTEST = 0.5
"""Share of a rib that is left at least."""
EDGE_MM = 2.5
"""Sigma of the blur that finds the edge of heart and dome, where next to nothing of the detail is left."""
CHILD_FIELD_CM = 22.0
"""Field of view that goes with a lung of LUNG_DEPTH_CM; a larger chest is deeper in proportion."""
AERATED = 0.6
"""Where between lung and mediastinum tissue begins."""


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

    def filled(
        self,
        share: Tensor,
        draws: Draws,
        counts: float,
        film: Tensor | None = None,
        block: int = 1,
        *,
        as_bytes: bool = False,
    ) -> Tensor:
        """The film (H, W) with a share (h, w), 0 to 1, of the air along each ray replaced by water.

        Args:
            share: of the path through the lung.
            draws: where the grain comes from, the same for every severity and cause.
            counts: photons a pixel of the film detects where the intensity is typical.
            film: whose coarse film was taken apart; unless given, the film that was.
            block: pixels of the film along each side of one that was taken apart (see `coarse`).
            as_bytes: whether it is wanted in 8 bit, else in floats.
        """
        film = self.radiograph.film if film is None else film
        # A small film is displayed anew altogether, to the last bit as it always was.
        where = ~is_zero(share) if block > 1 else None
        after, faded = self._after(share, where)
        typical = -math.log(self.radiograph.typical_intensity)
        grain = _grain(draws.image_id, draws.seed, film.shape, film.device)
        result = in_bytes(film) if as_bytes else film.clone()
        for piece in pieces(film, self.radiograph, block, where):
            before, left, changed = piece.before, piece.of(faded), piece.of(after)
            if before.detail is not None:
                changed = (left * before.detail).add_(changed)
            # The grain of the film has faded with its ribs; what a film of this signal shows beyond it is added.
            lost = changed - typical
            lost = exp(lost, out=lost).sub_(left.square().mul_(before.signal)).clamp_min_(0.0)
            changed = root(lost.div_(counts), out=lost).mul_(grain[piece.place]).add_(changed)
            shown = replaced(piece.display(changed, before.weight), is_zero(piece.of(share)), before.shown)
            if as_bytes:
                in_bytes(shown, out=result[piece.place])
            else:
                result[piece.place] = shown
        return result

    def _after(self, share: Tensor, where: Tensor | None) -> tuple[Tensor, Tensor]:
        """(h, w) attenuation with water in place of air, without grain, and what is left of that of the film.

        Of both nothing is found further than a pixel off `where`, if that is given.
        """
        around = (slice(None), slice(None)) if where is None else neighbourhood(where)
        share, attenuation, depth, fading, ribs, vessels, grain, outline, base, lacking = (
            image[around]
            for image in (
                *(share, self.radiograph.attenuation, self.depth_cm, self.fading),
                *(self.ribs, self.vessels, self.grain, self.outline, self.base, self.lacking),
            )
        )
        kept, grain_left = contrast_left(share * depth), 1.0 - GRAIN_LOST * share
        # An outline that the fill has reached is no detail any more.
        detail = (fading * share).neg_().add_(1.0).mul_(ribs)
        for left, part in (
            *((1.0 - VESSELS_LOST * share, vessels), (grain_left, grain)),
            ((1.0 - 1.2 * share).clamp_min_(0.0), outline),
        ):
            detail.add_(left * part)
        after = (share * lacking).add_(base).add_(detail.mul_(kept))
        after = torch.minimum(after, attenuation.clamp_min(self.white), out=after)
        faded = kept.mul_(grain_left)
        if where is None:
            return after, faded
        whole = torch.empty(2, *where.shape, device=share.device)
        whole[0][around], whole[1][around] = after, faded
        return whole[0], whole[1]


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
    base = without_ribs(attenuation, pitch_mm)
    rest = attenuation - base
    hull = numbers(thorax.hemithorax("both"))
    between = thorax.mediastinum
    most = percentiles(base[between if bool(between.any()) else ~radiograph.beam], 60.0)[0]
    # A mask may go on behind heart and dome, where a film shows no lung.
    dark = percentiles(base[thorax.lungs], 30.0)[0]
    seen = thorax.lungs & (base < dark + AERATED * (most - dark))
    # Deep inside the hemithorax and off the lung that is seen; it thins out toward spine and costophrenic angle.
    hidden = smoothstep(2.0 * gaussian_blur(hull, SETTING_IN * thorax.height) - 1.0)
    hidden = hidden * gaussian_blur(numbers(~seen), SETTING_IN * thorax.height)
    behind = hidden * (HIDDEN_CM * DMU / (1.0 + MEDIASTINAL_RATIO))
    inside = nearness(thorax, "both")
    beside = beside_organs(thorax, seen, BESIDE_MM, pitch_mm)
    plain = attenuation - inside * along_ribs(rest, 1.0 - beside, thorax.midline, pitch_mm)
    blurred = 0.5 * (gaussian_blur(attenuation, EDGE_MM / pitch_mm) + base)
    air = air_beside_organs(plain, blurred, seen, thorax, beside, pitch_mm=pitch_mm)
    belly = below_domes(attenuation, air, thorax, pitch_mm)
    # Each is smoothed by itself, so that ribs are not taken for a part of a border, nor lost along it.
    base = each_by_itself(attenuation, (air, belly, 1.0 - air - belly), pitch_mm)
    rest = attenuation - base
    near = beside_organs(thorax, seen, AROUND_MM, pitch_mm)
    outline = inside * outlines(rest, air, belly, beside, near, thorax=thorax, pitch_mm=pitch_mm)
    soft = soft_tissue(thorax, radiograph, base + behind, seen, most)
    airless = torch.maximum(base + inside * (soft - base), base + behind)
    lacking = inside * (without_silhouettes(airless, inside, flanks(thorax), pitch_mm) - base).clamp_min(0.0)
    # Gas below the dome is not in the lung: far off what is seen of it, not much is lacking there.
    most_below = 3.0 * behind + 6.0 * gaussian_blur(numbers(seen), LEFTOVER_MM / pitch_mm)
    lacking = replaced(torch.minimum(lacking, most_below), is_zero(belly), lacking)
    # A lung thins out toward the chest wall; beside heart and dome it is as deep as in its middle.
    deep = torch.maximum(thorax.depth, BESIDE_CM * beside * seen)
    detail = rest - outline
    ribs = ribs_among(detail, deep, inside, 1.0 - beside, thorax=thorax, pitch_mm=pitch_mm)
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
    organs, lungs = (resize(numbers(mask), rows, columns) for mask in (hull & ~seen, seen))
    covered = gaussian_blur(organs, sigma_mm / (step * pitch_mm))
    walls = gaussian_blur((1.0 - organs - lungs).clamp_min(0.0), sigma_mm / (step * pitch_mm))
    return resize(smoothstep(2.0 * covered / (covered + walls).clamp_min(1e-2)), *hull.shape)
