"""What grey does a reader see of a DICOM film? From stored values to the monitor, after DICOM PS3.3 C.11.

The chain is stored value -> modality (rescale or LUT) -> values of interest (LUT, window, or a named rule) ->
inversion for MONOCHROME1. The arithmetic is ours because it decides every pixel; pydicom reads the file.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, Literal

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ImplicitVRLittleEndian

from suites.harness.errors import FilmUnreadable

DICOM_SUFFIXES = (".dcm", ".dicom", ".dic", ".ima")
PERCENTILES = (0.5, 99.5)
# Projection radiographs and secondary captures of them; a CT or MR slice is not a film.
MODALITIES = ("", "CR", "DX", "DR", "RG", "RF", "OT", "SC")

DisplayRule = Literal["VOI LUT", "window", "full range", "percentiles 0.5 to 99.5"]

_DEFLATED = b"1.2.840.10008.1.2.1.99"
HEADER_BYTES = 4096


def is_dicom(data: bytes) -> bool:
    """Return whether the bytes begin as a DICOM file does (128 bytes of preamble, then DICM)."""
    return data[128:132] == b"DICM"


def is_deflated(data: bytes) -> bool:
    """Return whether the header announces a deflated data set, which can expand without bound when it is opened."""
    return _DEFLATED in data[:HEADER_BYTES]


def read_header(data: bytes) -> pydicom.Dataset:
    """Return the data set without its pixels decoded.

    Raises:
        FilmUnreadable: not DICOM, or deflated.
    """
    if is_deflated(data):
        raise FilmUnreadable("is deflated DICOM, which is not opened; export it uncompressed")
    try:
        dataset = pydicom.dcmread(BytesIO(data), force=not is_dicom(data))
    except (InvalidDicomError, EOFError) as problem:
        raise FilmUnreadable(f"is not a DICOM file ({problem})") from problem
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return dataset


def display_rule(dataset: pydicom.Dataset) -> DisplayRule:
    """Return how stored values become grey: what the file says, else a rule of ours.

    A VOI LUT goes before a window, and the first of several is taken. Without either, 8-bit values are shown over
    their full range (they are display values already), deeper ones between their percentiles 0.5 and 99.5.
    """
    if dataset.get("VOILUTSequence"):
        return "VOI LUT"
    if _window(dataset) is not None:
        return "window"
    return "full range" if int(dataset.get("BitsStored", 16)) <= 8 else "percentiles 0.5 to 99.5"


def dicom_pixels(data: bytes, *, max_pixels: int) -> NDArray[np.float32]:
    """Return the film, (H, W) float32 in [0, 1], white is dense.

    Pixels that the file declares as padding are black. Colour captures become grey by ITU-R BT.601 luma.

    Raises:
        FilmUnreadable: no pixels, several frames, no decoder for the compression, not a projection radiograph, raw
            detector data, contradictory or unusable display attributes, truncated.
    """
    dataset = read_header(data)
    _refuse_what_is_no_film(dataset, max_pixels)
    try:
        stored = pixel_array(dataset, raw=False)
    except (ValueError, EOFError, RuntimeError, AttributeError) as problem:
        raise FilmUnreadable(f"its pixels are truncated or damaged ({problem})") from problem
    if stored.ndim == 3:
        return _luma(stored, int(dataset.BitsStored))
    values = _rescaled(stored, dataset)
    padding = _padding(stored, dataset)
    grey = _displayed(values, dataset, values[~padding] if not padding.all() else values)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 1.0 - grey
    if float(np.ptp(grey)) < 1 / 255:
        raise FilmUnreadable(f"shows no contrast by its {display_rule(dataset)}; check window and rescale")
    grey[padding] = 0.0
    return grey.astype(np.float32)


def window_grey(values: NDArray[np.float64], centre: float, width: float, function: str) -> NDArray[np.float64]:
    """Return windowed values in [0, 1], DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3.

    Args:
        values: any shape, after the modality transform.
        centre: Window Center (0028,1050).
        width: Window Width (0028,1051); at least 1 for LINEAR, above 0 otherwise.
        function: VOI LUT Function (0028,1056): `LINEAR`, `LINEAR_EXACT` or `SIGMOID`.
    """
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700))))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    if width == 1:
        return (values > centre - 0.5).astype(np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def _refuse_what_is_no_film(dataset: pydicom.Dataset, max_pixels: int) -> None:
    modality = str(dataset.get("Modality") or "").upper()
    if modality not in MODALITIES:
        raise FilmUnreadable(f"has modality {modality}, which is no projection radiograph")
    if "PixelData" not in dataset:
        raise FilmUnreadable("holds no pixels (a report, a directory, or not DICOM at all)")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise FilmUnreadable(f"holds {frames} frames; export the one film as a file of its own")
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if rows * columns > max_pixels:
        raise FilmUnreadable(f"would unpack to {columns} x {rows} pixels (limit {max_pixels / 1e6:.0f} million)")
    _refuse_unknown_grey(dataset)
    _refuse_unknown_compression(dataset.file_meta.TransferSyntaxUID)


def _refuse_unknown_grey(dataset: pydicom.Dataset) -> None:
    colour = str(dataset.get("PhotometricInterpretation") or "")
    if not colour.startswith(("MONOCHROME1", "MONOCHROME2", "RGB", "YBR_")):
        raise FilmUnreadable(f"has photometric interpretation {colour or 'missing'}; export it as MONOCHROME2")
    if str(dataset.get("PresentationIntentType") or "").upper() == "FOR PROCESSING":
        raise FilmUnreadable("holds raw detector values (FOR PROCESSING); export the image FOR PRESENTATION")
    shape = str(dataset.get("PresentationLUTShape") or "").upper()
    if (colour, shape) == ("MONOCHROME2", "INVERSE"):
        raise FilmUnreadable(
            f"contradicts itself: {colour} with presentation LUT shape {shape}; is white dense or not?"
        )


def _refuse_unknown_compression(syntax: UID) -> None:
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise FilmUnreadable(
            f"is compressed as {syntax.name} ({syntax}), for which no decoder is installed; "
            "install pylibjpeg with its plugins, or export the film uncompressed"
        )


def _rescaled(stored: NDArray[Any], dataset: pydicom.Dataset) -> NDArray[np.float64]:
    values = stored.astype(np.float64)
    if dataset.get("ModalityLUTSequence"):
        return _looked_up(values, dataset.ModalityLUTSequence[0], dataset)[0]
    slope = dataset.get("RescaleSlope")
    intercept = dataset.get("RescaleIntercept")
    slope, intercept = (1.0 if slope is None else float(slope)), (0.0 if intercept is None else float(intercept))
    if slope == 0 or not np.isfinite([slope, intercept]).all():
        raise FilmUnreadable(f"has rescale slope {slope:g} and intercept {intercept:g}, which no film can have")
    return values * slope + intercept


def _displayed(values: NDArray[np.float64], dataset: pydicom.Dataset, film: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return grey in [0, 1]; `film` are the values that are not padding."""
    rule = display_rule(dataset)
    if rule == "VOI LUT":
        grey, top = _looked_up(values, dataset.VOILUTSequence[0], dataset)
        return np.clip(grey / top, 0, 1)
    if rule == "window":
        centre, width, function = _window(dataset) or (0.5, 1.0, "LINEAR_EXACT")
        return window_grey(values, centre, width, function)
    if rule == "full range":
        ends = _rescaled(np.array(_stored_range(dataset)), dataset)
        low, high = float(ends.min()), float(ends.max())
    else:
        low, high = (float(end) for end in np.percentile(film, PERCENTILES))
    return np.clip((values - low) / max(high - low, 1e-12), 0, 1)


def _window(dataset: pydicom.Dataset) -> tuple[float, float, str] | None:
    """Return centre, width and function of the first window, `None` without a usable one."""
    ends = []
    for key in ("WindowCenter", "WindowWidth"):
        value = dataset.get(key)
        first = value[0] if isinstance(value, pydicom.multival.MultiValue) and len(value) else value
        if first is None or isinstance(first, (str, pydicom.multival.MultiValue)) or not np.isfinite(float(first)):
            return None
        ends.append(float(first))
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        return None
    usable = ends[1] >= 1 if function == "LINEAR" else ends[1] > 0
    return (ends[0], ends[1], function) if usable else None


def _looked_up(
    values: NDArray[np.float64], item: pydicom.Dataset, dataset: pydicom.Dataset
) -> tuple[NDArray[np.float64], float]:
    """Return values through a LUT (PS3.3 C.11.1.1), and the largest value that the LUT can give."""
    entries, first, bits = (int(part) for part in item.LUTDescriptor)
    entries = entries or 2**16
    data = item.LUTData
    if isinstance(data, bytes):
        order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
        data = np.frombuffer(data, dtype=np.uint8 if len(data) < 2 * entries else f"{order}u2")
    table = np.atleast_1d(np.asarray(data)).astype(np.float64)[:entries]
    if len(table) < entries or not 8 <= bits <= 16:
        raise FilmUnreadable(f"has a lookup table of {len(table)} entries and {bits} bits, {entries} were announced")
    # Many files announce 16 bits over a table that ends at 12: believe the table, or the film would be black.
    filled = int(np.ceil(np.log2(table.max() + 1))) if table.max() > 0 else bits
    index = np.clip(np.rint(values) - first, 0, entries - 1).astype(np.int64)
    return table[index], float(2 ** min(bits, max(filled, 8)) - 1)


def _stored_range(dataset: pydicom.Dataset) -> tuple[int, int]:
    bits = int(dataset.BitsStored)
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dataset.PixelRepresentation else (0, 2**bits - 1)


def _padding(stored: NDArray[Any], dataset: pydicom.Dataset) -> NDArray[np.bool_]:
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, dtype=bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    return np.asarray((stored >= low) & (stored <= high))


def _luma(stored: NDArray[Any], bits: int) -> NDArray[np.float32]:
    colour = stored.astype(np.float64) / (2**bits - 1)
    return np.asarray(np.clip(colour @ np.array([0.299, 0.587, 0.114]), 0, 1), dtype=np.float32)
