"""Does a map depend on what the network learned? Cascading randomisation of the weights, and completeness.

Adebayo et al. 2018 (arXiv:1810.03292): destroy the weights layer by layer from the logits down; a map that stays the
same never showed what was learned. Arun et al. 2021 (doi:10.1148/ryai.2021200267) give the pass rule used here: after
full randomisation a film's map must be no more similar (SSIM) to its original than the maps of two different films are
to each other. It passes, or fails, where the whole interval of that difference says so; else it is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from explain.attribution import Attribution, AttributionMap
from explain.network import F64, NotAttributableError, generator_for
from explain.similarity import Average, average, rank_correlation, structural_similarity

Outcome = Literal["passed", "failed", "undecided", "not evaluable"]
MINIMUM_FILMS = 3
"""Fewer films than this give no pairs to compare with."""

UNCHANGED = 0.95
"""A mean SSIM above this after full randomisation fails whatever the threshold: a map that is the same for every film
and every network would otherwise pass, being no more like itself than like the others.
"""


@dataclass(frozen=True)
class Randomisation:
    """Outcome of cascading randomisation for one method.

    Attributes:
        method: its name.
        stages: name of the deepest module randomised at each stage, from the logits down; the last stage has randomised
            everything.
        ssim: (stages, films) similarity of each film's map to its original; NaN where either map is not finite.
        rank_correlation: (stages, films) likewise.
        pair_ssim: (films,) mean similarity of a film's original map to original maps of other films.
        outcome: "passed" if the interval of the difference lies wholly at or below 0, "failed" if wholly above (or the
            maps are flat, or did not change), "undecided" between the two.
        difference: mean over films of last-stage SSIM minus pair SSIM (negative is good), with n and the number left
            out.
        interval: percentile bootstrap interval (95 %, over films) of that difference.
        reason: the outcome in words.
        left_out: films whose original or randomised maps were not finite, with the reason.
    """

    method: str
    stages: tuple[str, ...]
    ssim: F64
    rank_correlation: F64
    pair_ssim: F64
    outcome: Outcome
    difference: Average
    interval: tuple[float, float]
    reason: str
    left_out: dict[str, str]


def randomisable_modules(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the modules that hold weights of their own, from the logits down (reverse order of registration)."""
    own = [
        (name, module)
        for name, module in network.named_modules()
        if any(True for _ in module.parameters(recurse=False))
    ]
    return own[::-1]


def randomise_(module: nn.Module, name: str, seed: int) -> None:
    """Redraw a module's own weights from a normal of the same size, in place: structure is lost, scale is kept.

    Tensors of two or more axes get mean zero and their old root mean square; vectors (biases, scales) their old mean
    and deviation.
    """
    for part, weight in module.named_parameters(recurse=False):
        old = weight.detach().double()
        mean, spread = (0.0, old.square().mean().sqrt()) if weight.ndim > 1 else (old.mean(), old.std(unbiased=False))
        fresh = torch.randn(
            weight.shape, generator=generator_for(f"{name}.{part}", "randomisation", seed), dtype=torch.float64
        )
        with torch.no_grad():
            weight.copy_((mean + spread * fresh.to(old.device)).to(weight.dtype))


@contextmanager
def restored_afterwards(network: nn.Module) -> Iterator[None]:
    """Give every parameter and buffer back bit for bit, whatever happened inside.

    Raises:
        RuntimeError: a tensor could not be restored; nothing computed with the network afterwards can be trusted.
    """
    kept = {name: tensor.detach().clone() for name, tensor in _tensors(network)}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, tensor in _tensors(network):
                tensor.copy_(kept[name])
        changed = [
            name for name, tensor in _tensors(network) if not torch.equal(tensor.nan_to_num(), kept[name].nan_to_num())
        ]
        if changed:
            raise RuntimeError(f"the network could not be restored: {', '.join(changed[:5])}")


def _tensors(network: nn.Module) -> list[tuple[str, Tensor]]:
    return [*network.named_parameters(), *network.named_buffers()]


def _stage_ends(modules: int, stages: int) -> list[int]:
    """Return how many modules are randomised after each stage: the classifier alone first, then equal parts."""
    count = min(stages, modules)
    if count == 1:
        return [modules]
    return [1 + round((modules - 1) * step / (count - 1)) for step in range(count)]


def cascading_randomisation(
    method: Attribution,
    network: nn.Module,
    pixels: Tensor,
    targets: Tensor | Sequence[int] | int,
    image_ids: Sequence[str],
    *,
    stages: int = 4,
    pairs: int = 50,
    seed: int = 0,
) -> Randomisation:
    """Randomise the network from the logits down and compare each film's map with its original.

    The targets stay those of the trained network and every random choice of the method stays the same, so that only
    weights differ.

    Args:
        method: what is being checked.
        network: a module; restored bit for bit afterwards.
        pixels: (B, C, S, S) in [0, 1].
        targets: class index per film, or one for all.
        image_ids: B names.
        stages: how many maps per film along the cascade.
        pairs: at least so many pairs of different films set the threshold, if there are that many films.
        seed: of the new weights and of the method.

    Raises:
        NotAttributableError: the method is not valid for this network.
    """
    original = method(network, pixels, targets, image_ids, seed)
    modules = randomisable_modules(network)
    if not modules:
        raise NotAttributableError(
            method.name, "the network has no weights that can be redrawn (quantised ones cannot)"
        )
    ends = _stage_ends(len(modules), stages)
    ssim, rank = np.full((len(ends), len(pixels)), np.nan), np.full((len(ends), len(pixels)), np.nan)
    left_out = dict(original.left_out)
    with restored_afterwards(network):
        done = 0
        for row, end in enumerate(ends):
            for name, module in modules[done:end]:
                randomise_(module, name, seed)
            done = end
            try:
                now = method(network, pixels, targets, image_ids, seed)
            except NotAttributableError as error:  # a guard that depends on the weights; the stage stays NaN
                left_out |= dict.fromkeys(image_ids, f"refused after randomisation: {error.reason}")
                continue
            left_out |= {
                name: f"{reason} after randomisation" for name, reason in now.left_out.items() if name not in left_out
            }
            ssim[row] = [structural_similarity(a, b) for a, b in zip(original.maps, now.maps, strict=True)]
            rank[row] = [rank_correlation(a, b) for a, b in zip(original.maps, now.maps, strict=True)]
    against = pair_similarity(original, pairs, seed)
    outcome, reason, difference, interval = judge_randomisation(original, ssim[-1], against, seed)
    names = tuple(modules[end - 1][0] for end in ends)
    return Randomisation(method.name, names, ssim, rank, against, outcome, difference, interval, reason, left_out)


def pair_similarity(maps: AttributionMap, pairs: int = 50, seed: int = 0) -> F64:
    """Return each film's mean SSIM with maps of other films, (B,); every film meets equally many."""
    films = len(maps.image_ids)
    if films < 2:
        return np.full(films, np.nan)
    others = min(films - 1, math.ceil(pairs / films))
    random = np.random.default_rng([seed, films])
    order = random.permutation(films)
    steps = random.permutation(np.arange(1, films))[:others]
    result = np.full(films, np.nan)
    for place, film in enumerate(order):
        partners = [order[(place + step) % films] for step in steps]
        result[film] = average(
            [structural_similarity(maps.maps[film], maps.maps[partner]) for partner in partners]
        ).mean
    return result


def judge_randomisation(
    original: AttributionMap, last: F64, against: F64, seed: int = 0
) -> tuple[Outcome, str, Average, tuple[float, float]]:
    """Apply the pass rule to last-stage and pair SSIM, (B,) each: outcome, reason, mean difference, interval."""
    difference = last - against
    finite = difference[np.isfinite(difference)]
    mean = average(difference)
    if mean.n < MINIMUM_FILMS:
        return (
            "not evaluable",
            f"only {mean.n} films have usable maps; at least {MINIMUM_FILMS} are needed",
            mean,
            (math.nan, math.nan),
        )
    draws = np.random.default_rng([seed, mean.n]).integers(0, mean.n, size=(2000, mean.n))
    low, high = np.quantile(finite[draws].mean(axis=1), [0.025, 0.975])
    flat = sum(status == "flat" for status in original.status)
    if flat > len(original.status) / 2:
        return (
            "failed",
            f"{flat} of {len(original.status)} maps are flat: there is nothing to lose",
            mean,
            (float(low), float(high)),
        )
    ours, theirs = average(last).mean, average(against).mean
    words = f"SSIM to the original after all weights were redrawn {ours:.3f}, between different films {theirs:.3f}"
    if ours > UNCHANGED:
        return "failed", f"{words}: the map did not change", mean, (float(low), float(high))
    outcome: Outcome = "passed" if high <= 0 else "failed" if low > 0 else "undecided"
    words += f", difference {mean.mean:+.3f} ({low:+.3f} to {high:+.3f})".replace("-", "\N{MINUS SIGN}")
    return outcome, words, mean, (float(low), float(high))


@dataclass(frozen=True)
class Completeness:
    """Whether maps add up to the logit difference they promise: relative gap per film, its average, and the outcome."""

    method: str
    relative_gap: F64
    average: Average
    worst: float
    tolerance: float
    outcome: Outcome


def completeness(maps: AttributionMap, tolerance: float = 0.05) -> Completeness:
    """Check each map's sum against the logit difference; passed if the mean relative gap is within `tolerance`.

    Differences are floored (`AttributionMap.relative_gap`): a gap of .01 of a logit passes at the default tolerance.
    """
    gap = maps.relative_gap
    if gap is None:
        return Completeness(
            maps.method, np.full(len(maps.maps), np.nan), average([]), math.nan, tolerance, "not evaluable"
        )
    mean = average(gap)
    if mean.n == 0:
        return Completeness(maps.method, gap, mean, math.nan, tolerance, "not evaluable")
    worst = float(np.nanmax(gap))
    return Completeness(maps.method, gap, mean, worst, tolerance, "passed" if mean.mean <= tolerance else "failed")
