"""Which films does a block hold? What identifies the pixels of each, and a way to have them, decoded once.

A film that cannot be identified without being decoded is kept until it is asked for, as long as there is room for it;
the rest are decoded again, and must then be what they were.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from suites.harness.cache import FilmKey
from suites.harness.cohorts.cohort import Cohort, Film
from suites.harness.cohorts.rows import Row
from suites.harness.errors import CohortProblem, FilmUnreadable, one_line
from suites.harness.predictions.ahead import Room, ahead

HELD = 64 * 1024**2
"""Bytes of the films of a block that are kept from being identified until they are asked for."""
DECODING = 256 * 1024**2
"""Bytes that films may need at once while they are decoded; a single film may need more."""
DECODED_IMAGES = 4
"""Images of the size of a film, float32, that are in use while it is decoded; of 16 bits and DICOM 3.6."""


@dataclass(frozen=True)
class Opened:
    """A film that could be read.

    Attributes:
        row: of the cohort's table.
        key: its id and content.
        note: what a reader must know of how it was read.
        decode: gives the film; raises `FilmUnreadable`.
        shape: (height, width), where it is known without decoding it again.
    """

    row: Row
    key: FilmKey
    note: str
    decode: Callable[[], Film]
    shape: tuple[int, ...] | None = None


def opened(
    cohort: Cohort, rows: Sequence[Row], threads: int | None = None
) -> tuple[list[Opened], list[tuple[str, str]]]:
    """Return the films of these rows, and of those that cannot be read the file and why.

    Args:
        cohort: tells how they are read.
        rows: of its table.
        threads: they are read in; `None`: one for each core.
    """
    films: dict[int, Opened] = {}
    unreadable: dict[int, tuple[str, str]] = {}
    to_read: list[int] = []
    for at, row in enumerate(rows):  # of a million films: no thread is worth what it costs to ask it
        try:
            known = cohort.known(row)
        except FilmUnreadable as problem:
            unreadable[at] = str(row["file"]), str(problem)
            continue
        if known is None:
            to_read.append(at)
        else:
            key = str(row["id"]), known[0]
            films[at] = Opened(row, key, known[1], partial(_again, cohort, row, key))
    held, room = 0, Room(DECODING)

    def identified(turn: int, at: int) -> Generator[tuple[tuple[Opened, int], int]]:
        row = rows[at]
        try:
            with room.holding(turn, None) as needed:
                content, decode = cohort.opened(row)
                film = decode()  # it has been decoded already
                needed.becomes(film.pixels.nbytes * DECODED_IMAGES)
            size = film.pixels.nbytes + sum(mask.nbytes for mask in film.masks.values())
            yield (Opened(row, (str(row["id"]), content), film.note, decode, film.pixels.shape), size), size
        finally:
            room.passed(turn)

    for at, found in ahead(to_read, identified, threads) if to_read else ():
        try:
            for film, size in found:
                fits = held + size <= HELD
                held += size if fits else 0
                films[at] = film if fits else replace(film, decode=partial(_again, cohort, film.row, film.key))
        except FilmUnreadable as problem:
            unreadable[at] = str(rows[at]["file"]), str(problem)
    return [films[at] for at in sorted(films)], [unreadable[at] for at in sorted(unreadable)]


def _again(cohort: Cohort, row: Row, known: FilmKey) -> Film:
    """Decode a film that was identified before, and keep no hold of it.

    Raises:
        CohortProblem: it is another by now.
    """
    content, decode = cohort.opened(row)
    if content != known[1]:
        raise CohortProblem(
            f"the film {one_line(known[0], 60)} of {one_line(cohort.name, 40)} changed while it was read; run again "
            "when nobody writes to its files: what is finished is kept"
        )
    return decode()
