"""Which passes go beyond the prediction table? Features of changed films, and Monte Carlo dropout.

Kept in the same cache, film by film, so that an interrupted run goes on where it stopped. Every film is a batch of its
own, and its random numbers come from (image, condition, seed): no answer depends on its neighbours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from robustness.perturbation import PerturbationUndefined
from suites.harness.cache import Shards
from suites.harness.cache.code_digest import decoding
from suites.harness.cohorts.cohort import Film
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN, Condition, parse, shown
from suites.harness.subjects.subject import Subject

PASSES = 16
"""Passes of Monte Carlo dropout per film."""
COLUMNS = {"content": "text", "image": "text", "identity": "text", "values": "bytes"}
Numbers = npt.NDArray[np.float32]
Compute = Callable[[Subject, Tensor, int], Numbers]


def features_under(answers: Answers, condition: str, cache: Path) -> Numbers | None:
    """Return (N, D) penultimate features under a condition, NaN rows where it is undefined for a film.

    `None` where the subject has no linear head (or no network) to read them from.
    """
    if condition == CLEAN:
        return answers.predictions.features
    if answers.subject.head is None:
        return None
    return _kept(answers, condition, "features", _features, cache)


def dropout_passes(answers: Answers, condition: str, cache: Path) -> Numbers | None:
    """Return (S, N, K) probabilities of S = 16 passes with dropout left on, NaN where the condition is undefined.

    `None` where the subject has no dropout of a rate above 0.
    """
    if not dropouts(answers.subject):
        return None
    stacked = _kept(answers, condition, "dropout", _dropped, cache)
    return stacked.reshape(len(stacked), PASSES, -1).transpose(1, 0, 2)


def dropouts(subject: Subject) -> list[nn.Module]:
    """Return the dropout layers of a subject that do something."""
    layers = subject.network.modules() if subject.network is not None else ()
    return [layer for layer in layers if isinstance(layer, _DropoutNd) and layer.p > 0]


def _features(subject: Subject, pixels: Tensor, _seed: int) -> Numbers:
    features = subject.answer(pixels)[1]
    assert features is not None  # noqa: S101 - a subject with a head has features
    return np.asarray(features[0].to("cpu", torch.float32).numpy())


def _dropped(subject: Subject, pixels: Tensor, seed: int) -> Numbers:
    device = torch.device(subject.device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []), _left_on(dropouts(subject)):
        torch.manual_seed(seed)
        logits, _ = subject.answer(pixels.expand(PASSES, -1, -1, -1).contiguous())
    return np.asarray(logits.to("cpu", torch.float32).softmax(dim=1).numpy())


@contextmanager
def _left_on(layers: list[nn.Module]) -> Iterator[None]:
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()


def _kept(answers: Answers, condition: str, kind: str, compute: Compute, cache: Path) -> Numbers:
    """Return (N, ...) values of every film, computing what the cache lacks."""
    shards, asked = Shards(cache, kind, _key(answers, kind), COLUMNS), parse(condition)
    opened = (
        (image, *answers.cohort.opened(row)) for image, row in zip(answers.images, answers.cohort.rows(), strict=True)
    )
    rows = shards.fill(
        tuple(COLUMNS)[:3],
        (
            ((content, image, asked.identity), partial(_computed, answers, image, decode, asked, compute))
            for image, content, decode in opened
        ),
    )
    found = [np.frombuffer(row["values"], np.float32) for row in rows]
    width = max(len(values) for values in found)
    return np.stack([values if len(values) else np.full(width, np.nan, np.float32) for values in found])


def _computed(
    answers: Answers, image: str, decode: Callable[[], Film], condition: Condition, compute: Compute
) -> dict[str, bytes]:
    """Return the `values` of one film as bytes, none where the condition is undefined for it."""
    try:
        with torch.inference_mode():
            views = shown(decode(), condition, image, seed=answers.seed, resolution=answers.resolution)
            pixels = answers.subject.pixels(views)
    except PerturbationUndefined:
        return {"values": b""}
    digest = hashlib.sha256(f"{image}\x1f{condition.text}\x1f{answers.seed}".encode()).digest()
    values = compute(answers.subject, pixels, int.from_bytes(digest[:7], "little"))
    return {"values": np.ascontiguousarray(values, dtype=np.float32).tobytes()}


def _key(answers: Answers, kind: str) -> dict[str, object]:
    return {
        **answers.subject.cache_key,
        "kind": kind,
        "seed": answers.seed,
        "passes": PASSES,
        "decoding": decoding(),
        "resolution": str(answers.resolution),
        "version": 2,
    }
