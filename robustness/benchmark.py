"""How do errors compare with a reference network's, as MedMNIST-C reports them, and where has that no meaning?

``BE_c = mean_s error(c, s) / AlexNet(c)`` and ``rBE_c = (mean_s error(c, s) - clean) / (AlexNet(c) - AlexNet clean)``,
error = 1 - balanced accuracy, the mean over five severities. AlexNet on pneumonia films errs less under contrast_up and
gamma_corr_up than on clean films, so the denominator of rBE is negative there; those corruptions are named, not
averaged.

The benchmark's task is pneumonia against normal on 624 films of 224 x 224. Numbers of another task or film set stand
beside published ones only as orientation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ALEXNET_CLEAN = 0.10085470085470083
ALEXNET: Mapping[str, float] = {
    "medmnistc_pixelate": 0.22102564102564104,
    "medmnistc_jpeg_compression": 0.2798290598290598,
    "medmnistc_gaussian_noise": 0.4414529914529915,
    "medmnistc_speckle_noise": 0.3457264957264957,
    "medmnistc_impulse_noise": 0.4581196581196581,
    "medmnistc_shot_noise": 0.4106837606837607,
    "medmnistc_gaussian_blur": 0.2730769230769231,
    "medmnistc_brightness_up": 0.14649572649572645,
    "medmnistc_brightness_down": 0.2782051282051282,
    "medmnistc_contrast_up": 0.09529914529914527,
    "medmnistc_contrast_down": 0.23743589743589744,
    "medmnistc_gamma_corr_up": 0.09606837606837607,
    "medmnistc_gamma_corr_down": 0.16641025641025642,
}
"""Balanced error of AlexNet, mean of five severities, from the benchmark's own code (medmnistc 0.1.0, baselines.py)."""


@dataclass(frozen=True)
class RelativeErrors:
    """Balanced errors over those of a reference.

    Attributes:
        per_corruption: score of each corruption that has one.
        mean: mean of `per_corruption`; NaN when it is empty.
        left_out: corruptions without a meaningful score, with the reason.
    """

    per_corruption: Mapping[str, float]
    mean: float
    left_out: Mapping[str, str]


def be(errors: Mapping[str, Sequence[float]], reference: Mapping[str, float] = ALEXNET) -> RelativeErrors:
    """Balanced error of each corruption over the reference's.

    Args:
        errors: balanced error, 0 to 1, at the five severities, by name of the corruption.
        reference: mean balanced error of the reference, by name.

    Raises:
        ValueError: an unknown corruption, a number of severities other than five, or errors outside [0, 1].
    """
    means = _means(errors, reference)
    left_out = {name: "the reference makes no error" for name in means if reference[name] <= 0.0}
    scores = {name: mean / reference[name] for name, mean in means.items() if name not in left_out}
    return RelativeErrors(scores, _mean(scores), left_out)


def rbe(
    errors: Mapping[str, Sequence[float]],
    clean: float,
    reference: Mapping[str, float] = ALEXNET,
    reference_clean: float = ALEXNET_CLEAN,
) -> RelativeErrors:
    """Growth of the balanced error under each corruption over the growth of the reference's.

    Args:
        errors: balanced error, 0 to 1, at the five severities, by name of the corruption.
        clean: balanced error on clean films.
        reference: mean balanced error of the reference, by name.
        reference_clean: its balanced error on clean films.

    Raises:
        ValueError: as `be`, or `clean` outside [0, 1].
    """
    if not 0.0 <= clean <= 1.0:
        raise ValueError(f"clean error is {clean}; expected a balanced error between 0 and 1")
    scores, left_out = {}, {}
    for name, mean in _means(errors, reference).items():
        growth = reference[name] - reference_clean
        if growth <= 0.0:
            left_out[name] = f"the reference errs {-growth:.4f} less than on clean films: a ratio has no meaning"
        else:
            scores[name] = (mean - clean) / growth
    return RelativeErrors(scores, _mean(scores), left_out)


def _means(errors: Mapping[str, Sequence[float]], reference: Mapping[str, float]) -> dict[str, float]:
    """Mean over severities, checked."""
    means = {}
    for name, values in errors.items():
        if name not in reference:
            raise ValueError(f"the reference has no error for {name!r}; it has {', '.join(sorted(reference))}")
        if len(values) != 5 or not all(0.0 <= value <= 1.0 for value in values):
            raise ValueError(f"{name}: errors are {list(values)}; expected five balanced errors between 0 and 1")
        means[name] = math.fsum(values) / 5.0
    return means


def _mean(scores: Mapping[str, float]) -> float:
    return math.fsum(scores.values()) / len(scores) if scores else math.nan
