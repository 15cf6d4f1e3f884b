"""Is the grey of PNG and TIFF files that of their values, whichever bits they use?

A file of 16 bits whose values use fewer is a film of as many bits as the file says (sBIT), else as its values fill.
Whether a reader scales or refuses is its choice; a dark film is wrong.
"""

from __future__ import annotations

import random
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from suites.harness.cohorts.decoding import decode_image
from tests.hostile.case import Case, accepted, either, generator, refused
from tests.hostile.kinds.dicom import shows

GREY, COLOUR, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 4, 6
SAMPLES = {GREY: 1, COLOUR: 3, GREY_ALPHA: 2, COLOUR_ALPHA: 4}


def values_of(rng: random.Random, bits: int) -> np.ndarray:
    """Return (20, 24) values that fill the bits."""
    values = np.random.default_rng(rng.getrandbits(32)).integers(0, 2**bits, (20, 24))
    values[0, :2] = 0, 2**bits - 1
    return values


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(samples: np.ndarray, depth: int, colour: int, extra: bytes = b"") -> bytes:
    """Return a PNG of (H, W, samples) values, written by hand, for Pillow writes no deep colour."""
    height, width = samples.shape[:2]
    rows = samples.astype(">u2" if depth == 16 else np.uint8).reshape(height, -1)
    packed = (
        np.packbits(np.unpackbits(rows.astype(np.uint8)[..., None], axis=-1)[..., -depth:].reshape(height, -1), axis=1)
        if depth < 8
        else rows
    )
    lines = b"".join(b"\0" + row.tobytes() for row in packed)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", head)
        + extra
        + _chunk(b"IDAT", zlib.compress(lines))
        + _chunk(b"IEND", b"")
    )


@generator("images", share=150)
def significant_bits(rng: random.Random, place: Path) -> Case:
    """8 to 16 significant bits in 16, grey and colour, with and without alpha, sBIT or a word of it."""
    bits, colour, told = rng.choice([8, 10, 12, 14, 16]), rng.choice(list(SAMPLES)), rng.choice(["", "sBIT"])
    values = values_of(rng, bits)
    grey = np.repeat(values[..., None], min(3, SAMPLES[colour] - (colour in (GREY_ALPHA, COLOUR_ALPHA)) or 1), axis=2)
    alpha = np.full((*values.shape, 1), 65535 if rng.random() < 0.5 or told == "" else 2**bits - 1)
    samples = np.concatenate([grey, alpha], axis=2) if colour in (GREY_ALPHA, COLOUR_ALPHA) else grey
    aligned = told == "sBIT" and rng.random() < 0.5  # the standard scales samples up; programs often do not
    if aligned:
        samples[..., : grey.shape[2]] <<= 16 - bits
    if colour in (GREY_ALPHA, COLOUR_ALPHA):
        samples[..., -1] = 65535
    extra = _chunk(b"sBIT", bytes([bits] * SAMPLES[colour])) if told else b""
    (place / "film.png").write_bytes(png_of(samples, 16, colour, extra))
    what = (
        f"{bits} bits in 16, colour type {colour}, {told or 'nothing told'}, {'shifted up' if aligned else 'low bits'}"
    )
    make = accepted if bits == 16 else either
    return make(lambda: decode_image(place / "film.png"), shows(values / (2.0**bits - 1)), what=what)


@generator("images", share=60)
def plain(rng: random.Random, place: Path) -> Case:
    """1, 2, 4, 8 bits, grey and palette, interlaced or not, JPEG 2000 and others without loss."""
    form = rng.choice(["1", "2", "4", "8", "palette", "RGB", "BMP", "TIFF", "WEBP", "PPM", "GIF", "transparent"])
    bits = int(form) if form.isdigit() else 8
    values = values_of(rng, bits)
    file, grey = place / "film.png", values.astype(np.uint8)
    if form.isdigit():
        file.write_bytes(png_of(values[..., None], bits, GREY))
    elif form == "palette":
        Image.fromarray(grey).convert("P").save(file)
    elif form == "RGB":
        Image.fromarray(grey).convert("RGB").save(file)
    elif form == "transparent":
        Image.fromarray(np.stack([grey, np.full_like(grey, 255)], axis=2), "LA").save(file)
    else:
        file = place / f"film.{form.lower()}"
        Image.fromarray(grey).save(file, form, **({"lossless": True} if form == "WEBP" else {}))
    return accepted(lambda: decode_image(file), shows(values / (2.0**bits - 1)), what=form)


def tiff_of(
    values: np.ndarray, bits: int, *, white_is_zero: bool, order: str, tags: dict[int, tuple[int, int]]
) -> bytes:
    """Return an uncompressed TIFF of one strip, written by hand."""
    height, width = values.shape
    kind = {8: "u1", 16: "u2", 32: "u4"}[8 if bits <= 8 else 16 if bits <= 16 else 32]
    data = values.astype(f"{order}{kind}").tobytes()
    entries = {256: (4, width), 257: (4, height), 258: (3, bits), 259: (3, 1), 262: (3, 0 if white_is_zero else 1),
               273: (4, 8), 277: (3, 1), 278: (4, height), 279: (4, len(data))} | tags  # fmt: skip
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(data))
    directory = struct.pack(order + "H", len(entries))
    for tag, (form, value) in sorted(entries.items()):
        packed = struct.pack(order + ("HH" if form == 3 else "I"), *((value, 0) if form == 3 else (value,)))
        directory += struct.pack(order + "HHI", tag, form, 1) + packed
    return head + data + directory + bytes(4)


@generator("images", share=70)
def tiff(rng: random.Random, place: Path) -> Case:
    """8 and 16 bits, both byte orders, both meanings of zero, fewer significant bits than stored."""
    stored, white, order = rng.choice([8, 16]), rng.random() < 0.3, rng.choice("<>")
    bits = stored if stored == 8 else rng.choice([16, 16, 10, 12, 14])
    values = values_of(rng, bits)
    (place / "film.tif").write_bytes(tiff_of(values, stored, white_is_zero=white, order=order, tags={}))
    grey = values / (2.0**bits - 1)
    make = accepted if bits == stored and not (white and order == ">") else either
    what = f"{bits} in {stored} bits, white is zero {white}, {order}"
    return make(lambda: decode_image(place / "film.tif"), shows(1 - grey if white else grey), what=what)


@generator("images", share=160)
def broken(rng: random.Random, place: Path) -> Case:
    """Files that were cut, bombs, slivers, several frames, headers that lie."""
    values = values_of(rng, 8)
    form = rng.choice(["cut png", "cut jpeg", "cut tiff", "bomb", "sliver", "frames", "checksum", "no end", "text",
    "empty",
                       "tiff offset", "tiff bits", "tiff loop", "svg", "eps", "folder", "rows missing",
                       "null"])  # fmt: skip
    image, file = Image.fromarray(values.astype(np.uint8)), place / "film.png"
    data = png_of(values[..., None], 8, GREY)
    stream = BytesIO()
    if form == "cut jpeg":
        image.save(stream, "JPEG")
    elif form == "frames":
        image.save(stream, "TIFF", save_all=True, append_images=[image] * 3)
    offset = rng.choice([0, 2**32 - 1, 2**31])
    data = {
        "cut png": lambda: data[: rng.randrange(9, len(data) - 12)],
        "cut jpeg": lambda: stream.getvalue()[: rng.randrange(3, len(stream.getvalue()) - 2)],
        "cut tiff": lambda: tiff_of(values, 8, white_is_zero=False, order="<", tags={})[:200],
        "bomb": lambda: data[:16] + struct.pack(">II", 10**5, 10**5) + data[24:29] + struct.pack(">I",
        zlib.crc32(b"IHDR" + struct.pack(">II", 10**5, 10**5) + data[24:29])) + data[33:],
        "sliver": lambda: png_of(values[:1, :, None], 8, GREY),
        "frames": stream.getvalue,
        "checksum": lambda: data[:50] + bytes([data[50] ^ 4]) + data[51:],
        "no end": lambda: data[:-12], "text": lambda: b"no film", "empty": lambda: b"", "folder": lambda: b"",
        "null": lambda: bytes(5000),
        "tiff offset": lambda: tiff_of(values, 8, white_is_zero=False, order="<", tags={273: (4, offset or 10**6)}),
        "tiff bits": lambda: tiff_of(values, 8, white_is_zero=False, order="<", tags={258: (3, rng.choice([0, 7,
        65535]))}),
        "tiff loop": lambda: tiff_of(values, 8, white_is_zero=False, order="<", tags={256: (4, 2**31)}),
        "svg": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "eps": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n",
        "rows missing": lambda: data[:33] + _chunk(b"IDAT", zlib.compress(bytes(50))) + _chunk(b"IEND", b""),
    }[form]()  # fmt: skip
    if form == "folder":
        file.mkdir()
    else:
        file.write_bytes(data)
    return refused(lambda: decode_image(file), what=form, where="film.png")


@generator("images", share=80)
def flipped(rng: random.Random, place: Path) -> Case:
    """A PNG knows by its checksums that a bit changed; whatever is read of it is the film as it was."""
    values = values_of(rng, 8)
    data = bytearray(png_of(values[..., None], 8, GREY))
    at = rng.randrange(8, len(data))
    data[at] ^= 1 << rng.randrange(8)
    (place / "film.png").write_bytes(data)
    return either(
        lambda: decode_image(place / "film.png"), shows(values / 255), what=f"bit flipped at {at}", where="film.png"
    )


@generator("images", share=30)
def text_of_a_png(rng: random.Random, place: Path) -> Case:
    """Texts, profiles and other chunks beside the film: it is the same film."""
    values, told = values_of(rng, 8), PngImagePlugin.PngInfo()
    told.add_text(rng.choice(["Title", "x" * 79]), rng.choice(["a\nb", "é", "x" * 5000, "<b>"]), zip=rng.random() < 0.3)
    Image.fromarray(values.astype(np.uint8)).save(
        place / "film.png", pnginfo=told, dpi=(rng.choice([0, 72, 10**6]),) * 2
    )
    return accepted(lambda: decode_image(place / "film.png"), shows(values / 255), what="texts beside the film")
