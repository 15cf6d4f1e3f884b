"""Every DICOM file that pydicom ships is read as pydicom displays it, or refused with a reason that holds."""

from __future__ import annotations

import numpy as np
import pytest

from suites.harness.cohorts import dicom_decoding
from suites.harness.errors import FilmUnreadable
from tests.suites.cohorts.pydicom_reference import ROOT, Compared, compared

REFUSED = {
    "holds no pixels": lambda one: isinstance(one.theirs, str),
    "lacks the attribute": lambda one: isinstance(one.theirs, str),
    "is truncated": lambda one: isinstance(one.theirs, str),
    "cannot be decoded": lambda one: isinstance(one.theirs, str),
    "no decoder is installed": lambda one: isinstance(one.theirs, str),
    "no finite number": lambda one: isinstance(one.theirs, str),
    "compressed pixels are": lambda one: isinstance(one.theirs, str),
    "frames": lambda one: not one.single,
    "PALETTE COLOR": lambda one: "palette" in one.file,
    "deflated": lambda one: "image_dfl" in one.file,
    "no contrast": lambda one: float(np.ptp(one.theirs)) < 1 / 255,
}
"""The reasons, and what makes each of them hold."""


class Any(tuple):
    """Films of every modality, so that the chain is compared on slices and dose maps, too."""

    def __contains__(self, modality: object) -> bool:
        return True


@pytest.fixture(scope="module")
def files() -> list[Compared]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dicom_decoding, "MODALITIES", Any())
        return list(compared())


def test_pixels_are_those_of_pydicom(files: list[Compared]) -> None:
    different = {one.file: one.difference for one in files if one.difference is not None and one.difference > 1e-6}
    assert not different
    assert sum(one.difference is not None for one in files) >= 80


def test_what_is_refused_is_refused_for_a_reason_that_holds(files: list[Compared]) -> None:
    for one in files:
        if isinstance(one.ours, str):
            holds = [check(one) for reason, check in REFUSED.items() if reason in one.ours]
            assert holds, f"{one.file}: an unknown reason: {one.ours}"
            assert all(holds), f"{one.file}: {one.ours}"


@pytest.mark.parametrize("name", ["MR_small.dcm", "CT_small.dcm", "rtdose_1frame.dcm"])
def test_slices_and_dose_maps_are_no_films(name: str) -> None:
    with pytest.raises(FilmUnreadable, match="which is no projection radiograph"):
        dicom_decoding.dicom_pixels((ROOT / "test_files" / name).read_bytes(), max_pixels=10**6)
