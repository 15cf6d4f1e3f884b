"""Which facts of a film are found on the CPU, wherever the film lies, and why?

What a perturbation does to a film runs where the film lies. A few things that it needs to know are found once per film
by algorithms that go from pixel to pixel and have no good form on a GPU. They are functions marked `fact`: what they
are given goes to the CPU, what they find is remembered and goes back. Nothing else does (`FACTS` names them all), but
for changes that exist on the CPU only (`by_way_of_cpu`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from robustness.content_cache import remembered

T = TypeVar("T")
P = ParamSpec("P")

FACTS: dict[str, str] = {}
"""Why a fact is found on the CPU, by its name."""


def fact(calls: int, why: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Mark a function of images that is computed on the CPU and remembered (see `content_cache.remembered`).

    Args:
        calls: how many with different arguments are remembered, of each thread; 0: none of films on the CPU, where to
            compare them takes as long.
        why: it is not computed where the film lies.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        name = function.__name__
        FACTS[name] = why
        compute: Callable[..., T] = function
        here: Callable[..., T] = remembered(calls)(compute) if calls else compute

        @remembered(max(calls, 2))
        def there(*given: object) -> T:
            found: T = _placed(compute(*_on_cpu(name, given)), _device(given))
            return found

        @functools.wraps(function)
        def found(*given: P.args, **named: P.kwargs) -> T:
            return here(*given, **named) if _device(given).type == "cpu" else there(*given, **named)

        return found

    return decorate


def by_way_of_cpu(name: str, change: Callable[..., Tensor], image: Tensor, *others: Tensor | None) -> Tensor:
    """Change an image by something that exists on the CPU only.

    Args:
        name: of what changes it.
        change: a function of images on the CPU.
        image: on any device.
        others: what else it is given.
    """
    return change(*_on_cpu(name, (image, *others))).to(image.device)


def _on_cpu(name: str, given: T) -> T:  # noqa: ARG001 - told to who looks on
    """Every image goes to the CPU here, and nowhere else."""
    here: T = _placed(given, torch.device("cpu"))
    return here


def _device(given: Iterable[object]) -> torch.device:
    """Where the first image among arguments, or in a dataclass of images, lies; a device may be given in its place."""
    for one in given:
        if isinstance(one, Tensor):
            return one.device
        if isinstance(one, torch.device):
            return one
        if is_dataclass(one):
            return _device(getattr(one, field.name) for field in fields(one))
    return torch.device("cpu")


def _placed(given: Any, device: torch.device) -> Any:  # noqa: ANN401 - anything that holds images
    """The same on a device: an image, or a tuple or dataclass of images and values."""
    if isinstance(given, Tensor):
        return given.to(device)
    if isinstance(given, tuple):
        return tuple(_placed(one, device) for one in given)
    if is_dataclass(given) and not isinstance(given, type):
        return replace(given, **{field.name: _placed(getattr(given, field.name), device) for field in fields(given)})
    return given
