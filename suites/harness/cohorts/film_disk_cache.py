"""Where are films kept that are costly to make? In memory over disk, one file each.

Predictions ask for a simulated film once and keep the answer; maps and galleries look at a few of them in every run. A
file begins with the checksum of its film, so that one that is damaged, or another's, is made again.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from suites.harness.cohorts.cohort import Cohort, Film, Row
from suites.harness.cohorts.film_memory import held, hold
from suites.harness.foreign_file import read_bytes

_MASK = "mask_"
_CHECKSUM_BYTES = 32
_MOST_BYTES = 2**30


@dataclass(frozen=True)
class KeptFilms:
    """Decodes a film, or returns it from memory or from disk, bit for bit the same; may be asked by several threads.

    Attributes:
        decode: from a row to its film.
        identify: from a row to what decides every bit of it.
        folder: of films on disk; `None`: they are held in memory only.
    """

    decode: Callable[[Row], Film]
    identify: Callable[[Row], str]
    folder: Path | None = None

    def __call__(self, row: Row) -> Film:
        """Return the film of a row, a copy of what is kept."""
        content = self.identify(row)
        path = self.folder / f"{content}.film" if self.folder else None
        film = held(content)
        kept = path is None or (film is not None and path.exists())
        if film is None:
            stored = _read(path, content) if path else None
            kept = kept or stored is not None
            film = stored or self.decode(row)
            hold(content, film)
        if path and not kept:  # what memory had, too: the next run will look for it on disk
            _write(path, film)
        return film


def remembering(cohort: Cohort, cache: Path) -> Callable[[Row], Film]:
    """Return a decoder of a cohort's films that finds again what it has decoded before, in any run.

    Only films that can be identified without being decoded are kept; those in files are as quick to read there.
    """
    if cohort.identify is None:
        return cohort.decode
    return KeptFilms(cohort.decode, cohort.identify, cache / "films")


def _write(path: Path, film: Film) -> None:
    temporary = path.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        packed = BytesIO()
        arrays: dict[str, Any] = {_MASK + name: np.packbits(mask) for name, mask in film.masks.items()}
        np.savez(packed, pixels=film.pixels, **arrays)
        temporary.write_bytes(_checksum(path, packed.getvalue()) + packed.getvalue())
        temporary.replace(path)
    except OSError:  # a film that could not be kept is made again
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _read(path: Path, content: str) -> Film | None:
    """Return a kept film; `None` where there is none or the file is damaged."""
    try:
        data = read_bytes(path, _MOST_BYTES)
    except (OSError, ValueError):
        return None
    checksum, packed = data[:_CHECKSUM_BYTES], data[_CHECKSUM_BYTES:]
    if checksum != _checksum(path, packed):
        return None
    with np.load(BytesIO(packed), allow_pickle=False) as stored:
        pixels = stored["pixels"]
        masks = {
            name.removeprefix(_MASK): np.unpackbits(stored[name], count=pixels.size).reshape(pixels.shape) > 0
            for name in stored.files
            if name.startswith(_MASK)
        }
    return Film(pixels=pixels, content=content, masks=masks)


def _checksum(path: Path, packed: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + packed).digest()
