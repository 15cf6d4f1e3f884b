"""Where are films kept that are costly to make? In memory over disk, one file each.

Predictions ask for a simulated film once and keep the answer; maps and galleries look at a few of them in every run.
A file begins with the checksum of the rest and of the film it is: what is not as it was written is made again.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from suites.harness.cache.checksum import checksum
from suites.harness.cache.shards import write_atomically
from suites.harness.cohorts.cohort import Cohort, Film
from suites.harness.cohorts.film_memory import held, hold
from suites.harness.cohorts.rows import Row
from suites.harness.errors import UsageProblem
from suites.harness.foreign_file import MIB, read_bytes

MOST = 1024 * MIB
"""Bytes of one film; of 4000 x 4000 pixels with two masks it has 68 MiB."""
_MASK = "mask_"


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
        path = self.folder / f"{_file_name(content)}.npz" if self.folder else None
        film = held(content)
        kept = path is None or (film is not None and path.exists())
        if film is None:
            stored = _read(path, content) if path else None
            kept = kept or stored is not None
            film = stored or self.decode(row)
            hold(content, film)
        if path and not kept:  # what memory had, too: the next run will look for it on disk
            _write(path, content, film)
        return film


def remembering(cohort: Cohort, cache: Path) -> Callable[[Row], Film]:
    """Return a decoder of a cohort's films that finds again what it has decoded before, in any run.

    Only films that can be identified without being decoded are kept; those in files are as quick to read there.
    """
    if cohort.identify is None:
        return cohort.decode
    return KeptFilms(cohort.decode, cohort.identify, cache / "films")


def _file_name(content: str) -> str:
    """Return a name for a film; what a user's own cohort calls it may be no name of a file."""
    return content if re.fullmatch(r"[0-9a-f]{64}", content) else hashlib.sha256(content.encode()).hexdigest()


def _write(path: Path, content: str, film: Film) -> None:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {_MASK + name: np.packbits(mask) for name, mask in film.masks.items()}
    np.savez(buffer, pixels=film.pixels, **arrays)
    data = buffer.getvalue()
    with suppress(UsageProblem):  # a film that could not be kept is made again
        write_atomically(checksum(content, data).encode() + data, path)


def _read(path: Path, content: str) -> Film | None:
    """Return a kept film; `None` where there is none, or the file is not as it was written."""
    try:
        sealed = read_bytes(path, MOST)
    except (OSError, ValueError):
        return None
    sealed_as, data = sealed[:64], sealed[64:]
    if sealed_as != checksum(content, data).encode():
        return None
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        pixels = stored["pixels"]
        masks = {
            name.removeprefix(_MASK): np.unpackbits(stored[name], count=pixels.size).reshape(pixels.shape) > 0
            for name in stored.files
            if name.startswith(_MASK)
        }
    return Film(pixels=pixels, content=content, masks=masks)
