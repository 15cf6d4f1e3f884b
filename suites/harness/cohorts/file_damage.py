"""Is an image file whole? What its own structure says, before its pixels are believed.

Decoders are made to show something: they skip checksums, fill what is missing with grey and read a strip from wherever
they are sent. What can be told from the outside is told here; for the limits see `decode_image`.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from PIL import TiffImagePlugin

from suites.harness.errors import FilmUnreadable

_AT_A_TIME = 2**20  # bytes unpacked at once
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of each kind of colour of a PNG
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
JPEG2000, JPEG2000_FILE = b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "
MOST_TILE = 64_000_000
"""Pixels of a tile of a TIFF, which is unpacked as a whole."""
MOST_SCANS = 100
"""Of a JPEG; a progressive one has about ten, and each is as much work as all of the pixels."""

_END, _SCAN, _RESTART = 0xD9, 0xDA, range(0xD0, 0xD8)
_INTERVAL = 0xDD
_LARGEST_FRAME = 8 + 3 * 255
_SIZE_LS = 0xF7  # JPEG-LS
_SIZES = {*range(0xC0, 0xD0), _SIZE_LS} - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = (0x00, 0x01, *_RESTART, 0xD8)
_MARKER = re.compile(rb"\xff+([^\x00\xff])")  # in a scan, 0xff 0x00 is a byte of data
_MARKER_LS = re.compile(rb"\xff+([\x80-\xfe])")  # in one of JPEG-LS, 0xff and what is below 0x80
_TILE_PART, _CODESTREAM_END = b"\xff\x90", b"\xff\xd9"

_WIDTH, _HEIGHT, _BITS = 256, 257, 258
_COMPRESSION, _UNCOMPRESSED = 259, 1
_ROWS_PER_STRIP, _PLANAR = 278, 284
_PHOTOMETRIC, _SUBSAMPLED = 262, 6
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_STRIPS, _TILES = (273, 279), (324, 325)


def check_whole(data: bytes, check_shape: Callable[[int, int], None]) -> None:
    """Refuse a PNG, JPEG or JPEG 2000 that is not whole; other files pass.

    Args:
        data: of the file.
        check_shape: refuses a height and width that no film has, before anything of that size is unpacked.

    Raises:
        FilmUnreadable: cut short, a part that fails its checksum or other rows than announced (PNG), or parts that do
            not follow one another (JPEG, JPEG 2000).
    """
    if data.startswith(PNG):
        _check_png(data, check_shape)
    elif data.startswith(JPEG):
        check_jpeg(data)
    elif data.startswith((JPEG2000, JPEG2000_FILE)):
        check_jpeg2000(data)


def png_parts(data: bytes) -> Iterator[tuple[bytes, memoryview, int]]:
    """Return the parts of a PNG up to its end: kind, body, and the byte each begins at.

    Raises:
        FilmUnreadable: cut short, or a part fails its checksum.
    """
    view, at, kind = memoryview(data), len(PNG), b""
    while kind != b"IEND":
        end = at + 12 + int.from_bytes(view[at : at + 4], "big")
        if end > len(data) or len(data) < at + 12:
            raise FilmUnreadable("is truncated or damaged (a PNG that ends before its last part); copy it anew")
        kind = bytes(view[at + 4 : at + 8])
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise FilmUnreadable(
                f"is damaged: the checksum of its part {kind.decode('ascii', 'backslashreplace')} at byte {at} is "
                "wrong; copy it anew from its source"
            )
        yield kind, view[at + 8 : end - 4], at
        at = end


def _check_png(data: bytes, check_shape: Callable[[int, int], None]) -> None:
    """Refuse a PNG with a part that fails its own checksum, or with other rows than its header tells of.

    Pillow reads the pixels without looking at either, and leaves black what is missing.
    """
    header, rows = b"", []
    for kind, body, _ in png_parts(data):
        if kind == b"IHDR":
            header = bytes(body)
        elif kind == b"IDAT":
            rows.append(body)
    _check_png_rows(header, rows, check_shape)


def _check_png_rows(header: bytes, packed: Sequence[memoryview], check_shape: Callable[[int, int], None]) -> None:
    if len(header) != 13 or header[9] not in _CHANNELS:
        raise FilmUnreadable("is damaged (the header of this PNG tells of no known kind of pixels); copy it anew")
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    check_shape(height, width)
    bits = header[8] * _CHANNELS[header[9]]
    wanted = 0
    for left, top, right, down in _ADAM7 if header[12] else ((0, 0, 1, 1),):
        columns, lines = -(-(width - left) // right), -(-(height - top) // down)
        wanted += lines * (1 + -(-columns * bits // 8)) if columns > 0 else 0  # a row begins with its filter
    try:
        found = _unpacked(packed, wanted + 1)
    except zlib.error as problem:
        raise FilmUnreadable(f"is damaged ({problem} in the pixels of this PNG); copy it anew") from problem
    if found != wanted:
        held = f"{found} of the" if found < wanted else "more than the"
        raise FilmUnreadable(
            f"is damaged: it holds {held} {wanted} bytes that its {width} x {height} pixels need; "
            "copy it anew from its source"
        )


def _unpacked(packed: Sequence[memoryview], enough: int) -> int:
    """Return how many bytes these parts inflate to together, or `enough`, holding a few of them at a time."""
    unpacking, found = zlib.decompressobj(), 0
    for part in packed:
        waiting: bytes | memoryview = part
        while found < enough:
            more = len(unpacking.decompress(waiting, min(enough - found, _AT_A_TIME)))
            found, waiting = found + more, unpacking.unconsumed_tail
            if not more and not waiting:
                break
    return found


def check_jpeg(data: bytes) -> tuple[int, int]:
    """Return the rows and columns of a JPEG or JPEG-LS stream that is whole.

    Every part must begin where the last one ends, up to the end marker, and restarts must count up (ISO 10918-1).

    Raises:
        FilmUnreadable: it is not, or it has so many scans that it would never be unpacked.
    """
    at, size, scans, scanned = 2, (0, 0), 0, _MARKER
    frame, interval = b"", 0
    while True:
        marker = _MARKER.match(data, at)
        if marker is None:
            if at >= len(data):
                raise FilmUnreadable("is truncated or damaged (a JPEG without its end marker); copy it anew")
            raise FilmUnreadable(f"is truncated or damaged: no part of a JPEG begins at byte {at}; copy it anew")
        kind, at = marker[1][0], marker.end()
        if kind == _END:
            return size
        if kind in _WITHOUT_LENGTH or len(data) < at + 2:
            raise FilmUnreadable(f"is truncated or damaged: a JPEG with a stray marker at byte {at - 2}; copy it anew")
        if kind in _SIZES:
            size = int.from_bytes(data[at + 3 : at + 5], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
            scanned = _MARKER_LS if kind == _SIZE_LS else _MARKER
            frame = data[at : at + _LARGEST_FRAME]
        if kind == _INTERVAL:
            interval = int.from_bytes(data[at + 2 : at + 4], "big")
        scan, at = at, at + max(int.from_bytes(data[at : at + 2], "big"), 2)
        if kind == _SCAN:
            scans += 1
            if scans > MOST_SCANS:
                raise FilmUnreadable(
                    f"is a JPEG of more than {MOST_SCANS} scans: a decompression bomb? Remove it, or save it anew"
                )
            due = _restarts(frame, data[scan:at], interval) if interval and scanned is _MARKER else 0
            at = _end_of_scan(data, at, scanned, due)


def _restarts(frame: bytes, scan: bytes, interval: int) -> int:
    """Return how many restart markers a scan has at least, one after each `interval` units of it but the last.

    A unit is a block of 8 x 8 pixels of one component, or, of several, as many of each as cover the same pixels.
    """
    height, width = int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[5:7], "big")
    parts = frame[8 : 8 + 3 * frame[7]] if len(frame) > 7 else b""
    components = {parts[at]: divmod(parts[at + 1], 16) for at in range(0, len(parts) - 2, 3)}
    named = [components[scan[at]] for at in range(3, len(scan) - 4, 2) if scan[at] in components]
    across, down = (max((sizes[axis] for sizes in components.values()), default=0) for axis in (0, 1))
    if not height or not named or not across or not down:
        return 0
    if len(named) == 1:
        (own_across, own_down), across_8, down_8 = named[0], 8 * across, 8 * down
        units = -(-width * own_across // across_8) * -(-height * own_down // down_8)
    else:
        units = -(-width // (8 * across)) * -(-height // (8 * down))
    return -(-units // interval) - 1


def _end_of_scan(data: bytes, at: int, scanned: re.Pattern[bytes], due: int) -> int:
    """Return where the marker stands that ends a scan; its restart markers must be numbered 0 to 7, over and over.

    There are as many as are `due`, or more.
    """
    for restarts, marker in enumerate(scanned.finditer(data, at)):
        kind = marker[1][0]
        if kind not in _RESTART and restarts < due:
            raise FilmUnreadable(
                f"is damaged: a scan of a JPEG ends at byte {marker.start()} after {restarts} of its {due} restarts; "
                "copy it anew from its source"
            )
        if kind not in _RESTART:
            return marker.start()
        if kind != _RESTART[restarts % 8]:
            raise FilmUnreadable(
                f"is damaged: restart {kind - _RESTART[0]} of a JPEG at byte {marker.start()} where "
                f"{restarts % 8} is due; copy it anew from its source"
            )
    raise FilmUnreadable("is truncated or damaged (a JPEG without its end marker); copy it anew")


def check_jpeg2000(data: bytes) -> tuple[int, int]:
    """Return the rows and columns of a JPEG 2000 stream, bare or in a file, whose parts follow one another to its end.

    Decoders leave grey what is cut off (ISO 15444-1, annex A).

    Raises:
        FilmUnreadable: it is cut short or damaged.
    """
    start = data.find(JPEG2000)
    truncated = FilmUnreadable("is truncated or damaged (a JPEG 2000 that ends before its last part); copy it anew")
    if start < 0 or len(data) < start + 24:
        raise truncated
    right, down, left, top = struct.unpack_from(">4I", data, start + 8)
    at = start + 2
    while data[at : at + 2] != _TILE_PART:
        if not data.startswith(b"\xff", at):
            raise truncated
        at += 2 + max(int.from_bytes(data[at + 2 : at + 4], "big"), 2)
    while data[at : at + 2] == _TILE_PART:
        length = int.from_bytes(data[at + 6 : at + 10], "big")
        # The last part may leave its length open: up to the end.
        at = at + max(length, 12) if length else data.rfind(_CODESTREAM_END, at)
        if not 0 <= at < len(data):
            raise truncated
    if data[at : at + 2] != _CODESTREAM_END:
        raise truncated
    return down - top, right - left


def check_tiff(image: TiffImagePlugin.TiffImageFile, data: bytes) -> None:
    """Refuse a TIFF whose strips or tiles are not all in the file, overlap, or are too short for their rows.

    Args:
        image: opened, not loaded.
        data: the file's bytes.

    Raises:
        FilmUnreadable: as said; copy it anew.
    """
    for name, (starts, sizes) in (("strip", _STRIPS), ("tile", _TILES)):
        if starts not in image.tag_v2:
            continue
        if (
            name == "tile"
            and int(image.tag_v2.get(_TILE_WIDTH, 0)) * int(image.tag_v2.get(_TILE_HEIGHT, 0)) > MOST_TILE
        ):
            raise FilmUnreadable(
                "is a TIFF of tiles far larger than a film: a decompression bomb? Remove it, or save it anew"
            )
        offsets = [int(offset) for offset in image.tag_v2[starts]]
        lengths = [int(length) for length in image.tag_v2.get(sizes, ())]
        needed = _needed(image, len(offsets)) if name == "strip" else None
        if lengths and len(lengths) != len(offsets):
            raise FilmUnreadable(
                f"is damaged: a TIFF with {len(offsets)} {name}s and {len(lengths)} sizes of them; copy it anew"
            )
        if needed is not None and lengths and any(has < wants for has, wants in zip(lengths, needed, strict=True)):
            raise FilmUnreadable(
                "is truncated or damaged: a TIFF with a strip that is too short for its rows; copy it anew"
            )
        taken = sorted(zip(offsets, needed or lengths or [1] * len(offsets), strict=True))
        if any(offset + length > len(data) for offset, length in taken):
            raise FilmUnreadable(
                f"is truncated or damaged: a TIFF with a {name} beyond the end of the file; copy it anew"
            )
        edges = sorted([_header(data), _directory(data), *taken])
        if any(start + length > following for (start, length), (following, _) in pairwise(edges)):
            raise FilmUnreadable(f"is damaged: a TIFF with a {name} that lies over another part; copy it anew")


def _needed(image: TiffImagePlugin.TiffImageFile, strips: int) -> list[int] | None:
    """Return the bytes of each strip of uncompressed data; None where they cannot be told."""
    tags = image.tag_v2
    bits = tags.get(_BITS, (1,))
    plain = tags.get(_COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED and tags.get(_PLANAR, 1) == 1
    if not plain or tags.get(_PHOTOMETRIC) == _SUBSAMPLED:
        return None
    width, height = int(tags[_WIDTH]), int(tags[_HEIGHT])  # as stored: Pillow's own are those after a turn
    row = (width * sum(bits) + 7) // 8
    rows = min(int(tags.get(_ROWS_PER_STRIP, height)), height)
    if rows < 1 or strips != -(-height // rows):
        raise FilmUnreadable(f"is damaged: a TIFF with {strips} strips of {rows} rows for {height} rows; copy it anew")
    return [row * min(rows, height - first) for first in range(0, height, rows)]


def _header(data: bytes) -> tuple[int, int]:
    return 0, 16 if data[2:4] in (b"+\x00", b"\x00+") else 8


def _directory(data: bytes) -> tuple[int, int]:
    """Return start and length of the first directory, of a TIFF or a BigTIFF."""
    order = "<" if data[:2] == b"II" else ">"
    if _header(data)[1] == 16:
        (start,) = struct.unpack_from(f"{order}Q", data, 8)
        (entries,) = struct.unpack_from(f"{order}Q", data, start)
        return start, 8 + 20 * entries + 8
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (entries,) = struct.unpack_from(f"{order}H", data, start)
    return start, 2 + 12 * entries + 4
