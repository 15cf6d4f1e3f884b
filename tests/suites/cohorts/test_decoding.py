"""Every kind of file becomes the pixels a viewer shows, or is refused with its reason."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, PngImagePlugin, TiffImagePlugin

from suites.harness.cohorts import decoding as film_module
from suites.harness.cohorts.decoding import check_exclusions, decode_image, decode_mask
from suites.harness.errors import CohortProblem, FilmUnreadable, printable

ROWS, COLUMNS = 24, 32
GREY = np.random.default_rng(0).integers(0, 256, (ROWS, COLUMNS), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (ROWS, COLUMNS, 3), dtype=np.uint8)
DEEP = np.random.default_rng(2).integers(0, 65536, (ROWS, COLUMNS), dtype=np.uint16)
DEEP[0, 0] = 65535
ALPHA = np.random.default_rng(3).integers(0, 256, (ROWS, COLUMNS), dtype=np.uint8)


def luma(colour: np.ndarray) -> np.ndarray:
    """ITU-R BT.601 by its definition, rounded to 8 bits."""
    return np.round(colour.astype(float) @ np.array([0.299, 0.587, 0.114])) / 255


def with_alpha(pixels: np.ndarray) -> np.ndarray:
    return np.dstack([pixels, ALPHA])


@pytest.mark.parametrize("suffix", ["png", "tiff", "bmp", "gif", "pgm", "webp"])
def test_eight_bit_grey_is_divided_by_255(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film.{suffix}"
    Image.fromarray(GREY).save(path, **({"lossless": True} if suffix == "webp" else {}))
    film = decode_image(path)
    assert film.pixels.dtype == np.float32
    assert film.pixels.shape == (ROWS, COLUMNS)
    tolerance = 1.01 / 255 if suffix == "webp" else 1e-7  # WebP stores colour, whose luma may round
    np.testing.assert_allclose(film.pixels, GREY / 255, atol=tolerance)
    assert film.content == hashlib.sha256(path.read_bytes()).hexdigest()


def test_jpeg_decodes_as_pillow_does(tmp_path: Path) -> None:
    path = tmp_path / "film.jpeg"
    Image.fromarray(GREY).save(path, quality=90)
    with Image.open(path) as image:
        np.testing.assert_array_equal(decode_image(path).pixels, np.asarray(image, dtype=np.float32) / 255)


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm", "jp2"])
def test_sixteen_bit_grey_is_divided_by_65535(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film.{suffix}"
    Image.fromarray(DEEP).save(path)
    np.testing.assert_allclose(decode_image(path).pixels, DEEP / 65535, atol=1e-6)


def test_big_endian_sixteen_bit_tiff(tmp_path: Path) -> None:
    path = tmp_path / "film.tiff"
    Image.frombytes("I;16B", (COLUMNS, ROWS), DEEP.astype(">u2").tobytes()).save(path)
    np.testing.assert_allclose(decode_image(path).pixels, DEEP / 65535, atol=1e-6)


@pytest.mark.parametrize("deep", [False, True])
def test_white_is_zero_tiff_is_inverted(tmp_path: Path, deep: bool) -> None:
    path = tmp_path / "film.tiff"
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = 0
    Image.fromarray(DEEP if deep else GREY).save(path, tiffinfo=tags)
    stored = np.frombuffer(_strip(path), dtype="<u2" if deep else np.uint8).reshape(ROWS, COLUMNS)
    np.testing.assert_allclose(decode_image(path).pixels, 1 - stored / (65535 if deep else 255), atol=1e-6)


def _strip(path: Path) -> bytes:
    with Image.open(path) as image:
        assert image.tag_v2[262] == 0
        offset, size = image.tag_v2[273][0], image.tag_v2[279][0]
    return path.read_bytes()[offset : offset + size]


def test_colour_becomes_luma(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "rgb.png")
    Image.fromarray(np.dstack([GREY] * 3)).save(tmp_path / "grey.png")
    np.testing.assert_allclose(decode_image(tmp_path / "rgb.png").pixels, luma(COLOUR), atol=1.01 / 255)
    np.testing.assert_allclose(decode_image(tmp_path / "grey.png").pixels, GREY / 255, atol=1e-7)


@pytest.mark.parametrize("kind", ["LA", "RGBA"])
def test_transparent_pixels_lie_on_black(tmp_path: Path, kind: str) -> None:
    pixels = GREY if kind == "LA" else np.dstack([GREY] * 3)
    Image.fromarray(with_alpha(pixels)).save(tmp_path / "film.png")
    np.testing.assert_allclose(decode_image(tmp_path / "film.png").pixels, GREY / 255 * (ALPHA / 255), atol=1e-6)


def test_palette_shows_its_colours_not_its_indices(tmp_path: Path) -> None:
    image = Image.fromarray(GREY % 4, mode="L").convert("P")
    image.putpalette([200, 200, 200, 10, 10, 10, 90, 90, 90, 255, 255, 255] + [0] * 756)
    image.save(tmp_path / "film.png")
    shades = np.array([200, 10, 90, 255]) / 255
    np.testing.assert_allclose(decode_image(tmp_path / "film.png").pixels, shades[GREY % 4], atol=1e-6)


def test_transparent_palette_entry_is_black(tmp_path: Path) -> None:
    image = Image.fromarray(GREY % 2, mode="L").convert("P")
    image.putpalette([200, 200, 200, 100, 100, 100] + [0] * 762)
    image.save(tmp_path / "film.png", transparency=0)
    np.testing.assert_allclose(decode_image(tmp_path / "film.png").pixels, np.where(GREY % 2, 100 / 255, 0), atol=1e-6)


def test_transparent_grey_key_is_black(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "film.png", transparency=int(GREY[3, 3]))
    expected = np.where(GREY[3, 3] == GREY, 0, GREY / 255)
    np.testing.assert_allclose(decode_image(tmp_path / "film.png").pixels, expected, atol=1e-6)


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(GREY > 127).save(tmp_path / "film.png")
    np.testing.assert_array_equal(decode_image(tmp_path / "film.png").pixels, (GREY > 127).astype(np.float32))


def test_floating_point_tiff_must_lie_in_0_to_1(tmp_path: Path) -> None:
    inside = (GREY / 255).astype(np.float32)
    Image.fromarray(inside).save(tmp_path / "inside.tiff")
    np.testing.assert_array_equal(decode_image(tmp_path / "inside.tiff").pixels, inside)
    for name, wrong in {"255.tiff": inside * 255, "nan.tiff": np.where(inside > 0.5, np.nan, inside)}.items():
        Image.fromarray(wrong.astype(np.float32)).save(tmp_path / name)
        with pytest.raises(FilmUnreadable, match=r"scale them to 0\.\.1"):
            decode_image(tmp_path / name)


def test_integers_of_unknown_range_are_refused(tmp_path: Path) -> None:
    Image.fromarray(DEEP.astype(np.int32) * 1000).save(tmp_path / "film.tiff")
    with pytest.raises(FilmUnreadable, match=r"outside 0\.\.65535"):
        decode_image(tmp_path / "film.tiff")


def test_colour_spaces_of_print_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([COLOUR, GREY]), mode="CMYK").save(tmp_path / "film.jpeg")
    with pytest.raises(FilmUnreadable, match="colour mode CMYK"):
        decode_image(tmp_path / "film.jpeg")


@pytest.mark.parametrize("suffix", ["jpeg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured_as_a_viewer_does(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"film.{suffix}"
    ramp = np.add.outer(np.arange(ROWS) * 6, np.arange(COLUMNS) * 2).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(ramp).save(path, exif=exif, **({"quality": 100} if suffix in ("jpeg", "webp") else {}))
    turned = {
        1: ramp,
        2: ramp[:, ::-1],
        3: ramp[::-1, ::-1],
        4: ramp[::-1],
        5: ramp.T,
        6: ramp.T[:, ::-1],
        7: ramp.T[::-1, ::-1],
        8: ramp.T[::-1],
    }[orientation]
    found = decode_image(path).pixels
    assert found.shape == turned.shape
    np.testing.assert_allclose(found, turned / 255, atol=3 / 255)


def test_sixteen_bit_film_is_turned_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(DEEP).save(tmp_path / "film.png", exif=exif)
    np.testing.assert_allclose(decode_image(tmp_path / "film.png").pixels, DEEP.T[:, ::-1] / 65535, atol=1e-6)


@pytest.mark.parametrize("suffix", ["jpeg", "png", "tiff"])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film.{suffix}"
    Image.fromarray(GREY).save(path)
    whole = path.read_bytes()
    for share in (0.05, 0.3, 0.7, 0.95):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(FilmUnreadable, match=rf"film\.{suffix}: "):
            decode_image(path)


def test_truncation_is_refused_even_if_another_library_told_pillow_to_guess(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "film.jpeg"
    Image.fromarray(GREY).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with Image.open(path) as guessed:
        guessed.load()  # the trap: grey rows instead of an error
    with pytest.raises(FilmUnreadable, match="truncated"):
        decode_image(path)


def test_no_film_at_all(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("a note, not a film")
    (tmp_path / "page.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n")
    os.mkfifo(tmp_path / "pipe.png")
    for name, reason in {
        "empty.png": "empty",
        "text.png": "not an image",
        "page.eps": "not an image",
        "pipe.png": "not a regular file",
        "nowhere.png": "no such file",
        ".": "folder",
    }.items():
        with pytest.raises(FilmUnreadable, match=reason):
            decode_image(tmp_path / name)


def test_a_name_with_a_null_byte_is_no_crash() -> None:
    with pytest.raises(FilmUnreadable, match="cannot be opened"):
        decode_image("film\x00.png")


def _png_header(width: int, height: int) -> bytes:
    header = b"\x89PNG\r\n\x1a\n"
    body = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    for kind, data in ((b"IHDR", body), (b"IDAT", b""), (b"IEND", b"")):
        check = PngImagePlugin._crc32(data, PngImagePlugin._crc32(kind))
        header += len(data).to_bytes(4, "big") + kind + data + check.to_bytes(4, "big")
    return header


@pytest.mark.parametrize("side", [8_001, 9_900, 13_000, 60_000])
def test_decompression_bombs_are_refused_before_they_unpack(tmp_path: Path, side: int) -> None:
    (tmp_path / "bomb.png").write_bytes(_png_header(side, side))
    with pytest.raises(FilmUnreadable, match="bomb"):
        decode_image(tmp_path / "bomb.png")


def test_our_limit_holds_when_pillows_is_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    (tmp_path / "bomb.png").write_bytes(_png_header(60_000, 60_000))
    with pytest.raises(FilmUnreadable, match="limit 64 million"):
        decode_image(tmp_path / "bomb.png")


def test_huge_files_are_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(GREY).save(tmp_path / "film.png")
    monkeypatch.setattr(film_module, "MAX_BYTES", 100)
    with pytest.raises(FilmUnreadable, match=r"it holds \d+ bytes, more than the 100 bytes"):
        decode_image(tmp_path / "film.png")


@pytest.mark.parametrize("shape", [(1, 1), (15, 40), (20, 300)])
def test_specks_and_slivers_are_no_films(tmp_path: Path, shape: tuple[int, int]) -> None:
    Image.new("L", shape[::-1]).save(tmp_path / "film.png")
    with pytest.raises(FilmUnreadable, match="at least 16"):
        decode_image(tmp_path / "film.png")


@pytest.mark.parametrize("suffix", ["gif", "tiff", "png", "webp"])
def test_several_frames_are_refused(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(tmp_path / f"film.{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(FilmUnreadable, match="2 frames"):
        decode_image(tmp_path / f"film.{suffix}")


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_bytes_give_a_film_or_a_reason_never_a_crash(tmp_path_factory: pytest.TempPathFactory, data) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    folder.mkdir(exist_ok=True)
    kind = data.draw(st.sampled_from(["jpeg", "png", "tiff", "gif", "bmp", "jp2"]))
    path = folder / f"film.{kind}"
    Image.fromarray(GREY).save(path)
    content = bytearray(path.read_bytes())
    for position, value in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)))):
        content[position] = value
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        pixels = decode_image(path).pixels
    except FilmUnreadable:
        return
    assert pixels.ndim == 2
    assert pixels.dtype == np.float32
    assert 0 <= pixels.min() <= pixels.max() <= 1


def test_masks_are_read_whether_ones_or_255s(tmp_path: Path) -> None:
    inside = GREY > 100
    for name, value in {"ones.png": 1, "full.png": 255}.items():
        Image.fromarray((inside * value).astype(np.uint8)).save(tmp_path / name)
        mask, content = decode_mask(tmp_path / name, (ROWS, COLUMNS))
        np.testing.assert_array_equal(mask, inside)
        assert len(content) == 64
    Image.new("L", (COLUMNS, ROWS)).save(tmp_path / "none.png")
    assert not decode_mask(tmp_path / "none.png", (ROWS, COLUMNS))[0].any()
    with pytest.raises(FilmUnreadable, match=r"mask is 32 x 24 pixels, its film 24 x 32"):
        decode_mask(tmp_path / "full.png", (COLUMNS, ROWS))


def test_exclusions_up_to_five_percent_pass() -> None:
    check_exclusions([], 0)
    check_exclusions([("a.png", "is empty")] * 5, 100)
    with pytest.raises(CohortProblem, match=r"6 of 100 films cannot be read .*a\.png \(is empty\)"):
        check_exclusions([("a.png", "is empty")] * 6, 100)


def test_exclusions_may_come_as_a_table() -> None:
    left_out = pd.DataFrame({"cohort": "c", "file": ["a\nb.png"], "reason": ["is truncated"]})
    check_exclusions(left_out, 20)
    with pytest.raises(CohortProblem, match=r"1 of 19 films .*a\\nb\.png"):
        check_exclusions(left_out, 19)


@given(st.text())
def test_printable_text_is_one_printable_line(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


def test_undecodable_names_become_printable() -> None:
    assert printable(os.fsdecode(b"film\xff<b>\n.png")) == r"film\udcff<b>\n.png"


def test_one_flipped_bit_of_a_png_gives_the_same_pixels_or_a_reason(tmp_path: Path) -> None:
    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", "a film")
    path = tmp_path / "film.png"
    Image.fromarray(GREY).save(path, pnginfo=note)
    whole, content = decode_image(path).pixels, path.read_bytes()
    refused = 0
    for bit in np.random.default_rng(0).choice(8 * len(content), 600, replace=False):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(damaged)
        try:
            np.testing.assert_array_equal(decode_image(path).pixels, whole)
        except FilmUnreadable:
            refused += 1
    assert refused == 600, "every byte of a PNG is under a checksum"


def test_a_damaged_png_is_named_with_the_part_and_its_place(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    Image.fromarray(GREY).save(path)
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(FilmUnreadable, match="checksum of its part IDAT at byte 33 is wrong"):
        decode_image(path)


def _jpeg(**options: object) -> bytes:
    return _saved("JPEG", SMOOTH, **options)


def _saved(kind: str, pixels: np.ndarray, **options: object) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


SMOOTH = (np.add.outer(np.arange(64) * 2, np.arange(80)) + GREY.repeat(3, 0)[:64].repeat(3, 1)[:, :80] // 16).astype(
    np.uint8
)
FILES = {
    "jpeg": _jpeg(quality=90),
    "progressive": _jpeg(progressive=True),
    "restarts": _jpeg(restart_marker_blocks=4),
    "colour": _saved("JPEG", np.dstack([SMOOTH, SMOOTH.T[:64].repeat(2, 1)[:, :80], SMOOTH])),
    "tiff": _saved("TIFF", SMOOTH),
    "tiff in strips": _saved("TIFF", SMOOTH, tiffinfo={278: 8}, compression="tiff_lzw"),
    "deep tiff": _saved("TIFF", DEEP),
    "deflated": _saved("TIFF", SMOOTH, compression="tiff_adobe_deflate"),
    "packed": _saved("TIFF", SMOOTH, compression="packbits"),
    "tiff of jpeg": _saved("TIFF", SMOOTH, compression="jpeg"),
}


def _decoded(folder: Path, content: bytes) -> np.ndarray | None:
    """The pixels; None where the file is refused, in one line that names it."""
    path = folder / "suspect.bin"
    path.write_bytes(content)
    try:
        return decode_image(path).pixels
    except FilmUnreadable as problem:
        told = str(problem)
    assert told.startswith("suspect.bin: ")
    assert "\n" not in told
    return None


@pytest.mark.parametrize("kind", FILES)
def test_what_is_cut_short_or_filled_up_is_refused_or_the_same_film(tmp_path: Path, kind: str) -> None:
    """Wherever a copy broke off, and whether the rest is missing or holds zeros, as an interrupted download does."""
    content = FILES[kind]
    whole = _decoded(tmp_path, content)
    assert whole is not None
    ends = {*range(len(content) - 12, len(content)), *np.random.default_rng(0).integers(0, len(content), 50).tolist()}
    refused = 0
    for end in sorted(ends):
        found = _decoded(tmp_path, content[:end])
        refused += found is None
        assert found is None or np.array_equal(found, whole), f"cut at {end} of {len(content)}"
        if kind in ("jpeg", "progressive", "restarts", "colour"):
            assert found is None, "a JPEG without its end"
            assert _decoded(tmp_path, content[:end].ljust(len(content), b"\0")) is None, f"zeros from {end}"
    assert refused > 40


@settings(max_examples=120)
@example(kind="restarts", place=0.673828125, bit=3)  # an end in the place of a restart
@given(kind=st.sampled_from(sorted(FILES)), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_the_same_film_or_beyond_what_can_be_told(
    tmp_path_factory: pytest.TempPathFactory, kind: str, place: float, bit: int
) -> None:
    """The limit that `decode_image` states: other pixels come only of bits that no structure and no checksum covers."""
    content = bytearray(FILES[kind])
    at = int(place * len(content))
    content[at] ^= 1 << bit
    folder = tmp_path_factory.getbasetemp() / "flips"
    folder.mkdir(exist_ok=True)
    whole, found = _decoded(folder, FILES[kind]), _decoded(folder, bytes(content))
    if found is None or np.array_equal(found, whole):
        return
    if kind in ("jpeg", "progressive", "restarts", "colour"):
        before, damaged = (_markers(file) for file in (FILES[kind], bytes(content)))
        assert before == damaged or at not in _structure(FILES[kind]), "a marker was lost or won without a word"


def _markers(content: bytes) -> list[int]:
    """The kinds of a JPEG's markers, by a search that knows nothing of parts."""
    return [content[at + 1] for at in range(len(content) - 1) if content[at] == 255 and content[at + 1] not in (0, 255)]


def _structure(content: bytes) -> set[int]:
    """The bytes of a JPEG's restart and end markers."""
    found = (at for at in range(len(content) - 1) if content[at] == 255)
    return {at + more for at in found for more in (0, 1) if content[at + 1] in (*range(0xD0, 0xD8), 0xD9)}


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("unit", [1, 3, 7])
@pytest.mark.parametrize(("height", "width"), [(64, 80), (57, 83), (17, 100)])
def test_an_end_before_the_last_restart_is_told(
    tmp_path: Path, height: int, width: int, unit: int, colour: bool
) -> None:
    pixels = np.random.default_rng(height).integers(0, 255, (height, width, *([3] if colour else [])), dtype=np.uint8)
    path = tmp_path / "film.jpeg"
    Image.fromarray(pixels).save(path, restart_marker_blocks=unit)
    assert decode_image(path).pixels.shape == (height, width), "as it was written it is whole"
    content = bytearray(path.read_bytes())
    last = max(content.rfind(bytes((0xFF, kind)), 0, len(content) - 2) for kind in range(0xD0, 0xD8))
    content[last + 1] = 0xD9
    path.write_bytes(content)
    with pytest.raises(FilmUnreadable, match=r"ends at byte \d+ after \d+ of its \d+ restarts"):
        decode_image(path)


def test_a_lost_restart_and_a_lost_end_are_told_with_their_place(tmp_path: Path) -> None:
    content = FILES["restarts"]
    second = content.index(b"\xff\xd1")
    path = tmp_path / "film.jpeg"
    path.write_bytes(content[: content.index(b"\xff\xd0")] + content[second:])  # a stretch of rows is gone
    with Image.open(path) as guessed:
        guessed.load()  # the trap: other pixels and not a word
    with pytest.raises(FilmUnreadable, match=r"film\.jpeg: .*restart 1 of a JPEG at byte \d+ where 0 is due"):
        decode_image(path)
    path.write_bytes(content[:-2])
    with pytest.raises(FilmUnreadable, match="without its end marker"):
        decode_image(path)
    path.write_bytes(content + b"a note behind the end")
    assert decode_image(path).pixels.shape == SMOOTH.shape


def _tiff(strips: list[int], sizes: list[int], *, order: str = "<", big: bool = False, extra: bytes = b"") -> bytes:
    """A TIFF of 32 x 16 bytes in strips of 8 rows, which starts and sizes of strips are written as given."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42)
    pixels = bytes(range(256)) * 2
    first = 16 if big else 8
    offset, count, entry = ("Q", "Q", "HHQQ") if big else ("I", "H", "HHII")
    at = first + len(pixels)
    tags = [(256, 4, 1, 32), (257, 4, 1, 16), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1),
            (278, 4, 1, 8)]  # fmt: skip
    lists = at + struct.calcsize(f"{order}{count}") + (len(tags) + 2) * struct.calcsize(f"{order}{entry}")
    lists += struct.calcsize(f"{order}{offset}")
    kind, packed = (16, "Q") if big else (4, "I")
    table = b"".join(struct.pack(f"{order}{len(values)}{packed}", *values) for values in (strips, sizes))
    half = len(table) // 2
    body = struct.pack(f"{order}{count}", len(tags) + 2)
    for tag, form, number, value in [*tags, (273, kind, len(strips), lists), (279, kind, len(sizes), lists + half)]:
        size = {3: "H", 4: "I", 16: "Q"}[form]
        stored = struct.pack(f"{order}{size}" if number == 1 else f"{order}{offset}", value)
        body += struct.pack(f"{order}HH{offset}", tag, form, number) + stored.ljust(struct.calcsize(offset), b"\0")
    start = struct.pack(f"{order}HHQ", 8, 0, at) if big else struct.pack(f"{order}I", at)
    return head + start + pixels + body + struct.pack(f"{order}{offset}", 0) + table + extra


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
def test_strips_of_a_tiff_lie_in_the_file_beside_one_another(tmp_path: Path, order: str, big: bool) -> None:
    first = 16 if big else 8
    sound = _decoded(tmp_path, _tiff([first, first + 256], [256, 256], order=order, big=big, extra=bytes(400)))
    np.testing.assert_array_equal(sound * 255, np.tile(np.arange(256), 2).reshape(16, 32))
    for strips, sizes, reason in (
        ([first, 5000], [256, 256], "beyond the end"),
        ([first, first + 255], [256, 256], "lies over another part"),
        ([first, first + 257], [256, 256], "lies over another part"),
        ([first - 1, first + 256], [256, 256], "lies over another part"),
        ([first, first + 256], [256, 255], "too short for its rows"),
    ):
        path = tmp_path / "film.tiff"
        path.write_bytes(_tiff(strips, sizes, order=order, big=big, extra=bytes(400)))
        with pytest.raises(FilmUnreadable, match=rf"film\.tiff: .*{reason}"):
            decode_image(path)


PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def _part(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(pixels: np.ndarray, colour: int = 0, interlaced: bool = False, share: float = 1.0) -> bytes:
    """A PNG written here, of unfiltered rows, with part of its bytes or with more."""
    taken = [pixels[top::down, left::right] for left, top, right, down in PASSES] if interlaced else [pixels]
    big = [part.astype(part.dtype.newbyteorder(">")) for part in taken if part.size]
    raw = b"".join(b"\0" + row.tobytes() for part in big for row in part)
    raw = (raw * 2)[: round(share * len(raw))]
    bits = pixels.dtype.itemsize * 8
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], bits, colour, 0, 0, int(interlaced))
    palette = _part(b"PLTE", bytes(range(256)) * 3) if colour == 3 else b""
    half = zlib.compress(raw)
    parts = [half[:20], half[20:]]
    body = b"".join(_part(b"IDAT", part) for part in parts)
    return b"\x89PNG\r\n\x1a\n" + _part(b"IHDR", header) + palette + body + _part(b"IEND", b"")


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("kind", ["grey", "deep", "colour", "palette", "odd"])
def test_a_png_holds_all_its_rows_or_is_refused(tmp_path: Path, kind: str, interlaced: bool) -> None:
    pixels = {"deep": DEEP, "colour": COLOUR, "odd": GREY[:17, :19]}.get(kind, GREY)
    colour = {"colour": 2, "palette": 3}.get(kind, 0)
    path = tmp_path / "film.png"
    path.write_bytes(_png(pixels, colour, interlaced))
    film = decode_image(path).pixels
    if kind in ("grey", "odd", "deep"):
        np.testing.assert_allclose(film, pixels / (65535 if kind == "deep" else 255), atol=1e-6)
    for share in (0.5, 0.99, 1.01):
        path.write_bytes(_png(pixels, colour, interlaced, share))
        with pytest.raises(FilmUnreadable, match=r"bytes that its .* pixels need"):
            decode_image(path)


def test_what_decoding_a_large_film_needed_is_handed_back(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(film_module, "give_back", lambda: given.append(1))
    file = tmp_path / "film.png"
    Image.fromarray(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)).save(file)
    small = decode_image(file)
    assert not given
    monkeypatch.setattr(film_module, "LARGE", small.pixels.nbytes - 1)
    np.testing.assert_array_equal(decode_image(file).pixels, small.pixels)
    assert given == [1]
