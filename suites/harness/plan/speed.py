"""How fast is this machine with these subjects and films? Found out in about a second, on the first film."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd
import torch

from suites.harness.cohorts.cohort import Cohort, Film
from suites.harness.cohorts.layouts.boxes import COLUMN as BOXES
from suites.harness.errors import FilmUnreadable, NotEvaluable
from suites.harness.foreign_code import foreign
from suites.harness.predictions.conditions import Condition, apply_all, in_floats
from suites.harness.predictions.resolution import Resolution
from suites.harness.process import LARGE, mapping
from suites.harness.subjects.subject import Subject

FILMS = 2
"""Films in a pass that is timed: of the slowest networks one such pass takes a second."""
TRIED = 5
"""Films that are looked at for one that can be read."""


@dataclass(frozen=True)
class Speed:
    """Seconds that bare work takes here.

    Attributes:
        forward: subject -> seconds per film of a forward pass; none of a service, which nobody asked yet.
        backward: the same of a backward pass, beside its forward pass.
        decoding: role of a cohort -> seconds per film until its pixels are there; of films that were looked at before
            and are kept, those of finding them again.
        changing: seconds per film and condition, until the network can be asked.
        masks: names of the masks that the film carries, or of which the table tells for any other.
        shape: of the film, (height, width); empty where none of the first could be read.
    """

    forward: dict[str, float]
    backward: dict[str, float]
    decoding: Mapping[str, float]
    changing: float
    masks: frozenset[str]
    shape: tuple[int, ...]

    @property
    def film(self) -> int:
        """Bytes of the film's pixels; 0 where none could be read."""
        return 4 * math.prod(self.shape) if self.shape else 0


def measure(
    subjects: Sequence[Subject],
    cohorts: Mapping[str, Cohort],
    conditions: Sequence[Condition],
    resolution: Resolution,
    *,
    seed: int,
    seconds: float = 1.0,
) -> Speed:
    """Return how long passes and changes take; what is begun within the time is finished.

    Args:
        subjects: whose networks are timed, on noise.
        cohorts: role -> films that are asked about; the first readable one of each is taken.
        conditions: under which that of `main` will be shown; as many as the time allows are tried, spread over all.
        resolution: at which it is perturbed.
        seed: of the run.
        seconds: for everything together.
    """
    networks = [subject for subject in subjects if subject.network is not None]
    share = seconds / 2 / max(1, len(networks)) / 2
    forward, backward = {}, {}
    for subject in networks:
        # What is wrong with a network the run will say; of one with dropout no random number is used up.
        with suppress(NotEvaluable), foreign(NotEvaluable, "it cannot be timed"), torch.random.fork_rng([]):
            forward[subject.name], backward[subject.name] = _passes(subject, share)
    decoding: dict[str, float] = {}
    film, image, changing = None, "", 0.0
    for role, cohort in cohorts.items():
        found, name, decoding[role] = _first(cohort)
        if role == "main":
            film, image = found, name
    if film is not None and conditions:
        step = max(1, len(conditions) // 12)
        order = [condition for first in range(step) for condition in conditions[first::step]]
        recipe = subjects[0].preprocessing if subjects else None
        began = time.perf_counter()
        after = [began]
        with mapping(LARGE):
            for _, views, _ in apply_all(film, order, image, seed=seed, resolution=resolution):
                if views is not None and recipe is not None:
                    recipe(views if recipe.takes_bytes else in_floats(views))
                after.append(time.perf_counter())
                if after[-1] - began > seconds / 2:
                    break
        changing = _each(after)
    return Speed(
        forward, backward, decoding, changing,
        frozenset(film.masks) | told_masks(cohorts["main"].table) if film is not None else frozenset(),
        film.pixels.shape if film is not None else (),
    )  # fmt: skip


def _each(after: Sequence[float]) -> float:
    """Return seconds per view from when each was there; what a first call sets up (libraries, tables) is not counted.

    Nearly all of that falls on the first view and on the slowest, so they are left out of more than four.
    """
    took = [end - start for start, end in pairwise(after)]
    if len(took) > 4:
        took = took[1:]
        took.remove(max(took))
    return sum(took) / max(1, len(took))


def told_masks(table: pd.DataFrame) -> frozenset[str]:
    """Return the masks that a cohort's table names for any film: in a column of masks, or as boxes of findings.

    Of some collections a film in a hundred has boxes, and the first has none.
    """
    found = set()
    for column in map(str, table):
        mask = (
            "lesion" if column in ("mask", BOXES) else column.removesuffix("_mask") if column.endswith("_mask") else ""
        )
        if mask and table[column].fillna("").astype(str).ne("").any():
            found.add(mask)
    return frozenset(found)


def _first(cohort: Cohort) -> tuple[Film | None, str, float]:
    """Return the first readable film with its id, and the seconds of the quicker of two: the first sets things up."""
    film, image, seconds = None, "", [0.0]
    for row in cohort.rows(range(min(TRIED, len(cohort)))):
        began = time.perf_counter()
        try:
            decoded = cohort.opened(row)[1]()
        except FilmUnreadable:
            continue
        took = time.perf_counter() - began
        if film is not None:
            return film, image, min(*seconds, took)
        film, image, seconds = decoded, str(row["id"]), [took]
    return film, image, min(seconds)


def _passes(subject: Subject, seconds: float) -> tuple[float, float]:
    """Return the seconds of a forward pass of one film, and of the backward pass after it; none where none is had."""
    network, recipe = subject.network, subject.preprocessing
    assert network is not None  # noqa: S101 - `measure` left the others out
    shape = FILMS, recipe.channels, recipe.size, recipe.size
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(subject.device)
    with torch.inference_mode():
        forward = _timed(lambda: network(noise).cpu(), seconds)

    def both() -> None:
        pixels = noise.clone().requires_grad_()
        torch.autograd.grad(network(pixels).sum(), pixels)[0].cpu()  # a GPU is waited for

    try:
        return forward, max(0.0, _timed(both, seconds) - forward)
    except RuntimeError:  # what torch raises where no gradient reaches the film
        return forward, 0.0


def _timed(work: Callable[[], object], seconds: float) -> float:
    """Return the seconds per film of a pass of several; the first, which sets things up, counts only if it is long."""
    began = time.perf_counter()
    work()
    first = time.perf_counter() - began
    if first > seconds:
        return first / FILMS
    passes, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        work()
        passes += 1
    return (time.perf_counter() - began) / max(1, passes) / FILMS


def cores() -> int:
    """Return the cores on which films are made ready."""
    return os.cpu_count() or 1
