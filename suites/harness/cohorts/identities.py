"""Must every file be read again to know which films they hold? Not where size and time of change are what they were.

What a file held when it was read is kept by its path, size and time of change (see `kept_by_stamp`), of a film with
boxes also by these. Whoever decodes a film that was known this way still compares what it then holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from suites.harness.cache.code_digest import decoding
from suites.harness.cohorts.cohort import IDENTITY, Cohort
from suites.harness.cohorts.file_stamps import Stamp, stamp_of
from suites.harness.cohorts.kept_by_stamp import KeptByStamp
from suites.harness.cohorts.layouts.boxes import BoxedFilms
from suites.harness.cohorts.layouts.films import FilmReader
from suites.harness.cohorts.rows import Row, Rows

VERSION = 2


@dataclass(frozen=True)
class _OfFiles:
    """How the films of a cohort are read that are files.

    Attributes:
        reader: of the files.
        boxes: draws the boxes of a row; `None` where films have none.
    """

    reader: FilmReader
    boxes: BoxedFilms | None = None

    @classmethod
    def of(cls, cohort: Cohort) -> _OfFiles | None:
        """Return how they are read, `None` where they are no files, or nobody knows which."""
        decode = cohort.decode
        if cohort.identify is not None:
            return None
        if isinstance(decode, BoxedFilms) and isinstance(decode.decode, FilmReader):
            return cls(decode.decode, decode)
        return cls(decode) if isinstance(decode, FilmReader) else None

    def files(self, row: Row) -> Sequence[Path]:
        """Return all files of a row."""
        return self.reader.files(row)

    def besides(self, row: Row) -> str:
        """Return what else of a row decides its film."""
        return "" if self.boxes is None else self.boxes.decided_by(row)

    def stamp(self, row: Row) -> Stamp | None:
        """Return the stamp of a row's film."""
        return stamp_of(self.files(row), self.besides(row))


@dataclass(frozen=True)
class Unchanged:
    """Knows a film whose row says what its files held, where these are as they were."""

    of: _OfFiles

    def __call__(self, row: Row) -> tuple[str, str] | None:
        """Return content and note of a film, `None` where its files have to be read."""
        known = row.get(IDENTITY)
        if not isinstance(known, tuple):
            return None
        content, note, stamp = known
        return (content, note) if self.of.stamp(row) == stamp else None


class Identities(AbstractContextManager["Identities"]):
    """What the files of a cohort held, as far as that is known.

    Args:
        cohort: the films; those that are no files are left as they are.
        cache: root of the cache.

    Attributes:
        cohort: the same, which knows films by the rows below.
        rows: of its table, each with what its files held where that is known; made as they are looked at.
    """

    def __init__(self, cohort: Cohort, cache: Path) -> None:
        self.cohort, self.rows = cohort, cohort.rows()
        self._kept: KeptByStamp | None = None
        self._looked_at: dict[str, Stamp] = {}
        of = _OfFiles.of(cohort)
        if of is None:
            return
        self._of = of
        self._kept = kept = KeptByStamp(
            cache, "identities", {"version": VERSION, "decoding": decoding()}, ("content", "note")
        )
        self.cohort = replace(cohort, remembered=Unchanged(of))
        self.rows = Rows(cohort.table, lambda row: self._with_identity(row, kept))

    def _with_identity(self, row: Row, kept: KeptByStamp) -> Row:
        stamp = self._of.stamp(row)
        if (told := kept.known(stamp)) is not None:
            return {**row, IDENTITY: (*told, stamp)}
        if stamp is not None:
            self._looked_at.setdefault(str(row["id"]), stamp)  # before it was read, whenever the row is made again
        return row

    def keep(self, rows: Iterable[Row], films: Iterable[tuple[str, str]], notes: Iterable[tuple[str, str]]) -> None:
        """Keep what films held that were read now, where their files have not changed since they were looked at.

        Args:
            rows: of the films, and perhaps of others.
            films: id and content of each.
            notes: id and what must be known of how it was read.
        """
        if self._kept is None:
            return
        noted, read = dict(notes), dict(films)
        if self._looked_at.keys().isdisjoint(read):
            return
        for row in rows:
            image = str(row["id"])
            if image in read and (stamp := self._looked_at.pop(image, None)) is not None:
                told = read[image], noted.get(image, "")
                self._kept.keep(self._of.files(row), stamp, told, self._of.besides(row))

    def __exit__(self, *_: object) -> None:
        """Write what is not written, whatever ended the block."""
        if self._kept is not None:
            self._kept.__exit__()
