"""Films that are costly to make and looked at again: kept on disk as they are, one file each.

Predictions ask for a simulated film once and keep the answer; maps and galleries look at a few of them in every run.
"""

from __future__ import annotations

import uuid
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from suites.harness.cohort import Cohort, Film

Row = Mapping[str, object]
_MASK = "mask_"


def remembering(cohort: Cohort, cache: Path) -> Callable[[Row], Film]:
    """Return a decoder of a cohort's films that finds again what it has decoded before.

    Only films that can be identified without being decoded are kept; those in files are as quick to read there.
    """
    if cohort.identify is None:
        return cohort.decode
    return Remembered(cohort.decode, cohort.identify, cache / "films")


@dataclass(frozen=True)
class Remembered:
    """Decodes a film, or reads it from `folder`, bit for bit the same."""

    decode: Callable[[Row], Film]
    identify: Callable[[Row], str]
    folder: Path

    def __call__(self, row: Row) -> Film:
        """Return the film of a row."""
        content = self.identify(row)
        path = self.folder / f"{content}.npz"
        return _read(path, content) or self._kept(row, path)

    def _kept(self, row: Row, path: Path) -> Film:
        film = self.decode(row)
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
        return film


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
