"""Where are finished rows kept? Parquet shards that appear whole or not at all, and are believed only as written.

A shard is written beside its place and renamed into it, so a run killed at any moment leaves only whole shards, and two
runs at once only ever add files. A folder of shards belongs to one key: weights, preprocessing, seed, batch size and
the versions that decide the numbers. Rows that two runs both computed are identical, so either may be used.

The name of a shard is the checksum of its bytes and its key. Whatever else lies there (a shard of another key, one that
lost bits on a bad disk, a table of somebody's) is set aside with a word and its rows are computed again: a number is
never taken from a file that this code did not write for this very key.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from suites.harness.cache.checksum import checksum
from suites.harness.errors import UsageProblem, printable
from suites.harness.foreign_file import MIB, read_bytes

logger = logging.getLogger(__name__)

STALE_SECONDS = 24 * 3600
FLUSH_SECONDS = 5.0
"""Finished rows wait so long at most before they are written: what a run killed at that moment does again."""
MOST = 2048 * MIB
"""Bytes of one shard: what a few seconds, a batch of an attack or the pictures of one report gave; mostly < 20 MiB."""
SET_ASIDE: list[str] = []
"""What this process could not believe, a line each, for its terminal: a report says nothing of it, nor need it."""
Row = Mapping[str, Any]
Key = tuple[Hashable, ...]
TYPES: Mapping[str, tuple[Callable[[pa.DataType], bool], ...]] = {
    "text": (pa.types.is_string, pa.types.is_large_string),
    "whole": (pa.types.is_integer,),
    "number": (pa.types.is_floating, pa.types.is_null),
    "flag": (pa.types.is_boolean,),
    "bytes": (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_null),
}
"""Kind of a column -> the Arrow types it is written as; a column without any value has none of its own."""


def default_folder() -> Path:
    """Return the user's cache folder for this project (`XDG_CACHE_HOME` is honoured).

    Raises:
        UsageProblem: there is no home folder.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chest-xray-reliability"
    except RuntimeError as problem:
        raise UsageProblem("this user has no home folder for the cache; pass --cache DIR") from problem


def write_atomically(data: bytes, path: Path) -> None:
    """Write a file that is either whole or absent.

    Raises:
        UsageProblem: the disk is full or the folder not writable.
    """
    temporary = path.with_name(f".{path.name[-40:]}.{uuid.uuid4().hex}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as problem:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise UsageProblem(
            f"cannot write to {path.parent}: {problem.strerror or problem}; free some space or pass --cache DIR"
        ) from problem


def name_of(key: Mapping[str, object]) -> str:
    """Return the name of the folder of everything that is kept under a key."""
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()[:24]


class Shards:
    """The finished rows of one key.

    Args:
        folder: root of the cache.
        kind: what is kept (`predictions`, `attacks`, ...): one subfolder each.
        key: everything that determines the rows, JSON-serialisable.
        columns: name -> kind (see `TYPES`) of the columns that every shard has; others may stand beside them.
    """

    def __init__(
        self, folder: Path, kind: str, key: Mapping[str, object], columns: Mapping[str, str] | None = None
    ) -> None:
        text = json.dumps(key, sort_keys=True, default=str)
        self.key = key
        self.columns = columns or {}
        self.folder = folder / kind / name_of(key)
        self._about = f"{kind} {text}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._probe()
        except OSError as problem:
            raise UsageProblem(
                f"cannot write to the cache {folder}: {problem.strerror or problem}; pass --cache DIR"
            ) from problem
        self._sweep()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shards) and other.folder == self.folder

    def __hash__(self) -> int:
        return hash(self.folder)

    def _probe(self) -> None:
        with tempfile.TemporaryFile(dir=self.folder):
            pass
        about = self.folder / "key.json"
        if not about.exists():
            temporary = about.with_name(f".{uuid.uuid4().hex}.partial")
            temporary.write_text(json.dumps(self.key, sort_keys=True, indent=1, default=str))
            temporary.replace(about)

    def _sweep(self) -> None:
        """Remove what killed runs left half-written a day ago or longer."""
        for path in self.folder.glob(".*.partial"):
            with suppress(OSError):  # gone meanwhile, or another user's
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink()

    def read(self) -> pd.DataFrame:
        """Return all rows of all shards; one that is not as it was written is set aside, and its rows are missing."""
        tables = []
        for path in sorted(self.folder.glob("shard-*.parquet")):
            try:
                tables.append(self._verified(path))
            except FileNotFoundError:  # set aside by another run, a moment ago
                continue
            except (pa.ArrowException, OSError, ValueError) as fault:
                set_aside(path, fault)
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def _verified(self, path: Path) -> pd.DataFrame:
        """Return the rows of a shard.

        Raises:
            OSError: it cannot be read.
            ValueError: it is not what was written for this key, or lacks a column; an ArrowException where it is no
                table at all.
        """
        data = read_bytes(path, MOST)
        if path.name != self._name(data):
            raise ValueError("its checksum is not that of its content under this key")
        table = pq.read_table(pa.BufferReader(data))
        for name, kind in self.columns.items():
            if name not in table.column_names or not any(known(table.schema.field(name).type) for known in TYPES[kind]):
                raise ValueError(f"it has no column {name!r} of kind {kind}")
        rows: pd.DataFrame = table.to_pandas()
        return rows

    def _name(self, data: bytes) -> str:
        return f"shard-{checksum(self._about, data)}.parquet"

    def add(self, rows: pd.DataFrame) -> None:
        """Keep these rows as one more shard.

        Raises:
            UsageProblem: the disk is full or the folder not writable.
        """
        if len(rows):
            buffer = pa.BufferOutputStream()
            pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), buffer, compression="zstd")
            data = buffer.getvalue().to_pybytes()
            write_atomically(data, self.folder / self._name(data))

    def known(self, columns: Sequence[str]) -> dict[Key, Row]:
        """Return every row that is kept, by its values in these columns."""
        rows = self.read().to_dict("records")
        return {tuple(row[name] for name in columns): {str(key): row[key] for key in row} for row in rows}

    def fill(
        self,
        columns: Sequence[str],
        asked: Iterable[tuple[Key, Callable[[], Row]]],
        known: dict[Key, Row] | None = None,
    ) -> list[Row]:
        """Return the row of everything that is asked, computing and keeping what is missing.

        Args:
            columns: of the key.
            asked: pairs of a key and what computes the rest of its row; taken one by one, so that they may be made as
                they are needed.
            known: from `known` of the same columns, where it has been read already; what is computed is added to it.
        """
        known, found = self.known(columns) if known is None else known, []
        with Keeping(self) as keeping:
            for key, compute in asked:
                if key not in known:
                    known[key] = {**dict(zip(columns, key, strict=True)), **compute()}
                    keeping.keep(known[key])
                found.append(known[key])
        return found

    def once(self, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Return the rows that are kept or, where there are none, those that are computed now."""
        rows = self.read()
        if not len(rows):
            rows = compute()
            self.add(rows)
        return rows


def set_aside(path: Path, fault: Exception) -> None:
    """Move a file that cannot be believed out of the way, where that may be done, and say so."""
    with suppress(OSError):
        path.replace(path.with_suffix(".broken"))
    note_set_aside([path.parent.parent.name, path.parent.name, path.name], fault)


def note_set_aside(where: Sequence[str], fault: Exception) -> None:
    """Say of a file that it was set aside.

    Args:
        where: it lay: kind, key and its name.
        fault: why it cannot be believed.
    """
    *folders, file = where
    told = printable(" ".join(str(fault).split()))[:120]
    name = ascii(file[:24]).strip("'")
    note = f"cache: {'/'.join(folders)}/{name}... was set aside and is computed again: {told}"
    SET_ASIDE.append(note)
    logger.warning(note)


class Keeping(AbstractContextManager["Keeping"]):
    """Rows on their way into the cache: written every few seconds and when the block ends, an interrupt included.

    Args:
        shards: where they go.
        every: write so many rows together, for work that is finished in batches; `None`: what a few seconds gave.
        written: called with what was written, for who needs the rows again.
    """

    def __init__(
        self, shards: Shards, *, every: int | None = None, written: Callable[[pd.DataFrame], object] | None = None
    ) -> None:
        self.shards, self.every, self.written = shards, every, written
        self._fresh: list[Row] = []
        self._flushed = time.monotonic()

    def keep(self, row: Row) -> None:
        """Take one finished row."""
        self._fresh.append(row)
        overdue = time.monotonic() - self._flushed > FLUSH_SECONDS
        if overdue if self.every is None else len(self._fresh) >= self.every:
            self.flush()

    def flush(self) -> None:
        """Write what is finished."""
        rows = pd.DataFrame(self._fresh)
        self.shards.add(rows)
        if self.written:
            self.written(rows)
        self._fresh = []
        self._flushed = time.monotonic()

    def __exit__(self, *_: object) -> None:
        """Write what is finished, whatever ended the block."""
        self.flush()
