"""What was done to a film before the subject saw it? Conditions, written as text that a claim can name.

    clean                          the film as it came
    gamma_low@3                    a perturbation of `robustness` at a severity
    stripes@3 | notch_filter       a perturbation, then a remedy, in that order
    preprocessing:hub              the other published preprocessing, on the clean film
    gamma_low@1-5                  in a claims table: the five severities

A condition knows how to apply itself and what its cached predictions depend on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby

import torch
from torch import Tensor

from robustness import perturbation
from robustness.content_cache import unchanging
from robustness.filters import stored
from robustness.perturbation import PerturbationUndefined
from robustness.remedies import REMEDIES
from suites.harness.cohorts.cohort import Film
from suites.harness.errors import UsageProblem, one_line
from suites.harness.foreign_code import foreign
from suites.harness.predictions.resolution import AS_STORED, Resolution
from suites.harness.process import LARGE, mapping

CLEAN = "clean"


class ConditionFailed(Exception):
    """The code of a step raised something, or returned what no film can be; one line with its place."""


REMEDY_VERSION = 2
_STEP = re.compile(r"(?P<name>[a-z][a-z0-9_]*)(?:@(?P<low>[1-5])(?:-(?P<high>[1-5]))?)?")


@dataclass(frozen=True)
class Condition:
    """A chain of steps on the film, and the preprocessing if it is not the subject's own.

    Attributes:
        text: canonical spelling, the value of the `condition` column.
        steps: (name, severity) in order; severity 0 for remedies, which have none.
        preprocessing: name of another recipe in circulation, or `None`.
    """

    text: str
    steps: tuple[tuple[str, int], ...] = ()
    preprocessing: str | None = None

    @property
    def severity(self) -> int:
        """Severity of the perturbation, 0 for a clean film."""
        return max((severity for _, severity in self.steps), default=0)

    @property
    def perturbation(self) -> str:
        """Name of the perturbation, `clean` without one."""
        return next((name for name, severity in self.steps if severity), CLEAN)

    @cached_property
    def identity(self) -> str:
        """The steps with their versions: everything a cached prediction depends on besides film, subject and seed."""
        parts = [
            f"{perturbation.get(name).identity}@{level}" if level else f"{name}/v{REMEDY_VERSION}"
            for name, level in self.steps
        ]
        return " | ".join([*parts, f"preprocessing:{self.preprocessing or 'own'}"])

    @cached_property
    def native(self) -> bool:
        """Whether it acts on the film as stored, whatever the resolution others are perturbed at."""
        return not self.steps or any(level and perturbation.get(name).native for name, level in self.steps)

    @cached_property
    def begins_in_bytes(self) -> bool:
        """Whether all that it asks of a film are its grey values rounded to 8 bit."""
        return bool(self.steps and self.steps[0][1]) and perturbation.get(self.steps[0][0]).eight_bit

    def apply(
        self,
        film: Tensor,
        image_id: str,
        *,
        seed: int,
        lungs: Tensor | None = None,
        resolution: Resolution = AS_STORED,
        finer: float = 1.0,
        as_bytes: bool = False,
    ) -> Tensor:
        """Return the changed film, as the subject is shown it.

        Args:
            film: (H, W) float32 in [0, 1], as stored; or rounded to uint8, where it `begins_in_bytes`.
            image_id: decides, with the seed, every random number.
            seed: seed of the run.
            lungs: (H, W) bool lung mask where one is known.
            resolution: at which films are perturbed in this run.
            finer: pixels of the file along each side of one of the film, where it was averaged down already.
            as_bytes: whether grey values may be returned as uint8, where the last step leaves them so.

        Returns:
            (V, H', W') views whose probabilities are averaged; one, unless a remedy is a test-time augmentation.

        Raises:
            PerturbationUndefined: the film does not allow it; the caller counts it and leaves it out.
        """
        if not self.native:
            side = min(film.shape)
            film, lungs = resolution.working(film, lungs)
            finer *= side / min(film.shape)
        views, masks = film.unsqueeze(0), None if lungs is None else lungs.unsqueeze(0)
        for index, (name, severity) in enumerate(self.steps, start=1):
            if severity:
                ids, kept = [image_id] * len(views), as_bytes and index == len(self.steps)
                perturb = perturbation.get(name)
                views = perturb(views, severity, ids, seed=seed, masks=masks, as_bytes=kept, finer=finer)
                views = views if kept else in_floats(views)
            else:
                views = REMEDIES[name](views).flatten(0, 1)
            if masks is not None and masks.shape != views.shape:
                masks = None
        return views


@lru_cache(maxsize=4096)
def parse(text: str) -> Condition:
    """Return the condition of that text.

    Raises:
        UsageProblem: a step is unknown or misspelt; the message names the nearest perturbations.
    """
    steps: list[tuple[str, int]] = []
    preprocessing = None
    for part in (piece.strip() for piece in text.split("|")):
        if part == CLEAN:
            continue
        if part.startswith("preprocessing:"):
            preprocessing = part.removeprefix("preprocessing:")
            continue
        match = _STEP.fullmatch(part)
        if not match or match["high"]:
            raise UsageProblem(f"condition {text!r}: {part!r} is not of the form name, name@1..5 or preprocessing:name")
        name, severity = match["name"], int(match["low"] or 0)
        try:
            if severity:
                perturbation.get(name)
        except ValueError as unknown:
            raise UsageProblem(f"condition {text!r}: {unknown}") from unknown
        if not severity and name not in REMEDIES and name in perturbation.names():
            raise UsageProblem(f"condition {text!r}: {name} needs a severity, {name}@1 to {name}@5")
        if not severity and name not in REMEDIES:
            raise UsageProblem(f"condition {text!r}: no remedy is called {name!r}; there are {', '.join(REMEDIES)}")
        steps.append((name, severity))
    pieces = [f"{name}@{severity}" if severity else name for name, severity in steps]
    if preprocessing:
        pieces.append(f"preprocessing:{preprocessing}")
    return Condition(" | ".join(pieces) or CLEAN, tuple(steps), preprocessing)


def expand(texts: str | Iterable[str], severities: Iterable[int] = range(1, 6)) -> list[Condition]:
    """Return the conditions of a claim's list, ranges such as `name@1-5` written out, without repetition.

    Args:
        texts: one text or several.
        severities: the severities of a range that this profile runs.
    """
    wanted: dict[str, Condition] = {}
    for text in [texts] if isinstance(texts, str) else texts:
        span = re.search(r"@([1-5])-([1-5])", text)
        levels = [level for level in severities if span and int(span[1]) <= level <= int(span[2])]
        for variant in [text.replace(span[0], f"@{level}", 1) for level in levels] if span else [text]:
            condition = parse(variant)
            wanted[condition.text] = condition
    return list(wanted.values())


def shown(
    film: Film,
    condition: Condition,
    image_id: str,
    *,
    seed: int,
    resolution: Resolution,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return (V, H, W) views of a film under a condition, as the subject is shown it, made on a device.

    Raises:
        PerturbationUndefined: the film does not allow it.
    """
    with mapping(LARGE):
        pixels, lungs = images(film, device)
        return condition.apply(pixels, image_id, seed=seed, lungs=lungs, resolution=resolution)


def apply_all(
    film: Film, conditions: Iterable[Condition], image_id: str, *, seed: int, resolution: Resolution
) -> Iterator[tuple[Condition, Tensor | None, str | ConditionFailed]]:
    """Yield (condition, views of the film under it, "") or (condition, None, why there are none): see `changed_in`.

    What acts on the film as stored comes first, so that what is remembered of it need not be found twice.
    """
    pixels, lungs = images(film)
    whole = min(pixels.shape)
    for native, some in groupby(sorted(conditions, key=lambda one: not one.native), key=lambda one: one.native):
        if not native:
            pixels, lungs = resolution.working(pixels, lungs)
        yield from changed_in(pixels, some, image_id, seed=seed, lungs=lungs, finer=whole / min(pixels.shape))


def in_floats(views: Tensor) -> Tensor:
    """Return grey values in [0, 1] of views that may be of 8 bit."""
    return views / 255.0 if views.dtype == torch.uint8 else views


def images(film: Film, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor | None]:
    """Return the pixels of a film on a device, and its lung mask where one is known."""
    lungs = film.masks.get("lung")
    pixels, mask = torch.from_numpy(film.pixels), None if lungs is None else torch.from_numpy(lungs)
    return pixels.to(device), None if mask is None else mask.to(device)


def changed_in(
    film: Tensor, conditions: Iterable[Condition], image_id: str, *, seed: int, lungs: Tensor | None, finer: float
) -> Iterator[tuple[Condition, Tensor | None, str | ConditionFailed]]:
    """Yield (condition, views of a film under it, "") or (condition, `None`, why it is undefined for this film).

    Views are grey values in [0, 1], or of 8 bit (see `in_floats`): a recipe that rounds them to 8 bit need not do so.
    Where the code of a step fails, the third is the failure itself: a condition that was not carried out as it should
    be is not one that has no meaning for a film, and nothing is judged on the films that it spared.

    Args:
        film: (H, W) as the conditions act on it, as stored or averaged down, on any device; nobody changes it.
        conditions: what is done to it.
        image_id: decides, with the seed, every random number.
        seed: of the run.
        lungs: (H, W) bool lung mask where one is known.
        finer: pixels of the file along each side of one of the film.
    """
    with ExitStack() as during:
        during.enter_context(unchanging(film) if lungs is None else unchanging(film, lungs))
        rounded: Tensor | None = None
        for condition in conditions:
            given = film
            if condition.begins_in_bytes:
                if rounded is None:
                    rounded = stored(film)
                    during.enter_context(unchanging(rounded))
                given = rounded
            try:
                yield condition, _changed(given, condition, image_id, seed=seed, lungs=lungs, finer=finer), ""
            except PerturbationUndefined as undefined:
                yield condition, None, undefined.reason
            except ConditionFailed as failed:
                yield condition, None, failed


def _changed(
    film: Tensor, condition: Condition, image_id: str, *, seed: int, lungs: Tensor | None, finer: float
) -> Tensor:
    kinds = [type(perturbation.get(name)) for name, severity in condition.steps if severity]
    what = f"{condition.text} failed on image {one_line(image_id, 40)}"
    code = kinds[0] if kinds else None
    with foreign(ConditionFailed, what, at=code, passing=(PerturbationUndefined,)), torch.inference_mode():
        return condition.apply(film, image_id, seed=seed, lungs=lungs, finer=finer, as_bytes=True)
