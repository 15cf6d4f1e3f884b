"""How bright is a value of more than 8 bits? By what its file says of its bits, else by the fewest that hold them all.

Detectors give 10, 12 or 14 bits, and files have room for 16. What was stored as it came is a film of a sixteenth of its
brightness to whoever divides by 65535, in grey and in colour alike.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from suites.harness.cohorts.file_damage import JPEG2000, PNG, png_parts
from suites.harness.errors import FilmUnreadable

TOP = 65535
DEPTHS = (8, 10, 12, 14, 16)
"""In bits: of displays, and of detectors as they are built; 15 is none of them, so a dark 16-bit film stays one."""
SIGNED_TOP = 32767
"""Of signed 16-bit values. A film that reaches just this far was signed before it was stored: no other does, but by
chance, and one that is darker cannot be told from a dark film of 16 bits."""
LUMA = (0.299, 0.587, 0.114)
"""Of red, green and blue (ITU-R BT.601)."""

_ROWS = 256
GREY_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_BITS, _MAX_VALUE, _SAMPLE_FORMAT, _MAX_VALUE_ANY = 258, 281, 339, 341
_SIGNED = 2
_BITS_TEXTS = ("significantbits", "sbit", "bitsstored")
_TOP_TEXTS = ("maxsamplevalue", "smaxsamplevalue", "maxvalue", "maxval")
_PNG_GREY_ALPHA, _PNG_COLOURS = 4, (2, 4, 6)
_PNM_COLOURS = (b"P3", b"P6")
_PNM_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"  # white space and comments
_PNM_HEAD = re.compile(rb"P[2356]" + 3 * (_PNM_GAP + rb"(\d+)") + rb"\s")


@dataclass(frozen=True)
class Told:
    """What does a file say of its values?

    Attributes:
        white: the largest that its bits can hold; `None` where it names none.
        most: the largest that is there. A file with larger ones contradicts itself, and its white is not believed.
        room: the largest that it could store, half as much where its values are signed.
    """

    white: int | None = None
    most: int = TOP
    room: int = TOP

    def scale(self, brightest: int) -> tuple[int, str]:
        """Return `scale_of` the film's brightest value."""
        return scale_of(brightest, self.white if brightest <= self.most else None, self.room)


def scale_of(brightest: int, told: int | None, room: int = TOP) -> tuple[int, str]:
    """Return the value that is white, and a note where it was found by the range of the film's values alone.

    Args:
        brightest: value of the film, 0 to `room`.
        told: the white that the file names; `None` where it names none. A film with values above it was scaled to 16
            bits when it was stored, as PNG demands of what its sBIT tells of.
        room: the largest value that the file could store, 65535 or, of signed values, 32767.
    """
    if told is not None:
        return (told if brightest <= told else room), ""
    top = SIGNED_TOP if brightest == SIGNED_TOP else next(2**bits - 1 for bits in DEPTHS if brightest < 2**bits)
    if top >= room or not brightest:
        return room, ""
    return top, (
        f"16-bit values are read as {top.bit_length()}-bit ones (0 to {top}), because they reach no higher and the "
        "file does not say, or not in accord with them, how many bits it uses"
    )


def told_by(image: Image.Image, data: bytes) -> Told:
    """Return what a file says of the largest value that it may hold.

    Of a PNG: sBIT, or a text SignificantBits, BitsStored or MaxSampleValue. Of a TIFF: BitsPerSample below 16,
    MaxSampleValue, SMaxSampleValue, and whether its values are signed. Of a JPEG 2000: its precision. Of PGM and PPM:
    the largest value of their header, by which Pillow has scaled grey already. A largest value that is all that can be
    stored says nothing: programs write it whatever the film, OpenCV always.

    Args:
        image: loaded.
        data: of its file.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _told_by_tiff(image)
    if data.startswith(PNG):
        return _told_by_png(image, data)
    start = data.find(JPEG2000)
    if image.format == "JPEG2000" and start >= 0:
        bits = (data[start + 42] & 0x7F) + 1
        return Told((2**bits - 1) << (16 - bits) if bits < 16 else None)  # Pillow shifts up what is less
    if image.format == "PPM":
        largest, _ = _pnm_head(data)
        return Told() if largest == TOP else Told(largest if image.mode == "RGB" else TOP)
    return Told()


def deep_grey(image: Image.Image, told: Told) -> tuple[NDArray[np.float32], str]:
    """Return (H, W) float32 in [0, 1] of a loaded image in one of `GREY_MODES`, and the note of `scale_of`.

    Raises:
        FilmUnreadable: values below 0 or above 65535.
    """
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > TOP:
        raise FilmUnreadable(f"holds integers {low} to {high}, outside 0..{TOP}; save it with 8 or 16 bits")
    top, note = told.scale(high)
    pixels = values.astype(np.float32) / np.float32(top)
    if "transparency" in image.info:
        pixels[values == image.info["transparency"]] = 0
    return pixels, note


def holds_signed_bytes(image: Image.Image) -> bool:
    """Return whether a file holds signed 8-bit grey, which Pillow reads as if it were unsigned."""
    if image.mode != "L" or not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    return _is_signed(image)


def signed_bytes(image: Image.Image) -> NDArray[np.float32]:
    """Return (H, W) float32 in [0, 1] of a loaded image that `holds_signed_bytes`, of which 127 is white.

    Raises:
        FilmUnreadable: values below 0.
    """
    values = np.asarray(image).view(np.int8)
    low, high = int(values.min()), int(values.max())
    if low < 0:
        raise FilmUnreadable(f"holds signed integers {low} to {high}, outside 0..127; save it with unsigned values")
    return values.astype(np.float32) / np.float32(127)


def holds_deep_colour(image: Image.Image, data: bytes) -> bool:
    """Return whether a file holds 16-bit grey with transparency, or 16-bit colour, of which Pillow reads 8 bits."""
    if image.format == "PPM":
        return data[:2] in _PNM_COLOURS and _pnm_head(data)[0] > 255
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(_BITS, (1,))
        return len(bits) > 1 and max(bits) > 8
    return data.startswith(PNG) and data[24] == 16 and data[25] in _PNG_COLOURS


def deep_colour(image: Image.Image, data: bytes, told: Told, turns: tuple[int, ...]) -> tuple[NDArray[np.float32], str]:
    """Return the grey of a file that `holds_deep_colour`, (H, W) float32 in [0, 1], and the note of `scale_of`.

    Colour becomes grey by its luma; what is transparent lies on black. OpenCV reads the values (those of PPM are read
    here), and the upper half of each has to be what Pillow reads.

    Args:
        image: as Pillow reads it, turned as a viewer shows it.
        data: of its file.
        told: of `told_by`.
        turns: the EXIF orientations that may have to be undone in what OpenCV reads.

    Raises:
        FilmUnreadable: the two do not agree, or OpenCV reads nothing.
    """
    shown = np.asarray(image.convert("RGBA") if image.mode in ("LA", "La", "RGBa") else image)
    if image.format == "PPM":
        values = _pnm_colours(data, shown)
    else:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        values = next((deep for turn in turns if (deep := _as_shown(found, turn, shown)) is not None), None)
    if values is None:
        raise FilmUnreadable("has 16-bit colours in a form that is not read with certainty; save it as 16-bit grey")
    top, note = told.scale(int(values[..., :3].max()))
    hidden = image.info.get("transparency") if shown.shape[2] == 3 else None
    alpha_top = None
    if shown.shape[2] == 4 and values.shape[2] == 4 and image.mode != "RGBX":
        alpha_top = top if int(values[..., 3].max()) <= top else TOP
    grey = np.empty(values.shape[:2], np.float32)
    for rows in _bands(values):
        blue, green, red = (values[rows, :, channel] for channel in range(3))
        light = LUMA[0] / top * red + LUMA[1] / top * green + LUMA[2] / top * blue
        if alpha_top is not None:
            light *= values[rows, :, 3] / alpha_top
        elif hidden is not None:
            light[(red == hidden[0]) & (green == hidden[1]) & (blue == hidden[2])] = 0
        grey[rows] = np.clip(light, 0, 1)
    return grey, note


def refuse_signed_jpeg2000(image: Image.Image, data: bytes) -> None:
    """Refuse a JPEG 2000 of signed values, of which Pillow makes the smallest negative one black and 0 half grey.

    Raises:
        FilmUnreadable: it is one.
    """
    start = data.find(JPEG2000)
    if image.format == "JPEG2000" and start >= 0 and data[start + 42] & 0x80:
        raise FilmUnreadable("is a JPEG 2000 of signed values; save it with unsigned ones")


def refuse_dim_colour(image: Image.Image, data: bytes) -> None:
    """Refuse a JPEG 2000 of 16-bit colour that may use fewer of its bits: Pillow reads the upper eight alone.

    Raises:
        FilmUnreadable: none of its values reaches above 14 bits.
    """
    if image.format != "JPEG2000" or image.mode in GREY_MODES or told_by(image, data).white is not None:
        return
    if max(int(np.asarray(image.getchannel(band)).max()) for band in image.getbands() if band != "A") < 2**6:
        raise FilmUnreadable("is a JPEG 2000 of 16-bit colour that uses few of its bits; save it as 16-bit grey")


def turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return an image (H, W, ...) as a viewer shows it that heeds its EXIF orientation, 1 to 8."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


def _bands(pixels: NDArray[Any]) -> list[slice]:
    """Return the rows of an image in parts, so that what is computed of one is small beside it."""
    return [slice(first, first + _ROWS) for first in range(0, len(pixels), _ROWS)]


def _as_shown(found: NDArray[Any] | None, turn: int, shown: NDArray[Any]) -> NDArray[np.uint16] | None:
    """Return what OpenCV reads, (H, W, 3 or 4) in its order BGR or BGRA; `None` where it is not what Pillow shows."""
    if found is None or found.dtype != np.uint16 or found.ndim != 3 or found.shape[2] not in (3, 4):
        return None
    values = turned(found, turn)
    if values.shape[:2] != shown.shape[:2]:
        return None
    pairs = list(zip((2, 1, 0, 3)[: values.shape[2]], range(shown.shape[2]), strict=False))
    for rows in _bands(values):
        if any((values[rows, :, theirs] >> 8 != shown[rows, :, ours]).any() for theirs, ours in pairs):
            return None
    return values


def _pnm_head(data: bytes) -> tuple[int, int]:
    """Return the largest value that the header of a PGM or PPM names, and where its values begin; 0, 0 without one."""
    head = _PNM_HEAD.match(data)
    return (int(head[3]), head.end()) if head is not None else (0, 0)


def _pnm_colours(data: bytes, shown: NDArray[Any]) -> NDArray[np.uint16] | None:
    """Return the values of a 16-bit PPM, (H, W, 3) as BGR; `None` where they are not what Pillow shows in 8 bits."""
    largest, start = _pnm_head(data)
    if data.startswith(b"P6"):
        stored = np.frombuffer(data, ">u2", count=shown.size, offset=start)
    else:
        text = re.sub(rb"#[^\r\n]*", b"", data[start:])
        stored = np.fromstring(text.decode("latin-1"), np.uint16, count=shown.size, sep=" ")
    values: NDArray[np.uint16] = np.minimum(stored, largest).astype(np.uint16).reshape(shown.shape)
    for rows in _bands(values):
        if (np.abs(values[rows] * (255 / largest) - shown[rows]) > 0.51).any():
            return None
    return np.flip(values, 2)


def _is_signed(image: TiffImagePlugin.TiffImageFile) -> bool:
    return _SIGNED in image.tag_v2.get(_SAMPLE_FORMAT, ())


def _told_by_tiff(image: TiffImagePlugin.TiffImageFile) -> Told:
    bits = max(image.tag_v2.get(_BITS, (1,)))
    used = bits - _is_signed(image)
    if bits < 16:
        return Told(int(2**used - 1))
    room = min(int(2**used - 1), TOP)
    for tag in (_MAX_VALUE, _MAX_VALUE_ANY):
        value = image.tag_v2.get(tag)
        told = _told_by_largest(max(value) if isinstance(value, tuple) and value else value, room)
        if told is not None:
            return told
    return Told(room=room)


def _told_by_png(image: Image.Image, data: bytes) -> Told:
    colours = 1 if data[25] in (0, _PNG_GREY_ALPHA) else 3
    for kind, body, _ in png_parts(data):
        if kind == b"sBIT" and len(body) >= colours and 0 < max(body[:colours]) <= 16:
            return Told(int(2 ** max(body[:colours]) - 1))
        if kind == b"IDAT":
            break
    texts = {"".join(filter(str.isalpha, key)).lower(): value for key, value in getattr(image, "text", {}).items()}
    for key in _BITS_TEXTS:
        if str(texts.get(key, "")).strip() in map(str, range(1, 17)):
            return Told(int(2 ** int(texts[key]) - 1))
    found = (_told_by_largest(texts.get(key), TOP) for key in _TOP_TEXTS)
    return next((told for told in found if told is not None), Told())


def _told_by_largest(value: object, room: int) -> Told | None:
    """Return the largest number of as many bits as a value has, which may be the largest one that occurs.

    `None` where the value says nothing: it is no number, or all that there is room for.
    """
    try:
        found = int(float(str(value)[:32]))
    except (ValueError, OverflowError):
        return None
    return Told(int(2 ** found.bit_length() - 1), most=found, room=room) if 0 < found < room else None
