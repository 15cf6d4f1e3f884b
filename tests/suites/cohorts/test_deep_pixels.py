"""Values of more than 8 bits have the brightness that their file tells of, else that of the fewest bits that hold them.

What is right is computed here, from the values that were stored; colour and transparent files are written here, too,
because Pillow cannot.
"""

from __future__ import annotations

import struct
import zlib
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin, TiffImagePlugin

from suites.harness.cohorts.cohort import COLUMNS, Cohort
from suites.harness.cohorts.decoding import decode_image
from suites.harness.cohorts.deep_pixels import DEPTHS, scale_of
from suites.harness.cohorts.layouts.films import FilmReader
from suites.harness.errors import FilmUnreadable
from suites.harness.predictions.conditions import CLEAN, Condition
from suites.harness.predictions.table import predict
from tests.controls.subjects import Reader, subject_of

ROWS, COLUMNS_OF_FILM = 24, 20
UNIT = np.random.default_rng(0).random((ROWS, COLUMNS_OF_FILM))
UNIT.flat[0], UNIT.flat[1] = 1, 0


def film_of(bits: int, brightest: float = 1.0) -> np.ndarray:
    """The film's values as a detector of so many bits gives them."""
    return np.round(UNIT * brightest * (2**bits - 1)).astype(np.uint16)


def png(values: np.ndarray, colour: int, parts: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    """A PNG of 16 bits, its rows filtered by turns, with further parts before its pixels."""
    channels = values.reshape(len(values), values.shape[1], -1)
    lines, above = [], np.zeros(channels.shape[1] * channels.shape[2] * 2, np.uint8)
    for row in channels.astype(">u2"):
        line = np.frombuffer(row.tobytes(), np.uint8)
        lines.append(b"\2" + (line - above).tobytes())  # as the line above
        above = line
    header = struct.pack(">IIBBBBB", values.shape[1], len(values), 16, colour, 0, 0, 0)
    body = [(b"IHDR", header), *parts, (b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in body
    )


def stacked(values: np.ndarray, colour: int, opaque: int) -> np.ndarray:
    """The film in the channels that a kind of PNG has."""
    alpha = np.full(values.shape, opaque, np.uint16)
    return np.dstack({0: [values], 2: [values] * 3, 4: [values, alpha], 6: [values] * 3 + [alpha]}[colour])


def read(folder: Path, content: bytes, name: str = "film.png"):
    (folder / name).write_bytes(content)
    return decode_image(folder / name)


@pytest.mark.parametrize("colour", [0, 2, 4, 6])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_a_film_of_fewer_bits_is_the_same_film_in_grey_and_in_colour(tmp_path: Path, bits: int, colour: int) -> None:
    values = film_of(bits)
    for opaque in {2**bits - 1, 65535}:
        film = read(tmp_path, png(stacked(values, colour, opaque), colour))
        np.testing.assert_allclose(film.pixels, values / (2**bits - 1), atol=1e-6)
        assert (f"{bits}-bit" in film.note) == (bits < 16)
        assert bool(film.note) == (bits < 16)


@pytest.mark.parametrize("colour", [1, 3, 4])
def test_a_tiff_of_fewer_bits_is_the_same_film(tmp_path: Path, colour: int) -> None:
    values = film_of(12)
    path = tmp_path / "film.tiff"
    if colour == 1:
        Image.fromarray(values).save(path)
    else:
        channels = np.dstack([values, values, values, np.full_like(values, 65535)][:colour])
        assert cv2.imwrite(str(path), channels)
    film = decode_image(path)
    np.testing.assert_allclose(film.pixels, values / 4095, atol=1e-6)
    assert "12-bit" in film.note


def test_a_dark_film_of_sixteen_bits_stays_dark(tmp_path: Path) -> None:
    """No detector gives 15 bits, so what reaches above 14 was meant for 16, unless it was signed to begin with."""
    values = film_of(16, 0.4)
    film = read(tmp_path, png(values, 0))
    np.testing.assert_allclose(film.pixels, values / 65535, atol=1e-6)
    assert film.note == ""


@pytest.mark.parametrize("colour", [0, 2, 4, 6])
@pytest.mark.parametrize("brightest", [0.04, 0.3, 1.0])
def test_what_a_png_says_of_its_bits_is_believed(tmp_path: Path, colour: int, brightest: float) -> None:
    """However dark the film is: its range would say fewer bits."""
    values = film_of(12, brightest)
    told = bytes([12] * {0: 1, 2: 3, 4: 2, 6: 4}[colour])
    film = read(tmp_path, png(stacked(values, colour, 65535), colour, ((b"sBIT", told),)))
    np.testing.assert_allclose(film.pixels, values / 4095, atol=1e-6)
    assert film.note == ""


def test_a_png_scaled_to_its_room_as_the_standard_asks_is_not_scaled_again(tmp_path: Path) -> None:
    values = film_of(12)
    for scaled in (values << 4, (values << 4) | (values >> 8)):
        film = read(tmp_path, png(scaled, 0, ((b"sBIT", b"\x0c"),)))
        np.testing.assert_allclose(film.pixels, scaled / 65535, atol=1e-6)


@pytest.mark.parametrize(
    ("key", "text", "top"),
    [
        ("SignificantBits", "12", 4095), ("BitsStored", " 14 ", 16383), ("significant bits", "10", 1023),
        ("MaxSampleValue", "4095", 4095), ("MaxVal", "16383", 16383), ("SignificantBits", "many", None),
        ("SignificantBits", "99", None), ("MaxSampleValue", "1e999", None), ("Comment", "12", None),
    ],
)  # fmt: skip
def test_what_a_text_of_a_png_says_of_its_bits_is_believed(tmp_path: Path, key: str, text: str, top: int) -> None:
    values = film_of(10, 0.5)
    note = PngImagePlugin.PngInfo()
    note.add_text(key, text)
    path = tmp_path / "film.png"
    Image.fromarray(values).save(path, pnginfo=note)
    film = decode_image(path)
    np.testing.assert_allclose(film.pixels, values / (top or 1023), atol=1e-6)
    assert bool(film.note) == (top is None)


@pytest.mark.parametrize(
    ("tag", "value", "top"), [(281, 4095, 4095), (281, 4000, 4095), (281, 60000, 65535), (341, 1023, 1023)]
)
def test_what_a_tiff_says_of_its_largest_value_is_believed(tmp_path: Path, tag: int, value: int, top: int) -> None:
    values = film_of(10, 0.5)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[tag] = value
    tags.tagtype[tag] = 3
    path = tmp_path / "film.tiff"
    Image.fromarray(values).save(path, tiffinfo=tags)
    film = decode_image(path)
    np.testing.assert_allclose(film.pixels, values / top, atol=1e-6)
    assert film.note == ""


def test_a_pgm_names_its_own_white(tmp_path: Path) -> None:
    values = film_of(12, 0.1)
    film = read(tmp_path, b"P5 20 24 4095\n" + values.astype(">u2").tobytes(), "film.pgm")
    np.testing.assert_allclose(film.pixels, values / 4095, atol=1e-4)
    assert film.note == ""


def test_colour_is_weighed_and_transparency_lies_on_black(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    values = generator.integers(0, 4096, (ROWS, COLUMNS_OF_FILM, 4), dtype=np.uint16)
    values[0, 0] = 4095
    grey = values[..., :3] @ np.array([0.299, 0.587, 0.114]) / 4095
    film = read(tmp_path, png(values, 6))
    np.testing.assert_allclose(film.pixels, grey * values[..., 3] / 4095, atol=1e-6)
    hidden = values[..., :3].copy()
    film = read(tmp_path, png(hidden, 2, ((b"tRNS", hidden[5, 5].astype(">u2").tobytes()),)))
    grey[5, 5] = 0
    np.testing.assert_allclose(film.pixels, grey, atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_deep_colour_is_turned_as_a_viewer_turns_it(tmp_path: Path, suffix: str, orientation: int) -> None:
    values = film_of(12)
    path = tmp_path / f"film.{suffix}"
    if suffix == "png":
        exif = Image.Exif()
        exif[274] = orientation
        path.write_bytes(png(np.dstack([values] * 3), 2, ((b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")),)))
    else:
        assert cv2.imwrite(str(path), np.dstack([values] * 3), [cv2.IMWRITE_TIFF_COMPRESSION, 1])
        content = path.read_bytes()
        order = "<" if content[:2] == b"II" else ">"
        # OpenCV writes no orientation: one of its other tags becomes it, in its place among them.
        (start,) = struct.unpack_from(f"{order}I", content, 4)
        (count,) = struct.unpack_from(f"{order}H", content, start)
        entries = [content[start + 2 + 12 * at : start + 14 + 12 * at] for at in range(count)]
        kept = [entry for entry in entries if struct.unpack_from(f"{order}H", entry)[0] not in (274, 339)]
        assert len(kept) < count
        kept.append(struct.pack(f"{order}HHIHH", 274, 3, 1, orientation, 0))
        kept.sort(key=lambda entry: struct.unpack_from(f"{order}H", entry)[0])
        body = struct.pack(f"{order}H", len(kept)) + b"".join(kept) + b"\0" * 4
        path.write_bytes(content[:start] + body.ljust(2 + 12 * count + 4, b"\0") + content[start + 6 + 12 * count :])
    turns = {1: values, 2: values[:, ::-1], 3: values[::-1, ::-1], 4: values[::-1], 5: values.T,
             6: values.T[:, ::-1], 7: values.T[::-1, ::-1], 8: values.T[::-1]}  # fmt: skip
    np.testing.assert_allclose(decode_image(path).pixels, turns[orientation] / 4095, atol=1e-6)


@settings(max_examples=60)
@given(
    bits=st.integers(1, 16), colour=st.sampled_from([0, 2, 4, 6]), brightest=st.floats(0.01, 1), told=st.booleans(),
    seed=st.integers(0, 2**16),
)  # fmt: skip
def test_no_film_is_darker_than_half_of_what_it_uses_nor_brighter_than_white(
    tmp_path_factory: pytest.TempPathFactory, bits: int, colour: int, brightest: float, told: bool, seed: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "deep"
    folder.mkdir(exist_ok=True)
    unit = np.random.default_rng(seed).random((ROWS, COLUMNS_OF_FILM))
    values = np.round(unit / unit.max() * brightest * (2**bits - 1)).astype(np.uint16)
    parts = ((b"sBIT", bytes([bits] * {0: 1, 2: 3, 4: 2, 6: 4}[colour])),) if told else ()
    film = read(folder, png(stacked(values, colour, 65535), colour, parts))
    high = int(values.max())
    depths = sorted((*DEPTHS, 15)) if high == 2**15 - 1 else DEPTHS
    top = 2**bits - 1 if told else next(2**depth - 1 for depth in depths if high < 2**depth)
    np.testing.assert_allclose(film.pixels, values / (top if high else 1), atol=1e-6)
    assert bool(film.note) == (not told and (0 < high < 2**14 or high == 2**15 - 1))


def test_the_white_is_at_least_the_brightest_value() -> None:
    for brightest, told in product(range(0, 65536, 97), (None, 255, 1000, 4095, 65535)):
        assert brightest <= scale_of(brightest, told)[0] <= 65535


def test_a_tiff_whose_two_readers_disagree_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "film.tiff"
    assert cv2.imwrite(str(path), np.dstack([film_of(16)] * 3))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.dstack([film_of(16)[::-1]] * 3))
    with pytest.raises(FilmUnreadable, match="not read with certainty"):
        decode_image(path)


def test_colour_of_sixteen_bits_in_jpeg_2000_is_not_taken_for_a_dark_film(tmp_path: Path) -> None:
    """Pillow reads the upper half of its values, in which 12 bits leave next to nothing."""
    for bits, read_at_all in ((12, False), (16, True)):
        done, content = cv2.imencode(".jp2", np.dstack([film_of(bits).repeat(4, 0).repeat(4, 1)] * 3))
        assert done
        (tmp_path / "film.jp2").write_bytes(content.tobytes())
        if read_at_all:
            assert decode_image(tmp_path / "film.jp2").pixels.max() > 0.9
        else:
            with pytest.raises(FilmUnreadable, match="uses few of its bits"):
                decode_image(tmp_path / "film.jp2")


def test_a_film_scaled_by_its_range_is_told_of_in_the_report(tmp_path: Path) -> None:
    for name, bits in {"a": 12, "b": 12, "c": 16}.items():
        Image.fromarray(film_of(bits)).save(tmp_path / f"{name}.png")
    rows = [
        dict.fromkeys(COLUMNS, "") | {"id": name, "file": str(tmp_path / f"{name}.png"), "patient": name}
        for name in ("a", "b", "c")
    ]
    cohort = Cohort(name="films", spec="films", table=pd.DataFrame(rows), decode=FilmReader())
    subject = subject_of(Reader(), "s")
    found = predict({"s": (subject, [Condition(CLEAN)])}, cohort, seed=0, cache=tmp_path / "cache", quiet=True)["s"]
    assert len(found.notes) == 1
    assert found.notes[0].startswith(
        "2 of 3 films of films (first a): 16-bit values are read as 12-bit ones (0 to 4095)"
    )
