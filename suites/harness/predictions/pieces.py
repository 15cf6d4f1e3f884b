"""How does a film become what the subjects of a run are asked about it? Changed once into each of its conditions."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from robustness.content_cache import forget
from suites.harness.cache import FilmKey
from suites.harness.errors import PredictionProblem, one_line
from suites.harness.foreign_code import foreign
from suites.harness.predictions.ahead import AT_WORK, Room
from suites.harness.predictions.conditions import Condition, ConditionFailed, apply_all, in_floats
from suites.harness.predictions.engine import Engine
from suites.harness.predictions.opened import Opened
from suites.harness.predictions.resolution import Resolution
from suites.harness.process import give_back

STORED_IMAGES, WORKING_IMAGES = 12, 40
"""Images of the size of a film, as stored and as it is perturbed, that are in use at once, what is remembered of it
included."""

LARGE = 16 * 1024**2
"""Bytes of a film from which on freed memory is handed back after it: its pieces fit nothing else."""
HUGE = 48 * 1024**2
"""Bytes of a film from which on it is handed back after each condition: half a gigabyte would lie idle else."""


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
            image, content = opened.key
            askers: dict[Condition, list[Engine]] = {}
            for engine, conditions in self.wanted:
                for condition in engine.missing(image, content, conditions):
                    askers.setdefault(condition, []).append(engine)
            if not askers:
                return
            film = opened.decode()
            large = film.pixels.nbytes > LARGE
            with self.room.holding(turn, _needed(film.pixels, self.resolution)):
                for condition, views, reason in apply_all(
                    film, askers, image, seed=self.seed, resolution=self.resolution
                ):
                    if isinstance(reason, ConditionFailed):
                        yield Failed(condition, str(reason)), 0
                    elif views is None:
                        yield from ((Undefined(one, opened.key, condition, reason), 0) for one in askers[condition])
                    else:
                        yield from _inputs(askers[condition], opened.key, condition, views)
                    if film.pixels.nbytes > HUGE and (condition.native or self.resolution.side is None):
                        give_back()
        finally:
            forget()
            if large:
                give_back()
            self.room.passed(turn)


def _needed(film: npt.NDArray[np.float32], resolution: Resolution) -> int:
    """Return the bytes that are in use while a film is perturbed: images of it, and of what is worked on of it."""
    height, width = film.shape
    shorter = min(height, width)
    scale = 1.0 if resolution.side is None else min(1.0, resolution.side / shorter)
    return round(film.nbytes * (STORED_IMAGES + WORKING_IMAGES * scale * scale))


def _inputs(
    engines: Sequence[Engine], film: FilmKey, condition: Condition, views: Tensor
) -> Iterator[tuple[Piece, int]]:
    """Yield what each engine is asked about a film's views; the same recipe is run once."""
    inputs: dict[object, Tensor] = {}
    for engine in engines:
        if engine.subject.network is None:
            whole = in_floats(views)
            yield Asked(engine, film, condition, whole), whole.nbytes
            continue
        recipe = engine.recipe(condition)
        key = type(recipe), tuple(recipe.fingerprint().items())  # a user's recipe has code of its own
        if key not in inputs:
            what = f"the preprocessing {recipe.name!r} failed on image {one_line(film[0], 40)}"
            with foreign(PredictionProblem, what, at=type(recipe)), torch.inference_mode():
                inputs[key] = recipe(views if recipe.takes_bytes else in_floats(views))
        yield Asked(engine, film, condition, inputs[key]), inputs[key].untyped_storage().nbytes()
