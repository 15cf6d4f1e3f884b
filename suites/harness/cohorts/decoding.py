"""What does a file show? Any common kind decoded to 2-D pixels of known range, or a reason why not.

A file that cannot be read with certainty is refused. A film decoded wrongly would be predicted, counted and believed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from suites.harness.cohorts.cohort import Film
from suites.harness.cohorts.deep_pixels import (
    GREY_MODES,
    deep_colour,
    deep_grey,
    holds_deep_colour,
    holds_signed_bytes,
    refuse_dim_colour,
    refuse_signed_jpeg2000,
    signed_bytes,
    told_by,
)
from suites.harness.cohorts.dicom_decoding import DICOM_SUFFIXES, dicom_pixels, is_dicom
from suites.harness.cohorts.file_damage import TIFF, check_tiff, check_whole
from suites.harness.errors import CohortProblem, FilmUnreadable, one_line, printable
from suites.harness.foreign_file import read_bytes
from suites.harness.process import LARGE, give_back, mapping

# Only these decoders of Pillow are ever tried: others start programs (EPS) or have no business with radiographs.
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")
MAX_BYTES = 512 * 2**20
MAX_PIXELS = 64_000_000  # the largest chest detectors in use have about 18 million
MIN_SIDE = 16
MAX_ASPECT = 10.0  # resizing the short side of a sliver to network size would need gigabytes
BROKEN_SHARE_LIMIT = 0.05

MAX_TEXT_VALUES = 32_000_000  # read one by one, a million in about a second

_TEXT_FORMS = (b"P1", b"P2", b"P3")
_TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_ORIENTATION = int(ExifTags.Base.Orientation)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXIF_TEXTS = ("Raw profile type exif", "Raw profile type APP1")
_EXIF_TEXT = re.compile(r"\s*\S+\s+(\d{1,9})\s+([0-9a-fA-F\s]*)")  # a name, a length, bytes
_MOST_NAME, _MOST_REASON, _MOST_TOLD = 80, 215, 140  # characters, the last of a decoder's own words in a reason


def decode_image(path: Path | str) -> Film:
    """Return the film in a file.

    Ranges: 8-bit values are divided by 255, 1-bit is 0 or 1; floating point TIFF must already lie in [0, 1]. Deeper
    values are divided by the largest that their bits can hold: as many bits as the file says it uses (BitsPerSample,
    sBIT, MaxSampleValue, ...), else the fewest of 8, 10, 12, 14 and 16 that hold its brightest value, and `Film.note`
    says so (see `deep_pixels`). Signed values have one bit less (white is 127, or at most 32767), and negative ones are
    refused. Colour becomes grey by ITU-R BT.601 luma, 8-bit colour rounded to 8 bits as Pillow does. Transparent pixels
    lie on black. A white-is-zero TIFF is inverted. An EXIF orientation is honoured, wherever in its file it stands, so
    the film is decoded as a viewer shows it. DICOM: see `dicom_pixels`.

    A file that is cut short is refused, and so is one whose own structure says that it is damaged: every part of a PNG
    must fit its checksum and its rows be as many as its header tells, the parts of a JPEG or JPEG 2000 must follow one
    another up to its end marker, the strips of a TIFF must lie in the file beside one another (see `file_damage`).
    The limit: the pixel data of JPEG, of TIFF that is not deflated, and of the other formats carry no checksum, so that
    bits that changed within them give other pixels, and nobody can tell. Compare checksums of the files where they may
    have suffered.

    Args:
        path: a JPEG, PNG, TIFF, BMP, GIF, WebP, PGM, JPEG 2000 or DICOM file, recognised by its content.

    Returns:
        The film, (H, W) float32 in [0, 1]; `content` is the sha256 of the file's bytes.

    Raises:
        FilmUnreadable: missing, empty, truncated, not an image, too large, several frames, or of unknown range.
    """
    with mapping(LARGE):
        film = _decoded(Path(path))
    if film.pixels.nbytes > LARGE:
        give_back()  # what decoding needed: kept, that of one film after the other would add up
    return film


def _decoded(path: Path) -> Film:
    note = ""
    try:
        data = _bytes_of(path)
        if is_dicom(data) or path.suffix.lower() in DICOM_SUFFIXES:
            pixels = dicom_pixels(data, max_pixels=MAX_PIXELS)
        else:
            pixels, note = _image_pixels(data)
        _check_shape(*pixels.shape)
    except FilmUnreadable as problem:
        raise FilmUnreadable(one_line(problem.reason, _MOST_REASON), file=one_line(path.name, _MOST_NAME)) from problem
    except Exception as problem:  # on hostile bytes a decoder may raise anything
        told = f"{type(problem).__name__}: {problem}"[:_MOST_TOLD]
        reason = f"cannot be decoded ({told}); copy it anew from its source"
        raise FilmUnreadable(one_line(reason, _MOST_REASON), file=one_line(path.name, _MOST_NAME)) from problem
    return Film(pixels=pixels, content=hashlib.sha256(data).hexdigest(), note=note)


def decode_mask(path: Path | str, shape: tuple[int, int]) -> tuple[NDArray[np.bool_], str]:
    """Return a mask (H, W) bool and the sha256 of its file; inside is above half of the file's brightest value.

    Raises:
        FilmUnreadable: as `decode_image`, or the mask has another shape than its film.
    """
    film = decode_image(path)
    if film.pixels.shape != shape:
        found, wanted = film.pixels.shape, shape
        reason = f"mask is {found[1]} x {found[0]} pixels, its film {wanted[1]} x {wanted[0]}; they must agree"
        raise FilmUnreadable(reason, file=printable(Path(path).name))
    brightest = float(film.pixels.max())
    return film.pixels > brightest / 2, film.content


def check_exclusions(excluded: pd.DataFrame | Sequence[tuple[str, str]], total: int) -> None:
    """Stop when too many films of a cohort were left out for its numbers to mean anything.

    Args:
        excluded: films left out, as (file, reason) pairs or a table with the columns `file` and `reason`.
        total: films of the cohort, the excluded ones included.

    Raises:
        CohortProblem: more than `BROKEN_SHARE_LIMIT` of the films were left out, or none is left.
    """
    if isinstance(excluded, pd.DataFrame):
        excluded = list(zip(excluded["file"].astype(str), excluded["reason"].astype(str), strict=True))
    count = len(excluded)
    if not count or (count <= BROKEN_SHARE_LIMIT * total and count < total):
        return
    first = "; ".join(f"{printable(file)} ({printable(reason)})" for file, reason in excluded[:3])
    raise CohortProblem(
        f"{count} of {total} films cannot be read (at most {100 * BROKEN_SHARE_LIMIT:.0f} % may be left out): "
        f"{first}{'; ...' if count > 3 else ''}. Repair or remove these files."
    )


def _bytes_of(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise FilmUnreadable("is a folder, not a film; name a file")
        if path.exists() and not path.is_file():
            raise FilmUnreadable("is not a regular file; name one that holds a film")
        data = read_bytes(path, MAX_BYTES)
    except FileNotFoundError as problem:
        raise FilmUnreadable("no such file (correct its name or its place)") from problem
    except OSError as problem:
        raise FilmUnreadable(f"cannot be opened ({problem.strerror or problem})") from problem
    except ValueError as problem:  # a null byte in the name, a device, a pipe, too large
        raise FilmUnreadable(f"cannot be opened: {problem}") from problem
    if not data:
        raise FilmUnreadable("is empty (0 bytes); copy it anew from its source")
    return data


def _check_shape(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise FilmUnreadable(
            f"would unpack to {width} x {height} pixels (limit {MAX_PIXELS / 1e6:.0f} million): a decompression bomb? "
            "Remove it, or make it smaller"
        )
    short, long = sorted((height, width))
    if short < MIN_SIDE or long > MAX_ASPECT * short:
        raise FilmUnreadable(
            f"is {width} x {height} pixels; a film has at least {MIN_SIDE} on each side "
            f"and is at most {MAX_ASPECT:.0f} times longer than wide"
        )


def _image_pixels(data: bytes) -> tuple[NDArray[np.float32], str]:
    """Return the film of a file that is no DICOM, and what a reader must know of how it was read."""
    # Another library may have told Pillow to fill what a truncated file lacks with grey; here it must fail.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    check_whole(data, _check_shape)
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as problem:
        if data.startswith(TIFF):
            raise FilmUnreadable(
                "is damaged, or a TIFF of a kind that is not read; save it as 16-bit grey"
            ) from problem
        raise FilmUnreadable(
            f"is not an image ({', '.join(FORMATS)} and DICOM are read); convert or remove it"
        ) from problem
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        claimed = re.search(r"\((\d+) pixels\)", str(problem))
        number = f"{int(claimed[1]):,}" if claimed else "far too many"
        raise FilmUnreadable(
            f"its header claims {number} pixels, and at most {MAX_PIXELS / 1e6:.0f} million are read: damaged, or no "
            "film? Copy it anew, or remove it"
        ) from problem
    with image:
        _check_shape(image.height, image.width)
        if _holds_frames(image, data):
            raise FilmUnreadable("holds 2 frames or more; save the one film as a file of its own")
        if data[:2] in _TEXT_FORMS and image.width * image.height * len(image.getbands()) > MAX_TEXT_VALUES:
            raise FilmUnreadable("is a PNM of very many values as text; save it in its binary form")
        inverted, turn = False, 1
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            check_tiff(image, data)
            turn = _known_turn(image.tag_v2.get(_ORIENTATION))  # Pillow turns it when it loads, and forgets the tag
            deep = image.mode in GREY_MODES or image.mode == "F"  # the others Pillow inverts itself
            inverted = deep and image.tag_v2.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO
        try:
            image.load()
        except OSError as problem:
            raise FilmUnreadable(f"is truncated or damaged ({problem}); copy it anew") from problem
        if not isinstance(image, TiffImagePlugin.TiffImageFile):
            turn = _orientation(image)  # that of a PNG may stand behind its pixels
        pixels, note = _shown(image, data, turn)
    return np.asarray(1.0 - pixels if inverted else pixels, dtype=np.float32), note


def _holds_frames(image: Image.Image, data: bytes) -> bool:
    if image.format not in ("TIFF", "GIF"):
        return int(getattr(image, "n_frames", 1)) > 1
    # These would be counted to their end, which a hostile file puts very far.
    with Image.open(BytesIO(data), formats=FORMATS) as again:
        try:
            again.seek(1)
        except EOFError:
            return False
    return True


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8, of a loaded image that is no TIFF."""
    if "exif" not in image.info:  # reading EXIF from a file without any costs as much as decoding a small film
        profile = _exif_of_text(image)
        if profile is None:
            return 1
        image.info["exif"] = profile
    return _known_turn(image.getexif().get(_ORIENTATION))


def _exif_of_text(image: Image.Image) -> bytes | None:
    """Return the EXIF that a PNG holds as text, as ImageMagick and ExifTool write it; `None` without one.

    Raises:
        FilmUnreadable: the text is damaged, so which side is up is unknown.
    """
    for key in _EXIF_TEXTS:
        text = image.info.get(key)
        found = _EXIF_TEXT.fullmatch(text) if isinstance(text, str) else None
        digits = "".join(found[2].split()) if found is not None else ""
        if found is not None and len(digits) == 2 * int(found[1]):
            profile = bytes.fromhex(digits)
            if key == _EXIF_TEXTS[0] or profile.startswith(b"Exif\0\0"):  # APP1 may be XMP as well
                return profile
        elif text is not None:
            raise FilmUnreadable(f"has a damaged text {key!r}, which may tell how it is turned; save it without")
    return None


def _known_turn(found: object) -> int:
    return next((turn for turn in _TURNS if turn == found), 1)


def _shown(image: Image.Image, data: bytes, turn: int) -> tuple[NDArray[np.float32], str]:
    """Return a loaded image as a viewer shows it, (H, W) float32 in [0, 1], and the note on its depth."""
    refuse_signed_jpeg2000(image, data)
    upright = image
    if turn > 1 and not isinstance(image, TiffImagePlugin.TiffImageFile):  # which Pillow has turned
        upright = image.transpose(_TURNS[turn])
    if image.mode in GREY_MODES:
        return deep_grey(upright, told_by(image, data))
    if holds_deep_colour(image, data):
        return deep_colour(upright, data, told_by(image, data), (turn, 1))
    if holds_signed_bytes(image):
        return signed_bytes(image), ""
    refuse_dim_colour(image, data)
    return _grey(upright), ""


def _grey(image: Image.Image) -> NDArray[np.float32]:
    """Return (H, W) float32 in [0, 1] of a loaded image of 8 bits, or of floating point."""
    mode = image.mode
    if mode == "F":
        pixels = np.asarray(image, dtype=np.float32)
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0 and high <= 1):  # also catches NaN
            raise FilmUnreadable(f"holds floating point values {low:g} to {high:g}; scale them to 0..1")
        return pixels
    if image.has_transparency_data:
        layered = image.convert("LA" if mode in ("1", "L", "LA", "La") else "RGBA")
        alpha = np.asarray(layered.getchannel("A"), dtype=np.float32) / 255
        return np.asarray(np.asarray(layered.convert("L"), dtype=np.float32) / 255 * alpha)
    if mode == "P":
        image = image.convert("RGB")
    elif mode not in ("1", "L", "RGB", "RGBX", "YCbCr", "LA", "RGBA"):
        raise FilmUnreadable(f"has colour mode {mode}; save it as grey or RGB")
    return np.asarray(np.asarray(image.convert("L"), dtype=np.float32) / 255)
