"""How does a film become what the subjects of a run are asked about it? Changed once into each of its conditions.

Where their networks are: decoded on the CPU, a film goes there once, and what is made of it stays. First comes what
acts on every pixel as stored, then the film is averaged down, and needs less.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor

from robustness.content_cache import forget, held
from suites.harness.cache import FilmKey
from suites.harness.errors import PredictionProblem, one_line
from suites.harness.foreign_code import foreign
from suites.harness.predictions.ahead import AT_WORK, Held, Room
from suites.harness.predictions.conditions import Condition, ConditionFailed, changed_in, images, in_floats
from suites.harness.predictions.engine import Engine
from suites.harness.predictions.opened import Opened
from suites.harness.predictions.resolution import Resolution
from suites.harness.process import LARGE, give_back, mapping
from suites.harness.subjects.preprocessing import Preprocessing

IMAGES = 16
"""Images of the film that is perturbed, float32, that are in use at once: itself, what the dearest perturbation needs
(grids 14.7, photon noise 12.3), what of it is remembered included. Measured on the standard grid at 4096 x 4096."""
LUNG_IMAGES, MOST_FOR_LUNGS = 24, 128 * 1024**2
"""Further ones where all that was found out about a film is remembered, and the dearest white-out is made; both are
bounded in bytes."""
REMEMBERED = 128 * 1024**2
"""Bytes that are remembered of a film from one perturbation to the next."""
TOGETHER = 64 * 1024**2
"""Bytes of equally large films under several conditions that are resized as one batch, on a GPU."""

HUGE = 48 * 1024**2
"""Bytes of a film from which on every image of it is handed back at once: half a gigabyte would lie idle else."""

CPU = torch.device("cpu")
Made = tuple[Condition, Tensor | None, str | ConditionFailed]
"""A condition, the views of a film under it, and if there are none, why."""


@dataclass(frozen=True)
class Asked:
    """What an engine is asked about a film under a condition."""

    engine: Engine
    film: FilmKey
    condition: Condition
    views: Tensor


@dataclass(frozen=True)
class Undefined:
    """Why an engine is not asked about a film under a condition."""

    engine: Engine
    film: FilmKey
    condition: Condition
    reason: str


@dataclass(frozen=True)
class Failed:
    """A condition whose code failed, and how."""

    condition: Condition
    how: str


Piece = Asked | Undefined | Failed


@dataclass(frozen=True)
class Making:
    """How a film becomes what the engines are asked about it.

    Attributes:
        wanted: engines, and the conditions each is asked under.
        seed: of the run.
        resolution: at which it is perturbed.
        room: for films that are worked on at once.
    """

    wanted: Sequence[tuple[Engine, Sequence[Condition]]]
    seed: int
    resolution: Resolution
    room: Room = field(default_factory=lambda: Room(AT_WORK))

    def pieces(self, turn: int, opened: Opened) -> Generator[tuple[Piece, int]]:
        """Yield what is missing of a film's conditions, each made once for all subjects, with the bytes of each."""
        large = False
        try:
            everywhere = self._askers(opened.key)
            if not everywhere:
                return
            size = None if opened.shape is None else needed(opened.shape, self.resolution)
            with self.room.holding(turn, size) as room:
                film = opened.decode()
                large = film.pixels.nbytes > LARGE
                if large:
                    give_back()  # what decoding needed, where nothing of the film's size would fit again
                films = {device: images(film, device) for device in everywhere}
                del film
                for device, askers in everywhere.items():
                    made = self._made(*films.pop(device), opened.key[0], askers, room)
                    yield from _pieces(made, opened.key, askers, 0 if device == CPU else TOGETHER)
        finally:
            forget()
            if large:
                give_back()
            self.room.passed(turn)

    def _askers(self, film: FilmKey) -> dict[torch.device, dict[Condition, list[Engine]]]:
        """Return what is missing of a film, and who asks for it, by where it is wanted."""
        everywhere: dict[torch.device, dict[Condition, list[Engine]]] = {}
        for engine, conditions in self.wanted:
            for condition in engine.missing(*film, conditions):
                everywhere.setdefault(engine.films_on, {}).setdefault(condition, []).append(engine)
        return everywhere

    def _made(
        self, pixels: Tensor, lungs: Tensor | None, image: str, conditions: Iterable[Condition], room: Held
    ) -> Iterator[Made]:
        """Yield a film (H, W) under each condition, those that act on it as stored before all others."""
        shape = pixels.shape
        room.becomes(needed(shape, self.resolution))
        wanted = sorted(conditions, key=lambda condition: not condition.native)
        for native, some in groupby(wanted, key=lambda condition: condition.native):
            if not native:
                pixels, lungs = self.resolution.working(pixels, lungs)
            if pixels.shape != shape:
                forget()
                room.becomes(needed(pixels.shape, self.resolution))
            finer, before = min(shape) / min(pixels.shape), None
            with mapping(LARGE) if pixels.nbytes > HUGE else nullcontext():
                for made in changed_in(pixels, some, image, seed=self.seed, lungs=lungs, finer=finer):
                    # The severities of one perturbation stand together and look at the same.
                    if made[0].perturbation != before and held() > REMEMBERED:
                        forget()
                    before = made[0].perturbation
                    yield made


def needed(shape: Sequence[int], resolution: Resolution) -> int:
    """Return the bytes that are in use while a film (height, width) is perturbed, as stored or as it is made to be."""
    stored = 4 * math.prod(shape)
    scale = 1.0 if resolution.side is None else min(1.0, resolution.side / min(shape))
    working = round(stored * scale * scale)
    return max(IMAGES * stored, IMAGES * working + min(LUNG_IMAGES * working, MOST_FOR_LUNGS))


def _pieces(
    made: Iterable[Made], film: FilmKey, askers: Mapping[Condition, Sequence[Engine]], most: int
) -> Iterator[tuple[Piece, int]]:
    """Yield what each engine is asked, from films under conditions in batches of at most so many bytes."""
    batch: list[tuple[Condition, Tensor]] = []
    for condition, views, reason in made:
        if isinstance(reason, ConditionFailed):
            yield Failed(condition, str(reason)), 0
        elif views is None:
            yield from ((Undefined(one, film, condition, reason), 0) for one in askers[condition])
        else:
            if sum(one.nbytes for _, one in batch) + views.nbytes > most:
                yield from _asked(batch, film, askers)
                batch.clear()
            batch.append((condition, views))
    yield from _asked(batch, film, askers)


def _asked(
    batch: Sequence[tuple[Condition, Tensor]], film: FilmKey, askers: Mapping[Condition, Sequence[Engine]]
) -> Iterator[tuple[Piece, int]]:
    """Yield what each engine is asked about a film's views; the same recipe is run once on all that it is for."""
    wanted: dict[object, tuple[Preprocessing, list[tuple[Condition, Tensor, Engine]]]] = {}
    for condition, views in batch:
        for engine in askers[condition]:
            if engine.subject.network is None:
                whole = in_floats(views)
                yield Asked(engine, film, condition, whole), whole.nbytes
                continue
            recipe = engine.recipe(condition)
            # A user's recipe has code of its own; only films of one size and kind are resized together.
            key = type(recipe), tuple(recipe.fingerprint().items()), views.shape[1:], views.dtype
            wanted.setdefault(key, (recipe, []))[1].append((condition, views, engine))
    for recipe, asked in wanted.values():
        films = {condition: views for condition, views, _ in asked}
        what = f"the preprocessing {recipe.name!r} failed on image {one_line(film[0], 40)}"
        with foreign(PredictionProblem, what, at=type(recipe)), torch.inference_mode():
            whole = torch.cat(list(films.values())) if len(films) > 1 else next(iter(films.values()))
            inputs = recipe(whole if recipe.takes_bytes else in_floats(whole))
        size = inputs.untyped_storage().nbytes() // len(films)
        parts = dict(zip(films, inputs.split_with_sizes([len(views) for views in films.values()]), strict=True))
        yield from ((Asked(engine, film, condition, parts[condition]), size) for condition, _, engine in asked)
