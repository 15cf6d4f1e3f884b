"""How does each DICOM file that pydicom ships come out? A table: as pydicom displays it, or refused and why.

uv run pytest tests/benchmarks/test_dicom_against_pydicom.py -s
"""

from __future__ import annotations

import pytest

from suites.harness.cohorts import dicom_decoding
from tests.suites.cohorts.pydicom_reference import compared
from tests.suites.cohorts.test_dicom_against_pydicom import Any


def test_table_of_pydicoms_own_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_decoding, "MODALITIES", Any())
    files = list(compared())
    read = [one for one in files if one.difference is not None]
    print(f"\n{'file':<62} read here, beside pydicom's apply_modality_lut and apply_voi_lut")
    for one in files:
        told = f"largest difference {one.difference:.1e}" if one.difference is not None else f"refused: {one.ours}"
        print(f"{one.file:<62} {told[:140]}")
    largest = max(one.difference for one in read)
    print(f"{len(read)} of {len(files)} files read, largest difference {largest:.1e}; the others are refused")
    assert largest < 1e-6
