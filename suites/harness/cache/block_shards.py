"""Where are the answers to a block of films kept? One Parquet shard, named by a hash of all that determines its rows.

A shard that is there and verifies is done: that is how a run goes on where another stopped. Its footer holds the number
of its rows, the key they belong to and a checksum over every value; what does not agree with it, or does not hold
exactly the films and conditions that its name stands for, is set aside and computed again.

The rows of a block that was asked under other conditions, or of a cohort that was cut otherwise, are found again film
by film, and so are those of a block that was stopped in the middle: it leaves a part every few seconds.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from suites.harness.cache.places import Root, place_of
from suites.harness.cache.shards import FLUSH_SECONDS, MOST, Row, Shards, name_of
from suites.harness.process import LARGE

KEY = ("content", "image", "identity")
"""Columns by which a row is known: the pixels of a film, its id, and what was done to it."""
RowKey = tuple[str, str, str]
FilmKey = tuple[str, str]
"""Id and content of a film."""
_TYPES = {"text": pa.string(), "number": pa.float32(), "bytes": pa.binary()}


class BlockShards:
    """The blocks of one key: subject, seed, batch size, device, versions.

    Args:
        root: of the cache, a folder or an address.
        kind: what is kept: one subfolder each.
        key: everything that determines a row besides film and condition, JSON-serialisable.
        columns: name -> kind (`text`, `number`, `bytes`) of the columns after those of `KEY`.

    Raises:
        UsageProblem: the folder cannot be written, the address not reached.
    """

    def __init__(self, root: Root, kind: str, key: Mapping[str, object], columns: Mapping[str, str]) -> None:
        self.place = place_of(
            Shards(root, kind, key).folder if isinstance(root, Path) else f"{root.rstrip('/')}/{kind}/{name_of(key)}"
        )
        kinds = {**dict.fromkeys(KEY, "text"), **columns}
        self.schema = pa.schema([(name, _TYPES[kind]) for name, kind in kinds.items()])
        self._about = json.dumps([kind, key, kinds], sort_keys=True, default=str)
        self._seen: set[str] = set()
        self._holding: dict[str, list[str]] = {}
        self._last: tuple[str, pa.Table] | None = None

    def name(self, films: Sequence[FilmKey], identities: Iterable[str]) -> str:
        """Return the name of the shard of these films under these conditions, in whatever order these are asked."""
        text = json.dumps([self._about, list(films), sorted(set(identities))])
        return f"shard-{_films_digest(films)}-{hashlib.sha256(text.encode()).hexdigest()[:32]}.parquet"

    def read(self, films: Sequence[FilmKey], identities: Iterable[str]) -> pa.Table | None:
        """Return the rows of a block, film by film, within it by identity; `None` where it is not done."""
        name = self.name(films, identities)
        if self._last is not None and self._last[0] == name:
            return self._last[1]  # whoever looks whether a block is done then asks for its rows
        table = self._believed(name, (films, sorted(set(identities))))
        self._last = None if table is None or table.nbytes > LARGE else (name, table)
        return table

    def known(self, films: Sequence[FilmKey], identities: Iterable[str]) -> dict[RowKey, Row]:
        """Return what any shard or part holds of these films under these conditions."""
        self._look_around()
        wanted = set(_keys(films, identities))
        images = [image for image, _ in films]
        found: dict[RowKey, Row] = {}
        for file in sorted({file for image in images for file in self._holding.get(image, ())}):
            table = self._believed(file)
            if table is not None:
                mine = table.filter(pc.is_in(table["image"], pa.array(images, pa.string())))
                rows = ((_row_key(row), row) for row in mine.to_pylist())
                found |= {key: row for key, row in rows if key in wanted}
        return found

    def answered(self) -> dict[str, set[str]]:
        """Return id of a film -> what it was answered under, as files say, which are verified when they are used."""
        found: dict[str, set[str]] = {}
        for file in self.place.names("*.parquet"):
            for image, identity in self._columns_of(file, "image", "identity"):
                found.setdefault(image, set()).add(identity)
        return found

    def write(self, films: Sequence[FilmKey], identities: Iterable[str], rows: Mapping[RowKey, Row]) -> None:
        """Keep a finished block.

        Args:
            films: id and content of each.
            identities: of the conditions.
            rows: one for every film and condition, in any order; others are left out.

        Raises:
            UsageProblem: the disk is full or the folder not writable.
        """
        self._write(self.name(films, identities), [rows[key] for key in _keys(films, identities)])

    def tidy(self, films: Sequence[FilmKey], rows: Container[RowKey]) -> None:
        """Remove the parts of a block that hold nothing but these rows, now that they are kept as a whole."""
        for file in self.place.names(f"part-{_films_digest(films)}-*.parquet"):
            part = self._believed(file)
            if part is not None and all(_row_key(row) in rows for row in part.select(KEY).to_pylist()):
                self.place.remove(file)

    def write_part(self, films: Sequence[FilmKey], rows: Sequence[Row]) -> None:
        """Keep some rows of a block that is not finished.

        Raises:
            UsageProblem: the disk is full or the folder not writable.
        """
        if rows:
            text = json.dumps([_row_key(row) for row in rows])
            name = f"part-{_films_digest(films)}-{hashlib.sha256(text.encode()).hexdigest()[:32]}.parquet"
            self._write(name, rows)

    def _write(self, file: str, rows: Sequence[Row]) -> None:
        columns = [pa.array([row[field.name] for row in rows], field.type) for field in self.schema]
        table = pa.table(columns, self.schema)
        told = {"about": _sha(self._about), "rows": str(len(rows)), "checksum": self._checksum(table)}
        buffer = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata(told), buffer, compression="zstd")
        self.place.write(file, buffer.getvalue().to_pybytes())

    def _believed(self, file: str, block: tuple[Sequence[FilmKey], Sequence[str]] | None = None) -> pa.Table | None:
        """Return the rows of a file, or of a block as a whole; what is not as it was written is set aside."""
        try:
            return self._verified(file, block)
        except FileNotFoundError:  # not done yet, or moved by another run a moment ago
            return None
        except (pa.ArrowException, OSError, ValueError) as fault:
            self.place.set_aside(file, fault)
            return None

    def _verified(self, file: str, block: tuple[Sequence[FilmKey], Sequence[str]] | None) -> pa.Table:
        """Return the rows of a file.

        Raises:
            OSError: it cannot be read.
            ValueError: it is not what was written for this key, these films and conditions; an ArrowException where it
                is no table at all.
        """
        source = pa.BufferReader(self.place.read(file, MOST))
        table = pq.ParquetFile(source).read(use_threads=False)  # `read_table` takes half a millisecond more
        told = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        if told.get("about") != _sha(self._about) or not table.schema.equals(self.schema):
            raise ValueError("it belongs to another run")
        if told.get("rows") != str(table.num_rows):
            raise ValueError(f"it holds {table.num_rows} rows, not {told.get('rows')}")
        if told.get("checksum") != self._checksum(table):
            raise ValueError("its checksum is not that of its rows")
        if block is not None and not _holds(table, *block):
            raise ValueError("it does not hold the films and conditions that its name stands for")
        return table

    def _checksum(self, table: pa.Table) -> str:
        """Return the sha256 of every value, whatever way it is stored; of the names and types of the columns, too."""
        digest = hashlib.sha256(self._about.encode())
        for field in table.schema:
            column = table[field.name].combine_chunks()
            digest.update(f"\x1e{field.name} {field.type} {len(column)}\x1f".encode())
            if pa.types.is_floating(field.type):
                digest.update(np.ascontiguousarray(column.to_numpy(zero_copy_only=False), dtype="<f4").tobytes())
                continue
            sizes = pc.fill_null(pc.binary_length(column), -1)
            digest.update(sizes.to_numpy(zero_copy_only=False).astype("<i8").tobytes())
            values = column.cast(pa.binary()).drop_null()
            if values.nbytes > LARGE:  # pictures: not all of them once more
                for value in values:
                    digest.update(value.as_buffer())
            else:
                digest.update(b"".join(values.to_pylist()))
        return digest.hexdigest()

    def _look_around(self) -> None:
        """Learn which films the files hold that have come since the last time."""
        for file in self.place.names("*.parquet"):
            if file not in self._seen:
                self._seen.add(file)
                for image in dict.fromkeys(image for (image,) in self._columns_of(file, "image")):
                    self._holding.setdefault(image, []).append(file)

    def _columns_of(self, file: str, *names: str) -> list[tuple[str, ...]]:
        """Return columns of a file, row by row, as it says of itself; it is verified when a film of it is asked for."""
        try:
            with self.place.opened(file) as source:
                table = pq.read_table(source, columns=list(names), use_threads=False)
        except FileNotFoundError:  # another run has moved it
            return []
        except (pa.ArrowException, OSError, ValueError) as fault:
            self.place.set_aside(file, fault)
            return []
        return _columns(table, names)


class Unfinished(AbstractContextManager["Unfinished"]):
    """The rows of a block on their way into the cache; what is there when something ends it is kept as a part.

    Args:
        shards: where they go.
        films: id and content of each film of the block.
        identities: of the conditions it is asked under.

    Attributes:
        rows: those known, found ones and new ones.
        computed: number of the new ones.
    """

    def __init__(self, shards: BlockShards, films: Sequence[FilmKey], identities: Iterable[str]) -> None:
        self.shards, self.films = shards, films
        self.rows = shards.known(films, identities)
        self.computed = 0
        self._fresh: list[Row] = []
        self._flushed = time.monotonic()

    def keep(self, row: Row) -> None:
        """Take one new row."""
        self.rows[_row_key(row)] = row
        self._fresh.append(row)
        self.computed += 1
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flush()

    def finished(self, films: Sequence[FilmKey], identities: Sequence[str]) -> None:
        """Keep the block as done, for those of its films and conditions that there are rows for."""
        self.shards.write(films, identities, self.rows)
        self._fresh = []
        self.shards.tidy(self.films, set(_keys(films, identities)))

    def _flush(self) -> None:
        self.shards.write_part(self.films, self._fresh)
        self._fresh, self._flushed = [], time.monotonic()

    def __exit__(self, *_: object) -> None:
        """Keep what is not, whatever ended the block."""
        self._flush()


def _keys(films: Sequence[FilmKey], identities: Iterable[str]) -> list[RowKey]:
    """Return the keys of the rows of a block, in their order."""
    ordered = sorted(set(identities))
    return [(content, image, identity) for image, content in films for identity in ordered]


def _holds(table: pa.Table, films: Sequence[FilmKey], identities: Sequence[str]) -> bool:
    """Return whether a table has exactly the rows of a block, in their order: those of `_keys`, compared by column."""
    film = np.repeat(np.arange(len(films)), len(identities))
    wanted = {
        "content": pa.array([content for _, content in films], pa.string()).take(film),
        "image": pa.array([image for image, _ in films], pa.string()).take(film),
        "identity": pa.array(list(identities) * len(films), pa.string()),
    }
    return all(table[name].combine_chunks().equals(column) for name, column in wanted.items())


def _columns(table: pa.Table, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return columns of text row by row; a dictionary for each row would take as long as all the rest of reading."""
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


def _row_key(row: Row) -> RowKey:
    return row["content"], row["image"], row["identity"]


def _films_digest(films: Sequence[FilmKey]) -> str:
    return _sha(json.dumps(list(films)))[:16]


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
