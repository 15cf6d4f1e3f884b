"""How are films made ready ahead of the networks, in memory that neither their number nor their size moves?

A film is worked on in a thread of its own; what becomes of it is handed over piece by piece, and a thread waits where
what it has made and nobody has taken yet is too much. So do threads whose films together need too much to be worked on.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Condition
from typing import Generic, TypeVar

import torch

T = TypeVar("T")
Of = TypeVar("Of")
MIB = 1024**2
WAITING = 64 * MIB
"""Bytes of what is made and not taken yet, of all films together; a single piece may have more."""
AT_WORK = 576 * MIB
"""Bytes that films may need at once while they are worked on; a single film may need more."""


class Held:
    """What one film holds of a room."""

    def __init__(self, room: Room, size: int) -> None:
        self.room, self.size = room, size

    def becomes(self, size: int) -> None:
        """Say how much it is by now: what is given back others may have; more is taken at once."""
        self.room.exchange(self, size)


class Room:
    """So many bytes, given out in the order of turns; who needs more than are left waits, and so do all after it.

    In order, for who comes first is waited for: later films that held the room while nobody takes theirs would block
    it.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._held = 0
        self._most = 0
        self._turn = 0
        self._passed = set[int]()
        self._changed = Condition()

    @contextmanager
    def holding(self, turn: int, size: int | None) -> Iterator[Held]:
        """Hold so many bytes while the block runs; whoever holds none may have more than there are.

        Args:
            turn: whose turn it is.
            size: bytes; `None`: nobody knows yet, so as many as any before, of the first all.
        """
        with self._changed:
            self._changed.wait_for(lambda: turn == self._turn and self._fits(size))
            held = Held(self, self._wanted(size))
            self._held += held.size
            self._next(turn)
        try:
            yield held
        finally:
            held.becomes(0)

    def _wanted(self, size: int | None) -> int:
        return (self._most or self._size) if size is None else size

    def _fits(self, size: int | None) -> bool:
        return not self._held or self._held + self._wanted(size) <= self._size

    def exchange(self, held: Held, size: int) -> None:
        """Take back what somebody holds, and give so many bytes for it."""
        with self._changed:
            self._held += size - held.size
            self._most = max(self._most, size)
            held.size = size
            self._changed.notify_all()

    def passed(self, turn: int) -> None:
        """Say that a turn needs no room, or no longer; may be said of one that has had its room."""
        with self._changed:
            self._next(turn)

    def _next(self, turn: int) -> None:
        self._passed.add(turn)
        while self._turn in self._passed:
            self._passed.discard(self._turn)
            self._turn += 1
        self._passed = {later for later in self._passed if later > self._turn}
        self._changed.notify_all()


class _Closed(Exception):
    """Nobody will take any more."""


class _Stream(Generic[T]):
    """The pieces of one film, in order, from the thread that makes them to the one that takes them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._pieces: deque[tuple[T, int]] = deque()
        self._held = 0
        self._over = False
        self._closed = False
        self._problem: BaseException | None = None
        self._changed = Condition()

    def fill(self, pieces: Generator[tuple[T, int]]) -> None:
        """Hand over pieces with their bytes, and whatever stops them."""
        try:
            for piece, size in pieces:
                self._put(piece, size)
        except _Closed:
            pass
        except BaseException as problem:  # noqa: BLE001 - raised again where the pieces are taken
            self._problem = problem
        finally:
            pieces.close()
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _put(self, piece: T, size: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._held or self._held + size <= self._most)
            if self._closed:
                raise _Closed
            self._pieces.append((piece, size))
            self._held += size
            self._changed.notify_all()

    def close(self) -> None:
        """Take no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pieces or self._over)
                if not self._pieces:
                    break
                piece, size = self._pieces.popleft()
                self._held -= size
                self._changed.notify_all()
            yield piece
        if self._problem is not None:
            raise self._problem


def ahead(
    films: Sequence[Of], made: Callable[[int, Of], Generator[tuple[T, int]]], threads: int | None = None
) -> Iterator[tuple[Of, Iterator[T]]]:
    """Yield every film and what is made of it, made in threads a few films ahead.

    Args:
        films: rows of a cohort, or whatever stands for a film, in the order in which they are yielded.
        made: from a film and its place yields what becomes of it, each piece with its bytes; what it raises is raised
            where the pieces are taken.
        threads: to make them in; `None`: one for each core.
    """
    threads = threads or os.cpu_count() or 1
    # Each film on one core: its operations are so small that a second thread costs more than it does.
    with ThreadPoolExecutor(max_workers=threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        pending: deque[tuple[Of, _Stream[T]]] = deque()
        try:
            for turn, film in enumerate(films):
                stream = _Stream[T](WAITING // (threads + 1))
                pool.submit(stream.fill, made(turn, film))
                pending.append((film, stream))
                if len(pending) > threads:
                    first = pending[0]
                    yield first[0], iter(first[1])
                    pending.popleft()
            while pending:
                first = pending[0]
                yield first[0], iter(first[1])
                pending.popleft()
        finally:
            for _, stream in pending:
                stream.close()
            pool.shutdown(wait=False, cancel_futures=True)
