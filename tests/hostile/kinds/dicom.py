"""Are DICOM films shown as the standard says, whatever wrote them, or refused with the reason?

What is right is computed here from the stored values by the formulas of PS3.3 C.11, not by the code under test.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

from suites.harness.cohorts.cohort import Film
from suites.harness.cohorts.decoding import decode_image
from tests.hostile.case import Case, accepted, either, generator, refused

GREY = 1 / 255
"""As near as a film has to be: another grey level of 256 is another film."""


def stored(rng: random.Random, bits: int, signed: bool = False) -> np.ndarray:
    values = np.random.default_rng(rng.getrandbits(32)).integers(0, 2**bits, (24, 20))
    values = np.sort(values, axis=1)  # so that no two orders of bytes look alike
    return (values - 2 ** (bits - 1)).astype(np.int16) if signed else values.astype(np.uint16 if bits > 8 else np.uint8)


def radiograph(values: np.ndarray, bits: int, **tags: Any) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    film.SOPClassUID, film.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    film.Modality, film.PhotometricInterpretation, film.SamplesPerPixel = "DX", "MONOCHROME2", 1
    film.Rows, film.Columns = values.shape[:2]
    film.BitsAllocated, film.BitsStored, film.HighBit = values.dtype.itemsize * 8, bits, bits - 1
    film.PixelRepresentation = int(values.dtype.kind == "i")
    film.PixelData = values.tobytes()
    film["PixelData"].VR = "OW" if values.dtype.itemsize == 2 else "OB"
    for name, value in tags.items():
        setattr(film, name, value)
    return film


def shows(expected: np.ndarray) -> Callable[[Film], object]:
    def right(found: Film) -> object:
        if found.pixels.shape != expected.shape:
            return f"shape {found.pixels.shape}, not {expected.shape}"
        far = float(np.abs(found.pixels - expected).max())
        alike = np.corrcoef(found.pixels.ravel(), expected.ravel())[0, 1]
        return far < GREY or f"pixels differ by {far:.3f} (correlation {alike:.2f})"

    return right


def windowed(values: np.ndarray, centre: float, width: float) -> np.ndarray:
    """PS3.3 C.11.2.1.2.1."""
    return np.clip((values.astype(float) - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


SYNTAXES = {"implicit": ImplicitVRLittleEndian, "explicit": ExplicitVRLittleEndian, "big": ExplicitVRBigEndian}


def encoded(film: FileDataset, syntax: str) -> FileDataset:
    """Return the data set as it is written in an order of bytes, its pixels as well."""
    if syntax == "big" and film.BitsAllocated == 16:
        film.PixelData = np.frombuffer(film.PixelData, np.uint16).byteswap().tobytes()
    film.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    implicit, little = syntax == "implicit", syntax != "big"
    return FileDataset("", film, b"\0" * 128, film.file_meta, is_implicit_VR=implicit, is_little_endian=little)


@generator("dicom", share=170)
def windows(rng: random.Random, place: Path) -> Case:
    """Window, rescale, inversion, signs and byte orders, in every combination."""
    bits, signed, form = (
        rng.choice([8, 10, 12, 14, 16]),
        rng.random() < 0.3,
        rng.choice(["implicit", "explicit", "big", "rle"]),
    )
    values = stored(rng, bits, signed and bits > 8)
    slope, intercept = rng.choice([(1, 0), (2, -100), (0.5, 7)])
    middle = float(values.mean()) * slope + intercept
    centre, width = round(middle), rng.choice([2**bits // 2, 2**bits, 100])
    tags = {"WindowCenter": centre, "WindowWidth": width, "RescaleSlope": slope, "RescaleIntercept": intercept}
    if rng.random() < 0.2:
        tags |= {"WindowCenter": [centre, 3], "WindowWidth": [width, 5]}
    film = radiograph(values, bits, **tags)
    expected = windowed(values * float(slope) + intercept, centre, width)
    if rng.random() < 0.3:
        film.PhotometricInterpretation, expected = "MONOCHROME1", 1 - expected
    if form == "rle":
        film.compress(RLELossless)
    else:
        film = encoded(film, form)
    film.save_as(place / "film.dcm")
    what = f"{bits} bits, signed {signed}, {form}, slope {slope}, window {tags['WindowCenter']}/{tags['WindowWidth']}"
    return accepted(lambda: decode_image(place / "film.dcm"), shows(expected), what=what)


@generator("dicom", share=60)
def lookup_tables(rng: random.Random, place: Path) -> Case:
    """A VOI LUT; its entries are unsigned whatever the VR they are stored as (C.11.1.1)."""
    bits, entries, depth = rng.choice([10, 12]), rng.choice([1024, 3000, 4096]), rng.choice([8, 12, 16])
    values, first = stored(rng, bits), rng.choice([0, 200])
    curve = np.round(np.linspace(0, 1, entries) ** rng.choice([0.5, 2]) * (2**depth - 1)).astype(np.uint16)
    item, form = Dataset(), rng.choice(["US", "SS", "OW"])
    item.add_new(0x00283002, "US", [entries, first, depth])
    data: Any = (
        curve.astype("<u2").tobytes()
        if form == "OW"
        else [int(v) for v in (curve.view(np.int16) if form == "SS" else curve)]
    )
    item.add_new(0x00283006, form, data)
    film = radiograph(values, bits, VOILUTSequence=Sequence([item]))
    film.save_as(place / "film.dcm")
    expected = curve[np.clip(values.astype(int) - first, 0, entries - 1)] / (2.0**depth - 1)
    return accepted(
        lambda: decode_image(place / "film.dcm"), shows(expected), what=f"VOI LUT of {entries} x {depth} bits as {form}"
    )


@generator("dicom", share=30)
def a_table_without_data_beside_a_window(rng: random.Random, place: Path) -> Case:
    values, item = stored(rng, 12), Dataset()
    if rng.random() < 0.5:
        item.LUTExplanation = "none"
    film = radiograph(values, 12, WindowCenter=2000, WindowWidth=1000, VOILUTSequence=Sequence([item]))
    film.save_as(place / "film.dcm")
    return accepted(
        lambda: decode_image(place / "film.dcm"),
        shows(windowed(values, 2000, 1000)),
        what="an empty VOI LUT item, a window",
    )


def _headless(film: FileDataset, syntax: str) -> bytes:
    """Return the data set alone, without preamble and file meta, as archives of the nineties spread it."""
    stream = BytesIO()
    encoded(film, syntax).save_as(stream)
    data = stream.getvalue()
    return data[data.index(b"\x08\x00\x05\x00" if syntax != "big" else b"\x00\x08\x00\x05") :]


@generator("dicom", share=60)
def without_preamble(rng: random.Random, place: Path) -> Case:
    """No preamble, no transfer syntax, with and without a suffix: the order of bytes is seen in the data itself."""
    values, syntax = stored(rng, 12), rng.choice(["implicit", "explicit", "big"])
    film = radiograph(values, 12, WindowCenter=2000, WindowWidth=1500, SpecificCharacterSet="ISO_IR 100")
    file = place / rng.choice(["chest.dcm", "chest"])
    file.write_bytes(_headless(film, syntax))
    expected = shows(windowed(values, 2000, 1500))
    # Without a suffix only files whose first group tells what they are can be known.
    make = accepted if syntax != "big" or file.suffix else either
    return make(lambda: decode_image(file), expected, what=f"{syntax}, no preamble, {file.name}")


@generator("dicom", share=30)
def another_high_bit(rng: random.Random, place: Path) -> Case:
    """BitsStored 12 in the upper bits of 16: the stored value lies where HighBit says, or it is refused."""
    values = stored(rng, 12)
    film = radiograph((values << 4).astype(np.uint16), 12, WindowCenter=2000, WindowWidth=1500)
    film.HighBit = 15
    film.save_as(place / "film.dcm")
    return either(
        lambda: decode_image(place / "film.dcm"), shows(windowed(values, 2000, 1500)), what="HighBit 15 of 12 bits"
    )


@generator("dicom", share=160)
def broken(rng: random.Random, place: Path) -> Case:
    """Attributes that cannot be, and files that were cut."""
    values = stored(rng, 12)
    film = radiograph(values, 12, WindowCenter=2000, WindowWidth=1500)
    tags: dict[str, list[Any]] = {
        "Rows": [0, 65535, None], "Columns": [0, 65535], "BitsStored": [0, 13, 200], "BitsAllocated": [1, 8, 12, 64, 0],
        "SamplesPerPixel": [0, 2, 3, 200], "PixelRepresentation": [7], "NumberOfFrames": [2, 10**9],
        "PhotometricInterpretation": ["PALETTE COLOR", "RGB", "", "GREY"], "Modality": ["CT", "SR"],
        "PresentationIntentType": ["FOR PROCESSING"], "RescaleSlope": [0],
    }  # fmt: skip
    tag = rng.choice([*tags, "cut", "no pixels", "no rows", "random", "syntax"])
    value = rng.choice(tags.get(tag, [None]))
    if tag in tags:
        setattr(film, tag, value)
    elif tag in ("no pixels", "no rows"):
        del film["PixelData" if tag == "no pixels" else "Rows"]
    elif tag == "syntax":
        film.PixelData = encapsulate([film.PixelData])
        film["PixelData"].is_undefined_length = True
        film.file_meta.TransferSyntaxUID = rng.choice(
            ["1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.100"]
        )
    film.save_as(place / "film.dcm", implicit_vr=False, little_endian=True)
    data = (place / "film.dcm").read_bytes()
    if tag == "cut":
        data = data[: rng.randrange(1, len(data) - 1)]
    elif tag == "random":
        data = data[:132] + rng.randbytes(600)
    (place / "film.dcm").write_bytes(data)
    act, what = (lambda: decode_image(place / "film.dcm")), f"{tag} = {value}"
    if tag in ("BitsStored", "PhotometricInterpretation", "PixelRepresentation", "SamplesPerPixel"):
        return either(act, shows(windowed(values, 2000, 1500)), what=what, where="film.dcm")
    return refused(act, what=what, where="film.dcm")


@generator("dicom", share=60)
def fragments(rng: random.Random, place: Path) -> Case:
    """Compressed pixels whose fragments are cut, empty or of another size than they say."""
    values = stored(rng, 12)
    film = radiograph(values, 12, WindowCenter=2000, WindowWidth=1500)
    film.compress(RLELossless)
    good = bytes(film.PixelData)
    form = rng.choice(["cut", "no fragments", "a length too long", "an empty one", "segments", "jpeg"])
    data = {
        "cut": good[: rng.randrange(8, len(good) - 8)],
        "no fragments": b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0",
        "a length too long": good[:12] + struct.pack("<I", 2**31) + good[16:],
        "an empty one": b"\xfe\xff\x00\xe0\0\0\0\0" * 2 + b"\xfe\xff\xdd\xe0\0\0\0\0",
        "segments": encapsulate([struct.pack("<16I", 2, 64, 2**31, *[0] * 13) + b"\0" * 50]),
        "jpeg": encapsulate([b"\xff\xd8\xff\xc0" + rng.randbytes(100)]),
    }[form]  # fmt: skip
    if form == "jpeg":
        film.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    film.PixelData = data
    film["PixelData"].VR, film["PixelData"].is_undefined_length = "OB", True
    film.save_as(place / "film.dcm")
    return refused(lambda: decode_image(place / "film.dcm"), what=f"fragments: {form}", where="film.dcm")


@generator("dicom", share=60)
def flipped(rng: random.Random, place: Path) -> Case:
    """Bits that changed in the header: whatever comes of it, no traceback, and the film has its own shape."""
    values = stored(rng, 12)
    radiograph(values, 12, WindowCenter=2000, WindowWidth=1500).save_as(place / "film.dcm")
    data = bytearray((place / "film.dcm").read_bytes())
    for _ in range(rng.choice([1, 4])):
        data[rng.randrange(132, len(data) - values.nbytes)] ^= 1 << rng.randrange(8)
    (place / "film.dcm").write_bytes(data)
    return either(
        lambda: decode_image(place / "film.dcm"),
        lambda film: bool(0 <= film.pixels.min() <= film.pixels.max() <= 1),
        what="bits flipped in the header",
    )
