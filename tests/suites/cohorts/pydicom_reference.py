"""Every DICOM file that pydicom ships, as pydicom's own functions display it, beside what is read here.

Only the files in the installed package: nothing is fetched.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
from numpy.typing import NDArray
from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from suites.harness.cohorts.dicom_decoding import dicom_pixels
from suites.harness.errors import FilmUnreadable

ROOT = Path(pydicom.data.__file__).parent
NO_DICOM = (".py", ".pyc", ".json", ".txt", ".md", ".dump", ".gz", ".icc", "")
LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Compared:
    """One file.

    Attributes:
        file: relative to pydicom's data.
        ours: pixels (H, W), or the reason for a refusal.
        theirs: pixels (H, W) by pydicom, or why it gives none.
        single: it holds one frame.
    """

    file: str
    ours: NDArray[np.float32] | str
    theirs: NDArray[np.float64] | str
    single: bool

    @property
    def difference(self) -> float | None:
        """The largest one of any pixel; `None` where one of the two gives none."""
        if isinstance(self.ours, str) or isinstance(self.theirs, str):
            return None
        return float(np.abs(self.ours - self.theirs).max()) if self.ours.shape == self.theirs.shape else np.inf


def shipped() -> list[Path]:
    """The files, with a suffix or without."""
    return sorted(
        path
        for path in ROOT.rglob("*")
        if path.is_file()
        and path.suffix not in NO_DICOM[:-1]
        and path.name != "README"
        and "__pycache__" not in path.parts
    )


def compared() -> Iterator[Compared]:
    """Each file, read in both ways."""
    for path in shipped():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours: NDArray[np.float32] | str
            theirs: NDArray[np.float64] | str
            try:
                ours = dicom_pixels(path.read_bytes(), max_pixels=64_000_000)
            except FilmUnreadable as problem:
                ours = problem.reason
            single = True
            try:
                theirs = by_pydicom(path)
                single = theirs.ndim == 2
            except Exception as problem:  # noqa: BLE001 - whatever pydicom cannot show
                theirs = f"{type(problem).__name__}: {problem}".splitlines()[-1].strip()
            yield Compared(path.relative_to(ROOT).as_posix(), ours, theirs, single)


def by_pydicom(path: Path) -> NDArray[np.float64]:
    """Pixels in [0, 1] by `apply_modality_lut` and `apply_voi_lut`, spread over the range that these announce.

    Where the file says nothing of its display, those are the rules of this project: the full range of 8 bits, else the
    percentiles 0.5 and 99.5 of what is not padding.
    """
    film = pydicom.dcmread(path, force=True)
    if "TransferSyntaxUID" not in film.file_meta:
        implicit, little = film.original_encoding
        plain = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        film.file_meta.TransferSyntaxUID = plain if little else ExplicitVRBigEndian
    stored = pixel_array(film)
    if film.SamplesPerPixel == 3:
        return stored / (2**film.BitsStored - 1) @ LUMA
    values = apply_voi_lut(apply_modality_lut(stored, film), film).astype(float)
    padding = stored == film.get("PixelPaddingValue", np.inf)
    if film.get("VOILUTSequence"):
        low, high = 0.0, 2.0 ** film.VOILUTSequence[0].LUTDescriptor[2] - 1
    elif film.get("WindowWidth") or film.BitsStored <= 8:
        first = -(2.0 ** (film.BitsStored - 1)) if film.PixelRepresentation else 0.0
        slope, intercept = float(film.get("RescaleSlope", 1)), float(film.get("RescaleIntercept", 0))
        low, high = sorted(end * slope + intercept for end in (first, first + 2.0**film.BitsStored - 1))
    else:
        low, high = np.percentile(values[~padding], (0.5, 99.5))
    grey = np.clip((values - low) / (high - low), 0, 1)
    grey = 1 - grey if film.PhotometricInterpretation == "MONOCHROME1" else grey
    return np.where(padding, 0, grey)
