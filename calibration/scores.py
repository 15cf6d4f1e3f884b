"""How uncertain is a prediction? One number per film from logits, from features, or from several passes.

One convention everywhere: **a larger score means less sure, more out of distribution.** Scores commonly printed the
other way round (max softmax, max logit, margin) are negated.

    get("entropy")(logits (n, K)) -> (n,)                        names("logits") has all of these
    get("disagreement")(probabilities (S, n, K)) -> (n,)         S passes: MC dropout, an ensemble; names("passes")
    Mahalanobis.fit(features, labels).score(features) -> (n,), likewise Neighbours; Residual (ViM) takes logits too

To add a score of logits or of passes, write a function in a file of this folder; tables, CSV and figures of a run then
have it::

    from calibration.scores import register
    from calibration.validation import FloatArray, softmax

    @register("least-softmax")
    def least_softmax(logits: FloatArray) -> FloatArray:
        '''Minus the gap between the largest and the smallest probability.'''
        return softmax(logits).min(axis=1) - softmax(logits).max(axis=1)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp
from sklearn.covariance import ledoit_wolf
from sklearn.neighbors import NearestNeighbors

from calibration.registration import import_every_file, taken, unknown_name
from calibration.validation import (
    CalibrationError,
    FitError,
    FloatArray,
    TooFewFilmsError,
    checked_labels,
    checked_logits,
    softmax,
)

ENOUGH = 5  # films per feature dimension for a plain covariance
ROUNDING = 1e-6  # relative size below which float32 features say nothing
ScoreFunction = Callable[[FloatArray], FloatArray]
Of = Literal["logits", "passes"]
_REGISTRY: dict[str, tuple[Of, ScoreFunction]] = {}


def register(name: str, *, of: Of = "logits") -> Callable[[ScoreFunction], ScoreFunction]:
    """Register a score of logits (n, K), or of probabilities (S, n, K) from S >= 2 passes; `get` checks its input.

    Raises:
        CalibrationError: the name is taken.
    """

    def enter(function: ScoreFunction) -> ScoreFunction:
        if name in _REGISTRY:
            raise CalibrationError(taken("uncertainty score", name, _REGISTRY[name][1], function))
        _REGISTRY[name] = of, function
        return function

    return enter


def get(name: str) -> Callable[[ArrayLike], FloatArray]:
    """Return the score of that name, from checked input to (n,).

    Raises:
        CalibrationError: unknown name; the message lists the nearest ones.
    """
    if name not in names():
        raise CalibrationError(unknown_name("uncertainty score", name, names()))
    of, function = _REGISTRY[name]
    checked = checked_logits if of == "logits" else _checked_stack

    @wraps(function)
    def score(values: ArrayLike) -> FloatArray:
        return function(checked(values))

    return score


def names(of: Of | None = None) -> list[str]:
    """Names of the registered scores in the order of tables, of one kind or all; every file here has been asked."""
    import_every_file()
    return [name for name, (kind, _) in _REGISTRY.items() if of in {None, kind}]


@register("max-softmax")
def max_softmax(logits: FloatArray) -> FloatArray:
    """1 - max p (Hendrycks & Gimpel 2017)."""
    return np.asarray(1 - softmax(logits).max(axis=1))


@register("entropy")
def entropy(logits: FloatArray) -> FloatArray:
    """-sum p log p, in nats."""
    return _entropy(softmax(logits))


@register("margin")
def margin(logits: FloatArray) -> FloatArray:
    """Minus the gap between the two largest probabilities."""
    top = np.sort(softmax(logits), axis=1)
    return np.asarray(top[:, -2] - top[:, -1])


@register("max-logit")
def max_logit(logits: FloatArray) -> FloatArray:
    """- max z (Hendrycks et al. 2022)."""
    return np.asarray(-logits.max(axis=1))


@register("energy")
def energy(logits: FloatArray) -> FloatArray:
    """- log sum exp z, at temperature 1 (Liu et al. 2020, arXiv 2010.03759)."""
    return np.asarray(-logsumexp(logits, axis=1))


@register("predictive-entropy", of="passes")
def predictive_entropy(stack: FloatArray) -> FloatArray:
    """Entropy of the mean prediction: all uncertainty, whatever its source."""
    return _entropy(stack.mean(axis=0))


@register("mutual-information", of="passes")
def mutual_information(stack: FloatArray) -> FloatArray:
    """Entropy of the mean minus mean entropy (BALD): uncertainty because the passes disagree."""
    return np.asarray(_entropy(stack.mean(axis=0)) - _entropy(stack).mean(axis=0))


@register("disagreement", of="passes")
def disagreement(stack: FloatArray) -> FloatArray:
    """Share of passes that do not vote for the most voted class."""
    votes = stack.argmax(axis=2)
    counts = np.stack([(votes == k).sum(axis=0) for k in range(stack.shape[2])])
    return np.asarray(1 - counts.max(axis=0) / stack.shape[0])


@dataclass(frozen=True)
class Mahalanobis:
    """Squared Mahalanobis distance to the nearest class mean, one covariance (Lee et al. 2018, arXiv 1807.03888)."""

    means: FloatArray
    precision: FloatArray

    @classmethod
    def fit(cls, features: ArrayLike, labels: ArrayLike) -> Self:
        """Fit on features (n, d) and labels (n,) of films like those of training.

        With fewer than five films per dimension the covariance is shrunk (Ledoit & Wolf 2004).

        Raises:
            CalibrationError: bad features or labels; ClassAbsentError: a class below the largest label is missing.
        """
        f = _checked_features(features)
        y = np.asarray(labels)
        y = checked_labels(y, f.shape[0], int(y.max(initial=0)) + 1, all_classes=True)
        means = np.stack([f[y == k].mean(axis=0) for k in range(int(y.max()) + 1)])
        centred = f - means[y]
        if f.shape[0] >= ENOUGH * f.shape[1]:
            covariance = centred.T @ centred / f.shape[0]
        else:
            covariance, _ = ledoit_wolf(centred, assume_centered=True)
        # Features are float32: what varies less than their rounding is no direction, or rounding would decide.
        return cls(means, np.linalg.pinv(covariance, rcond=ROUNDING**2, hermitian=True))

    def score(self, features: ArrayLike) -> FloatArray:
        """Return the distance (n,) of features (n, d)."""
        f = _checked_features(features, self.means.shape[1])
        away = f[:, None, :] - self.means
        return np.asarray(np.einsum("nkd,de,nke->nk", away, self.precision, away, optimize=True).min(axis=1))


@dataclass(frozen=True)
class Neighbours:
    """Distance to the k-th nearest reference film, features scaled to length 1 (Sun et al. 2022, arXiv 2204.06507)."""

    index: NearestNeighbors
    width: int

    @classmethod
    def fit(cls, features: ArrayLike, *, k: int = 50) -> Self:
        """Fit on reference features (n, d).

        Raises:
            TooFewFilmsError: fewer than k reference films.
        """
        f = _checked_features(features)
        if f.shape[0] < k:
            raise TooFewFilmsError(f"the {k}-th neighbour needs at least {k} reference films, not {f.shape[0]}")
        return cls(NearestNeighbors(n_neighbors=k, algorithm="brute").fit(_unit(f)), f.shape[1])

    def score(self, features: ArrayLike) -> FloatArray:
        """Return the distance (n,), in [0, 2], of features (n, d)."""
        return np.asarray(self.index.kneighbors(_unit(_checked_features(features, self.width)))[0][:, -1])


@dataclass(frozen=True)
class Residual:
    """ViM (Wang et al. 2022, arXiv 2203.10807): what of a feature lies outside the principal space, plus energy."""

    origin: FloatArray
    outside: FloatArray
    scale: float

    @classmethod
    def fit(
        cls,
        features: ArrayLike,
        logits: ArrayLike,
        *,
        head: tuple[ArrayLike, ArrayLike] | None = None,
        dimensions: int | None = None,
    ) -> Self:
        """Fit on reference features (n, d) with their logits (n, K).

        Args:
            features: (n, d) what the last linear layer sees.
            logits: (n, K).
            head: weight (K, d) and bias (K,) of that layer, which place the origin as in the paper; None takes the
                mean.
            dimensions: of the principal space; None takes the paper's rule, d/2 below 1024 features (512 below 2048,
                else 1000).

        Raises:
            TooFewFilmsError: not more reference films than dimensions.
            FitError: the features fill the principal space only.
            CalibrationError: shapes that do not fit.
        """
        f = _checked_features(features)
        z = checked_logits(logits)
        d = f.shape[1]
        kept = dimensions if dimensions is not None else (1000 if d >= 2048 else 512 if d > 1024 else d // 2)
        if not 0 < kept < d or f.shape[0] <= kept or z.shape[0] != f.shape[0]:
            raise TooFewFilmsError(
                f"a principal space of {kept} of {d} dimensions needs more than {kept} films with logits, "
                f"not {f.shape[0]}"
            )
        if head is None:
            origin = f.mean(axis=0)
        else:
            origin = -np.linalg.pinv(np.asarray(head[0], dtype=np.float64)) @ np.asarray(head[1], dtype=np.float64)
        centred = f - origin
        _, vectors = np.linalg.eigh(centred.T @ centred / f.shape[0])
        outside = vectors[:, : d - kept]
        residual = np.linalg.norm(centred @ outside, axis=1)
        if residual.mean() <= ROUNDING * np.linalg.norm(centred, axis=1).mean():
            raise FitError(f"all features lie in {kept} of {d} dimensions: nothing is left outside to measure")
        return cls(origin, outside, float(z.max(axis=1).mean() / residual.mean()))

    def score(self, features: ArrayLike, logits: ArrayLike) -> FloatArray:
        """Return scale x residual + energy (n,) of features (n, d) and logits (n, K)."""
        f = _checked_features(features, self.origin.size)
        return np.asarray(
            self.scale * np.linalg.norm((f - self.origin) @ self.outside, axis=1) + energy(checked_logits(logits))
        )


def _entropy(p: FloatArray) -> FloatArray:
    return np.asarray(-(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=-1))


def _unit(features: FloatArray) -> FloatArray:
    return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12))


def _checked_features(features: ArrayLike, width: int | None = None) -> FloatArray:
    f = np.asarray(features, dtype=np.float64)
    if f.ndim != 2 or f.shape[0] < 1 or (width is not None and f.shape[1] != width):
        raise CalibrationError(f"features must have shape (films, {width or 'dimensions'}), not {f.shape}")
    if not np.isfinite(f).all():
        raise CalibrationError(
            f"{int((~np.isfinite(f)).any(axis=1).sum())} films have features that are NaN or infinite"
        )
    return f


def _checked_stack(stack: ArrayLike) -> FloatArray:
    p = np.asarray(stack, dtype=np.float64)
    if p.ndim != 3 or p.shape[0] < 2:
        raise CalibrationError(
            f"probabilities of several passes must have shape (passes >= 2, films, classes), not {p.shape}"
        )
    if not np.isfinite(p).all() or p.min() < 0 or np.abs(p.sum(axis=2) - 1).max() > 1e-3:
        raise CalibrationError("every pass must give probabilities that sum to 1")
    return p
