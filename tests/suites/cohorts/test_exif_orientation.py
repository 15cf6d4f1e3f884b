"""A PNG is turned as its EXIF says, wherever in the file that stands and in whichever of its forms."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from suites.harness.cohorts.decoding import decode_image
from suites.harness.errors import FilmUnreadable

RAMP = np.add.outer(np.arange(24) * 6, np.arange(32) * 2)
TURNS = {1: RAMP, 2: RAMP[:, ::-1], 3: RAMP[::-1, ::-1], 4: RAMP[::-1], 5: RAMP.T,
         6: RAMP.T[:, ::-1], 7: RAMP.T[::-1, ::-1], 8: RAMP.T[::-1]}  # fmt: skip


def exif_of(orientation: int) -> bytes:
    """EXIF of one tag, without the name that it has in a JPEG."""
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)


def profile(name: str, content: bytes) -> bytes:
    """Bytes as text: a name, a length, and hexadecimal lines of 36 bytes, as ImageMagick writes them."""
    lines = [content[at : at + 36].hex() for at in range(0, len(content), 36)]
    return f"\n{name}\n{len(content):8d}\n".encode() + "\n".join(lines).encode() + b"\n"


def parts_of(form: str, exif: bytes) -> tuple[bytes, bytes]:
    """Kind and body of the part that holds EXIF."""
    text = profile("exif", b"Exif\0\0" + exif)
    return {
        "eXIf": (b"eXIf", exif),
        "tEXt": (b"tEXt", b"Raw profile type exif\0" + text),
        "zTXt": (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)),
        "iTXt": (b"iTXt", b"Raw profile type exif\0\0\0\0\0" + text),
        "bare": (b"tEXt", b"Raw profile type exif\0" + profile("exif", exif)),
        "APP1": (b"zTXt", b"Raw profile type APP1\0\0" + zlib.compress(profile("generic", b"Exif\0\0" + exif))),
    }[form]


def png(pixels: np.ndarray, colour: int, before: list[tuple[bytes, bytes]], behind: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG with further parts before and behind its pixels."""
    rows = b"".join(b"\0" + row.tobytes() for row in pixels.astype(pixels.dtype.newbyteorder(">")))
    header = struct.pack(">IIBBBBB", pixels.shape[1], len(pixels), 8 * pixels.itemsize, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *before, (b"IDAT", zlib.compress(rows)), *behind, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


def stored(colour: int, bits: int) -> np.ndarray:
    """The ramp in the channels of a kind of PNG, all of its room used or told of."""
    values = (RAMP * (257 if bits == 16 else 1)).astype(np.uint16 if bits == 16 else np.uint8)
    opaque = np.full_like(values, 2**bits - 1)
    return np.dstack({0: [values], 2: [values] * 3, 4: [values, opaque], 6: [values] * 3 + [opaque]}[colour])


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("form", ["eXIf", "tEXt", "zTXt", "iTXt", "bare", "APP1"])
@pytest.mark.parametrize(("colour", "bits"), [(0, 8), (2, 8), (4, 8), (0, 16), (2, 16), (6, 16)])
def test_a_png_is_turned_as_its_exif_says(tmp_path: Path, colour: int, bits: int, form: str, behind: bool) -> None:
    path = tmp_path / "film.png"
    for orientation, turned in TURNS.items():
        part = [parts_of(form, exif_of(orientation))]
        path.write_bytes(png(stored(colour, bits), colour, [] if behind else part, part if behind else []))
        np.testing.assert_allclose(decode_image(path).pixels, turned / 255, atol=1e-6)


def test_exif_proper_comes_before_its_text(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    parts = [parts_of("zTXt", exif_of(3)), parts_of("eXIf", exif_of(6))]
    path.write_bytes(png(stored(0, 8), 0, [parts[0]], [parts[1]]))
    np.testing.assert_allclose(decode_image(path).pixels, TURNS[6] / 255, atol=1e-6)


def test_what_is_not_exif_turns_nothing(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    for part in (
        (b"tEXt", b"Raw profile type APP1\0" + profile("generic", b"http://ns.adobe.com/xap/1.0/\0<x/>")),
        (b"tEXt", b"Raw profile type iptc\0" + profile("iptc", b"8BIM")),
        (b"eXIf", exif_of(9)),
        (b"eXIf", exif_of(0)),
    ):
        path.write_bytes(png(stored(0, 8), 0, [part], []))
        np.testing.assert_allclose(decode_image(path).pixels, RAMP / 255, atol=1e-6)


@pytest.mark.parametrize("text", [b"", b"\nexif\n 9\nzz", b"\nexif\n      26\n4578", profile("exif", exif_of(6))[:-9]])
def test_a_damaged_text_of_exif_is_refused_in_one_line(tmp_path: Path, text: bytes) -> None:
    """Nobody can tell which side is up."""
    (tmp_path / "film.png").write_bytes(png(stored(0, 8), 0, [(b"tEXt", b"Raw profile type exif\0" + text)], []))
    with pytest.raises(FilmUnreadable, match=r"film\.png: has a damaged text 'Raw profile type exif'"):
        decode_image(tmp_path / "film.png")
