"""A device that is not the CPU, for machines that have none: who mixes it with the CPU or reads from it is found out.

Its tensors claim to lie on a second `meta`, so no fast path of the CPU takes them, and numpy and OpenCV cannot; what
they hold is computed all the same, by the CPU, behind their back. As on a GPU, images of two devices do not mix.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = torch.device("meta", 1)
TO = {getattr(torch.ops.aten.to, overload) for overload in ("dtype_layout", "device", "dtype", "other")}
"""Seen as such where an image was made in inference mode, else as the copy that is made."""
COPIES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default, *TO}
"""What may take an image from one device to another."""


class There(Tensor):
    """A tensor of that device."""

    @staticmethod
    def __new__(cls, here: Tensor) -> Self:
        return Tensor._make_wrapper_subclass(
            cls,
            here.size(),
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=DEVICE,
        )

    def __init__(self, here: Tensor) -> None:
        self.here = here

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        raise AssertionError(f"{operation} outside of the device's own context")


class Elsewhere(TorchDispatchMode):
    """While entered, that device is there.

    Args:
        allowed: functions below which images may go to the CPU; elsewhere that is an error.

    Attributes:
        crossed: how many images went to the CPU, by the argument `name` of the allowed function, or its own.
        numbers: how many single numbers were read.
    """

    def __init__(self, *allowed: Callable[..., Any]) -> None:
        super().__init__()
        self.allowed = {function.__code__ for function in allowed}
        self.crossed: Counter[str] = Counter()
        self.numbers = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch's compiler is imported, which takes longer than all that is tested

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        wanted = kwargs.get("device")
        given = list(_tensors((args, tuple(kwargs.values()))))
        there = [one for one in given if isinstance(one, There)]
        if not there and (wanted is None or torch.device(wanted) != DEVICE):
            return operation(*args, **kwargs)
        copied = operation in COPIES
        for one in given:
            if not isinstance(one, There) and one.ndim and not copied:
                raise AssertionError(f"{operation} mixes an image on the CPU, {tuple(one.shape)}, with this device")
        if operation is torch.ops.aten._local_scalar_dense.default:
            self.numbers += 1
        if wanted is not None:
            kwargs["device"] = torch.device("cpu")
        result = operation(*_mapped(_here, args), **{name: _mapped(_here, value) for name, value in kwargs.items()})
        if operation in TO and any(result is one for one in given):
            result = result.clone()  # another device has a copy of its own
        if there and wanted is not None and torch.device(wanted).type == "cpu":
            self._cross(there[0])
            return result.clone()
        if operation is torch.ops.aten.copy_.default and not isinstance(args[0], There):
            self._cross(there[0])
        # What was written to is handed back itself.
        known = {id(one.here): one for one in there}
        return _mapped(lambda one: known[id(one)] if id(one) in known else There(one), result)

    def _cross(self, image: Tensor) -> None:
        frame = sys._getframe(2)
        while frame is not None and frame.f_code not in self.allowed:
            frame = frame.f_back
        if frame is None:
            raise AssertionError(f"an image of {tuple(image.shape)} was copied to the CPU")
        self.crossed[frame.f_locals.get("name", frame.f_code.co_name)] += 1


def _here(one: Tensor) -> Tensor:
    return one.here if isinstance(one, There) else one


def _tensors(given: object) -> Iterator[Tensor]:
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, tuple | list):
        for one in given:
            yield from _tensors(one)


def _mapped(change: Callable[[Tensor], Tensor], given: Any) -> Any:
    if isinstance(given, Tensor):
        return change(given)
    return type(given)(_mapped(change, one) for one in given) if type(given) in {tuple, list} else given


def sent(image: Tensor) -> Tensor:
    """The image on that device."""
    return There(image.clone())


def fetched(image: Tensor) -> Tensor:
    """What such a tensor holds; refuses any other."""
    assert isinstance(image, There), f"{type(image).__name__} on {image.device} is not on the device"
    return image.here
