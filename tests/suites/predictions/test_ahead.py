"""Films made ready ahead: in order, whole, in bounded memory, and over when nobody takes any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suites.harness.predictions import ahead as module
from suites.harness.predictions.ahead import Room, ahead

ROWS = [{"id": str(index)} for index in range(9)]


@given(sizes=st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=12))
@settings(max_examples=25)
def test_every_piece_of_every_film_comes_once_and_in_order(sizes):
    def made(turn: int, _: object) -> Generator[tuple[tuple[int, int], int]]:
        for number, size in enumerate(sizes[turn]):
            yield (turn, number), size

    rows = [{"id": str(index)} for index in range(len(sizes))]
    taken = [(row["id"], piece) for row, pieces in ahead(rows, made) for piece in pieces]
    assert taken == [(str(turn), (turn, n)) for turn, items in enumerate(sizes) for n in range(len(items))]


def test_a_thread_waits_where_what_it_made_is_too_much(monkeypatch):
    monkeypatch.setattr(module, "WAITING", 1000)
    monkeypatch.setattr(module.os, "cpu_count", lambda: 1)
    waiting, most = [0], [0]

    def made(_turn: int, _row: object) -> Generator[tuple[int, int]]:
        for number in range(40):
            waiting[0] += 200
            most[0] = max(most[0], waiting[0])
            yield number, 200

    for _, pieces in ahead(ROWS, made):
        for _ in pieces:
            time.sleep(0.0005)
            waiting[0] -= 200
    # A thousand bytes for two films, and what is in the hands of a thread or the one who takes it.
    assert most[0] <= 2 * (500 + 200) + 200


def test_what_making_a_film_raises_is_raised_where_it_is_taken_and_the_others_come():
    def made(turn: int, _: object) -> Generator[tuple[int, int]]:
        yield turn, 1
        if turn == 3:
            raise ValueError("broken")

    seen, broken = [], []
    for row, pieces in ahead(ROWS, made):
        try:
            seen.extend(pieces)  # what comes before the failure counts
        except ValueError:
            broken.append(row["id"])
    assert seen == list(range(9))
    assert broken == ["3"]


def test_who_stops_taking_leaves_no_thread_behind(monkeypatch):
    monkeypatch.setattr(module, "WAITING", 10)
    closed = []

    def made(turn: int, _: object) -> Generator[tuple[int, int]]:
        try:
            for number in range(1000):
                yield number, 10
        finally:
            closed.append(turn)

    before = threading.active_count()
    stream = ahead(ROWS, made)
    _, pieces = next(stream)
    next(pieces)
    stream.close()
    deadline = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before
    assert closed


@pytest.mark.parametrize("needs", [[3, 3, 3, 3], [9, 1, 9, 1], [30, 1, 1, 30], [1, 0, 12, 4]])
def test_a_room_holds_no_more_than_it_has_unless_one_alone_needs_it(needs):
    room, held, most = Room(10), [], []
    lock = threading.Lock()

    def work(turn: int, need: int) -> None:
        with room.holding(turn, need):
            with lock:
                held.append(need)
                most.append(list(held))
            time.sleep(0.005)
            with lock:
                held.remove(need)
        room.passed(turn)

    threads = [threading.Thread(target=work, args=(turn, need)) for turn, need in enumerate(needs)]
    for thread in reversed(threads):
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert all(sum(now) <= 10 or len([need for need in now if need]) == 1 for now in most)


def test_who_does_not_know_what_it_needs_is_alone_and_then_held_to_the_most_that_was_needed():
    room, started = Room(10), []

    def work(turn: int) -> None:
        with room.holding(turn, None) as held:
            started.append(turn)
            time.sleep(0.02)
            assert turn or started == [0], "nobody beside the first, which may need anything"
            held.becomes(4)
            time.sleep(0.1)

    threads = [threading.Thread(target=work, args=(turn,)) for turn in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.07)
    with room._changed:
        assert room._held == 8, "two of four; the third waits"
    for thread in threads:
        thread.join(20)
    assert started == [0, 1, 2]
    assert room._held == 0


def test_a_later_film_never_holds_the_room_that_an_earlier_one_waits_for(monkeypatch):
    """Films are taken in order: the second, done first, would wait to be taken while the first waits for its room."""
    monkeypatch.setattr(module, "WAITING", 3)
    room = Room(10)

    def made(turn: int, _: object) -> Generator[tuple[int, int]]:
        try:
            if turn == 0:
                time.sleep(0.05)  # the others are there before it
            with room.holding(turn, 10):
                for number in range(5):
                    yield number, 3
        finally:
            room.passed(turn)

    done = []

    def take() -> None:
        done.extend(piece for _, pieces in ahead(ROWS, made) for piece in pieces)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert done == [0, 1, 2, 3, 4] * len(ROWS)
