"""Files of films of every kind that is read, made here, to be damaged by the tests."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from io import BytesIO

import cv2
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

ROWS, COLUMNS = 40, 32
STORED = np.random.default_rng(0).integers(0, 4096, (ROWS, COLUMNS), dtype=np.uint16)
SMOOTH = np.add.outer(np.arange(ROWS) * 3, np.arange(COLUMNS) * 4).astype(np.uint8)


def radiograph(stored: np.ndarray = STORED, *, bits: int = 12, **tags: object) -> FileDataset:
    """A film as a detector stores it, uncompressed; further attributes by their keywords."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["film"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    film.SOPClassUID, film.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    film.Modality, film.PhotometricInterpretation, film.SamplesPerPixel = "DX", "MONOCHROME2", 1
    film.Rows, film.Columns = stored.shape[:2]
    film.BitsAllocated = stored.dtype.itemsize * 8
    film.BitsStored, film.HighBit, film.PixelRepresentation = bits, bits - 1, int(stored.dtype.kind == "i")
    film.PixelData = stored.tobytes()
    film["PixelData"].VR = "OW" if stored.dtype.itemsize == 2 else "OB"
    for name, value in tags.items():
        setattr(film, name, value)
    return film


def lut(data: np.ndarray, first: int, bits: int) -> Sequence:
    """A sequence of one lookup table."""
    item = Dataset()
    item.LUTDescriptor = [len(data), first, bits]
    item.LUTData = [int(value) for value in data]
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    return Sequence([item])


def stored_bytes(film: FileDataset) -> bytes:
    """The film's file."""
    buffer = BytesIO()
    film.save_as(buffer)
    return buffer.getvalue()


def bare(film: FileDataset, syntax: UID) -> bytes:
    """A data set as older archives hold it: neither a preamble nor the name of its encoding."""
    buffer = BytesIO()
    alone = Dataset(deepcopy(film))
    if not syntax.is_little_endian:
        alone.PixelData = np.frombuffer(film.PixelData, "<u2").astype(">u2").tobytes()
    pydicom.dcmwrite(
        buffer, alone, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian,
        enforce_file_format=False,
    )  # fmt: skip
    return buffer.getvalue()


def compressed(stream: bytes, syntax: UID, stored: np.ndarray, *, bits: int, fragments: int = 1) -> bytes:
    """The file of a film whose pixels are a compressed stream, in one or several fragments."""
    film = radiograph(stored, bits=bits)
    film.file_meta.TransferSyntaxUID = syntax
    film.PixelData = encapsulate([stream], fragments_per_frame=fragments)
    film["PixelData"].VR = "OB"
    film["PixelData"].is_undefined_length = True
    return stored_bytes(film)


def run_length_encoded() -> bytes:
    film = radiograph(WindowCenter=2048, WindowWidth=4096)
    film.compress(RLELossless, generate_instance_uid=False)
    return stored_bytes(film)


def deflated(film: FileDataset, *, filling: int = 0) -> bytes:
    """A deflated data set; its meta information may be filled up, so that the name of its encoding comes late."""
    whole = stored_bytes(film)
    body = bare(film, ExplicitVRLittleEndian)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2"
    if filling:
        meta.FileMetaInformationVersion = b"\0" * filling
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    buffer = pydicom.filebase.DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    pydicom.filewriter.write_file_meta_info(buffer, meta, enforce_standard=False)
    packer = zlib.compressobj(wbits=-15)
    return whole[:132] + buffer.getvalue() + packer.compress(body) + packer.flush()


def picture(kind: str, pixels: np.ndarray = SMOOTH, **options: object) -> bytes:
    """A picture as Pillow writes it."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def deep_colour(suffix: str) -> bytes:
    """A picture of 16-bit colour, which Pillow does not write."""
    done, found = cv2.imencode(suffix, np.dstack([STORED, STORED[::-1], STORED[:, ::-1]]))
    assert done
    return found.tobytes()


WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}
KINDS: dict[str, Callable[[], bytes]] = {
    "png": lambda: picture("PNG"),
    "png, 16 bits": lambda: picture("PNG", STORED),
    "png, 16-bit colour": lambda: deep_colour(".png"),
    "jpeg": lambda: picture("JPEG"),
    "jpeg, progressive": lambda: picture("JPEG", progressive=True),
    "jpeg 2000": lambda: picture("JPEG2000"),
    "jpeg 2000, bare": lambda: picture("JPEG2000", STORED, no_jp2=True),
    "tiff": lambda: picture("TIFF", STORED),
    "tiff, deflated": lambda: picture("TIFF", compression="tiff_adobe_deflate"),
    "tiff, LZW": lambda: picture("TIFF", STORED, compression="tiff_lzw"),
    "tiff, 16-bit colour": lambda: deep_colour(".tiff"),
    "gif": lambda: picture("GIF"),
    "bmp": lambda: picture("BMP"),
    "webp": lambda: picture("WEBP"),
    "pgm": lambda: picture("PPM"),
    "dicom": lambda: stored_bytes(radiograph(**WINDOW)),
    "dicom with a lookup table": lambda: stored_bytes(
        radiograph(VOILUTSequence=lut(np.arange(4096) ** 2 // 4096, 0, 12))
    ),
    "dicom with padding": lambda: stored_bytes(radiograph(PixelPaddingValue=0, RescaleSlope=-1, RescaleIntercept=4095)),
    "dicom, bare": lambda: bare(radiograph(**WINDOW), ImplicitVRLittleEndian),
    "dicom, bare and big-endian": lambda: bare(radiograph(**WINDOW), ExplicitVRBigEndian),
    "dicom of RLE": run_length_encoded,
    "dicom of JPEG": lambda: compressed(picture("JPEG"), JPEGBaseline8Bit, SMOOTH, bits=8),
    "dicom of JPEG in fragments": lambda: compressed(picture("JPEG"), JPEGBaseline8Bit, SMOOTH, bits=8, fragments=4),
    "dicom of JPEG 2000 in fragments": lambda: compressed(
        picture("JPEG2000", STORED, no_jp2=True), JPEG2000Lossless, STORED, bits=16, fragments=3
    ),
    "dicom of JPEG-LS": lambda: compressed(
        b"\xff\xd8\xff\xf7\0\x0b\x08\0\x28\0\x20\1\1\x11\0\xff\xda\0\x08\1\1\0\0\0\0" + b"\0" * 60 + b"\xff\xd9",
        JPEGLSLossless, SMOOTH, bits=8,
    ),
    "dicom, deflated": lambda: deflated(radiograph(**WINDOW)),
}  # fmt: skip
"""One small file of each kind, by its name."""


@cache
def file_of(kind: str) -> bytes:
    """The bytes of a sound file of a kind."""
    return KINDS[kind]()
