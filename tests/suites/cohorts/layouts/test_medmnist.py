"""MedMNIST's arrays: films of 28 to 224 pixels out of one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from suites.harness.cohorts.layouts import load_cohort
from suites.harness.errors import CohortProblem


def archive(path: Path, findings: int, size: int, **changed: np.ndarray) -> Path:
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 3), ("val", 2), ("test", 4)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, size, size), dtype=np.uint8)
        arrays[f"{split}_labels"] = rng.integers(0, 2, (count, findings), dtype=np.uint8)
    np.savez_compressed(path, **(arrays | changed))
    return path


def test_pneumoniamnist_is_a_cohort_of_two_classes(tmp_path: Path) -> None:
    path = archive(tmp_path / "pneumoniamnist.npz", 1, 28, test_labels=np.array([[1], [0], [1], [1]], np.uint8))
    cohort = load_cohort(str(path), classes=("normal", "pneumonia"))
    assert cohort.table["label"].tolist() == ["pneumonia", "normal", "pneumonia", "pneumonia"]
    assert cohort.finding("pneumonia").tolist() == [1, 0, 1, 1]
    with np.load(path) as stored:
        film = cohort.decode(cohort.rows()[2])
        assert np.array_equal(np.round(film.pixels * 255), stored["test_images"][2])
    assert len({cohort.decode(row).content for row in cohort.rows()}) == 4


@pytest.mark.parametrize("size", [28, 64])
def test_chestmnist_is_a_cohort_of_fourteen_findings(tmp_path: Path, size: int) -> None:
    labels = np.zeros((4, 14), np.uint8)
    labels[1, [2, 13]] = 1
    archive(tmp_path / f"chestmnist{'' if size == 28 else '_64'}.npz", 14, size, test_labels=labels)
    cohort = load_cohort(str(tmp_path))
    assert len(cohort.findings) == 14
    assert [name for name in cohort.findings if cohort.finding(name).any()] == ["effusion", "hernia"]
    assert cohort.table["label"].unique().tolist() == [""]
    assert cohort.decode(cohort.rows()[0]).pixels.shape == (size, size)
    assert len(load_cohort(f"{tmp_path}?split=train")) == 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"test_labels": np.full((4, 1), 2, np.uint8)}, "test_labels are uint8 of shape .*MedMNIST's are 0 or 1"),
        ({"test_labels": np.zeros((4, 14), np.uint8)}, r"MedMNIST's are 0 or 1 of \(N, 1\)"),
        ({"test_labels": np.array([[None]] * 4)}, "test_labels cannot be read"),
    ],
)
def test_arrays_of_another_form_are_refused(tmp_path: Path, changed: dict[str, np.ndarray], message: str) -> None:
    path = archive(tmp_path / "pneumoniamnist.npz", 1, 28, **changed)
    with pytest.raises(CohortProblem, match=message) as caught:
        load_cohort(str(path))
    assert len(str(caught.value)) < 300


def test_a_damaged_archive_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "pneumoniamnist.npz").write_bytes(b"PK and no archive")
    with pytest.raises(CohortProblem, match="get the archive again"):
        load_cohort(str(tmp_path))
