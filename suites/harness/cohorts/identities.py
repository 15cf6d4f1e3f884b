"""Must every file be read again to know which films they hold? Not where size and time of change are what they were.

What a file held when it was read is kept by its path, size and time of change (see `file_stamps`). Whoever decodes a
film that was known this way still compares what it then holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from suites.harness.cache.code_digest import decoding
from suites.harness.cache.shards import Keeping, Shards
from suites.harness.cohorts.cohort import IDENTITY, Cohort, Row
from suites.harness.cohorts.file_stamps import Stamp, stamp_of
from suites.harness.cohorts.layouts.films import FilmReader

VERSION = 1
_COLUMNS = {"files": "text", "stamps": "text", "content": "text", "note": "text"}


@dataclass(frozen=True)
class Unchanged:
    """Knows a film whose row says what its files held, where these are as they were."""

    reader: FilmReader

    def __call__(self, row: Row) -> tuple[str, str] | None:
        """Return content and note of a film, `None` where its files have to be read."""
        known = row.get(IDENTITY)
        if not isinstance(known, tuple):
            return None
        content, note, stamp = known
        return (content, note) if stamp_of(self.reader.files(row)) == stamp else None


class Identities(AbstractContextManager["Identities"]):
    """What the files of a cohort held, as far as that is known.

    Args:
        cohort: the films; those that are no files are left as they are.
        cache: root of the cache.

    Attributes:
        cohort: the same, which knows films by the rows below.
        rows: of its table, each with what its files held where that is known.
    """

    def __init__(self, cohort: Cohort, cache: Path) -> None:
        self.cohort, self.rows = cohort, cohort.rows()
        self._keeping: Keeping | None = None
        self._looked_at: dict[str, tuple[Sequence[Path], Stamp]] = {}
        reader = cohort.decode
        if cohort.identify is not None or not isinstance(reader, FilmReader):
            return
        shards = Shards(cache, "identities", {"version": VERSION, "decoding": decoding()}, _COLUMNS)
        self._keeping, self._reader = Keeping(shards), reader
        self.cohort = replace(cohort, remembered=Unchanged(reader))
        read = shards.read()
        known: dict[Stamp, tuple[str, str]] = {}
        if len(read):
            values = (read[name].tolist() for name in _COLUMNS)
            known = {(files, stamps): (content, note) for files, stamps, content, note in zip(*values, strict=True)}
        self.rows = [self._with_identity(row, known) for row in self.rows]

    def _with_identity(self, row: Row, known: Mapping[Stamp, tuple[str, str]]) -> Row:
        files = self._reader.files(row)
        stamp = stamp_of(files)
        if stamp is not None and stamp in known:
            return {**row, IDENTITY: (*known[stamp], stamp)}
        if stamp is not None:
            self._looked_at[str(row["id"])] = files, stamp
        return row

    def keep(self, films: Iterable[tuple[str, str]], notes: Iterable[tuple[str, str]]) -> None:
        """Keep what films held that were read now, where their files have not changed since they were looked at.

        Args:
            films: id and content of each.
            notes: id and what must be known of how it was read.
        """
        if self._keeping is None:
            return
        noted = dict(notes)
        for image, content in films:
            files, stamp = self._looked_at.get(image, ((), None))
            if stamp is not None and stamp_of(files) == stamp:
                note = noted.get(image, "")
                self._keeping.keep({"files": stamp[0], "stamps": stamp[1], "content": content, "note": note})

    def __exit__(self, *_: object) -> None:
        """Write what is not written, whatever ended the block."""
        if self._keeping is not None:
            self._keeping.flush()
