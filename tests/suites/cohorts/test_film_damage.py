"""Whatever becomes of a file's bytes, it ends as a picture or as one line; nothing unpacks before its size is known."""

from __future__ import annotations

import logging
import os
import struct
import tracemalloc
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from suites.harness.cohorts import dicom_decoding
from suites.harness.cohorts.decoding import decode_image
from suites.harness.cohorts.dicom_decoding import read_tags
from suites.harness.errors import FilmUnreadable
from tests.suites.cohorts.film_files import (
    COLUMNS,
    KINDS,
    ROWS,
    SMOOTH,
    STORED,
    compressed,
    deflated,
    file_of,
    picture,
    radiograph,
    stored_bytes,
)

SMALL = 32 * 2**20
"""Bytes of memory, beside some copies of it, for a file that is refused by its size."""


def outcome(path: Path) -> np.ndarray | str:
    """The pixels, or the line that says why there are none; anything else fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pixels = decode_image(path).pixels
        except FilmUnreadable as problem:
            told = str(problem)
            assert told.isprintable()
            assert len(told) < 300
            return told
    assert pixels.ndim == 2
    assert pixels.dtype == np.float32
    assert 0 <= pixels.min() <= pixels.max() <= 1
    return pixels


@pytest.mark.parametrize("kind", KINDS)
def test_sound_files_are_read_or_their_compression_is_named(tmp_path: Path, kind: str) -> None:
    (tmp_path / "film").write_bytes(file_of(kind))
    found = outcome(tmp_path / "film")
    if kind in ("dicom of JPEG-LS", "dicom, deflated"):
        assert "JPEG-LS" in found or "deflated" in found
    else:
        assert found.shape == (ROWS, COLUMNS)


damages = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True), st.sampled_from([b"\0", b"\xff", b"\x80", b"\xff" * 4, b"\0" * 4, None])
    ),
    max_size=6,
)


@settings(max_examples=300)
@given(
    kind=st.sampled_from(sorted(KINDS)), places=damages, bit=st.integers(0, 7), kept=st.floats(0, 1), cut=st.booleans(),
    near=st.booleans(),
)  # fmt: skip
def test_cut_and_flipped_files_of_every_kind_end_as_a_picture_or_in_one_line(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    places: list[tuple[float, bytes | None]],
    bit: int,
    kept: float,
    cut: bool,
    near: bool,
) -> None:
    """Bits are flipped, bytes and words replaced by extremes, the rest cut off; half of it near the beginning."""
    content = bytearray(file_of(kind))
    reach = min(len(content), 700) if near else len(content)
    for share, value in places:
        at = int(share * reach)
        new = value or bytes([content[at] ^ (1 << bit)])
        content[at : at + len(new)] = new[: len(content) - at]
    folder = tmp_path_factory.getbasetemp() / "damage"
    folder.mkdir(exist_ok=True)
    path = folder / ("film.dcm" if kind.startswith("dicom") else "film")
    path.write_bytes(bytes(content[: int(kept * len(content))] if cut else content))
    outcome(path)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("dicom of JPEG-LS", "dicom, deflated")])
def test_what_is_cut_off_is_missed(tmp_path: Path, kind: str) -> None:
    """Half of the pixels is no film: no decoder may fill up what is gone."""
    whole = file_of(kind)
    path = tmp_path / "film.dcm"
    refused = 0
    for share in (0.2, 0.5, 0.7, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        refused += isinstance(outcome(path), str)
    assert refused == 4


def fragments_cut(kind: str, left: float) -> bytes:
    """A file that is whole itself, around compressed pixels that are not."""
    film = pydicom.dcmread(BytesIO(file_of(kind)))
    frame = pydicom.encaps.get_frame(film.PixelData, 0, number_of_frames=1)
    stored, bits = (STORED, 12) if kind == "dicom of RLE" else (STORED, 16) if "2000" in kind else (SMOOTH, 8)
    syntax = film.file_meta.TransferSyntaxUID
    return compressed(frame[: max(int(left * len(frame)) // 2 * 2, 2)], syntax, stored, bits=bits)


@pytest.mark.parametrize("kind", ["dicom of RLE", "dicom of JPEG in fragments", "dicom of JPEG 2000 in fragments"])
@pytest.mark.parametrize("left", [0.0, 0.01, 0.1, 0.5, 0.9, 0.98])
def test_fragments_cut_short_are_named_without_a_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, left: float
) -> None:
    (tmp_path / "film.dcm").write_bytes(fragments_cut(kind, left))
    with caplog.at_level(logging.DEBUG):
        told = outcome(tmp_path / "film.dcm")
    assert isinstance(told, str)
    assert not [record for record in caplog.records if record.exc_info]


def endless_png() -> bytes:
    """The rows of a small film, and 128 MiB of zeros behind them."""
    packer = zlib.compressobj(9)
    rows = (
        packer.compress(b"\0" * 65 * 64) + b"".join(packer.compress(b"\0" * 2**24) for _ in range(8)) + packer.flush()
    )
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


def large_tiff(tile: int = 0) -> bytes:
    """A header of 60000 x 60000 pixels, or of one tile so large around a small film, over one deflated strip."""
    packed = zlib.compress(b"\0" * 2**20)
    width = 64 if tile else 60_000
    places = [(322, 4, 1, tile), (323, 4, 1, tile), (324, 4, 1, 8), (325, 4, 1, len(packed))]
    if not tile:
        places = [(273, 4, 1, 8), (278, 4, 1, width), (279, 4, 1, len(packed))]
    tags = [(256, 4, 1, width), (257, 4, 1, width), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), *places]
    body = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + b"\0" * 4
    return b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + body


def many_scans() -> bytes:
    """A progressive JPEG that goes over its pixels again and again."""
    whole = picture("JPEG", progressive=True)
    scan = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[scan:-2] * 5000 + whole[-2:]


def run_length_bomb() -> bytes:
    """Two segments that repeat a byte 50 million times each."""
    segment = b"\x81\0" * 400_000
    header = struct.pack("<16I", 2, 64, 64 + len(segment), *[0] * 13)
    return compressed(header + segment * 2, RLELossless, STORED, bits=12)


def sized(stream: bytes, marker: bytes, at: int) -> bytes:
    """A compressed stream that says it is larger."""
    place = stream.index(marker) + at
    form = ">II" if marker == b"\xff\x51" else ">HH"
    side = 7000 if marker == b"\xff\x51" else 60_000
    return stream[:place] + struct.pack(form, side, side) + stream[place + struct.calcsize(form) :]


def flood(item: bytes) -> bytes:
    """A header that never ends: one element or item after another."""
    whole = stored_bytes(radiograph())
    head = whole[: whole.index(b"\x08\0\x60\0")]
    return head + item * (2**20 // len(item))


def lookup_flood() -> bytes:
    """A lookup table's sequence of a million empty items."""
    film = radiograph()
    film.add_new(0x00283010, "UN", b"\xfe\xff\0\xe0\0\0\0\0" * 2**20)
    return stored_bytes(film).replace(b"\x28\0\x10\x30UN", b"\x28\0\x10\x30SQ")


def many_pages() -> bytes:
    """A TIFF of one page after another, all of them empty."""
    one = struct.pack("<HHHII", 1, 256, 4, 1, 64)
    pages, start = [], 8
    for _ in range(200_000):
        pages.append(one + struct.pack("<I", start + 18))
        start += 18
    return b"II*\0" + struct.pack("<I", 8) + b"".join(pages)


def many_frames() -> bytes:
    """A GIF of very many frames."""
    whole = picture("GIF")
    return whole[:-1] + (b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0") * 200_000 + b";"


BOMBS = {
    "png": endless_png,
    "tiff": large_tiff,
    "tile": lambda: large_tiff(60_000),
    "scans": many_scans,
    "text": lambda: b"P3 4000 4000 255\n" + b"7 " * 2**20,
    "pages": many_pages,
    "frames": many_frames,
    "run lengths": run_length_bomb,
    "jpeg in dicom": lambda: compressed(sized(picture("JPEG"), b"\xff\xc0", 5), JPEGBaseline8Bit, SMOOTH, bits=8),
    "jpeg 2000 in dicom": lambda: compressed(
        sized(picture("JPEG2000", STORED, no_jp2=True), b"\xff\x51", 6), JPEG2000Lossless, STORED, bits=16
    ),
    "frames in dicom": lambda: stored_bytes(radiograph(NumberOfFrames=2**31 - 1)),
    "rows in dicom": lambda: stored_bytes(radiograph(Rows=65535, Columns=65535)),
    "deflated": lambda: deflated(radiograph(np.zeros((8000, 5000), np.uint16))),
    "deflated, told late": lambda: deflated(radiograph(np.zeros((8000, 5000), np.uint16)), filling=10_000),
    "elements": lambda: flood(b"\x09\0\1\0UL\0\0"),
    "items": lambda: flood(b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\0\0\0\0" * 2**16),
    "lookup tables": lookup_flood,
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused_before_they_unpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(dicom_decoding, "MOST_READS", 6000)  # memory that is traced is slow
    path = tmp_path / "film"
    path.write_bytes(BOMBS[kind]())
    tracemalloc.start()
    try:
        told = outcome(path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(told, str)
    assert most < SMALL + 4 * path.stat().st_size


def test_devices_pipes_and_files_of_huge_size_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.dcm").open("wb") as file:
        file.truncate(2**40)
    os.mkfifo(tmp_path / "pipe.dcm")
    (tmp_path / "zeros.png").symlink_to("/dev/zero")
    for name, reason in {
        "huge.dcm": "1 TiB",
        "pipe.dcm": "not a regular file",
        "zeros.png": "not a regular file",
    }.items():
        assert reason in outcome(tmp_path / name)


def test_a_name_or_a_reason_of_any_length_is_one_short_line(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 200 + "\n\x1b[31m.dcm")
    film = radiograph()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        film.Modality = "A" * 4000
        path.write_bytes(stored_bytes(film))
    assert "modality" in outcome(path)


def test_mismatched_samples_and_planes_are_named(tmp_path: Path) -> None:
    colour = np.random.default_rng(1).integers(0, 256, (ROWS, COLUMNS, 3), dtype=np.uint8)
    grey = colour @ np.array([0.299, 0.587, 0.114]) / 255
    path = tmp_path / "film.dcm"
    for planar, stored in ((0, colour), (1, np.moveaxis(colour, 2, 0).copy())):
        film = radiograph(
            colour, bits=8, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=planar
        )
        film.PixelData = stored.tobytes()
        path.write_bytes(stored_bytes(film))
        np.testing.assert_allclose(outcome(path), grey, atol=1e-6)
        film.PhotometricInterpretation = "MONOCHROME2"
        path.write_bytes(stored_bytes(film))
        assert "3 samples per pixel" in outcome(path)


def test_pixels_beside_pixels_are_no_single_film(tmp_path: Path) -> None:
    film = radiograph()
    film.PixelData = STORED.tobytes() * 2
    (tmp_path / "film.dcm").write_bytes(stored_bytes(film))
    assert "several frames" in outcome(tmp_path / "film.dcm")
    film.PixelData = STORED.tobytes() + b"\0" * 128
    (tmp_path / "film.dcm").write_bytes(stored_bytes(film))
    assert outcome(tmp_path / "film.dcm").shape == (ROWS, COLUMNS)


def test_an_unnamed_compression_is_not_taken_for_pixels(tmp_path: Path) -> None:
    film = pydicom.dcmread(BytesIO(file_of("dicom of JPEG")))
    film.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, Dataset(film), implicit_vr=False, little_endian=True, enforce_file_format=False)
    (tmp_path / "film.dcm").write_bytes(buffer.getvalue())
    assert "compressed" in outcome(tmp_path / "film.dcm")


def test_the_largest_picture_that_is_read_is_named_by_its_size(tmp_path: Path) -> None:
    Image.new("L", (8001, 8001)).save(tmp_path / "film.png")
    assert "8001 x 8001" in outcome(tmp_path / "film.png")


def test_attributes_are_read_of_no_more_than_a_films_header(tmp_path: Path) -> None:
    path = tmp_path / "film.dcm"
    path.write_bytes(file_of("dicom"))
    assert read_tags(path, ["Modality", "WindowCenter"]).WindowCenter == 2048
    path.write_bytes(flood(b"\x09\0\1\0UL\0\0"))
    with pytest.raises(FilmUnreadable, match="more data elements"):
        read_tags(path, ["Modality"])
