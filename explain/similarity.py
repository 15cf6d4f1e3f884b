"""How alike are two maps? Structural similarity, rank correlation, and the drift of a map under a condition.

All arithmetic is float64 and independent of the maps' scale. A pair in which either map holds a value that is not
finite gives NaN, and `Average` counts what it left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage
from scipy.stats import rankdata

from explain.attribution import AttributionMap
from explain.network import F64


@dataclass(frozen=True)
class Average:
    """A mean over films with the number that entered it and the number left out because they were not finite."""

    mean: float
    n: int
    left_out: int


def average(values: npt.ArrayLike) -> Average:
    """Return the mean of the finite values; NaN if there is none."""
    numbers = np.asarray(values, dtype=np.float64).ravel()
    finite = numbers[np.isfinite(numbers)]
    return Average(float(finite.mean()) if len(finite) else float("nan"), len(finite), len(numbers) - len(finite))


def unit_scale(one: npt.ArrayLike) -> F64:
    """Scale the magnitude of a map (S, S) to [0, 1] by its 99th percentile, clipped; an all-zero map stays zero.

    The maximum of a gradient map is a few pixels; scaling by it would leave any two such maps black, and alike.
    """
    magnitude = np.abs(np.asarray(one, dtype=np.float64))
    top = float(np.percentile(magnitude, 99)) or float(magnitude.max())
    return np.asarray(np.clip(magnitude / top, 0, 1) if top > 0 else magnitude, dtype=np.float64)


def structural_similarity(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return SSIM of two maps' magnitudes, (S, S) each on its own unit scale; Gaussian window, 1.5 pixels, S >= 11.

    Source: Wang et al. 2004, doi:10.1109/TIP.2003.819861; constants K1 = 0.01, K2 = 0.03, range 1.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 2 or min(a.shape) < 11:
        raise ValueError(f"SSIM needs two maps of one shape of at least (11, 11), not {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("nan")
    a, b = unit_scale(a), unit_scale(b)

    def local(x: F64) -> F64:
        return np.asarray(ndimage.gaussian_filter(x, sigma=1.5, truncate=3.5), dtype=np.float64)

    mean_a, mean_b = local(a), local(b)
    var_a, var_b, cov = local(a * a) - mean_a**2, local(b * b) - mean_b**2, local(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    each = (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(each[5:-5, 5:-5].mean())  # the window reaches over the rim of the film there


def rank_correlation(first: npt.ArrayLike, second: npt.ArrayLike, *, signed: bool = False) -> float:
    """Return Spearman's correlation of two maps' magnitudes (or signed values); 0 if a map is flat."""
    a, b = np.asarray(first, dtype=np.float64).ravel(), np.asarray(second, dtype=np.float64).ravel()
    if a.shape != b.shape:
        raise ValueError(f"maps differ in size: {a.size} and {b.size} pixels")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("nan")
    ranks_a, ranks_b = (rankdata(x if signed else np.abs(x)) for x in (a, b))
    if np.ptp(ranks_a) == 0 or np.ptp(ranks_b) == 0:
        return 0.0
    return float(np.corrcoef(ranks_a, ranks_b)[0, 1])


def drift(before: AttributionMap, after: AttributionMap) -> pd.DataFrame:
    """Return one row per film: how far the map of one method moved between two conditions of the same films.

    Columns: image_id, method, ssim, rank_correlation, moved (distance of the maps' centres of mass, as a fraction of
    the side). Both maps should explain the same class, or the drift mixes a change of place with a change of question;
    `same_target` says so.
    """
    if before.method != after.method or before.image_ids != after.image_ids:
        raise ValueError(f"drift compares one method on the same films, not {before.method} and {after.method}")
    rows = [
        {
            "image_id": name,
            "method": before.method,
            "same_target": before.targets[i] == after.targets[i],
            "ssim": structural_similarity(before.maps[i], after.maps[i]),
            "rank_correlation": rank_correlation(before.maps[i], after.maps[i]),
            "moved": _distance(before.magnitude[i], after.magnitude[i]),
        }
        for i, name in enumerate(before.image_ids)
    ]
    return pd.DataFrame(rows)


def _distance(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    centres = []
    for one in (first, second):
        weight = np.asarray(one, dtype=np.float64)
        if not np.isfinite(weight).all() or weight.sum() <= 0:
            return float("nan")
        centres.append(np.array(ndimage.center_of_mass(weight)) / weight.shape[0])
    return float(np.hypot(*(centres[0] - centres[1])))


def agreement(maps: Sequence[AttributionMap]) -> pd.DataFrame:
    """Return one row per pair of methods: mean rank correlation of their magnitudes, with n and left_out."""
    rows = []
    for i, first in enumerate(maps):
        for second in maps[i + 1 :]:
            if first.image_ids != second.image_ids:
                raise ValueError(f"{first.method} and {second.method} explain different films")
            each = average([rank_correlation(a, b) for a, b in zip(first.maps, second.maps, strict=True)])
            rows.append(
                {
                    "first": first.method,
                    "second": second.method,
                    "rank_correlation": each.mean,
                    "n": each.n,
                    "left_out": each.left_out,
                }
            )
    return pd.DataFrame(rows, columns=["first", "second", "rank_correlation", "n", "left_out"])
