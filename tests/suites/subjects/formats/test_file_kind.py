"""What is given for weights and holds none is called by its name, with what to do."""

from __future__ import annotations

import gzip
import io
import warnings
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats.weights import read_safetensors, read_torch

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 1234\n"
ONNX = b"\x08\x08\x12\x07pytorch\x1a\x052.8.0:" + bytes(range(256))


def torch_file(old: bool = False) -> bytes:
    target = io.BytesIO()
    torch.save({"weight": torch.arange(4.0)}, target, _use_new_zipfile_serialization=not old)
    return target.getvalue()


def array() -> bytes:
    target = io.BytesIO()
    np.save(target, np.ones(3))
    return target.getvalue()


def archive() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        file.writestr("weights.npy", b"nothing")
    return target.getvalue()


def script() -> bytes:
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), target)
    return target.getvalue()


KINDS = {
    "pointer": (POINTER, "Git LFS.*git lfs pull"),
    "page": (b"\n<!DOCTYPE html><html><body>404</body></html>", "web page.*fetch them again"),
    "answer": (b'{"error": "Repository not found"}', "JSON text.*fetch them again"),
    "gzip": (gzip.compress(torch_file()), "gzip.*unpack"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
    "array": (array(), "NumPy"),
    "onnx": (ONNX, "ONNX.*state_dict"),
}


@pytest.mark.parametrize("read", [read_torch, read_safetensors])
@pytest.mark.parametrize("name", KINDS)
def test_each_kind_has_its_name_whichever_reader_meets_it(tmp_path, read, name):
    content, message = KINDS[name]
    refused(tmp_path / "weights", content, read, message)


@pytest.mark.parametrize(
    ("make", "read", "message"),
    [
        (lambda: save({"weight": torch.ones(3)}), read_torch, r"a safetensors file.*rename it to end in \.safetensors"),
        (torch_file, read_safetensors, "a torch file"),
        (lambda: torch_file(old=True), read_safetensors, "a torch file"),
        (script, read_torch, r"TorchScript.*state_dict\(\)"),
        (archive, read_torch, "zip archive without torch's weights"),
    ],
)
def test_one_kind_of_weights_in_the_place_of_the_other(tmp_path, make, read, message):
    refused(tmp_path / "weights", make(), read, message)


def refused(path, content, read, message) -> None:
    path.write_bytes(content)
    with pytest.raises(SubjectProblem, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert "truncated" not in str(caught.value)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=40),
    name=st.text("abcdefgh.", min_size=1, max_size=40),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.int64]),
)
def test_real_weights_are_never_taken_for_another_kind(tmp_path, sizes, name, dtype):
    state = {f"{name}{index}": torch.ones(size, dtype=dtype) for index, size in enumerate(sizes)}
    path = tmp_path / "weights"
    path.write_bytes(save(state))
    assert read_safetensors(path).keys() == state.keys()
    for zipped in (True, False):
        torch.save(state, path, _use_new_zipfile_serialization=zipped)
        assert read_torch(path).keys() == state.keys()
