"""What was computed of the last few films? Remembered by their pixels.

Every exposure, grid and opacity asks for the attenuation, the scatter or the lungs of the same film again. The key of
an image is its content, so that a changed film is never mistaken for the one before; what is remembered is computed
from a copy that nobody else can change. Memory is bounded, whatever the number of films: of large ones, fewer calls are
remembered. Every thread has its own.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")
P = ParamSpec("P")


MOST = 64 * 1024**2
"""Bytes of arguments and results that are remembered of a function, beyond the last call."""


GLANCE = 256
"""Places at which two images are compared first: others are told apart by them."""


class _Memory(threading.local):
    """Arguments and results of the last calls of one thread, the latest first."""

    def __init__(self, calls: int) -> None:
        self.known: deque[tuple[tuple[object, ...], Any]] = deque(maxlen=calls)

    def keep(self, arguments: tuple[object, ...], found: object) -> None:
        """Remember a call, and let go of earlier ones that are too much."""
        self.known.appendleft((arguments, found))
        while len(self.known) > 1 and sum(map(_size, self.known)) > MOST:
            self.known.pop()


_MEMORIES: list[_Memory] = []
_SHARED: dict[str, _Memory] = {}


def forget() -> None:
    """Let go of all that this thread remembers: it is done with its film, and may wait long for the next."""
    for memory in _MEMORIES:
        memory.known.clear()


def held() -> int:
    """Bytes of all that this thread remembers, images that several calls have in common once."""
    images: dict[int, int] = {}
    for memory in _MEMORIES:
        for call in memory.known:
            images |= _images(call)
    return sum(images.values())


class _Unchanging(threading.local):
    """By where their pixels lie: images that nobody changes, and the copies of them that this thread remembers."""

    def __init__(self) -> None:
        self.copies: dict[tuple[object, ...], list[weakref.ref[Tensor]]] = {}
        self.checked: set[tuple[object, ...]] = set()


_UNCHANGING = _Unchanging()
_RESULTS: weakref.WeakValueDictionary[int, Tensor] = weakref.WeakValueDictionary()
"""Images that were found by a function that is remembered, by their identity: nobody may change them either."""


@contextlib.contextmanager
def unchanging(*images: Tensor) -> Iterator[None]:
    """While entered nobody changes these images: this thread compares them once, then knows them by their place.

    Args:
        images: on any device; they are held as long.
    """
    places = [_place(image) for image in images if not image.is_meta]
    for place in places:
        _UNCHANGING.copies.setdefault(place, [])
    try:
        yield
    finally:
        for place in places:
            _UNCHANGING.copies.pop(place, None)
            _UNCHANGING.checked.discard(place)


def is_checked(image: Tensor) -> bool:
    """Whether nobody changes an image (H, W), and it was found to be in order before."""
    return bool(_UNCHANGING.checked) and _place(image) in _UNCHANGING.checked


def mark_checked(image: Tensor) -> None:
    """An image (H, W) is in order; that is remembered as long as nobody changes it."""
    if _UNCHANGING.copies and not image.is_meta and _place(image) in _UNCHANGING.copies:
        _UNCHANGING.checked.add(_place(image))


def _place(image: Tensor) -> tuple[object, ...]:
    return image.device, image.data_ptr(), image.dtype, image.shape[-2:], image.stride()[-2:]


def remembered(calls: int, among: str = "") -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Remember the results, or ValueErrors, of the last calls of a function.

    Arguments are given by position: images (tensors, compared by their pixels) and values (compared by equality, hence
    dataclasses of images must be declared with `eq=False`). Results are shared and must not be changed in place.

    Args:
        calls: with different arguments, of each thread.
        among: functions of the same word remember so many together; they are never all asked in turn.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        memory = _SHARED.setdefault(among, _Memory(calls)) if among else _Memory(calls)
        if memory not in _MEMORIES:
            _MEMORIES.append(memory)
        compute: Callable[..., T] = function

        @functools.wraps(function)
        def looked_up(*given: P.args, **named: P.kwargs) -> T:
            if named:
                raise TypeError(f"{function.__name__}: {', '.join(named)} must be given by position")
            known, asked = memory.known, (compute, *given)
            for index, (arguments, found) in enumerate(known):
                if len(arguments) == len(asked) and all(map(_same, arguments, asked)):
                    if index:
                        del known[index]
                        known.appendleft((arguments, found))
                    break
            else:
                arguments = tuple(_copied(one) if isinstance(one, Tensor) else one for one in asked)
                try:
                    found = compute(*arguments[1:])
                except ValueError as refusal:
                    found = refusal
                for one in found if isinstance(found, tuple) else (found,):
                    if isinstance(one, Tensor):
                        _RESULTS[id(one)] = one
                memory.keep(arguments, found)
            if isinstance(found, ValueError):
                raise found
            result: T = found
            return result

        return looked_up

    return decorate


def _same(known: object, given: object) -> bool:
    if known is given:
        return True
    if not isinstance(known, Tensor) or not isinstance(given, Tensor):
        return bool(known == given)
    if known.shape != given.shape or known.dtype != given.dtype or known.device != given.device:
        return False
    copies = _UNCHANGING.copies.get(_place(given)) if _UNCHANGING.copies else None
    if copies is not None and any(one() is known for one in copies):
        return True
    if not known.is_cpu:
        same = not known.numel() or torch.equal(*(one.contiguous().view(torch.uint8) for one in (known, given)))
    else:
        one, other = _bytes(known), _bytes(given)
        step = max(1, one.size // GLANCE)
        same = np.array_equal(one[::step], other[::step]) and np.array_equal(one, other)
    if same and copies is not None:
        copies.append(weakref.ref(known))
    return same


def _copied(image: Tensor) -> Tensor:
    """A copy that nobody else can change; of an image that nobody changes one that is there already, or itself."""
    if _RESULTS.get(id(image)) is image:
        return image
    copies = _UNCHANGING.copies.get(_place(image)) if _UNCHANGING.copies else None
    copy = next((known for one in copies or () if (known := one()) is not None), None)
    if copy is None:
        copy = image.detach().clone()
        if copies is not None:
            copies.append(weakref.ref(copy))
    return copy


def _size(known: object) -> int:
    """Bytes of the images in arguments or a result."""
    return sum(_images(known).values())


def _images(known: object) -> dict[int, int]:
    """Where the memory of images begins and how many bytes it has; in tuples, arrays and dataclasses, too."""
    images: dict[int, int] = {}
    parts = [known]
    while parts:
        one = parts.pop()
        if isinstance(one, Tensor):
            storage = one.untyped_storage()
            images[storage.data_ptr()] = storage.nbytes()
        elif isinstance(one, np.ndarray):
            images[one.ctypes.data] = one.nbytes
        elif isinstance(one, tuple | list):
            parts.extend(one)
        elif is_dataclass(one):
            parts.extend(vars(one).values())
    return images


def _bytes(image: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8 | np.int64]]:
    """Every byte, so that no two images are the same that differ in the sign of a zero; eight at a time if they can."""
    if not image.numel():
        return np.empty(0, np.uint8)
    every = image.detach().contiguous().view(torch.uint8).numpy().reshape(-1)
    return every.view(np.int64) if every.size % 8 == 0 else every
