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
from suites.harness.cache import BlockShards, Unfinished
from suites.harness.cache.code_digest import decoding
from suites.harness.cache.places import Root
from suites.harness.cache.shards import SET_ASIDE
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.identities import Identities
from suites.harness.errors import FilmUnreadable
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.blocks import Block, Filed, Nobody, Receipt, Told, cut, gathered, way_to_read
from suites.harness.predictions.conditions import CLEAN, Condition, parse, shown
from suites.harness.predictions.engine import device_of_films, films_on, threads_of
from suites.harness.predictions.opened import Opened, opened
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
class PassJob:
    """Passes of one kind over films under one condition.

    Attributes:
        subject: its name.
        kind: of `PASSES_OF`.
        condition: what is done to the films.
        cohort: how films are read.
        seed: of the run.
        cache: where values are kept, a folder or an address.
        resolution: at which films are perturbed.
        threads: that films are decoded in; `None`: one for each core.
    """

    subject: str
    kind: str
    condition: Condition
    cohort: Cohort
    seed: int
    cache: Root
    resolution: Resolution
    threads: int | None = None

    def asked(self) -> Iterable[Condition]:
        """Yield the condition."""
        yield self.condition

    def in_threads(self, threads: int) -> PassJob:
        """Return the same job with films decoded in so many threads."""
        return replace(self, threads=threads)

    def ready(self, subjects: Mapping[str, Subject]) -> Passing:
        """Return the job with its subject."""
        subject = subjects[self.subject]
        key = {
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
        return Passing(self, subject, BlockShards(self.cache, self.kind, key, {"values": "bytes"}))


@dataclass(frozen=True)
class Passing:
    """A job of passes with its subject, and where finished blocks are kept."""

    job: PassJob
    subject: Subject
    shards: BlockShards

    def found_block(self, block: Block, told: Told) -> Receipt | None:  # noqa: ARG002 - films, not passes, are counted
        """Return the receipt of a block whose values are all in the cache, `None` where some are not."""
        films, unreadable, aside = self._opened(block)
        found = not films or self.shards.read([film.key for film in films], [self.job.condition.identity]) is not None
        return self._receipt(block, films, unreadable, aside, 0) if found else None

    def answer_block(self, block: Block, told: Told) -> Receipt:  # noqa: ARG002 - as above
        """Return the receipt of a block, whose values are in the cache when this returns."""
        films, unreadable, aside = self._opened(block)
        keys, identity = [film.key for film in films], self.job.condition.identity
        computed = 0
        if films and self.shards.read(keys, [identity]) is None:
            with Unfinished(self.shards, keys, [identity]) as unfinished:
                for film, (image, content) in zip(films, keys, strict=True):
                    if (content, image, identity) not in unfinished.rows:
                        row = {"content": content, "image": image, "identity": identity, "values": self._values(film)}
                        unfinished.keep(row)
                unfinished.finished(keys, [identity])
            computed = unfinished.computed
        return self._receipt(block, films, unreadable, aside, computed)

    def _opened(self, block: Block) -> tuple[list[Opened], list[tuple[str, str]], int]:
        return *opened(self.job.cohort, block.rows, self.job.threads), len(SET_ASIDE)

    def _receipt(
        self, block: Block, films: Sequence[Opened], unreadable: Sequence[tuple[str, str]], aside: int, computed: int
    ) -> Receipt:
        keys = [film.key for film in films]
        filed = {self.job.subject: Filed(keys, [self.job.condition.identity], computed)}
        return Receipt(number=block.number, films=keys, filed=filed, unreadable=unreadable, set_aside=SET_ASIDE[aside:])

    def _values(self, film: Opened) -> bytes:
        """Return the values of one film as bytes, none where the condition is undefined for it."""
        job, image = self.job, film.key[0]
        try:
            with torch.inference_mode():
                views = shown(
                    film.decode(), job.condition, image, seed=job.seed, resolution=job.resolution,
                    device=films_on(self.subject),
                )  # fmt: skip
                pixels = self.subject.pixels(views)
        except PerturbationUndefined:
            return b""
        finally:
            forget()
        digest = hashlib.sha256(f"{image}\x1f{job.condition.text}\x1f{job.seed}".encode()).digest()
        values = PASSES_OF[job.kind](self.subject, pixels, int.from_bytes(digest[:7], "little"))
        return np.ascontiguousarray(values, dtype=np.float32).tobytes()


def _kept(answers: Answers, condition: str, kind: str, cache: Path) -> Numbers:
    """Return (N, ...) values of every film, computing what the cache lacks.

    Raises:
        FilmUnreadable: a film that was predicted cannot be read any more.
    """
    subject = _asked(answers)
    name = subject.name
    identities = Identities(answers.cohort, cache)
    job = PassJob(
        subject=name, kind=kind, condition=parse(condition), cohort=way_to_read(identities.cohort), seed=answers.seed,
        cache=cache if answers.blocks_at is None else answers.blocks_at, resolution=answers.resolution,
    )  # fmt: skip
    passing = job.ready({name: subject})
    blocks = cut(identities.rows)
    receipts = sorted(answers.workers.receipts(passing, blocks, Nobody()), key=lambda receipt: receipt.number)
    for file, reason in (film for receipt in receipts for film in receipt.unreadable):
        raise FilmUnreadable(reason, file=file)
    rows = gathered(passing.shards, name, receipts)
    found = [np.frombuffer(values, np.float32) for values in rows["values"].to_pylist()]
    width = max(len(values) for values in found)
    return np.stack([values if len(values) else np.full(width, np.nan, np.float32) for values in found])
