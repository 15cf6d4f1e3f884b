"""How do boxes around findings become masks of a film? One mask per finding, and `lesion` for all of them.

A box is what a reader drew. Where several readers drew boxes of one finding, a pixel belongs to it where at least half
of those who drew any did.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from suites.harness.cohorts.cohort import Film
from suites.harness.cohorts.quoting import listed, shown
from suites.harness.cohorts.rows import Row

COLUMN = "boxes"
"""Of a cohort's table: the boxes of a film as JSON, "" without one."""
LESION = "lesion"
_SLACK = 0.01  # of a side: readers draw to the edge, and whole numbers round beyond it


class Box(NamedTuple):
    """A rectangle around a finding, in pixels of the film as it was shown to the reader, from its upper left corner."""

    finding: str
    left: float
    top: float
    right: float
    bottom: float
    reader: str = ""


@dataclass(frozen=True)
class BoxedFilms:
    """Decodes a row of the table, and draws the masks of its boxes.

    Attributes:
        decode: from a row to its film.
        drawn_on: (width, height) in pixels of the film that the boxes were drawn on, whatever size is stored here;
            `None`: the film's own.
        always: every film was looked at for boxes, so that one without any has an empty mask `lesion`.
    """

    decode: Callable[[Row], Film]
    drawn_on: tuple[int, int] | None = None
    always: bool = False

    def decided_by(self, row: Row) -> str:
        """Return what decides the masks of a row besides its film; "" where it gets none."""
        text = str(row.get(COLUMN) or "")
        return json.dumps([text, self.drawn_on, self.always]) if text or self.always else ""

    def __call__(self, row: Row) -> Film:
        """Return the film with masks `lesion` and `lesion:FINDING`; a box that is none of it is named in its note."""
        film = self.decode(row)
        text = str(row.get(COLUMN) or "")
        if not text and not self.always:
            return film
        height, width = film.pixels.shape
        across, down = self.drawn_on or (width, height)
        kept, refused = _fitting([Box(*box) for box in json.loads(text or "[]")], across, down)
        scale = width / across, height / down
        masks = {LESION: np.zeros((height, width), np.bool_)}
        for finding in dict.fromkeys(box.finding for box in kept):
            drawn = _agreed([box for box in kept if box.finding == finding], scale, (height, width))
            masks[f"{LESION}:{finding}"] = drawn
            masks[LESION] |= drawn
        notes = [film.note] * bool(film.note)
        if refused:
            edges = ", ".join(f"{edge:g}" for edge in refused[0][1:5])
            notes.append(
                f"{len(refused)} box(es) do not lie on the film of {across} x {down} and are not used, first of "
                f"{shown(refused[0].finding, 30)} ({edges})"
            )
        # A perturbation may depend on the masks, so they are part of what identifies the film.
        content = hashlib.sha256(f"{film.content}\n{text}\n{across} {down} {self.always}".encode()).hexdigest()
        return replace(film, masks={**film.masks, **masks}, content=content, note="; ".join(notes))


def as_text(boxes: Iterable[Box]) -> str:
    """Return boxes as a cell of `COLUMN`."""
    return json.dumps([list(box) for box in boxes]) if (boxes := list(boxes)) else ""


def read_boxes(
    rows: Iterable[Sequence[str]], where: str, *, sized: bool = False
) -> tuple[dict[str, list[Box]], tuple[str, ...]]:
    """Return film -> its boxes, and a note on rows that hold no rectangle: they are passed over.

    Args:
        rows: film, finding, reader, left, top, and right and bottom, as texts.
        where: the table, as the note calls it.
        sized: the last two are width and height.
    """
    found: dict[str, list[Box]] = {}
    broken: list[str] = []
    for film, finding, reader, *edges in rows:
        try:
            left, top, right, bottom = map(float, edges)
        except ValueError:
            left = top = right = bottom = math.nan
        if sized:
            right, bottom = left + right, top + bottom
        if not (right > left and bottom > top and math.isfinite(left + top + right + bottom)):
            broken.append(f"{film} ({', '.join(edges)})")
            continue
        found.setdefault(film, []).append(Box(finding, left, top, right, bottom, reader))
    note = f"{where}: {len(broken)} boxes are no rectangles and are not used, first of {listed(broken[:1])}"
    return found, (note,) * bool(broken)


def _fitting(boxes: Sequence[Box], width: int, height: int) -> tuple[list[Box], list[Box]]:
    """Return the boxes that lie on a film, and those that do not."""
    inside = [
        min(box.left / width, box.top / height) >= -_SLACK and max(box.right / width, box.bottom / height) <= 1 + _SLACK
        for box in boxes
    ]
    pairs = list(zip(boxes, inside, strict=True))
    return [box for box, fits in pairs if fits], [box for box, fits in pairs if not fits]


def _agreed(boxes: Sequence[Box], scale: tuple[float, float], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return (H, W) where at least half of the readers who drew a finding did."""
    readers = list(dict.fromkeys(box.reader for box in boxes))
    votes = np.zeros(shape, np.int64)
    for reader in readers:
        drawn = np.zeros(shape, np.bool_)
        for box in (box for box in boxes if box.reader == reader):
            left, right = (round(edge * scale[0]) for edge in (box.left, box.right))
            top, bottom = (round(edge * scale[1]) for edge in (box.top, box.bottom))
            drawn[max(0, top) : max(top + 1, bottom), max(0, left) : max(left + 1, right)] = True
        votes += drawn
    agreed: NDArray[np.bool_] = 2 * votes >= len(readers)
    return agreed
