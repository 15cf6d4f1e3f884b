"""What will the pixels of a DICOM file unpack to? Asked of their own streams, before anything is unpacked.

A compressed stream carries its size a second time; where it differs from the header's, one of them is wrong or the file
is a bomb. Decoders fill what is cut off, so a stream has to be whole.
"""

from __future__ import annotations

import struct
from itertools import pairwise

import pydicom
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, JPEG2000TransferSyntaxes, RLELossless

from suites.harness.cohorts.dicom_attributes import UNREADABLE, value_of, whole
from suites.harness.cohorts.file_damage import check_jpeg, check_jpeg2000
from suites.harness.errors import FilmUnreadable

_MOST_FILLING = 4096  # bytes behind the pixels
_RLE_HEADER = struct.Struct("<16I")


def check_pixel_data(dataset: pydicom.Dataset) -> None:
    """Refuse pixels that no decoder is there for, or that do not unpack to what the header announces.

    Raises:
        FilmUnreadable: as said, or they are cut short.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    _refuse_unknown_compression(syntax)
    data = value_of(dataset, "PixelData")
    packed = bool(dataset["PixelData"].is_undefined_length)
    if not isinstance(data, bytes) or packed != syntax.is_encapsulated:
        raise FilmUnreadable("does not say how its pixels are compressed, or they are damaged; export it uncompressed")
    rows, columns = whole(dataset, "Rows"), whole(dataset, "Columns")
    samples = whole(dataset, "SamplesPerPixel", 1)
    if not packed:
        bits = samples * whole(dataset, "BitsAllocated")
        halved = value_of(dataset, "PhotometricInterpretation") == "YBR_FULL_422"
        _check_length(len(data), -(-rows * columns * bits * (2 if halved else 3) // 24))
        return
    frame = _frame(dataset, data)
    if syntax == RLELossless:
        _check_rle(frame, rows * columns)
        return
    size = check_jpeg2000(frame) if syntax in JPEG2000TransferSyntaxes else check_jpeg(frame)
    if size != (rows, columns):
        raise FilmUnreadable(
            f"contradicts itself: its header says {columns} x {rows} pixels, "
            f"its compressed pixels are {size[1]} x {size[0]}; export it anew"
        )


def _refuse_unknown_compression(syntax: UID) -> None:
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise FilmUnreadable(
            f"is compressed as {syntax.name} ({syntax}), for which no decoder is installed; "
            "install pylibjpeg with its plugins, or export the film uncompressed"
        )


def _check_length(found: int, wanted: int) -> None:
    """Bytes of pixels as many as the header needs; some writers fill up with a little more."""
    if found < wanted:
        raise FilmUnreadable(f"is truncated: it holds {found} of the {wanted} bytes that its pixels need; copy it anew")
    if found > wanted + max(min(wanted // 10, _MOST_FILLING), 1):
        raise FilmUnreadable(
            f"contradicts itself: its header needs {wanted} bytes of pixels and it holds {found}; "
            "a damaged header, or several frames? Export the one film anew"
        )


def _frame(dataset: pydicom.Dataset, data: bytes) -> bytes:
    """Return the one compressed frame, its fragments joined."""
    tables = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    offsets = (tables[0], tables[1]) if all(isinstance(table, bytes) for table in tables) else None
    try:
        return get_frame(data, 0, number_of_frames=1, extended_offsets=offsets)
    except UNREADABLE as problem:
        raise FilmUnreadable("is truncated or damaged: its compressed pixels are not whole; copy it anew") from problem


def _check_rle(frame: bytes, pixels: int) -> None:
    """Count what each segment unpacks to (DICOM PS3.5 Annex G) without unpacking it."""
    if len(frame) < _RLE_HEADER.size:
        raise FilmUnreadable("is truncated: its RLE pixels end within their header; copy it anew")
    count, *starts = _RLE_HEADER.unpack_from(frame)
    edges = [*starts[: min(count, 15)], len(frame)]
    if count > 15 or edges != sorted(edges) or edges[0] < _RLE_HEADER.size:
        raise FilmUnreadable("is damaged: the segments of its RLE pixels do not follow one another; copy it anew")
    for at, end in pairwise(edges):
        _check_length(_unpacked(frame, at, end, 2 * pixels), pixels)


def _unpacked(frame: bytes, at: int, end: int, enough: int) -> int:
    """Return the bytes that a segment unpacks to, or some number of at least `enough`."""
    found = 0
    while at < end and found < enough:
        step = frame[at]
        if step < 128:
            found += min(step + 1, end - at - 1)
            at += step + 2
        else:
            # 128 stands for nothing; a repeated byte that was cut off gives nothing.
            found += 257 - step if step > 128 and at + 1 < end else 0
            at += 2 if step > 128 else 1
    return found
