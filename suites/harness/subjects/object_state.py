"""What does an object hold besides its class? Attributes, slots, and what an object of C keeps out of sight."""

from __future__ import annotations

import _thread
import contextvars
import copyreg
import itertools
import pickle
import secrets
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any

import torch.fx

NOTHING_ELSE = (
    _thread.LockType, type(threading.RLock()), threading.local, contextvars.ContextVar, torch.fx.Graph,
    types.MemberDescriptorType, types.GetSetDescriptorType,
)  # fmt: skip
"""Kinds whose attributes say all that decides a logit: a lock decides nothing, a graph runs as the text of its code."""
_PROCESS = secrets.token_hex(16)
_count = itertools.count()
_unknown: dict[int, tuple[str, object]] = {}  # held, so that no other object gets the same address


class UnknownStateError(Exception):
    """An object does not tell what it holds."""


def attributes(value: object) -> Iterator[tuple[str, object]]:
    """Yield the name and value of every attribute and every slot of an object itself, in a fixed order."""
    if isinstance(value, torch.fx.Graph):
        return
    held = getattr(value, "__dict__", {})
    yield from sorted(((str(name), item) for name, item in held.items()), key=lambda item: item[0])
    for kind in type(value).__mro__:
        slots = vars(kind) if "__slots__" in vars(kind) else {}
        for name, slot in sorted(slots.items()):
            if isinstance(slot, types.MemberDescriptorType):
                try:
                    yield name, slot.__get__(value)
                except AttributeError:  # never set
                    continue


def out_of_sight(value: object) -> tuple[object, ...]:
    """Return what pickle would keep of an object besides its attributes: the items of a deque, the numbers of an array.

    Raises:
        UnknownStateError: pickle does not know it, either.
    """
    kind: Any = type(value)
    if isinstance(value, NOTHING_ELSE):
        return ()
    try:
        reduced = value.__reduce_ex__(4)
    except Exception as refused:  # any code of anybody's
        raise UnknownStateError(str(refused)) from refused
    if isinstance(reduced, str):
        module = sys.modules.get(str(pickle.whichmodule(value, reduced)))  # type: ignore[attr-defined]
        if getattr(module, reduced, None) is not value:
            raise UnknownStateError(f"{reduced} is known by its name only")
        return (reduced,)
    function, arguments, *more = reduced
    state, listed, mapped = (*more[:3], None, None, None)[:3]
    if function is copyreg.__newobj__:  # type: ignore[attr-defined]
        own_state = getattr(kind, "__getstate__", None) is not getattr(object, "__getstate__", None)
        found: tuple[object, ...] = (*arguments[1:], *([state] if own_state else []))
    else:
        found = (function, arguments, state)
    return (*found, *([list(listed)] if listed else []), *([dict(mapped)] if mapped else []))


def process_token(value: object) -> str:
    """Return a text that stands for an object in this process and in no other."""
    if id(value) not in _unknown:
        _unknown[id(value)] = f"{_PROCESS} {next(_count)}", value
    return _unknown[id(value)][0]
