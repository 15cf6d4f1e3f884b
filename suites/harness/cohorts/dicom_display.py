"""How does a stored value of a DICOM film become grey? Modality, then the values of interest, after PS3.3 C.11."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pydicom
from numpy.typing import NDArray

from suites.harness.cohorts.dicom_attributes import (
    LookupTable,
    each_number,
    lookup_item,
    lookup_table,
    number,
    text,
    value_of,
    whole,
)
from suites.harness.errors import FilmUnreadable

PERCENTILES = (0.5, 99.5)
_MOST_LEVELS = 2**16
_PART = 2**16

DisplayRule = Literal["VOI LUT", "window", "full range", "percentiles 0.5 to 99.5"]


def display_rule(dataset: pydicom.Dataset) -> DisplayRule:
    """Return how stored values become grey: what the file says, else a rule of ours.

    A VOI LUT goes before a window, and the first usable one of several is taken: a LUT with data, a window of numbers.
    Without either, 8-bit values are shown over their full range (they are display values already), deeper ones between
    their percentiles 0.5 and 99.5.

    Raises:
        FilmUnreadable: its VOI LUT or its number of bits cannot be read.
    """
    if lookup_item(dataset, "VOILUTSequence") is not None:
        return "VOI LUT"
    if _window(dataset) is not None:
        return "window"
    return "full range" if whole(dataset, "BitsStored", 16) <= 8 else "percentiles 0.5 to 99.5"


def window_grey(values: NDArray[np.float64], centre: float, width: float, function: str) -> NDArray[np.float64]:
    """Return windowed values in [0, 1], DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3.

    Args:
        values: any shape, after the modality transform.
        centre: Window Center (0028,1050).
        width: Window Width (0028,1051); at least 1 for LINEAR, above 0 otherwise.
        function: VOI LUT Function (0028,1056): `LINEAR`, `LINEAR_EXACT` or `SIGMOID`.
    """
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700))))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    if width == 1:
        return (values > centre - 0.5).astype(np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


class Modality:
    """From stored values to those of the modality (C.11.1): a lookup table, else slope and intercept.

    Attributes:
        held: the lowest and the highest value that can come out.
    """

    def __init__(self, dataset: pydicom.Dataset) -> None:
        bits = whole(dataset, "BitsStored")
        signed = whole(dataset, "PixelRepresentation") == 1
        stored = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)
        self.table: LookupTable | None = None
        item = lookup_item(dataset, "ModalityLUTSequence")
        if item is not None:
            self.table = lookup_table(item, held=stored, little_endian=_little_endian(dataset))
            self.held = float(self.table.entries.min()), float(self.table.entries.max())
            return
        self.slope, self.intercept = number(dataset, "RescaleSlope", 1.0), number(dataset, "RescaleIntercept", 0.0)
        ends = sorted(end * self.slope + self.intercept for end in stored)
        self.held = ends[0], ends[1]
        if self.slope == 0 or not np.isfinite(ends).all():
            raise FilmUnreadable(
                f"has rescale slope {self.slope:g} and intercept {self.intercept:g}, which no film can have; "
                "correct them"
            )

    def __call__(self, stored: NDArray[Any]) -> NDArray[np.float64]:
        """Return what the modality makes of stored values, in their shape."""
        values = stored.astype(np.float64)
        return self.table(values) if self.table else values * self.slope + self.intercept


def displayed(
    stored: NDArray[Any], modality: Modality, dataset: pydicom.Dataset, padding: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return grey in [0, 1] of stored values (H, W), by the film's display rule.

    Every value is displayed once, however many pixels have it.

    Args:
        stored: whole numbers, as unpacked.
        modality: of the film.
        dataset: its attributes.
        padding: (H, W), which pixels do not belong to the film; they have no part in its percentiles.

    Raises:
        FilmUnreadable: its lookup table contradicts itself.
    """
    lowest = int(stored.min())
    if int(stored.max()) - lowest < _MOST_LEVELS:
        places = stored.astype(np.int32) - np.int32(lowest)
        levels = modality(np.arange(lowest, lowest + int(places.max()) + 1))
    else:
        found, places = np.unique(stored, return_inverse=True)
        levels = modality(found)
    film = places[~padding] if padding.any() and not padding.all() else places.ravel()
    # numpy widens what it counts or looks up to 64 bit: so many at a time are no second and third film.
    counts = sum(np.bincount(film[part], minlength=len(levels)) for part in _parts(film.size))
    grey = _grey_of(levels, np.asarray(counts), modality, dataset).astype(np.float32)
    shown = np.empty(places.shape, dtype=np.float32)
    for part in _parts(places.size):
        grey.take(places.reshape(-1)[part], out=shown.reshape(-1)[part], mode="clip")
    return shown


def _parts(size: int) -> Iterator[slice]:
    return (slice(first, first + _PART) for first in range(0, size, _PART))


def _grey_of(
    levels: NDArray[np.float64], counts: NDArray[np.int64], modality: Modality, dataset: pydicom.Dataset
) -> NDArray[np.float64]:
    """Return the grey of values of the modality; `counts` are the film's pixels of each."""
    item = lookup_item(dataset, "VOILUTSequence")
    if item is not None:
        table = lookup_table(item, held=modality.held, little_endian=_little_endian(dataset))
        return np.clip(table(levels) / table.top, 0, 1)
    window = _window(dataset)
    if window is not None:
        return window_grey(levels, *window)
    if display_rule(dataset) == "full range":
        low, high = modality.held
    else:
        low, high = (_percentile(levels, counts, share) for share in PERCENTILES)
    return np.clip((levels - low) / max(high - low, 1e-12), 0, 1)


def _percentile(levels: NDArray[np.float64], counts: NDArray[np.int64], share: float) -> float:
    """Return the percentile that `np.percentile` gives of pixels, of which there are `counts` of each level."""
    order = np.argsort(levels, kind="stable")
    reached = np.cumsum(counts[order])
    place = (int(reached[-1]) - 1) * share / 100
    low, high = (
        float(levels[order][np.searchsorted(reached, rank, side="right")]) for rank in (np.floor(place), np.ceil(place))
    )
    return float(low + (high - low) * (place - np.floor(place)))


def _little_endian(dataset: pydicom.Dataset) -> bool:
    return bool(dataset.file_meta.TransferSyntaxUID.is_little_endian)


def _window(dataset: pydicom.Dataset) -> tuple[float, float, str] | None:
    """Return centre, width and function of the first usable window, `None` without one."""
    try:
        function = text(dataset, "VOILUTFunction") or "LINEAR"
    except FilmUnreadable:
        return None
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        return None
    for centre, width in zip(each_number(dataset, "WindowCenter"), each_number(dataset, "WindowWidth"), strict=False):
        if centre is not None and width is not None and (width >= 1 if function == "LINEAR" else width > 0):
            return centre, width, function
    return None


def padding_of(stored: NDArray[Any], dataset: pydicom.Dataset) -> NDArray[np.bool_]:
    """Return which pixels are padding (PS3.3 C.7.5.1.1.2); the values are signed as those of the pixels are."""
    if value_of(dataset, "PixelPaddingValue") is None:
        return np.zeros(stored.shape, dtype=bool)
    value = whole(dataset, "PixelPaddingValue")
    signed = whole(dataset, "PixelRepresentation") == 1
    ends = (value, whole(dataset, "PixelPaddingRangeLimit", value))
    low, high = sorted((end + 2**15) % 2**16 - 2**15 if signed else end % 2**16 for end in ends)
    return np.asarray((stored >= low) & (stored <= high))
