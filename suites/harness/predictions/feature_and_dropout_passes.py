"""Which passes go beyond the prediction table? Features of changed films, and Monte Carlo dropout.

Kept in the same cache, in the same blocks, so that an interrupted run goes on where it stopped and workers share them.
Every film is a batch of its own, and its random numbers come from (image, condition, seed): no answer depends on its
neighbours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit, logit
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from robustness.content_cache import forget
from robustness.perturbation import PerturbationUndefined
from suites.harness.cache.code_digest import decoding
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.blocks import Told, cut
from suites.harness.predictions.conditions import CLEAN, Condition, parse, shown
from suites.harness.predictions.engine import device_of_films, films_on, threads_of
from suites.harness.predictions.film_work import Asking, Values, rows_of
from suites.harness.predictions.opened import Opened
from suites.harness.predictions.resolution import Resolution
from suites.harness.subjects.finding import own_finding
from suites.harness.subjects.subject import Subject

PASSES = 16
"""Passes of Monte Carlo dropout per film."""
VERSION = 3
Numbers = npt.NDArray[np.float32]
Compute = Callable[[Subject, Tensor, int], Numbers]


def features_under(answers: Answers, condition: str, cache: Path) -> Numbers | None:
    """Return (N, D) penultimate features under a condition, NaN rows where it is undefined for a film.

    `None` where the subject has no linear head (or no network) to read them from.
    """
    if condition == CLEAN:
        return answers.predictions.features
    if _asked(answers).head is None:
        return None
    return _kept(answers, condition, "features", cache)


def dropout_passes(answers: Answers, condition: str, cache: Path) -> Numbers | None:
    """Return (S, N, K) probabilities of S = 16 passes with dropout left on, NaN where the condition is undefined.

    `None` where the subject has no dropout of a rate above 0.
    """
    if not dropouts(answers.subject):
        return None
    stacked = _kept(answers, condition, "dropout", cache)
    passes = stacked.reshape(len(stacked), PASSES, -1).transpose(1, 0, 2)
    return passes if answers.subject.whole is None else _of_finding(answers, passes)


def _asked(answers: Answers) -> Subject:
    """Return the subject that is passed through: that of all findings, whose passes all of them share."""
    return answers.subject.whole or answers.subject


def _of_finding(answers: Answers, passes: Numbers) -> Numbers:
    """Return (S, N, 2) probabilities of one finding, counted from its operating point, of (S, N, F) of all."""
    index, offset = own_finding(answers.subject)
    there = np.asarray(expit(logit(passes[..., index].astype(np.float64)) - offset), dtype=np.float32)
    return np.stack([1 - there, there], axis=-1)


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
    logits = logits.to("cpu", torch.float32)
    return np.asarray((logits.softmax(dim=1) if subject.heads == "softmax" else logits.sigmoid()).numpy())


@contextmanager
def _left_on(layers: list[nn.Module]) -> Iterator[None]:
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()


PASSES_OF: Mapping[str, Compute] = {"features": _features, "dropout": _dropped}
"""Kind of a pass -> what gives a film's values."""


@dataclass(frozen=True, kw_only=True)
class Passes:
    """Passes of one kind over films under one condition.

    Attributes:
        kind: of `PASSES_OF`.
        condition: what is done to the films.
        seed: of the run.
        resolution: at which films are perturbed.
    """

    kind: str
    condition: Condition
    seed: int
    resolution: Resolution

    @property
    def columns(self) -> Mapping[str, str]:
        """Columns of a row and their kinds."""
        return {"values": "bytes"}

    def conditions(self) -> Iterable[Condition]:
        """Yield the condition."""
        yield self.condition

    def key(self, subjects: Sequence[Subject], asked: str) -> Mapping[str, object]:  # noqa: ARG002 - one question
        """Return everything that decides the values of a film besides the condition."""
        (subject,) = subjects
        return {
            **subject.cache_key,
            "kind": self.kind,
            "seed": self.seed,
            "passes": PASSES,
            "decoding": decoding(),
            "resolution": str(self.resolution),
            "version": VERSION,
            **threads_of(subject),
            **device_of_films(subject),
        }

    def identity(self, asked: str, films: Sequence[Opened]) -> str:  # noqa: ARG002 - each film is a batch of its own
        """Return what is done to the films."""
        return self.condition.identity

    def rows(
        self, subjects: Sequence[Subject], asked: str, films: Sequence[Opened], lacking: Sequence[int], told: Told
    ) -> Iterator[tuple[int, Values]]:
        """Yield the place of a film and its values as bytes, none where the condition is undefined for it."""
        del asked, told  # each film alone
        for at in lacking:
            yield at, {"values": self._values(subjects[0], films[at])}

    def _values(self, subject: Subject, film: Opened) -> bytes:
        image = film.key[0]
        try:
            with torch.inference_mode():
                views = shown(
                    film.decode(), self.condition, image, seed=self.seed, resolution=self.resolution,
                    device=films_on(subject),
                )  # fmt: skip
                pixels = subject.pixels(views)
        except PerturbationUndefined:
            return b""
        finally:
            forget()
        digest = hashlib.sha256(f"{image}\x1f{self.condition.text}\x1f{self.seed}".encode()).digest()
        values = PASSES_OF[self.kind](subject, pixels, int.from_bytes(digest[:7], "little"))
        return np.ascontiguousarray(values, dtype=np.float32).tobytes()


def _kept(answers: Answers, condition: str, kind: str, cache: Path) -> Numbers:
    """Return (N, ...) values of every film, computing what the cache lacks.

    Raises:
        FilmUnreadable: a film that was predicted cannot be read any more.
    """
    work = Passes(kind=kind, condition=parse(condition), seed=answers.seed, resolution=answers.resolution)
    asking = Asking(replace(answers, subject=_asked(answers)), work, cache, each=0)
    rows = asking.rows(cut(rows_of(answers, range(len(answers.images)))))
    found = [np.frombuffer(row["values"], np.float32) for row in rows]
    width = max(len(values) for values in found)
    return np.stack([values if len(values) else np.full(width, np.nan, np.float32) for values in found])
