"""The last few things are remembered, each found once, whoever asks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import sleep

import pytest

from suites.harness.latest import Latest


def test_what_was_asked_for_longest_ago_makes_room():
    known, made = Latest(2), []
    for key in (1, 2, 1, 3, 1, 2):
        known.once(key, lambda key=key: made.append(key) or key)
    assert made == [1, 2, 3, 2]
    assert len(known) == 2


def test_what_cannot_be_made_is_asked_again():
    known: Latest[int] = Latest(2)
    with pytest.raises(ZeroDivisionError):
        known.once("a", lambda: 1 // 0)
    assert known.once("a", lambda: 5) == 5


def test_threads_that_ask_at_once_find_it_once():
    known, made = Latest(4), []

    def slowly():
        sleep(0.02)
        made.append(1)
        return object()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: known.once("a", slowly), range(8)))
    assert len(made) == 1
    assert len(set(map(id, found))) == 1
