"""Where do finished blocks lie? In a folder, or at an address that fsspec knows, such as `s3://bucket/folder`.

Either way a file is there whole or not at all. In a folder, and on servers that rename, it is written beside its place
and renamed into it; an object store cannot rename, but what is put there appears when all of it has arrived, and only
where nobody else has put the same.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from suites.harness.cache.shards import default_folder, note_set_aside, set_aside, write_atomically
from suites.harness.errors import UsageProblem, one_line
from suites.harness.foreign_code import foreign
from suites.harness.foreign_file import read_bytes, size_text

Root = Path | str
"""A folder, or an address as text."""
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci", "memory"})
"""Protocols where nothing can be renamed, and what is put appears at once when it is whole."""
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Place(Protocol):
    """A folder of files, somewhere."""

    def names(self, pattern: str) -> list[str]:
        """Return the names of the files that fit a pattern, sorted."""

    def read(self, name: str, most: int) -> bytes:
        """Return what is in a file of at most `most` bytes.

        Raises:
            OSError: it is not there (`FileNotFoundError`) or cannot be read; ValueError: it is larger, or no file.
        """

    def opened(self, name: str) -> BinaryIO:
        """Return a file to read parts of.

        Raises:
            OSError: as `read`.
        """

    def write(self, name: str, data: bytes) -> None:
        """Write a file that is either whole or absent; one of this name that is there already holds the same.

        Raises:
            UsageProblem: there is no room, or nobody may write there.
        """

    def remove(self, name: str) -> None:
        """Remove a file, where it is there and may be removed."""

    def set_aside(self, name: str, fault: Exception) -> None:
        """Move a file that cannot be believed out of the way, where that may be done, and say so."""


def is_address(text: str) -> bool:
    """Return whether a text is an address such as `s3://bucket/folder`, and no folder."""
    return _ADDRESS.match(text) is not None


def root_of(text: str) -> Root:
    """Return what somebody gave as a folder or an address; `file://` is a folder.

    Raises:
        UsageProblem: it is no address that can be written to from here.
    """
    if not is_address(text):
        return Path(text).expanduser()
    if text.startswith("file://"):
        return Path(unquote(urlsplit(text).path))
    place, probe = Address(text), f".probe-{uuid.uuid4().hex}"
    place.write(probe, b"Can this be written?")
    place.remove(probe)
    return text


def caches(given: Path | str | None) -> dict[str, Any]:
    """Return where a run keeps what, by the names of `PredictedRun`: at an address lie its finished blocks.

    Raises:
        UsageProblem: it is no address that can be used here.
    """
    root = default_folder() if given is None else root_of(str(given))
    return {"cache": root} if isinstance(root, Path) else {"cache": default_folder(), "blocks_at": root}


def place_of(root: Root) -> Place:
    """Return a root as a place.

    Raises:
        UsageProblem: nothing reaches the address.
    """
    return Folder(root) if isinstance(root, Path) else Address(root)


class Folder:
    """A folder of this machine, or of one that it has mounted.

    Args:
        path: the folder; it is made when something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def names(self, pattern: str) -> list[str]:
        """Return the names of the files that fit a pattern, sorted."""
        return sorted(path.name for path in self.path.glob(pattern))

    def read(self, name: str, most: int) -> bytes:
        """Return what is in a file."""
        return read_bytes(self.path / name, most)

    def opened(self, name: str) -> BinaryIO:
        """Return a file to read parts of."""
        return (self.path / name).open("rb")

    def write(self, name: str, data: bytes) -> None:
        """Write a file beside its place and rename it."""
        write_atomically(data, self.path / name)

    def remove(self, name: str) -> None:
        """Remove a file, where it is there and may be removed."""
        with suppress(OSError):
            (self.path / name).unlink(missing_ok=True)

    def set_aside(self, name: str, fault: Exception) -> None:
        """Rename a file that cannot be believed."""
        set_aside(self.path / name, fault)


class Address:
    """A folder that fsspec reaches.

    Args:
        address: the folder.

    Raises:
        UsageProblem: nothing reaches it.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._files, self._folder = _remote(address)
        protocol = self._files.protocol
        self._puts_whole = not OBJECT_STORES.isdisjoint([protocol] if isinstance(protocol, str) else protocol)
        if not self._puts_whole:
            with self._reached("cannot write to"):
                self._files.makedirs(self._folder, exist_ok=True)

    def __str__(self) -> str:
        return self.address

    def names(self, pattern: str) -> list[str]:
        """Return the names of the files that fit a pattern, sorted."""
        try:
            with self._reached("cannot read"):
                self._files.invalidate_cache(self._folder)  # other machines write there, too
                found = self._files.ls(self._folder, detail=False)
        except FileNotFoundError:
            return []
        names = (str(path).rstrip("/").rpartition("/")[2] for path in found)
        return sorted(name for name in names if fnmatchcase(name, pattern))

    def read(self, name: str, most: int) -> bytes:
        """Return what is in a file."""
        with self._reached("cannot read"), self._files.open(self._at(name), "rb") as file:
            data: bytes = file.read(most + 1)
        if len(data) > most:
            raise ValueError(f"it holds more than the {size_text(most)} that are read of such a file")
        return data

    def opened(self, name: str) -> BinaryIO:
        """Return a file to read parts of."""
        with self._reached("cannot read"):
            file: BinaryIO = self._files.open(self._at(name), "rb")
            return file

    def write(self, name: str, data: bytes) -> None:
        """Put a file where nobody has, or write it beside its place and rename it."""
        with self._reached("cannot write to", passing=()):
            if self._puts_whole:
                self._put(self._at(name), data)
                return
            beside = self._at(f".{name[-40:]}.{uuid.uuid4().hex}.partial")
            try:
                self._files.pipe_file(beside, data)
                with suppress(FileExistsError):  # some servers do not rename over a file, and it holds the same
                    self._files.mv(beside, self._at(name))
            finally:
                if self._files.exists(beside):
                    self._files.rm_file(beside)

    def _put(self, path: str, data: bytes) -> None:
        try:
            self._files.pipe_file(path, data, mode="create")
        except FileExistsError:
            return
        except (OSError, NotImplementedError):  # a store that knows no conditions
            self._files.pipe_file(path, data)

    def remove(self, name: str) -> None:
        """Remove a file, where it is there and may be removed."""
        with suppress(OSError, UsageProblem), self._reached("cannot remove from"):
            self._files.rm_file(self._at(name))

    def set_aside(self, name: str, fault: Exception) -> None:
        """Rename a file that cannot be believed."""
        with suppress(OSError, UsageProblem), self._reached("cannot rename in"):
            self._files.mv(self._at(name), self._at(f"{name.rpartition('.')[0]}.broken"))
        note_set_aside([*self._folder.split("/")[-2:], name], fault)

    def _at(self, name: str) -> str:
        return f"{self._folder}/{name}"

    @contextmanager
    def _reached(self, what: str, passing: tuple[type[Exception], ...] = (FileNotFoundError,)) -> Iterator[None]:
        """Turn whatever a store raises into one line, but for what is not there when it is read."""
        told = f"{what} {one_line(self.address, 100)}; see that it can be reached and has room, or pass --cache DIR"
        with foreign(UsageProblem, told, passing=passing):
            yield


def _remote(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the folder in it.

    Raises:
        UsageProblem: there is none of this protocol, or what reaches it is not installed.
    """
    from fsspec.core import url_to_fs  # noqa: PLC0415 - nobody with a folder needs it

    told = (
        f"the cache {one_line(address, 80)} cannot be used; s3:// needs the extra `s3`, others what fsspec has for them"
    )
    with foreign(UsageProblem, told):
        files, folder = url_to_fs(address)
    return files, str(folder).rstrip("/")
