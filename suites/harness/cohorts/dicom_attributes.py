"""What does an attribute of a DICOM file say? Numbers and lookup tables, read as the standard means them.

Files in use carry text where a number belongs, tables without data, and signed numbers marked as unsigned ones. What
can be told is told here, once; what cannot is absent, or the film is refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.multival import MultiValue

from suites.harness.errors import FilmUnreadable
from suites.harness.foreign_file import size_text

# What pydicom raises where a value is not of the kind that its attribute has.
UNREADABLE = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, NotImplementedError, OSError,
              EOFError, struct.error)  # fmt: skip
MOST_LOOKUP_BYTES = 4 * 2**20
"""Of a sequence of lookup tables; one of 65536 entries has 128 KiB, and some films carry a few."""


@dataclass(frozen=True)
class LookupTable:
    """A lookup table of a film (DICOM PS3.3 C.11.1.1 and C.11.2.1.1).

    Attributes:
        first: the value that the first entry is for; what lies below it takes that entry, too.
        entries: (N,) float64, at least 0.
        top: the largest value that an entry may have.
    """

    first: int
    entries: NDArray[np.float64]
    top: float

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the entries of values, in their shape."""
        places = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1).astype(np.int64)
        return np.asarray(self.entries[places])


def value_of(dataset: pydicom.Dataset, keyword: str) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return what an attribute holds, the first of several values; `None` where it is absent or empty.

    Raises:
        FilmUnreadable: it is there and cannot be read.
    """
    try:
        value = dataset.get(keyword)
        if isinstance(value, (MultiValue, list, tuple)):
            value = value[0] if len(value) else None
    except UNREADABLE as problem:
        raise FilmUnreadable(f"has a {keyword} that cannot be read; export it anew from its archive") from problem
    return None if value is None or value == "" else value


def text(dataset: pydicom.Dataset, keyword: str) -> str:
    """Return the text of an attribute in capitals, empty where there is none; raises as `value_of`."""
    value = value_of(dataset, keyword)
    return "" if value is None else str(value).strip().upper()


def number(dataset: pydicom.Dataset, keyword: str, default: float | None = None) -> float:
    """Return the number that an attribute holds.

    Raises:
        FilmUnreadable: it is no finite number, or it is absent and there is no default.
    """
    value = value_of(dataset, keyword)
    if value is None:
        if default is None:
            raise FilmUnreadable(f"lacks the attribute {keyword}; export it anew from its archive")
        return default
    found = finite(value)
    if found is None:
        raise FilmUnreadable(f"has a {keyword} that is no finite number; export it anew from its archive")
    return found


def whole(dataset: pydicom.Dataset, keyword: str, default: int | None = None) -> int:
    """Return the whole number that an attribute holds; raises as `number`."""
    return int(number(dataset, keyword, default))


def finite(value: object) -> float | None:
    """Return a value as a finite number, `None` where it is none."""
    try:
        found = float(value)  # type: ignore[arg-type] # what is no number raises
    except UNREADABLE:
        return None
    return found if np.isfinite(found) else None


def each_number(dataset: pydicom.Dataset, keyword: str) -> list[float | None]:
    """Return the numbers that an attribute holds, `None` for each that is none; empty where nothing can be read."""
    try:
        value = dataset.get(keyword)
    except UNREADABLE:
        return []
    several = value if isinstance(value, (MultiValue, list, tuple)) else [value]
    return [finite(one) for one in several]


def lookup_item(dataset: pydicom.Dataset, keyword: str) -> pydicom.Dataset | None:
    """Return the first item of a sequence of lookup tables that holds data, `None` without one.

    Raises:
        FilmUnreadable: the sequence cannot be read, or is larger than any film's.
    """
    if keyword not in dataset:
        return None
    stored = dataset.get_item(keyword).value
    if isinstance(stored, bytes) and len(stored) > MOST_LOOKUP_BYTES:
        raise FilmUnreadable(f"has a {keyword} of {size_text(len(stored))}, which no film has; export it anew")
    try:
        return next((item for item in dataset.get(keyword) or [] if _holds_table(item)), None)
    except UNREADABLE as problem:
        raise FilmUnreadable(f"has a {keyword} that cannot be read; export it anew from its archive") from problem


def lookup_table(item: pydicom.Dataset, *, held: tuple[float, float], little_endian: bool) -> LookupTable:
    """Return the table of an item.

    Its data are unsigned whatever they are stored as (C.11.1.1.1). The first value that it maps is taken as the file
    marks it, signed or not; where no value of the film would lie in the table then, the other way.

    Args:
        item: of a sequence of lookup tables, with data.
        held: the lowest and the highest value that can be looked up.
        little_endian: how the file orders its bytes.

    Raises:
        FilmUnreadable: the descriptor is not one, or announces other data than there are.
    """
    descriptor = each_number(item, "LUTDescriptor")
    if len(descriptor) != 3 or None in descriptor:
        raise FilmUnreadable("has a lookup table whose descriptor is not three numbers; export it anew")
    count, first, bits = (int(part or 0) for part in descriptor)
    count = (count & 0xFFFF) or 2**16
    entries = _entries(item.LUTData, count, bits, little_endian)
    if len(entries) < count or not 8 <= bits <= 16:
        raise FilmUnreadable(
            f"has a lookup table of {len(entries)} entries and {bits} bits, {count} were announced; export it anew"
        )
    entries = entries[:count]
    other = first - 2**16 if first >= 2**15 else first + 2**16 if first < 0 else first
    if not _overlap(first, count, held) and _overlap(other, count, held):
        first = other
    # Many files announce 16 bits over a table that ends at 12: believe the table, or the film would be black.
    filled = int(entries.max()).bit_length() or bits
    return LookupTable(first, entries.astype(np.float64), float(2 ** max(filled, 8) - 1))


def _holds_table(item: pydicom.Dataset) -> bool:
    data = item.get("LUTData")
    return item.get("LUTDescriptor") is not None and (isinstance(data, int) or bool(data))


def _overlap(first: int, count: int, held: tuple[float, float]) -> bool:
    return first <= held[1] and first + count - 1 >= held[0]


def _entries(data: object, count: int, bits: int, little_endian: bool) -> NDArray[np.int64]:
    """Return the data of a table as unsigned numbers; two entries of 8 bits may share a word."""
    if isinstance(data, bytes):
        if len(data) < 2 * count:  # a byte each
            return np.frombuffer(data, np.uint8).astype(np.int64)
        words = np.frombuffer(data[: len(data) // 2 * 2], "<u2" if little_endian else ">u2").astype(np.int64)
    else:
        words = np.atleast_1d(np.asarray(data)).astype(np.int64) & 0xFFFF
    if bits == 8 and len(words) < count <= 2 * len(words):
        return words.astype("<u2").view(np.uint8).astype(np.int64)
    return words
