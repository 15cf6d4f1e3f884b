"""Is an image file whole? What its own structure says, before its pixels are believed.

Decoders are made to show something: they skip checksums, fill what is missing with grey and read a strip from wherever
they are sent. What can be told from the outside is told here; for the limits see `decode_image`.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from itertools import pairwise

from PIL import TiffImagePlugin

from suites.harness.errors import FilmUnreadable

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of each kind of colour of a PNG
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))

_END, _SCAN, _RESTART = 0xD9, 0xDA, range(0xD0, 0xD8)
_WITHOUT_LENGTH = (0x00, 0x01, *_RESTART, 0xD8)
_MARKER = re.compile(rb"\xff+([^\x00\xff])")  # in a scan, 0xff 0x00 is a byte of data

_WIDTH, _HEIGHT, _BITS = 256, 257, 258
_COMPRESSION, _UNCOMPRESSED = 259, 1
_ROWS_PER_STRIP, _PLANAR = 278, 284
_PHOTOMETRIC, _SUBSAMPLED = 262, 6
_STRIPS, _TILES = (273, 279), (324, 325)


def check_whole(data: bytes, check_shape: Callable[[int, int], None]) -> None:
    """Refuse a PNG or JPEG that is not whole; other files pass.

    Args:
        data: of the file.
        check_shape: refuses a height and width that no film has, before anything of that size is unpacked.

    Raises:
        FilmUnreadable: cut short, a part that fails its checksum or other rows than announced (PNG), or parts that do
            not follow one another (JPEG).
    """
    if data.startswith(PNG):
        _check_png(data, check_shape)
    elif data.startswith(JPEG):
        _check_jpeg(data)


def _check_png(data: bytes, check_shape: Callable[[int, int], None]) -> None:
    """Refuse a PNG with a part that fails its own checksum, or with other rows than its header tells of.

    Pillow reads the pixels without looking at either, and leaves black what is missing.
    """
    view, at, kind, header, rows = memoryview(data), len(PNG), b"", b"", []
    while kind != b"IEND":
        end = at + 12 + int.from_bytes(view[at : at + 4], "big")
        if end > len(data) or len(data) < at + 12:
            raise FilmUnreadable("is truncated or damaged (a PNG that ends before its last part)")
        kind = bytes(view[at + 4 : at + 8])
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise FilmUnreadable(
                f"is damaged: the checksum of its part {kind.decode('ascii', 'backslashreplace')} at byte {at} is "
                "wrong; copy it anew from its source"
            )
        if kind == b"IHDR":
            header = bytes(view[at + 8 : end - 4])
        elif kind == b"IDAT":
            rows.append(view[at + 8 : end - 4])
        at = end
    _check_png_rows(header, b"".join(rows), check_shape)


def _check_png_rows(header: bytes, packed: bytes, check_shape: Callable[[int, int], None]) -> None:
    if len(header) != 13 or header[9] not in _CHANNELS:
        raise FilmUnreadable("is damaged (the header of this PNG tells of no known kind of pixels)")
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    check_shape(height, width)
    bits = header[8] * _CHANNELS[header[9]]
    wanted = 0
    for left, top, right, down in _ADAM7 if header[12] else ((0, 0, 1, 1),):
        columns, lines = -(-(width - left) // right), -(-(height - top) // down)
        wanted += lines * (1 + -(-columns * bits // 8)) if columns > 0 else 0  # a row begins with its filter
    unpacking = zlib.decompressobj()
    try:
        found = len(unpacking.decompress(packed, wanted + 1))
    except zlib.error as problem:
        raise FilmUnreadable(f"is damaged ({problem} in the pixels of this PNG)") from problem
    if found != wanted:
        held = f"{found} of the" if found < wanted else "more than the"
        raise FilmUnreadable(
            f"is damaged: it holds {held} {wanted} bytes that its {width} x {height} pixels need; "
            "copy it anew from its source"
        )


def _check_jpeg(data: bytes) -> None:
    """Every part must begin where the last one ends, up to the end marker, and restarts must count up (ISO 10918-1)."""
    at = 2
    while True:
        marker = _MARKER.match(data, at)
        if marker is None:
            if at >= len(data):
                raise FilmUnreadable("is truncated or damaged (a JPEG without its end marker)")
            raise FilmUnreadable(f"is truncated or damaged: no part of a JPEG begins at byte {at}; copy it anew")
        kind, at = marker[1][0], marker.end()
        if kind == _END:
            return
        if kind in _WITHOUT_LENGTH or len(data) < at + 2:
            raise FilmUnreadable(f"is truncated or damaged: a JPEG with a stray marker at byte {at - 2}; copy it anew")
        at += max(int.from_bytes(data[at : at + 2], "big"), 2)
        if kind == _SCAN:
            at = _end_of_scan(data, at)


def _end_of_scan(data: bytes, at: int) -> int:
    """Return where the marker stands that ends a scan; its restart markers must be numbered 0 to 7, over and over."""
    for restarts, marker in enumerate(_MARKER.finditer(data, at)):
        kind = marker[1][0]
        if kind not in _RESTART:
            return marker.start()
        if kind != _RESTART[restarts % 8]:
            raise FilmUnreadable(
                f"is damaged: restart {kind - _RESTART[0]} of a JPEG at byte {marker.start()} where "
                f"{restarts % 8} is due; copy it anew from its source"
            )
    raise FilmUnreadable("is truncated or damaged (a JPEG without its end marker)")


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
        offsets = [int(offset) for offset in image.tag_v2[starts]]
        lengths = [int(length) for length in image.tag_v2.get(sizes, ())]
        needed = _needed(image, len(offsets)) if name == "strip" else None
        if lengths and len(lengths) != len(offsets):
            raise FilmUnreadable(f"is damaged: a TIFF with {len(offsets)} {name}s and {len(lengths)} sizes of them")
        if needed is not None and lengths and any(has < wants for has, wants in zip(lengths, needed, strict=True)):
            raise FilmUnreadable("is truncated or damaged: a TIFF with a strip that is too short for its rows")
        taken = sorted(zip(offsets, needed or lengths or [1] * len(offsets), strict=True))
        if any(offset + length > len(data) for offset, length in taken):
            raise FilmUnreadable(f"is truncated or damaged: a TIFF with a {name} beyond the end of the file")
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
        raise FilmUnreadable(f"is damaged: a TIFF with {strips} strips of {rows} rows for {height} rows")
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
