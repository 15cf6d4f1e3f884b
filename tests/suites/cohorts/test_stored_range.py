"""What a file says of the range of its values is believed: signs, and a largest value unless it contradicts itself."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from suites.harness.cohorts.cohort import Film
from suites.harness.cohorts.decoding import decode_image
from suites.harness.errors import FilmUnreadable

ROWS, COLUMNS = 24, 20
UNIT = np.random.default_rng(0).random((ROWS, COLUMNS))
UNIT.flat[0], UNIT.flat[1] = 1, 0


def film_of(top: int, kind: str = "u2") -> np.ndarray:
    """The film's values from 0 to a largest one."""
    return np.round(UNIT * top).astype(kind)


def signed_tiff(values: np.ndarray) -> bytes:
    """An uncompressed TIFF of one strip of signed values, in the byte order of the values."""
    order = ">" if values.dtype.byteorder == ">" else "<"
    pixels = values.tobytes()
    tags = [(256, COLUMNS), (257, ROWS), (258, 8 * values.itemsize), (259, 1), (262, 1), (273, 8), (277, 1),
            (278, ROWS), (279, len(pixels)), (339, 2)]  # fmt: skip
    body = struct.pack(f"{order}H", len(tags))
    for tag, value in tags:
        body += struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0)
    head = (b"MM" if order == ">" else b"II") + struct.pack(f"{order}HI", 42, 8 + len(pixels))
    return head + pixels + body + bytes(4)


def read(folder: Path, content: bytes) -> Film:
    (folder / "film.bin").write_bytes(content)
    return decode_image(folder / "film.bin")


@settings(max_examples=60)
@given(kind=st.sampled_from(["<i1", "<i2", ">i2", "<i4"]), low=st.integers(-128, 3), high=st.integers(0, 32767))
def test_a_signed_tiff_has_one_bit_less_and_nothing_below_black(
    tmp_path_factory: pytest.TempPathFactory, kind: str, low: int, high: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "signed"
    folder.mkdir(exist_ok=True)
    room = {1: 127, 2: 32767, 4: 65535}[int(kind[-1])]
    high = max(high % (room + 1), 4)
    values = np.round(low + UNIT * (high - low)).astype(kind)
    if low < 0:
        with pytest.raises(FilmUnreadable, match=rf"integers {low} to {high}, outside 0\.\."):
            read(folder, signed_tiff(values))
        return
    film = read(folder, signed_tiff(values))
    fewest = next(2**bits - 1 for bits in (8, 10, 12, 14, 15 if high == 32767 else 16) if high < 2**bits)
    top = min(fewest, room)
    np.testing.assert_allclose(film.pixels, values / top, atol=1e-6)
    assert bool(film.note) == (top < room), "what the room alone decides needs no word"


def test_compressed_signed_values_are_refused_below_black_too(tmp_path: Path) -> None:
    for name, values in {"below": film_of(255) - 128.0, "above": film_of(127) + 0.0}.items():
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[339] = 2
        image = Image.fromarray(values.astype(np.int8).view(np.uint8), mode="L")
        image.save(tmp_path / "film.tiff", tiffinfo=tags, compression="tiff_lzw")
        with Image.open(tmp_path / "film.tiff") as stored:
            assert stored.tag_v2[339] == (2,), "else this is no test of signed values"
        if name == "below":
            with pytest.raises(FilmUnreadable, match="signed integers -128 to 127"):
                decode_image(tmp_path / "film.tiff")
        else:
            np.testing.assert_allclose(decode_image(tmp_path / "film.tiff").pixels, values / 127, atol=1e-6)


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_a_signed_jpeg_2000_is_refused(tmp_path: Path, kind: str) -> None:
    buffer = BytesIO()
    Image.fromarray(film_of(127, kind).repeat(4, 0).repeat(4, 1)).save(buffer, "JPEG2000")
    content = bytearray(buffer.getvalue())
    assert read(tmp_path, bytes(content)).pixels.shape == (4 * ROWS, 4 * COLUMNS)
    content[content.index(b"\xff\x4f\xff\x51") + 42] |= 0x80
    with pytest.raises(FilmUnreadable, match="signed values"):
        read(tmp_path, bytes(content))


def test_signed_values_stored_as_unsigned_are_told_by_their_end(tmp_path: Path) -> None:
    for top, white, noted in (
        (32767, 32767, True),
        (32766, 65535, False),
        (32768, 65535, False),
        (20000, 65535, False),
    ):
        buffer = BytesIO()
        Image.fromarray(film_of(top)).save(buffer, "PNG")
        film = read(tmp_path, buffer.getvalue())
        np.testing.assert_allclose(film.pixels, film_of(top) / white, atol=1e-6)
        assert ("15-bit" in film.note) == noted


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_a_pgm_or_ppm_of_opencv_is_as_bright_as_its_values(
    tmp_path: Path, bits: int, colour: bool, plain: bool
) -> None:
    values = film_of(2**bits - 1)
    path = tmp_path / ("film.ppm" if colour else "film.pgm")
    options = [cv2.IMWRITE_PXM_BINARY, int(not plain)]
    assert cv2.imwrite(str(path), np.dstack([values] * 3) if colour else values, options)
    assert b"65535" in path.read_bytes()[:60], "else this is no test of what OpenCV writes"
    film = decode_image(path)
    np.testing.assert_allclose(film.pixels, values / (2**bits - 1), atol=1e-6)
    assert (f"{bits}-bit" in film.note) == (bits < 16)


@settings(max_examples=60)
@given(
    largest=st.integers(256, 65535), share=st.floats(0.05, 1), form=st.sampled_from(["P2", "P3", "P5", "P6"]),
    digits=st.integers(1, 10),
    gap=st.sampled_from(["\n", " ", "\t \n", "\n# a film # of 12 bits\n", " #\r\n"]),
)  # fmt: skip
def test_a_deep_pnm_has_the_white_that_its_header_names(
    tmp_path_factory: pytest.TempPathFactory, largest: int, share: float, form: str, gap: str, digits: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "pnm"
    folder.mkdir(exist_ok=True)
    grey = film_of(int(share * largest))
    values = np.dstack([grey, grey[::-1], grey[:, ::-1]]) if form in ("P3", "P6") else grey
    head = gap.join([form, str(COLUMNS), str(ROWS), str(largest).zfill(digits)]).encode() + b"\n"
    plain = gap.join(map(str, values.ravel().tolist())).encode() + b"\n"
    film = read(folder, head + (plain if form in ("P2", "P3") else values.astype(">u2").tobytes()))
    high = int(values.max())
    fewest = next(2**bits - 1 for bits in (8, 10, 12, 14, 15 if high == 32767 else 16) if high < 2**bits)
    white = fewest if largest == 65535 else largest
    shown = values @ np.array([0.299, 0.587, 0.114]) if values.ndim == 3 else values
    np.testing.assert_allclose(film.pixels, shown / white, atol=2e-5)
    assert bool(film.note) == (white < 65535 == largest)


def test_colours_of_a_ppm_are_weighed_and_none_is_brighter_than_white(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 4097, (ROWS, COLUMNS, 3), dtype=np.uint16)
    values[0, 0] = 5000
    film = read(tmp_path, b"P6 20 24 4095\n" + values.astype(">u2").tobytes())
    grey = np.minimum(values, 4095) / 4095 @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(film.pixels, grey, atol=1e-6)


@pytest.mark.parametrize("tag", [281, 341])
@pytest.mark.parametrize("largest", [65535, 3000, 255, 1])
def test_a_largest_value_that_says_nothing_or_is_not_the_largest_is_not_believed(
    tmp_path: Path, largest: int, tag: int
) -> None:
    values = film_of(4000)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[tag] = largest
    tags.tagtype[tag] = 3
    Image.fromarray(values).save(tmp_path / "film.tiff", tiffinfo=tags)
    film = decode_image(tmp_path / "film.tiff")
    np.testing.assert_allclose(film.pixels, values / 4095, atol=1e-6)
    assert "12-bit" in film.note
