"""Where are films kept that are costly to make? In memory over disk, one file each.

Predictions ask for a simulated film once and keep the answer; maps and galleries look at a few of them in every run.
"""

from __future__ import annotations

import uuid
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from suites.harness.cohorts.cohort import Cohort, Film, Row
from suites.harness.cohorts.film_memory import held, hold

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
        path = self.folder / f"{content}.npz" if self.folder else None
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
        with temporary.open("wb") as file:
            arrays: dict[str, Any] = {_MASK + name: np.packbits(mask) for name, mask in film.masks.items()}
            np.savez(file, pixels=film.pixels, **arrays)
        temporary.replace(path)
    except OSError:  # a film that could not be kept is made again
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _read(path: Path, content: str) -> Film | None:
    """Return a kept film; `None` where there is none or the file is damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            pixels = stored["pixels"]
            masks = {
                name.removeprefix(_MASK): np.unpackbits(stored[name], count=pixels.size).reshape(pixels.shape) > 0
                for name in stored.files
                if name.startswith(_MASK)
            }
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return Film(pixels=pixels, content=content, masks=masks)
