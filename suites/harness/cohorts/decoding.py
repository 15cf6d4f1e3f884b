"""What does a file show? Any common kind decoded to 2-D pixels of known range, or a reason why not.

A file that cannot be read with certainty is refused. A film decoded wrongly would be predicted, counted and believed.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError

from suites.harness.cohorts.cohort import Film
from suites.harness.cohorts.dicom_decoding import DICOM_SUFFIXES, dicom_pixels, is_dicom
from suites.harness.cohorts.file_damage import check_tiff, check_whole
from suites.harness.errors import CohortProblem, FilmUnreadable

# Only these decoders of Pillow are ever tried: others start programs (EPS) or have no business with radiographs.
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")
MAX_BYTES = 512 * 2**20
MAX_PIXELS = 64_000_000  # the largest chest detectors in use have about 18 million
MIN_SIDE = 16
MAX_ASPECT = 10.0  # resizing the short side of a sliver to network size would need gigabytes
BROKEN_SHARE_LIMIT = 0.05

_TIFF_BITS, _TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


def decode_image(path: Path | str) -> Film:
    """Return the film in a file.

    Ranges: 8-bit values are divided by 255, 16-bit by 65535, 12-bit TIFF by 4095, 1-bit is 0 or 1; floating point
    TIFF must already lie in [0, 1]. 16-bit data that fill only the lowest 12 bits are refused, because nobody can know
    whether they are dark or unscaled. Colour becomes grey by ITU-R BT.601 luma, rounded to 8 bits as Pillow does;
    16-bit colour is read with 8 bits. Transparent pixels lie on black. A white-is-zero TIFF is inverted. An EXIF
    orientation is honoured, so the film is decoded as a viewer shows it. DICOM: see `dicom_film`.

    A file that is cut short is refused, and so is one whose own structure says that it is damaged: every part of a PNG
    must fit its checksum and its rows be as many as its header tells, the parts of a JPEG must follow one another up to
    its end marker, the strips of a TIFF must lie in the file beside one another (see `file_damage`).
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
    path = Path(path)
    try:
        data = _bytes_of(path)
        if is_dicom(data) or path.suffix.lower() in DICOM_SUFFIXES:
            pixels = dicom_pixels(data, max_pixels=MAX_PIXELS)
        else:
            pixels = _image_pixels(data)
        _check_shape(*pixels.shape)
    except FilmUnreadable as problem:
        raise FilmUnreadable(problem.reason, file=printable(path.name)) from problem
    except Exception as problem:  # on hostile bytes a decoder may raise anything
        reason = f"cannot be decoded ({type(problem).__name__}: {printable(str(problem))[:200]})"
        raise FilmUnreadable(reason, file=printable(path.name)) from problem
    return Film(pixels=pixels, content=hashlib.sha256(data).hexdigest())


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


def printable(text: str) -> str:
    r"""Return untrusted text as one line that can be printed and stored: `\n`, `\udcff` stand for what cannot."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def _bytes_of(path: Path) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise FilmUnreadable("is a folder, not a film")
        if not stat.S_ISREG(status.st_mode):
            raise FilmUnreadable("is not a regular file")
        if status.st_size == 0:
            raise FilmUnreadable("is empty (0 bytes)")
        if status.st_size > MAX_BYTES:
            raise FilmUnreadable(f"has {status.st_size / 2**20:.0f} MiB; films up to {MAX_BYTES // 2**20} MiB are read")
        return path.read_bytes()
    except FileNotFoundError as problem:
        raise FilmUnreadable("no such file") from problem
    except (OSError, ValueError) as problem:  # ValueError: a null byte in the name
        raise FilmUnreadable(f"cannot be opened ({getattr(problem, 'strerror', None) or problem})") from problem


def _check_shape(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise FilmUnreadable(
            f"would unpack to {width} x {height} pixels (limit {MAX_PIXELS / 1e6:.0f} million): a decompression bomb?"
        )
    short, long = sorted((height, width))
    if short < MIN_SIDE or long > MAX_ASPECT * short:
        raise FilmUnreadable(
            f"is {width} x {height} pixels; a film has at least {MIN_SIDE} on each side "
            f"and is at most {MAX_ASPECT:.0f} times longer than wide"
        )


def _image_pixels(data: bytes) -> NDArray[np.float32]:
    # Another library may have told Pillow to fill what a truncated file lacks with grey; here it must fail.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    check_whole(data, _check_shape)
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as problem:
        raise FilmUnreadable(f"is not an image ({', '.join(FORMATS)} and DICOM are read)") from problem
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        raise FilmUnreadable(f"is a decompression bomb ({problem})") from problem
    with image:
        _check_shape(image.height, image.width)
        frames = int(getattr(image, "n_frames", 1))
        if frames > 1:
            raise FilmUnreadable(f"holds {frames} frames; save the one film as a file of its own")
        top, inverted = 65535.0, False
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            check_tiff(image, data)
            top, inverted = _tiff_range(image)
        try:
            image.load()
        except OSError as problem:
            raise FilmUnreadable(f"is truncated or damaged ({problem})") from problem
        pixels = _grey(image if not _turned(image) else ImageOps.exif_transpose(image), top)
    return np.asarray(1.0 - pixels if inverted else pixels, dtype=np.float32)


def _turned(image: Image.Image) -> bool:
    # Reading EXIF from a file without any costs as much as decoding a small film.
    return "exif" in image.info and image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)


def _tiff_range(image: TiffImagePlugin.TiffImageFile) -> tuple[float, bool]:
    """Return the largest value of more-than-8-bit data, and whether Pillow leaves white-is-zero to us."""
    bits = image.tag_v2.get(_TIFF_BITS, (1,))[0]
    deep = image.mode in _SIXTEEN_BIT or image.mode in ("I", "F")
    inverted = deep and image.tag_v2.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO
    return float(2 ** min(bits, 16) - 1), inverted


def _grey(image: Image.Image, top: float) -> NDArray[np.float32]:
    """Return (H, W) float32 in [0, 1] of a loaded image whose more-than-8-bit values reach up to `top`."""
    mode = image.mode
    if mode in _SIXTEEN_BIT or mode == "I":
        return _deep_grey(image, top)
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


def _deep_grey(image: Image.Image, top: float) -> NDArray[np.float32]:
    values = np.asarray(image).astype(np.int64)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > top:
        raise FilmUnreadable(f"holds integers {low} to {high}, outside 0..{top:.0f}; save it with 8 or 16 bits")
    if top == 65535 and 255 < high <= 4095:
        raise FilmUnreadable(
            f"is a 16-bit file whose brightest value is {high}: 12-bit data left unscaled; multiply them by 16"
        )
    if "transparency" in image.info:
        values = np.where(values == image.info["transparency"], 0, values)
    return (values / top).astype(np.float32)
