"""What is a perturbation? The contract of what happens to a film before a classifier sees it.

To add one, write a class in the file of its family, or in a new file of this folder::

    from torch import Tensor
    from robustness.draws import Draws
    from robustness.perturbation import Level, Perturbation, register

    @register
    class Fogging(Perturbation):
        '''Base fog of an old film: a constant optical density is added.

        fog: added grey, fraction of the full scale.
        '''

        name = "fogging"
        family = "exposure"
        source = "who described it, where"
        presets = ("quick", "standard")
        levels = tuple({"fog": value} for value in (0.02, 0.05, 0.10, 0.15, 0.20))
        units = {"fog": "fog {} of the full scale"}

        def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
            return film + level["fog"]

Paragraphs "Formula: ...", "Kept: ...", "Not modelled: ...", "Looks like: ..." and "Differs from: ..." of the docstring
complete its card (see `card`), which the report shows; what they leave out reads "not told" there.

`draws.uniform("what for")` is one random number of this film, `draws.uniforms("what for", *film.shape)` a field of them
(see `draws`): the same for the same film, condition and seed.

Everything else (validation, identity at severity 0, seeding, clipping, storage in 8 bit) is done here, once. A
change of grey values alone is better written as a `ToneCurve` (see `tone_curve`), and what happens to a stored film
(compression, resampling) in 8 bit (`eight_bit`).

A film file carries no pixel pitch, so lengths in mm are converted with the assumption that the shorter side of the film
shows `field_cm` centimetres of the patient (22 cm: the chest of a child of one to five years). Give another `field_cm`
to `get` where it is known.
"""

from __future__ import annotations

import fnmatch
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar, final

import torch
from torch import Tensor

from robustness.card import Card, card_of
from robustness.content_cache import is_checked, mark_checked
from robustness.draws import Draws
from robustness.facts import by_way_of_cpu
from robustness.filters import stored
from robustness.pointwise import in_bytes
from robustness.registration import defined_in, taken, unknown_name

Level = Mapping[str, Any]
"""Parameters of one severity; the units stand in the docstring of the perturbation."""

FAMILIES = ("exposure", "contrast", "grid", "bedside", "institution", "opacity", "control", "benchmark")
SEVERITIES = (0, 1, 2, 3, 4, 5)
SMALLEST_SIDE = 16
"""Films smaller than this (pixels) show no anatomy, and the geometry of most perturbations breaks down."""


class PerturbationError(ValueError):
    """The input of a perturbation is wrong; the message says what, where, and what to do."""


class PerturbationUndefined(PerturbationError):
    """The perturbation has no meaning for this film (no lung field found, flat film). Count the film and leave it out.

    Attributes:
        image_id: the film, or None where the caller of an inner function knows it.
        reason: why, in words for the report.
    """

    def __init__(self, reason: str, image_id: str | None = None) -> None:
        self.reason = reason
        self.image_id = image_id
        super().__init__(reason if image_id is None else f"image {image_id!r}: {reason}")


class Perturbation(ABC):
    """One kind of change to a film, at five severities that were fixed before any result was seen.

    Subclasses set the class variables and write `perturb`. Calling an instance is the only public way to use it.

    Args:
        field_cm: centimetres of the patient along the shorter side of the film (see the module docstring).

    Attributes:
        name: unique, snake_case.
        family: one of FAMILIES.
        display: what it is called where people read, as inside a sentence; empty where the words of its name say it.
        version: raised whenever results change; part of every cache key.
        revision: raised where no more than a grey value in 10,000 changes, by one, as another order of the same sums
            changes them; part of every cache key, too, but what was measured of the version still holds.
        levels: parameters of severities 1..5.
        units: words for the card by parameter, `{}` for its number ("{} of the exposure"); "" leaves it out.
        source: where the model and its numbers come from.
        changes_shape: whether the result may have another height or width (geometry and resolution only).
        eight_bit: whether `perturb` is given the film as it is stored, (H, W) uint8, and returns one; finer grey values
            than that are rounded before.
        native: why it needs the film as it is stored, every pixel of it; empty where it may be given one averaged down.
        presets: grids it belongs to, by name (see `presets`).
        rank: place within its family in these grids; equals stand in the order they were registered in.
        constant: whether every severity gives the same film; a grid then runs one, after all others.
        anywhere: whether `perturb` takes a film on whatever device it lies; others are given it on the CPU. So do all
            of this package; one of somebody else's says so.
    """

    name: ClassVar[str]
    family: ClassVar[str]
    display: ClassVar[str] = ""
    version: ClassVar[int] = 1
    revision: ClassVar[int] = 0
    levels: ClassVar[tuple[Level, ...]]
    units: ClassVar[Mapping[str, str]] = {}
    source: ClassVar[str]
    changes_shape: ClassVar[bool] = False
    eight_bit: ClassVar[bool] = False
    native: ClassVar[str] = ""
    presets: ClassVar[tuple[str, ...]] = ("standard",)
    rank: ClassVar[int] = 0
    constant: ClassVar[bool] = False
    anywhere: ClassVar[bool] = False

    def __init_subclass__(cls, **named: Any) -> None:  # noqa: ANN401 - whatever else is declared
        super().__init_subclass__(**named)
        if "anywhere" not in vars(cls):
            cls.anywhere = cls.__module__.startswith(f"{__package__}.")

    def __init__(self, *, field_cm: float = 22.0) -> None:
        if not 1.0 <= field_cm <= 100.0:
            raise PerturbationError(f"field_cm is {field_cm}; expected centimetres between 1 and 100")
        self.field_cm = field_cm

    @abstractmethod
    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        """Return the changed film.

        Args:
            film: (H, W) float32 in [0, 1] (uint8 where `eight_bit`), white = dense, on any device where `anywhere`,
                else on the CPU; must not be changed in place.
            level: parameters of the severity.
            draws: random numbers of this film, and its lung mask where one came with it.

        Returns:
            (H, W) floats, clipped to [0, 1] by the caller, or 8 bit, where the film lies; (H', W') only where
            `changes_shape`.

        Raises:
            PerturbationUndefined: the film does not allow it.
        """

    @final
    def __call__(
        self,
        films: Tensor,
        severity: int,
        image_ids: Sequence[str],
        *,
        seed: int = 0,
        masks: Tensor | None = None,
        as_bytes: bool = False,
        finer: float = 1.0,
    ) -> Tensor:
        """Perturb a batch of films; the result is what could have been stored as an 8-bit film.

        Films are handled one at a time, so that the values of a film are bit-identical whatever else is in the batch,
        and where they lie: another device gives the grey values of a CPU, or their neighbours (one pixel in 10,000 may
        be further off). An 8-bit film gives the same grey values as that film in floats.

        Args:
            films: (B, H, W) float32 in [0, 1], or uint8 for 0/255 to 255/255, on any device, white = dense.
            severity: 0 (identity, bit for bit) to 5.
            image_ids: B identities; with `seed` they determine all random numbers.
            seed: seed of the run.
            masks: (B, H, W) lung masks, bool or numbers 0 and 1, where the caller has them.
            as_bytes: whether the grey values of float films are wanted as they would be stored, too.
            finer: pixels of the films as stored along each side of one of these, where they were averaged down: the
                noise of a detector is that of its own pixels.

        Returns:
            (B, H', W') float32 in [0, 1] in steps of 1/255, or uint8 where the films are or `as_bytes` (severity 0: as
            they came).

        Raises:
            PerturbationError: invalid input.
            PerturbationUndefined: undefined for one of the films (its id is in the exception).
        """
        check_films(films)
        lungs = _checked_masks(masks, films)
        if isinstance(severity, bool) or not isinstance(severity, int) or severity not in SEVERITIES:
            raise PerturbationError(f"{self.name}: severity is {severity!r}; expected an integer from 0 to 5")
        if len(image_ids) != films.shape[0]:
            raise PerturbationError(f"{self.name}: {len(image_ids)} image ids for {len(films)} films")
        if severity == 0 or len(image_ids) == 0:
            return films.clone()
        if not (films.is_cpu or self.anywhere):
            return by_way_of_cpu(
                self.name,
                lambda here, lungs: self(
                    here, severity, image_ids, seed=seed, masks=lungs, as_bytes=as_bytes, finer=finer
                ),
                films,
                lungs,
            )
        level, results, here = self.levels[severity - 1], [], films.contiguous()
        for index, image_id in enumerate(image_ids):
            mask = None if lungs is None else lungs[index]
            draws = Draws(str(image_id), self.name, seed, lungs=mask, device=films.device, finer=finer)
            results.append(self._stored(here[index], level, draws))
        grey = results[0][None] if len(results) == 1 else torch.stack(results)
        return grey if as_bytes or films.dtype == torch.uint8 else grey / 255.0

    def perturb_bytes(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        """As `perturb`, for an 8-bit film (H, W); overwritten where the same result is found faster than in floats."""
        return self.perturb(film if self.eight_bit else film / 255.0, level, draws)

    def _stored(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        """One film through `perturb`, checked, clipped and quantised to uint8."""
        if self.eight_bit and film.dtype != torch.uint8:
            film = stored(film)
        change = self.perturb_bytes if film.dtype == torch.uint8 else self.perturb
        try:
            result = change(film, level, draws)
        except PerturbationUndefined as undefined:
            raise PerturbationUndefined(f"{self.name} is undefined: {undefined.reason}", draws.image_id) from undefined
        self._check(result, film)
        if result.dtype == torch.uint8:
            return result
        lowest, highest = (float(bound) for bound in torch.aminmax(result))
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            place = defined_in(type(self))
            raise PerturbationError(
                f"{self.name} made non-finite pixels of image {draws.image_id!r} at {dict(level)} ({place})"
            )
        return in_bytes(result if lowest >= 0.0 else result.clamp_min(0.0))

    def _check(self, result: object, film: Tensor) -> None:
        """Refuse what `perturb` may not return, with the place where it is written."""
        if not isinstance(result, Tensor):
            given = type(result).__name__
        elif result.ndim != 2 or 0 in result.shape or (result.shape != film.shape and not self.changes_shape):
            given = f"{tuple(result.shape)}"
        elif not (result.is_floating_point() or result.dtype == torch.uint8) or result.device != film.device:
            given = f"{result.dtype} on {result.device}"
        else:
            return
        raise PerturbationError(
            f"{self.name} turned a film of {tuple(film.shape)} on {film.device} into {given}; `perturb` must return a "
            f"tensor (height, width) of floats in [0, 1] or 8 bit, on that device ({defined_in(type(self))})"
        )

    @classmethod
    def reading(cls, level: Level) -> str:  # noqa: ARG003 - for subclasses
        """What follows from the parameters of a level, in the field's units; for the card, may be empty."""
        return ""

    @property
    def card(self) -> Card:
        """What it stands for, in words and units.

        Raises:
            PerturbationError: its `reading` fails, which may be anybody's code.
        """
        try:
            return card_of(type(self))
        except Exception as problem:
            told = repr(problem)[:120]
            place = defined_in(type(self))
            raise PerturbationError(f"{self.name} has no card, its `reading` fails ({place}): {told}") from problem

    def pitch_mm(self, film: Tensor) -> float:
        """Millimetres of the patient per pixel of a film of shape (..., H, W)."""
        return 10.0 * self.field_cm / min(film.shape[-2:])

    @property
    def identity(self) -> str:
        """Name, version and geometry: everything besides severity and seed that a cache of results must depend on."""
        version = f"{self.version}.{self.revision}" if self.revision else f"{self.version}"
        return f"{self.name}/v{version}/field={self.field_cm:g}cm"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.identity})"


def check_films(films: Tensor) -> None:
    """Refuse anything but (B, H, W) films, uint8 or float32 with finite values in [0, 1].

    Raises:
        PerturbationError: with the first offending film and value.
    """
    if not isinstance(films, Tensor) or films.ndim != 3:
        shape = tuple(films.shape) if isinstance(films, Tensor) else type(films).__name__
        raise PerturbationError(f"films are {shape}; expected a tensor (batch, height, width) of grey films")
    if films.dtype not in (torch.float32, torch.uint8):
        raise PerturbationError(f"films are {films.dtype}; expected torch.float32 in [0, 1], or torch.uint8")
    if min(films.shape[1:]) < SMALLEST_SIDE:
        raise PerturbationError(
            f"films are {tuple(films.shape[1:])} pixels; at least {SMALLEST_SIDE} per side are needed"
        )
    if len(films) == 0 or films.dtype == torch.uint8 or (len(films) == 1 and is_checked(films[0])):
        return
    lowest, highest = (float(bound) for bound in torch.aminmax(films))
    if lowest >= 0.0 and highest <= 1.0:
        if len(films) == 1:
            mark_checked(films[0])
        return
    for index, film in enumerate(films):
        lowest, highest = (float(bound) for bound in torch.aminmax(film))
        if not (lowest >= 0.0 and highest <= 1.0):  # also true of NaN
            raise PerturbationError(
                f"film {index} has pixels from {lowest} to {highest}; expected finite values in [0, 1]"
            )


def _checked_masks(masks: Tensor | None, films: Tensor) -> Tensor | None:
    if masks is None:
        return None
    if masks.shape != films.shape:
        raise PerturbationError(f"masks are {tuple(masks.shape)}, films {tuple(films.shape)}; they must agree")
    if masks.dtype != torch.bool and not bool(((masks == 0) | (masks == 1)).all()):
        raise PerturbationError("masks hold values other than 0 and 1; threshold them first")
    return masks.to(device=films.device, dtype=torch.bool)


_REGISTRY: dict[str, type[Perturbation]] = {}
P = TypeVar("P", bound=type[Perturbation])


def register(kind: P) -> P:
    """Class decorator: check the declaration and make the perturbation known by its name.

    Raises:
        PerturbationError: the declaration is incomplete or the name is taken.
    """
    for attribute in ("name", "family", "levels", "source"):
        if not getattr(kind, attribute, None):
            raise PerturbationError(f"{kind.__name__} ({defined_in(kind)}) does not declare `{attribute}`")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", kind.name):
        raise PerturbationError(f"{kind.__name__}: name {kind.name!r} is not snake_case")
    if kind.family not in FAMILIES:
        raise PerturbationError(f"{kind.name}: family {kind.family!r} is none of {', '.join(FAMILIES)}")
    if len(kind.levels) != 5 or any(level.keys() != kind.levels[0].keys() for level in kind.levels):
        raise PerturbationError(f"{kind.name}: levels must be five mappings with the same keys")
    if not kind.__dict__.get("__doc__"):
        raise PerturbationError(f"{kind.name} has no docstring; it must name units")
    if not isinstance(kind.display, str):
        raise PerturbationError(f"{kind.name}: display must be words for people, not {type(kind.display).__name__}")
    if not isinstance(kind.units, Mapping) or not all(isinstance(unit, str) for unit in kind.units.values()):
        raise PerturbationError(f"{kind.name}: units must be a mapping from parameters to words")
    known = _REGISTRY.get(kind.name, kind)
    if (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
        raise PerturbationError(taken("perturbation", kind.name, known, kind))
    _REGISTRY[kind.name] = kind
    return kind


def get(name: str, *, field_cm: float = 22.0) -> Perturbation:
    """Return the perturbation of that name.

    Raises:
        PerturbationError: unknown name; the message lists the nearest ones.
    """
    if name not in _REGISTRY:
        raise PerturbationError(unknown_name("perturbation", name, names()))
    return _REGISTRY[name](field_cm=field_cm)


def display(name: str) -> str:
    """Return the display name of a perturbation; empty where it has none, or none of that name is registered."""
    return _REGISTRY[name].display if name in _REGISTRY else ""


def names(family: str | None = None, pattern: str = "*") -> list[str]:
    """Names of the registered perturbations, of one family or all, filtered by a shell pattern.

    In the order of tables: by family and rank, then as they were registered; constant ones after all others.

    Raises:
        PerturbationError: unknown family.
    """
    if family is not None and family not in FAMILIES:
        raise PerturbationError(unknown_name("family", family, FAMILIES))
    known = sorted(_REGISTRY.values(), key=lambda kind: (kind.constant, FAMILIES.index(kind.family), kind.rank))
    return [kind.name for kind in known if family in {None, kind.family} and fnmatch.fnmatchcase(kind.name, pattern)]
