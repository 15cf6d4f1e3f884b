"""Which standard image transforms are there? Albumentations', held to this project's contract.

albumentations 2.0 accepts unknown arguments with a warning and then uses its defaults, so a severity can be lost in
silence; it ignores numpy's global seed. Here every warning while a transform is made and tried out is an error, and
each call is seeded from the film's own draws. The library is imported when the first such perturbation runs.
"""

from __future__ import annotations

import functools
import os
import warnings
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from robustness.draws import Draws
from robustness.facts import by_way_of_cpu
from robustness.perturbation import Level, Perturbation, PerturbationError


@functools.lru_cache(maxsize=256)
def _made(transform: str, parameters: tuple[tuple[str, Any], ...]) -> Any:  # noqa: ANN401 - untyped library
    """One albumentations transform, always applied, and tried out once on a grey ramp.

    Raises:
        PerturbationError: the transform is unknown or one of its arguments is, or the library warned.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else importing it asks the network for its own version
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import albumentations  # noqa: PLC0415 - takes seconds, and most perturbations do not need it
    kind = getattr(albumentations, transform, None)
    if kind is None:
        raise PerturbationError(f"albumentations {albumentations.__version__} has no transform {transform!r}")
    # Heard, not turned into errors: filters hold for all threads, and another one may be in the middle of its own work.
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            made = kind(**dict(parameters), p=1.0)
            made(image=np.tile(np.arange(256, dtype=np.uint8), (256, 1)))
        except (TypeError, ValueError) as problem:
            raise PerturbationError(
                f"albumentations.{transform} does not take {dict(parameters)}: {problem}"
            ) from problem
    for one in heard:
        if one.filename == __file__ or "albumentations" in one.filename:
            raise PerturbationError(f"albumentations.{transform} does not take {dict(parameters)}: {one.message}")
    return made


def apply_standard(film: Tensor, transform: str, parameters: Mapping[str, Any], draws: Draws | None) -> Tensor:
    """Apply an albumentations transform to an 8-bit film.

    Args:
        film: (H, W) uint8 on the CPU.
        transform: class name, for example "CLAHE".
        parameters: its arguments; ranges of equal ends make a severity exact.
        draws: seeds what is random in it; None where nothing is (seeding takes as long as a fast transform).

    Returns:
        (H, W) uint8.

    Raises:
        PerturbationError: unknown transform or argument, or the library warned.
    """
    made = _made(transform, tuple(sorted(parameters.items())))
    if draws is not None:
        made.set_random_seed(draws.integer("albumentations", 0, 2**31 - 1))
    return torch.from_numpy(np.ascontiguousarray(made(image=film.numpy())["image"]))


class StandardPerturbation(Perturbation):
    """A perturbation albumentations has already. Subclasses name the transform and map a level to its arguments."""

    eight_bit = True
    transform: ClassVar[str]
    random: ClassVar[bool] = True
    """Whether the transform draws anything once its arguments are given."""

    def perturb(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        if not film.is_cpu:
            return self.elsewhere(film, level, draws)
        return apply_standard(film, self.transform, self.arguments(level), draws if self.random else None)

    def elsewhere(self, film: Tensor, level: Level, draws: Draws) -> Tensor:
        """The same for a film that does not lie on the CPU: by way of it, where no operation of ours does the same."""
        return by_way_of_cpu(self.transform, lambda here: self.perturb(here, level, draws), film)

    @abstractmethod
    def arguments(self, level: Level) -> Mapping[str, Any]:
        """Arguments of the albumentations transform at a level, all hashable."""
