"""What was found lately, of which only so much is remembered? Asked by several threads, each thing is found once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import RLock
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """The last few things that were found, by key; nobody may change them.

    Args:
        most: how many are remembered, at least 1.
    """

    def __init__(self, most: int) -> None:
        self.most = max(most, 1)
        self._held: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = RLock()

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what is remembered under a key, made if it is not; what was asked for longest ago makes room.

        Who asks for the same meanwhile waits for it.
        """
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
            found = self._held[key] = make()
            while len(self._held) > self.most:
                self._held.popitem(last=False)
            return found

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()

    def __len__(self) -> int:
        """Return how many things are remembered."""
        return len(self._held)
