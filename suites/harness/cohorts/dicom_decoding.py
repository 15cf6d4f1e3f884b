"""What grey does a reader see of a DICOM film? From stored values to the monitor, after DICOM PS3.3 C.11.

The chain is stored value -> modality (rescale or LUT) -> values of interest (LUT, window, or a named rule) ->
inversion for MONOCHROME1. The arithmetic is ours because it decides every pixel; pydicom reads the file.
"""

from __future__ import annotations

import logging
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from suites.harness.cohorts.deep_pixels import LUMA
from suites.harness.cohorts.dicom_attributes import UNREADABLE, text, whole
from suites.harness.cohorts.dicom_compression import check_pixel_data
from suites.harness.cohorts.dicom_display import Modality, display_rule, displayed, padding_of, window_grey
from suites.harness.errors import FilmUnreadable

__all__ = [
    "DICOM_SUFFIXES", "HEADER_BYTES", "dicom_pixels", "display_rule", "is_deflated", "is_dicom", "read_header",
    "read_tags", "window_grey",
]  # fmt: skip

DICOM_SUFFIXES = (".dcm", ".dicom", ".dic", ".ima")
# Projection radiographs and secondary captures of them; a CT or MR slice is not a film.
MODALITIES = ("", "CR", "DX", "DR", "RG", "RF", "OT", "SC")
MOST_READS = 60_000
"""Of pieces of a header, two or three for each attribute; a film's has some hundreds of attributes."""

_ENDLESS = "has more data elements than any film; is it damaged? Export it anew from its archive"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
HEADER_BYTES = 4096
_FIRST_GROUPS, _LOOKED_AT, _MOST_AT_FIRST = (0x0002, 0x0008), 3, 1024
_ENCODINGS: tuple[tuple[Literal["little", "big"], bool], ...] = (("little", False), ("little", True), ("big", True))
_LONG_FORMS = (b"OB", b"OW", b"SQ", b"UN", b"UT")

# What cannot be decoded is told by our own reason; pydicom would print a traceback beside it.
logging.getLogger("pydicom.pixels.decoders.base").setLevel(logging.CRITICAL)


class _Counted:
    """A file that pydicom reads a data set from, until it has read more than any film holds."""

    def __init__(self, file: BinaryIO) -> None:
        self.reads, self.file = 0, file
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes.

        Raises:
            FilmUnreadable: too many reads, or the whole rest at once, which pydicom wants of deflated data only.
        """
        self.reads += 1
        if self.reads > MOST_READS:
            raise FilmUnreadable(_ENDLESS)
        if size < 0:
            raise FilmUnreadable("is deflated DICOM, which is not opened; export it uncompressed")
        return self.file.read(size)


def is_dicom(data: bytes) -> bool:
    """Return whether the bytes begin as a DICOM file does.

    That is 128 bytes of preamble, then DICM; or, as files of ACR-NEMA and those that were stored without, the first
    elements of a data set, in any of its encodings.
    """
    return _has_preamble(data) or any(
        _begins_with_elements(data, order, explicit=explicit) for order, explicit in _ENCODINGS
    )


def is_deflated(data: bytes) -> bool:
    """Return whether the header announces a deflated data set, which can expand without bound when it is opened."""
    return _DEFLATED in data[:HEADER_BYTES]


def read_header(data: bytes) -> pydicom.Dataset:
    """Return the data set without its pixels decoded.

    Where no transfer syntax is named, it is the one that the elements were found to be in.

    Raises:
        FilmUnreadable: not DICOM, deflated, or larger than any film's.
    """
    if is_deflated(data):
        raise FilmUnreadable("is deflated DICOM, which is not opened; export it uncompressed")
    file = _Counted(BytesIO(data))
    try:
        dataset = pydicom.dcmread(file, force=not _has_preamble(data))
    except (InvalidDicomError, *UNREADABLE) as problem:
        # Within a sequence pydicom makes an error of its own of ours.
        raise FilmUnreadable(
            _ENDLESS if file.reads > MOST_READS else f"is not a DICOM file ({problem}); remove it or copy it anew"
        ) from problem
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        plain = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = plain if little else ExplicitVRBigEndian
    return dataset


def read_tags(path: Path, tags: list[str]) -> pydicom.Dataset:
    """Return some attributes of a file, without its pixels.

    Raises:
        FilmUnreadable: it has more data elements than any film, or it is deflated.
        OSError: it cannot be opened.
    """
    with path.open("rb") as file:
        return pydicom.dcmread(_Counted(file), stop_before_pixels=True, force=True, specific_tags=tags)


def dicom_pixels(data: bytes, *, max_pixels: int) -> NDArray[np.float32]:
    """Return the film, (H, W) float32 in [0, 1], white is dense.

    Pixels that the file declares as padding are black. Colour captures become grey by ITU-R BT.601 luma.

    Raises:
        FilmUnreadable: no pixels, several frames, no decoder for the compression, not a projection radiograph, raw
            detector data, contradictory or unusable display attributes, truncated.
    """
    dataset = read_header(data)
    _refuse_what_is_no_film(dataset, max_pixels)
    check_pixel_data(dataset)
    stored = _stored_values(dataset)
    if stored.ndim == 3:
        return _luma(stored, whole(dataset, "BitsStored"))
    modality, padding = Modality(dataset), padding_of(stored, dataset)
    grey = displayed(stored, modality, dataset, padding)
    if text(dataset, "PhotometricInterpretation") == "MONOCHROME1":
        grey = np.float32(1) - grey
    if not float(np.ptp(grey)) >= 1 / 255:  # nor a film of NaN
        raise FilmUnreadable(f"shows no contrast by its {display_rule(dataset)}; check window and rescale")
    grey[padding] = 0.0
    return grey


def _has_preamble(data: bytes) -> bool:
    return data[128:132] == b"DICM"


def _begins_with_elements(data: bytes, order: Literal["little", "big"], *, explicit: bool) -> bool:
    """Return whether the bytes begin with elements of an early group, in ascending order and short, as headers do."""
    at, last = 0, 0
    for _ in range(_LOOKED_AT):
        group, element = (int.from_bytes(data[at + 2 * part : at + 2 * part + 2], order) for part in (0, 1))
        start, size = at + 4, 4
        if explicit:
            form = data[start : start + 2]
            if not (form.isalpha() and form.isupper()):
                return False
            start, size = (start + 4, 4) if form in _LONG_FORMS else (start + 2, 2)
        length = int.from_bytes(data[start : start + size], order)
        tag, at = group << 16 | element, start + size + length
        if group not in _FIRST_GROUPS or (last and tag <= last) or length > _MOST_AT_FIRST or at > len(data):
            return False
        last = tag
    return True


def _refuse_what_is_no_film(dataset: pydicom.Dataset, max_pixels: int) -> None:
    modality = text(dataset, "Modality")
    if modality not in MODALITIES:
        raise FilmUnreadable(f"has modality {modality[:16]}, which is no projection radiograph; remove it")
    if "PixelData" not in dataset:
        raise FilmUnreadable(
            "holds no pixels: a report, a directory, no DICOM at all, or cut short; remove it or copy it anew"
        )
    frames = whole(dataset, "NumberOfFrames", 1)
    if frames > 1:
        raise FilmUnreadable(f"holds {frames} frames; export the one film as a file of its own")
    rows, columns = whole(dataset, "Rows"), whole(dataset, "Columns")
    if rows * columns > max_pixels:
        raise FilmUnreadable(
            f"would unpack to {columns} x {rows} pixels (limit {max_pixels / 1e6:.0f} million); remove it"
        )
    _refuse_unknown_grey(dataset)
    _refuse_unknown_values(dataset)


def _refuse_unknown_grey(dataset: pydicom.Dataset) -> None:
    colour = text(dataset, "PhotometricInterpretation")
    samples = 1 if colour in ("MONOCHROME1", "MONOCHROME2") else 3
    if samples == 3 and colour != "RGB" and not colour.startswith("YBR_"):
        raise FilmUnreadable(f"has photometric interpretation {colour[:16] or 'missing'}; export it as MONOCHROME2")
    found = whole(dataset, "SamplesPerPixel", 1)
    if found != samples:
        raise FilmUnreadable(f"contradicts itself: {colour[:16]} with {found} samples per pixel; export it anew")
    if text(dataset, "PresentationIntentType") == "FOR PROCESSING":
        raise FilmUnreadable("holds raw detector values (FOR PROCESSING); export the image FOR PRESENTATION")
    shape = text(dataset, "PresentationLUTShape")
    if (colour, shape) == ("MONOCHROME2", "INVERSE"):
        raise FilmUnreadable(
            f"contradicts itself: {colour} with presentation LUT shape {shape}; "
            "is white dense or not? Correct one of them"
        )


def _refuse_unknown_values(dataset: pydicom.Dataset) -> None:
    allocated, stored = whole(dataset, "BitsAllocated"), whole(dataset, "BitsStored")
    high = whole(dataset, "HighBit", stored - 1)
    if not 1 <= stored <= high + 1 <= allocated <= 32:
        raise FilmUnreadable(
            f"contradicts itself: {stored} bits up to bit {high} of {allocated}; correct BitsStored and HighBit"
        )
    if whole(dataset, "PixelRepresentation") not in (0, 1):
        raise FilmUnreadable("has a PixelRepresentation that is neither 0 nor 1; export it anew")


def _stored_values(dataset: pydicom.Dataset) -> NDArray[Any]:
    """Return the stored values, (H, W), or (H, W, 3) of RGB."""
    syntax = dataset.file_meta.TransferSyntaxUID
    dataset.SamplesPerPixel = whole(dataset, "SamplesPerPixel", 1)  # files of ACR-NEMA may leave it out
    dataset.PhotometricInterpretation = text(dataset, "PhotometricInterpretation")
    lifted = _lifted(dataset)
    options: dict[str, Any] = {"correct_unused_bits": not lifted}
    try:
        stored, found = get_decoder(syntax).as_array(dataset, raw=False, **options)
    except (*UNREADABLE, RuntimeError) as problem:
        told = str(problem).rpartition("\n")[2].strip()
        raise FilmUnreadable(f"its pixels cannot be decoded ({told}); export it uncompressed") from problem
    colour, samples = str(found["photometric_interpretation"]), dataset.SamplesPerPixel
    if stored.shape != (dataset.Rows, dataset.Columns, 3)[: 2 if samples == 1 else 3]:
        raise FilmUnreadable("holds several frames and does not say so; export the one film as a file of its own")
    if samples == 3 and (colour != "RGB" or whole(dataset, "PixelRepresentation")):
        raise FilmUnreadable(f"has colours as {colour}, which are not read; export it as MONOCHROME2")
    return _lowered(stored, dataset) if lifted else stored


def _lifted(dataset: pydicom.Dataset) -> bool:
    """Return whether values lie above the lowest bits of their words; what is compressed as a picture is unpacked."""
    bits = whole(dataset, "BitsStored")
    return whole(dataset, "HighBit", bits - 1) != bits - 1 and (
        not dataset.file_meta.TransferSyntaxUID.is_encapsulated or dataset.file_meta.TransferSyntaxUID == RLELossless
    )


def _lowered(stored: NDArray[Any], dataset: pydicom.Dataset) -> NDArray[Any]:
    """Return the values that lie between other bits of their words (PS3.5 8.1.1)."""
    bits, high, size = (whole(dataset, key) for key in ("BitsStored", "HighBit", "BitsAllocated"))
    stored = stored.astype(stored.dtype.newbyteorder("="))
    words = stored.view(f"u{stored.dtype.itemsize}")
    if int(words.max()) < 2**bits and (words & (2 ** (high + 1 - bits) - 1)).any():
        raise FilmUnreadable(
            f"contradicts itself: its {bits} bits should end at bit {high} of {size}, and none lies above bit "
            f"{bits - 1}; correct HighBit"
        )
    return (stored << (size - 1 - high)) >> (size - bits)


def _luma(stored: NDArray[Any], bits: int) -> NDArray[np.float32]:
    grey = np.zeros(stored.shape[:2])
    for channel, weight in enumerate(LUMA):
        grey += stored[..., channel] * (weight / (2**bits - 1))
    return np.clip(grey, 0, 1).astype(np.float32)
