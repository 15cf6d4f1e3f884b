"""How does one subject predict the films of a block? What is known of them already, and batches of constant size.

With a constant batch size (the last one of a block padded) the logits of an input do not depend on its neighbours, so a
run that was killed and resumed, one that finds half its rows in the cache, or one of several processes, ends with the
same bytes as one that was not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit, softmax
from torch import Tensor

from suites.harness.cache import BlockShards, FilmKey, Unfinished
from suites.harness.cache.code_digest import decoding
from suites.harness.cache.places import Root
from suites.harness.errors import PredictionProblem, QuestionFailed, SubjectProblem, one_line
from suites.harness.predictions.conditions import CLEAN, Condition
from suites.harness.predictions.resolution import AS_STORED, Resolution
from suites.harness.subjects.heads import Heads
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Subject

MOST_WAITING = 128 * 1024**2
"""Bytes of whole films that wait for a service."""
ENGINE_VERSION = 3
Numbers = npt.NDArray[np.float32]


class Engine:
    """Answers films for one subject, block by block, and keeps what it answered.

    Args:
        subject: the classifier.
        batch: films that its network answers at once.
        seed: of the run; part of the cache's key.
        cache: root of the cache.
        resolution: at which films are perturbed.

    Attributes:
        shards: where finished blocks are kept.
        films_on: where films are perturbed and resized for it.
    """

    def __init__(
        self, subject: Subject, batch: int, seed: int, cache: Root, resolution: Resolution = AS_STORED
    ) -> None:
        self.subject, self.batch = subject, batch
        self.width = len(subject.classes)
        self.films_on = films_on(subject)
        self.shards = BlockShards(cache, "predictions", _key(subject, batch, seed, resolution), _columns(self.width))
        self._block: Unfinished
        self._waiting: list[tuple[str, str, Condition, Tensor]] = []
        self._views: dict[tuple[str, str], tuple[int, list[Numbers]]] = {}

    @contextmanager
    def answering(self, films: Sequence[FilmKey], conditions: Sequence[Condition]) -> Iterator[None]:
        """Begin a block; what was answered when something ends it, an interrupt included, is kept as a part.

        Args:
            films: id and content of each.
            conditions: they are asked under.
        """
        self._waiting, self._views = [], {}
        with Unfinished(self.shards, films, [condition.identity for condition in conditions]) as self._block:
            yield

    def missing(self, image: str, content: str, conditions: Sequence[Condition]) -> list[Condition]:
        """Return the conditions under which a film of this block has not been answered yet."""
        return [condition for condition in conditions if (content, image, condition.identity) not in self._block.rows]

    def finished(self, films: Sequence[FilmKey], conditions: Sequence[Condition]) -> None:
        """Answer what is still waiting, and keep the block as done.

        Args:
            films: of the block, those that could be read.
            conditions: whose code did not fail.
        """
        while self._waiting:
            self._answer(min(self.batch, len(self._waiting)))
        self._block.finished(films, [condition.identity for condition in conditions])

    @property
    def computed(self) -> int:
        """Rows of the block that were not in the cache."""
        return self._block.computed

    def recipe(self, condition: Condition) -> Preprocessing:
        """Return the preprocessing a condition asks for."""
        name = condition.preprocessing
        return self.subject.with_preprocessing(name).preprocessing if name else self.subject.preprocessing

    def ask(self, film: tuple[str, str], condition: Condition, views: Tensor) -> None:
        """Queue a film's views; full batches are answered at once.

        Args:
            film: image id and content.
            condition: what was done to it.
            views: (V, C, S, S) network input, or (V, H, W) films for a subject that is only asked whole films.
        """
        self._views[film[0], condition.text] = len(views), []
        self._waiting += [(*film, condition, view) for view in views]
        while len(self._waiting) >= self.batch:
            self._answer(self.batch)
        # Films that are asked about whole are each answered alone, so that fewer at a time change nothing.
        if self.subject.network is None and sum(view.nbytes for *_, view in self._waiting) > MOST_WAITING:
            self._answer(len(self._waiting))

    def note_undefined(self, film: tuple[str, str], condition: Condition, reason: str) -> None:
        """Keep a row without logits for a film that a condition has no meaning for."""
        self._keep(film, condition, undefined=reason)

    def _answer(self, size: int) -> None:
        batch = self._waiting[:size]
        del self._waiting[:size]
        try:
            logits, features = self._forward([view for *_, view in batch])
        except QuestionFailed as problem:  # a service that fails in the middle of a run
            raise SubjectProblem(f"{problem} (asked about the film {one_line(batch[problem.at][0], 60)})") from problem
        except PredictionProblem as problem:
            first, last = batch[0], batch[-1]
            raise PredictionProblem(
                f"{problem}; images {one_line(first[0], 30)} ({one_line(first[2].text, 30)}) to "
                f"{one_line(last[0], 30)} ({one_line(last[2].text, 30)})"
            ) from problem
        values = logits[: len(batch)].detach().to("cpu", torch.float32).numpy()
        vectors = None if features is None else features[: len(batch)].detach().to("cpu", torch.float32).numpy()
        for index, (image, content, condition, _) in enumerate(batch):
            if not np.isfinite(values[index]).all():
                raise PredictionProblem(
                    f"{self.subject.name} answered {values[index].tolist()} for image {image!r} under "
                    f"{condition.text}: not finite; check the weights and the film"
                )
            wanted, seen = self._views[image, condition.text]
            seen.append(values[index])
            if len(seen) == wanted:
                del self._views[image, condition.text]
                vector = vectors[index] if vectors is not None and condition.text == CLEAN else None
                self._keep(
                    (image, content), condition, seen[0] if wanted == 1 else _averaged(seen, self.subject.heads), vector
                )

    def _forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        if self.subject.respond is not None:
            return self.subject.reply(inputs), None
        stack = torch.stack(list(inputs))
        if len(stack) < self.batch:
            stack = torch.cat([stack, stack.new_zeros(self.batch - len(stack), *stack.shape[1:])])
        return self.subject.answer(stack.to(self.subject.device))

    def _keep(
        self,
        film: tuple[str, str],
        condition: Condition,
        logits: Numbers | None = None,
        features: Numbers | None = None,
        undefined: str = "",
    ) -> None:
        image, content = film
        values = np.full(self.width, np.nan, np.float32) if logits is None else logits
        row: dict[str, object] = {"content": content, "image": image, "identity": condition.identity}
        row |= {"undefined": undefined, "features": None if features is None else features.tobytes()}
        row |= {f"logit_{index}": value for index, value in enumerate(values)}
        self._block.keep(row)


def _key(subject: Subject, batch: int, seed: int, resolution: Resolution) -> dict[str, object]:
    key = {**subject.cache_key, "seed": seed, "batch": batch, "engine": ENGINE_VERSION, "decoding": decoding()}
    key |= threads_of(subject) | device_of_films(subject)
    # Of films perturbed as stored nothing has changed: their key is that of earlier versions.
    return key if resolution.side is None else {**key, "resolution": str(resolution)}


def threads_of(subject: Subject) -> dict[str, int]:
    """Return the threads that a CPU divides a sum among, for they decide its last digits: a part of a cache's key."""
    on_cpu = subject.network is not None and torch.device(subject.device).type == "cpu"
    return {"threads": torch.get_num_threads()} if on_cpu else {}


def films_on(subject: Subject) -> torch.device:
    """Return where films are perturbed and resized for a subject: where its network is, so that they move once.

    On the CPU where there is no network, where a recipe is somebody's own and may know no other device, and for Apple's
    GPUs, which have no double precision.
    """
    recipes = (subject.preprocessing, *subject.preprocessings.values())
    device, cpu = torch.device(subject.device), torch.device("cpu")
    anywhere = subject.network is not None and all(type(recipe) is Preprocessing for recipe in recipes)
    return device if anywhere and device.type != "mps" else cpu


def device_of_films(subject: Subject) -> dict[str, object]:
    """Return that films were not perturbed on the CPU, for a grey value in ten thousand may differ: part of a key."""
    device = films_on(subject)
    return {} if device.type == "cpu" else {"films": f"on {device.type}"}


def _columns(width: int) -> dict[str, str]:
    logits = {f"logit_{index}": "number" for index in range(width)}
    return {"undefined": "text", "features": "bytes", **logits}


def _averaged(views: Sequence[Numbers], heads: Heads) -> Numbers:
    """Return the logits of the mean probability over several views of a film."""
    if heads == "sigmoid":
        there = np.clip(
            expit(np.stack(views).astype(np.float64)).mean(axis=0),
            np.finfo(np.float64).tiny,
            1 - np.finfo(np.float64).eps,
        )
        return np.asarray(np.log(there) - np.log1p(-there), dtype=np.float32)
    probabilities = softmax(np.stack(views).astype(np.float64), axis=1).mean(axis=0)
    return np.asarray(np.log(np.maximum(probabilities, np.finfo(np.float64).tiny)), dtype=np.float32)
