"""The prediction table: one row per (subject, film, condition), and the engine that fills it.

Every film is decoded once, changed into all its conditions, preprocessed, and answered in batches of constant size
(the last one padded): with a constant size the logits of an input do not depend on its place in the batch, so a run
that was killed and resumed, or one that finds half its rows in the cache, ends with the same bytes as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torchvision
from scipy.special import softmax
from torch import Tensor
from tqdm import tqdm

from suites.harness.cache import Shards
from suites.harness.cohort import Cohort, Film
from suites.harness.conditions import CLEAN, Condition, apply_all
from suites.harness.errors import FilmUnreadable, PredictionProblem
from suites.harness.subject import Subject

BATCH = 16
ENGINE_VERSION = 1
FLUSH_SECONDS = 5.0
KEY = ["content", "image", "identity"]
Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Predictions:
    """What one subject answered on one cohort.

    Attributes:
        table: columns `subject`, `cohort`, `image`, `condition`, `severity`, `logit_0` ... `logit_{K-1}`, `undefined`
            (why the condition has no meaning for this film, else empty; its logits are then NaN); in cohort order,
            then in the order of the conditions.
        features: (N, D) float32 penultimate features of the clean films, rows as the clean rows of the table.
        excluded: columns `cohort`, `file`, `reason`: the films that could not be read.
        computed: rows that were not in the cache.
    """

    table: pd.DataFrame
    features: npt.NDArray[np.float32] | None
    excluded: pd.DataFrame
    computed: int


@dataclass
class _Work:
    """One film on its way: its identity, its input pixels per condition, and the rows that need no network."""

    image: str
    content: str
    pixels: list[tuple[Condition, Tensor]] = field(default_factory=list)
    undefined: list[tuple[Condition, str]] = field(default_factory=list)


def predict(
    subject: Subject,
    cohort: Cohort,
    conditions: Sequence[Condition],
    *,
    seed: int,
    cache: Path,
    quiet: bool = False,
) -> Predictions:
    """Return the predictions of a subject on every film under every condition, computing only what the cache lacks.

    Raises:
        PredictionProblem: the subject answered NaN, infinity or the wrong shape; the image is named.
        UsageProblem: the cache cannot be written.
    """
    shards = Shards(cache, "predictions", _key(subject, seed))
    engine = _Engine(subject, seed, shards)
    films, excluded = engine.run(cohort, conditions, quiet=quiet)
    return engine.collect(cohort, conditions, films, excluded)


def _key(subject: Subject, seed: int) -> dict[str, object]:
    return {
        "subject": subject.fingerprint,
        "preprocessing": subject.preprocessing.fingerprint(),
        "recipes": {name: recipe.fingerprint() for name, recipe in sorted(subject.preprocessings.items())},
        "seed": seed,
        "batch": BATCH,
        "engine": ENGINE_VERSION,
        "device": torch.device(subject.device).type,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }


class _Engine:
    """Fills the cache for one subject."""

    def __init__(self, subject: Subject, seed: int, shards: Shards) -> None:
        self.subject, self.seed, self.shards = subject, seed, shards
        self.width = len(subject.classes)
        known = shards.read()
        self.frames = [known]
        self.done = set(zip(*(known[name] for name in KEY), strict=True)) if len(known) else set()
        self.fresh: list[dict[str, object]] = []
        self.computed = 0
        self.views: dict[tuple[str, str], tuple[int, list[Logits]]] = {}
        self.flushed = time.monotonic()

    def run(
        self, cohort: Cohort, conditions: Sequence[Condition], *, quiet: bool
    ) -> tuple[dict[str, str], list[tuple[str, str]]]:
        """Compute what is missing; return image -> content of the readable films, and (file, reason) of the others."""
        films: dict[str, str] = {}
        excluded: list[tuple[str, str]] = []
        waiting: list[tuple[str, str, Condition, Tensor]] = []
        rows = [{str(key): value for key, value in row.items()} for row in cohort.table.to_dict("records")]
        bar = tqdm(
            total=len(rows),
            unit="film",
            desc=f"{self.subject.name} on {cohort.name}",
            disable=quiet or None,
            leave=False,
        )
        try:
            for row, work in self._prepared(rows, cohort, conditions):
                bar.update()
                if isinstance(work, FilmUnreadable):
                    excluded.append((str(row["file"]), str(work)))
                    continue
                films[work.image] = work.content
                for condition, reason in work.undefined:
                    self._keep((work.image, work.content), condition, undefined=reason)
                waiting += [
                    (work.image, work.content, condition, view)
                    for condition, pixels in work.pixels
                    for view in self._announce(work.image, condition, pixels)
                ]
                while len(waiting) >= BATCH:
                    self._answer(waiting[:BATCH])
                    del waiting[:BATCH]
                if time.monotonic() - self.flushed > FLUSH_SECONDS:
                    self._flush()
            while waiting:
                self._answer(waiting[:BATCH])
                del waiting[:BATCH]
        finally:
            bar.close()
            self._flush()
        return films, excluded

    def _prepared(
        self, rows: Iterable[Mapping[str, object]], cohort: Cohort, conditions: Sequence[Condition]
    ) -> Iterator[tuple[Mapping[str, object], _Work | FilmUnreadable]]:
        """Decode and perturb one film ahead of the network, in one further thread."""

        def prepare(row: Mapping[str, object]) -> _Work | FilmUnreadable:
            try:
                return self._prepare(row, cohort, conditions)
            except FilmUnreadable as unreadable:
                return unreadable

        with ThreadPoolExecutor(max_workers=1) as pool:
            pending = None
            for row in rows:
                following = (row, pool.submit(prepare, row))
                if pending:
                    yield pending[0], pending[1].result()
                pending = following
            if pending:
                yield pending[0], pending[1].result()

    def _prepare(self, row: Mapping[str, object], cohort: Cohort, conditions: Sequence[Condition]) -> _Work:
        image = str(row["id"])
        film: Film | None = None
        content = cohort.identify(row) if cohort.identify else None
        if content is None:
            film = cohort.decode(row)
            content = film.content
        work = _Work(image, content)
        missing = [condition for condition in conditions if (content, image, condition.identity) not in self.done]
        if not missing:
            return work
        film = film or cohort.decode(row)
        pixels = torch.from_numpy(film.pixels)
        lungs = torch.from_numpy(film.masks["lung"]) if "lung" in film.masks else None
        for condition, changed, reason in apply_all(pixels, missing, image, seed=self.seed, lungs=lungs):
            if changed is None:
                work.undefined.append((condition, reason))
            else:
                work.pixels.append((condition, self._input(changed, condition)))
        return work

    def _announce(self, image: str, condition: Condition, views: Tensor) -> Tensor:
        """Remember how many views of a film to wait for."""
        self.views[image, condition.text] = len(views), []
        return views

    def _input(self, views: Tensor, condition: Condition) -> Tensor:
        """Return (V, C, S, S) network input, or the films themselves for a subject that is only asked whole films."""
        if self.subject.network is None:
            return views
        name = condition.preprocessing
        recipe = self.subject.with_preprocessing(name).preprocessing if name else self.subject.preprocessing
        with torch.inference_mode():
            return recipe(views)

    def _answer(self, batch: Sequence[tuple[str, str, Condition, Tensor]]) -> None:
        features: Tensor | None = None
        if self.subject.respond is not None:
            logits = self.subject.respond([pixels for *_, pixels in batch])
        else:
            stack = torch.stack([pixels for *_, pixels in batch])
            if len(stack) < BATCH:
                stack = torch.cat([stack, stack.new_zeros(BATCH - len(stack), *stack.shape[1:])])
            logits, features = self.subject.answer(stack.to(self.subject.device))
        values = logits[: len(batch)].detach().to("cpu", torch.float32).numpy()
        if values.shape != (len(batch), self.width):
            raise PredictionProblem(
                f"{self.subject.name} answered with shape {tuple(logits.shape)} for {len(batch)} films of "
                f"{self.width} classes (first image: {batch[0][0]})"
            )
        vectors = None if features is None else features[: len(batch)].detach().to("cpu", torch.float32).numpy()
        for index, (image, content, condition, _) in enumerate(batch):
            if not np.isfinite(values[index]).all():
                raise PredictionProblem(
                    f"{self.subject.name} answered {values[index].tolist()} for image {image!r} under "
                    f"{condition.text}: not finite; check the weights and the film"
                )
            wanted, seen = self.views[image, condition.text]
            seen.append(values[index])
            if len(seen) == wanted:
                del self.views[image, condition.text]
                vector = vectors[index] if vectors is not None and condition.text == CLEAN else None
                self._keep((image, content), condition, seen[0] if wanted == 1 else _averaged(seen), vector)

    def _keep(
        self,
        film: tuple[str, str],
        condition: Condition,
        logits: Logits | None = None,
        features: Logits | None = None,
        undefined: str = "",
    ) -> None:
        image, content = film
        values = np.full(self.width, np.nan, np.float32) if logits is None else logits
        row: dict[str, object] = {
            "content": content,
            "image": image,
            "identity": condition.identity,
            "undefined": undefined,
        }
        row |= {f"logit_{index}": value for index, value in enumerate(values)}
        row["features"] = None if features is None else features.tobytes()
        self.fresh.append(row)
        self.computed += 1

    def _flush(self) -> None:
        """Move finished rows into the cache; interrupts wait until the shard is whole."""
        rows = pd.DataFrame(self.fresh)
        self.shards.add(rows)
        self.frames.append(rows)
        self.fresh = []
        self.flushed = time.monotonic()

    def collect(
        self,
        cohort: Cohort,
        conditions: Sequence[Condition],
        films: Mapping[str, str],
        excluded: Sequence[tuple[str, str]],
    ) -> Predictions:
        """Return the table in cohort order from the rows of the cache."""
        order = pd.DataFrame(
            [
                (films[image], image, condition.identity, condition.text, condition.severity)
                for image in cohort.table["id"].astype(str)
                if image in films
                for condition in conditions
            ],
            columns=[*KEY, "condition", "severity"],
        )
        frames = [frame for frame in self.frames if len(frame)]
        known = pd.concat(frames, ignore_index=True).drop_duplicates(KEY) if frames else pd.DataFrame(columns=KEY)
        table = order.merge(known, on=KEY, how="left", validate="many_to_one")
        clean = table.loc[table["condition"] == CLEAN, "features"]
        features = None
        if len(clean) and clean.notna().all():
            features = np.stack([np.frombuffer(value, np.float32) for value in clean])
        columns = [f"logit_{index}" for index in range(self.width)]
        table = table.assign(subject=self.subject.name, cohort=cohort.name)
        table = table[["subject", "cohort", "image", "condition", "severity", *columns, "undefined"]]
        table = table.astype(dict.fromkeys(columns, "float32"))
        left_out = pd.DataFrame(
            [(cohort.name, file, reason) for file, reason in excluded], columns=["cohort", "file", "reason"], dtype=str
        )
        return Predictions(table, features, left_out, self.computed)


def _averaged(views: Sequence[Logits]) -> Logits:
    """Return the logits of the mean probability over several views of a film."""
    probabilities = softmax(np.stack(views).astype(np.float64), axis=1).mean(axis=0)
    return np.asarray(np.log(np.maximum(probabilities, np.finfo(np.float64).tiny)), dtype=np.float32)
