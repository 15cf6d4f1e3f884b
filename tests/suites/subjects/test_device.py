"""Does a network compute where and how precisely it was told to, and are its numbers kept apart?"""

from __future__ import annotations

import pytest
import torch

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.device import usable
from suites.harness.subjects.formats import load_subject
from suites.harness.subjects.subject import device_kind


@pytest.fixture(scope="module")
def by_precision():
    return {name: load_subject("bundled:fragile", precision=name) for name in ("float32", "bf16")}


def test_bfloat16_answers_in_float32_and_near_to_it(by_precision):
    films = torch.rand(4, 128, 128, generator=torch.Generator().manual_seed(0))
    answers = {name: subject.answer(subject.pixels(films))[0] for name, subject in by_precision.items()}
    assert answers["bf16"].dtype == torch.float32
    difference = (answers["bf16"] - answers["float32"]).abs().max()
    assert 0.0 < float(difference) < 0.3


def test_what_is_kept_at_one_precision_is_not_found_at_another(by_precision):
    full, half = by_precision["float32"].cache_key, by_precision["bf16"].cache_key
    assert full != half
    assert "network_precision" not in full  # what was kept before there was a choice is found again


def test_the_provenance_names_a_lower_precision(by_precision):
    assert any("bf16" in note for note in by_precision["bf16"].provenance.notes)
    assert not any("float32" in note for note in by_precision["float32"].provenance.notes)


@pytest.mark.parametrize(("precision", "part"), [("tf32", "CUDA GPUs"), ("fp8", "known are float32, tf32, bf16")])
def test_a_precision_that_is_not_to_be_had_is_one_line(precision, part):
    with pytest.raises(SubjectProblem, match=part):
        usable("cpu", precision)


def test_a_gpu_is_told_by_its_model_and_its_libraries(monkeypatch):
    names = iter(["NVIDIA A100", "NVIDIA H200"])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: next(names))
    first, second = device_kind("cuda:0"), device_kind("cuda:0")
    assert first != second
    assert first.startswith("cuda NVIDIA A100, CUDA ")
    assert device_kind("cpu") == "cpu"
