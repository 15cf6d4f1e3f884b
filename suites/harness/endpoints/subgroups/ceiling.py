"""What could no network pass on these labels? Bounds from how films that look alike are labelled.

Two films in the same place of the feature space that are labelled differently are one error at least for whatever is
decided there. Of the nearest films of other patients this bounds the error of every classifier of these features; of
films that are as good as the same (twins: one film filed twice, or two exposures) it is the error of the labels alone.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from suites.harness.claims import Measure
from suites.harness.endpoints.subgroups.groups import Films
from suites.harness.formatting.cells import percent
from suites.harness.latest import Latest
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN
from suites.harness.statistics import Floats, Integers

TWIN, AMONG = 0.02, 10
"""Distance of twins in the feature space, at most, as a share of the median distance of the tenth nearest film: in two
dimensions or more next to no films of a cohort are so near by chance."""
FEWEST_FEATURES = 16
"""Below which films may be near by chance, however many there are."""
FEWEST_TWINS = 10
"""Pairs below which the labels of twins say nothing."""


def ceiling(answers: Answers, features: npt.NDArray[np.float32], keep: Films) -> tuple[list[Measure], str]:
    """Return the least error of any classifier of some features on their labels, how many labels are wrong, in words.

    Args:
        answers: of the subject.
        features: (N, D) of the clean films.
        keep: (N,) the films to look at.
    """
    near = _neighbours(features[keep], answers.resamples.cluster[keep])
    bound, told = _least_error(answers, near, keep)
    noise, said = _label_noise(answers.labels[keep], near, features.shape[1])
    return [bound, *noise], f"{told} {said}"


@dataclass(frozen=True)
class Neighbours:
    """Which films are nearest to each other in the feature space; which labels they have does not matter.

    Attributes:
        of_others: (n,) the nearest film of another patient.
        nearest: (n,) the nearest film.
        squared: (n,) squared distance of that one.
        usual: median squared distance of the tenth nearest film; NaN of fewer films.
    """

    of_others: Integers
    nearest: Integers
    squared: Floats
    usual: float


_KEPT: Latest[Neighbours] = Latest(1)
"""Of the features that were looked at last: findings of one subject are asked about the same films."""


def _neighbours(features: npt.NDArray[np.float32], owner: Integers) -> Neighbours:
    """Return the neighbours of films by their features (n, D) and patients (n,)."""
    key = hashlib.sha256(f"{features.shape} {features.dtype}".encode())
    for part in (features, owner):
        key.update(np.ascontiguousarray(part).tobytes())
    return _KEPT.once(key.digest(), lambda: _found(features, owner))


def _found(features: npt.NDArray[np.float32], owner: Integers) -> Neighbours:
    x = features.astype(np.float64)
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-9)
    distance = (x**2).sum(axis=1)[:, None] - 2 * x @ x.T + (x**2).sum(axis=1)
    np.fill_diagonal(distance, np.inf)
    usual = math.nan
    if len(x) > AMONG + 1:
        usual = float(np.median(np.partition(distance, AMONG - 1, axis=1)[:, AMONG - 1]))
    nearest, squared = distance.argmin(axis=1), distance.min(axis=1)
    of_others = np.where(owner[:, None] == owner, np.inf, distance).argmin(axis=1)
    return Neighbours(of_others, nearest, squared, usual)


def _wrong(disagree: float, classes: int) -> float:
    """Return which error e explains that two labels drawn for one place disagree so often.

    Both are right, or both wrong alike, with probability (1 - e)^2 + e^2 / (K - 1).
    """
    share = classes / max(classes - 1, 1)
    return (1 - math.sqrt(max(1 - share * disagree, 0.0))) / share


def _least_error(answers: Answers, near: Neighbours, keep: Films) -> tuple[Measure, str]:
    """By the error e of the nearest film of another patient (Cover & Hart 1967, 10.1109/TIT.1967.1053964).

    With K classes the Bayes error is at least (K - 1)/K (1 - sqrt(1 - K/(K - 1) e)). It holds for ever more films; on
    few the neighbour is far, and the bound too high. Noise in the labels is part of it: no network passes that either.
    """
    labels = answers.labels[keep]
    wrong = np.zeros(len(keep))
    wrong[keep] = labels[near.of_others] != labels
    error = answers.rate(wrong, keep)
    ends, classes = error.interval(), len(np.unique(labels))
    low, estimate, high = (_wrong(value, classes) for value in (ends.low, ends.estimate, ends.high))
    measure = Measure(
        name="least_error_of_the_features", condition=CLEAN, unit="share", estimate=estimate, low=low, high=high,
        n=int(keep.sum()), patients=error.patients, estimator=f"Cover and Hart's bound, {error.estimator}",
    )  # fmt: skip
    return measure, (
        f"No classifier of these features could err on fewer than about {percent(estimate)} of these labels "
        f"({percent(low)} to {percent(high)}, by the nearest film of another patient, which errs on "
        f"{percent(ends.estimate)}); wrong labels are part of that."
    )


def _label_noise(labels: npt.NDArray[np.int64], near: Neighbours, features: int) -> tuple[list[Measure], str]:
    """By twins, films nearest to each other and as good as the same, whose labels differ (exact binomial interval)."""
    if features < FEWEST_FEATURES or len(labels) <= AMONG + 1:
        return [], "How many labels are wrong cannot be told from so few features or films."
    nearest, films = near.nearest, np.arange(len(labels))
    twins = (near.squared <= TWIN**2 * near.usual) & (nearest[nearest] == films) & (films < nearest)
    pairs = int(twins.sum())
    if pairs < FEWEST_TWINS:
        return [], f"{pairs or 'No'} pairs of films are as good as the same, too few to tell how many labels are wrong."
    differ = int((labels[twins] != labels[nearest[twins]]).sum())
    interval = binomtest(differ, pairs).proportion_ci(method="exact")
    classes = len(np.unique(labels))
    low, estimate, high = (_wrong(value, classes) for value in (interval.low, differ / pairs, interval.high))
    measure = Measure(
        name="wrong_labels", condition=CLEAN, unit="share", estimate=estimate, low=low, high=high, n=2 * pairs,
        patients=pairs, estimator="labels of twins, Clopper-Pearson over pairs",
    )  # fmt: skip
    return [measure], (
        f"Of {pairs} pairs of films that are as good as the same, {differ} are labelled differently, so about "
        f"{percent(estimate)} of the labels are wrong ({percent(low)} to {percent(high)})."
    )
