"""Where are finished rows kept? Parquet shards that appear whole or not at all.

A shard is written beside its place and renamed into it, so a run killed at any moment leaves only whole shards, and two
runs at once only ever add files. A folder of shards belongs to one key: weights, preprocessing, seed, batch size and
the versions that decide the numbers. Rows that two runs both computed are identical, so either may be used.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from suites.harness.errors import UsageProblem

STALE_SECONDS = 24 * 3600
FLUSH_SECONDS = 5.0
"""Finished rows wait so long at most before they are written: what a run killed at that moment does again."""
Row = Mapping[str, Any]
Key = tuple[Hashable, ...]


def default_folder() -> Path:
    """Return the user's cache folder for this project (`XDG_CACHE_HOME` is honoured)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chest-xray-reliability"


def write_atomically(table: pd.DataFrame, path: Path) -> None:
    """Write a Parquet file that is either whole or absent.

    Raises:
        UsageProblem: the disk is full or the folder not writable.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), temporary, compression="zstd")
        temporary.replace(path)
    except OSError as problem:
        temporary.unlink(missing_ok=True)
        raise UsageProblem(
            f"cannot write {path}: {problem.strerror or problem}; free some space or pass --cache DIR or --report DIR"
        ) from problem


class Shards:
    """The finished rows of one key.

    Args:
        folder: root of the cache.
        kind: what is kept (`predictions`, `attacks`, ...): one subfolder each.
        key: everything that determines the rows, JSON-serialisable.
    """

    def __init__(self, folder: Path, kind: str, key: Mapping[str, object]) -> None:
        text = json.dumps(key, sort_keys=True, default=str)
        self.key = key
        self.folder = folder / kind / hashlib.sha256(text.encode()).hexdigest()[:24]
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
            try:
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink()
            except FileNotFoundError:
                continue

    def read(self) -> pd.DataFrame:
        """Return all rows of all shards; a shard that cannot be read is set aside and its films are done again."""
        tables = []
        for path in sorted(self.folder.glob("shard-*.parquet")):
            try:
                tables.append(pq.read_table(path).to_pandas())
            except (pa.ArrowException, OSError):
                path.replace(path.with_suffix(".broken"))
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def add(self, rows: pd.DataFrame) -> None:
        """Keep these rows as one more shard."""
        if len(rows):
            write_atomically(rows, self.folder / f"shard-{uuid.uuid4().hex}.parquet")

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
