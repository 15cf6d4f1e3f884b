"""Where does a map look? Pointing game, overlap, precision and energy against a mask, each beside chance.

Maps enter by their magnitude. A value of one film is NaN where the map is not finite or the mask is empty; such films
are left out of averages and counted. A flat map marks everything alike, so it scores exactly as chance.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from explain.attribution import AttributionMap
from explain.baselines import centre_prior
from explain.network import F64
from explain.regions import Mask
from explain.similarity import average

SHIFTS = 64
"""Random displacements of a map's own region that make the area-matched chance level of its overlap."""

MEASURES = ("hit", "iou", "auprc", "energy")


def pointing_hit(one: npt.ArrayLike, mask: npt.ArrayLike) -> float:
    """Return 1 if the map's maximum lies in the mask, else 0; tied maxima share (arXiv:1608.00507)."""
    values, marked = _pair(one, mask)
    return float(marked[values == values.max()].mean()) if _sound(values, marked) else float("nan")


def otsu_threshold(one: npt.ArrayLike, bins: int = 256) -> float:
    """Return the value that splits a map with the largest variance between the parts (Otsu 1979).

    It depends on the map alone and on no mask, so it cannot be tuned to the answer.
    """
    values = np.asarray(one, dtype=np.float64).ravel()
    counts, edges = np.histogram(values, bins=bins)
    middle = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
    sums = np.cumsum(counts * middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below[:-1] * above[1:] * (sums[:-1] / below[:-1] - (sums[-1] - sums[:-1]) / above[1:]) ** 2
    return float(edges[1 + int(np.nanargmax(between))])


def marked_region(one: npt.ArrayLike) -> Mask:
    """Return the pixels at or above the map's Otsu threshold, (S, S); everything if the map is flat."""
    values = np.asarray(one, dtype=np.float64)
    return np.asarray(values >= otsu_threshold(values) if np.ptp(values) > 0 else np.ones(values.shape), dtype=bool)


def overlap(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return intersection over union of two masks; NaN if both are empty."""
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else float("nan")


def average_precision(one: npt.ArrayLike, mask: npt.ArrayLike) -> float:
    """Return the area under the pixelwise precision-recall curve (step rule); tied pixels enter together."""
    values, marked = _pair(one, mask)
    if not _sound(values, marked):
        return float("nan")
    order = np.argsort(-values.ravel(), kind="stable")
    ranked, hits = values.ravel()[order], np.cumsum(marked.ravel()[order])
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    precision, recall = hits[last] / (last + 1), hits[last] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def energy_inside(one: npt.ArrayLike, mask: npt.ArrayLike) -> float:
    """Return the share of the map's total inside the mask; an all-zero map is taken as uniform."""
    values, marked = _pair(one, mask)
    if not _sound(values, marked):
        return float("nan")
    total = float(values.sum())
    return float(values[marked].sum() / total) if total > 0 else float(marked.mean())


def shifted_overlap(region: Mask, mask: npt.ArrayLike, seed: int = 0) -> float:
    """Return the region's mean overlap with the mask after `SHIFTS` random cyclic displacements."""
    side = region.shape[0]
    moves = np.random.default_rng([seed, side]).integers(0, side, size=(SHIFTS, 2))
    return float(np.mean([overlap(np.roll(region, tuple(move), axis=(0, 1)), mask) for move in moves]))


def localise(
    maps: AttributionMap,
    masks: Mapping[str, npt.ArrayLike] | npt.ArrayLike,
    region: str = "lesion",
    *,
    visible: npt.ArrayLike | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Score each film's map against a mask.

    Args:
        maps: maps of one method, magnitude is used.
        masks: (B, S, S) booleans, or a mapping from image id to (S, S); one (S, S) mask serves all films.
        region: what the mask is ("lesion", "lung", "body", "border", "marker"), copied into the table.
        visible: (B,) fraction of the lesion that survived the crop, copied into the table.
        seed: of the displacements.

    Returns:
        One row per film: image_id, method, region, area (share of the film), visible_fraction, and for hit, iou, auprc
        and energy the value, its chance level `<measure>_random` and that of a centred Gaussian `<measure>_centre`. NaN
        where nothing can be said.
    """
    each = _masks_by_film(maps, masks)
    seen = np.full(len(each), np.nan) if visible is None else np.asarray(visible, dtype=np.float64)
    prior = centre_prior(maps.maps.shape[-1])
    rows = []
    for film, name in enumerate(maps.image_ids):
        one, mask = maps.magnitude[film].astype(np.float64), each[film]
        area = float(mask.mean())
        row: dict[str, object] = {
            "image_id": name,
            "method": maps.method,
            "region": region,
            "area": area,
            "visible_fraction": seen[film],
        }
        own, centre = _scores(one, mask), _scores(prior, mask)
        usable = np.isfinite(own["hit"])
        chance = {"hit": area, "auprc": area, "energy": area}
        chance["iou"] = shifted_overlap(marked_region(one), mask, seed) if usable else float("nan")
        for measure in MEASURES:
            row[measure] = own[measure]
            row[f"{measure}_random"] = chance[measure] if usable else float("nan")
            row[f"{measure}_centre"] = centre[measure] if usable else float("nan")
        rows.append(row)
    return pd.DataFrame(rows)


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Average `localise` tables: one row per method, region and measure with value, random, centre, n and left_out."""
    rows = []
    for (method, region), part in table.groupby(["method", "region"], sort=False):
        for measure in MEASURES:
            own = average(part[measure])
            rows.append(
                {
                    "method": method,
                    "region": region,
                    "measure": measure,
                    "value": own.mean,
                    "random": average(part[f"{measure}_random"]).mean,
                    "centre": average(part[f"{measure}_centre"]).mean,
                    "n": own.n,
                    "left_out": own.left_out,
                }
            )
    return pd.DataFrame(rows)


def energy_table(maps: AttributionMap, masks: Mapping[str, Mapping[str, npt.ArrayLike]]) -> pd.DataFrame:
    """Return where a method's maps lie, one row per region: share of the map inside, beside area and centre prior.

    Args:
        maps: maps of one method, magnitude is used.
        masks: region -> image id -> (S, S); a film that a region lacks, or whose mask is empty, does not count there.

    Returns:
        Columns region, energy, area (what an even map of random places would put there), centre (what a centred
        Gaussian would), films, left_out (maps that are not finite); means over films.
    """
    prior = centre_prior(maps.maps.shape[-1])
    rows = []
    for region, by_film in masks.items():
        places = {name: np.asarray(mask, dtype=bool) for name, mask in by_film.items()}
        marked = [film for film, name in enumerate(maps.image_ids) if name in places and places[name].any()]
        each = [places[maps.image_ids[film]] for film in marked]
        own = average(
            [
                energy_inside(maps.magnitude[film].astype(np.float64), mask)
                for film, mask in zip(marked, each, strict=True)
            ]
        )
        usable = [mask for film, mask in zip(marked, each, strict=True) if maps.usable[film]]
        rows.append(
            {
                "region": region,
                "energy": own.mean,
                "area": average([float(mask.mean()) for mask in usable]).mean,
                "centre": average([energy_inside(prior, mask) for mask in usable]).mean,
                "films": own.n,
                "left_out": own.left_out,
            }
        )
    return pd.DataFrame(rows)


def _scores(one: F64, mask: Mask) -> dict[str, float]:
    if not _sound(one, mask):
        return dict.fromkeys(MEASURES, float("nan"))
    return {
        "hit": pointing_hit(one, mask),
        "iou": overlap(marked_region(one), mask),
        "auprc": average_precision(one, mask),
        "energy": energy_inside(one, mask),
    }


def _sound(values: F64, marked: Mask) -> bool:
    return bool(np.isfinite(values).all() and marked.any())


def _pair(one: npt.ArrayLike, mask: npt.ArrayLike) -> tuple[F64, Mask]:
    values, marked = np.asarray(one, dtype=np.float64), np.asarray(mask, dtype=bool)
    if values.shape != marked.shape or values.ndim != 2:
        raise ValueError(f"a map and its mask share one (S, S) shape, not {values.shape} and {marked.shape}")
    if np.isfinite(values).all() and (values < 0).any():
        raise ValueError("localisation reads magnitudes; pass AttributionMap.magnitude, not signed values")
    return values, marked


def _masks_by_film(maps: AttributionMap, masks: Mapping[str, npt.ArrayLike] | npt.ArrayLike) -> list[Mask]:
    if isinstance(masks, Mapping):
        missing = [name for name in maps.image_ids if name not in masks]
        if missing:
            raise ValueError(f"films without a mask, {len(missing)} in all: {', '.join(missing[:5])}")
        return [np.asarray(masks[name], dtype=bool) for name in maps.image_ids]
    array = np.asarray(masks, dtype=bool)
    array = np.broadcast_to(array, maps.maps.shape) if array.ndim == 2 else array
    if array.shape != maps.maps.shape:
        raise ValueError(f"masks {array.shape} do not fit the maps {maps.maps.shape}")
    return list(array)
